"""An Optuna study rebuilt from an archive, and proposals asked of it: shared by the allocators that are its samplers.

Nothing is kept between rounds. Trials are replayed in the order of their numbers by asking for a trial whose point is
given and telling its values, so that a sampler with generations sees them as it would have in one long study.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.encoding import Encoding, known_points
from agenttts.allocators.random import untried
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive, Trial

__all__ = ["Sampling", "propose_with", "quiet_optuna"]

N_TRIES = 12
"""Suggestions per missing proposal that may turn out to be known before a random one is taken."""


@dataclass(frozen=True)
class Sampling:
    """A sampler of Optuna and what it is told."""

    make: Callable[[Any, int], Any]
    """(the optuna module, a seed) -> sampler."""
    values: Callable[[Archive, Trial], tuple[float, ...]]
    """(archive, trial) -> value of each objective."""
    directions: tuple[str, ...] = ("maximize",)
    """`maximize` or `minimize` for each objective."""
    generations: bool = False
    """Whether the sampler marks trials with their generation when it samples. Optuna samples at the first parameter
    whose value is not given, so a replayed trial must ask for it."""


def propose_with(
    sampling: Sampling, name: str, archive: Archive, space: Space, k: int, rng: np.random.Generator
) -> list[Proposal]:
    """Return up to `k` proposals of a sampler that knows the archive.

    Args:
        sampling: The sampler.
        name: Origin of the proposals.
        archive: What is known.
        space: What fits.
        k: How many.
        rng: Seeds the sampler, and fills up where it suggests only what is known.
    """
    encoding = Encoding(space)
    found: dict[Allocation, Proposal] = {}
    with quiet_optuna() as optuna:
        sampler = sampling.make(optuna, int(rng.integers(2**31)))
        study = optuna.create_study(directions=list(sampling.directions), sampler=sampler)
        for trial, point in known_points(archive, encoding):
            study.enqueue_trial(point)
            asked = study.ask()
            if sampling.generations:
                _ = asked.relative_params
            _suggested(asked, encoding)
            study.tell(asked, list(sampling.values(archive, trial)))
        for _ in range(N_TRIES * k):
            if len(found) == k:
                break
            allocation, note = space.repair(encoding.decode(_suggested(study.ask(), encoding)))
            if allocation not in archive.tried and allocation not in found:
                found[allocation] = Proposal(allocation, name, f"suggested by {name}", note)
    for allocation in untried(space, k - len(found), rng, archive.tried | found.keys()):
        found[allocation] = Proposal(allocation, name, f"random, {name} suggested only known ones")
    return list(found.values())


@contextmanager
def quiet_optuna() -> Iterator[Any]:
    """Give Optuna with its log messages and notices about experimental features held back."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def _suggested(trial: Any, encoding: Encoding) -> dict[str, Any]:
    return {
        name: trial.suggest_int(name, 0, options)
        if isinstance(options, int)
        else trial.suggest_categorical(name, options)
        for name, options in encoding.dimensions.items()
    }
