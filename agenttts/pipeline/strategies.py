"""Ways to spend samples on one stage of one problem, as generators: they yield what they want and receive it.

A strategy yields `Draw` (and receives samples) or `Verify` (and receives scores), and returns the stage's output. It
does no I/O and knows nothing of stores, ledgers or providers; `driver` does. What is billed follows from what is
yielded, so it is the same whether draws are paid for or reused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenttts.models.base import Message, Sample, SamplingParameters
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.base import Purpose, StageOutput
from agenttts.pipeline.parsing import Parsed, Parser
from agenttts.pipeline.selectors import First, Majority, Selection, Selector
from agenttts.verifiers.base import Candidate, Score, Verifier

__all__ = [
    "Draw",
    "FusionPrompt",
    "Parse",
    "Strategy",
    "Verify",
    "first_of_one",
    "fused",
    "pooled",
    "selected",
]


@dataclass(frozen=True)
class Draw:
    """Draw samples; answered by a list of `Sample`."""

    model: str
    messages: tuple[Message, ...]
    sampling: SamplingParameters
    n: int
    purpose: Purpose = "draw"


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


Strategy = Generator[Draw | Parse | Verify, Any, StageOutput]
FusionPrompt = Callable[[Sequence[str], Sequence[Any], str], tuple[Message, ...]]
"""From the samples' texts, their parsed answers and the prompt that they answer to the fusion's messages."""


def first_of_one(draw: Draw, parser: Parser) -> Strategy:
    """Draw one sample and take it. Nothing is selected, so no verifier and no fusion is paid for."""
    answers, samples, notes = yield from _drawn(replace(draw, n=1), parser)
    return _output(First().select(answers, ()), answers, samples, notes)


def selected(draw: Draw, parser: Parser, selector: Selector, verifier: Verifier | None = None) -> Strategy:
    """Draw in parallel, parse, score if there is a verifier, select.

    A sample that could not be parsed cannot win, so it is not sent to the verifier.
    """
    answers, samples, notes = yield from _drawn(draw, parser)
    scores: tuple[float | None, ...] = ()
    if verifier is not None:
        prompt = prompt_text(draw.messages)
        parsed = [index for index, answer in enumerate(answers) if answer is not None]
        given: list[Score] = yield Verify(
            verifier, [Candidate(prompt, samples[index].text, answers[index]) for index in parsed]
        )
        scores, unscored = _spread(given, parsed, len(answers))
        notes = (*notes, *unscored)
    return _output(selector.select(answers, scores), answers, samples, notes, scores)


def pooled(draw: Draw, parser: Parser, before: Sequence[Any], texts: Sequence[str]) -> Strategy:
    """Draw in parallel and vote over samples of an earlier stage and these together.

    The earlier stage's come first, so ties go to them. `answers` are those of this stage's own samples; `selected` is
    `None` where the selected sample is one of the earlier stage's.

    Args:
        draw: The samples to draw.
        parser: Reads them.
        before: Answers of the earlier stage's samples in drawing order, `None` where parsing failed.
        texts: Their texts, same shape.
    """
    answers, samples, notes = yield from _drawn(draw, parser)
    vote = Majority().select([*before, *answers], ())
    note = f"voted over {len(before)} samples of the stage before and {len(answers)} of its own"
    place = len(before) if vote.answer is None or vote.index is None else vote.index
    if place >= len(before):
        own = Selection(place - len(before), vote.answer, vote.notes)
        return _output(own, answers, samples, (*notes, note))
    return StageOutput(vote.answer, texts[place], tuple(answers), notes=(*notes, note))


def fused(draw: Draw, parser: Parser, prompt: FusionPrompt, sampling: SamplingParameters) -> Strategy:
    """Draw in parallel, then ask the same model to write one reply from all of them.

    Where that reply cannot be parsed, the majority of the samples decides and a note says so.
    Source: the fusion of arXiv:2508.00890, which does not bill it; we do.
    """
    answers, samples, notes = yield from _drawn(draw, parser)
    messages = prompt([sample.text for sample in samples], answers, prompt_text(draw.messages))
    replies: list[Sample] = yield Draw(draw.model, messages, sampling, 1, "fusion")
    parsed: list[Parsed] = yield Parse(parser, [replies[0].text])
    if parsed[0].answer is None:
        notes = (*notes, f"fusion: {parsed[0].note}; majority vote")
        return _output(Majority().select(answers, ()), answers, samples, notes)
    return StageOutput(parsed[0].answer, replies[0].text, tuple(answers), notes=notes)


def _drawn(
    draw: Draw, parser: Parser
) -> Generator[Draw | Parse | Verify, Any, tuple[list[Any], list[Sample], tuple[str, ...]]]:
    samples: list[Sample] = yield draw
    parsed: list[Parsed] = yield Parse(parser, [sample.text for sample in samples])
    causes = [one.note for one in parsed if one.note]
    note = f"{len(causes)} of {len(samples)} samples could not be parsed: {causes[0]}" if causes else ""
    return [one.answer for one in parsed], samples, (note,) if note else ()


def _spread(
    given: Sequence[Score], parsed: Sequence[int], n_samples: int
) -> tuple[tuple[float | None, ...], tuple[str, ...]]:
    """Put the scores of the parsed samples at their places among all samples."""
    scores: list[float | None] = [None] * n_samples
    for index, score in zip(parsed, given, strict=True):
        scores[index] = score.value
    causes = [score.unscored_because for score in given if score.value is None]
    return tuple(scores), (
        f"{len(causes)} of {n_samples} samples were not scored: {causes[0]}",
    ) if causes else ()


def _output(
    selection: Selection,
    answers: Sequence[Any],
    samples: Sequence[Sample],
    notes: tuple[str, ...],
    scores: tuple[float | None, ...] = (),
) -> StageOutput:
    if selection.index is not None:
        text = samples[selection.index].text
    else:
        text = "\n".join(map(str, selection.answer))
    return StageOutput(
        answer=selection.answer,
        text=text,
        answers=tuple(answers),
        selected=selection.index,
        verifier_scores=scores,
        notes=(*notes, *selection.notes),
    )
