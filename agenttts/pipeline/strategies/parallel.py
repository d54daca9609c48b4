"""All samples at once, then one answer of them: by a selector, by a vote with an earlier stage, or by another call."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agenttts.models.base import Message, Sample, SamplingParameters
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.base import StageOutput
from agenttts.pipeline.parsing import Parsed, Parser
from agenttts.pipeline.selectors import First, Majority, Selection, Selector
from agenttts.pipeline.strategies.steps import Draw, Parse, Pool, Strategy, drawn, output, scored
from agenttts.verifiers.base import Verifier
from agenttts.verifiers.equality import vote_key

__all__ = ["SamplesPrompt", "agreed_fusion", "chosen", "first_of_one", "fused", "pooled", "selected"]

SamplesPrompt = Callable[[Sequence[str], Sequence[Any], str], tuple[Message, ...]]
"""From the samples' texts, their parsed answers and the prompt that they answer to the messages that show them."""


def first_of_one(draw: Draw, parser: Parser) -> Strategy:
    """Draw one sample and take it. Nothing is selected, so no verifier and no fusion is paid for."""
    pool = yield from drawn(Pool(), replace(draw, n=1), parser)
    return output(First().select(pool.answers, ()), pool)


def selected(draw: Draw, parser: Parser, selector: Selector, verifier: Verifier | None = None) -> Strategy:
    """Draw in parallel, parse, score if there is a verifier, select."""
    pool = yield from drawn(Pool(), draw, parser)
    yield from scored(pool, draw.messages, verifier)
    return output(selector.select(pool.answers, pool.scores), pool)


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
    pool = yield from drawn(Pool(), draw, parser)
    vote = Majority().select([*before, *pool.answers], ())
    note = f"voted over {len(before)} samples of the stage before and {len(pool.answers)} of its own"
    place = len(before) if vote.answer is None or vote.index is None else vote.index
    if place >= len(before):
        return output(Selection(place - len(before), vote.answer, vote.notes), pool, note)
    return StageOutput(vote.answer, texts[place], tuple(pool.answers), notes=(*pool.notes, note))


@dataclass(frozen=True)
class Second:
    """A call that makes one answer of samples."""

    prompt: SamplesPrompt
    sampling: SamplingParameters
    model: str | None = None
    """`None`: the model that drew the samples."""


def fused(draw: Draw, parser: Parser, second: Second) -> Strategy:
    """Draw in parallel, then ask the same model to write one reply from all of them.

    Where that reply cannot be parsed, the majority of the samples decides and a note says so.
    Source: the fusion of arXiv:2508.00890, which does not bill it; we do.
    """
    pool = yield from drawn(Pool(), draw, parser)
    return (yield from _written(draw, parser, second, pool, range(len(pool.samples))))


def agreed_fusion(draw: Draw, parser: Parser, second: Second) -> Strategy:
    """Draw in parallel, then show the model a sample of the leading answer and one of its strongest rival.

    Where there are not two different answers nothing is asked: the majority stands. It reads two samples
    however many are drawn, so it is much cheaper than a fusion of all.
    Source: the hint of arXiv:2512.05105, which distils what we only ask.
    """
    pool = yield from drawn(Pool(), draw, parser)
    pair = _leader_and_rival(pool.answers)
    if len(pair) < 2:
        return output(Majority().select(pool.answers, ()), pool)
    return (yield from _written(draw, parser, second, pool, pair))


def _leader_and_rival(answers: Sequence[Any]) -> list[int]:
    """Return the first samples of the two answers that most samples share; ties: drawn first."""
    first: dict[Hashable, int] = {}
    counts: Counter[Hashable] = Counter()
    for index, answer in enumerate(answers):
        if answer is not None:
            first.setdefault(vote_key(answer), index)
            counts[vote_key(answer)] += 1
    return [first[key] for key, _ in counts.most_common(2)]


def _written(draw: Draw, parser: Parser, second: Second, pool: Pool, shown: Sequence[int]) -> Strategy:
    texts, answers = [pool.samples[i].text for i in shown], [pool.answers[i] for i in shown]
    messages = second.prompt(texts, answers, prompt_text(draw.messages))
    replies: list[Sample] = yield Draw(second.model or draw.model, messages, second.sampling, 1, "fusion")
    parsed: list[Parsed] = yield Parse(parser, [replies[0].text])
    if parsed[0].answer is None:
        note = f"fusion: {parsed[0].note}; majority vote"
        return output(Majority().select(pool.answers, ()), pool, note)
    return StageOutput(parsed[0].answer, replies[0].text, tuple(pool.answers), notes=pool.notes)


def chosen(draw: Draw, parser: Parser, second: Second) -> Strategy:
    """Draw in parallel, then ask a model for the number of the best sample.

    Samples with equal answers are shown once, by the one drawn first. Where the reply names none of them, the majority
    decides and a note says so. Source: Chen et al. 2023, arXiv:2311.17311 (universal self-consistency); showing equal
    answers once is ours.
    """
    pool = yield from drawn(Pool(), draw, parser)
    first: dict[Hashable, int] = {}
    for index, answer in enumerate(pool.answers):
        if answer is not None:
            first.setdefault(vote_key(answer), index)
    shown = list(first.values())
    if len(shown) < 2:
        return output(Majority().select(pool.answers, ()), pool)
    texts, answers = [pool.samples[i].text for i in shown], [pool.answers[i] for i in shown]
    messages = second.prompt(texts, answers, prompt_text(draw.messages))
    replies: list[Sample] = yield Draw(second.model or draw.model, messages, second.sampling, 1, "choose")
    number = _named(replies[0].text, len(shown))
    if number is None:
        note = f"no sample was named in {replies[0].text[:80]!r}; majority vote"
        return output(Majority().select(pool.answers, ()), pool, note)
    place = shown[number - 1]
    return output(Selection(place, pool.answers[place]), pool)


def _named(text: str, n: int) -> int | None:
    """Return the whole number in 1 to `n` that a reply names last; `None`: it names none.

    One that stands alone on a line, as it was asked for, comes before those within sentences.
    """
    alone = re.findall(r"(?m)^[^\w\n-]*(?:[Rr]eply[^\w\n-]*)?(\d{1,4})\W*$", text)
    within = re.findall(r"(?<![\w.,-])\d{1,4}(?!\w|[.,]\d)", text)
    numbers = [*map(int, within), *map(int, alone)]
    return next((number for number in reversed(numbers) if 1 <= number <= n), None)
