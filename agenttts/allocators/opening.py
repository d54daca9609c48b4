"""The first trials: every model at every stage once, with as many samples as fit.

Samples tell most per trial: a trial with many of them shows how good one is, how much they differ by problem, and
what the selector makes of them.
"""

from __future__ import annotations

import numpy as np

from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["opening"]

N_POOL = 4000


def opening(archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[tuple[Allocation, int]]:
    """Return up to `k` allocations, each with how many (stage, model) pairs it is the first to try; none in the end."""
    missing = _affordable(space) - {
        (choice.stage, choice.model) for trial in archive.trials for choice in trial.allocation.choices
    }
    if not missing:
        return []
    pool = [a for a in map(space.allocation, _pool(space, missing, rng)) if a not in archive.tried]
    jitter = rng.random(len(pool))
    samples = [sum(np.log2(c.n_samples) for c in a.choices) + j for a, j in zip(pool, jitter, strict=True)]
    found: list[tuple[Allocation, int]] = []
    while missing and pool and len(found) < k:
        gains = [len(missing & _pairs(a)) for a in pool]
        best = max(range(len(pool)), key=lambda i: (gains[i], samples[i]))
        if gains[best] == 0:
            break
        found.append((pool[best], gains[best]))
        missing -= _pairs(pool[best])
    return found


def _pairs(allocation: Allocation) -> set[tuple[str, str]]:
    return {(choice.stage, choice.model) for choice in allocation.choices}


def _affordable(space: Space) -> set[tuple[str, str]]:
    """Return the (stage, model) pairs that some feasible allocation contains."""
    found = set()
    cheapest = list(space.cheapest.choices)
    for s, choices in enumerate(space.stages):
        for choice in choices:
            if space.feasible(Allocation((*cheapest[:s], choice, *cheapest[s + 1 :]))):
                found.add((choice.stage, choice.model))
    return found


def _pool(space: Space, missing: set[tuple[str, str]], rng: np.random.Generator) -> Indices:
    """Return feasible allocations, with some that contain each missing pair."""
    if space.enumerable and space.n_feasible <= N_POOL:
        return space.feasible_indices()
    rows = [space.sample(rng, N_POOL)]
    cheapest = space.index(space.cheapest)
    for s, choices in enumerate(space.stages):
        for i, choice in enumerate(choices):
            if (choice.stage, choice.model) in missing:
                row = np.array([cheapest], dtype=np.int32)
                row[0, s] = i
                rows.append(row)
    pool = np.unique(np.concatenate(rows), axis=0)
    keep: Indices = pool[space.cost_array(pool) <= space.budget.amount * (1 + 1e-9)]
    return keep
