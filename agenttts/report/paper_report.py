"""From the folder of the paper's protocol to its table, its files and its page.

OUT/paper.json    everything that the table shows, and every search
OUT/paper.html    the page
OUT/runs.csv, OUT/curves.csv    as a comparison's, spend without the planner
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Unit, total
from agenttts.errors import CardError
from agenttts.report.comparison_report import figures_from_text
from agenttts.report.published import Published, published
from agenttts.report.writing import write_page
from agenttts.study.archive import cost_to_json
from agenttts.study.comparison import summarise_records
from agenttts.study.comparison_files import write_run_tables
from agenttts.study.comparison_runs import (
    ComparisonResult,
    RunOutcome,
    left_out,
    outcomes,
    paid_parts,
    read_record,
)
from agenttts.study.paper import COST_UNITS, PaperRow, PlannerTold, paper_rows
from agenttts.study.paper_methods import OURS, Method
from agenttts.study.planner_share import together
from agenttts.study.pool_use import PoolUse, pool_use

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation
    from agenttts.study.comparison_values import Comparison, RunRecord
    from agenttts.study.comparison_workers import WorkerReport
    from agenttts.study.paper_opening import PaperSetup
    from agenttts.study.paper_tests import TestScore

__all__ = ["PAGE_FILE", "RESULT_FILE", "PaperResult", "paper_json", "report_paper"]

FORMAT = 1
PAGE_FILE, RESULT_FILE = "paper.html", "paper.json"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PaperResult:
    """What the protocol found on one task."""

    setup: PaperSetup
    n_seeds: int
    rows: tuple[PaperRow, ...]
    """Of the methods that were run; without any figures where none of their searches has a result."""
    searches: ComparisonResult
    """Its costs are without the planner's calls."""
    tests: Mapping[Allocation, TestScore]
    n_test: int
    """Test problems that each distinct allocation was scored on."""
    published: Published | None
    pool: PoolUse = PoolUse()
    """What the searches show of the task's pool of models."""
    confidence: float = CONFIDENCE

    @property
    def comparison(self) -> Comparison | None:
        """The searches; `None` where no search has a result."""
        return self.searches.comparison

    @property
    def reference(self) -> Method:
        """The method that the others are compared with: the paper's own, or the last where it was not run."""
        return reference(self.setup.methods)

    def test_of(self, run: RunOutcome) -> TestScore | None:
        """Return how what a search found scored on the test problems; `None` where it was not scored."""
        return None if run.plan is None else self.tests.get(run.plan.canonical())

    def mean_test_of(self, run: RunOutcome) -> float | None:
        """Return the mean score on the test problems of what a search found; `None` where there is none."""
        score = self.test_of(run)
        return None if score is None or not score.scores else fmean(score.scores.values())


def reference(methods: Sequence[Method]) -> Method:
    """Return the method that others are compared with."""
    return next((method for method in methods if method.contender == OURS), methods[-1])


def report_paper(
    setup: PaperSetup,
    seeds: Sequence[int],
    failed: Mapping[tuple[str, int], WorkerReport],
    tests: Mapping[Allocation, TestScore],
    *,
    n_test: int,
    target: float,
) -> PaperResult:
    """Return the table of all searches that have come to their end; write its files.

    Raises:
        RunError: A log cannot be read, or a file not written.
    """
    from agenttts.report.paper_page import paper_page

    runs = outcomes(setup.folder, setup.contenders, seeds, failed)
    records = _records(setup, runs, tests)
    first = next(iter(records.values()), [])
    searches = _searches(setup, runs, first, target)
    rows = _rows(setup, runs, records, searches.comparison)
    known = published(setup.folder.task.file.name)
    pool = _pool(setup, runs)
    result = PaperResult(setup, len(seeds), rows, searches, tests, n_test, known, pool)
    write_run_tables(searches)
    write_page(setup.folder.path / RESULT_FILE, json.dumps(paper_json(result), indent=2, allow_nan=False))
    write_page(setup.folder.path / PAGE_FILE, paper_page(result))
    return result


def _records(
    setup: PaperSetup, runs: Sequence[RunOutcome], tests: Mapping[Allocation, TestScore]
) -> dict[Unit, list[RunRecord]]:
    """Return the records of the searches in each unit that is known, that of the comparison first."""
    own = setup.folder.unit
    units = [own, *(unit for unit in COST_UNITS if unit is not own)]
    found: dict[Unit, list[RunRecord]] = {}
    for unit in units:
        try:
            read = [_record(run, unit, tests) for run in runs if run.has_result]
        except CardError:  # the cards do not tell
            continue
        found[unit] = [record for record in read if record is not None]
    return {unit: some for unit, some in found.items() if some}


def _record(run: RunOutcome, unit: Unit, tests: Mapping[Allocation, TestScore]) -> RunRecord | None:
    record = read_record(run.folder, unit, with_planner=False)
    score = None if run.plan is None else tests.get(run.plan.canonical())
    if record is None or score is None or not score.scores:
        return record
    return replace(record, test=dict(score.scores))


