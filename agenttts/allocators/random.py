"""Uniform random search over the feasible allocations that were not tried yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["Random", "untried"]

N_TRIES = 50
"""Draws per missing proposal before a large space is taken to be exhausted."""


@dataclass(frozen=True)
class Random:
    """Draw uniformly, without replacement, from the feasible allocations that were not tried yet."""

    name: str = "random"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        found = untried(space, k, rng, archive.tried)
        return [Proposal(allocation, self.name, "drawn uniformly from what fits") for allocation in found]


def untried(
    space: Space, k: int, rng: np.random.Generator, tried: frozenset[Allocation] | set[Allocation]
) -> list[Allocation]:
    """Return up to `k` different feasible allocations outside `tried`, drawn uniformly."""
    if k <= 0:
        return []
    if space.enumerable and space.n_feasible <= 4 * (len(tried) + k):
        return _shuffled_rest(space, k, rng, tried)
    found: dict[Allocation, None] = {}
    for _ in range(N_TRIES):
        for row in space.sample(rng, k):
            allocation = space.allocation(row)
            if allocation not in tried and len(found) < k:
                found[allocation] = None
        if len(found) >= k:
            break
    return list(found)


def _shuffled_rest(
    space: Space, k: int, rng: np.random.Generator, tried: frozenset[Allocation] | set[Allocation]
) -> list[Allocation]:
    rest = [a for a in map(space.allocation, space.feasible_indices()) if a not in tried]
    return [rest[i] for i in rng.permutation(len(rest))[:k]]
