"""The studies of a comparison: run, each from wherever it stands, and read from their logs into records; the bill.

The folder lives in `comparison_folder`, the statistics in `comparison`, the worker processes in `comparison_workers`,
how draws are shared in `comparison_pool`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agenttts.budgets.cost import Cost, Unit, amount, total
from agenttts.errors import InputError, RunError
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive
from agenttts.study.comparison_folder import ComparisonFolder
from agenttts.study.comparison_values import Comparison, RunRecord
from agenttts.study.comparison_workers import StudyJob, WorkerReport, run_jobs
from agenttts.study.events import EVENTS_FILE, StudyState, fold, read_events
from agenttts.study.result import StudyOptions

if TYPE_CHECKING:
    from agenttts.store.base import PaidCall

__all__ = [
    "ComparisonResult",
    "RunOutcome",
    "Truth",
    "outcomes",
    "paid",
    "read_record",
    "run_studies",
]

Truth = Mapping[Allocation, float]
"""True score of every allocation that may win, all within the budget; the best of them is the best known."""


Status = Literal["finished", "search_budget_exhausted", "failed", "unfinished"]


@dataclass(frozen=True)
class RunOutcome:
    """How one study of a comparison ended."""

    allocator: str
    seed: int
    folder: Path
    status: Status
    message: str = ""
    exit_code: int = 0
    spent: Cost = Cost()
    """What it would have paid alone."""
    plan: Allocation | None = None
    n_trials: int = 0
    planner_calls: int = 0
    planner_failed: int = 0
    """Calls to the planner that brought no text."""

    @property
    def counts(self) -> bool:
        """It came to its end, so that its figures are those of the allocator."""
        return self.status in {"finished", "search_budget_exhausted"}


@dataclass(frozen=True)
class ComparisonResult:
    """What a comparison found, and where it is kept."""

    comparison: Comparison | None
    """`None` where no study came to its end."""
    runs: tuple[RunOutcome, ...]
    folder: Path
    unit: Unit
    spent: Cost
    """What the studies would have paid together, had each been alone."""
    paid: Cost
    """What was really paid: draws that studies share were paid for once."""
    figures_from: str
    """Whose answers the figures are of, in a sentence."""
    page: Path | None = None

    @property
    def failures(self) -> tuple[RunOutcome, ...]:
        """Studies that failed; the same command goes on with them."""
        return tuple(run for run in self.runs if run.status == "failed")


# --- running -----------------------------------------------------------------------------------------------------


def run_studies(
    folder: ComparisonFolder,
    allocators: Sequence[str],
    seeds: Sequence[int],
    *,
    jobs: int,
    report: Callable[[WorkerReport], None],
) -> dict[tuple[str, int], WorkerReport]:
    """Run every study that has not come to its end; return the report of each that failed.

    Raises:
        KeyboardInterrupt: All has been kept; the same call goes on.
    """
    failed: dict[tuple[str, int], WorkerReport] = {}

    def hear(said: WorkerReport) -> None:
        if said.kind == "failed":
            failed[said.allocator, said.seed] = said
        report(said)

    # Seed by seed, so that what is there when a comparison is cut off is comparable.
    wanted = [(allocator, seed) for seed in seeds for allocator in allocators]
    missing = [place for place in wanted if not _outcome(folder, *place).counts]
    task = folder.task.to_json()
    if missing:
        run_jobs([_job(folder, task, *place) for place in missing], jobs, hear)
    return failed


def _job(folder: ComparisonFolder, task: dict[str, Any], allocator: str, seed: int) -> StudyJob:
    return StudyJob(
        allocator=allocator,
        seed=seed,
        folder=folder.study(allocator, seed),
        task=task,
        trust=folder.task.trusted,
        options=replace(folder.options[allocator], seed=seed).to_json(),
        pool_url=folder.store_url,
        payer=folder.payer,
        claims=folder.path / "claims.lock",
    )


def outcomes(
    folder: ComparisonFolder,
    allocators: Sequence[str],
    seeds: Sequence[int],
    failed: Mapping[tuple[str, int], WorkerReport],
) -> list[RunOutcome]:
    """Return how each study stands."""
    found = []
    for allocator in allocators:
        for seed in seeds:
            outcome = _outcome(folder, allocator, seed)
            report = failed.get((allocator, seed))
            if report is not None:
                outcome = replace(
                    outcome, status="failed", message=report.message, exit_code=report.exit_code
                )
            found.append(outcome)
    return found


_ENDINGS: Mapping[str, Status] = {
    "finished": "finished",
    "search_budget_exhausted": "search_budget_exhausted",
}


def _outcome(folder: ComparisonFolder, allocator: str, seed: int) -> RunOutcome:
    path = folder.study(allocator, seed)
    nothing = RunOutcome(allocator, seed, path, "unfinished")
    if not (path / EVENTS_FILE).exists():
        return nothing
    try:
        events, _ = read_events(path / EVENTS_FILE)
        if not events:
            return nothing
        state = fold(events)
    except RunError as error:  # damaged, or of a newer agenttts: one study, not the comparison
        return replace(nothing, status="failed", message=str(error), exit_code=error.exit_code)
    best = state.archive.best()
    status = state.ended["status"] if state.ended is not None else ""
    return replace(
        nothing,
        status=_ENDINGS.get(status, "unfinished"),
        message="" if state.ended is None else str(state.ended["message"]),
        spent=Cost() if state.spent is None else Cost(**state.spent),
        plan=None if best is None else best.allocation,
        n_trials=len(state.archive.trials),
        planner_calls=_planner_total(state, "calls"),
        planner_failed=_planner_total(state, "failed"),
    )


def _planner_total(state: StudyState, key: str) -> int:
    return sum(int((event.get("planner") or {}).get(key, 0)) for event in state.rounds)


def paid(folder: ComparisonFolder, runs: Sequence[RunOutcome]) -> Cost:
    """Return what the comparison has really paid, over all its runs: shared draws once, and every planner call."""
    from agenttts.budgets.cost_model import CostModel

    planner = folder.planner
    model = CostModel({**folder.task.cards, **({} if planner is None else {planner.name: planner})})
    with ThreadPoolExecutor(
        1
    ) as pool:  # a thread of its own: a notebook has an event loop running in this one
        calls = pool.submit(asyncio.run, _paid_calls(folder, runs)).result()
    return model.nothing() + total(model.charge(call.model, call.usage) for call in calls)


async def _paid_calls(folder: ComparisonFolder, runs: Sequence[RunOutcome]) -> list[PaidCall]:
    from agenttts.store.sql import open_store
    from agenttts.study.planner import PURPOSE

    store = open_store(folder.store_url)
    try:
        calls = await store.paid(folder.payer)
    finally:
        await store.aclose()
    for run in runs if folder.planner is not None else ():
        if run.status == "failed" or not (run.folder / EVENTS_FILE).exists():
            continue
        started = fold(read_events(run.folder / EVENTS_FILE)[0]).started
        own = open_store(started["store"])
        try:
            calls += [call for call in await own.paid(started["study_id"]) if call.purpose == PURPOSE]
        finally:
            await own.aclose()
    return calls


# --- reading -----------------------------------------------------------------------------------------------------


def read_record(path: Path, unit: Unit, truth: Truth | None = None) -> RunRecord | None:
    """Return the record of the study in a folder; `None` where it has no trial.

    Trials of one round run at the same time: all of them count as bought by the end of the round, so that the order in
    which they happened to finish has no say.

    Raises:
        RunError: The log cannot be read.
        InputError: `truth` lacks an allocation that led.
    """
    events, _ = read_events(path / EVENTS_FILE)
    state = fold(events)
    trials = state.archive.trials
    if not trials:
        return None
    leaders = [Archive(trials[: i + 1]).best() for i in range(len(trials))]
    options = StudyOptions.from_json(state.options)
    final = state.confirmed["winner"] if state.confirmed is not None else None
    return RunRecord(
        allocator=options.allocator,
        seed=options.seed,
        best=tuple(math.nan if leader is None else leader.score for leader in leaders),
        spend=_spend(events, state, unit),
        truth=None
        if truth is None
        else tuple(math.nan if leader is None else _true(truth, leader.allocation) for leader in leaders),
        test=None if final is None or final["invalid"] or not final["scores"] else dict(final["scores"]),
    )


def _spend(events: Sequence[Mapping[str, Any]], state: StudyState, unit: Unit) -> tuple[float, ...]:
    by_trial: dict[int, float] = {}
    for event in events:
        if event["event"] == "trial":
            by_trial.setdefault(event["trial"]["number"], amount(Cost(**event["spent"]), unit))
    first_of = {
        event["first"] + i: event["first"] for event in state.rounds for i in range(len(event["proposals"]))
    }
    by_round: dict[int, float] = {}
    for number, spent in by_trial.items():
        place = first_of.get(number, number)
        by_round[place] = max(by_round.get(place, 0.0), spent)
    spends: list[float] = []
    for trial in state.archive.trials:
        spent = by_round[first_of.get(trial.number, trial.number)]
        spends.append(max([spent, *spends[-1:]]))
    return tuple(spends)


def _true(truth: Truth, allocation: Allocation) -> float:
    for name in (allocation, allocation.canonical()):
        if name in truth:
            return truth[name]
    raise InputError(f"the truth holds no score of the allocation {allocation}, which led a search")
