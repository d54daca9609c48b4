"""Draws through any endpoint that speaks chat completions: the one place for limits, deadlines, retries and billing.

How bytes travel is the transport's affair (`openai_client`, `litellm_client`); this module turns a span of draws into
provider calls and their replies into numbered samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from agenttts.budgets.cards import ModelCard
from agenttts.errors import ProviderUnavailableError
from agenttts.models.base import CallUsage, Meter, Reply, Request, Sample
from agenttts.models.chat import MalformedReply, chat_body, read_reply
from agenttts.models.failures import clean
from agenttts.models.limits import Endpoint, Pacer
from agenttts.models.retry import AttemptFailed, ClientEvent, Retrier
from agenttts.models.tokens import most_prompt_tokens

__all__ = ["ProviderClient", "Transport", "partial_of"]

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


class ProviderClient:
    """Samples of one card from one endpoint."""

    def __init__(
        self,
        card: ModelCard,
        transport: Transport,
        endpoint: Endpoint,
        on_event: Callable[[ClientEvent], None] | None = None,
    ) -> None:
        self._card = card
        self._transport = transport
        self._endpoint = endpoint
        self._on_event = on_event
        self._pacer = Pacer(card, self._waiting)
        self._retrier = Retrier(card.name, endpoint.breaker, self._pacer, card.max_attempts, on_event)
        self._most_n = card.max_n
        """Choices that one request may ask for; 1 as soon as the server was seen to ignore `n`."""

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
        expected = self._expected_tokens(request, n)
        await self._pacer.turn(expected)
        async with self._endpoint.slots:
            await self._pacer.paused()
            settle = await meter.before(_worst(request, n)) if meter is not None else None
            reply: Reply | None = None
            try:
                reply = await self._call(request, first, n)
            finally:
                if settle is not None:
                    settle(reply)
        usage = reply.usage
        self._pacer.took(expected, usage.prefill_tokens, sum(usage.decode_tokens), len(usage.decode_tokens))
        if not reply.samples:
            raise self._malformed("billed, but holds no content")
        return reply

    async def _call(self, request: Request, first: int, n: int) -> Reply:
        """Return the reply to one provider call; without samples where it was billed and cannot be used."""
        card = self._card
        body = chat_body(
            request,
            served_as=card.served_as,
            first=first,
            n=n,
            seeded=card.supports_seed,
            length_field=self._transport.length_field,
        )
        try:
            async with asyncio.timeout(card.timeout_s):
                data = await self._transport.send(body)
            return read_reply(data, request, first=first, n=n, token_counter=card.token_counter)
        except MalformedReply as error:
            if error.usage is not None:
                return Reply((), error.usage)
            raise self._malformed(str(error)) from error
        except TimeoutError as error:
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


def _worst(request: Request, n: int) -> CallUsage:
    return CallUsage(most_prompt_tokens(request.messages), (request.sampling.max_tokens,) * n)


def _received(outcome: list[Sample] | BaseException) -> list[Sample]:
    return partial_of(outcome) if isinstance(outcome, BaseException) else outcome


def partial_of(error: BaseException) -> list[Sample]:
    """Return the samples that had been received when a draw failed."""
    return list(getattr(error, "partial", ()))


def _with_partial(error: BaseException, samples: list[Sample]) -> BaseException:
    vars(error)["partial"] = sorted(samples, key=lambda sample: sample.index)
    return error
