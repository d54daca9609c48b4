"""Where a study keeps its draws, and what its log tells of that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import RunError, StoreError
from agenttts.study.comparison_folder import open_comparison
from agenttts.study.opening import resume_study
from agenttts.study.result import StudyOptions
from agenttts.study.study import Study
from agenttts.task.task import Task

URL = "postgresql://me:hunter2@host/db"


class _Unreachable:
    """Opens no session and keeps the URL that it was given."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    @asynccontextmanager
    async def __call__(self, task: Task, *, store_url: str, **_: Any) -> AsyncIterator[Any]:
        self.urls.append(store_url)
        raise StoreError("out of reach")
        yield


async def _opened_url(study: Study, sessions: _Unreachable) -> str:
    with pytest.raises(StoreError, match="out of reach"):
        await study.run()
    return sessions.urls[-1]


async def test_a_password_is_used_and_not_written_down(tmp_path: Path, task: Task, options: StudyOptions):
    sessions, folder = _Unreachable(), tmp_path / "run"
    begun = Study.create(folder, task, options, URL, sessions=sessions)
    assert await _opened_url(begun, sessions) == URL
    again = Study.open(folder, sessions=sessions, store_url=URL)
    assert await _opened_url(again, sessions) == URL
    bare = Study.open(folder, sessions=sessions)
    assert await _opened_url(bare, sessions) == "postgresql+psycopg://me@host/db"
    assert b"hunter2" not in (folder / "events.jsonl").read_bytes()
    assert "hunter2" not in repr(again)


def test_a_run_does_not_go_on_with_the_draws_of_another_store(
    tmp_path: Path, task: Task, options: StudyOptions
) -> None:
    folder = tmp_path / "run"
    Study.create(folder, task, options, URL)
    assert resume_study(folder, store=URL.replace("hunter2", "another")).resumed
    with pytest.raises(RunError, match=r"keeps its draws in postgresql\+psycopg://me@host/db\. "):
        resume_study(folder, store="postgresql://me:hunter2@host/other")


def test_a_comparison_writes_no_password_down(tmp_path: Path, task: Task, options: StudyOptions) -> None:
    asked = {"curves": options}
    assert open_comparison(tmp_path / "c", task, asked, URL).store_url == URL
    assert open_comparison(tmp_path / "c", task, asked, URL).store_url == URL
    assert "hunter2" not in (tmp_path / "c" / "comparison.json").read_text()
    assert "hunter2" not in open_comparison(tmp_path / "c", task, asked).store_url
