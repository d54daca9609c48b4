"""Statistics of repeated searches agree with counting by hand and with scipy, also where a search never arrived."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from agenttts.study.comparison_statistics import (
    band,
    crossed_interval,
    fewest_seeds,
    holm,
    mean_estimate,
    median_estimate,
    ratio_estimate,
    signed_rank_test,
)

INF = math.inf


def test_signed_ranks_agree_with_scipy_where_there_are_no_ties():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.8, 1, 14), rng.normal(0, 1, 14)
    p, sign = signed_rank_test(first.tolist(), second.tolist())
    assert p == pytest.approx(stats.wilcoxon(first, second, method="exact").pvalue, abs=1e-12)
    assert sign == 1


def test_signed_ranks_with_ties_agree_with_counting_all_signs():
    first, second = [5, 5, 9, 3, 8, 7.0], [3, 3, 4, 3, 6, 9.0]
    ranks = np.array([2.5, 2.5, 5, 2.5, 2.5])  # of 2, 2, 5, 2, -2; the equal pair takes no part
    observed = abs(ranks @ [1, 1, 1, 1, -1])
    expected = np.mean([abs(ranks @ signs) >= observed for signs in product((1, -1), repeat=5)])
    assert signed_rank_test(first, second) == (pytest.approx(expected), 1)


def test_a_search_that_never_arrived_is_worse_than_any_that_did_and_equal_to_another():
    assert signed_rank_test([INF, INF], [INF, INF]) == (1.0, 0)
    # Five pairs moved, all one way, one of them without end: 2 / 2^5.
    assert signed_rank_test([1, 2, 3, 4, 5, INF], [2, 4, 6, 8, INF, INF]) == (pytest.approx(2 / 32), -1)


def test_nothing_that_differs_is_no_evidence():
    assert signed_rank_test([3, 4], [3, 4]) == (1.0, 0)


def test_signed_ranks_keep_their_level_on_few_discrete_values():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        first, second = (rng.choice([4, 8, 12, INF], size=20) for _ in range(2))
        hits += signed_rank_test(first.tolist(), second.tolist())[0] < 0.05
    assert hits / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_the_median_of_runs_of_which_half_never_arrived_is_without_end():
    estimate = median_estimate([3, 5, INF, INF])
    assert estimate is not None
    assert (estimate.value, estimate.high, estimate.n) == (INF, INF, 4)
    assert 3 <= estimate.low < INF


def test_a_median_has_an_interval_of_values_that_were_seen():
    estimate = median_estimate([1.0, 2.0, 3.0, 4.0, 100.0])
    assert estimate is not None
    assert estimate.value == 3
    assert estimate.low >= 1
    assert estimate.high <= 100
    assert estimate.low <= 3 <= estimate.high


def test_the_interval_of_a_median_covers_it_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for i in range(200):
        estimate = median_estimate(rng.exponential(1.0, 25).tolist(), confidence=0.9, seed=i)
        assert estimate is not None
        inside += estimate.low <= math.log(2) <= estimate.high
    assert 0.84 <= inside / 200 <= 0.97


def test_no_value_has_no_median_mean_or_ratio():
    assert median_estimate([]) is None
    assert mean_estimate([]) is None
    assert ratio_estimate([], []) is None


def test_ratios_of_medians_by_hand():
    ratio = ratio_estimate([2, 4, 6], [10, 10, 10])
    assert ratio is not None
    assert ratio.value == pytest.approx(0.4)
    assert ratio.low >= 0.2
    assert ratio.high <= 0.6
    never = ratio_estimate([2, 4, 6], [INF, INF, INF])
    assert never is not None
    assert (never.value, never.low, never.high) == (0, 0, 0)
    assert ratio_estimate([INF, INF, INF], [INF, INF, INF]) is None


def test_the_interval_of_a_crossed_table_knows_of_seeds_and_of_problems():
    rng = np.random.default_rng(2)
    rows, columns = rng.normal(0, 1, (12, 1)), rng.normal(0, 1, (1, 50))
    both, low, high = crossed_interval(rows + columns)
    assert both == pytest.approx((rows + columns).mean())
    for one in (rows + 0 * columns, columns + 0 * rows):
        _, narrow_low, narrow_high = crossed_interval(one)
        assert high - low > narrow_high - narrow_low


def test_a_crossed_table_of_one_row_and_column_is_that_value():
    assert crossed_interval([[0.25]]) == (0.25, 0.25, 0.25)


def test_a_band_holds_the_median_at_every_point():
    table = np.random.default_rng(4).normal(size=(9, 5))
    median, low, high = band(table, confidence=0.95, seed=0)
    assert median.tolist() == np.median(table, axis=0).tolist()
    assert (low <= median).all()
    assert (median <= high).all()


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("n_tests", "fewest"), [(1, 6), (4, 8), (12, 9)])
def test_the_fewest_seeds_are_those_whose_smallest_p_can_pass(n_tests: int, fewest: int):
    assert fewest_seeds(n_tests, 0.95) == fewest
    assert 2 ** (1 - fewest) * n_tests < 0.05 <= 2 ** (2 - fewest) * n_tests


def test_resamples_in_which_neither_arrived_widen_the_interval_of_a_ratio_at_both_ends():
    ratio = ratio_estimate([2, 2, INF], [4, 4, INF])
    assert ratio is not None
    assert ratio.value == 0.5
    assert (ratio.low, ratio.high) == (0, INF)
