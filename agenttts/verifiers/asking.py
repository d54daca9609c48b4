"""Rounds of questions to a model that writes: equal ones asked together, replies that cannot be used repaired once.

For verifiers whose model answers in words. The pieces are generators over rounds, as `Procedure` is, so a verifier puts
them together by `yield from`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agenttts.models.base import CallUsage, Message, Sample, SamplingParameters
from agenttts.task.prompting import PromptBlock, SamplingBlock
from agenttts.task.schema import sampling_parameters
from agenttts.verifiers.base import Ask, Procedure, Score, Told, Work
from agenttts.verifiers.fencing import clean

__all__ = [
    "Answerer",
    "Calls",
    "Conversation",
    "Heard",
    "Model",
    "Round",
    "Unusable",
    "alone",
    "bill",
    "instruction_tokens",
    "replies",
    "reply_sampling",
    "usable",
]

T = TypeVar("T")
Conversation = tuple[Message, ...]
Round = Generator[Sequence[Ask | Work], Sequence[Any], T]
"""A piece of a procedure, which returns something to the piece that it is part of."""
Answerer = Callable[[Sequence[Ask]], Sequence[Told]]
"""Answers questions without store and ledger, for use outside a pipeline."""
REPLY_TOKENS = 1024
"""Most tokens of a reply, where the task does not say."""
FENCE_TOKENS = 12.0
"""Of the two lines around a text."""
VARIED = 0.7
"""Temperature at which several replies to one question are drawn, where the task does not say."""


class Unusable(ValueError):  # noqa: N818 - told to the model, never to the user alone
    """A reply does not hold what was asked for; the message says what is wrong, for the model that wrote it."""


@dataclass(frozen=True)
class Model:
    """Who is asked, and how."""

    name: str
    """Card."""
    sampling: SamplingParameters


@dataclass(frozen=True)
class Heard(Generic[T]):
    """What came of one question."""

    value: T | None
    why: str = ""
    """Why there is no value."""
    replies: tuple[tuple[Conversation, Sample], ...] = ()
    """All that was asked and written for it."""


@dataclass(frozen=True)
class Calls:
    """What a verifier asks about n samples, for forecasts. Questions of one kind."""

    n: float
    """Questions that differ."""
    replies: int
    """Replies drawn to each."""
    samples_read: float
    """Samples that stand in one question; each question also holds the prompt once."""
    fixed_tokens: float
    """Tokens of a question besides prompt and samples: instructions and rubric, and what the model wrote before."""
    reply_tokens: float
    """Most tokens of a reply."""


def instruction_tokens(prompt: PromptBlock, fences: float, words: str = "") -> float:
    """Return about how many tokens of a question are instructions: four characters to a token.

    Args:
        prompt: The templates, files inlined.
        fences: Texts that stand in fences.
        words: What the task fills in besides, such as a rubric.
    """
    return (len(prompt.system or "") + len(prompt.user or "") + len(words)) / 4 + FENCE_TOKENS * fences


def reply_sampling(block: SamplingBlock | None, n_replies: int) -> SamplingParameters:
    """Return how replies are drawn: as the task says, else at temperature 0 for one reply and at 0.7 for several."""
    if block is not None:
        return sampling_parameters(block)
    return SamplingParameters(temperature=0.0 if n_replies == 1 else VARIED, max_tokens=REPLY_TOKENS)


def replies(model: Model, conversations: Sequence[Conversation]) -> Round[list[Sample | str]]:
    """Get one reply to each conversation, or why there is none.

    Equal conversations are one question with several replies, so that each gets a draw of its own.
    """
    if not conversations:
        return []
    counts = Counter(conversations)
    told: Sequence[Told] = yield [Ask(model.name, one, model.sampling, n) for one, n in counts.items()]
    given = {one: (iter(answer.samples), answer.error) for one, answer in zip(counts, told, strict=True)}
    return [next(given[one][0], given[one][1]) for one in conversations]


def usable(
    model: Model, conversations: Sequence[Conversation], read: Callable[[int, Sample], T]
) -> Round[list[Heard[T]]]:
    """Get one reply to each conversation that can be used; one that cannot is sent back once with what is wrong.

    Args:
        model: Who is asked.
        conversations: The questions.
        read: From the number of a conversation and the reply to its value; raises `Unusable`.
    """
    given = yield from replies(model, conversations)
    heard = [_read(i, conversations[i], reply, read) for i, reply in enumerate(given)]
    faulty = [i for i, one in enumerate(heard) if one.value is None and one.replies]
    again = [_sent_back(heard[i]) for i in faulty]
    repaired = yield from replies(model, again)
    for i, conversation, reply in zip(faulty, again, repaired, strict=True):
        second = _read(i, conversation, reply, read)
        why = second.why and f"{heard[i].why}; asked again: {second.why}"
        heard[i] = Heard(second.value, why, (*heard[i].replies, *second.replies))
    return heard


def _read(
    i: int, conversation: Conversation, reply: Sample | str, read: Callable[[int, Sample], T]
) -> Heard[T]:
    if isinstance(reply, str):
        return Heard(None, reply)
    kept = ((conversation, reply),)
    try:
        return Heard(read(i, reply), "", kept)
    except Unusable as fault:
        cut = ", and it was cut off at its length limit" if reply.finish_reason == "length" else ""
        return Heard(None, f"{fault}{cut}", kept)


def _sent_back(heard: Heard[T]) -> Conversation:
    conversation, reply = heard.replies[-1]
    fault = (
        f"Your reply cannot be used: {heard.why}. Answer again, with nothing but the JSON object asked for."
    )
    said = clean(reply.text).strip() or "(nothing)"  # an empty turn is refused by some endpoints
    return (*conversation, Message("assistant", said), Message("user", fault))


def bill(heard: Iterable[Heard[Any]]) -> CallUsage | None:
    """Return what questions cost together, each prompt read once; `None`: nothing was answered."""
    asked: dict[Conversation, list[Sample]] = {}
    for one in heard:
        for conversation, sample in one.replies:
            asked.setdefault(conversation, []).append(sample)
    samples = [sample for given in asked.values() for sample in given]
    if not samples:
        return None
    return CallUsage(
        sum(max(sample.prefill_tokens for sample in given) for given in asked.values()),
        tuple(sample.decode_tokens for sample in samples),
        counted_by=next((one.counted_by for one in samples if one.counted_by != "server"), "server"),
    )


async def alone(procedure: Procedure, answerer: Answerer | None, model: str) -> list[Score]:
    """Run a procedure without store and ledger; questions are answered in a worker thread.

    Raises:
        NotImplementedError: There is nobody to answer.
    """
    if answerer is None:
        raise NotImplementedError(f"{model} can only be asked through a pipeline")
    try:
        wanted = next(procedure)
        while True:
            wanted = procedure.send(await asyncio.to_thread(_answers, wanted, answerer))
    except StopIteration as end:
        scores: list[Score] = end.value
        return scores


def _answers(wanted: Sequence[Ask | Work], answerer: Answerer) -> list[Any]:
    told = iter(answerer([one for one in wanted if isinstance(one, Ask)]))
    return [one.do() if isinstance(one, Work) else next(told) for one in wanted]
