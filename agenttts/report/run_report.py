"""From the folders of runs to their pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.report.writing import write_page

if TYPE_CHECKING:
    from concurrent.futures import Future

    from agenttts.report.facts import RunFacts
    from agenttts.report.run_pair import RunBeside, RunPair

__all__ = ["PAGE_FILE", "is_current", "quick_page", "report_pair", "report_run"]

PAGE_FILE = "report.html"


def report_run(folder: Path, *, out: Path | None = None, trust: bool = False) -> tuple[RunFacts, Path]:
    """Write the page of a run.

    Args:
        folder: Where the run is kept.
        out: The file to write; `None`: `report.html` in the folder.
        trust: Allow the task's own Python code, which reading back single passes may need.

    Raises:
        RunError: There is no run, its log cannot be read, or the page not be written.
    """
    from agenttts.report.facts import facts_of
    from agenttts.report.run_page import run_page

    facts = facts_of(folder, trust=trust)
    path = out or folder / PAGE_FILE
    write_page(path, run_page(facts))
    return facts, path


def quick_page(folder: Path, *, within_s: float) -> Path | None:
    """Write the page of a run without its single passes, as the one who waits for it has just interrupted the run.

    Args:
        folder: Where the run is kept.
        within_s: Seconds that making it may take.

    Returns:
        The page; `None` where it took longer, and nothing was written.

    Raises:
        RunError: See `report_run`.
    """
    from concurrent.futures import Future
    from concurrent.futures import TimeoutError as TookTooLong
    from threading import Thread

    made: Future[str] = Future()
    # No pool: at the end of the program that would wait for what is given up here.
    Thread(target=_make, args=(folder, made), daemon=True).start()
    try:
        text = made.result(within_s)
    except TookTooLong:
        return None
    write_page(folder / PAGE_FILE, text)
    return folder / PAGE_FILE


def _make(folder: Path, made: Future[str]) -> None:
    from agenttts.report.facts import facts_of
    from agenttts.report.run_page import run_page

    try:
        made.set_result(run_page(facts_of(folder, n_passes=0)))
    except Exception as error:  # whoever waits raises it
        made.set_exception(error)


def is_current(folder: Path) -> bool:
    """Return whether a run has a page that was made after all that its log tells."""
    from agenttts.study.events import EVENTS_FILE

    page, log = folder / PAGE_FILE, folder / EVENTS_FILE
    return page.exists() and page.stat().st_mtime >= log.stat().st_mtime


def report_pair(
    first: Path, second: Path, *, out: Path | None = None, trust: bool = False
) -> tuple[RunPair, Path]:
    """Write the page of two runs.

    Args:
        first: Where a run is kept.
        second: Where another is.
        out: The file to write; `None`: `report-NAME.html`, NAME of the second, in the folder of the first.
        trust: As for `report_run`.

    Raises:
        RunError: See `report_run`.
    """
    from agenttts.report.run_pair import pair_of
    from agenttts.report.run_pair_page import pair_page

    pair = pair_of(_beside(first, trust=trust), _beside(second, trust=trust))
    path = out or first / f"report-{second.resolve().name}.html"
    write_page(path, pair_page(pair))
    return pair, path


def _beside(folder: Path, *, trust: bool) -> RunBeside:
    from agenttts.report.facts import facts_of
    from agenttts.report.run_pair import RunBeside
    from agenttts.study.study import Study

    study = Study.open(folder, trust=trust)
    task, confirmed = study.task, study.state().confirmed
    final = None if confirmed is None else confirmed["winner"]
    scores = {} if final is None or final["invalid"] else dict(final["scores"])
    digests = task.data_sha256 or ()
    data = digests if any(digests) else task.file.data.model_dump(mode="json")
    return RunBeside(facts_of(folder, trust=trust), data, scores)
