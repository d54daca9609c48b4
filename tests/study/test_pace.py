"""Estimates of the time that is left."""

from __future__ import annotations

import pytest

from agenttts.study.pace import problems_left, seconds_left


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ((40, 60, 0, 0, 0), 2400),
        ((40, 60, 0, 0, 100), 2300),
        ((30, 60, 10, 0, 600), 1800),
        ((30, 60, 10, 300, 300), 900),  # those that ended ran half of their problems
        ((30, 60, 10, 300, 350), 850),  # 50 more stand in trials at work
        ((0, 60, 40, 0, 2400), 0),
        ((1, 60, 1, 50, 70), 0),  # the trial at work is longer than the one that ended
    ],
)
def test_trials_to_come_are_as_long_as_those_that_ended(case, expected):
    assert problems_left(*case) == pytest.approx(expected)


def test_the_pace_is_that_of_the_later_half():
    assert seconds_left(10, [], 0.0, 5.0) is None
    assert seconds_left(10, [2.0], 0.0, 2.0) == pytest.approx(20)
    # The first two, reused, took nothing; the later two 4 s together.
    assert seconds_left(10, [0.0, 0.0, 2.0, 4.0], 0.0, 4.0) == pytest.approx(20)
    assert seconds_left(0, [], 0.0, 5.0) == 0.0


def test_while_nothing_ends_the_time_left_grows():
    assert seconds_left(10, [1.0], 0.0, 8.0) == pytest.approx(80)
