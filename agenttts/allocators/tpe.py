"""Optuna's tree-structured Parzen estimator over the encoding of the feasible set.

Source: Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127, for the multivariate form used here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.optuna_study import Sampling, propose_with
from agenttts.allocators.space import Space
from agenttts.study.archive import Archive

__all__ = ["Tpe"]

N_STARTUP = 10


@dataclass(frozen=True)
class Tpe:
    """Ask Optuna's TPE, rebuilt from the archive every time."""

    name: str = "tpe"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        return propose_with(SAMPLING, self.name, archive, space, k, rng)


def _sampler(optuna: Any, seed: int) -> Any:
    return optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=N_STARTUP, multivariate=True, constant_liar=True
    )


SAMPLING = Sampling(_sampler, lambda archive, trial: (archive.estimate(trial),))
