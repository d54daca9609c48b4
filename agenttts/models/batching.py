"""Several texts in one request to `/embeddings`: a transport between a client, which asks for one text, and the wire.

Every text keeps its own call to the client above: its limits, its deadline, its attempts, its reservation and its bill.
Here, those that are asked for at about the same time travel together, and each gets its part of the reply. The server
reports the tokens of all together; they are split by a token counter, and a split that had to estimate says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agenttts.errors import RequestRefusedError
from agenttts.models.chat import bare_usage
from agenttts.models.provider import Transport
from agenttts.models.retry import AttemptFailed
from agenttts.models.tokens import SPLIT, counter, split_total

__all__ = ["Batching"]

WINDOW_S = 0.005
"""A text waits this long for others. Samples that are scored together come within it, one store look-up apart."""


@dataclass(frozen=True)
class _Asked:
    body: dict[str, Any]
    part: asyncio.Future[Mapping[str, Any]]


class Batching:
    """Sends up to `most` requests of one text as one; see `Transport`.

    Args:
        inner: Sends requests.
        most: Texts in one request; 1: nothing is changed.
        token_counter: Splits the tokens of a request over its texts.
    """

    def __init__(self, inner: Transport, most: int, token_counter: str) -> None:
        self.length_field = inner.length_field
        self._inner = inner
        self._most = most
        self._counter = token_counter
        self._waiting: list[_Asked] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Return the reply to one text; see `Transport.send`."""
        if self._most == 1:
            return await self._alone(body)
        loop = asyncio.get_running_loop()
        asked = _Asked(body, loop.create_future())
        self._waiting.append(asked)
        if len(self._waiting) >= self._most:
            self._go()
        elif self._timer is None:
            self._timer = loop.call_later(WINDOW_S, self._go)
        return await asked.part

    def failed(self, error: Exception) -> AttemptFailed:
        """Return what an error of `send` means."""
        return self._inner.failed(error)

    async def aclose(self) -> None:
        """Close all connections; what is under way is given up."""
        if self._timer is not None:
            self._timer.cancel()
        for asked in self._waiting:
            asked.part.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inner.aclose()

    def _go(self) -> None:
        """Send what waits; those that were cancelled meanwhile are left out."""
        if self._timer is not None:
            self._timer.cancel()
        together = [asked for asked in self._waiting if not asked.part.done()]
        self._waiting, self._timer = [], None
        if not together:
            return
        task = asyncio.get_running_loop().create_task(self._deliver(together))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for asked in together:
            asked.part.add_done_callback(lambda _: _cancel_unwanted(task, together))

    async def _deliver(self, together: Sequence[_Asked]) -> None:
        try:
            outcomes = await self._outcomes([asked.body for asked in together])
        except asyncio.CancelledError:
            for asked in together:
                asked.part.cancel()
            raise
        for asked, outcome in zip(together, outcomes, strict=True):
            if asked.part.done():
                continue
            if isinstance(outcome, BaseException):
                asked.part.set_exception(outcome)
            else:
                asked.part.set_result(outcome)

    async def _outcomes(
        self, bodies: Sequence[dict[str, Any]]
    ) -> Sequence[Mapping[str, Any] | BaseException]:
        """Return the reply to each text, or why there is none. A refusal of all may mean one, so each is sent alone."""
        texts = [text for body in bodies for text in body["input"]]
        try:
            data = await self._inner.send({**bodies[0], "input": texts})
            return await asyncio.to_thread(self._parts, data, texts)
        except Exception as error:
            if len(bodies) == 1 or not self._is_of_one_text(error):
                return [error] * len(bodies)
        outcomes: list[Mapping[str, Any] | BaseException] = await asyncio.gather(
            *map(self._alone, bodies), return_exceptions=True
        )
        return outcomes

    async def _alone(self, body: dict[str, Any]) -> Mapping[str, Any]:
        return self._parts(await self._inner.send(body), body["input"])[0]

    def _parts(self, data: Any, texts: Sequence[str]) -> list[Mapping[str, Any]]:
        rows = _in_order(data, len(texts))
        usages = self._usages(data, texts)
        return [{"data": [row], **usage} for row, usage in zip(rows, usages, strict=True)]

    def _is_of_one_text(self, error: Exception) -> bool:
        failure = self.failed(error).error
        return isinstance(failure, RequestRefusedError) and not failure.stops_run

    def _usages(self, data: Any, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the tokens of each text, and what split them where that was an estimate."""
        usage = data.get("usage") if isinstance(data, Mapping) else None
        told = bare_usage(usage)
        if told is None or len(texts) == 1:
            return [{"usage": usage}] * len(texts)
        counts = [counter(self._counter)(text) for text in texts]
        by = {} if sum(counts) == told.prefill_tokens else {"counted_by": f"{SPLIT}{self._counter}"}
        shares = split_total(told.prefill_tokens, counts, [False] * len(texts))
        return [{"usage": {"prompt_tokens": share}, **by} for share in shares]


def _cancel_unwanted(task: asyncio.Task[None], together: Sequence[_Asked]) -> None:
    """Stop a request that nobody waits for any more."""
    if all(asked.part.cancelled() for asked in together):
        task.cancel()


def _in_order(data: Any, n: int) -> list[Any]:
    """Return the row of each text, by its index where the server gives one; no rows where they are not as many."""
    rows = data.get("data") if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or len(rows) != n:
        return [None] * n
    places = [row.get("index") if isinstance(row, Mapping) else None for row in rows]
    if sorted(place for place in places if type(place) is int) == list(range(n)):
        return [rows[places.index(index)] for index in range(n)]
    return rows
