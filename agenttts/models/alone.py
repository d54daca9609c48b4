"""Questions to a provider's model outside of a pipeline: without store and ledger, in an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agenttts.budgets.cards import ModelCard
from agenttts.errors import ProviderError
from agenttts.models.base import Message, Request, Sample, SamplingParameters
from agenttts.models.limits import Endpoint
from agenttts.models.openai_client import base_url_of, without_secrets
from agenttts.models.provider import ProviderClient

__all__ = ["asked_alone"]

Make = Callable[[ModelCard, Endpoint], ProviderClient]


def asked_alone(
    make: Make, card: ModelCard, sampling: SamplingParameters, requests: Sequence[tuple[Message, ...]]
) -> list[Sample]:
    """Return a model's reply to each request; to be called in a thread.

    Where the model gives no reply, the sample says why (`details["unscored"]`).

    Args:
        make: Makes the client of the card.
        card: The model.
        sampling: How it is asked.
        requests: The messages of each request.

    Raises:
        ProviderError: Of the kind that stops runs, e.g. an endpoint that is down.
    """
    return asyncio.run(_asked(make, card, sampling, requests))


async def _asked(
    make: Make, card: ModelCard, sampling: SamplingParameters, requests: Sequence[tuple[Message, ...]]
) -> list[Sample]:
    place = without_secrets(base_url_of(card))
    client = make(card, Endpoint(place, card.max_concurrency))

    async def one(messages: tuple[Message, ...]) -> Sample:
        try:
            return (await client.draw(Request(card.name, place, messages, sampling), 0, 1))[0]
        except ProviderError as error:
            if error.stops_run:
                raise
            return Sample(0, "", "unscored", 0, 0, details={"unscored": str(error)})

    try:
        return list(await asyncio.gather(*(one(messages) for messages in requests)))
    finally:
        await client.aclose()
