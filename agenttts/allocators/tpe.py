"""Optuna's tree-structured Parzen estimator over an encoding of the feasible set.

Each stage becomes a model (categorical), a position among its sample counts (ordinal: counts double, positions do not)
and a selector (categorical). Options that fit no allocation are left out, and what still does not fit is repaired.

Source: Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127, for the multivariate form used here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from agenttts.allocators.base import Proposal
from agenttts.allocators.random import untried
from agenttts.allocators.space import Space
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive

__all__ = ["Tpe"]

N_STARTUP = 10
N_TRIES = 12
"""Suggestions per missing proposal that may turn out to be known before a random one is taken."""


@dataclass(frozen=True)
class Tpe:
    """Ask Optuna's TPE, rebuilt from the archive every time."""

    name: str = "tpe"

    def propose(self, archive: Archive, space: Space, k: int, rng: np.random.Generator) -> list[Proposal]:
        """See `Allocator.propose`."""
        encoding = Encoding(space)
        found: dict[Allocation, Proposal] = {}
        with _quiet() as optuna:
            sampler = optuna.samplers.TPESampler(
                seed=int(rng.integers(2**31)),
                n_startup_trials=N_STARTUP,
                multivariate=True,
                constant_liar=True,
            )
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for trial in sorted(archive.valid, key=lambda trial: trial.number):
                _tell(optuna, study, encoding, trial.allocation, trial.score)
            for _ in range(N_TRIES * k):
                if len(found) == k:
                    break
                allocation, note = space.repair(encoding.decode(_suggest(study, encoding)))
                if allocation not in archive.tried and allocation not in found:
                    found[allocation] = Proposal(allocation, self.name, "suggested by TPE", note)
        for allocation in untried(space, k - len(found), rng, archive.tried | found.keys()):
            found[allocation] = Proposal(allocation, self.name, "random, TPE suggested only known ones")
        return list(found.values())


@contextmanager
def _quiet() -> Iterator[Any]:
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


def _tell(optuna: Any, study: Any, encoding: Encoding, allocation: Allocation, score: float) -> None:
    """Enter a known trial; one outside the encoding (too dear by now) teaches TPE nothing and is left out."""
    params = encoding.encode(allocation)
    if params is None:
        return
    distributions = {name: _distribution(optuna, options) for name, options in encoding.dimensions.items()}
    study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))


def _distribution(optuna: Any, options: tuple[str, ...] | int) -> Any:
    if isinstance(options, int):
        return optuna.distributions.IntDistribution(0, options)
    return optuna.distributions.CategoricalDistribution(options)


def _suggest(study: Any, encoding: Encoding) -> dict[str, Any]:
    trial = study.ask()
    return {
        name: trial.suggest_int(name, 0, options)
        if isinstance(options, int)
        else trial.suggest_categorical(name, options)
        for name, options in encoding.dimensions.items()
    }


@dataclass(frozen=True)
class Encoding:
    """Allocations as a model, a position among the sample counts and a selector per stage."""

    space: Space

    @cached_property
    def options(self) -> tuple[tuple[StageChoice, ...], ...]:
        """Choices by stage that fit together with the cheapest choices of the other stages."""
        floor = self.space.cost(self.space.cheapest)
        result = []
        for choices, costs in zip(self.space.stages, self.space.costs, strict=True):
            room = self.space.budget.amount - (floor - min(costs))
            fitting = tuple(c for c, cost in zip(choices, costs, strict=True) if cost <= room)
            # Rounding of the sums may leave out even the cheapest where it fits just so.
            result.append(fitting or (choices[int(np.argmin(costs))],))
        return tuple(result)

    @cached_property
    def _axes(self) -> tuple[tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]], ...]:
        """Models, sample counts and selectors of each stage."""
        axes = []
        for choices in self.options:
            models = tuple(dict.fromkeys(c.model for c in choices))
            counts = tuple(sorted({c.n_samples for c in choices}))
            several = dict.fromkeys(c.select for c in choices if c.n_samples > 1)
            axes.append((models, counts, tuple(several) or ("first",)))
        return tuple(axes)

    @cached_property
    def dimensions(self) -> dict[str, tuple[str, ...] | int]:
        """Name -> labels of a categorical dimension, or highest position of an ordinal one."""
        result: dict[str, tuple[str, ...] | int] = {}
        for choices, (models, counts, selectors) in zip(self.options, self._axes, strict=True):
            stage = choices[0].stage
            result |= {f"{stage}.model": models, f"{stage}.n": len(counts) - 1, f"{stage}.select": selectors}
        return result

    def encode(self, allocation: Allocation) -> dict[str, Any] | None:
        """Return the parameters of an allocation; `None` where it is outside."""
        params: dict[str, Any] = {}
        for choices, (_, counts, selectors), choice in zip(
            self.options, self._axes, allocation.choices, strict=True
        ):
            if choice not in choices:
                return None
            select = choice.select if choice.select in selectors else selectors[0]
            position = counts.index(choice.n_samples)
            stage = choice.stage
            params |= {f"{stage}.model": choice.model, f"{stage}.n": position, f"{stage}.select": select}
        return params

    def decode(self, params: dict[str, Any]) -> Allocation:
        """Return the allocation of parameters; it may not fit the budget."""
        choices = []
        for options, (_, counts, _) in zip(self.options, self._axes, strict=True):
            stage = options[0].stage
            n = counts[params[f"{stage}.n"]]
            choices.append(StageChoice(stage, params[f"{stage}.model"], n, params[f"{stage}.select"]))
        return Allocation(tuple(choices)).canonical()
