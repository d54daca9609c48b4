"""What answering a problem took, as plain data: for replies of a served plan and for the logs of harnesses. Pure.

Token totals are over all calls of all stages, verifiers and critics included; a prompt counts once, however many
samples answered it. Unknown costs are `None`, never 0.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from agenttts.budgets.cost import Cost, total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agenttts.pipeline.base import StageOutput
    from agenttts.pipeline.plan import Plan, PlanAnswer

__all__ = ["Tokens", "bill_of", "cost_to_json", "sum_of_bills", "tokens_of"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of all calls."""

    prefill: int
    decode: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.prefill + self.decode


def tokens_of(answer: PlanAnswer) -> Tokens:
    """Return the tokens of all calls that an answer took."""
    return Tokens(
        prefill=sum(charge.usage.prefill_tokens for charge in answer.usage),
        decode=sum(sum(charge.usage.decode_tokens) for charge in answer.usage),
    )


def bill_of(plan: Plan, answer: PlanAnswer) -> dict[str, Any]:
    """Return an answer with its cost, tokens and stages, JSON-able.

    Stages hold what was chosen and what it cost, not the texts of samples.
    """
    tokens = tokens_of(answer)
    models = {choice.stage: choice.model for choice in plan.allocation.choices}
    return {
        "answer": _plain(answer.answer),
        "cost": cost_to_json(answer.cost),
        "tokens": {"prefill": tokens.prefill, "decode": tokens.decode},
        "n_calls": len(answer.usage),
        "stages": {
            name: {"model": models.get(name)} | _stage(output, answer.stage_costs.get(name))
            for name, output in answer.stages.items()
        },
    }


def cost_to_json(cost: Cost) -> dict[str, float | None]:
    """Return a charged cost with a unit in each name."""
    return asdict(cost)


def sum_of_bills(bills: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return cost, tokens and calls of several bills together, and how many they are."""
    bills = list(bills)
    return {
        "n": len(bills),
        "cost": cost_to_json(total(Cost(**bill["cost"]) for bill in bills)),
        "tokens": {kind: sum(int(bill["tokens"][kind]) for bill in bills) for kind in ("prefill", "decode")},
        "n_calls": sum(int(bill["n_calls"]) for bill in bills),
    }


def _stage(output: StageOutput, cost: Cost | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "answer": _plain(output.answer),
        "n_samples": 0 if output.skipped else len(output.answers),
        "selected": output.selected,
        "cost": None if cost is None else cost_to_json(cost),
        "notes": list(output.notes),
    }
    return said | ({"skipped": True} if output.skipped else {})


def _plain(value: Any) -> Any:
    """Return an answer as JSON knows it; what JSON does not know as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
