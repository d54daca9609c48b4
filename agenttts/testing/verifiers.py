"""What every verifier keeps to. Inherit, and return yours from the fixtures.

class TestMine(VerifierContract):
    @pytest.fixture
    def verifier(self):
        return Mine()
"""

# ruff: noqa: D102 - a test is described by its name

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = ["VerifierContract"]


class VerifierContract:
    """Tests that a verifier inherits."""

    @pytest.fixture
    def verifier(self) -> Verifier:
        """Return the verifier under test."""
        raise NotImplementedError

    @pytest.fixture
    def problem(self) -> Problem:
        """Return a problem that the verifier can score answers to."""
        return Problem("p", {"gold": "42"})

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        """Return candidates that differ in answer and text."""
        return [
            Candidate("What is 6 * 7?", f"It is {answer}", answer) for answer in ("42", "41", "x", "42", None)
        ]

    def test_is_a_verifier(self, verifier: Verifier) -> None:
        assert isinstance(verifier, Verifier)

    def test_gives_one_score_per_candidate(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> None:
        assert len(_score(verifier, problem, candidates)) == len(candidates)

    def test_scores_no_candidates(self, verifier: Verifier, problem: Problem) -> None:
        assert _score(verifier, problem, []) == []

    def test_scores_lie_between_0_and_1_and_unscored_has_a_cause(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> None:
        for score in _score(verifier, problem, candidates):
            if score.value is None:
                assert score.unscored_because
            else:
                assert 0 <= score.value <= 1
                assert not score.unscored_because

    def test_equal_candidates_get_equal_scores(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> None:
        scores = _score(verifier, problem, candidates)
        for i, one in enumerate(candidates):
            for j, other in enumerate(candidates):
                if one == other:
                    assert scores[i].value == scores[j].value

    def test_a_score_does_not_depend_on_its_neighbours(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> None:
        if getattr(verifier, "reads_all", False):
            pytest.skip("it compares candidates with one another")
        together = _score(verifier, problem, candidates)
        alone = [_score(verifier, problem, [candidate])[0] for candidate in candidates]
        assert [score.value for score in together] == pytest.approx([score.value for score in alone])

    def test_what_a_model_scored_is_billed(
        self, verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]
    ) -> None:
        shared = getattr(verifier, "reads_all", False)  # then no candidate has a cost of its own
        for score in _score(verifier, problem, candidates):
            if score.model and not shared:
                assert score.usage is not None
                assert score.usage.prefill_tokens > 0


def _score(verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
    return asyncio.run(_scored(verifier, problem, candidates))


async def _scored(verifier: Verifier, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
    return await verifier.score(problem, candidates)
