"""The one seam of everything that scores an output.

A verifier that asks models is a procedure: a generator that yields what it wants to know and receives the answers. It
does no I/O; the pipeline's driver asks through the same store and ledger as all other draws, and keeps the bill.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agenttts.models.base import CallUsage, Message, Sample, SamplingParameters
from agenttts.pipeline.base import Problem, Purpose

__all__ = ["Ask", "AskingVerifier", "Candidate", "Procedure", "Score", "Told", "Verifier", "Work"]


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
    logprobs: tuple[float, ...] | None = None
    """Of the tokens of the sample; `None` where they were not asked for or not given."""
    unfinished: bool = False
    """The text is the beginning of a reply: judge its steps, not the whole."""


@dataclass(frozen=True, slots=True)
class Score:
    """A value in [0, 1], or unscored with its cause. Unscored is never 0."""

    value: float | None
    unscored_because: str = ""
    model: str = ""
    """Card name of the model that scored; empty for rules."""
    usage: CallUsage | None = None
    """What scoring this candidate cost; `None` for rules, and where several candidates share what was asked."""
    feedback: str = ""
    """What the verifier has to say about it, for a model that is to refine it; empty where it only scores."""
    steps: tuple[float, ...] = ()
    """Scores of the steps, of which `value` is made; empty where steps are not judged."""


@runtime_checkable
class Verifier(Protocol):
    """Scores candidates.

    What a verifier reads, it may say by attributes, so that equal candidates are scored once: `reads_text` (else answers
    alone; taken for true), `reads_details`, `reads_logprobs`. `reads_all`: it compares the candidates with one another,
    so that all are given to it, also equal ones. Those three are taken for false.
    """

    async def score(self, problem: Problem, candidates: Sequence[Candidate]) -> list[Score]:
        """Return one score per candidate, in order.

        A candidate that cannot be scored gets `Score(None, cause)`; an answer that was not parsed scores 0 under
        rules that compare answers, because a sample without a usable answer is wrong, not unscored.
        """
        ...


@dataclass(frozen=True)
class Ask:
    """A question to a model; answered by `Told`."""

    model: str
    messages: tuple[Message, ...]
    sampling: SamplingParameters
    n: int = 1
    """Replies wanted."""
    purpose: Purpose = "verify"


@dataclass(frozen=True)
class Told:
    """The replies to an `Ask`."""

    samples: tuple[Sample, ...]
    """All that were wanted, or none."""
    error: str = ""
    """Why there are none: a provider that gave up, told so that the candidate is unscored and not wrong."""


@dataclass(frozen=True)
class Work:
    """Work that takes its time and asks no model, such as running a program; done in a thread, answered by its value.

    What it raises ends the procedure, so it should raise nothing that a text may cause.
    """

    do: Callable[[], Any]


Procedure = Generator[Sequence[Ask | Work], Sequence[Any], list[Score]]
"""Yields questions that are asked all at once, receives their answers in the same order, returns the scores."""


@runtime_checkable
class AskingVerifier(Verifier, Protocol):
    """A verifier that asks models. Its `score` asks them without store and ledger, or refuses to."""

    def procedure(self, problem: Problem, candidates: Sequence[Candidate]) -> Procedure:
        """Return the procedure that scores these candidates, one score each, in order."""
        ...
