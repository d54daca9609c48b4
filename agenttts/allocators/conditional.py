"""Expected costs of stages that run on a condition: the share of problems on which they run, times their cost.

That share hangs on the choice of the watched stage and, where settings are asked one after the other (`otherwise`), on
the thresholds of those before, so costs do not add up by stage. They do add up by groups: a watched stage with all that
watch it. Pure arithmetic; the shares are estimated in `agenttts.budgets.run_shares`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agenttts.pipeline.base import StageChoice
from agenttts.task.options import threshold

__all__ = ["Conditional", "RunShare", "add_up", "cheapest_of", "least_costs"]

Floats = NDArray[np.float64]
Costs = Sequence[Sequence[float]]


class RunShare(Protocol):
    """Says how often a stage runs."""

    def __call__(self, stage: str, below: float | None, watched: StageChoice, floor: float = 0.0, /) -> float:
        """Return the share of problems on which a stage runs.

        Args:
            stage: The stage.
            below: The threshold of its choice.
            watched: The choice of the stage that it watches.
            floor: The highest threshold of the settings before it: they run below that, and it does not.
        """
        ...


@dataclass(frozen=True, eq=False)
class Conditional:
    """How often one stage runs, by the choices of the stages that this hangs on and its own."""

    axes: tuple[int, ...]
    """Numbers of the stages, in the order of the space: the watched one, the settings before this one, this one."""
    columns: tuple[tuple[int, ...], ...]
    """By axis: choice of the stage -> place along that axis of `shares`; choices with the same threshold share one."""
    shares: Floats
    """Share of problems, in [0, 1], one axis for each of `axes`."""

    @classmethod
    def build(
        cls,
        stages: Sequence[Sequence[StageChoice]],
        stage: int,
        watched: int,
        share: RunShare,
        after: Sequence[int] = (),
    ) -> Conditional:
        """Ask for the share of every choice of the watched stage and every threshold.

        Args:
            stages: Choices by stage.
            stage: Number of the stage.
            watched: Number of the stage that it watches.
            share: Says how often it runs.
            after: Numbers of the settings before it, where it runs on what they leave.
        """
        name = stages[stage][0].stage
        *before, own = (list(dict.fromkeys(c.below for c in stages[s])) for s in (*after, stage))
        floors = [max(map(threshold, row), default=0.0) for row in product(*before)]
        table = [
            [share(name, below, choice, floor) for floor in floors for below in own]
            for choice in stages[watched]
        ]
        columns = [
            tuple(known.index(c.below) for c in stages[s])
            for s, known in zip((*after, stage), (*before, own), strict=True)
        ]
        shape = (len(stages[watched]), *map(len, before), len(own))
        return cls(
            (watched, *after, stage),
            (tuple(range(len(stages[watched]))), *columns),
            np.array(table, dtype=float).reshape(shape),
        )

    @property
    def stage(self) -> int:
        """Number of the stage."""
        return self.axes[-1]

    @property
    def watched(self) -> int:
        """Number of the stage that it watches."""
        return self.axes[0]

    @cached_property
    def _columns(self) -> tuple[NDArray[np.intp], ...]:
        return tuple(np.asarray(column) for column in self.columns)

    @property
    def table(self) -> Floats:
        """`shares` by choices of the stages of `axes`."""
        table: Floats = self.shares[np.ix_(*self._columns)]
        return table

    @cached_property
    def least(self) -> Floats:
        """The least share by choice of the stage."""
        least: Floats = self.shares.min(axis=tuple(range(self.shares.ndim - 1)))[self._columns[-1]]
        return least

    def at(self, indices: NDArray[np.int32]) -> Floats:
        """Return the share under each allocation, shape (n_allocations,)."""
        places = (column[indices[:, s]] for s, column in zip(self.axes, self._columns, strict=True))
        shares: Floats = self.shares[tuple(places)]
        return shares

    def repeats(self, indices: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which allocations only repeat another one: the settings before leave this stage nothing.

        Of those that differ in such a stage alone, the one with its first choice counts.
        """
        if len(self.axes) == 2:
            return np.zeros(len(indices), dtype=bool)
        return np.asarray((self.at(indices) == 0) & (indices[:, self.stage] > 0))


