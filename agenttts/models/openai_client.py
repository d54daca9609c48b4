"""Any OpenAI-compatible endpoint, through the openai package on its aiohttp transport.

The SDK's transport, headers and errors are used; its typed response objects are not: reading the JSON ourselves costs
less, and a malformed reply is ours to handle. Its retries are off (see `retry`).
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from agenttts.budgets.cards import ModelCard
from agenttts.errors import AuthenticationError
from agenttts.models.chat import MalformedReply
from agenttts.models.failures import translate
from agenttts.models.retry import AttemptFailed

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAITransport", "api_key", "base_url_of", "is_local", "without_secrets"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LOCAL_URL = "http://127.0.0.1:8000"
"""Where vLLM serves unless told otherwise."""
CHAT = "/chat/completions"
NO_KEY = "none"
"""Sent where an endpoint needs no key: the header may not be empty."""


def base_url_of(card: ModelCard) -> str:
    """Return where the card is served: its `base_url`, else `OPENAI_BASE_URL`, else OpenAI's; reward models: locally."""
    if card.source == "reward":
        return (card.base_url or LOCAL_URL).rstrip("/")
    return (card.base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")


def without_secrets(url: str) -> str:
    """Return the address without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def is_local(url: str) -> bool:
    """Whether the address is on this machine or in a private network, where keys are rarely needed."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_loopback or address.is_private


def key_variable(card: ModelCard) -> str:
    """Return the environment variable that the card's key is looked for in."""
    return card.api_key_env or "OPENAI_API_KEY"


def api_key(card: ModelCard) -> str:
    """Return the key from the environment.

    A card with an address of its own may go without a key, unless it names the variable to take it from and the
    address is a public one. A reward model gets no key but the one that its card names.

    Raises:
        AuthenticationError: A key is needed and the environment has none.
    """
    if card.source == "reward" and card.api_key_env is None:
        return NO_KEY
    variable = key_variable(card)
    key = os.environ.get(variable, "").strip()
    url = base_url_of(card)
    has_own_address = url != DEFAULT_BASE_URL
    if key or (has_own_address and (card.api_key_env is None or is_local(url))):
        return key or NO_KEY
    raise AuthenticationError(
        f"model {card.name} needs a key and the environment variable {variable} is not set; set it, "
        "or name another variable as `api_key_env` on the card",
        endpoint=without_secrets(url),
        model=card.name,
        n_attempts=0,
    )


class OpenAITransport:
    """Connections of one card. They belong to the event loop of the first request."""

    def __init__(self, card: ModelCard, max_connections: int, address: str = CHAT) -> None:
        """Prepare for requests to `address`: a path below the card's `base_url`, or a whole address."""
        self._card = card
        self._address = address
        self._max_connections = max_connections
        self._url = base_url_of(card)
        self._key = api_key(card)
        self._client: AsyncOpenAI | None = None
        # OpenAI's own reasoning models refuse `max_tokens`; other servers know nothing else.
        self.length_field = (
            "max_completion_tokens" if urlsplit(self._url).hostname == "api.openai.com" else "max_tokens"
        )

    async def send(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Return the reply as parsed JSON; see `Transport.send`."""
        client = self._client or self._connect()
        response = await client.post(self._address, cast_to=self._raw, body=body)
        try:
            data: Mapping[str, Any] = json.loads(response.content)
        except ValueError as error:
            raise MalformedReply("the reply is not JSON") from error
        return data

    def failed(self, error: Exception) -> AttemptFailed:
        """Return what an error of `send` means."""
        return translate(
            error,
            model=self._card.name,
            model_id=self._card.served_as,
            endpoint=without_secrets(self._url),
            secret=None if self._key == NO_KEY else self._key,
            key_variable=key_variable(self._card),
            address=None if self._address == CHAT else without_secrets(self._address),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connect(self) -> AsyncOpenAI:
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient

        # Deadlines are ours, for the attempt as a whole; only connecting has one of its own.
        timeout = httpx2.Timeout(None, connect=15.0)
        limits = httpx2.Limits(
            max_connections=self._max_connections, max_keepalive_connections=self._max_connections
        )
        self._raw = httpx2.Response
        self._client = AsyncOpenAI(
            api_key=self._key,
            base_url=self._url,
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(timeout=timeout, limits=limits),
        )
        return self._client
