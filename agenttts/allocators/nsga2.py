"""Optuna's NSGA-II over the encoding of the feasible set: a population that improves score and cost at once.

Source: Deb et al. 2002. Departures: the population is 12 rather than Optuna's 50, as searches here last some dozens of
trials and would else end with the first, random generation; costs are the second objective although only the score
decides in the end, so that what reaches a score cheaply stays among the parents; a round in which a generation ends is
bred from one set of parents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.optuna_study import Sampling, propose_with
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive

__all__ = ["Nsga2"]

POPULATION = 12


@dataclass(frozen=True)
class Nsga2:
    """Ask Optuna's NSGA-II, its generations replayed from the archive every time."""

    name: str = "nsga2"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        return propose_with(SAMPLING, self.name, archive, space, k, rng)


def _sampler(optuna: Any, seed: int) -> Any:
    return optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)


SAMPLING = Sampling(
    _sampler,
    lambda archive, trial: (archive.estimate(trial), trial.charged),
    ("maximize", "minimize"),
    generations=True,
)
