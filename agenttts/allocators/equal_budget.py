"""The opening of AgentTTS: at each stage, every model once for the same money.

Follows from the paper's first insight, that stages prefer different model sizes: at equal cost, a large model with one
sample stands against smaller ones with several.

Source: Shi et al. 2025, arXiv:2508.00890, section 5 and the authors' code. A model's size is read off the cost of its
single pass. Departures: others' models are scaled down, dearest first, where all at their largest do not fit (the
paper's budgets always hold them); numbers of samples are those on offer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agenttts.allocators.conversing import default_select
from agenttts.allocators.space import SLACK, Space
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive
from agenttts.task.options import threshold

__all__ = ["MOST_SAMPLES", "equal_budget_trials", "remembered_opening"]

OPENING = "opening"
"""Key of the memory."""

MOST_SAMPLES = 60
"""Samples of a small model in the opening, as in the authors' code."""


def equal_budget_trials(space: Space) -> list[Allocation]:
    """Return the opening, stage by stage, larger models first; each allocation once, all feasible.

    For stage i, its share of the budget is one pass of its largest model, or of the largest that fits beside the
    cheapest passes of the other stages. Each model gets as many samples as this share buys, at most `MOST_SAMPLES`; the
    other stages get one pass of their largest model, or of the largest that then fits.
    """
    found: dict[Allocation, None] = {}
    for s in range(space.n_stages):
        passes = _passes(space, s)
        room = space.budget.amount - sum(
            min(space.costs[other]) for other in range(space.n_stages) if other != s
        )
        fitting = [one for one in passes if _fits(space.cost_of(one), room)]
        if not fitting:
            continue
        share = space.cost_of(fitting[0])
        for one in fitting:
            allocation = _beside_others(space, s, _most_samples(space, s, one, share))
            if space.feasible(allocation):
                found[allocation] = None
    return list(found)


def remembered_opening(
    archive: Archive, plan: Callable[[], Sequence[Allocation]]
) -> tuple[list[Allocation], dict[str, Any]]:
    """Return the opening as it was first planned, and what a round has to remember of it (nothing when it is there).

    Expected costs, and so what an opening would be, change as trials come.
    """
    for memory in archive.memory:
        if isinstance(memory.get(OPENING), list):
            return [Allocation.from_json(entry) for entry in memory[OPENING]], {}
    planned = list(plan())
    return planned, {OPENING: [allocation.to_json() for allocation in planned]}


def _fits(cost: float, room: float) -> bool:
    return cost <= room + SLACK * abs(room)


def _passes(space: Space, stage: int) -> list[StageChoice]:
    """Return one choice for each model of a stage, with its fewest samples and running always, or, where others take over, as often as leaves them something; dearest first."""
    best: dict[str, StageChoice] = {}
    for choice in space.stages[stage]:
        now = best.get(choice.model)
        if now is None or _pass_order(space, choice) < _pass_order(space, now):
            best[choice.model] = choice
    return sorted(best.values(), key=lambda choice: -space.cost_of(choice))


def _pass_order(space: Space, choice: StageChoice) -> tuple[int, bool, float]:
    # A setting that takes every problem would leave nothing to those after it.
    takes_all = choice.stage in space.structure.routes and choice.below is not None and choice.below > 1
    return choice.n_samples, takes_all, -threshold(choice.below)


def _most_samples(space: Space, stage: int, one: StageChoice, share: float) -> StageChoice:
    """Return the choice of the same model with most samples that the share buys."""
    same = [c for c in space.stages[stage] if (c.model, c.below) == (one.model, one.below)]
    select = default_select(space, same)
    affordable = [
        c
        for c in same
        if c.n_samples <= MOST_SAMPLES
        and (c.n_samples == 1 or c.select == select)
        and _fits(space.cost_of(c), share)
    ]
    return max(affordable, key=lambda c: c.n_samples, default=one)


def _beside_others(space: Space, stage: int, choice: StageChoice) -> Allocation:
    """Return the allocation with one pass of the largest models elsewhere, scaled down until it fits."""
    ladders = [
        [choice] if s == stage else [*_passes(space, s), space.cheapest.choices[s]]
        for s in range(space.n_stages)
    ]
    rungs = [0] * space.n_stages
    while not space.feasible(_at(space, ladders, rungs)):
        lower = [s for s in range(space.n_stages) if rungs[s] + 1 < len(ladders[s])]
        if not lower:
            break
        dearest = max(lower, key=lambda s: space.cost_of(ladders[s][rungs[s]]))
        rungs[dearest] += 1
    return _at(space, ladders, rungs)


def _at(space: Space, ladders: Sequence[Sequence[StageChoice]], rungs: Sequence[int]) -> Allocation:
    chosen = (ladder[rung] for ladder, rung in zip(ladders, rungs, strict=True))
    return space.distinct(Allocation(tuple(chosen)))
