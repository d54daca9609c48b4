"""Where the money goes: of a plan by stage, model and purpose, reading and writing apart; of the search by phase.

What a trial's calls were for is in its log (`Trial.parts`). Older logs hold only what each stage read and wrote in all:
there reading and writing are divided at the prices of the stage's own model, and the stage is one share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Cost, Unit, amount
from agenttts.budgets.cost_model import CostModel, Work
from agenttts.report.facts.values import Money, Purse, Share, Spending, StageMoney
from agenttts.study.archive import Trial

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord

__all__ = ["money_of", "purses", "stage_money"]

UNKNOWN_PURPOSE = "calls"
PHASES = {
    "pilot": "pilot",
    "trial": "trials",
    "round": "trials",
    "confirmed": "confirmation",
    "ended": "cut off",
}
"""Event -> what was paid for since the one before. What an `ended` adds went to trials that were cut off."""

Piece = tuple[str, str, Cost, Cost]
"""Model, purpose, what reading costs, what writing costs."""


def money_of(record: RunRecord, trials: Iterable[Trial], calls: Sequence[Spending]) -> Money:
    """Return where the money goes.

    Args:
        record: The run.
        trials: Those that are told in full, in this order.
        calls: What the store says was paid; empty where it cannot be read.
    """
    result = record.result
    return Money(
        trials=tuple(stage_money(trial, record.unit, record.cost_model) for trial in trials),
        spent=result.spent,
        purses=purses(record.events, result.n_paid, record.result.planner is not None),
        calls=tuple(calls),
        n_paid=result.n_paid,
        n_reused=result.n_reused,
    )


# --- of a plan -------------------------------------------------------------------------------------------------------


def stage_money(trial: Trial, unit: Unit, cost_model: CostModel) -> StageMoney:
    """Return what a problem costs under a trial's allocation, in parts that add up."""
    shares: list[Share] = []
    for stage, cost in trial.costs.items():
        pieces = list(_pieces(trial, stage, cost, cost_model))
        shares += _shares(stage, amount(cost, unit), pieces, unit)
    return StageMoney(
        trial=trial.number,
        shares=tuple(shares),
        total=sum(amount(cost, unit) for cost in trial.costs.values()),
        exact=bool(trial.parts) or not trial.costs,
    )


def _pieces(trial: Trial, stage: str, cost: Cost, cost_model: CostModel) -> Iterator[Piece]:
    if trial.parts:
        for part in trial.parts.get(stage, ()):
            yield part.model, part.purpose, part.prefill, part.decode
        return
    model = trial.allocation[stage].model
    if model not in cost_model.cards:
        return
    read, written = cost.prefill_tokens, cost.decode_tokens
    reading = cost_model.cost(model, Work(read, 0, 0, 0, read, 0))
    writing = cost_model.cost(model, Work(0, 0, written, 0, 0, written))
    yield model, UNKNOWN_PURPOSE, reading, writing


def _shares(stage: str, whole: float, pieces: Sequence[Piece], unit: Unit) -> list[Share]:
    """Return the pieces of a stage, scaled to its cost: the unit `paper` is not linear, and older logs are rough."""
    weights = [(_linear(reading, unit), _linear(writing, unit)) for _, _, reading, writing in pieces]
    total = sum(map(sum, weights))
    factor = whole / total if total else 0.0
    return [
        Share(
            stage=stage,
            model=model,
            purpose=purpose,
            prefill=read * factor,
            decode=written * factor,
            prefill_tokens=reading.prefill_tokens,
            decode_tokens=writing.decode_tokens,
        )
        for (model, purpose, reading, writing), (read, written) in zip(pieces, weights, strict=True)
        if read or written
    ]


def _linear(cost: Cost, unit: Unit) -> float:
    """Return a cost in a unit that adds up; unknown counts nothing."""
    if unit is Unit.TOKENS:
        return cost.prefill_tokens + cost.decode_tokens
    known = {
        Unit.GFLOPS: cost.flops,
        Unit.USD: cost.usd,
        Unit.SECONDS: cost.seconds,
        Unit.PAPER: cost.linear_flops,
    }
    return known[unit] or 0.0


# --- of the search ---------------------------------------------------------------------------------------------------


def purses(events: Iterable[Mapping[str, Any]], n_paid: int, asked: bool) -> tuple[Purse, ...]:
    """Return what each phase paid, from what events say was paid by then; phases that paid nothing are left out.

    Args:
        events: Of the log.
        n_paid: Draws that the run paid for in all.
        asked: Whether there is a planner, whose calls are a phase of their own.
    """
    events = list(events)
    spent: dict[str, Cost] = {}
    before = Cost()
    for event in events:
        told = event.get("spent_on_task") or event.get("spent")
        phase = PHASES.get(event["event"])
        if told is None or phase is None:
            continue
        now = Cost(**told)
        spent[phase] = spent.get(phase, Cost()) + _less(now, before)
        before = now
    draws = _draws(events)
    draws["cut off"] = n_paid - sum(draws.values())
    found = [Purse(phase, cost, draws.get(phase)) for phase, cost in spent.items() if _any(cost)]
    bill = next((e["planner_bill"] for e in reversed(events) if e.get("planner_bill")), None)
    if asked and bill is not None:
        found.append(Purse("planner", Cost(**bill["spent"]), None))
    return tuple(found)


def _draws(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the draws that the log says each phase paid for."""
    trials: dict[int, int] = {}
    last: dict[str, int] = {}
    for event in events:
        if event["event"] == "trial":
            trials.setdefault(event["trial"]["number"], event["trial"]["n_paid"])
        elif event["event"] == "pilot":
            last["pilot"] = event["n_paid"]
        elif event["event"] == "confirmed":
            both = [entry for entry in (event["winner"], event["runner_up"]) if entry]
            last["confirmation"] = last.get("confirmation", 0) + sum(entry["n_paid"] for entry in both)
    return {**last, "trials": sum(trials.values())}


def _less(now: Cost, before: Cost) -> Cost:
    """Return what was paid since; never below 0, for a store in memory forgets what it was paid."""
    told: dict[str, Any] = {}
    for one in fields(Cost):
        a, b = getattr(now, one.name), getattr(before, one.name)
        told[one.name] = None if a is None else max(0.0, a - (b or 0.0))
    return Cost(**told)


def _any(cost: Cost) -> bool:
    return bool(cost.prefill_tokens or cost.decode_tokens)
