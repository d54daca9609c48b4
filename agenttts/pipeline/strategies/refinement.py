"""One sample after another, each made from the one before and from what was said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agenttts.models.base import Message, Sample, SamplingParameters
from agenttts.models.tokens import prompt_text
from agenttts.pipeline.parsing import Parser
from agenttts.pipeline.selectors import BestOfN, Selection
from agenttts.pipeline.strategies.steps import (
    Draw,
    Part,
    Pool,
    Strategy,
    Verify,
    candidate,
    drawn,
    output,
    scored,
)
from agenttts.verifiers.base import Score, Verifier

__all__ = ["Critic", "Refining", "Turns", "refine"]


@dataclass(frozen=True)
class Critic:
    """Who says what is wrong: a model, or a verifier that gives feedback."""

    messages: Callable[[str, Any, str], tuple[Message, ...]] | None
    """From a sample's text, its answer and the prompt to the question; `None`: `verifier` speaks."""
    sampling: SamplingParameters | None = None
    model: str | None = None
    """`None`: the model that drew the sample."""
    verifier: Verifier | None = None


@dataclass(frozen=True)
class Refining:
    """How a sample is refined."""

    messages: Callable[[str, Any, str, str], tuple[Message, ...]]
    """From a sample's text, its answer, the feedback (empty: none) and the prompt to what asks for a better one. They
    come after the stage's prompt and the sample, as the next turn of the same conversation."""
    critic: Critic | None = None
    verifier: Verifier | None = None
    """Scores each sample; `None`: the last one that could be parsed is taken."""
    threshold: float = 1.0


def refine(draw: Draw, parser: Parser, how: Refining) -> Strategy:
    """Draw one sample and refine it until `draw.n` samples are there, or one is good enough.

    With a verifier the best of them is taken, else the last that could be parsed. Each turn sees only the sample before
    it; where it is asked what an earlier turn was asked, it takes the next draw rather than the same one again.
    Sources: Madaan et al. 2023, arXiv:2303.17651 (self-refine); Zhao et al. 2025, arXiv:2504.00891 (a generative
    reward model as the critic).
    """
    pool = yield from drawn(Pool(), replace(draw, n=1), parser)
    yield from scored(pool, draw.messages, how.verifier)
    turns = Turns(draw)
    while len(pool.samples) < draw.n and (pool.best is None or pool.best < how.threshold):
        feedback = yield from _feedback(draw, how, pool)
        yield from drawn(pool, turns.next(how, pool, len(pool.samples) - 1, feedback), parser)
        yield from scored(pool, draw.messages, how.verifier)
    if how.verifier is not None:
        selection = BestOfN().select(pool.answers, pool.scores)
    else:
        last = max((i for i, answer in enumerate(pool.answers) if answer is not None), default=0)
        selection = Selection(last, pool.answers[last])
    note = f"refined {len(pool.samples) - 1} times" if len(pool.samples) > 1 else ""
    made = output(selection, pool, *([note] if note else []))
    return replace(made, texts=tuple(pool.texts), n_plain=1)


class Turns:
    """The turns that a strategy asks for; equal ones are draws of one stream, of which each is taken once."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._n_asked: Counter[tuple[Message, ...]] = Counter()

    def next(self, how: Refining, pool: Pool, index: int, feedback: str) -> Draw:
        """Return the draw that asks for a better sample than one of a pool, in the conversation in which that was written."""
        draw, text = self._draw, pool.samples[index].text
        asked = how.messages(text, pool.answers[index], feedback, prompt_text(draw.messages))
        messages = (*draw.messages, Message("assistant", text), *asked)
        first = self._n_asked[messages]
        self._n_asked[messages] += 1
        return Draw(draw.model, messages, draw.sampling, 1, "refine", first)


def _feedback(draw: Draw, how: Refining, pool: Pool) -> Part[str]:
    critic, last = how.critic, len(pool.samples) - 1
    if critic is None:
        return pool.feedback[last] if pool.feedback else ""
    prompt = prompt_text(draw.messages)
    if critic.verifier is not None:
        given: list[Score] = yield Verify(critic.verifier, [candidate(pool, last, prompt)])
        return given[0].feedback or given[0].unscored_because
    assert critic.messages is not None  # noqa: S101 - one of the two is there
    asked = critic.messages(pool.samples[last].text, pool.answers[last], prompt)
    sampling = critic.sampling or replace(draw.sampling, temperature=0.0)
    replies: list[Sample] = yield Draw(critic.model or draw.model, asked, sampling, 1, "critic")
    return replies[0].text
