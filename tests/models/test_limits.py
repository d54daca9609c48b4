from __future__ import annotations

import asyncio
import email.utils
from datetime import UTC, datetime, timedelta

import pytest

from agenttts.errors import EndpointDownError
from agenttts.models.limits import Breaker, Pacer, Rate
from agenttts.models.retry import retry_after_s
from tests.models.conftest import card


@pytest.mark.parametrize("burst_s", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("per_minute", [1, 6, 60, 600])
def test_no_minute_holds_more_than_the_rate(per_minute: int, burst_s: float) -> None:
    rate, now, starts = Rate(per_minute, burst_s=burst_s), 0.0, []
    while now < 200:
        now += rate.wait_s(now) + 1e-9
        rate.take(1, now)
        starts.append(now)
    most = max(sum(start <= other < start + 59.999 for other in starts) for start in starts)
    assert most <= per_minute
    assert len(starts) >= 0.9 * per_minute * 200 / (60 + burst_s)


def test_tokens_given_back_shorten_the_wait() -> None:
    rate = Rate(60)
    rate.take(60, 0.0)
    assert rate.wait_s(0.0) == pytest.approx(60)
    rate.take(-50, 0.0)
    assert rate.wait_s(0.0) == pytest.approx(10)


def test_credit_cannot_be_saved_up() -> None:
    rate = Rate(60)
    rate.take(-1000, 0.0)
    rate.take(1, 100.0)
    assert rate.wait_s(100.0) == pytest.approx(1)


async def test_tokens_per_minute_hold_back_requests_until_replies_are_shorter() -> None:
    pacer = Pacer(card("http://x", tokens_per_minute=60_000))
    expected = pacer.expected_tokens(100, 10_000, 1)
    assert expected == 10_100
    await pacer.turn(expected)
    pacer.took(expected, 100, 20, 1)
    assert pacer.expected_tokens(100, 10_000, 2) == 150
    async with asyncio.timeout(1):
        await pacer.turn(150)


async def test_a_reply_that_was_only_read_gives_back_what_it_did_not_take() -> None:
    pacer = Pacer(card("http://x", tokens_per_minute=6000))
    expected = pacer.expected_tokens(2000, 100, 0)
    assert expected == 2000
    await pacer.turn(expected)
    pacer.took(expected, 200, 0, 0)
    async with asyncio.timeout(1):
        await pacer.turn(200)
    assert pacer.expected_tokens(10, 100, 2) == 210  # and says nothing of the length of what is written


async def test_a_pause_holds_everybody_and_ends() -> None:
    pacer = Pacer(card("http://x"))
    pacer.pause(0.2)
    pacer.pause(0.01)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(pacer.paused(), pacer.paused())
    assert 0.18 < asyncio.get_running_loop().time() - began < 1


async def test_one_success_clears_the_breaker() -> None:
    breaker = Breaker("http://x")
    for _ in range(4):
        breaker.exhausted("HTTP 500", connected=True)
    breaker.succeeded()
    breaker.exhausted("HTTP 500", connected=True)
    breaker.check()
    breaker.exhausted("no connection", connected=False)
    with pytest.raises(EndpointDownError, match="no connection"):
        breaker.check()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(headers) == expected


def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    date = email.utils.format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after_s({"retry-after": date}, now) == 90
