"""Means over seeds and problems: worked examples, limiting cases, and how often their intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from agenttts.study.crossed import crossed_mean, seeds_for

WORKED = [[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]
"""Two seeds, four problems. Means: 5/8; seeds 1/2 and 3/4; problems 1, 1/2, 1, 0.

Mean squares: seeds 4 * (2 * (1/8)^2) / 1 = 1/8; problems 2 * (9/64 + 1/64 + 9/64 + 25/64) / 3 = 11/24; left: cells less
the sums of both leave +-1/8, and for the second problem +-3/8: (6 * 1/64 + 2 * 9/64) / 3 = 1/8. Error:
sqrt((1/8 + 11/24 - 1/8) / 8) = sqrt(11/192). Freedom: (11/24)^2 / ((1/8)^2 / 1 + (1/3)^2 / 3) = 121 / 30.333... .
"""


def test_a_worked_example():
    found = crossed_mean(WORKED, within=(-9, 9))
    error, freedom = math.sqrt(11 / 192), (11 / 24) ** 2 / ((1 / 8) ** 2 + (1 / 3) ** 2 / 3)
    assert found.value == 0.625
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * error)
    assert found.value - found.low == pytest.approx(found.high - found.value)
    assert found.p == pytest.approx(2 * stats.t.sf(0.625 / error, freedom))
    assert (found.n_seeds, found.n_problems) == (2, 4)


def test_one_seed_gives_the_t_interval_over_problems():
    values = [0.2, 0.9, 0.4, 0.1, 0.7]
    found = crossed_mean([values])
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_seeds_that_found_the_same_plan_give_an_interval_over_problems():
    values = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    once, thrice = crossed_mean([values]), crossed_mean([values] * 3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))


def test_the_interval_is_cut_where_no_mean_can_be():
    found = crossed_mean([[1.0] * 9 + [0.01]], within=(0.0, 1.0))
    assert found.high == 1.0
    assert found.low > 0


def test_a_table_without_any_difference_is_not_taken_for_certainty():
    found = crossed_mean(np.zeros((3, 20)))
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.low < -0.1
    assert found.high > 0.1


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="one seed and one problem"):
        crossed_mean(np.zeros((3, 0)))


@pytest.mark.parametrize(("of_seeds", "of_problems"), [(0.0, 0.3), (0.03, 0.3), (0.2, 0.1)])
def test_with_three_seeds_true_means_lie_outside_about_as_often_as_the_level_says(of_seeds, of_problems):
    generator, n = np.random.default_rng(11), 600
    outside = 0
    for _ in range(n):
        table = generator.normal(0, of_seeds, (3, 1)) + generator.normal(0, of_problems, (1, 80))
        found = crossed_mean(table + generator.normal(0, 0.2, (3, 80)))
        outside += not found.low <= 0 <= found.high
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
    assert outside / n < 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)


def test_a_share_of_few_problems_gets_wilsons_interval():
    found = crossed_mean([[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]], within=(0.0, 1.0))
    assert (found.low, found.high) == pytest.approx((0.188, 0.812), abs=0.0005)  # Wilson 1927, 3 of 6
    thrice = crossed_mean([[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]] * 3, within=(0.0, 1.0))
    assert (thrice.low, thrice.high) == (found.low, found.high)


def test_a_mean_of_partial_scores_is_no_share():
    values = [0.2, 0.9, 0.4, 0.1, 0.7]
    assert crossed_mean([values], within=(0.0, 1.0)).high == pytest.approx(crossed_mean([values]).high)


def test_seeds_needed_are_those_at_which_the_interval_becomes_as_narrow():
    generator = np.random.default_rng(5)
    table = generator.normal(0, 0.03, (3, 1)) + generator.normal(0, 0.3, (3, 500))
    seen = crossed_mean(table)
    n = seeds_for(seen, 0.02)
    assert n is not None
    assert 3 < n < 200
    assert seen.reach > 0.02
    # The same variance at n seeds, by hand: mean squares stay, the part of the seeds is spread over n.
    a, b = seen.from_seeds * 3 / n, seen.from_problems
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / 499)
    assert stats.t.ppf(0.975, freedom) * math.sqrt(a + b) <= 0.02
    assert seeds_for(seen, seen.reach * 1.0001) == 3


def test_no_number_of_seeds_helps_where_problems_are_too_few():
    generator = np.random.default_rng(5)
    hard = generator.normal(0, 0.5, (1, 30)) + generator.normal(0, 0.01, (3, 30))
    assert seeds_for(crossed_mean(hard), 0.02) is None
    assert seeds_for(crossed_mean([[0.0, 1.0, 0.0]]), 0.5) is None  # one seed says nothing of others
