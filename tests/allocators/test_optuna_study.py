"""Samplers of Optuna over an archive: what they are told, and that they make use of it."""

from dataclasses import replace

import numpy as np
import pytest

from agenttts.allocators.base import make_allocator
from agenttts.allocators.nsga2 import POPULATION
from agenttts.allocators.optuna_study import propose_with
from agenttts.allocators.tpe import SAMPLING
from agenttts.study.archive import Archive, Trial
from agenttts.testing.surfaces import SimulatedSurface, chain_space


def surface(allocation):
    """Large models and more samples are better, at every stage."""
    return sum(0.1 * (c.model == "large") + 0.04 * np.log2(c.n_samples) for c in allocation.choices)


SPACE = chain_space(3, {"small": 1.0, "large": 2.0}, (1, 2, 4, 8), budget=1e6)


def archive_of(n_trials: int, status: str = "ok") -> Archive:
    task = SimulatedSurface(SPACE, surface, n_problems=400)
    rows = SPACE.sample(np.random.default_rng(5), 5 * n_trials)
    allocations = list(dict.fromkeys(map(SPACE.allocation, rows)))[:n_trials]
    return Archive.of(task.run(allocation, i) for i, allocation in enumerate(allocations))


def mean_truth(name: str, archive: Archive) -> float:
    """Mean truth of what is proposed next, over seeds."""
    proposals = [
        p.allocation
        for seed in range(10)
        for p in make_allocator(name).propose(archive, SPACE, 4, np.random.default_rng(seed))
    ]
    return float(np.mean([surface(allocation) for allocation in proposals]))


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_known_trials_make_proposals_better(name):
    assert mean_truth(name, archive_of(5 * POPULATION)) > mean_truth(name, Archive()) + 0.03


def test_generations_are_replayed():
    # Within the first generation NSGA-II draws at random, whatever it is told; with the first one full, it breeds.
    blind, known = mean_truth("nsga2", Archive()), archive_of(5 * POPULATION)
    first = Archive.of(known.trials[: POPULATION - 1])
    best = sorted(known.trials, key=lambda trial: -surface(trial.allocation))[:POPULATION]
    full = Archive.of(Trial(i, t.allocation, "ok", t.scores, 1.0) for i, t in enumerate(best))
    assert abs(mean_truth("nsga2", first) - blind) < 0.05
    assert mean_truth("nsga2", full) > blind + 0.05


def test_a_stopped_trial_is_told_by_its_estimate():
    # Its problems are easy ones: 0.5 on these is less than it seems, as the full trial has 1 there and 0 elsewhere.
    a, b = (SPACE.allocation(row) for row in SPACE.feasible_indices()[:2])
    full = Trial(0, a, "ok", {"easy1": 1.0, "easy2": 1.0, "hard1": 0.0, "hard2": 0.0}, 1.0)
    stopped = Trial(1, b, "stopped", {"easy1": 1.0, "easy2": 0.0}, 1.0)
    archive = Archive.of([full, stopped])
    told = []

    class Recording:
        def __init__(self, sampler):
            self.sampler = sampler

        def __getattr__(self, name):
            return getattr(self.sampler, name)

        def after_trial(self, study, trial, state, values):
            told.append(values)

    recorded = replace(SAMPLING, make=lambda optuna, seed: Recording(SAMPLING.make(optuna, seed)))
    propose_with(recorded, "tpe", archive, SPACE, 1, np.random.default_rng(0))
    assert told == [[0.5], [0.0]]
