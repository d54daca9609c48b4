"""Simulated surfaces made to break what `curves` assumes. Their numbers were fixed before it was first run on them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Trial
from agenttts.testing.surfaces import SimulatedSurface, SimulatedTask, chain_space

__all__ = ["MODELS", "TRAPS", "Contrary"]

MODELS = ("simulated/small", "simulated/medium", "simulated/large")
SELECTORS = ("majority", "best_of_n", "weighted_vote", "fusion")


@dataclass(frozen=True)
class Contrary:
    """The stages' scores say the opposite of the final one: what they call right is wrong in the end."""

    inner: SimulatedTask

    @property
    def space(self) -> Space:
        return self.inner.space

    def run(self, allocation: Allocation, number: int = 0) -> Trial:
        trial = self.inner.run(allocation, number)
        return replace(trial, scores={name: 1 - score for name, score in trial.scores.items()})

    def truth(self, allocation: Allocation) -> float:
        return 1 - self.inner.truth(allocation)


def contrary(seed: int) -> Contrary:
    skills = {
        "stage0": dict(zip(MODELS, (-1.5, 0.0, 2.0), strict=True)),
        "stage1": dict(zip(MODELS, (-0.5, 0.4, 1.2), strict=True)),
    }
    return Contrary(SimulatedTask(chain_space(selectors=("majority", "best_of_n")), skills, seed=seed))


def falling(seed: int) -> SimulatedSurface:
    """Scores fall with every sample, and the models in the middle are best."""
    worth = dict(zip(MODELS, (0.0, 0.15, 0.05), strict=True))

    def surface(allocation: Allocation) -> float:
        samples = sum(float(np.log2(choice.n_samples)) for choice in allocation.choices)
        return 0.5 + sum(worth[choice.model] for choice in allocation.choices) - 0.06 * samples

    return SimulatedSurface(chain_space(selectors=("majority", "best_of_n")), surface, seed=seed)


def odd(seed: int) -> SimulatedSurface:
    """One selector of four is good, at the last stage, with 4 to 8 samples of one model, and nothing leads there."""

    def surface(allocation: Allocation) -> float:
        last = allocation.choices[-1]
        found = last.select == "fusion" and last.model == MODELS[1] and last.n_samples in (4, 8)
        return 0.75 if found else 0.35 - 0.01 * float(np.log2(last.n_samples))

    return SimulatedSurface(chain_space(selectors=SELECTORS), surface, seed=seed)


def deceptive(seed: int) -> SimulatedSurface:
    """Everything that usually helps misleads: scores rise with samples and size, the best lies where they do not."""

    def surface(allocation: Allocation) -> float:
        first, second = allocation.choices
        if first.model == MODELS[1] and first.n_samples <= 4 and second.n_samples <= 2:
            return 0.8
        return 0.3 + 0.02 * float(np.log2(first.n_samples) + np.log2(second.n_samples))

    return SimulatedSurface(chain_space(), surface, seed=seed)


def lottery(seed: int) -> SimulatedSurface:
    """No structure at all: what is learnt from one allocation says nothing about another."""

    def surface(allocation: Allocation) -> float:
        return 0.2 + 0.6 * (zlib.crc32(f"{seed} {allocation}".encode()) % 1009) / 1009

    return SimulatedSurface(chain_space(selectors=("majority", "best_of_n")), surface, seed=seed)


TRAPS = {"contrary": contrary, "falling": falling, "odd": odd, "deceptive": deceptive, "lottery": lottery}
