"""The law of one sample over problems."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.allocators.curves.laws import LOGITS, NODES, Counts, SketchLaw, beta_law, fit_laws


def drawn(chances: np.ndarray, n: int, seed: int = 0) -> Counts:
    rng = np.random.default_rng(seed)
    return Counts(rng.binomial(n, chances).astype(float), np.full(len(chances), float(n)))


@pytest.mark.parametrize(("mean", "rho"), [(0.3, 0.2), (0.5, 0.6), (0.9, 0.4)])
def test_a_beta_law_has_its_mean_and_spread(mean: float, rho: float):
    weights = beta_law(mean, rho)
    assert weights @ NODES == pytest.approx(mean, abs=0.01)
    variance = weights @ (NODES - mean) ** 2
    assert variance == pytest.approx(rho * mean * (1 - mean), rel=0.1)


def test_problems_that_are_all_or_nothing_are_told_from_problems_that_are_all_alike():
    split = fit_laws(drawn(np.repeat([0.02, 0.98], 50), 16), 0.5)
    alike = fit_laws(drawn(np.full(100, 0.5), 16), 0.5)
    assert split.mean == pytest.approx(0.5, abs=0.06)
    assert alike.mean == pytest.approx(0.5, abs=0.06)
    middle = (NODES > 0.25) & (NODES < 0.75)
    assert split.population[middle].sum() < 0.15
    assert alike.population[middle].sum() > 0.75


def test_two_kinds_of_problems_give_a_law_with_two_peaks():
    laws = fit_laws(drawn(np.repeat([0.1, 0.8], 60), 32), 0.5)
    near_low, between, near_high = (
        laws.population[(low < NODES) & (high > NODES)].sum()
        for low, high in ((0.04, 0.25), (0.3, 0.6), (0.65, 0.95))
    )
    assert near_low > 0.3
    assert near_high > 0.3
    assert between < 0.15


def test_each_problem_has_its_own_posterior():
    laws = fit_laws(Counts(np.array([0.0, 8.0, 0.0]), np.array([8.0, 8.0, 0.0])), 0.5)
    means = laws.problems @ NODES
    assert means[0] < 0.2
    assert means[1] > 0.8
    assert laws.problems[2] == pytest.approx(laws.population)


def test_fractional_scores_are_taken_as_shares():
    laws = fit_laws(Counts(np.full(50, 2.4), np.full(50, 4.0)), 0.2)
    assert laws.mean == pytest.approx(0.6, abs=0.03)


def test_a_sketch_moves_what_was_not_seen_and_hardly_what_was():
    sketch = SketchLaw.of(0.05, 0.1, 8.0)
    nothing = Counts(np.zeros(40), np.zeros(40))
    assert fit_laws(nothing, 0.5, sketch).mean < fit_laws(nothing, 0.5).mean - 0.1
    seen = drawn(np.full(40, 0.8), 8)
    assert fit_laws(seen, 0.5, sketch).mean == pytest.approx(fit_laws(seen, 0.5).mean, abs=0.05)


@pytest.mark.parametrize("guess", [(0.0, 0.0, 1.0), (1.0, 0.0, 1e9), (1.0, 1.0, 1.0000001)])
def test_any_sketch_gives_a_law(guess: tuple[float, float, float]):
    weights = SketchLaw.of(*guess).weights
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()


def test_an_unseen_problem_that_others_find_easy_is_taken_to_be_easier():
    laws = fit_laws(Counts(np.array([4.0, 1.0, 0.0, 0.0]), np.array([8.0, 8.0, 0.0, 0.0])), 0.5)
    tilted = laws.tilted(np.array([0.0, 0.0, 2.0, -2.0]))
    assert tilted.problems[0] == pytest.approx(laws.problems[0])
    logits = tilted.problems @ LOGITS
    assert logits[2] > laws.problems[2] @ LOGITS + 0.5 > logits[3] + 1.0
