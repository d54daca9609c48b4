"""The allocations to choose from, what each is expected to cost, and which of them fit the budget.

Expected costs add up by stage, so the feasible set is that of a knapsack; a stage that runs on a condition counts with
the share of problems on which it is expected to run (see `conditional`). Allocations that differ only in the choice of a
stage to which no problem is sent are one. Small spaces are enumerated; in large ones
points are placed by counting completions on a grid of costs. Nothing here draws or scores anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.conditional import Conditional, add_up, cheapest_of, least_costs
from agenttts.allocators.repair import repaired
from agenttts.allocators.structure import Structure, stage_choices
from agenttts.budgets.cost import Budget, Unit, amount
from agenttts.errors import CardError, InfeasibleBudgetError, InputError
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import Allocation, StageChoice

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.budgets.lengths import Lengths
    from agenttts.task.task import Task

__all__ = ["Indices", "Space", "Structure", "refuse_hopeless", "stage_choices"]

Indices = NDArray[np.int32]
"""Allocations as one index per stage into `Space.stages`, shape (n_allocations, n_stages)."""

ENUMERATED_UP_TO = 2_000_000
"""Spaces of up to this many allocations are enumerated."""
N_BINS = 2048
MOST_ROUNDS = 1000
"""Tries to draw what fits."""
N_COUNTING = 20_000
"""Points of the Monte Carlo estimate of the number of feasible allocations."""
SLACK = 1e-9
"""Relative; sums of the same costs in another order may differ in the last bits."""


def _require_meaning(
    stages: Sequence[Sequence[StageChoice]], costs: Sequence[Sequence[float]], unit: Unit
) -> None:
    """Refuse the unit `paper` for stages of which it sees nothing: models much smaller than the paper's."""
    for choices, known in zip(stages, costs, strict=True):
        if unit is Unit.PAPER and max(known) <= 0:
            raise CardError(
                f"a budget in {unit.label} has no meaning here: every choice of stage {choices[0].stage} counts as 0. "
                "The unit is meant for models of about 3B parameters and more; use gflops"
            )


