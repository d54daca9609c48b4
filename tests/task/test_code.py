from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.task.code import code_digest
from agenttts.task.task import Task

Write = Callable[..., Path]
WHERE = {
    "a stage": ("score:\n  verifier", "  last: {needs: [check], function: 'mine.py:f'}\nscore:\n  verifier"),
    "a parse rule": ("parse: last_number", "parse: {rule: function, function: 'mine.py:f'}"),
    "a verifier": (
        "verifier: numeric\n  gold: answer",
        "verifier: {kind: function, function: 'mine.py:f'}\n  gold: answer",
    ),
    "a verifier that selects": (
        "parse: last_number",
        "select: {kind: best_of_n, verifier: {kind: function, function: 'mine.py:f'}}\n    parse: last_number",
    ),
}


@pytest.mark.parametrize("where", WHERE)
def test_a_task_is_another_one_once_its_python_code_is_edited(
    project: Write, tmp_path: Path, where: str
) -> None:
    (tmp_path / "mine.py").write_text("def f(*given):\n    return 1\n")
    before = Task.load(project(WHERE[where])).digest
    assert Task.load(project(WHERE[where])).digest == before
    (tmp_path / "mine.py").write_text("def f(*given):\n    return 0\n")
    assert Task.load(project(WHERE[where])).digest != before


def test_a_stored_task_keeps_its_digest_where_its_code_is_edited_or_gone(
    project: Write, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def f(*given):\n    return 1\n")
    task = Task.load(project(WHERE["a stage"]))
    before = task.digest
    stored = task.to_json()
    assert Task.from_json(stored).changed_code() == []
    (tmp_path / "mine.py").write_text("def f(*given):\n    return 0\n")
    assert Task.from_json(stored).digest == before
    assert Task.from_json(stored).changed_code() == ["mine.py"]
    (tmp_path / "mine.py").unlink()
    assert Task.from_json(stored).digest == before
    assert Task.from_json(stored).changed_code() == ["mine.py"]


def test_a_task_stored_by_a_version_that_did_not_watch_over_code_is_read(
    project: Write, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def f(*given):\n    return 1\n")
    stored = Task.load(project(WHERE["a stage"])).to_json()
    del stored["code_sha256"]
    assert Task.from_json(stored).changed_code() == []


def test_the_file_of_a_module_is_found_without_importing_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "helpers_of_a_task" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "rules.py").write_text("def f(text):\n    return text\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = code_digest("helpers_of_a_task.inner.rules", tmp_path)
    assert before is not None
    (package / "rules.py").write_text("def f(text):\n    return text[:1]\n")
    assert code_digest("helpers_of_a_task.inner.rules", tmp_path) not in {None, before}
    assert "helpers_of_a_task" not in sys.modules


@pytest.mark.parametrize("name", ["module_of_nobody", "sys", "json.nothing", "sys.path"])
def test_what_has_no_file_has_no_digest(tmp_path: Path, name: str) -> None:
    assert code_digest(name, tmp_path) is None
