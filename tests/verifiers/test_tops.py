from __future__ import annotations

import math
from typing import Any

import pytest

from agenttts.verifiers.tops import places_of, shares
from tests.verifiers.talking import sample


def test_places_are_the_tokens_drawn_with_the_likeliest_ones() -> None:
    given = [["a", [["a", -0.1], ["b", -2]]], ["c", []]]
    assert places_of(sample("ac", tops=given)) == [("a", [("a", -0.1), ("b", -2.0)]), ("c", [])]


@pytest.mark.parametrize(
    "given", [None, "x", {}, [1], [["a"]], [["a", [["b"]]]], [["a", [["b", "low"]]]], [["a", 3]]]
)
def test_what_cannot_be_read_is_not_there(given: Any) -> None:
    assert places_of(sample("a", tops=given)) == []


def test_shares_are_among_the_tokens_that_mean_something() -> None:
    top = [("yes", math.log(0.3)), ("YES", math.log(0.15)), ("no", math.log(0.15)), ("maybe", math.log(0.4))]
    meaning = {"yes": True, "no": False}
    assert shares(top, lambda token: meaning.get(token.lower())) == pytest.approx({True: 0.75, False: 0.25})


@pytest.mark.parametrize("logprob", [math.nan, -math.inf])
def test_a_token_without_a_probability_counts_for_nothing(logprob: float) -> None:
    assert shares([("yes", logprob)], bool) == {}
    among = shares([("yes", logprob), ("", -1.0)], bool)
    assert (among.get(True, 0.0), among[False]) == (0.0, 1.0)


def test_a_probability_above_1_counts_as_1() -> None:
    assert shares([("yes", 1000.0), ("", 0.0)], bool) == {True: 0.5, False: 0.5}
