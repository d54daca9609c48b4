"""A verifier that is a Python function of the task, allowed to run by `--trust`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score
from agenttts.verifiers.rules import finite_score

__all__ = ["FunctionVerifier"]


@dataclass(frozen=True)
class FunctionVerifier:
    """Calls a function with (problem fields, answer, text) in a worker thread.

    The function returns a number in [0, 1]. What it raises, or another value, leaves the candidate unscored. Unlike
    rules it is called for answers that could not be parsed too, with `None`.
    """

    function: Callable[..., Any]
    reads_text = True

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        return await asyncio.to_thread(lambda: [self._one(problem, candidate) for candidate in candidates])

    def _one(self, problem: Problem, candidate: Candidate) -> Score:
        try:
            return Score(finite_score(self.function(dict(problem.fields), candidate.answer, candidate.text)))
        except Exception as error:
            return Score(None, f"the verifier function raised {type(error).__name__}: {error}")
