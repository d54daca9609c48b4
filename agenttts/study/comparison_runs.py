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
from agenttts.errors import CardError, RunError
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive
from agenttts.study.comparison_folder import ComparisonFolder
from agenttts.study.comparison_truth import Truth, true_scores
from agenttts.study.comparison_values import Comparison, RunRecord
from agenttts.study.comparison_workers import StudyJob, WorkerReport, run_jobs
from agenttts.study.contenders import contender_name
from agenttts.study.events import EVENTS_FILE, StudyState, fold, read_events
from agenttts.study.planner_share import PlannerShare, planner_share
from agenttts.study.result import StudyOptions

if TYPE_CHECKING:
    from agenttts.store.base import PaidCall

__all__ = [
    "ComparisonResult",
    "RunOutcome",
    "amount_or_none",
    "left_out",
    "outcomes",
    "paid",
    "paid_parts",
    "read_record",
    "run_studies",
]

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
    spent_on_task: Cost = Cost()
    """The same without its planner."""
    plan: Allocation | None = None
    n_trials: int = 0
    planner_calls: int = 0
    planner_failed: int = 0
    """Calls to the planner that brought no text."""
    planner_spent: Cost | None = None
    """How much of `spent` its calls to the planner were; `None` where none was asked."""
    share: PlannerShare = PlannerShare()
    """How much of the search was its planner's."""

    @property
    def counts(self) -> bool:
        """It came to its end, so that its figures are those of the allocator."""
        return self.status in {"finished", "search_budget_exhausted"}

    @property
    def has_result(self) -> bool:
        """It has figures; a study whose search budget ended before its first trial came to its end without."""
        return self.counts and self.n_trials > 0


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
    left_out: tuple[str, ...] = ()
    """Studies that the folder holds and nobody asked for this time: allocators, or seeds of those that were asked for."""

    @property
    def exit_code(self) -> int:
        """As the command line ends with: of the first study that failed, else 3 where a search budget was reached."""
        if self.failures:
            return self.failures[0].exit_code or 1
        return 3 if any(run.status == "search_budget_exhausted" for run in self.runs) else 0

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


def left_out(folder: ComparisonFolder, runs: Sequence[RunOutcome]) -> tuple[str, ...]:
    """Return what studies the folder holds besides `runs`: `tpe` for an allocator, `tpe (3 more seeds)` for seeds."""
    asked = {run.folder for run in runs}
    found: dict[str, list[int]] = {}
    for log in sorted(folder.path.glob(f"*/seed-*/{EVENTS_FILE}")):
        if log.parent in asked:
            continue
        try:
            options = fold(read_events(log)[0]).options
        except RunError:  # damaged: it tells nothing, and nobody asked
            continue
        name = contender_name(str(options["allocator"]), options.get("switches") or {})
        found.setdefault(name, []).append(int(options["seed"]))
    names = {run.allocator for run in runs}
    return tuple(name if name not in names else f"{name} ({_seeds(seeds)})" for name, seeds in found.items())


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} more {'seed' if len(seeds) == 1 else 'seeds'}"


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
        spent_on_task=Cost(**(state.spent_on_task or state.spent or {})),
        plan=None if best is None else best.allocation,
        n_trials=len(state.archive.trials),
        planner_calls=_planner_total(state, "calls"),
        planner_failed=_planner_total(state, "failed"),
        planner_spent=_planner_spent(state, state.rounds),
        share=planner_share(state.rounds, StudyOptions.from_json(state.options).allocator),
    )


def _planner_spent(state: StudyState, rounds: Sequence[Mapping[str, Any]]) -> Cost | None:
    """Return what the calls of some rounds to the planner cost; `None` where the study has no planner.

    The log holds tokens by round: calls of one round are taken to be equally long, which matters for attention only.
    """
    from agenttts.budgets.cost_model import CostModel

    card = StudyOptions.from_json(state.options).planner
    if card is None:
        return None
    model = CostModel({card.name: card})
    spent = model.nothing()
    for event in rounds:
        tally: Mapping[str, int] = event.get("planner") or {}
        n = max(1, tally["calls"]) if tally else 0
        for i in range(n):
            read, written = (_share(tally[key], n, i) for key in ("prefill_tokens", "decode_tokens"))
            spent += model.charge(card.name, CallUsage(read, (written,)))
    return spent


