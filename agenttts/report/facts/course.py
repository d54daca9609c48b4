"""How the search went: best so far against trials and spend, what was reused, what planners say they learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Cost, Unit, amount
from agenttts.report.facts.values import Course, InsightFact, RoundFact, Step
from agenttts.study.planner import turn_from_json

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import Trial

__all__ = ["course_of", "spending_unit"]


def spending_unit(unit: Unit) -> Unit:
    """Return the unit in which sums over calls are told: `paper` counts one problem and cannot add up."""
    return Unit.GFLOPS if unit is Unit.PAPER else unit


def course_of(record: RunRecord) -> Course:
    """Return how the search went."""
    trials, use = record.archive.trials, record.result.planner
    paid, reused = sum(t.n_paid for t in trials), sum(t.n_reused for t in trials)
    ran = sum(_n_run(trial) for trial in trials)
    stopped = [trial for trial in trials if trial.status == "stopped"]
    return Course(
        steps=tuple(_steps(record)),
        spent_unit=spending_unit(record.unit).value,
        rounds=tuple(_round(event, record.by_number) for event in record.state.rounds),
        n_stopped=len(stopped),
        n_rollouts=ran,
        n_rollouts_saved=sum(len(record.problem_ids) - _n_run(trial) for trial in stopped),
        reuse=reused / (paid + reused) if paid + reused else None,
        planner_calls=0 if use is None else use.calls,
        planner_failed=0 if use is None else use.failed,
        planner_notes=() if use is None else use.notes,
    )


def _n_run(trial: Trial) -> int:
    return len(trial.scores) + trial.n_failed


def _steps(record: RunRecord) -> Iterator[Step]:
    """Give the state of the search after each trial, in the order in which they ended; the first of a number counts."""
    unit, begun = spending_unit(record.unit), record.state.started.get("at")
    best: Trial | None = None
    seen: set[int] = set()
    n_paid = n_reused = 0
    for event in record.events:
        if event["event"] != "trial" or event["trial"]["number"] in seen:
            continue
        trial = record.by_number[event["trial"]["number"]]
        seen.add(trial.number)
        n_paid, n_reused = n_paid + trial.n_paid, n_reused + trial.n_reused
        if trial.status == "ok" and (best is None or _rank(trial) < _rank(best)):
            best = trial
        yield Step(
            trial=trial.number,
            best=None if best is None else best.number,
            best_score=None if best is None else best.score,
            spent=_spent(event, unit),
            n_paid=n_paid,
            n_reused=n_reused,
            after_s=None if begun is None or event.get("at") is None else max(0.0, event["at"] - begun),
        )


def _rank(trial: Trial) -> tuple[float, float, int]:
    """Order as `Archive.ranked` does."""
    return -trial.score, trial.charged, trial.number


def _spent(event: Mapping[str, Any], unit: Unit) -> float | None:
    told = event.get("spent")
    if told is None:
        return None
    cost = Cost(**told)
    known = {Unit.GFLOPS: cost.flops, Unit.USD: cost.usd, Unit.SECONDS: cost.seconds}.get(unit, 0.0)
    return None if known is None else amount(cost, unit)


def _round(event: Mapping[str, Any], by_number: Mapping[int, Trial]) -> RoundFact:
    number, first = int(event["round"]), int(event["first"])
    planned = range(first, first + len(event["proposals"]))
    insights = turn_from_json(event)[0] if "memory" in event else []
    return RoundFact(
        round=number,
        trials=tuple(n for n in planned if n in by_number),
        origins=dict(Counter(proposal["origin"] for proposal in event["proposals"])),
        n_feasible=event.get("n_feasible"),
        insights=tuple(InsightFact(number, i.text, i.trials, i.confidence) for i in insights),
        notes=tuple(event.get("notes", ())),
    )
