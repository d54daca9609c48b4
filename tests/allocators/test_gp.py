"""The Gaussian process against formulas, differences and a surface."""

import numpy as np
import pytest

from agenttts.allocators.gp import Gp, Process, _distances, _loss, _matern, _tables, expected_improvement
from agenttts.testing.surfaces import SimulatedSurface, chain_space, search


def test_expected_improvement_is_the_mean_of_what_lies_above():
    draws = np.random.default_rng(0).normal(0.3, 0.5, 400_000)
    by_hand = np.maximum(draws - 0.6, 0).mean()
    assert expected_improvement(np.array([0.3]), np.array([0.5]), 0.6)[0] == pytest.approx(by_hand, rel=0.01)
    # At the mean it is the deviation over the square root of 2 pi.
    assert expected_improvement(np.array([1.0]), np.array([2.0]), 1.0)[0] == pytest.approx(0.797885, rel=1e-5)


def test_the_kernel_is_matern_five_halves():
    # r = 1: (1 + sqrt 5 + 5/3) exp(-sqrt 5)
    values, slopes = _matern(np.array([[0.0, 1.0]]))
    assert values[0] == pytest.approx([1.0, 0.523994], rel=1e-5)
    near, _ = _matern(np.array([[1.0 + 1e-6]]))
    assert slopes[0, 1] == pytest.approx((near[0, 0] - values[0, 1]) / 1e-6, rel=1e-4)


def test_the_gradient_agrees_with_differences():
    rng = np.random.default_rng(1)
    space = chain_space(2, selectors=("majority", "best_of_n"), budget=1e6)
    rows = space.sample(rng, 12)
    squared = _distances(_tables(space), rows, rows)
    y = rng.normal(size=12)
    at = rng.normal(scale=0.3, size=len(squared) + 2)
    _, gradient = _loss(at, squared, y)
    for i in range(len(at)):
        step = np.zeros(len(at))
        step[i] = 1e-6
        slope = (_loss(at + step, squared, y)[0] - _loss(at - step, squared, y)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_the_posterior_of_two_points_is_that_of_the_textbook():
    # One seen point of value 2, correlation c, amplitude 1, noise 1: mean c * 2 / 2, variance 1 - c^2 / 2.
    process = Process(np.array([0.0]), 0.0, 0.0)
    c = float(_matern(np.array(1.0))[0])
    mean, deviation = process.at(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.array([2.0]))
    assert mean[0] == pytest.approx(c, rel=1e-6)
    assert deviation[0] == pytest.approx(np.sqrt(1 - c**2 / 2), rel=1e-6)


def test_one_sample_lies_half_way_between_the_selectors():
    space = chain_space(1, {"m": 1.0}, (1, 2), selectors=("a", "b"), budget=10.0)
    choices = space.stages[0]
    one, a, b = (next(i for i, c in enumerate(choices) if c.select == label) for label in ("first", "a", "b"))
    select = _tables(space)[0][1]
    assert select[a, b] == pytest.approx(1.0)
    assert select[one, a] == select[one, b] == pytest.approx(0.25)


def test_it_finds_the_top_of_a_smooth_surface():
    space = chain_space(2, budget=40.0)
    models = {"simulated/small": 0.0, "simulated/medium": 0.3, "simulated/large": 0.2}

    def surface(allocation):
        first, second = allocation.choices
        doublings = np.log2(second.n_samples)
        return 0.3 + models[first.model] + models[second.model] / 2 + 0.1 - 0.02 * (doublings - 2) ** 2

    task = SimulatedSurface(space, surface, n_problems=400)
    best = max(map(surface, map(space.allocation, space.feasible_indices())))
    archive = search(Gp(), task, n_trials=24, seed=0)
    assert best - surface(archive.best().allocation) < 0.03


def test_a_used_up_space_gives_what_is_left_and_then_nothing():
    space = chain_space(2, {"s": 1.0, "l": 4.0}, (1, 2, 4), budget=12.0)
    assert 12 < space.n_feasible < 40
    task = SimulatedSurface(space, lambda allocation: 0.5, n_problems=10)
    archive = search(Gp(), task, n_trials=100, seed=0)
    assert len({trial.allocation for trial in archive.trials}) == space.n_feasible
