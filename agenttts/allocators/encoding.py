"""Allocations as points with one dimension per thing to choose: what general-purpose optimisers search.

Each stage becomes a model (categorical), a position among its sample counts (ordinal: counts double, positions do not),
a selector (categorical) and, where it runs on a condition, a position among its thresholds (ordinal). Choices that fit
no allocation are left out; what still does not fit the budget is for `Space.repair`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.task.options import threshold

__all__ = ["Dimension", "Encoding", "Point", "known_points", "nearest_choice"]

Dimension: TypeAlias = tuple[str, ...] | int
"""Labels of a categorical dimension, or the highest position of an ordinal one."""
Point: TypeAlias = Mapping[str, str | int]
"""Name of a dimension -> label or position."""


def nearest_choice(choices: Sequence[StageChoice], wanted: StageChoice) -> StageChoice:
    """Return the choice of a stage that is most like the wanted one.

    In this order: the nearest threshold (a stage that never runs may be offered with one model only), the same model,
    the nearest number of samples at or below (else above), the same selector. Ties go to the choice listed first.

    Raises:
        ValueError: `choices` is empty.
    """

    def distance(choice: StageChoice) -> tuple[float, bool, bool, int, bool]:
        return (
            abs(threshold(choice.below) - threshold(wanted.below)),
            choice.model != wanted.model,
            choice.n_samples > wanted.n_samples,
            abs(choice.n_samples - wanted.n_samples),
            choice.select != wanted.select,
        )

    return min(choices, key=distance)


@dataclass(frozen=True)
class _Axes:
    """What there is to choose at one stage."""

    models: tuple[str, ...]
    counts: tuple[int, ...]
    selectors: tuple[str, ...]
    thresholds: tuple[float | None, ...]
    """Empty for stages that always run."""

    @classmethod
    def of(cls, choices: Iterable[StageChoice]) -> _Axes:
        choices = tuple(choices)
        several = tuple(dict.fromkeys(c.select for c in choices if c.n_samples > 1))
        thresholds = tuple(sorted({c.below for c in choices}, key=threshold))
        return cls(
            models=tuple(dict.fromkeys(c.model for c in choices)),
            counts=tuple(sorted({c.n_samples for c in choices})),
            selectors=several or ("first",),
            thresholds=thresholds if thresholds != (None,) else (),
        )

    def dimensions(self, stage: str) -> dict[str, Dimension]:
        found: dict[str, Dimension] = {
            f"{stage}.model": self.models,
            f"{stage}.n": len(self.counts) - 1,
            f"{stage}.select": self.selectors,
        }
        return found | ({f"{stage}.below": len(self.thresholds) - 1} if self.thresholds else {})

    def encode(self, choice: StageChoice) -> dict[str, str | int]:
        # Of one sample no selector is told apart; any label will do.
        select = choice.select if choice.select in self.selectors else self.selectors[0]
        found: dict[str, str | int] = {
            f"{choice.stage}.model": choice.model,
            f"{choice.stage}.n": self.counts.index(choice.n_samples),
            f"{choice.stage}.select": select,
        }
        if self.thresholds:
            found[f"{choice.stage}.below"] = self.thresholds.index(choice.below)
        return found

    def decode(self, stage: str, point: Point) -> StageChoice:
        n = self.counts[int(point[f"{stage}.n"])]
        below = self.thresholds[int(point[f"{stage}.below"])] if self.thresholds else None
        select = "first" if n == 1 else str(point[f"{stage}.select"])
        return StageChoice(stage, str(point[f"{stage}.model"]), n, select, below)


@dataclass(frozen=True)
class Encoding:
    """The dimensions of a space, and the way there and back."""

    space: Space

    @cached_property
    def options(self) -> tuple[tuple[StageChoice, ...], ...]:
        """Choices by stage that fit together with the cheapest choices of the other stages."""
        floor = self.space.cost(self.space.cheapest)
        result = []
        for choices, costs in zip(self.space.stages, self.space.least_costs, strict=True):
            room = self.space.budget.amount - (floor - min(costs))
            fitting = tuple(c for c, cost in zip(choices, costs, strict=True) if cost <= room)
            # Rounding of the sums may leave out even the cheapest where it fits just so.
            result.append(fitting or (choices[int(np.argmin(costs))],))
        return tuple(result)

    @cached_property
    def _axes(self) -> tuple[_Axes, ...]:
        return tuple(_Axes.of(choices) for choices in self.options)

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """Every dimension by name, stage by stage."""
        result: dict[str, Dimension] = {}
        for choices, axes in zip(self.options, self._axes, strict=True):
            result |= axes.dimensions(choices[0].stage)
        return result

    def encode(self, allocation: Allocation) -> dict[str, str | int] | None:
        """Return the point of an allocation; `None` where a choice of it is not among the options."""
        point: dict[str, str | int] = {}
        for choices, axes, choice in zip(self.options, self._axes, allocation.choices, strict=True):
            if choice not in choices:
                return None
            point |= axes.encode(choice)
        return point

    def decode(self, point: Point) -> Allocation:
        """Return the allocation at a point, of choices that the space has; together they may not fit the budget.

        Where a stage does not offer every combination (a model recorded with fewer samples), the nearest choice stands
        for those that are missing.
        """
        picks = []
        for choices, axes in zip(self.options, self._axes, strict=True):
            wanted = axes.decode(choices[0].stage, point)
            picks.append(wanted if wanted in choices else nearest_choice(choices, wanted))
        return Allocation(tuple(picks)).canonical()


def known_points(archive: Archive, encoding: Encoding) -> list[tuple[Trial, dict[str, str | int]]]:
    """Return the scored trials with their points, by number; those outside the encoding teach nothing here."""
    trials = sorted(archive.valid, key=lambda trial: trial.number)
    points = ((trial, encoding.encode(trial.allocation)) for trial in trials)
    return [(trial, point) for trial, point in points if point is not None]