@dataclass(frozen=True)
class Space:
    """Every allocation, with expected costs and the budget.

    Build it with `Space.build`; the constructor takes any costs.
    """

    stages: tuple[tuple[StageChoice, ...], ...]
    """Choices by LLM stage, in the order of the task."""
    costs: tuple[tuple[float, ...], ...]
    """Expected charged cost of each choice on a problem on which its stage runs, in the unit of the budget."""
    budget: Budget
    structure: Structure = field(default_factory=Structure)
    conditionals: tuple[Conditional, ...] = ()
    """For each stage that runs on a condition, how often it does; a watched stage runs always."""

    def __post_init__(self) -> None:
        if self.cost(self.cheapest) > self._limit:
            raise InfeasibleBudgetError(self._why_infeasible())

    @classmethod
    def build(
        cls,
        task: Task,
        lengths: Lengths,
        cost_model: CostModel,
        budget: Budget,
        max_recorded: Callable[[str, str], int | None] | None = None,
    ) -> Space:
        """Return the space of a task, with costs expected from the lengths known so far.

        Raises:
            InfeasibleBudgetError: Not even the cheapest allocation fits.
            InputError: A recording holds no draw that a stage could use.
            CardError: A card lacks what the unit of the budget needs, or describes a model that the unit cannot count.
        """
        structure = Structure.of(task)
        stages = []
        for name in task.llm_stages:
            choices = stage_choices(name, task.file.stages[name], max_recorded)
            if not choices:
                raise InputError(
                    f"stages.{name}: the recordings hold too few draws for any of its numbers of samples; "
                    "give a smaller `n_samples` or record more"
                )
            stages.append(choices)
        costs = tuple(
            tuple(
                0.0 if choice.below == 0 else lengths.expected_cost(cost_model, choice, budget.unit)
                for choice in choices
            )
            for choices in stages
        )
        _require_meaning(stages, costs, budget.unit)
        names = task.llm_stages
        conditionals = tuple(
            Conditional.build(
                stages,
                names.index(name),
                names.index(watched),
                lengths.run_shares.share,
                [names.index(other) for other in structure.routes.get(name, ())],
            )
            for name, watched in structure.when.items()
        )
        return cls(tuple(stages), costs, budget, structure, conditionals)

    @property
    def _limit(self) -> float:
        return self.budget.amount * (1 + SLACK)

    def _why_infeasible(self) -> str:
        unit = self.budget.unit
        cheapest = self.cheapest
        return (
            f"no allocation fits the budget of {self.budget} per problem: the cheapest, {cheapest}, "
            f"is expected to cost {Budget(self.cost(cheapest), unit)}. Give a larger budget, or add cheaper models"
        )

    @cached_property
    def cheapest(self) -> Allocation:
        """The allocation that is expected to cost least."""
        return self.allocation(self.once(np.array([cheapest_of(self.costs, self.conditionals)]))[0])

    @cached_property
    def least_costs(self) -> tuple[tuple[float, ...], ...]:
        """The least that each choice is expected to cost: `costs`, less for stages that run on a condition."""
        return least_costs(self.costs, self.conditionals)

    @property
    def n_stages(self) -> int:
        """LLM stages."""
        return len(self.stages)

    @cached_property
    def size(self) -> int:
        """Number of allocations, feasible or not, repeats counted."""
        return prod(len(choices) for choices in self.stages)

    @property
    def enumerable(self) -> bool:
        """Whether the space is small enough to be listed; then `n_feasible` is exact."""
        return self.size <= ENUMERATED_UP_TO

    @cached_property
    def n_feasible(self) -> int:
        """Number of allocations that fit: exact where `enumerable`, else estimated to about 1 %."""
        if self.enumerable:
            return len(self._feasible_flat)
        _, fits = self._place_raw(np.random.default_rng(0).random((N_COUNTING, self.n_stages)))
        return max(1, round(float(self._completions[0][-1]) * float(fits.mean())))

    @cached_property
    def _places(self) -> tuple[dict[StageChoice, int], ...]:
        return tuple({choice: i for i, choice in enumerate(choices)} for choices in self.stages)

    def cost_of(self, choice: StageChoice) -> float:
        """Return the expected charged cost of a stage's choice on a problem on which it runs; see `stage_costs`.

        Raises:
            KeyError: The choice is not in the space.
        """
        for choices, costs, places in zip(self.stages, self.costs, self._places, strict=True):
            if choices[0].stage == choice.stage:
                return costs[places[choice]]
        raise KeyError(choice)

    def cost(self, allocation: Allocation) -> float:
        """Return the expected charged cost of one problem, in the unit of the budget.

        Raises:
            KeyError: The allocation is not in the space.
        """
        return sum(self.stage_costs(allocation))

    def stage_costs(self, allocation: Allocation) -> tuple[float, ...]:
        """Return what each stage adds to the expected charged cost of one problem, in the unit of the budget.

        Raises:
            KeyError: The allocation is not in the space.
        """
        index = self.index(allocation)
        if index is None:
            raise KeyError(allocation)
        found = [costs[i] for costs, i in zip(self.costs, index, strict=True)]
        for one in self.conditionals:
            found[one.stage] *= float(one.at(np.array([index]))[0])
        return tuple(found)

    def feasible(self, allocation: Allocation) -> bool:
        """Return whether the allocation is in the space, expected to fit the budget, and repeats no other (`once`)."""
        index = self.index(allocation)
        return index is not None and bool(self.fits(np.array([index], dtype=np.int32))[0])

    def fits(self, indices: Indices) -> NDArray[np.bool_]:
        """Return which allocations are expected to fit the budget and repeat no other, shape (n_allocations,)."""
        fits: NDArray[np.bool_] = self.cost_array(indices) <= self._limit
        for one in self.conditionals:
            fits &= ~one.repeats(indices)
        return fits

    def once(self, indices: Indices) -> Indices:
        """Return allocations with the first choice for stages that the settings before leave nothing.

        Such a stage never runs, so its choices all make the same allocation; it is in the space once.
        """
        found = indices.copy()
        for one in self.conditionals:
            found[one.repeats(found), one.stage] = 0
        return found

    def distinct(self, allocation: Allocation) -> Allocation:
        """Return the one of the allocations that make the same calls which is in the space; see `once`.

        Raises:
            KeyError: The allocation is not in the space.
        """
        index = self.index(allocation)
        if index is None:
            raise KeyError(allocation)
        return self.allocation(self.once(np.array([index], dtype=np.int32))[0])

    def idle(self, allocation: Allocation) -> frozenset[str]:
        """Return the stages that never run under an allocation of the space.

        Raises:
            KeyError: The allocation is not in the space.
        """
        index = self.index(allocation)
        if index is None:
            raise KeyError(allocation)
        routed = [one for one in self.conditionals if len(one.axes) > 2]
        left = {one.stage for one in routed if one.at(np.array([index]))[0] == 0}
        return frozenset(c.stage for s, c in enumerate(allocation.choices) if c.below == 0 or s in left)

    def index(self, allocation: Allocation) -> tuple[int, ...] | None:
        """Return the indices of an allocation's choices; `None` where it is not in the space."""
        if len(allocation.choices) != self.n_stages:
            return None
        found = [places.get(c) for places, c in zip(self._places, allocation.choices, strict=True)]
        return None if None in found else tuple(i for i in found if i is not None)

    def allocation(self, indices: Sequence[int] | Indices) -> Allocation:
        """Return the allocation at one index per stage."""
        return Allocation(tuple(choices[int(i)] for choices, i in zip(self.stages, indices, strict=True)))

    def cost_array(self, indices: Indices) -> NDArray[np.float64]:
        """Return expected costs, shape (n_allocations,)."""
        total = np.zeros(len(indices))
        shares = {one.stage: one.at(indices) for one in self.conditionals}
        for s, costs in enumerate(self.costs):
            total += np.asarray(costs)[indices[:, s]] * shares.get(s, 1.0)
        return total

    def repair(self, allocation: Allocation) -> tuple[Allocation, str]:
        """Return a feasible allocation near this one, and what was changed in words (empty: nothing).

        Samples shrink first, at the stage that costs most; then stages run more rarely, then models become cheaper.

        Raises:
            ValueError: A stage or model that the space does not have.
        """
        return repaired(self, allocation)

    # --- listing and drawing -----------------------------------------------------------------------------------

    @cached_property
    def _feasible_flat(self) -> NDArray[np.int64]:
        """Flat indices (row-major) of the feasible allocations, rising."""
        flat = np.flatnonzero(add_up(self.costs, self.conditionals) <= self._limit)
        repeats = [one.repeats(self._unflatten(flat)) for one in self.conditionals if len(one.axes) > 2]
        return flat[~np.any(repeats, axis=0)] if repeats else flat

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return tuple(len(choices) for choices in self.stages)

    def feasible_indices(self) -> Indices:
        """Return all feasible allocations.

        Raises:
            ValueError: The space is not `enumerable`.
        """
        if not self.enumerable:
            raise ValueError(f"a space of {self.size} allocations is too large to be listed")
        return self._unflatten(self._feasible_flat)

    def _unflatten(self, flat: NDArray[np.int64]) -> Indices:
        return np.stack(np.unravel_index(flat, self._shape), axis=1).astype(np.int32)

    def sample(self, rng: np.random.Generator, n: int) -> Indices:
        """Draw feasible allocations uniformly, with replacement, shape (n, n_stages).

        In a space that is not `enumerable` and where next to nothing fits, the cheapest stands for draws that did not
        succeed.
        """
        if self.enumerable:
            return self._unflatten(rng.choice(self._feasible_flat, size=n))
        parts: list[Indices] = []
        missing = n
        for _ in range(MOST_ROUNDS):
            if missing > 0:
                placed = self.place(rng.random((max(missing, 256), self.n_stages)))[:missing]
                parts.append(placed)
                missing -= len(placed)
        cheapest = np.array(self.index(self.cheapest), dtype=np.int32)
        return np.concatenate([*parts, np.repeat(cheapest[None, :], missing, axis=0)])

    def place(self, points: NDArray[np.float64]) -> Indices:
        """Map points of the unit cube to feasible allocations.

        Stage by stage, a coordinate picks the choice at that share of all completions that fit, choices in the order
        of cost. So uniform points give uniform allocations and an even cover of the cube gives an even cover of the
        feasible set. Costs are counted on a grid that lets slightly too dear ones in; those points are dropped. A stage
        that runs on a condition is counted at its least, so that more points are dropped; uniform points still give
        uniform allocations.

        Args:
            points: Coordinates in [0, 1), shape (n_points, n_stages).
        """
        indices, fits = self._place_raw(points)
        return indices[fits]

    def _place_raw(self, points: NDArray[np.float64]) -> tuple[Indices, NDArray[np.bool_]]:
        left = np.full(len(points), N_BINS - 1)
        columns = []
        for s, (order, bins) in enumerate(self._binned):
            rest = left[:, None] - bins[None, :]
            weights = np.where(rest >= 0, self._completions[s + 1][np.maximum(rest, 0)], 0.0)
            cumulated = np.cumsum(weights, axis=1)
            target = points[:, s] * cumulated[:, -1]
            pick = np.minimum((cumulated <= target[:, None]).sum(axis=1), len(bins) - 1)
            left = left - bins[pick]
            columns.append(order[pick])
        indices = np.stack(columns, axis=1).astype(np.int32)
        return indices, self.fits(indices)

    @cached_property
    def _binned(self) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]:
        """By stage: choices in the order of cost, and their costs above the cheapest, in bins rounded down."""
        room = self._limit - sum(min(costs) for costs in self.least_costs)
        width = max(room, 1e-300) / (N_BINS - 1)
        result = []
        for costs in self.least_costs:
            extra = np.asarray(costs) - min(costs)
            order = np.argsort(extra, kind="stable")
            bins = np.minimum(np.floor(extra[order] / width), N_BINS)
            result.append((order, bins.astype(np.int64)))
        return tuple(result)

    @cached_property
    def _completions(self) -> tuple[NDArray[np.float64], ...]:
        """[s][r]: number of ways to choose stages s, s + 1, ... with at most r bins."""
        table = [np.ones(N_BINS)]
        for _, bins in reversed(self._binned):
            after = table[0]
            now = np.zeros(N_BINS)
            for b in bins[bins < N_BINS]:
                now[b:] += after[: N_BINS - b]
            table.insert(0, now)
        return tuple(table)


def refuse_hopeless(task: Task, cost_model: CostModel, budget: Budget) -> None:
    """Raise InfeasibleBudgetError where no allocation can fit, however short its prompts and completions are.

    For before the first draw, when lengths are not known yet: each stage is taken to write a single token with its
    cheapest model. What passes may still prove infeasible once lengths are known.
    """
    least = CallUsage(0, (1,))
    # How often a stage runs whose condition may fail is not known: on no problem at all, perhaps.
    certain = [
        block.variants
        for block in (task.file.stages[name] for name in task.llm_stages)
        if not block.optional
        and block.otherwise is None
        and (block.when is None or min(block.when.below) > 1)
    ]
    floor = sum(
        min(amount(cost_model.charge(model, least), budget.unit) for model in models) for models in certain
    )
    if floor > budget.amount * (1 + SLACK):
        raise InfeasibleBudgetError(
            f"no allocation can fit the budget of {budget} per problem: one token written at every stage by the "
            f"cheapest models costs {Budget(floor, budget.unit)} already. Give a larger budget, or add cheaper models"
        )
