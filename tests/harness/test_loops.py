"""Connections that live as long as their event loop."""

from __future__ import annotations

import asyncio

import pytest

from agenttts.errors import InputError
from agenttts.harness.loops import PerLoop


class Opened:
    def __init__(self) -> None:
        self.closed_in: asyncio.AbstractEventLoop | None = None

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.closed_in = asyncio.get_running_loop()


async def use(held: PerLoop[Opened]) -> tuple[Opened, asyncio.AbstractEventLoop]:
    first = await held.get()
    assert await held.get() is first
    assert first.closed_in is None
    return first, asyncio.get_running_loop()


def test_it_is_closed_in_its_loop_when_that_ends_and_made_anew_in_the_next():
    held = PerLoop(Opened)
    first, loop = asyncio.run(use(held))
    assert first.closed_in is loop
    second, other = asyncio.run(use(held))
    assert second is not first
    assert second.closed_in is other is not loop


async def test_it_may_be_closed_before_and_is_made_anew_then():
    held = PerLoop(Opened)
    first = await held.get()
    await held.aclose()
    assert first.closed_in is asyncio.get_running_loop()
    assert await held.get() is not first
    await held.aclose()
    await held.aclose()


def test_another_kind_of_event_loop_is_refused_with_the_remedy():
    getting = PerLoop(Opened).get()
    with pytest.raises(InputError, match="INSPECT_ASYNC_BACKEND"):  # driven by hand: no loop of asyncio runs
        getting.send(None)
