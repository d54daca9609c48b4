"""From how many problems per context on a stage that they share pays: the break-even count.

Compared are the plan and the cheapest trial without the stage that scores no less on the search problems. Per problem
the plan costs a + b / q with q problems per context, b the cost of one run of the stage; the rest does not change.

Source: Lin et al. 2025, arXiv:2504.13171 (sleep-time compute), which amortises over the questions about a context. We
compare at equal score, as measured, rather than on fitted curves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agenttts.budgets.cost import Budget, total_amount
from agenttts.study.archive import Trial
from agenttts.task.options import queries_of
from agenttts.task.schema import TaskFile

__all__ = ["BreakEven", "break_even"]

WITHIN = 1e-9
"""Relative; for the rounding of sums."""


@dataclass(frozen=True)
class BreakEven:
    """Whether a shared stage of the plan pays."""

    stage: str
    field: str
    """The problem field that tells contexts apart."""
    queries: float
    """Problems per context that the plan's cost counts on."""
    count: int | None
    """Problems per context from which the plan costs no more per problem than `against`; `None`: there is no such."""
    against: int | None
    """Number of the trial; `None`: none without the stage scores no less."""

    def __str__(self) -> str:
        """Return it in words."""
        expected = f"expected: {self.queries:g}"
        if self.against is None:
            return f"{self.stage}: no trial without it scores no less, so nothing to break even with ({expected})"
        if self.count is None:
            return f"{self.stage}: never, trial {self.against} without it costs less and scores no less ({expected})"
        return f"{self.stage}: from {self.count:,} per {self.field} on, against trial {self.against} ({expected})"


def break_even(file: TaskFile, best: Trial, trials: Iterable[Trial], budget: Budget) -> tuple[BreakEven, ...]:
    """Return the break-even count of every stage that the plan uses and that may be left out.

    Args:
        file: The task.
        best: The trial that became the plan.
        trials: All trials; `ok` and `over_budget` ones are compared.
        budget: Its unit is what costs are compared in.
    """
    known = [trial for trial in trials if trial.status in {"ok", "over_budget"} and trial.scores]
    return tuple(
        _of_stage(file, choice.stage, best, known, budget)
        for choice in best.allocation.choices
        if file.stages[choice.stage].optional and choice.below != 0
    )


def _of_stage(file: TaskFile, stage: str, best: Trial, known: Sequence[Trial], budget: Budget) -> BreakEven:
    shared = file.stages[stage].shared_by
    assert shared is not None  # noqa: S101 - the schema demands it of stages that may be left out
    without = [t for t in known if t.allocation[stage].below == 0 and t.score >= best.score]
    against = min(without, key=lambda trial: (trial.charged, trial.number), default=None)
    queries = queries_of(shared)
    count = None if against is None else _count(best, stage, queries, against.charged, budget)
    return BreakEven(stage, shared.field, queries, count, None if against is None else against.number)


def _count(best: Trial, stage: str, queries: float, limit: float, budget: Budget) -> int | None:
    """Return the least whole q with a + b / q <= limit."""

    def cost(n: float) -> float:
        costs = {**best.costs, stage: best.costs[stage].scaled(queries / n)}
        return total_amount(costs, budget.unit)

    # From two points rather than from the stage's cost: the unit `paper` is affine.
    run = 2 * (cost(1) - cost(2))
    left = limit - (cost(1) - run)
    if left <= WITHIN * limit:
        return None
    return max(1, math.ceil(run / left * (1 - WITHIN)))
