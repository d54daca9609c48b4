"""What selectors make of samples, against the selectors themselves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from agenttts.allocators.curves.laws import NODES
from agenttts.allocators.curves.selectors import (
    DISTANCES,
    RIVALS,
    Selected,
    chance_table,
    fit_selector,
    outcome_table,
)
from agenttts.pipeline.selectors import BestOfN, Majority


def near(values: np.ndarray, value: float) -> int:
    return int(np.argmin(np.abs(values - value)))


@pytest.mark.parametrize("n_samples", [3, 4, 8])
@pytest.mark.parametrize("rival", [0.32, 0.9])
def test_votes_win_as_often_as_the_majority_selector_says(n_samples: int, rival: float):
    rng = np.random.default_rng(5)
    theta, node = near(RIVALS, rival), near(NODES, 0.4)
    won = []
    for _ in range(4000):
        # Wrong answers outside the rival are all different.
        kinds = rng.random(n_samples)
        wrong = np.where(rng.random(n_samples) < RIVALS[theta], "rival", np.arange(n_samples).astype(str))
        answers = np.where(kinds < NODES[node], "right", wrong)
        won.append(Majority().select(list(answers)).answer == "right")
    assert chance_table("majority", n_samples)[node, theta] == pytest.approx(np.mean(won), abs=0.035)


@pytest.mark.parametrize("distance", [-1.0, 0.8, 2.3])
def test_best_of_n_is_right_as_often_as_the_selector_says(distance: float):
    rng = np.random.default_rng(6)
    n_samples, node = 6, near(NODES, 0.3)
    won = []
    for _ in range(4000):
        right = rng.random(n_samples) < NODES[node]
        scores = rng.standard_normal(n_samples) + distance * right
        chosen = BestOfN().select([str(i) for i in range(n_samples)], list(scores)).index
        won.append(chosen is not None and right[chosen])
    expected = chance_table("best_of_n", n_samples)[node, near(DISTANCES, distance)]
    assert expected == pytest.approx(np.mean(won), abs=0.03)


@pytest.mark.parametrize("kind", ["majority", "list_vote", "weighted_vote", "best_of_n", "fusion", "first"])
def test_one_sample_is_what_it_is(kind: str):
    assert chance_table(kind, 1) == pytest.approx(np.tile(NODES[:, None], (1, len(RIVALS))))


def test_two_votes_are_one():
    assert chance_table("majority", 2)[:, near(RIVALS, 0.5)] == pytest.approx(NODES, abs=1e-9)


@pytest.mark.parametrize("kind", ["majority", "list_vote", "weighted_vote", "best_of_n", "fusion"])
def test_more_samples_raise_likely_answers(kind: str):
    theta = near(RIVALS, 0.5) if "vote" in kind or kind == "majority" else near(DISTANCES, 1.2)
    curves = [chance_table(kind, n)[NODES > 0.6, theta] for n in (2, 4, 8, 16, 32)]
    assert all((b >= a - 1e-9).all() for a, b in pairwise(curves))


def test_votes_fall_with_samples_where_a_rival_is_stronger():
    curve = [chance_table("majority", n)[near(NODES, 0.24), near(RIVALS, 0.9)] for n in (1, 4, 16, 64)]
    assert all(b < a for a, b in pairwise(curve))
    assert curve[-1] < 0.01


def test_best_of_n_falls_with_samples_where_the_verifier_prefers_wrong_answers():
    curve = [chance_table("best_of_n", n)[near(NODES, 0.6), near(DISTANCES, -1.0)] for n in (1, 4, 16, 64)]
    assert all(b < a for a, b in pairwise(curve))


def test_a_verifier_that_sees_everything_finds_any_right_sample():
    found = chance_table("best_of_n", 8)[:, near(DISTANCES, 6.0)]
    assert found == pytest.approx(1 - (1 - NODES) ** 8, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "values", "true"), [("majority", RIVALS, 0.7), ("best_of_n", DISTANCES, 2.3)]
)
def test_the_parameter_is_learnt_from_what_was_selected(kind: str, values: np.ndarray, true: float):
    rng = np.random.default_rng(2)
    n_problems, n_samples = 400, 8
    right = rng.binomial(n_samples, rng.beta(1, 1, n_problems))
    chance = outcome_table(kind, n_samples)[near(values, true), right]
    score = (rng.random(n_problems) < chance).astype(float)
    use = Selected(n_samples, np.arange(n_problems), right.astype(float), score)
    law = fit_selector(kind, [use], n_problems)
    before = float(fit_selector(kind, [], 1).population @ values)
    # An outcome says little of the parameter, so part of the way is left even after 400 problems.
    assert abs(law.population @ values - true) < 0.35 * abs(before - true)


def test_without_data_the_law_is_the_one_before_data():
    law = fit_selector("majority", [], 3)
    assert law.problems == pytest.approx(np.tile(law.population, (3, 1)))
    assert law.population.sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", ["majority", "best_of_n"])
def test_a_hundred_samples_are_no_trouble(kind: str):
    table = outcome_table(kind, 100)
    assert table.shape == (len(RIVALS), 101)
    assert ((table >= 0) & (table <= 1)).all()
    assert (np.diff(table, axis=1) > -1e-6).all()
