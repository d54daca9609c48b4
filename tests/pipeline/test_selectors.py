from __future__ import annotations

import pytest

from agenttts.pipeline.selectors import (
    SELECTORS,
    BestOfN,
    First,
    ListVote,
    Majority,
    Selector,
    WeightedVote,
)
from agenttts.testing.selectors import SelectorContract


class TestFirst(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return First()


class TestMajority(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return Majority()


class TestWeightedVote(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return WeightedVote()


class TestBestOfN(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return BestOfN()


class TestListVote(SelectorContract):
    @pytest.fixture
    def selector(self) -> Selector:
        return ListVote()


def test_every_selector_has_its_name() -> None:
    assert sorted(SELECTORS) == ["best_of_n", "first", "list_vote", "majority", "weighted_vote"]


def test_majority_tie_goes_to_the_first_answer() -> None:
    assert Majority().select(["b", "a", "a", "b"]).index == 0


def test_majority_counts_equal_numbers_together() -> None:
    assert Majority().select(["7", "42", 42.0, "42.0", "7"]).index == 1


def test_majority_votes_over_lists_and_mappings() -> None:
    assert Majority().select([["x"], {"a": 1}, {"a": "1.0"}]).answer == {"a": 1}


def test_unparsed_samples_do_not_vote() -> None:
    assert Majority().select([None, None, None, "a", "b"]).answer == "a"


def test_weighted_vote_sums_the_scores_of_equal_answers() -> None:
    selection = WeightedVote().select(["a", "b", "a"], [0.4, 0.7, 0.4])
    assert (selection.index, selection.answer) == (0, "a")


def test_weighted_vote_ignores_unscored_samples() -> None:
    assert WeightedVote().select(["a", "a", "b"], [None, None, 0.1]).answer == "b"


def test_weighted_vote_tie_goes_to_the_answer_drawn_first() -> None:
    assert WeightedVote().select(["b", "a"], [0.5, 0.5]).answer == "b"


def test_best_of_n_takes_the_highest_score_and_ties_go_to_the_first() -> None:
    assert BestOfN().select(["a", "b", "c"], [0.2, 0.9, 0.9]).index == 1


def test_best_of_n_never_takes_an_unparsed_sample() -> None:
    assert BestOfN().select([None, "b"], [1.0, 0.0]).answer == "b"


@pytest.mark.parametrize("selector", [WeightedVote(), BestOfN()])
def test_without_any_score_the_majority_decides_and_a_note_says_so(selector: Selector) -> None:
    selection = selector.select(["a", "b", "b"], [None, None, None])
    assert selection.answer == "b"
    assert "majority" in selection.notes[0]


def test_list_vote_keeps_as_many_items_as_the_most_common_list() -> None:
    # Lengths 2, 2, 3; votes: b 3, a 2, c 2, d 1. Two items are kept; a comes before c.
    selection = ListVote().select([["a", "b"], ["b", "c"], ["a", "b", "d", "c"][1:]])
    assert selection.index is None
    assert selection.answer[0] == "b"
    assert len(selection.answer) == 2


def test_list_vote_ties_go_to_the_item_that_appeared_first() -> None:
    assert ListVote().select([["a", "b"], ["c", "d"]]).answer == ["a", "b"]


def test_list_vote_counts_an_item_once_a_sample() -> None:
    assert ListVote().select([["a", "a", "a"], ["b"], ["b"]]).answer == ["b"]


def test_list_vote_tie_between_lengths_goes_to_the_one_drawn_first() -> None:
    assert ListVote().select([["a", "b"], ["a"]]).answer == ["a", "b"]


def test_list_vote_of_empty_lists_is_empty() -> None:
    assert ListVote().select([[], [], ["a"]]).answer == []
