"""All clients of one run: made on first use from the cards, sharing what belongs to their endpoint, closed together."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.errors import CardError
from agenttts.models.base import Message, ModelClient, Request, SamplingParameters
from agenttts.models.counts import CallCounts
from agenttts.models.embedding_client import address_of as embedding_address
from agenttts.models.embedding_client import embedding_client, embedding_of
from agenttts.models.limits import Endpoint
from agenttts.models.openai_client import OpenAITransport, base_url_of, without_secrets
from agenttts.models.probe import Probe
from agenttts.models.provider import ProviderClient
from agenttts.models.recorded import RecordedClient, load_recording
from agenttts.models.retry import ClientEvent
from agenttts.models.reward_client import address_of, reward_client, reward_of
from agenttts.models.tiny_client import TinyClient
from agenttts.models.tiny_reward import TINY_PRM, TinyRewardClient

__all__ = ["Clients", "endpoint_of"]

_Closable = ProviderClient | TinyClient | TinyRewardClient | RecordedClient


def endpoint_of(card: ModelCard) -> str:
    """Return the identity of where a card is served: part of the identity of its draws, never with a key in it.

    It ends in `#<model_id>` where the endpoint knows the model by another name than the card's, so that a card that
    is pointed at another model starts new streams.

    Raises:
        DataError: The table of a recorded card cannot be read.
    """
    place = _place_of(card)
    return place if card.served_as == card.name else f"{place}#{card.served_as}"


def _place_of(card: ModelCard) -> str:
    if card.source == "openai":
        return without_secrets(base_url_of(card))
    if card.source == "litellm":
        return f"litellm:{without_secrets(card.base_url)}" if card.base_url else "litellm"
    if card.source == "recorded":
        return f"recorded:{load_recording(card.table or '').digest}"
    if card.source == "reward":
        return f"reward:{without_secrets(address_of(card))}:{_digest(reward_of(card).model_dump(**_SET))}"
    if card.source == "embedding":
        return f"embedding:{without_secrets(embedding_address(card))}:{_digest(_making_vectors(card))}"
    from agenttts.models.tiny.identity import weights_digest

    return f"tiny:{weights_digest(card.served_as)}"


_SET: dict[str, Any] = {"mode": "json", "exclude_defaults": True}
"""What stands at its default is left out, so that a key that a later version adds starts no new streams."""


def _making_vectors(card: ModelCard) -> dict[str, Any]:
    """Return whatever changes the vectors of an embedding model; where texts are cut, also what counts their tokens."""
    block = embedding_of(card)
    counts = {} if block.max_input_tokens is None else {"token_counter": card.token_counter}
    return block.model_dump(**_SET, exclude={"batch"}) | counts


def _digest(block: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that change with how a model is asked that only reads."""
    return hashlib.sha256(json.dumps(block, sort_keys=True).encode()).hexdigest()[:12]


def _host_of(card: ModelCard) -> str:
    """Return what answers the calls of a provider's card: behind litellm, each provider on its own."""
    if card.source in {"reward", "embedding"}:
        return without_secrets(base_url_of(card))
    place = _place_of(card)
    return f"litellm ({card.served_as.partition('/')[0]})" if place == "litellm" else place


class Clients:
    """One per run and event loop; owns all connections."""

    def __init__(
        self,
        cards: Mapping[str, ModelCard],
        *,
        on_event: Callable[[ClientEvent], None] | None = None,
        probe: Probe | None = None,
    ) -> None:
        """Prepare for draws of `cards`; `probe` looks before the first of them whether anybody answers."""
        self._cards = dict(cards)
        self._probe = probe
        self._on_event = on_event
        self._clients: dict[str, ModelClient] = {}
        self._open: list[_Closable] = []
        self._endpoints: dict[str, Endpoint] = {}
        self._names: dict[str, str] = {}
        self._past = CallCounts()

    @property
    def counts(self) -> CallCounts:
        """Waits and retries of all calls so far; it can be read after `aclose` as well."""
        return sum((client.counts for client in self._open if isinstance(client, ProviderClient)), self._past)

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: SamplingParameters,
        *,
        stage: str = "",
        problem_id: str = "",
    ) -> Request:
        """Return the request to the endpoint of `model`.

        Raises:
            CardError: No card has this name.
        """
        if model not in self._names:
            self._names[model] = endpoint_of(self._card(model))
        recorded = self._card(model).source == "recorded"
        place = f"{stage}/{problem_id}" if recorded else ""
        return Request(model, self._names[model], tuple(messages), sampling, stage, problem_id, place)

    async def ready(self) -> None:
        """Wait until it is known that whatever will be asked takes connections; to be awaited before each draw.

        Raises:
            EndpointDownError: Nobody answers at an address.
        """
        if self._probe is not None:
            await self._probe()

    def client(self, model: str) -> ModelClient:
        """Return the client of a model; the same one each time.

        Raises:
            CardError: No card has this name.
            AuthenticationError: It needs a key that the environment lacks.
        """
        client = self._clients.get(model)
        if client is None:
            client = self._clients[model] = self._make(self._card(model))
        return client

    def add(self, model: str, client: ModelClient) -> None:
        """Use `client` for the card `model`: for sources of samples that are not ours. The caller closes it."""
        self._card(model)
        self._clients[model] = client

    def max_recorded(self, stage: str, model: str) -> int | None:
        """Return how many draws of every problem are recorded; `None` where the source can draw without end."""
        card = self._card(model)
        if card.source != "recorded":
            return None
        return load_recording(card.table or "").max_draws(stage, card.served_as)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._probe is not None:
            await self._probe.aclose()
        self._clients.clear()
        while self._open:
            client = self._open.pop()
            if isinstance(client, ProviderClient):
                self._past += client.counts
            await client.aclose()

    def _card(self, model: str) -> ModelCard:
        card = self._cards.get(model)
        if card is None:
            near = difflib.get_close_matches(model, self._cards, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CardError(
                f"no card for model {model!r}{hint} Known: {', '.join(sorted(self._cards)) or 'none'}"
            )
        return card

    def _make(self, card: ModelCard) -> ModelClient:
        client: _Closable
        if card.source == "tiny":
            client = TinyRewardClient(card) if card.served_as == TINY_PRM else TinyClient(card)
        elif card.source == "recorded":
            client = RecordedClient(card)
        else:
            client = self._provider(card)
        self._open.append(client)
        return client

    def _provider(self, card: ModelCard) -> ProviderClient:
        endpoint = self._endpoint(_host_of(card))
        if card.source == "reward":
            return reward_client(card, endpoint, self._on_event)
        if card.source == "embedding":
            return embedding_client(card, endpoint, self._on_event)
        if card.source == "openai":
            return ProviderClient(card, OpenAITransport(card, card.max_concurrency), endpoint, self._on_event)
        from agenttts.models.litellm_client import LiteLLMTransport

        return ProviderClient(card, LiteLLMTransport(card), endpoint, self._on_event)

    def _endpoint(self, host: str) -> Endpoint:
        """Return what the cards of one host share; the strictest of their concurrencies holds."""
        if host not in self._endpoints:
            served = [card for card in self._cards.values() if card.source not in {"tiny", "recorded"}]
            most = min(card.max_concurrency for card in served if _host_of(card) == host)
            self._endpoints[host] = Endpoint(host, most)
        return self._endpoints[host]
