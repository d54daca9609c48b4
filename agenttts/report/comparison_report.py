"""From the folder of a comparison to its result, its tables and its page."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agenttts.budgets.cost import total
from agenttts.errors import InputError
from agenttts.pipeline.base import Allocation
from agenttts.report.comparison_again import Asked, asked_of, folder_again, keep_asked
from agenttts.report.provenance import provenance
from agenttts.report.writing import write_page
from agenttts.study.comparison import compare_records
from agenttts.study.comparison_files import write_tables
from agenttts.study.comparison_runs import (
    ComparisonResult,
    RunOutcome,
    left_out,
    outcomes,
    paid,
    read_record,
)
from agenttts.study.comparison_truth import Truth
from agenttts.study.planner_share import together

if TYPE_CHECKING:
    from agenttts.study.comparison_folder import ComparisonFolder
    from agenttts.study.comparison_workers import WorkerReport

__all__ = ["asked_text", "figures_from_text", "read_truth", "report_again", "report_comparison"]

PAGE_FILE = "compare.html"


def report_comparison(
    folder: ComparisonFolder,
    allocators: Sequence[str],
    seeds: Sequence[int],
    failed: Mapping[tuple[str, int], WorkerReport],
    *,
    target: float = 0.01,
    truth: Truth | None = None,
) -> ComparisonResult:
    """Return what the studies found that have come to their end; write tables and page.

    Raises:
        RunError: A log cannot be read, or a file not written.
    """
    from agenttts.report.comparison_page import comparison_page

    runs = outcomes(folder, allocators, seeds, failed)
    found = [read_record(run.folder, folder.unit, truth) for run in runs if run.has_result]
    records = [record for record in found if record is not None]
    best = max(truth.values()) if truth else None
    result = ComparisonResult(
        comparison=compare_records(records, target=target, best_known=best) if records else None,
        runs=tuple(runs),
        folder=folder.path,
        unit=folder.unit,
        spent=total(run.spent for run in runs),
        paid=paid(folder, runs),
        figures_from=figures_from_text(folder, runs),
        page=folder.path / PAGE_FILE,
        left_out=left_out(folder, runs),
    )
    write_tables(result)
    keep_asked(folder.path, Asked(allocators, seeds, target, failed, truth))
    title = f"Allocators compared on {folder.task.file.name}"
    text = comparison_page(result, title=title, asked=asked_text(folder, allocators, seeds))
    write_page(folder.path / PAGE_FILE, text)
    return result


def report_again(path: Path, *, trust: bool = False) -> tuple[ComparisonResult, str]:
    """Write tables and page of a comparison once more, from its folder alone; return what it found and what was asked.

    Raises:
        InputError: It is one of the paper's protocol, which has a page of its own.
        RunError: See `report_comparison` and `comparison_again`.
    """
    from agenttts.report.paper_report import RESULT_FILE

    if (path / RESULT_FILE).exists():
        raise InputError(
            f"{path} is of `agenttts paper`: the same command makes its page again, and pays nothing twice"
        )
    folder = folder_again(path, trust=trust)
    asked = asked_of(folder)
    names = [name for name in asked.allocators if name in folder.options]
    result = report_comparison(
        folder, names, asked.seeds, asked.failed, target=asked.target, truth=asked.truth
    )
    return result, asked_text(folder, names, asked.seeds)


def asked_text(folder: ComparisonFolder, allocators: Sequence[str], seeds: Sequence[int]) -> str:
    """Return what was asked of every study, in a line."""
    options = next(iter(folder.options.values()))
    parts = [
        f"{len(allocators)} allocators, {len(seeds)} seeds each",
        f"at most {options.budget} a problem",
        f"{options.n_trials} trials in batches of {options.batch}",
        f"{len(folder.task.search)} search problems",
    ]
    if options.search_budget is not None:
        parts.append(f"a search budget of {options.search_budget}")
    if folder.planner is not None:
        parts.append(f"planner {folder.planner.name}")
    return "; ".join(parts)


def figures_from_text(folder: ComparisonFolder, runs: Sequence[RunOutcome]) -> str:
    """Name the sources of all models that a search may have tried; of the planner too, whose advice moves figures."""
    task = folder.task
    models = {model for stage in task.llm_stages for model in task.file.stages[stage].variants}
    text = provenance(task, models)
    if folder.planner is None or not any(folder.options[run.allocator].planner for run in runs):
        return text
    name = folder.planner.name
    calls, failed = sum(run.planner_calls for run in runs), sum(run.planner_failed for run in runs)
    simulated = " Its advice is simulated." if name.startswith("simulated/") else ""
    told = f"{text} The planner is {name}; {failed:,} of {calls:,} calls to it brought no reply."
    share = together(run.share for run in runs)
    if share.rounds:
        told += f" {share.given:,} of {share.due:,} proposals that it was asked for are its own"
        told += (
            f"; {share.nothing_usable:,} of {share.rounds:,} rounds got a reply with none that could be used."
        )
    return told + simulated


def read_truth(path: Path) -> Truth:
    """Read true scores from a CSV file with the columns `allocation` and `score`.

    `allocation` is JSON as in `runs.csv`. Rows must be within the budget: the best of them is the best known.

    Raises:
        InputError: The file cannot be read so.
    """
    truth: dict[Allocation, float] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    allocation = Allocation.from_json(json.loads(row["allocation"])).canonical()
                    truth[allocation] = float(row["score"])
                except (KeyError, TypeError, ValueError) as error:
                    raise InputError(
                        f"{path}: row {number}: expected the columns allocation (JSON, as in runs.csv) and score: {error}"
                    ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not truth:
        raise InputError(f"{path} holds no scores")
    return truth
