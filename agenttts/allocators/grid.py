"""An even walk over the feasible set: every allocation in the end, a balanced cover at any time before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.base import Proposal
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["Grid"]

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
BLOCK = 512
N_BLOCKS = 64


@dataclass(frozen=True)
class Grid:
    """Walk the feasible set along a Halton sequence; deterministic, `rng` is not used.

    Source: Halton 1960 (low-discrepancy points), mapped to feasible allocations by counting completions.
    """

    name: str = "grid"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        del rng
        tried = archive.tried
        found: dict[Allocation, None] = {}
        for block in range(N_BLOCKS):
            rows = space.place(halton(1 + block * BLOCK, BLOCK, space.n_stages))
            _take(found, (space.allocation(row) for row in rows), tried, k)
            if len(found) == k:
                break
        else:
            if space.enumerable:
                _take(found, (space.allocation(row) for row in space.feasible_indices()), tried, k)
        return [Proposal(allocation, self.name, "next of an even walk") for allocation in found]


def _take(
    found: dict[Allocation, None], source: Iterable[Allocation], tried: frozenset[Allocation], k: int
) -> None:
    for allocation in source:
        if len(found) == k:
            return
        if allocation not in tried:
            found[allocation] = None


def halton(first: int, n: int, n_dimensions: int) -> NDArray[np.float64]:
    """Return Halton points `first` to `first + n - 1`, shape (n, n_dimensions)."""
    numbers = np.arange(first, first + n)
    columns = [_radical_inverse(numbers, PRIMES[d % len(PRIMES)]) for d in range(n_dimensions)]
    return np.stack(columns, axis=1)


def _radical_inverse(numbers: NDArray[np.int64], base: int) -> NDArray[np.float64]:
    result = np.zeros(len(numbers))
    scale = 1.0 / base
    rest = numbers.copy()
    while rest.any():
        result += scale * (rest % base)
        rest //= base
        scale /= base
    return result
