"""Which models an OpenAI-compatible endpoint serves: its list at `/models`. What it says is never trusted."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agenttts.errors import AuthenticationError, NotServedError, ProviderUnavailableError
from agenttts.models.failures import clean
from agenttts.models.openai_client import NO_KEY, without_secrets

if TYPE_CHECKING:
    import httpx2

__all__ = ["Listing", "fetch_listing", "listed_models"]

MOST_BYTES = 8 << 20
MOST_MODELS = 5000
LONGEST_NAME = 300


@dataclass(frozen=True)
class Listing:
    """What an endpoint says of itself."""

    names: tuple[str, ...]
    """Models, in its order, each once."""
    date: str = ""
    """Its clock, as its header `Date` has it."""
    took_s: float = 0.0
    """From the request, connecting included, to the end of the reply."""


async def listed_models(base_url: str, key: str = NO_KEY, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """Return the names of the models that an endpoint lists; see `fetch_listing`."""
    return (await fetch_listing(base_url, key, timeout_s=timeout_s)).names


async def fetch_listing(base_url: str, key: str = NO_KEY, *, timeout_s: float = 5.0) -> Listing:
    """Return what an endpoint lists.

    Args:
        base_url: Of the API, e.g. `http://localhost:8000/v1`.
        key: Sent as a bearer token. Redirections are not followed, so that it goes nowhere else.
        timeout_s: Deadline of the whole request.

    Raises:
        AuthenticationError: The key is wrong or missing.
        NotServedError: There is no list at this address.
        ProviderUnavailableError: No connection, no reply in time, or one that cannot be read.
    """
    place = f"{without_secrets(base_url)}/models"
    status, date, body, took_s = await _fetched(f"{base_url.rstrip('/')}/models", key, place, timeout_s)
    if status in {401, 403}:
        raise AuthenticationError(f"{place}: HTTP {status}: the key is wrong or missing", endpoint=place)
    if status in {404, 405, 501}:
        raise NotServedError(
            f"{place}: HTTP {status}: there is no list of models; does the address lack /v1?", endpoint=place
        )
    if status != 200:
        said = clean(body[:500].decode("utf-8", "replace"), key if key != NO_KEY else None)
        raise ProviderUnavailableError(f"{place}: HTTP {status}: {said}", endpoint=place)
    return Listing(_names(body, place), date, took_s)


async def _fetched(url: str, key: str, place: str, timeout_s: float) -> tuple[int, str, bytes, float]:
    import asyncio

    import httpx2

    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with asyncio.timeout(timeout_s), httpx2.AsyncClient(timeout=timeout_s) as client:
            before = time.monotonic()  # making a client takes time that is not the endpoint's
            async with client.stream("GET", url, headers=headers) as response:
                body = await _read(response)
            took_s = time.monotonic() - before
            return response.status_code, response.headers.get("date", ""), body, took_s
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise ProviderUnavailableError(f"{place}: no reply within {timeout_s:g} s", endpoint=place) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
        cause = clean(str(error) or type(error).__name__, key if key != NO_KEY else None)
        raise ProviderUnavailableError(f"{place}: no connection: {cause}", endpoint=place) from error


async def _read(response: httpx2.Response) -> bytes:
    received = bytearray()
    async for part in response.aiter_bytes():
        received += part
        if len(received) > MOST_BYTES:
            break
    return bytes(received)


def _names(body: bytes, place: str) -> tuple[str, ...]:
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    entries = data.get("data") if isinstance(data, Mapping) else data
    if not isinstance(entries, list):
        raise ProviderUnavailableError(
            f"{place}: the reply is no list of models; is this an OpenAI-compatible endpoint?", endpoint=place
        )
    found = (entry.get("id") for entry in entries[:MOST_MODELS] if isinstance(entry, Mapping))
    names = (name for name in found if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME)
    return tuple(dict.fromkeys(name for name in names if name.isprintable() and name.strip() == name))
