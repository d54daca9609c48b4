"""The verifier of recorded draws: a draw is worth what its recording says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score

__all__ = ["RecordedVerifier"]


@dataclass(frozen=True)
class RecordedVerifier:
    """Scores samples by the column `score` of the table they come from, whatever could be parsed of them.

    It knows what was right, so it scores and never selects (the schema sees to that).
    """

    reads_text = True
    reads_details = True
    """Whether the score depends on more than answer and text."""

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`; what is no single recorded draw, or has no recorded score, is unscored."""
        return [self._one(problem, candidate.details.get("recorded_score")) for candidate in candidates]

    def _one(self, problem: Problem, value: object) -> Score:
        if isinstance(value, int | float) and 0 <= value <= 1:
            return Score(float(value))
        why = "has no recorded score" if value is None else f"has the recorded score {value}, not in [0, 1]"
        return Score(None, f"the answer to problem {problem.id} {why}")
