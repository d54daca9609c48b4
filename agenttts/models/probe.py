"""Does anybody answer where cards are served? Connections alone, all at once: nothing is asked and nothing is paid.

Only what surely cannot work is told: a host that nobody knows, an address that refuses connections. A server that is slow,
or answers with whatever status, is alive; what it has to say is told when it is asked.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from agenttts.budgets.cards import ModelCard
from agenttts.errors import EndpointDownError
from agenttts.models.openai_client import base_url_of, without_secrets

__all__ = ["Probe", "has_address", "require_answering"]

TIMEOUT_S = 3.0
"""Of one connection; a server that takes longer is slow, not dead."""
AGAIN_AFTER_S = 0.5
"""A refusal is believed when it comes twice: a server may be starting again, or a name server be busy."""
MOST_ADDRESSES = 4
DEAD = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


class Probe:
    """Looks once, before the first draw, whether all addresses of some cards take connections.

    Who finds all draws in the store never looks, so stored draws need no server.

    Args:
        cards: Cards that will be asked.
        files: File of each card, for the message.
    """

    def __init__(self, cards: Iterable[ModelCard], files: Mapping[str, Path]) -> None:
        self._cards = tuple(cards)
        self._files = files
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Wait for the one look; raise what it found, see `require_answering`."""
        if self._looking is None:
            self._looking = asyncio.create_task(require_answering(self._cards, self._files))
        await asyncio.shield(self._looking)

    async def aclose(self) -> None:
        """End a look that is still under way."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
            if not self._looking.cancelled():
                self._looking.exception()  # whoever waited has it


def has_address(card: ModelCard) -> bool:
    """Whether a card is served from an address that is known here; litellm's own providers have none."""
    return card.source in {"openai", "embedding", "reward"} or (
        card.source == "litellm" and bool(card.base_url)
    )


async def require_answering(cards: Iterable[ModelCard], files: Mapping[str, Path] | None = None) -> None:
    """Check that somebody answers at every address that cards are served from.

    Raises:
        EndpointDownError: Nobody does at one of them, at least; the first one is named.
    """
    served: dict[str, list[str]] = {}
    for card in cards:
        if has_address(card):
            served.setdefault(base_url_of(card), []).append(card.name)
    whys = await asyncio.gather(*map(_why_dead, served))
    for (url, names), why in zip(served.items(), whys, strict=True):
        if why is not None:
            raise EndpointDownError(_told(url, names, why, files or {}), endpoint=without_secrets(url))


def _told(url: str, names: list[str], why: str, files: Mapping[str, Path]) -> str:
    who = [f"{name} ({files[name]})" if name in files else name for name in names]
    return (
        f"nobody answers at {without_secrets(url)} ({why}), where {', '.join(who)} would be asked: "
        "start the server, or mend `base_url` on the card. Nothing was drawn"
    )


async def _why_dead(url: str) -> str | None:
    """Return why nobody can be reached; `None` where somebody is, or where that cannot be told."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    if host is None or _by_proxy(parts.scheme, host):
        return None
    if await _refused(host, port) is None:
        return None
    await asyncio.sleep(AGAIN_AFTER_S)
    return await _refused(host, port)


def _by_proxy(scheme: str, host: str) -> bool:
    """Whether the environment sends such requests through a proxy: then this machine need not reach the host."""
    return bool({scheme, "all"} & getproxies().keys()) and not proxy_bypass(host)


async def _refused(host: str, port: int) -> str | None:
    """Return why no address of a host takes a connection; `None` where one does, or does not say no in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            whys = [await _refused_at(str(where[4][0]), port) for where in found[:MOST_ADDRESSES]]
    except socket.gaierror:
        return "the host is unknown"
    except (TimeoutError, UnicodeError):
        return None
    return None if None in whys else next(iter(whys), None)


async def _refused_at(address: str, port: int) -> str | None:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        return _reason(error) if error.errno in DEAD else None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return None


def _reason(error: OSError) -> str:
    refused = error.errno == errno.ECONNREFUSED
    return "connection refused" if refused else str(error.strerror or "no connection").lower()
