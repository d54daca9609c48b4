"""How fast an endpoint may be called: requests in flight, requests and tokens a minute, pauses, and when to give up.

Time comes from the running event loop. What happens after a failed call lives in `retry`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agenttts.budgets.cards import ModelCard
from agenttts.errors import EndpointDownError
from agenttts.models.counts import CallCounts

__all__ = ["Breaker", "Endpoint", "Pacer", "Rate"]

LONGEST_NAP_S = 0.5
"""A waiting caller looks again this often: tokens given back by finished calls may have shortened its wait."""


class Rate:
    """At most `per_minute` units in any minute, `burst_s` seconds' worth of them at once.

    The generic cell rate algorithm: one number holds when the units taken so far will have been worked off. A single
    take may be larger than the burst; what comes after it waits the longer.
    """

    def __init__(self, per_minute: float, *, burst_s: float = 0.0) -> None:
        self._burst_s = burst_s
        self._s_per_unit = (60.0 + burst_s) / per_minute
        self._worked_off_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """Return how long to wait before the next take, 0 for not at all."""
        return max(0.0, self._worked_off_at - self._burst_s - now)

    def take(self, units: float, now: float) -> None:
        """Take units; negative ones are given back."""
        self._worked_off_at = max(self._worked_off_at, now) + units * self._s_per_unit


class Pacer:
    """The rate limits of one card, first come first served, and the pause that a server asked for."""

    def __init__(self, card: ModelCard, on_wait: Callable[[float], None] | None = None) -> None:
        per_minute = card.requests_per_minute
        self._requests = Rate(per_minute, burst_s=1.0 if per_minute >= 60 else 0.0) if per_minute else None
        self._tokens = Rate(card.tokens_per_minute, burst_s=5.0) if card.tokens_per_minute else None
        self._on_wait = on_wait
        self._turn = asyncio.Lock()
        self._paused_until = float("-inf")
        self._mean_decode: float | None = None
        self._n_inside = self._n_standing = self._n_waits = 0
        self._waited_s = self._standing_since = 0.0

    @property
    def counts(self) -> CallCounts:
        """How often and how long calls stood still here; only while the event loop runs is the present included."""
        return CallCounts(self._n_waits, self._waited_s + self._stood_s(), self._waiting)

    @property
    def _waiting(self) -> int:
        return self._n_inside if self._n_standing else 0

    def _stood_s(self) -> float:
        """Return how long the present stand has lasted."""
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:  # the loop is closed: nobody stands any more
            return 0.0
        return now - self._standing_since if self._n_standing else 0.0

    @property
    def counts_tokens(self) -> bool:
        """Whether `turn` looks at its tokens."""
        return self._tokens is not None

    def expected_tokens(self, prefill: int, max_tokens: int, n: int) -> float:
        """Return the tokens that a request will likely take: the worst case until replies have been seen."""
        mean = self._mean_decode
        return prefill + n * (max_tokens if mean is None else min(max_tokens, 1.25 * mean))

    async def turn(self, tokens: float) -> None:
        """Wait until a request of so many tokens may be sent, and count it."""
        if self._requests is None and self._tokens is None:
            return
        with self._inside():
            await self._turn_comes(tokens)

    async def _turn_comes(self, tokens: float) -> None:
        async with self._turn:
            await self._wait(self._rates_wait_s)
            now = asyncio.get_running_loop().time()
            if self._requests is not None:
                self._requests.take(1, now)
            if self._tokens is not None:
                self._tokens.take(tokens, now)

    def took(self, expected: float, prefill: int, decode: int, n: int) -> None:
        """Correct the count when the reply is in: `decode` tokens over `n` samples."""
        if self._tokens is None:
            return
        self._tokens.take(prefill + decode - expected, asyncio.get_running_loop().time())
        if not n:  # it was only read
            return
        mean, each = self._mean_decode, decode / n
        self._mean_decode = each if mean is None else 0.9 * mean + 0.1 * each

    def pause(self, seconds: float) -> None:
        """Let no request of this card out for so long; a longer pause that is already on stays."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    async def paused(self) -> None:
        """Wait until no pause is on."""
        if self._paused_until != float("-inf"):
            with self._inside():
                await self._wait(lambda now: self._paused_until - now)

    def _rates_wait_s(self, now: float) -> float:
        rates = (self._requests, self._tokens)
        return max(rate.wait_s(now) for rate in rates if rate is not None)

    async def _wait(self, wait_s: Callable[[float], float]) -> None:
        loop = asyncio.get_running_loop()
        left = wait_s(loop.time())
        if left <= 0:
            return
        if left > 1.0 and self._on_wait is not None:
            self._on_wait(left)
        with self._standing(loop):
            while left > 0:
                await asyncio.sleep(min(left, LONGEST_NAP_S))
                left = wait_s(loop.time())

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """Count a call that has to pass here."""
        self._n_inside += 1
        try:
            yield
        finally:
            self._n_inside -= 1

    @contextmanager
    def _standing(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Measure a stand: it begins with the first call that has to wait and ends with the last."""
        if not self._n_standing:
            self._n_waits += 1
            self._standing_since = loop.time()
        self._n_standing += 1
        try:
            yield
        finally:
            self._n_standing -= 1
            if not self._n_standing:
                self._waited_s += loop.time() - self._standing_since


class Breaker:
    """Decides that an endpoint is down, so that callers stop waiting for it.

    Down is: no connection, time after time for `PATIENCE_S`, or `MAX_EXHAUSTED` calls in a row that failed in all
    their attempts. One success clears everything. `REST_S` after it opened, callers may try again.
    """

    PATIENCE_S = 6.0
    MIN_REFUSALS = 4
    MAX_EXHAUSTED = 5
    REST_S = 15.0

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._refused_since: float | None = None
        self._n_refused = 0
        self._n_exhausted = 0
        self._down_since: float | None = None
        self._why = ""

    def check(self) -> None:
        """Raise EndpointDownError while the endpoint counts as down."""
        if self._down_since is None:
            return
        if asyncio.get_running_loop().time() - self._down_since > self.REST_S:
            self.succeeded()
            return
        raise self.error()

    def error(self) -> EndpointDownError:
        """Return what to raise while the endpoint is down."""
        return EndpointDownError(
            f"{self._endpoint} is down: {self._why}. Check that the server runs and that base_url is right, "
            "then run the same command again",
            endpoint=self._endpoint,
        )

    def succeeded(self) -> None:
        """A call was answered."""
        self._refused_since = self._down_since = None
        self._n_refused = self._n_exhausted = 0

    def refused(self, why: str) -> None:
        """A connection could not be made."""
        now = asyncio.get_running_loop().time()
        self._n_refused += 1
        if self._refused_since is None:
            self._refused_since = now
        if self._n_refused >= self.MIN_REFUSALS and now - self._refused_since >= self.PATIENCE_S:
            self._open(why)

    def exhausted(self, why: str, *, connected: bool) -> None:
        """A call failed in its last attempt; where none could even connect, that settles it."""
        self._n_exhausted += 1
        if not connected or self._n_exhausted >= self.MAX_EXHAUSTED:
            self._open(why)

    @property
    def is_open(self) -> bool:
        """Whether the endpoint counts as down."""
        return self._down_since is not None

    def _open(self, why: str) -> None:
        self._down_since = asyncio.get_running_loop().time()
        self._why = why.removeprefix(f"{self._endpoint}: ")


class Endpoint:
    """What all cards served at one place share: requests in flight, and whether it is up."""

    def __init__(self, name: str, max_concurrency: int) -> None:
        self.name = name
        self.slots = asyncio.Semaphore(max_concurrency)
        self.breaker = Breaker(name)
