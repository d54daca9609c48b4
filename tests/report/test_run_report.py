"""The page of a run that was interrupted: made if that is quick, and else not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenttts.errors import RunError
from agenttts.report.run_report import PAGE_FILE, quick_page
from tests.report.facts.test_reading import LOGS, folder_of


def test_a_quick_page_is_written_without_single_passes(tmp_path: Path):
    folder = folder_of(LOGS / "tiny.jsonl", tmp_path / "run")
    page = quick_page(folder, within_s=60)
    assert page == folder / PAGE_FILE
    text = page.read_text()
    assert "Best so far against trials" in text
    assert "No pass is shown: none were asked for." in text


def test_a_page_that_takes_longer_is_not_written(tmp_path: Path):
    folder = folder_of(LOGS / "tiny.jsonl", tmp_path / "run")
    assert quick_page(folder, within_s=0) is None
    assert not (folder / PAGE_FILE).exists()


def test_a_run_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(RunError):
        quick_page(tmp_path, within_s=60)
