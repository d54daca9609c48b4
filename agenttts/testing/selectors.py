"""What every selector keeps to. Inherit, and return yours from the fixture `selector`.

class TestMine(SelectorContract):
    @pytest.fixture
    def selector(self):
        return Mine()
"""

# ruff: noqa: D102 - a test is described by its name

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agenttts.errors import NoSamplesError
from agenttts.pipeline.selectors import Selector

__all__ = ["SelectorContract"]

CASES: tuple[tuple[tuple[Any, ...], tuple[float | None, ...]], ...] = (
    (("a",), (0.5,)),
    (("a", "b", "a"), (0.1, 0.9, 0.2)),
    ((None, "b", None), (None, 0.3, None)),
    ((["x", "y"], ["y"], ["y", "z"]), (0.5, 0.5, 0.5)),
    (({"k": [1]}, {"k": [1.0]}, 3), (None, None, None)),
    ((42, "42.0", " x ", "X"), ()),
)


class SelectorContract:
    """Tests that a selector inherits."""

    @pytest.fixture
    def selector(self) -> Selector:
        """Return the selector under test."""
        raise NotImplementedError

    def test_is_a_selector(self, selector: Selector) -> None:
        assert isinstance(selector, Selector)

    def test_no_samples_are_refused(self, selector: Selector) -> None:
        with pytest.raises(NoSamplesError):
            selector.select([], [])

    @pytest.mark.parametrize(("answers", "scores"), CASES)
    def test_names_the_sample_that_it_selected(
        self, selector: Selector, answers: Sequence[Any], scores: Sequence[float | None]
    ) -> None:
        selection = selector.select(answers, scores)
        if selection.index is not None:
            assert selection.answer == answers[selection.index]

    @pytest.mark.parametrize(("answers", "scores"), CASES)
    def test_selects_the_same_again(
        self, selector: Selector, answers: Sequence[Any], scores: Sequence[float | None]
    ) -> None:
        assert selector.select(answers, scores) == selector.select(list(answers), list(scores))

    def test_one_sample_is_selected_whatever_its_score(self, selector: Selector) -> None:
        for scores in ([0.0], [1.0], [None], []):
            assert selector.select([["only"]], scores).answer == ["only"]

    def test_an_unparsed_sample_never_wins_against_a_parsed_one(self, selector: Selector) -> None:
        assert selector.select([None, None, ["b"]], [1.0, 1.0, 0.0]).answer == ["b"]

    def test_nothing_parsed_gives_no_answer_and_says_so(self, selector: Selector) -> None:
        selection = selector.select([None, None], [None, None])
        assert selection.answer is None
        assert selection.notes
