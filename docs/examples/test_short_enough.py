"""The verifier keeps the contract of verifiers, and scores as its docstring says."""

import asyncio

import pytest
from short_enough import ShortEnough

from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Score, Verifier


class TestShortEnough(VerifierContract):
    """What every verifier keeps to; these tests are inherited."""

    @pytest.fixture
    def verifier(self) -> Verifier:
        """Return the verifier under test."""
        return ShortEnough(limit=4)


def score_of(answer: object) -> Score:
    """Return the score of one answer under a limit of 4 words."""
    (score,) = asyncio.run(ShortEnough(4).score(Problem("p", {}), [Candidate("prompt", "text", answer)]))
    return score


@pytest.mark.parametrize(("n_words", "value"), [(1, 1.0), (4, 1.0), (5, 0.75), (6, 0.5), (8, 0.0), (20, 0.0)])
def test_the_score_falls_from_the_limit_to_twice_the_limit(n_words: int, value: float) -> None:
    """Worked by hand: one word over is a quarter of the limit."""
    assert score_of("word " * n_words).value == value


def test_what_cannot_be_scored_says_why() -> None:
    """Unscored is never 0."""
    assert score_of({"no": "text"}) == Score(None, "the answer is no text")
