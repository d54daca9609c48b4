"""Waits and retries are counted where they happen."""

from __future__ import annotations

import asyncio

import pytest

from agenttts.models.clients import Clients
from agenttts.models.counts import CallCounts
from agenttts.models.limits import Pacer
from tests.models.conftest import ask, card
from tests.models.local_server import Answer, LocalServer, error


async def test_calls_that_stand_side_by_side_are_one_wait() -> None:
    pacer = Pacer(card("http://x"))
    assert not pacer.counts
    pacer.pause(0.3)
    calls = [asyncio.create_task(pacer.paused()) for _ in range(20)]
    await asyncio.sleep(0.1)
    during = pacer.counts
    assert (during.n_waits, during.waiting) == (1, 20)
    assert during.waited_s == pytest.approx(0.1, abs=0.08)
    await asyncio.gather(*calls)
    assert (pacer.counts.n_waits, pacer.counts.waiting) == (1, 0)
    assert pacer.counts.waited_s == pytest.approx(0.3, abs=0.1)


async def test_calls_in_the_queue_of_a_rate_limit_wait_as_well() -> None:
    pacer = Pacer(card("http://x", requests_per_minute=30))
    await pacer.turn(1)
    calls = [asyncio.create_task(pacer.turn(1)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert pacer.counts.waiting == 3
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (pacer.counts.n_waits, pacer.counts.waiting) == (1, 0)


async def test_a_pacer_that_holds_nobody_back_counts_nothing() -> None:
    pacer = Pacer(card("http://x", requests_per_minute=6000))
    await pacer.turn(1)
    assert pacer.counts == CallCounts()


async def test_retries_are_told_by_their_cause_also_after_the_end(server: LocalServer) -> None:
    server.then.extend([error(429, headers={"Retry-After": "0.01"}), error(503), Answer(body=b"no json")])
    clients = Clients({"m": card(server.url)})
    try:
        await clients.client("m").draw(ask(clients), 0, 1)
        assert clients.counts.retries == {"rate_limit": 1, "unavailable": 1, "malformed": 1}
        assert clients.counts.n_retries == 3
    finally:
        before = clients.counts
        await clients.aclose()
    assert clients.counts.retries == before.retries
    assert clients.counts.n_waits == before.n_waits


def test_counts_add_up_and_survive_the_log() -> None:
    one = CallCounts(2, 1.5, 3, {"timeout": 1, "rate_limit": 2})
    both = one + CallCounts(1, 0.25, 0, {"timeout": 4})
    assert both == CallCounts(3, 1.75, 3, {"timeout": 5, "rate_limit": 2})
    assert CallCounts.from_json(both.to_json()) == both
