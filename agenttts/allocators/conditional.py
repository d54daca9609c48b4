"""Expected costs of stages that run on a condition: the share of problems on which they run, times their cost.

That share hangs on the choice of the watched stage, so costs do not add up by stage. They do add up by groups: a
watched stage with all that watch it. Pure arithmetic; the shares are estimated in `agenttts.budgets.run_shares`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline.base import StageChoice

__all__ = ["Conditional", "RunShare", "add_up", "cheapest_of", "least_costs"]

Floats = NDArray[np.float64]
Costs = Sequence[Sequence[float]]
RunShare = Callable[[str, float | None, StageChoice], float]
"""(stage, threshold of its choice, choice of the watched stage) -> share of problems on which it runs."""


@dataclass(frozen=True)
class Conditional:
    """How often one stage runs, by the choices of the stage that it watches and its own."""

    stage: int
    """Number of the stage, in the order of the space."""
    watched: int
    """Number of the stage that it watches."""
    column: tuple[int, ...]
    """Choice of the stage -> column of `shares`: choices with the same threshold share one."""
    shares: tuple[tuple[float, ...], ...]
    """Share of problems, in [0, 1], by choice of the watched stage and column."""

    @classmethod
    def build(
        cls, stages: Sequence[Sequence[StageChoice]], stage: int, watched: int, share: RunShare
    ) -> Conditional:
        """Ask for the share of every choice of the watched stage and every threshold."""
        name = stages[stage][0].stage
        thresholds = list(dict.fromkeys(choice.below for choice in stages[stage]))
        return cls(
            stage,
            watched,
            tuple(thresholds.index(choice.below) for choice in stages[stage]),
            tuple(tuple(share(name, below, choice) for below in thresholds) for choice in stages[watched]),
        )

    @cached_property
    def table(self) -> Floats:
        """`shares` by choice of the watched stage and choice of the stage."""
        table: Floats = np.asarray(self.shares)[:, self.column]
        return table

    def at(self, indices: NDArray[np.int32]) -> Floats:
        """Return the share under each allocation, shape (n_allocations,)."""
        shares: Floats = self.table[indices[:, self.watched], indices[:, self.stage]]
        return shares


def add_up(costs: Costs, conditionals: Sequence[Conditional]) -> Floats:
    """Return the expected cost of every allocation, one axis per stage."""
    n_stages = len(costs)
    by_stage = {one.stage: one for one in conditionals}
    total: Floats = np.zeros((1,) * n_stages)
    for s, known in enumerate(costs):
        shape = [1] * n_stages
        shape[s] = len(known)
        part: Floats = np.asarray(known, dtype=float)
        if s in by_stage:
            watched = by_stage[s].watched
            shape[watched] = len(costs[watched])
            part = by_stage[s].table * part[None, :]
            part = part if watched < s else part.T
        total = total + part.reshape(shape)
    return np.broadcast_to(total, tuple(map(len, costs)))


def least_costs(costs: Costs, conditionals: Sequence[Conditional]) -> tuple[tuple[float, ...], ...]:
    """Return the least that each choice is expected to cost, whatever the watched stage's choice is."""
    by_stage = {one.stage: one for one in conditionals}
    return tuple(
        tuple(float(least) for least in by_stage[s].table.min(axis=0) * np.asarray(known))
        if s in by_stage
        else tuple(known)
        for s, known in enumerate(costs)
    )


def cheapest_of(costs: Costs, conditionals: Sequence[Conditional]) -> tuple[int, ...]:
    """Return the choices, as one index per stage, that are expected to cost least together."""
    indices = [int(np.argmin(known)) for known in costs]
    for watched in sorted({one.watched for one in conditionals}):
        watchers = [one for one in conditionals if one.watched == watched]
        tables = [one.table * np.asarray(costs[one.stage])[None, :] for one in watchers]
        together = np.asarray(costs[watched]) + sum(table.min(axis=1) for table in tables)
        indices[watched] = int(np.argmin(together))
        for one, table in zip(watchers, tables, strict=True):
            indices[one.stage] = int(np.argmin(table[indices[watched]]))
    return tuple(indices)
