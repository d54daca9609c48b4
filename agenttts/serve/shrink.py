"""A smaller budget for one request: the plan's allocation with fewer samples, or with stages that run more rarely.

The models stay those of the plan: others were not chosen, and may not be within reach. What a smaller allocation costs
is expected from token counts: those of the task file, fitted to the tokens that the plan was measured to take, then what
served problems show; all scaled so that the plan itself costs what it was measured to. The budget is kept on average; a
single problem may cost more or less, as under a plan.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit, amount, total
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths, Part
from agenttts.errors import InfeasibleBudgetError, InputError
from agenttts.pipeline.base import Allocation, StageOutput
from agenttts.pipeline.plan import Plan
from agenttts.serve.refused import Refused

__all__ = ["Fitted", "Shrinker"]

HEADER = "x-agenttts-budget"
MOST_KEPT = 256
"""Budgets whose allocations are kept; the one that was used longest ago goes first."""


@dataclass(frozen=True)
class Fitted:
    """An allocation under a budget."""

    allocation: Allocation
    budget: Budget
    expected: float
    """What a problem is expected to cost, in the unit of the budget."""
    changes: str
    """What differs from the plan, in words; empty: nothing."""


@dataclass
class Shrinker:
    """Allocations of one plan by budget. Holds what it has worked out."""

    plan: Plan
    cost_model: CostModel
    _lengths: Lengths = field(init=False)
    _n_observed: int = 0
    _spaces: dict[Unit, tuple[Space, float]] = field(default_factory=dict)
    _fitted: OrderedDict[Budget, Fitted] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._lengths = _fitted_lengths(self.plan, self.cost_model)

    def observe(self, outputs: Mapping[str, StageOutput]) -> None:
        """Learn from a problem that was answered. Costs are worked out anew after 1, 2, 4, 8, ... of them."""
        for stage, output in outputs.items():
            for charge in output.charges:
                if charge.purpose == "draw":
                    for decode in charge.usage.decode_tokens:
                        self._lengths.observe(stage, charge.model, charge.usage.prefill_tokens, decode)
        self._n_observed += 1
        if self._n_observed & (self._n_observed - 1) == 0:
            self._spaces.clear()
            self._fitted.clear()

    @property
    def unit(self) -> Unit:
        """Unit of a budget that names none."""
        return self.plan.task.file.budget.unit if self.plan.budget is None else self.plan.budget.unit

    def fitted(self, text: str) -> Fitted:
        """Return the allocation for the budget that a request names, e.g. `0.1` or `0.002usd`.

        Raises:
            Refused: It cannot be read, or is too small for the plan.
        """
        try:
            budget = Budget.parse(text[:100], self.unit)
            if budget not in self._fitted:
                self._fitted[budget] = self._fit(budget)
        except (InputError, InfeasibleBudgetError) as error:
            raise Refused(f"{HEADER}: {error}", code="budget", param=HEADER) from error
        self._fitted.move_to_end(budget)
        if len(self._fitted) > MOST_KEPT:
            self._fitted.popitem(last=False)
        return self._fitted[budget]

    def least(self) -> Budget:
        """Return the smallest budget that a request can set, in the unit of a budget that names none.

        Raises:
            CardError: A card lacks what costs in this unit need.
        """
        space, scale = self._space(self.unit)
        own, _ = space.repair(self.plan.allocation)
        return Budget(_rounded_up(space.cost(self._least(space, own)) * scale), self.unit)

    def _fit(self, budget: Budget) -> Fitted:
        space, scale = self._space(budget.unit)
        own, _ = space.repair(self.plan.allocation)
        if space.cost(own) * scale <= budget.amount:
            return Fitted(self.plan.allocation, budget, space.cost(own) * scale, "")
        least = self._least(space, own)
        if space.cost(least) * scale > budget.amount:
            needed = Budget(space.cost(least) * scale, budget.unit)
            raise InfeasibleBudgetError(
                f"{budget} is too small: the least that this plan's models are expected to take is {needed} ({least})"
            )
        smaller, changes = replace(space, budget=replace(budget, amount=budget.amount / scale)).repair(own)
        if _models(smaller) != _models(own):
            smaller, changes = least, f"{own} -> {least}"
        return Fitted(smaller, budget, space.cost(smaller) * scale, changes)

    def _space(self, unit: Unit) -> tuple[Space, float]:
        """Return all allocations with their expected costs, and what these are to be multiplied by."""
        if unit not in self._spaces:
            self.cost_model.require(unit, {choice.model for choice in self.plan.allocation.choices})
            unlimited = Budget(sys.float_info.max / 2, unit)
            space = Space.build(self.plan.task, self._lengths, self.cost_model, unlimited)
            self._spaces[unit] = space, self._scale(space, unit)
        return self._spaces[unit]

    def _scale(self, space: Space, unit: Unit) -> float:
        measured = self.plan.cost_per_problem
        if measured is None or unit is Unit.PAPER:  # affine: a sum over stages cannot be read in it
            return 1.0
        expected = space.cost(space.repair(self.plan.allocation)[0])
        return amount(measured, unit) / expected if expected > 0 else 1.0

    def _least(self, space: Space, own: Allocation) -> Allocation:
        """Return the cheapest allocation with the plan's models, stages that run on every problem running still."""
        found = []
        for choices, now in zip(space.stages, own.choices, strict=True):
            same = [c for c in choices if c.model == now.model and _no_more(c.below, now.below)]
            found.append(min(same or [now], key=lambda c: (space.cost_of(c), c.below or 0.0)))
        return space.distinct(Allocation(tuple(found)))


def _fitted_lengths(plan: Plan, cost_model: CostModel) -> Lengths:
    """Return the task's lengths, all prompts and all completions scaled to what the plan was measured to take."""
    prior, measured = Lengths.of_task(plan.task), plan.cost_per_problem
    if measured is None:
        return prior
    on = [choice for choice in plan.allocation.choices if choice.below != 0]
    expected = total(prior.expected(cost_model, choice) for choice in on)
    ratios: dict[Part, float] = {
        "prefill": measured.prefill_tokens / (expected.prefill_tokens or 1),
        "decode": measured.decode_tokens / (expected.decode_tokens or 1),
    }
    scaled = {
        (part, choice.stage, choice.model): max(1.0, ratio * prior.mean(choice.stage, choice.model, part))
        for choice in on
        for part, ratio in ratios.items()
    }
    return Lengths.of_task(plan.task, recorded=scaled)


def _rounded_up(value: float) -> float:
    """Return the next number of three digits that is no smaller."""
    if value <= 0:
        return value
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / step) * step:.3g}")


def _no_more(below: float | None, now: float | None) -> bool:
    return (below is None) == (now is None) if below is None or now is None else below <= now


def _models(allocation: Allocation) -> Mapping[str, str | None]:
    return {c.stage: None if c.below == 0 else c.model for c in allocation.choices}
