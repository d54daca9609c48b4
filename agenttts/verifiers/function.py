"""A verifier that is a Python function of the task, allowed to run by `--trust`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.pipeline.base import Problem
from agenttts.verifiers.base import Candidate, Score
from agenttts.verifiers.reward import AGGREGATES
from agenttts.verifiers.rules import finite_score

__all__ = ["FunctionVerifier"]


@dataclass(frozen=True)
class FunctionVerifier:
    """Calls a function with (problem fields, answer, text) in a worker thread.

    The function returns a number in [0, 1], or a list of them, one per step, from which `aggregate` makes one. What it raises, or another value, leaves the candidate unscored. Unlike
    rules it is called for answers that could not be parsed too, with `None`.
    """

    function: Callable[..., Any]
    aggregate: str = "min"
    reads_text = True

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Verifier.score`."""
        return await asyncio.to_thread(lambda: [self._one(problem, candidate) for candidate in candidates])

    def _one(self, problem: Problem, candidate: Candidate) -> Score:
        try:
            return self._read(self.function(dict(problem.fields), candidate.answer, candidate.text))
        except Exception as error:
            return Score(None, f"the verifier function raised {type(error).__name__}: {error}")

    def _read(self, value: Any) -> Score:
        if not isinstance(value, list | tuple):
            return Score(finite_score(value))
        steps = tuple(finite_score(step) for step in value)
        if not steps:
            raise ValueError("an empty list holds no score of a step")
        return Score(AGGREGATES[self.aggregate](steps), steps=steps)
