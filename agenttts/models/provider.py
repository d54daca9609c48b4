"""Draws through any endpoint: the one place for limits, deadlines, retries and billing.

How bytes travel is the transport's affair (`openai_client`, `litellm_client`), what they say the dialect's (`chat`,
`reward_client`); this module turns a span of draws into provider calls and their replies into numbered samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from agenttts.budgets.cards import ModelCard
from agenttts.errors import ProviderUnavailableError
from agenttts.models.base import CallUsage, Meter, Reply, Request, Sample
from agenttts.models.chat import Chat, MalformedReply
from agenttts.models.counts import CallCounts
from agenttts.models.failures import clean
from agenttts.models.limits import Endpoint, Pacer
from agenttts.models.retry import AttemptFailed, ClientEvent, Retrier

__all__ = ["Dialect", "ProviderClient", "Transport", "partial_of"]

Settle = Callable[[Reply | None], None]


class Transport(Protocol):
    """Sends one request."""

    length_field: str
    """`max_tokens` or `max_completion_tokens`."""

    async def send(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Return the reply as parsed JSON.

        Raises:
            MalformedReply: It is not JSON.
            Exception: What the SDK raises; `failed` translates it.
        """
        ...

    def failed(self, error: Exception) -> AttemptFailed:
        """Return what an error of `send` means."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Dialect(Protocol):
    """What is said to an endpoint, and how its replies are read. Pure."""

    @property
    def most_n(self) -> int:
        """Draws that one request may ask for."""
        ...

    def body(self, request: Request, first: int, n: int) -> dict[str, Any]:
        """Return the request for draws `first` to `first + n - 1`.

        Raises:
            InputError, RequestRefusedError: There is none that makes sense.
        """
        ...

    def read(self, data: Any, request: Request, first: int, n: int) -> Reply:
        """Return the samples of a reply and its bill.

        Raises:
            MalformedReply: Nothing in it can be used.
        """
        ...

    def worst(self, request: Request, n: int) -> CallUsage:
        """Return the most that a request for n draws may cost."""
        ...

    def unread(self, request: Request) -> CallUsage | None:
        """Return what a reply is billed that cannot be read and says no usage; `None`: nothing."""
        ...


class ProviderClient:
    """Samples of one card from one endpoint."""

    def __init__(
        self,
        card: ModelCard,
        transport: Transport,
        endpoint: Endpoint,
        on_event: Callable[[ClientEvent], None] | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        self._card = card
        self._dialect = dialect or Chat(card, transport.length_field)
        self._transport = transport
        self._endpoint = endpoint
        self._on_event = on_event
        self._pacer = Pacer(card, self._waiting)
        self._retrier = Retrier(card.name, endpoint.breaker, self._pacer, card.max_attempts, on_event)
        self._most_n = self._dialect.most_n
        """Choices that one request may ask for; 1 as soon as the server was seen to ignore `n`."""

    @property
    def counts(self) -> CallCounts:
        """Waits and retries of its calls so far."""
        return self._pacer.counts + CallCounts(retries=self._retrier.retries)

    async def draw(self, request: Request, first: int, n: int, meter: Meter | None = None) -> list[Sample]:
        """Return draws `first` to `first + n - 1`; see `ModelClient.draw`."""
        if 0 < n <= self._most_n:
            return await self._span(request, first, n, meter)
        return await self._spans(request, self._cut(range(first, first + n)), meter)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    def _cut(self, indices: Iterable[int]) -> list[tuple[int, int]]:
        """Return (first, n) of runs of neighbouring draws, none longer than one request may ask for."""
        spans: list[tuple[int, int]] = []
        for index in indices:
            first, n = spans[-1] if spans else (index, 0)
            if n and n < self._most_n and index == first + n:
                spans[-1] = (first, n + 1)
            else:
                spans.append((index, 1))
        return spans

    async def _spans(
        self, request: Request, spans: Sequence[tuple[int, int]], meter: Meter | None
    ) -> list[Sample]:
        """Draw several spans at once. One that fails does not stop the others: they are paid for already."""
        calls = (self._span(request, first, n, meter) for first, n in spans)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        samples = [sample for outcome in outcomes for sample in _received(outcome)]
        if errors:
            raise _with_partial(errors[0], samples)
        return samples

    async def _span(self, request: Request, first: int, n: int, meter: Meter | None) -> list[Sample]:
        """Draw what one request may ask for, and ask again for what its reply does not hold."""
        reply = await self._retrier.run(lambda: self._attempt(request, first, n, meter))
        samples = list(reply.samples)
        if len(samples) == n:
            return samples
        if len(reply.usage.decode_tokens) == 1:
            self._most_n = 1
        held = {sample.index for sample in samples}
        missing = self._cut(index for index in range(first, first + n) if index not in held)
        try:
            samples += await self._spans(request, missing, meter)
        except Exception as error:
            raise _with_partial(error, [*samples, *partial_of(error)]) from error.__cause__
        return sorted(samples, key=lambda sample: sample.index)

    async def _attempt(self, request: Request, first: int, n: int, meter: Meter | None) -> Reply:
        """Make one provider call as soon as the limits and the meter allow it."""
        worst = self._dialect.worst(request, n)
        expected = self._expected_tokens(request, len(worst.decode_tokens))
        await self._pacer.turn(expected)
        async with self._endpoint.slots:
            await self._pacer.paused()
            settle = await meter.before(worst) if meter is not None else None
            reply: Reply | None = None
            try:
                reply = await self._call(request, first, n)
            finally:
                if settle is not None:
                    settle(reply)
        usage = reply.usage
        self._pacer.took(expected, usage.prefill_tokens, sum(usage.decode_tokens), len(usage.decode_tokens))
        if not reply.samples:
            raise self._malformed("billed, but holds nothing that can be used")
        return reply

    async def _call(self, request: Request, first: int, n: int) -> Reply:
        """Return the reply to one provider call; without samples where it was billed and cannot be used."""
        body = self._dialect.body(request, first, n)
        try:
            async with asyncio.timeout(self._card.timeout_s):
                data = await self._transport.send(body)
            return self._dialect.read(data, request, first, n)
        except MalformedReply as error:
            usage = error.usage or self._dialect.unread(request)
            if usage is not None:
                return Reply((), usage)
            raise self._malformed(str(error)) from error
        except TimeoutError as error:
            card = self._card
            message = (
                f"{self._endpoint.name}: no reply within {card.timeout_s:g} s (timeout_s of card {card.name})"
            )
            raise AttemptFailed(self._unavailable(message), "timeout") from error
        except Exception as error:
            failure = self._transport.failed(error)
            raise failure from failure.__cause__

    def _expected_tokens(self, request: Request, n: int) -> float:
        if not self._pacer.counts_tokens:
            return 0.0
        n_characters = sum(len(message.content) for message in request.messages)
        return self._pacer.expected_tokens(n_characters // 4 + 1, request.sampling.max_tokens, n)

    def _malformed(self, what: str) -> AttemptFailed:
        return AttemptFailed(
            self._unavailable(f"{self._endpoint.name}: unusable reply: {clean(what)}"), "malformed"
        )

    def _unavailable(self, message: str) -> ProviderUnavailableError:
        return ProviderUnavailableError(message, endpoint=self._endpoint.name, model=self._card.name)

    def _waiting(self, wait_s: float) -> None:
        if self._on_event is not None:
            self._on_event(ClientEvent("waiting", self._card.name, self._endpoint.name, "rate_limit", wait_s))


def _received(outcome: list[Sample] | BaseException) -> list[Sample]:
    return partial_of(outcome) if isinstance(outcome, BaseException) else outcome


def partial_of(error: BaseException) -> list[Sample]:
    """Return the samples that had been received when a draw failed."""
    return list(getattr(error, "partial", ()))


def _with_partial(error: BaseException, samples: list[Sample]) -> BaseException:
    vars(error)["partial"] = sorted(samples, key=lambda sample: sample.index)
    return error
