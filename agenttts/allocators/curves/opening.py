"""The first trials: every model at every stage once, with as many samples as fit.

Samples tell most per trial: a trial with many of them shows how good one is, how much they differ by problem, and
what the selector makes of them. Where a stage has many models, a few spread over their prices are tried, and the fit
says which of the others are worth a trial.
"""

from __future__ import annotations

import numpy as np

from agenttts.allocators.curves.stagefits import unit_prices
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["opening"]

N_POOL = 4000
MOST_MODELS = 4
"""Models by stage that the opening tries."""


def opening(archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[tuple[Allocation, int]]:
    """Return up to `k` allocations, each with how many (stage, model) pairs it is the first to try; none in the end."""
    missing = _wanted(space) - {
        (choice.stage, choice.model) for trial in archive.trials for choice in trial.allocation.choices
    }
    if not missing:
        return []
    pool = [a for a in map(space.allocation, _pool(space, missing, rng)) if a not in archive.tried]
    jitter = rng.random(len(pool))
    samples = [sum(np.log2(c.n_samples) for c in a.choices) + j for a, j in zip(pool, jitter, strict=True)]
    found: list[tuple[Allocation, int]] = []
    while missing and pool and len(found) < k:
        gains = [len(missing & _pairs(space, a)) for a in pool]
        best = max(range(len(pool)), key=lambda i: (gains[i], samples[i]))
        if gains[best] == 0:
            break
        found.append((pool[best], gains[best]))
        missing -= _pairs(space, pool[best])
    return found


def _pairs(space: Space, allocation: Allocation) -> set[tuple[str, str]]:
    """Return what an allocation tries; a stage that never runs tries nothing."""
    idle = space.idle(allocation)
    return {(choice.stage, choice.model) for choice in allocation.choices if choice.stage not in idle}


def _wanted(space: Space) -> set[tuple[str, str]]:
    """Return the (stage, model) pairs to try: of those that some feasible allocation contains, some by price."""
    cheapest = space.index(space.cheapest)
    wanted = set()
    for s, choices in enumerate(space.stages):
        rows = np.tile(np.array(cheapest, dtype=np.int32), (len(choices), 1))
        rows[:, s] = np.arange(len(choices))
        fits = space.fits(space.once(rows))
        usable = {c.model for c, fit in zip(choices, fits, strict=True) if fit and c.below != 0}
        prices = {m: price for m, price in unit_prices(space, s).items() if m in usable}
        by_price = sorted(prices, key=lambda m: prices[m])
        spread = np.linspace(0, len(by_price) - 1, min(MOST_MODELS, len(by_price))).round().astype(int)
        wanted |= {(choices[0].stage, by_price[i]) for i in spread}
    return wanted


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
    keep: Indices = pool[space.fits(pool)]
    return keep
