"""What one problem costs within the budget, in the budget's unit and in the paper's, GFLOPs and USD. Nothing is drawn.

Costs are those of the space: expected, charged, fusion and verifiers included. A unit that some card cannot tell, or
that has no meaning for a model, is unknown with its reason; the others are told all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts._cli.console import clean, fold, table
from agenttts._cli.words import amount_text
from agenttts.budgets.cost import NEEDED_ON_CARD, Budget, Unit
from agenttts.errors import CardError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agenttts.allocators.space import Indices, Space
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.lengths import Lengths
    from agenttts.pipeline.base import Allocation
    from agenttts.task.task import Task

__all__ = ["Amounts", "ProblemCosts", "problem_costs", "problem_json", "problem_table"]

ALWAYS = (Unit.PAPER, Unit.GFLOPS, Unit.USD)
MOST_NAMED = 4
"""Cards named where a unit is unknown."""


@dataclass(frozen=True)
class Amounts:
    """What one problem is expected to be charged, in one unit."""

    cheapest: float
    """By the allocation that costs least in the unit of the budget."""
    dearest: float
    """By the one that costs most of those that fit, in the unit of the budget."""
    most: float
    """By the one that costs most of those that fit, in this unit: what the budget is worth in it."""


@dataclass(frozen=True)
class ProblemCosts:
    """What one problem is expected to be charged, by unit."""

    cheapest: Allocation
    dearest: Allocation
    amounts: Mapping[Unit, Amounts]
    """The unit of the budget comes first."""
    unknown: Mapping[Unit, str]
    """Why a unit cannot be told."""
    n_seen: int
    """Allocations that fit and were looked at."""
    exact: bool
    """They are all that fit, not a sample."""


def problem_costs(
    task: Task,
    lengths: Lengths,
    cost_model: CostModel,
    space: Space,
    drawn: Indices,
    max_recorded: Callable[[str, str], int | None] | None = None,
) -> ProblemCosts:
    """Return what one problem costs, in the unit of the budget and in those of the paper, GFLOPs and USD.

    Args:
        task: The task.
        lengths: What is known about token counts.
        cost_model: Prices the tokens.
        space: Its allocations, with costs in the unit of the budget.
        drawn: Allocations that fit, looked at where the space is too large to be listed.
        max_recorded: As the space was built with.
    """
    from agenttts.allocators.space import Space

    fitting = space.feasible_indices() if space.enumerable else drawn
    dearest = space.allocation(fitting[int(space.cost_array(fitting).argmax())])
    amounts, unknown = {space.budget.unit: _amounts(space, space.cheapest, dearest, fitting)}, {}
    for unit in ALWAYS:
        if unit in amounts:
            continue
        try:
            other = Space.build(task, lengths, cost_model, Budget(float("inf"), unit), max_recorded)
        except CardError:
            unknown[unit] = _why_unknown(cost_model, unit, task.charged_models)
        else:
            amounts[unit] = _amounts(other, space.cheapest, dearest, fitting)
    return ProblemCosts(space.cheapest, dearest, amounts, unknown, len(fitting), space.enumerable)


def _amounts(space: Space, cheapest: Allocation, dearest: Allocation, fitting: Indices) -> Amounts:
    return Amounts(space.cost(cheapest), space.cost(dearest), float(space.cost_array(fitting).max()))


def _why_unknown(cost_model: CostModel, unit: Unit, charged: Collection[str]) -> str:
    lacking = cost_model.lacking(unit, charged)
    if not lacking:
        # The space refuses the affine unit of the paper where it sees nothing of a stage.
        return "it sees nothing of some stage, for it is meant for models of about 3B and more"
    named = ", ".join(map(clean, lacking[:MOST_NAMED]))
    more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    return f"no {NEEDED_ON_CARD[unit]} on the card of {named}{more}"


def problem_table(costs: ProblemCosts, budget: Budget) -> str:
    """Return the costs for people: a row per allocation, a column per unit."""
    figures = [
        [name, *(amount_text(getattr(amounts, name)) for amounts in costs.amounts.values())]
        for name in ("cheapest", "dearest", "most")
    ]
    own = [amount_text(budget.amount), *[""] * (len(costs.amounts) - 1)]
    head = ["One problem", *(unit.label for unit in costs.amounts)]
    which = "that fit" if costs.exact else f"of {costs.n_seen:,} drawn that fit"
    return "\n".join(
        [
            table(head, [*figures, ["budget", *own]], right=range(1, len(head))),
            *(fold(f"{unit.label} unknown: {clean(why, limit=400)}") for unit, why in costs.unknown.items()),
            fold(f"`most`: each unit at the allocation that needs most of it, of those {which}."),
        ]
    )


def problem_json(costs: ProblemCosts) -> dict[str, Any]:
    """Return the costs for machines; what is unknown is null and has its reason."""

    def by_unit(name: str) -> dict[str, float | None]:
        known = {unit.value: getattr(amounts, name) for unit, amounts in costs.amounts.items()}
        return {**known, **{unit.value: None for unit in costs.unknown}}

    return {
        "cheapest": {"allocation": costs.cheapest.to_json(), "cost": by_unit("cheapest")},
        "dearest": {"allocation": costs.dearest.to_json(), "cost": by_unit("dearest")},
        "most": by_unit("most"),
        "exact": costs.exact,
        "unknown": {unit.value: why for unit, why in costs.unknown.items()},
    }
