"""How many requests are in hand: so many at work, so many waiting, and no more. First come first served.

What is over the limit is refused at once with the time after which to come back, rather than kept until all are late.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import ceil

from agenttts.serve.refused import Refused

__all__ = ["Gate", "Turn"]

SHORTEST_RETRY_S, LONGEST_RETRY_S = 1, 60
WEIGHT = 0.2
"""Of the latest request in the mean time that one takes."""


class Gate:
    """Admits requests; all methods are called from one event loop.

    Args:
        most_running: Requests at work at a time.
        most_waiting: Requests that wait for their turn, or whose body is still on its way.
    """

    def __init__(self, most_running: int, most_waiting: int) -> None:
        self._most_running = most_running
        self._most_waiting = most_waiting
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean_s: float | None = None
        self.n_admitted = 0
        self.n_running = 0
        self.is_closed = False

    @property
    def n_waiting(self) -> int:
        """Requests admitted that are not at work yet."""
        return self.n_admitted - self.n_running

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return self.n_admitted >= self._most_running + self._most_waiting

    def admit(self) -> Turn:
        """Return the place of a new request; it must be left in the end.

        Raises:
            Refused: There is none, or the server is shutting down.
        """
        if self.is_closed:
            raise shutting_down()
        if self.is_full:
            raise Refused(
                f"{self.n_running} requests are at work and {self.n_waiting} are waiting; come back later",
                status=429,
                code="queue_full",
                reason="queue_full",
                retry_after_s=self.retry_after_s(),
                retry=True,
            )
        self.n_admitted += 1
        return Turn(self)

    def retry_after_s(self) -> int:
        """Return in how many seconds there will likely be a place."""
        expected = (self._mean_s or 1.0) * (1 + self.n_waiting) / self._most_running
        return min(LONGEST_RETRY_S, max(SHORTEST_RETRY_S, ceil(expected)))

    def close(self) -> None:
        """Refuse new requests and those that wait: nothing was paid for them yet. Those at work go on."""
        self.is_closed = True
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(shutting_down())

    async def start(self) -> None:
        """Wait for a place at work."""
        if self.is_closed:
            raise shutting_down()
        if self.n_running < self._most_running:
            self.n_running += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.stop(None)  # its turn came at the same moment
            raise

    def stop(self, took_s: float | None) -> None:
        """Give the place at work to the next; `took_s` is how long it was used, `None`: not at all."""
        if took_s is not None:
            self._mean_s = took_s if self._mean_s is None else (1 - WEIGHT) * self._mean_s + WEIGHT * took_s
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.n_running -= 1


class Turn:
    """The place of one request."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._started_at: float | None = None
        self._left = False

    async def start(self) -> None:
        """Wait until it may be worked on.

        Raises:
            Refused: The server shuts down first.
        """
        await self._gate.start()
        self._started_at = asyncio.get_running_loop().time()

    def leave(self) -> None:
        """Give the place back; a second time does nothing."""
        if self._left:
            return
        self._left = True
        self._gate.n_admitted -= 1
        if self._started_at is not None:
            self._gate.stop(asyncio.get_running_loop().time() - self._started_at)


def shutting_down() -> Refused:
    """Return what is said while the server ends."""
    return Refused(
        "the server is shutting down",
        status=503,
        code="shutdown",
        reason="shutdown",
        retry_after_s=SHORTEST_RETRY_S,
        retry=True,
    )
