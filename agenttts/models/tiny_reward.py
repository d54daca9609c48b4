"""The tiny family's process reward model as a source of samples: it reads a prompt and a reply, and scores the steps.

The request's last message is the reply to be scored, those before it are what was asked. The one sample is a JSON list
of the step scores; it costs the reading of prompt and reply and decodes nothing. Being deterministic, every draw of a
request is the same.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agenttts.budgets.cards import TINY_PRM, ModelCard
from agenttts.errors import RequestRefusedError
from agenttts.models.base import CallUsage, Message, Meter, Reply, Request, Sample
from agenttts.models.tokens import prompt_text

__all__ = ["TINY_PRM", "PairScorer", "TinyRewardClient", "score_messages"]

MOST_PAIRS_PER_BATCH = 128
LINGER_S = 0.001
"""How long a batch waits for company; much less than it takes to read one."""

Pair = tuple[str, str]
"""Prompt and reply."""


class PairScorer(Protocol):
    """What the reward model of the tiny family can do."""

    def score(self, pairs: Sequence[Pair]) -> Sequence[Sequence[float]]:
        """Return the scores of the steps of each reply, each in [0, 1]; raise ValueError for one it cannot read."""
        ...

    def count_tokens(self, prompt: str, completion: str) -> int:
        """Return how many tokens are read to score a pair."""
        ...


def _tiny_reward_model() -> PairScorer:
    from agenttts.models.tiny.reward import TinyRewardModel

    model: PairScorer = TinyRewardModel.load()
    return model


@dataclass(slots=True, eq=False)
class _Job:
    pair: Pair
    done: asyncio.Future[str]


class TinyRewardClient:
    """Scores the replies that concurrent requests ask about batch by batch, in a worker thread."""

    def __init__(self, card: ModelCard, load: Callable[[], PairScorer] = _tiny_reward_model) -> None:
        self._name = card.name
        self._load = load
        self._loading: asyncio.Task[PairScorer] | None = None
        self._waiting: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self.batch_sizes: deque[int] = deque(maxlen=1000)
        """Pairs in each of the last batches."""

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        """Return draws `first` to `first + n - 1`; see `ModelClient.draw`. To the meter it is one call."""
        if n <= 0:
            return []
        pair = self._pair(request.messages)
        model = await self._loaded()
        usage = CallUsage(model.count_tokens(*pair), ())
        settle = await meter.before(usage) if meter is not None else None
        reply: Reply | None = None
        try:
            text = await self._score(pair)
            indices = range(first, first + n)
            reply = Reply(
                tuple(Sample(index, text, "stop", usage.prefill_tokens, 0) for index in indices), usage
            )
        finally:
            if settle is not None:
                settle(reply)
        return list(reply.samples)

    async def aclose(self) -> None:
        """Stop after the running batch."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])

    async def _loaded(self) -> PairScorer:
        """Return the model. All who ask while it is being loaded wait for the one load, which a failed one follows anew."""
        loading = self._loading
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception() is not None)):
            loading = self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(loading)

    def _pair(self, messages: Sequence[Message]) -> Pair:
        if len(messages) < 2 or messages[-1].role != "assistant":
            raise self._refused(
                "a reward model is asked with a prompt and, as the assistant's message, the reply to be scored"
            )
        return pair_of(messages)

    def _refused(self, message: str) -> RequestRefusedError:
        return RequestRefusedError(message, endpoint="tiny", model=self._name)

    async def _score(self, pair: Pair) -> str:
        job = _Job(pair, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())
        return await job.done

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(LINGER_S)
            n_taken = min(len(self._waiting), MOST_PAIRS_PER_BATCH)
            jobs = [job for job in (self._waiting.popleft() for _ in range(n_taken)) if not job.done.done()]
            self.batch_sizes.append(len(jobs))
            try:
                model = await self._loaded()
                replies = await asyncio.to_thread(_replies, model, [job.pair for job in jobs])
            except Exception as error:
                replies = [error] * len(jobs)
            for job, reply in zip(jobs, replies, strict=True):
                self._finish(job, reply)

    def _finish(self, job: _Job, reply: str | Exception) -> None:
        if job.done.done():
            return
        if isinstance(reply, str):
            job.done.set_result(reply)
        else:
            job.done.set_exception(self._refused(str(reply)) if isinstance(reply, ValueError) else reply)


def pair_of(messages: Sequence[Message]) -> Pair:
    """Return prompt and reply of a request to a reward model."""
    return prompt_text(messages[:-1]), messages[-1].content


def score_messages(requests: Sequence[tuple[Message, ...]]) -> list[Sample]:
    """Return the reward model's reply to each request, without store and ledger.

    A reply that the model cannot read is empty.
    """
    model = _tiny_reward_model()
    pairs = [pair_of(messages) for messages in requests]
    texts = (reply if isinstance(reply, str) else "" for reply in _replies(model, pairs))
    return [
        Sample(0, text, "stop", model.count_tokens(*pair), 0) for text, pair in zip(texts, pairs, strict=True)
    ]


def _replies(model: PairScorer, pairs: Sequence[Pair]) -> list[str | Exception]:
    """Return the JSON list of step scores for each pair, or why it cannot be read."""
    if not pairs:
        return []
    try:
        scores = model.score(pairs)
    except ValueError as error:
        if len(pairs) == 1:
            return [error]
        return [reply for pair in pairs for reply in _replies(model, [pair])]
    # Nine digits: far beyond what a score means, and the same text on machines whose last bits differ.
    return [json.dumps([round(float(step), 9) for step in steps]) for steps in scores]
