"""A verifier of one's own as a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score


@dataclass(frozen=True)
class ShortEnough:
    """Score how well an answer keeps to a number of words: 1 up to `limit`, then falling to 0 at twice as many."""

    limit: int = 50
    reads_text = False
    """It reads answers alone, so equal answers are scored once."""

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """Return one score per candidate, in order."""
        return [self._one(candidate) for candidate in candidates]

    def _one(self, candidate: Candidate) -> Score:
        if candidate.answer is None:
            return Score(0.0)  # without a usable answer a sample is wrong
        if not isinstance(candidate.answer, str):
            return Score(None, "the answer is no text")  # cannot be scored: never 0
        over = len(candidate.answer.split()) - self.limit
        value = min(1.0, max(0.0, 1 - over / self.limit))
        return Score(value, feedback="" if value == 1 else f"use {over} words fewer")
