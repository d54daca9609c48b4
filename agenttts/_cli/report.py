"""`agenttts report`: the page of a run, of two runs, or of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agenttts._cli.console import print_json, say, say_aside
from agenttts.errors import AgentTTSError, InputError

__all__ = ["report_of_interrupted", "report_of_optimize", "run_report"]

PATIENCE_S = 3.0
"""Seconds that one who has interrupted a run waits for its page."""


def run_report(
    run: str, other: str | None, *, out: Path | None, open_page: bool, trust: bool, as_json: bool
) -> None:
    """Carry out the command: write the page, print its path or the facts in it."""
    if other is None and _is_comparison(Path(run)):
        path, facts = _comparison(Path(run), out, trust=trust)
    elif other is None:
        path, facts = _one(run, out, trust=trust)
    else:
        path, facts = _two(run, other, out, trust=trust)
    if as_json:
        print_json({**facts, "page": str(path)})
    else:
        say(str(path))
    if open_page:
        _open(path)


def _is_comparison(folder: Path) -> bool:
    from agenttts.study.comparison_folder import COMPARISON_FILE

    return (folder / COMPARISON_FILE).is_file()


def _one(run: str, out: Path | None, *, trust: bool) -> tuple[Path, dict[str, Any]]:
    from agenttts.report.run_report import report_run
    from agenttts.study.finding import find_run

    facts, path = report_run(find_run(run), out=out, trust=trust)
    return path, facts.to_json()


def _two(run: str, other: str, out: Path | None, *, trust: bool) -> tuple[Path, dict[str, Any]]:
    from agenttts.report.run_report import report_pair
    from agenttts.study.finding import find_run

    pair, path = report_pair(find_run(run), find_run(other), out=out, trust=trust)
    return path, pair.to_json()


def _comparison(folder: Path, out: Path | None, *, trust: bool) -> tuple[Path, dict[str, Any]]:
    from agenttts._cli.compare import comparison_json
    from agenttts.report.comparison_report import report_again

    if out is not None:
        raise InputError(
            "--out is for runs: the page of a comparison stands beside its tables, in its folder"
        )
    result, asked = report_again(folder, trust=trust)
    if result.page is None:
        raise InputError(f"{folder} has no page")
    return result.page, comparison_json(result, asked)


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        say_aside(f"No browser could be started; open {path} in one.")


def report_of_optimize(folder: Path, *, trust: bool) -> Path | None:
    """Write the page of a run that has just ended; `None` where that failed, which is said and costs no result."""
    from agenttts.report.run_report import PAGE_FILE, is_current, report_run

    if is_current(folder):
        return folder / PAGE_FILE
    try:
        return report_run(folder, trust=trust)[1]
    except (AgentTTSError, OSError) as error:
        say_aside(f"No report was written: {error}. Make it later: agenttts report {folder}")
        return None


def report_of_interrupted(folder: Path) -> Path | None:
    """Write the page of a run that was interrupted, if that is quick; else say how to make it. So does another Ctrl-C."""
    from agenttts.report.run_report import quick_page

    why = "that takes longer"
    try:
        page = quick_page(folder, within_s=PATIENCE_S)
    except (AgentTTSError, OSError) as error:
        page, why = None, str(error)
    except KeyboardInterrupt:
        page, why = None, "it was interrupted"
    if page is None:
        say_aside(f"No report was written: {why}. Make it: agenttts report {folder}")
    return page
