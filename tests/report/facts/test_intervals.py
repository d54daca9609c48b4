"""Closed intervals, against worked examples and against the product's own."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.report.facts.intervals import band, surely_better
from agenttts.study.statistics import bonett_price, mean_interval


def test_right_and_wrong_have_wilsons_interval():
    # Eight of ten, e.g. Newcombe 1998: 0.4902 to 0.9433.
    assert band([1.0] * 8 + [0.0] * 2) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_equal_graded_scores_are_no_certainty():
    low, high = band([0.5] * 4)
    assert (low, high) == pytest.approx((0.150036, 0.849964), abs=1e-5)


def test_graded_scores_are_near_the_products_bootstrap():
    scores = list(np.random.default_rng(3).choice([0.0, 0.25, 0.5, 0.75, 1.0], size=100))
    own, theirs = band(scores), mean_interval(scores)
    assert own == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert own[0] <= np.mean(scores) <= own[1]


def test_a_mean_needs_a_score():
    with pytest.raises(ValueError, match="at least one"):
        band([])


def scores(signs: str) -> dict[str, float]:
    return {str(i): float(sign) for i, sign in enumerate(signs)}


def test_surely_better_is_bonett_and_prices_interval_above_0():
    # Nine against one of ten: up 9/12, down 1/12, so 0.667 - 1.96 sqrt((0.8333 - 0.4444) / 12) = 0.314.
    first, second = scores("1111111110"), scores("1000000000")
    assert bonett_price([a - b for a, b in zip(first.values(), second.values(), strict=True)], 0.95)[
        0
    ] == pytest.approx(0.3138, abs=1e-3)
    assert surely_better(first, second)
    assert not surely_better(second, first)


def test_one_problem_more_is_not_sure():
    assert not surely_better(scores("1111111110"), scores("1111111100"))


def test_few_graded_differences_that_are_all_alike_are_not_sure():
    """Without the added pairs the error of equal differences would be 0, and any difference certain."""
    assert not surely_better({"a": 0.6, "b": 0.6}, {"a": 0.5, "b": 0.5})


def test_only_common_problems_count():
    assert not surely_better({"a": 1.0}, {"b": 0.0})
