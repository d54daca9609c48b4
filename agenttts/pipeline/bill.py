"""What answering a problem took, as plain data for the logs of harnesses and for served replies. Pure.

Token totals are over all calls of all stages, verifiers and critics included; a prompt counts once, however many
samples answered it. Unknown costs are `None`, never 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Cost

if TYPE_CHECKING:
    from agenttts.pipeline.base import Charge, StageChoice, StageOutput
    from agenttts.pipeline.plan import Plan, PlanAnswer

__all__ = ["Tokens", "bill_of", "cost_to_json", "plain", "stage_facts", "sum_of_bills", "tokens_of"]

LONGEST = 10_000
"""Characters that are kept of an answer that JSON cannot hold."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of all calls."""

    prefill: int
    decode: int

    @classmethod
    def of(cls, charges: Iterable[Charge]) -> Tokens:
        """Return those of calls."""
        usages = [charge.usage for charge in charges]
        return cls(
            sum(usage.prefill_tokens for usage in usages), sum(sum(usage.decode_tokens) for usage in usages)
        )

    @property
    def total(self) -> int:
        """Both together."""
        return self.prefill + self.decode

    def to_json(self) -> dict[str, int]:
        """Return plain data."""
        return {"prefill": self.prefill, "decode": self.decode}


def tokens_of(answer: PlanAnswer) -> Tokens:
    """Return the tokens of all calls that an answer took."""
    return Tokens.of(answer.usage)


def bill_of(plan: Plan, answer: PlanAnswer) -> dict[str, Any]:
    """Return an answer with its cost, tokens and stages, JSON-able.

    Stages tell what was chosen and what it cost, not the texts of samples.
    """
    choices = {choice.stage: choice for choice in plan.allocation.choices}
    return {
        "answer": plain(answer.answer),
        "allocation": str(plan.allocation),
        "cost": cost_to_json(answer.cost),
        "tokens": tokens_of(answer).to_json(),
        "calls": len(answer.usage),
        "stages": [
            _stage(name, output, choices.get(name), answer.stage_costs.get(name, Cost()))
            for name, output in answer.stages.items()
        ],
    }


def cost_to_json(cost: Cost) -> dict[str, float | None]:
    """Return a charged cost with a unit in each name."""
    return {
        "gflops": None if cost.flops is None else cost.flops * 1e-9,
        "usd": cost.usd,
        "prefill_tokens": cost.prefill_tokens,
        "decode_tokens": cost.decode_tokens,
    }


def sum_of_bills(bills: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return cost, tokens and calls of several bills together, and how many they are."""
    units = cost_to_json(Cost())
    return {
        "answers": len(bills),
        "cost": {unit: _sum(bill["cost"][unit] for bill in bills) for unit in units},
        "tokens": {kind: sum(bill["tokens"][kind] for bill in bills) for kind in ("prefill", "decode")},
        "calls": sum(bill["calls"] for bill in bills),
    }


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _stage(name: str, output: StageOutput, choice: StageChoice | None, cost: Cost) -> dict[str, Any]:
    """Return what one stage did; of a function or a test only its name and answer."""
    told = {"stage": name, "answer": plain(output.answer)}
    if choice is None:
        return told
    tokens = Tokens.of(output.charges).to_json()
    return {**told, **stage_facts(output, choice), "cost": cost_to_json(cost), "tokens": tokens}


def stage_facts(output: StageOutput, choice: StageChoice) -> dict[str, Any]:
    """Return what a stage that asks a model chose and made of its samples."""
    return {
        "model": choice.model,
        "n_samples": choice.n_samples,
        "select": choice.select,
        "skipped": output.skipped,
        "drawn": 0 if output.skipped else len(output.answers),
        "unparsed": sum(answer is None for answer in output.answers),
        "selected": output.selected,
        "unscored": output.judged.n_unscored,
    }


def plain(value: Any) -> Any:
    """Return a value that JSON can hold; of a function it may be anything."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)[:LONGEST]
    return value
