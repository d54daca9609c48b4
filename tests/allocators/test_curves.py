"""The default allocator learns what it should, quickly, and is not misled for long. All surfaces are simulated."""

from __future__ import annotations

import time
import zlib
from itertools import pairwise

import numpy as np
import pytest

from agenttts.allocators.base import make_allocator
from agenttts.allocators.gaussian import fit
from agenttts.allocators.laws import NODES, compose, gain
from agenttts.pipeline.base import Allocation
from agenttts.study.archive import Archive
from agenttts.testing.surfaces import SimulatedSurface, SimulatedTask, chain_space, search

MODELS = ("simulated/small", "simulated/medium", "simulated/large")


def task(seed: int = 0, upstream: tuple[float, ...] = (-1.5, 0.0, 2.0)) -> SimulatedTask:
    skills = {
        "stage0": dict(zip(MODELS, upstream, strict=True)),
        "stage1": dict(zip(MODELS, (0.5, 0.6, 0.7), strict=True)),
    }
    return SimulatedTask(chain_space(selectors=("majority", "best_of_n")), skills, seed=seed)


def test_the_opening_tries_every_model_at_every_stage_within_one_round_of_three():
    archive = search(make_allocator("curves"), task(), n_trials=3, batch=3)
    pairs = {(c.stage, c.model) for t in archive.trials for c in t.allocation.choices}
    assert len(pairs) == 6


def test_proposals_state_predicted_score_and_deviation():
    archive = search(make_allocator("curves"), task(), n_trials=8)
    proposals = make_allocator("curves").propose(archive, task().space, 4, np.random.default_rng(1))
    assert any("predicted 0." in p.reason and "sd 0." in p.reason for p in proposals)


def test_single_samples_predict_allocations_that_were_never_tried():
    simulated = task()
    archive = search(make_allocator("curves"), simulated, n_trials=8)
    composition = compose(archive.valid, simulated.space)
    assert composition is not None
    rows = simulated.space.sample(np.random.default_rng(4), 60)
    predicted = composition.predict(rows)
    measured = np.array([simulated.run(simulated.space.allocation(row)).score for row in rows])
    assert np.corrcoef(predicted, measured)[0, 1] > 0.9
    assert np.mean(np.abs(predicted - measured)) < 0.08


def test_the_forecast_is_about_as_sure_as_it_should_be():
    simulated = task()
    archive = search(make_allocator("curves"), simulated, n_trials=12)
    space = simulated.space
    composition = compose(archive.valid, space)
    assert composition is not None
    seen = np.array([space.index(t.allocation) for t in archive.valid], dtype=np.int32)
    scores = np.array([t.score for t in archive.valid])
    posterior, constant = fit(space, seen, scores, np.full(len(scores), 7e-4), composition.predict(seen))
    rows = space.sample(np.random.default_rng(9), 100)
    prior = composition.predict(rows) if posterior.uses_composed else np.full(len(rows), constant)
    mean, deviation = posterior.at(rows, prior)
    measured = np.array([simulated.run(space.allocation(row)).score for row in rows])
    z = (measured - mean) / np.sqrt(deviation**2 + 7e-4)
    assert np.mean(np.abs(z) < 2) > 0.75


@pytest.mark.parametrize("kind", ["majority", "best_of_n", "fusion", "weighted_vote", "list_vote"])
def test_more_samples_raise_likely_answers_and_one_sample_changes_nothing(kind: str):
    assert gain(kind, 1, 0.5) == pytest.approx(NODES)
    likely = NODES[NODES > 0.6]
    curves = [gain(kind, n, 0.5, likely) for n in (2, 4, 8, 16, 32)]
    assert all((b >= a - 1e-9).all() for a, b in pairwise(curves))
    assert all(((c >= 0) & (c <= 1)).all() for c in curves)


def test_votes_lower_answers_that_a_rival_beats():
    assert gain("majority", 32, 1.0, np.array([0.2]))[0] < 0.1


def final_truth(name: str, simulated: SimulatedTask | SimulatedSurface, n_trials: int, seed: int) -> float:
    best = search(make_allocator(name), simulated, n_trials=n_trials, seed=seed).best()
    assert best is not None
    return simulated.truth(best.allocation)


def test_it_finds_more_than_random_search_where_stages_depend_on_each_other():
    ours = [final_truth("curves", task(seed), 12, seed) for seed in range(4)]
    others = [final_truth("random", task(seed), 12, seed) for seed in range(4)]
    assert np.mean(ours) > np.mean(others) + 0.03


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


@pytest.mark.parametrize("surface", [deceptive, lottery])
def test_it_is_not_worse_than_random_search_where_its_assumptions_are_wrong(surface):
    ours = [final_truth("curves", surface(seed), 32, seed) for seed in range(6)]
    others = [final_truth("random", surface(seed), 32, seed) for seed in range(6)]
    # Six seeds a side: a difference of means within its standard error is no difference.
    slack = float(np.sqrt((np.var(ours) + np.var(others)) / 6))
    assert np.mean(ours) >= np.mean(others) - slack


def test_a_million_allocations_are_searched_in_seconds():
    models = {f"simulated/m{i}": float(2**i) for i in range(4)}
    counts = (1, 2, 4, 8, 16, 32)
    space = chain_space(
        3, models, counts, selectors=("majority", "best_of_n", "fusion", "weighted_vote", "x"), budget=200.0
    )
    assert space.size > 700_000
    assert 400_000 < space.n_feasible <= 1_000_000
    skills = {f"stage{s}": dict(zip(models, (-1.0, -0.2, 0.5, 1.2), strict=True)) for s in range(3)}
    simulated = SimulatedTask(space, skills, n_problems=60)
    rows = space.sample(np.random.default_rng(0), 30)
    archive = Archive.of(simulated.run(space.allocation(row), i) for i, row in enumerate(rows))
    start = time.process_time()
    proposals = make_allocator("curves").propose(archive, space, 4, np.random.default_rng(0))
    assert len(proposals) == 4
    assert time.process_time() - start < 30
