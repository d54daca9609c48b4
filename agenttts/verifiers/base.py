"""The one seam of everything that scores an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agenttts.models.base import CallUsage
from agenttts.pipeline.base import Problem

__all__ = ["Candidate", "Score", "Verifier"]


@dataclass(frozen=True)
class Candidate:
    """What is to be scored: one sample of one stage."""

    prompt: str
    """The rendered prompt that the sample answers (contents of all messages, joined by line breaks)."""
    text: str
    answer: Any
    """The parsed answer; `None` where parsing failed."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the sample's source says of it besides (`Sample.details`); empty where no single sample is scored."""


@dataclass(frozen=True, slots=True)
class Score:
    """A value in [0, 1], or unscored with its cause. Unscored is never 0."""

    value: float | None
    unscored_because: str = ""
    model: str = ""
    """Card name of the model that scored; empty for rules."""
    usage: CallUsage | None = None
    """What scoring this candidate cost; `None` for rules."""


@runtime_checkable
class Verifier(Protocol):
    """Scores candidates."""

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """Return one score per candidate, in order.

        A candidate that cannot be scored gets `Score(None, cause)`; an answer that was not parsed scores 0 under
        rules that compare answers, because a sample without a usable answer is wrong, not unscored.
        """
        ...
