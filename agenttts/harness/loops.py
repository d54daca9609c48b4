"""Connections that live as long as the event loop in which they were opened, and are closed with it.

Harnesses make models once and run them in whatever event loop they start, without telling its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Generic, Protocol, TypeVar

from agenttts.errors import InputError

__all__ = ["PerLoop"]


class _Closable(Protocol):
    async def aclose(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class PerLoop(Generic[T]):
    """One thing at a time, made on first use in the running event loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held: T | None = None
        self._keeper: AsyncGenerator[None, None] | None = None

    async def get(self) -> T:
        """Return it.

        Raises:
            InputError: The running event loop is none of asyncio's.
        """
        loop = _loop()
        if self._held is None or self._loop is not loop:
            held = self._held = self._make()
            self._loop = loop
            # An event loop that ends closes the generators that were started in it, and with this one what it keeps.
            self._keeper = _closed_at_the_end(held)
            await anext(self._keeper)
            return held
        return self._held

    async def aclose(self) -> None:
        """Close it, where it was made in the running event loop; the next use makes another."""
        keeper, loop = self._keeper, self._loop
        self._held = self._keeper = self._loop = None
        if keeper is not None and loop is _loop():
            await keeper.aclose()


def _loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:  # inside of trio
        raise InputError(
            "agenttts runs on asyncio: unset INSPECT_ASYNC_BACKEND, or set it to asyncio"
        ) from error


async def _closed_at_the_end(held: _Closable) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await held.aclose()
