"""Make an allocation fit the budget while changing what hurts least: samples, then how often stages run, then models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.options import threshold

if TYPE_CHECKING:
    from agenttts.allocators.space import Space

__all__ = ["repaired"]


def repaired(space: Space, allocation: Allocation) -> tuple[Allocation, str]:
    """Return a feasible allocation near this one, and the changes in words (see `Space.repair`)."""
    wanted = allocation.canonical().choices
    names = tuple(choices[0].stage for choices in space.stages)
    if tuple(choice.stage for choice in wanted) != names:
        raise ValueError(f"expected a choice for each of the stages {', '.join(names)}, in this order")
    present = [_snap(space, s, choice) for s, choice in enumerate(wanted)]
    present = list(space.distinct(Allocation(tuple(present))).choices)
    for step in (_fewer_samples, _lower_threshold, _cheaper_model):
        while not space.feasible(Allocation(tuple(present))):
            changed = step(space, present)
            if changed is None:
                break
            present[changed[0]] = changed[1]
            present = list(space.distinct(Allocation(tuple(present))).choices)
    if not space.feasible(Allocation(tuple(present))):
        present = list(space.cheapest.choices)
    changes = [f"{a} -> {b}" for a, b in zip(wanted, present, strict=True) if a != b]
    return Allocation(tuple(present)), "; ".join(changes)


def _snap(space: Space, stage: int, choice: StageChoice) -> StageChoice:
    """Return the same choice, or one of its model with the nearest number of samples at or below (else above)."""
    choices = space.stages[stage]
    if choice in choices:
        return choice
    off = [c for c in choices if c.below == 0]
    if choice.below == 0 and off:
        return off[0]
    same = [c for c in choices if c.model == choice.model and c.below != 0]
    if not same:
        raise ValueError(f"stage {choice.stage} has no model {choice.model}")

    def distance(c: StageChoice) -> tuple[float, bool, int, bool]:
        return (
            abs(threshold(c.below) - threshold(choice.below)),
            c.n_samples > choice.n_samples,
            abs(c.n_samples - choice.n_samples),
            c.select != choice.select,
        )

    return min(same, key=distance)


def _by_cost(space: Space, present: list[StageChoice]) -> list[int]:
    costs = space.stage_costs(Allocation(tuple(present)))
    # What costs nothing cannot cost less.
    return sorted((s for s in range(len(present)) if costs[s] > 0), key=lambda s: -costs[s])


def _fewer_samples(space: Space, present: list[StageChoice]) -> tuple[int, StageChoice] | None:
    """Return the dearest stage that can draw less, with the next smaller number of samples."""
    for s in _by_cost(space, present):
        now = present[s]
        smaller = [
            c
            for c in space.stages[s]
            if c.model == now.model
            and c.below == now.below
            and c.n_samples < now.n_samples
            and space.cost_of(c) < space.cost_of(now)
        ]
        if smaller:
            return s, max(smaller, key=lambda c: (c.n_samples, c.select == now.select))
    return None


def _lower_threshold(space: Space, present: list[StageChoice]) -> tuple[int, StageChoice] | None:
    """Return the dearest stage that can run more rarely, with the next lower threshold."""
    for s in _by_cost(space, present):
        now = present[s]
        lower = [c for c in space.stages[s] if threshold(c.below) < threshold(now.below)]
        rarer = [c for c in lower if c.below == 0 or replace(c, below=now.below) == now]
        if rarer:
            return s, max(rarer, key=lambda c: threshold(c.below))
    return None


def _cheaper_model(space: Space, present: list[StageChoice]) -> tuple[int, StageChoice] | None:
    """Return the dearest stage that has a cheaper choice, with the dearest of those that cost less."""
    for s in _by_cost(space, present):
        now = present[s]
        cheaper = [
            c for c in space.stages[s] if c.below == now.below and space.cost_of(c) < space.cost_of(now)
        ]
        if cheaper:
            # Few samples: what a cheaper model saves should not go into samples that nobody asked for.
            fewest = min(c.n_samples for c in cheaper)
            return s, max((c for c in cheaper if c.n_samples == fewest), key=space.cost_of)
    return None
