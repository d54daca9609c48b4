"""The first trials: every model at every stage once, with the samples that tell most per unit to be paid.

What the first trials must teach is how good one sample of each model is at each stage; how its chances differ between
problems and what selectors make of them is learned where it pays. A problem's first sample tells most: n of them are
worth n / (1 + r (n - 1)) independent ones, less than 1 / r in all, where r is how alike samples of one problem are
before data (see `laws`). So few samples on all problems are tried, and more only where they are nearly free, as where
the prompt is what costs. The trials that follow spend the budget on what the fit believes in.

Where a stage has many models, a few spread over their prices are tried, and the fit says which of the others are worth
a trial.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.curves.acquisition import to_pay
from agenttts.allocators.curves.laws import PRIOR_OVERDISPERSION
from agenttts.allocators.curves.samples import run_shares
from agenttts.allocators.curves.stagefits import unit_prices
from agenttts.allocators.space import Indices, Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["opening"]

Floats = NDArray[np.float64]

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
    rows = _pool(space, missing, rng)
    pool = [space.allocation(row) for row in rows]
    open_ = np.array([a not in archive.tried for a in pool])
    held = dict(archive.held_by_label)
    found: list[tuple[Allocation, int]] = []
    while missing and len(found) < k:
        gains = _gains(space, rows, pool, missing, held)
        best = int(np.lexsort((rng.random(len(pool)), *gains, open_))[-1])
        n_new = len(missing & _pairs(space, pool[best]))
        if not open_[best] or n_new == 0:
            break
        found.append((pool[best], n_new))
        open_[best] = False
        missing -= _pairs(space, pool[best])
        for choice in pool[best].choices:
            place = (choice.stage, choice.model, choice.select)
            held[place] = max(held.get(place, 0), choice.n_samples)
    return found


def _gains(
    space: Space,
    rows: Indices,
    pool: list[Allocation],
    missing: set[tuple[str, str]],
    held: Mapping[tuple[str, str, str], int],
) -> tuple[Floats, Floats, Floats]:
    """Return by allocation, the least important first: what its new pairs tell per unit to be paid, and their number.

    Between both: the shares of the problems on which the new pairs are tried, summed.
    """
    shares = run_shares(space, rows)
    number, seen, told = (np.zeros(len(pool)) for _ in range(3))
    for i, allocation in enumerate(pool):
        new = missing & _pairs(space, allocation)
        for s, choice in enumerate(allocation.choices):
            if (choice.stage, choice.model) in new:
                share = float(shares[s][i]) if s in shares else 1.0
                number[i] += 1
                seen[i] += share
                told[i] += share * _worth(choice.n_samples)
    pay = to_pay(space, held, rows)
    return told / np.maximum(pay, 1e-9 * space.budget.amount), seen, number


def _worth(n_samples: int) -> float:
    """Return how many independent samples those of one problem are worth."""
    return n_samples / (1 + PRIOR_OVERDISPERSION * (n_samples - 1))


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