def add_up(costs: Costs, conditionals: Sequence[Conditional]) -> Floats:
    """Return the expected cost of every allocation, one axis per stage."""
    n_stages = len(costs)
    by_stage = {one.stage: one for one in conditionals}
    total: Floats = np.zeros((1,) * n_stages)
    for s, known in enumerate(costs):
        part: Floats = np.asarray(known, dtype=float)
        axes: tuple[int, ...] = (s,)
        if s in by_stage:
            axes = by_stage[s].axes
            part = by_stage[s].table * part
        part = part.transpose(np.argsort(axes))
        shape = [len(costs[i]) if i in axes else 1 for i in range(n_stages)]
        total = total + part.reshape(shape)
    return np.broadcast_to(total, tuple(map(len, costs)))


def least_costs(costs: Costs, conditionals: Sequence[Conditional]) -> tuple[tuple[float, ...], ...]:
    """Return the least that each choice is expected to cost, whatever the choices of other stages are."""
    by_stage = {one.stage: one for one in conditionals}
    return tuple(
        tuple(float(least) for least in by_stage[s].least * np.asarray(known))
        if s in by_stage
        else tuple(known)
        for s, known in enumerate(costs)
    )


def cheapest_of(costs: Costs, conditionals: Sequence[Conditional]) -> tuple[int, ...]:
    """Return the choices, as one index per stage, that are expected to cost least together."""
    indices = [int(np.argmin(known)) for known in costs]
    for watched in sorted({one.watched for one in conditionals}):
        chains = [_Chain(costs, chain) for chain in _chains(conditionals, watched)]
        together = np.asarray(costs[watched]) + sum(chain.least for chain in chains)
        indices[watched] = int(np.argmin(together))
        for chain in chains:
            for stage, choice in chain.cheapest(indices[watched]):
                indices[stage] = choice
    return tuple(indices)


def _chains(conditionals: Sequence[Conditional], watched: int) -> list[list[Conditional]]:
    """Return the stages that watch another one in parts whose costs add up: settings asked one after the other."""
    found: dict[int, list[Conditional]] = {}
    for one in conditionals:
        if one.watched == watched:
            found.setdefault(one.axes[1], []).append(one)
    return list(found.values())


@dataclass(frozen=True)
class _Chain:
    """Settings that are asked one after the other; of each threshold only the cheapest choice matters."""

    costs: Costs
    members: Sequence[Conditional]

    @cached_property
    def _best(self) -> list[list[int]]:
        """By member and column: the cheapest of the choices with that threshold."""
        return [
            [
                min(
                    (i for i, place in enumerate(one.columns[-1]) if place == column),
                    key=lambda i: self.costs[one.stage][i],
                )
                for column in range(one.shares.shape[-1])
            ]
            for one in self.members
        ]

    @cached_property
    def _table(self) -> Floats:
        """Cost by choice of the watched stage and column of each member."""
        places = {one.stage: i + 1 for i, one in enumerate(self.members)}
        total: Floats = np.zeros((1,) * (1 + len(places)))
        for one, best in zip(self.members, self._best, strict=True):
            part = one.shares * np.array([self.costs[one.stage][i] for i in best])
            at = [0, *(places[s] for s in one.axes[1:])]
            shape = [1] * total.ndim
            for axis, size in zip(at, part.shape, strict=True):
                shape[axis] = size
            total = total + part.transpose(np.argsort(at)).reshape(shape)
        return total

    @property
    def least(self) -> Floats:
        """The least cost by choice of the watched stage."""
        least: Floats = self._table.reshape(len(self._table), -1).min(axis=1)
        return least

    def cheapest(self, watched: int) -> Iterator[tuple[int, int]]:
        """Yield each stage with the choice that costs least together, under a choice of the watched one."""
        table = self._table[watched]
        at = np.unravel_index(int(np.argmin(table)), table.shape)
        for one, best, column in zip(self.members, self._best, at, strict=True):
            yield one.stage, best[int(column)]
