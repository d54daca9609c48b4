"""What a strategy may yield, and what all strategies share.

A strategy yields `Draw` (and receives samples), `Parse` (parsed answers), `Verify` (scores) or `Together` (the answers
to several of these), and returns the stage's output. It does no I/O and knows nothing of stores, ledgers or providers;
`driver` does. What is billed follows from what is yielded, so it is the same whether draws are paid for or reused.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agenttts.models.base import Message, Sample, SamplingParameters
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.base import Judged, Purpose, StageOutput
from agenttts.pipeline.parsing import Parsed, Parser
from agenttts.pipeline.selectors import Selection
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = [
    "Draw",
    "Parse",
    "Part",
    "Pool",
    "Step",
    "Strategy",
    "Together",
    "Verify",
    "drawn",
    "output",
    "scored",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """Draw samples `first` to `first + n - 1` of a prompt; answered by a list of `Sample`."""

    model: str
    messages: tuple[Message, ...]
    sampling: SamplingParameters
    n: int
    purpose: Purpose = "draw"
    first: int = 0
    """Draws before it were asked for before. It is a request of its own, so it is charged for reading the prompt."""


@dataclass(frozen=True)
class Parse:
    """Parse texts, in a worker thread where the rule runs code of the user; answered by a list of `Parsed`."""

    parser: Parser
    texts: Sequence[str]


@dataclass(frozen=True)
class Verify:
    """Score candidates; answered by a list of `Score`."""

    verifier: Verifier
    candidates: Sequence[Candidate]


@dataclass(frozen=True)
class Together:
    """Take several steps at once; answered by a list of their answers."""

    steps: Sequence[Draw | Parse | Verify]


Step = Draw | Parse | Verify | Together
Strategy = Generator[Step, Any, StageOutput]
Part = Generator[Step, Any, T]
"""A piece of a strategy, which returns something to the piece that it is part of."""


@dataclass
class Pool:
    """Samples of one prompt with what is known of them so far, in drawing order."""

    samples: list[Sample] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    """Empty where no verifier takes part, else shape (n_samples,)."""
    feedback: list[str] = field(default_factory=list)
    """What the verifier says, as `scores`."""
    unparsed: list[str] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)
    n_sent: int = 0
    """Samples that were sent to the verifier."""

    @property
    def texts(self) -> list[str]:
        """Texts of the samples."""
        return [sample.text for sample in self.samples]

    @property
    def best(self) -> float | None:
        """The highest score; `None` where there is none."""
        return max((score for score in self.scores if score is not None), default=None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of samples without an answer or a score."""
        n = len(self.samples)
        kinds = ((self.unparsed, "could not be parsed"), (self.unscored, "were not scored"))
        return tuple(f"{len(causes)} of {n} samples {what}: {causes[0]}" for causes, what in kinds if causes)


def drawn(pool: Pool, draw: Draw, parser: Parser) -> Part[Pool]:
    """Draw, parse, and add to a pool."""
    samples: list[Sample] = yield draw
    parsed: list[Parsed] = yield Parse(parser, [sample.text for sample in samples])
    pool.samples += samples
    pool.answers += [one.answer for one in parsed]
    pool.unparsed += [one.note for one in parsed if one.note]
    return pool


def scored(pool: Pool, messages: Sequence[Message], verifier: Verifier | None) -> Part[Pool]:
    """Score the samples of a pool that were not sent to the verifier yet.

    A sample that could not be parsed cannot win, so it is not sent; it stays without a score.
    """
    if verifier is None:
        return pool
    prompt, start = prompt_text(messages), len(pool.scores)
    fresh = range(start, len(pool.samples))
    parsed = [index for index in fresh if pool.answers[index] is not None]
    pool.scores += [None for _ in fresh]
    pool.feedback += ["" for _ in fresh]
    if not parsed:
        return pool
    pool.n_sent += len(parsed)
    given: list[Score] = yield Verify(verifier, [candidate(pool, index, prompt) for index in parsed])
    for index, score in zip(parsed, given, strict=True):
        pool.scores[index], pool.feedback[index] = score.value, score.feedback
        if score.value is None:
            pool.unscored.append(score.unscored_because)
    return pool


def candidate(pool: Pool, index: int, prompt: str) -> Candidate:
    """Return a sample of a pool as a verifier sees it."""
    sample = pool.samples[index]
    return Candidate(prompt, sample.text, pool.answers[index], sample.details, sample.logprobs)


def output(selection: Selection, pool: Pool, *notes: str) -> StageOutput:
    """Return what a stage makes of a pool."""
    if selection.index is not None:
        text = pool.samples[selection.index].text
    else:
        text = "\n".join(map(str, selection.answer))
    return StageOutput(
        answer=selection.answer,
        text=text,
        answers=tuple(pool.answers),
        selected=selection.index,
        verifier_scores=tuple(pool.scores),
        judged=Judged.of(pool.n_sent, pool.unscored),
        notes=(*pool.notes, *notes, *selection.notes),
    )