def _searches(
    setup: PaperSetup, runs: Sequence[RunOutcome], records: Sequence[RunRecord], target: float
) -> ComparisonResult:
    folder = setup.folder
    on_task = [replace(run, spent=run.spent_on_task, planner_spent=None) for run in runs]
    return ComparisonResult(
        comparison=summarise_records(records, target=target, confidence=CONFIDENCE) if records else None,
        runs=tuple(on_task),
        folder=folder.path,
        unit=folder.unit,
        spent=total(run.spent for run in on_task),
        paid=paid_parts(folder, runs)[0],
        figures_from=figures_from_text(folder, runs),
        page=folder.path / PAGE_FILE,
        left_out=left_out(folder, runs),
    )


def _rows(
    setup: PaperSetup,
    runs: Sequence[RunOutcome],
    records: Mapping[Unit, Sequence[RunRecord]],
    comparison: Comparison | None,
) -> tuple[PaperRow, ...]:
    if comparison is None:
        return ()
    rows = paper_rows(
        setup.methods,
        {unit: some for unit, some in records.items() if unit in COST_UNITS} or records,
        reference=reference(setup.methods).contender,
        threshold=comparison.best_known - comparison.target,
        plans=_plans(runs),
        confidence=CONFIDENCE,
    )
    return tuple(replace(row, planner=_planner(setup, runs, row.method.contender)) for row in rows)


def _plans(runs: Sequence[RunOutcome]) -> dict[str, dict[int, object]]:
    plans: dict[str, dict[int, object]] = {}
    for run in runs:
        if run.has_result and run.plan is not None:
            plans.setdefault(run.allocator, {})[run.seed] = run.plan.canonical()
    return plans


def _planner(setup: PaperSetup, runs: Sequence[RunOutcome], contender: str) -> PlannerTold | None:
    if setup.folder.options[contender].planner is None:
        return None
    own = [run for run in runs if run.allocator == contender]
    costs = total(run.planner_spent for run in own if run.planner_spent is not None)
    return PlannerTold(
        sum(run.planner_calls for run in own),
        sum(run.planner_failed for run in own),
        costs.usd,
        together(run.share for run in own),
    )


def _pool(setup: PaperSetup, runs: Sequence[RunOutcome]) -> PoolUse:
    """Return what the searches that have a result show of the task's pool."""
    from agenttts.models.clients import Clients
    from agenttts.study.events import EVENTS_FILE, fold, read_events

    states = [fold(read_events(run.folder / EVENTS_FILE)[0]) for run in runs if run.has_result]
    if not states:
        return PoolUse()
    task, options = setup.folder.task, next(iter(setup.folder.options.values()))
    # Clients open no connection before the first draw; only recordings are looked at here.
    return pool_use(task, options.budget, states, Clients(task.cards).max_recorded)


# --- as plain data -----------------------------------------------------------------------------------------------


def paper_json(result: PaperResult) -> dict[str, Any]:
    """Return everything that the table shows, and every search."""
    from agenttts.report.paper_words import asked_text, how_made, legend, notes_text

    comparison, known = result.comparison, result.published
    return {
        "format": FORMAT,
        "task": result.setup.folder.task.file.name,
        "asked": asked_text(result),
        "folder": str(result.searches.folder),
        "page": str(result.searches.page),
        "figures_from": result.searches.figures_from,
        "n_seeds": result.n_seeds,
        "n_search": len(result.setup.folder.task.search),
        "n_test": result.n_test,
        "confidence": result.confidence,
        "compared_with": result.reference.label,
        "best_search_score": None if comparison is None else comparison.best_known,
        "target": None if comparison is None else comparison.target,
        "methods": [row.to_json() | _published_json(known, row) for row in result.rows],
        "missing": [
            {"method": one.label, "allocator": one.contender, "published": _figure_json(known, one)}
            for one in result.setup.missing
        ],
        "published_source": None if known is None else known.source,
        "published_note": None if known is None else known.note,
        "searches": [_search_json(result, run) for run in result.searches.runs],
        "spent_as_if_alone": cost_to_json(result.searches.spent),
        "really_paid": cost_to_json(result.searches.paid),
        "pool": result.pool.to_json(),
        "notes": notes_text(result),
        "how_made": [*legend(result), *how_made(result)],
    }


def _published_json(known: Published | None, row: PaperRow) -> dict[str, Any]:
    """Return what is printed of the method, or nothing where the row is no search of it."""
    return {
        "planner_gave_nothing": row.is_filled,
        "published": None if row.is_filled else _figure_json(known, row.method),
    }


def _figure_json(known: Published | None, method: Method) -> dict[str, float | None] | None:
    figure = None if known is None else known.figures.get(method.contender)
    return None if figure is None else {"score": figure.score, "hours": figure.hours}


def _search_json(result: PaperResult, run: RunOutcome) -> dict[str, Any]:
    score = result.test_of(run)
    return {
        "allocator": run.allocator,
        "seed": run.seed,
        "status": run.status,
        "message": run.message,
        "n_trials": run.n_trials,
        "spent": cost_to_json(run.spent),
        "allocation": None if run.plan is None else run.plan.to_json(),
        "test_score": result.mean_test_of(run),
        "n_test_failed": None if score is None else score.n_failed,
        "folder": str(run.folder),
    }