def _share(whole: int, n: int, place: int) -> int:
    """Return one of `n` nearly equal whole parts."""
    return whole * (place + 1) // n - whole * place // n


def _planner_total(state: StudyState, key: str) -> int:
    return sum(int((event.get("planner") or {}).get(key, 0)) for event in state.rounds)


def paid(folder: ComparisonFolder, runs: Sequence[RunOutcome]) -> Cost:
    """Return what the comparison has really paid, over all its runs: shared draws once, and every planner call."""
    return total(paid_parts(folder, runs))


def paid_parts(folder: ComparisonFolder, runs: Sequence[RunOutcome]) -> tuple[Cost, Cost]:
    """Return what was really paid, see `paid`, in two parts: for draws, and for calls to planners."""
    from agenttts.budgets.cost_model import CostModel
    from agenttts.study.planner import PURPOSE

    planner = folder.planner
    model = CostModel({**folder.task.cards, **({} if planner is None else {planner.name: planner})})
    with ThreadPoolExecutor(
        1
    ) as pool:  # a thread of its own: a notebook has an event loop running in this one
        calls = pool.submit(asyncio.run, _paid_calls(folder, runs)).result()
    draws = [model.charge(call.model, call.usage) for call in calls if call.purpose != PURPOSE]
    advice = [model.charge(call.model, call.usage) for call in calls if call.purpose == PURPOSE]
    return total([CostModel(folder.task.cards).nothing(), *draws]), total(advice)


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


def read_record(
    path: Path, unit: Unit, truth: Truth | None = None, *, with_planner: bool = True
) -> RunRecord | None:
    """Return the record of the study in a folder; `None` where it has no trial.

    Spend counts calls to the planner, or leaves them out, as `with_planner` says. Trials of one round run at the same
    time: all of them count as bought by the end of the round, so that the order in which they happened to finish has no
    say.

    Raises:
        RunError: The log cannot be read.
    """
    events, _ = read_events(path / EVENTS_FILE)
    state = fold(events)
    trials = state.archive.trials
    if not trials:
        return None
    leaders = [Archive(trials[: i + 1]).best() for i in range(len(trials))]
    options = StudyOptions.from_json(state.options)
    scores, lacking = (
        (None, None)
        if truth is None
        else true_scores(truth, [None if leader is None else leader.allocation for leader in leaders])
    )
    final = state.confirmed["winner"] if state.confirmed is not None else None
    return RunRecord(
        allocator=contender_name(options.allocator, options.switches),
        seed=options.seed,
        best=tuple(math.nan if leader is None else leader.score for leader in leaders),
        spend=_spend(events, state, unit, "spent" if with_planner else "spent_on_task"),
        truth=scores,
        lacking="" if lacking is None else str(lacking),
        test=None if final is None or final["invalid"] or not final["scores"] else dict(final["scores"]),
        planner_spend=_planner_spend(state, unit) if with_planner else None,
    )


def _planner_spend(state: StudyState, unit: Unit) -> tuple[float, ...] | None:
    spends: list[float] = []
    for trial in state.archive.trials:
        cost = _planner_spent(state, [event for event in state.rounds if event["first"] <= trial.number])
        known = amount_or_none(cost, unit)
        if known is None:
            return None
        spends.append(known)
    return tuple(spends)


def amount_or_none(cost: Cost | None, unit: Unit) -> float | None:
    """Return a cost in a unit; `None` where the cards do not tell."""
    try:
        return None if cost is None else amount(cost, unit)
    except CardError:
        return None


def _spend(
    events: Sequence[Mapping[str, Any]], state: StudyState, unit: Unit, bill: str
) -> tuple[float, ...]:
    by_trial: dict[int, float] = {}
    for event in events:
        if event["event"] == "trial":
            spent = event.get(bill) or event["spent"]  # studies without a planner have one bill
            by_trial.setdefault(event["trial"]["number"], amount(Cost(**spent), unit))
    first_of = {
        event["first"] + i: event["first"] for event in state.rounds for i in range(len(event["proposals"]))
    }
    by_round: dict[int, float] = {}
    for number, value in by_trial.items():
        place = first_of.get(number, number)
        by_round[place] = max(by_round.get(place, 0.0), value)
    spends: list[float] = []
    for trial in state.archive.trials:
        so_far = by_round[first_of.get(trial.number, trial.number)]
        spends.append(max([so_far, *spends[-1:]]))
    return tuple(spends)
