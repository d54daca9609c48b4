"""CMA-ES over a continuous relaxation of the encoding.

Each label of a categorical dimension gets a coordinate in [0, 1], the largest wins; an ordinal dimension is one
coordinate, cut into equal parts. A known trial has a cell of this cube rather than a point: it is told as the point of
its cell next to one drawn from the distribution, which keeps the steps that the strategy learns from as short as they
can be.

Source: Hansen 2016, arXiv:1604.00772; Hansen 2011, arXiv:1110.4181, for telling it points of another origin. It is the
optimiser behind Optuna's `CmaEsSampler` (package `cmaes`), driven directly: Optuna draws categorical dimensions at
random, outside of the strategy, and keeps its state in trials of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.base import Proposal
from agenttts.allocators.encoding import Dimension, Encoding, Point, known_points
from agenttts.allocators.random import untried
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive

__all__ = ["CmaEs"]

Floats = NDArray[np.float64]

N_TRIES = 12
"""Points drawn per missing proposal that may turn out to be known before a random one is taken."""
SIGMA = 0.3
"""First step size: a third of the width of the cube, as the package's authors advise."""
MARGIN = 1e-3
"""How far inside its cell a told point lies."""


@dataclass(frozen=True)
class CmaEs:
    """Ask CMA-ES, its generations replayed from the archive every time."""

    name: str = "cmaes"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        encoding = Encoding(space)
        cube = Cube(encoding.dimensions)
        found: dict[Allocation, Proposal] = {}
        if cube.n > 1:  # the strategy needs two coordinates
            strategy = _replayed(archive, encoding, cube, int(rng.integers(2**31)))
            for _ in range(N_TRIES * k):
                if len(found) == k:
                    break
                allocation, note = space.repair(encoding.decode(cube.decode(strategy.ask())))
                if allocation not in archive.tried and allocation not in found:
                    found[allocation] = Proposal(allocation, self.name, "drawn by CMA-ES", note)
        for allocation in untried(space, k - len(found), rng, archive.tried | found.keys()):
            found[allocation] = Proposal(allocation, self.name, "random, CMA-ES drew only known ones")
        return list(found.values())


def _replayed(archive: Archive, encoding: Encoding, cube: Cube, seed: int) -> Any:
    """Return the strategy after every full generation of known trials, in the order of their numbers."""
    import cmaes

    bounds = np.tile([0.0, 1.0], (cube.n, 1))
    strategy = cmaes.CMA(mean=np.full(cube.n, 0.5), sigma=SIGMA, bounds=bounds, seed=seed)
    generation = []
    for trial, point in known_points(archive, encoding):
        generation.append((cube.encode(point, strategy.ask()), -archive.estimate(trial)))
        if len(generation) == strategy.population_size:
            strategy.tell(generation)
            generation = []
    return strategy


@dataclass(frozen=True)
class Cube:
    """Points of an encoding as cells of a unit cube."""

    dimensions: Mapping[str, Dimension]

    @cached_property
    def _slices(self) -> dict[str, slice]:
        """Coordinates of each dimension; none where there is nothing to choose."""
        found, at = {}, 0
        for name, options in self.dimensions.items():
            width = min(options, 1) if isinstance(options, int) else len(options) * (len(options) > 1)
            found[name] = slice(at, at + width)
            at += width
        return found

    @property
    def n(self) -> int:
        """Number of coordinates."""
        return max((place.stop for place in self._slices.values()), default=0)

    def decode(self, x: Floats) -> dict[str, str | int]:
        """Return the point whose cell `x` lies in, shape (n,)."""
        point: dict[str, str | int] = {}
        for name, options in self.dimensions.items():
            part = x[self._slices[name]]
            if isinstance(options, int):
                point[name] = min(int(part[0] * (options + 1)), options) if len(part) else 0
            else:
                point[name] = options[int(np.argmax(part))] if len(part) else options[0]
        return point

    def encode(self, point: Point, near: Floats) -> Floats:
        """Return a point of the cell of `point` that is close to `near`, shape (n,)."""
        x = np.clip(near, 0.0, 1.0)
        for name, options in self.dimensions.items():
            part = x[self._slices[name]]
            if not len(part):
                continue
            if isinstance(options, int):
                low, high = np.array([int(point[name]), int(point[name]) + 1]) / (options + 1)
                part[0] = np.clip(part[0], low + MARGIN * (high - low), high - MARGIN * (high - low))
            else:
                _let_win(part, options.index(str(point[name])))
        return x


def _let_win(part: Floats, winner: int) -> None:
    """Make one coordinate the largest, in place: it and the largest of the others meet half-way."""
    others = np.delete(np.arange(len(part)), winner)
    highest = part[others].max()
    if part[winner] > highest:
        return
    meeting = min((part[winner] + highest) / 2, 1.0 - MARGIN)
    part[others] = np.minimum(part[others], meeting)
    part[winner] = meeting + MARGIN
