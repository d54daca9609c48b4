"""What a ground is: a space whose every allocation can be tried, paid for and compared with the truth.

A search begins a `Run` with a seed. The seed shuffles the draws that the ground holds, so that runs with other seeds
see other draws of the same law: seeds are replications of sampling noise, not only of the allocator's choices. The
truth about an allocation is its expected score over such orders, on the same problems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agenttts.allocators.space import Indices, Space
from agenttts.budgets.cards import ModelCard
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Trial

Floats = NDArray[np.float64]
Source = Literal["tiny", "recorded", "simulated"]


@dataclass(frozen=True)
class Paid:
    """What a trial costs the search, in GFLOPs over all its problems."""

    fresh: float
    """With reuse: the draws and verdicts that no earlier trial of the run has paid for."""
    alone: float
    """Without: everything, as in production."""


class Run(Protocol):
    """One search on a ground: an order of the draws, and what of them is held."""

    def run(
        self, allocation: Allocation, number: int, problems: Sequence[int] | None = None
    ) -> tuple[Trial, Paid]:
        """Return the trial as a study would measure it, and what it cost.

        Args:
            allocation: What to try.
            number: Of the trial.
            problems: Numbers of the problems to run; `None`: all.
        """
        ...


class Ground(Protocol):
    """A task with a known truth."""

    name: str
    source: Source
    space: Space
    n_problems: int
    note: str

    def begin(self, seed: int | None) -> Run:
        """Begin a search. `None`: draws in the order of the recording."""
        ...

    def truth(self, allocation: Allocation) -> float:
        """Return the expected score, in [0, 1]."""
        ...

    def affords(self, allocation: Allocation) -> bool:
        """Return whether the true cost is within the budget; what is expected may be a little off."""
        ...

    @property
    def best(self) -> float:
        """The largest truth among feasible allocations that are truly affordable."""
        ...


@dataclass(frozen=True)
class Flops:
    """FLOPs of one model, as the package's cost model counts them (prefill shared by the samples of a prompt)."""

    n_active: float
    attention: float
    """FLOPs per pair of tokens that attend to each other."""

    @classmethod
    def of(cls, card: ModelCard) -> Flops:
        assert card.n_active is not None
        known = card.layers is not None and card.width is not None
        return cls(card.n_active, 4.0 * (card.layers or 0) * (card.width or 0) if known else 0.0)

    def prefill(self, tokens: NDArray[np.int32]) -> Floats:
        p = np.asarray(tokens, dtype=np.float64)
        return 2 * self.n_active * p + self.attention * p * (p + 1) / 2

    def decode(self, prefill: NDArray[np.int32], tokens: NDArray[np.int32]) -> Floats:
        p, d = np.asarray(prefill, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
        return 2 * self.n_active * d + self.attention * (p * d + d * (d + 1) / 2)


class Orders:
    """Orders of pools of draws, one per stream, made when first asked for."""

    def __init__(self, seed: int | None, n_draws: int) -> None:
        self._seed, self._n = seed, n_draws
        self._made: dict[tuple[int, ...], NDArray[np.int64]] = {}

    def __call__(self, *stream: int) -> NDArray[np.int64]:
        if stream not in self._made:
            order = np.arange(self._n)
            if self._seed is not None:
                order = np.random.default_rng([self._seed, *stream]).permutation(order)
            self._made[stream] = order
        return self._made[stream]


@dataclass(frozen=True)
class Truths:
    """The truth about every feasible allocation of a space that can be listed."""

    space: Space
    scores: Floats
    """Shape: number of choices by stage."""
    affordable: NDArray[np.bool_] | None = None
    """Whether the true cost is within the budget; same shape. `None`: expected costs are the true ones, or nearly."""

    @cached_property
    def indices(self) -> Indices:
        return self.space.feasible_indices()

    @cached_property
    def feasible(self) -> Floats:
        """Shape (n_feasible,), in the order of `indices`."""
        scores: Floats = self.scores[tuple(self.indices.T)]
        return scores

    def affords(self, allocation: Allocation) -> bool:
        index = self.space.index(allocation)
        return index is not None and (self.affordable is None or bool(self.affordable[index]))

    @cached_property
    def best(self) -> float:
        if self.affordable is None:
            return float(self.feasible.max())
        return float(self.feasible[self.affordable[tuple(self.indices.T)]].max())

    def of(self, allocation: Allocation) -> float:
        index = self.space.index(allocation)
        if index is None:
            raise ValueError(f"{allocation} is not in the space")
        return float(self.scores[index])

    def describe(self, within: float = 0.01) -> Mapping[str, float]:
        """How hard the ground is: the share of feasible allocations that are near the best, for one."""
        near = self.feasible >= self.best - within - 1e-12
        return {
            "allocations": float(self.space.size),
            "feasible": float(len(self.feasible)),
            "best": self.best,
            "median": float(np.median(self.feasible)),
            "within_a_point": float(near.sum()),
            "expected_trials_of_chance": float((len(near) + 1) / (near.sum() + 1)),
        }
