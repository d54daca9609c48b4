"""What a score is worth that was searched for."""

from __future__ import annotations

import pytest

from agenttts.report.worth import flatters, near_zero_text
from agenttts.study.statistics import mean_interval
from tests.report.facts.conftest import make_trial

HALF, LOW = mean_interval([1.0, 0.0]), mean_interval([1.0, 0.0, 0.0, 0.0])
ZERO = mean_interval([0.0, 0.0])


@pytest.mark.parametrize(
    ("search", "unseen", "expected"),
    [
        (HALF, LOW, True),
        (LOW, HALF, False),
        (HALF, HALF, False),
        (HALF, None, True),
        (ZERO, None, False),
        (None, HALF, False),
    ],
)
def test_a_search_score_flatters_only_where_it_is_the_higher_one(search, unseen, expected):
    assert flatters(search, unseen) is expected


def test_a_search_that_scored_nothing_is_warned_of_with_what_to_check():
    told = near_zero_text([make_trial(0, "0000"), make_trial(1, "0000")])
    assert told.startswith("No trial scored above 0: ")
    for part in ("prompt", "parse", "verifier", "models"):
        assert part in told


def test_a_search_that_scored_next_to_nothing_names_its_best():
    assert "above 0.010, which is next to nothing" in near_zero_text([make_trial(0, "1" + "0" * 99)])


def test_a_search_with_a_score_or_with_none_known_is_not_warned_of():
    assert near_zero_text([make_trial(0, "0000"), make_trial(1, "1000")]) == ""
    assert near_zero_text([make_trial(0, "", status="invalid")]) == ""
