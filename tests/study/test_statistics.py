"""Intervals and tests agree with scipy's, and say so where they cannot be sure."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from agenttts.study.statistics import bca, bonett_price, mean_interval, paired_difference, sign_flip_p, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 12), (3, 12), (50, 100), (99, 100), (7, 7)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_scipy(right: int, n: int, confidence: float):
    expected = stats.binomtest(right, n).proportion_ci(confidence, method="wilson")
    assert wilson(right / n, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_bca_agrees_with_scipy(seed: int):
    values = np.random.default_rng(seed).beta(0.6, 0.3, size=80)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=1).confidence_interval
    assert bca(values.tolist(), 0.95, seed=3) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_bca_covers_the_mean_of_a_skewed_law_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(200):
        low, high = bca(rng.beta(0.4, 1.2, size=60).tolist(), 0.9, seed=i)
        inside += low <= 0.25 <= high
    assert 0.83 <= inside / 200 <= 0.96


@pytest.mark.parametrize("size", [5, 11])
def test_the_exact_sign_flip_test_agrees_with_scipy(size: int):
    values = np.random.default_rng(size).normal(0.4, 1, size)
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(values.tolist()) == pytest.approx(expected, abs=1e-12)


def test_the_sampled_sign_flip_test_agrees_with_the_exact_one():
    differences = [1.0] * 12 + [-1.0] * 5 + [0.0] * 83
    exact = stats.binomtest(5, 17).pvalue  # McNemar's exact test
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.01)


def test_scores_of_0_and_1_get_the_interval_of_wilson():
    interval = mean_interval([1, 1, 0, 1])
    assert interval.mean == 0.75
    assert interval.method.startswith("Wilson")
    assert (interval.low, interval.high) == wilson(0.75, 4, 0.95)


def test_equal_scores_are_not_taken_for_certainty():
    interval = mean_interval([0.5] * 20)
    assert interval.low < 0.4
    assert interval.high > 0.6


def test_graded_scores_get_a_bootstrap_within_0_and_1():
    interval = mean_interval([0.0, 0.1, 1.0, 1.0, 0.95, 1.0])
    assert interval.method.startswith("BCa")
    assert 0 <= interval.low < interval.mean < interval.high <= 1


def test_the_same_seed_gives_the_same_interval():
    scores = [0.1, 0.4, 0.35, 0.8]
    assert mean_interval(scores, seed=4) == mean_interval(scores, seed=4)


def test_no_scores_have_no_mean():
    with pytest.raises(ValueError, match="at least one score"):
        mean_interval([])


def pairs(n_better: int, n_worse: int, n_same: int) -> tuple[dict[str, float], dict[str, float]]:
    values = [(1.0, 0.0)] * n_better + [(0.0, 1.0)] * n_worse + [(1.0, 1.0)] * n_same
    first = {f"p{i}": a for i, (a, _) in enumerate(values)}
    second = {f"p{i}": b for i, (_, b) in enumerate(values)}
    return first, second


def test_many_problems_won_and_few_lost_is_better():
    difference = paired_difference(*pairs(30, 5, 65))
    assert difference.verdict == "better"
    assert difference.mean == pytest.approx(0.25)
    assert difference.low > 0
    first, second = pairs(30, 5, 65)
    assert paired_difference(second, first).verdict == "worse"


def test_about_as_many_won_as_lost_is_not_distinguishable():
    assert paired_difference(*pairs(9, 7, 84)).verdict == "not distinguishable"


def test_one_problem_won_is_not_distinguishable():
    assert paired_difference(*pairs(1, 0, 99)).verdict == "not distinguishable"


def test_no_problem_that_differs_leaves_room_for_a_difference():
    difference = paired_difference(*pairs(0, 0, 40))
    assert difference.low < 0 < difference.high
    assert difference.p == 1
    assert difference.verdict == "not distinguishable"


def test_only_common_problems_are_compared_and_the_others_are_counted():
    difference = paired_difference({"a": 1.0, "b": 0.0, "c": 1.0}, {"b": 0.0, "c": 0.0, "d": 1.0})
    assert difference.n == 2
    assert difference.n_unpaired == 2
    assert difference.mean == 0.5
    with pytest.raises(ValueError, match="common"):
        paired_difference({"a": 1.0}, {"b": 1.0})


def test_few_pairs_that_differ_are_not_taken_for_certainty():
    difference = paired_difference(*pairs(0, 1, 299))
    assert difference.low < difference.mean < 0 < difference.high
    assert difference.method.startswith("paired Bonett-Price")


def test_bonett_price_agrees_with_a_worked_example():
    # Of 21 pairs 1 differs one way and 7 the other way: (2 - 8) / 23 -+ 1.96 sqrt((10/23 - (6/23)^2) / 23).
    low, high = bonett_price([1.0] + [-1.0] * 7 + [0.0] * 13, 0.95)
    assert (low, high) == pytest.approx((-0.5084, -0.0134), abs=1e-4)


def test_graded_scores_are_compared_by_bootstrap():
    first = {f"p{i}": 0.3 + 0.01 * i for i in range(30)}
    second = {f"p{i}": 0.2 + 0.009 * i for i in range(30)}
    difference = paired_difference(first, second)
    assert difference.method.startswith("paired BCa")
    assert difference.verdict == "better"
    same = paired_difference(first, {name: score - 0.05 for name, score in first.items()})
    assert same.low < 0.05 < same.high
