"""The one place where failed calls are tried again.

The first attempt costs nothing extra; tenacity takes over after it has failed. Rate limits (429) and outages (5xx, no
connection, no reply in time, unusable replies) are counted and waited for apart: a rate limit says that all is well
but too fast. The retries of the SDKs are switched off.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeVar

from agenttts.errors import EndpointDownError, ProviderError
from agenttts.models.limits import Breaker, Pacer

__all__ = ["AttemptFailed", "ClientEvent", "Retrier", "retry_after_s"]

T = TypeVar("T")
FailureKind = Literal["rate_limit", "unavailable", "timeout", "malformed", "no_connection", "final"]
LONGEST_RETRY_AFTER_S = 600.0
"""A server that asks for more patience than this is not waited for."""


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """Something a watcher of a run may want to see: a retry, or a wait for a rate limit."""

    kind: Literal["retry", "waiting"]
    model: str
    endpoint: str
    cause: str
    """`rate_limit`, `unavailable`, `timeout`, `malformed`, `no_connection`."""
    wait_s: float
    message: str = ""


class AttemptFailed(Exception):  # noqa: N818 - carries the error rather than being one
    """One attempt failed: what to raise if it was the last one, and whether another one may help."""

    def __init__(self, error: ProviderError, kind: FailureKind, retry_after_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.kind = kind
        self.retry_after_s = retry_after_s


def retry_after_s(headers: Any, now: datetime | None = None) -> float | None:
    """Return the seconds that `retry-after-ms` or `Retry-After` (seconds or an HTTP date) asks for, or `None`."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None:
        return max(0.0, seconds)
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and value == value and value < float("inf") else None


@dataclass
class Retrier:
    """Tries the calls of one card again where that may help."""

    model: str
    breaker: Breaker
    pacer: Pacer
    max_attempts: int
    """Counted apart for rate limits and for everything else."""
    on_event: Callable[[ClientEvent], None] | None = None
    base_s: float = 0.5
    """First wait after an outage; doubled each time up to 30 s (3 s where there is no connection at all)."""
    retries: Counter[str] = field(default_factory=Counter)
    """Attempts after the first, by the kind of failure before them."""
    _jitter: random.Random = field(default_factory=random.Random, repr=False)

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what the first successful attempt returns.

        Raises:
            ProviderError: No attempt succeeded; `n_attempts` says how many there were.
        """
        try:
            self.breaker.check()
            result = await attempt()
        except AttemptFailed as failure:
            return await self._again(attempt, failure)
        self.breaker.succeeded()
        return result

    async def _again(self, attempt: Callable[[], Awaitable[T]], first: AttemptFailed) -> T:
        from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

        tally = _Tally(self.max_attempts)
        pending = [first]

        async def next_attempt() -> T:
            if pending:
                raise pending.pop()
            self.breaker.check()
            return await attempt()

        def failed(state: RetryCallState) -> bool:
            failure = _failure(state)
            tally.count(failure)
            self._tell_breaker(failure)
            return tally.used_up or self.breaker.is_open

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(AttemptFailed),
            stop=failed,
            wait=lambda state: self._wait_s(_failure(state), tally),
            before_sleep=lambda state: self._before_sleep(_failure(state), state.upcoming_sleep),
            reraise=True,
        )
        try:
            result: T = await retrying(next_attempt)
        except AttemptFailed as failure:
            raise self._last_error(failure, tally) from failure.__cause__
        self.breaker.succeeded()
        return result

    def _tell_breaker(self, failure: AttemptFailed) -> None:
        if failure.kind == "no_connection":
            self.breaker.refused(str(failure))
        elif failure.kind in {"rate_limit", "malformed"}:
            self.breaker.succeeded()

    def _wait_s(self, failure: AttemptFailed, tally: _Tally) -> float:
        spread = self._jitter.uniform(0.75, 1.0)
        if failure.kind == "rate_limit":
            if failure.retry_after_s is not None:
                return failure.retry_after_s + self._jitter.uniform(0.0, 0.05)
            return min(60.0, 4 * self.base_s * 2.0 ** (tally.rate_limits - 1)) * spread
        longest = 3.0 if failure.kind == "no_connection" else 30.0
        wait_s = min(longest, self.base_s * 2.0 ** (tally.others - 1)) * spread
        return max(wait_s, failure.retry_after_s or 0.0)

    def _before_sleep(self, failure: AttemptFailed, wait_s: float) -> None:
        self.retries[failure.kind] += 1
        if failure.kind == "rate_limit":
            self.pacer.pause(wait_s)
        if self.on_event is not None:
            self.on_event(
                ClientEvent(
                    "retry", self.model, failure.error.endpoint, failure.kind, wait_s, str(failure.error)
                )
            )

    def _last_error(self, failure: AttemptFailed, tally: _Tally) -> ProviderError:
        error = failure.error
        if failure.kind not in {"final", "rate_limit", "malformed"} and tally.used_up:
            self.breaker.exhausted(str(error), connected=failure.kind != "no_connection")
        if self.breaker.is_open and failure.kind != "final":
            error = self.breaker.error()
        error.model, error.n_attempts = self.model, tally.total
        if tally.total > 1 and not isinstance(error, EndpointDownError):
            error.args = (f"{error} ({tally.total} attempts)",)
        return error


def _failure(state: Any) -> AttemptFailed:
    """Return the failure of the attempt that tenacity has just seen."""
    failure = state.outcome.exception()
    assert isinstance(failure, AttemptFailed)  # noqa: S101 - nothing else is retried
    return failure


class _Tally:
    """Attempts of one call so far, by kind of failure."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self.rate_limits = 0
        self.others = 0
        self._final = False

    @property
    def total(self) -> int:
        return self.rate_limits + self.others

    @property
    def used_up(self) -> bool:
        return self._final or max(self.rate_limits, self.others) >= self._max_attempts

    def count(self, failure: AttemptFailed) -> None:
        if failure.kind == "rate_limit":
            self.rate_limits += 1
        else:
            self.others += 1
        too_long = (failure.retry_after_s or 0.0) > LONGEST_RETRY_AFTER_S
        self._final = failure.kind == "final" or too_long
