"""What a server takes on, and what it does with the rest: refuse at once, keep waiting ones alive, let go of the gone."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from openai import APIError, RateLimitError

from agenttts.serve.gate import Gate
from agenttts.serve.refused import Refused
from agenttts.serve.service import Limits
from tests.scripted_server import Asked, Reply
from tests.serve.conftest import NAME, QUESTION, body, script, serving_on

MESSAGES = [{"role": "user", "content": QUESTION}]


def slow(seconds: float):
    """Return the usual script, its last stage taking a while."""

    def said(asked: Asked) -> str | Reply:
        text = script(asked)
        return text if asked.prompt.startswith("Think") else Reply(str(text), after_s=seconds)

    return said


# --- the gate


async def test_turns_come_in_order_and_no_more_run_than_may():
    gate, order = Gate(2, 10), []

    async def work(number: int) -> None:
        turn = gate.admit()
        await turn.start()
        order.append(number)
        assert gate.n_running <= 2
        await asyncio.sleep(0)
        turn.leave()

    await asyncio.gather(*(work(number) for number in range(8)))
    assert order == list(range(8))
    assert (gate.n_admitted, gate.n_running) == (0, 0)


async def test_what_is_over_the_limit_is_refused_with_a_time():
    gate = Gate(1, 1)
    turns = [gate.admit(), gate.admit()]
    with pytest.raises(Refused) as caught:
        gate.admit()
    assert (caught.value.status, caught.value.headers()) == (429, {"Retry-After": "3"})
    turns[0].leave()
    turns[0].leave()
    gate.admit()
    assert gate.n_admitted == 2


async def test_a_cancelled_waiter_gives_its_turn_to_the_next():
    gate = Gate(1, 5)
    first, second, third = gate.admit(), gate.admit(), gate.admit()
    await first.start()
    waits = [asyncio.create_task(turn.start()) for turn in (second, third)]
    await asyncio.sleep(0)
    first.leave()  # the second has its turn, and is cancelled before it notices
    waits[0].cancel()
    await asyncio.wait(waits)
    second.leave()
    assert waits[1].exception() is None
    assert gate.n_running == 1
    third.leave()
    assert (gate.n_admitted, gate.n_running) == (0, 0)


async def test_closing_refuses_those_who_wait_and_lets_those_at_work_go_on():
    gate = Gate(1, 5)
    first, second = gate.admit(), gate.admit()
    await first.start()
    wait = asyncio.create_task(second.start())
    await asyncio.sleep(0)
    gate.close()
    with pytest.raises(Refused, match="shutting down"):
        await wait
    with pytest.raises(Refused, match="shutting down"):
        gate.admit()
    assert gate.n_running == 1


# --- the server


def test_a_full_server_refuses_with_429_and_loses_nothing(tmp_path: Path):
    limits = Limits(most_running=2, most_waiting=3)
    with serving_on(tmp_path, slow(0.4), limits=limits) as (served, _):
        with ThreadPoolExecutor(20) as pool:
            replies = list(pool.map(lambda _: served.post(), range(20)))
        statuses = [reply.status_code for reply in replies]
        assert statuses.count(200) + statuses.count(429) == 20
        assert 5 <= statuses.count(200) < 20
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert served.metric("agenttts_rejected_total", reason="queue_full") == statuses.count(429)
        assert served.service.gate.n_admitted == 0


def test_a_full_server_is_not_ready_and_says_so_to_clients(tmp_path: Path):
    limits = Limits(most_running=1, most_waiting=0)
    with serving_on(tmp_path, slow(1), limits=limits) as (served, _), ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.post)
        while not served.service.gate.n_running:
            time.sleep(0.01)
        with pytest.raises(RateLimitError, match="come back later"):
            served.client().chat.completions.create(model=NAME, messages=MESSAGES)
        assert httpx.get(f"{served.root}/readyz").json()["because"] == "the queue is full"
        assert first.result().status_code == 200
        assert httpx.get(f"{served.root}/readyz").status_code == 200


def test_the_openai_client_comes_back_after_429_and_is_answered(tmp_path: Path):
    limits = Limits(most_running=1, most_waiting=0)
    with serving_on(tmp_path, slow(0.3), limits=limits) as (served, _), ThreadPoolExecutor(3) as pool:
        client = served.client(max_retries=8)
        replies = list(
            pool.map(lambda _: client.chat.completions.create(model=NAME, messages=MESSAGES), range(3))
        )
    assert {reply.choices[0].message.content for reply in replies} == {"So it is 42."}


def test_a_stream_is_kept_alive_while_the_plan_works(tmp_path: Path):
    limits = Limits(keep_alive_s=0.1)
    with serving_on(tmp_path, slow(0.6), limits=limits) as (served, _):
        with httpx.stream("POST", f"{served.url}/chat/completions", json=body(stream=True)) as reply:
            lines = [line for line in reply.iter_lines() if line]
        assert lines.count(": working") >= 3
        assert lines[-1] == "data: [DONE]"
        stream = served.client().chat.completions.create(model=NAME, messages=MESSAGES, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in stream) == "So it is 42."


def test_a_late_failure_of_a_stream_is_an_error_of_the_client(tmp_path: Path):
    def said(asked: Asked) -> str | Reply:
        return script(asked) if asked.prompt.startswith("Think") else Reply("late", after_s=3)

    limits = Limits(keep_alive_s=0.1, timeout_s=0.5)
    with serving_on(tmp_path, said, limits=limits) as (served, _):
        stream = served.client().chat.completions.create(model=NAME, messages=MESSAGES, stream=True)
        with pytest.raises(APIError, match=r"no answer within 0\.5 s"):
            list(stream)
        assert served.metric("agenttts_requests_total", status="504") == 1


def test_a_request_that_takes_too_long_is_ended_with_504(tmp_path: Path):
    with serving_on(tmp_path, slow(5), limits=Limits(timeout_s=0.3)) as (served, _):
        begun = time.monotonic()
        reply = served.post()
        assert time.monotonic() - begun < 3
        assert reply.status_code == 504
        assert reply.json()["agenttts"]["spent"]["decode_tokens"] == 30  # the thoughts were paid
        assert served.service.gate.n_running == 0


def leave(url: str, *, stream: bool) -> None:
    """Ask, and go away before there is an answer."""
    with httpx.Client(timeout=0.3) as client:
        if stream:
            with client.stream("POST", url, json=body(stream=True)) as reply:
                assert next(reply.iter_lines()) == ": working"
            return
        with pytest.raises(httpx.TimeoutException):
            client.post(url, json=body())


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_who_goes_away_stops_the_spending(tmp_path: Path, stream: bool):
    calls = threading.Event()

    def said(asked: Asked) -> str | Reply:
        if asked.prompt.startswith("Think"):
            calls.set()
            return Reply("It is 42", after_s=0.5)
        return "So it is 42."

    with serving_on(tmp_path, said, limits=Limits(keep_alive_s=0.1)) as (served, backend):
        leave(f"{served.url}/chat/completions", stream=stream)
        assert calls.wait(5)
        until = time.monotonic() + 5
        while served.service.gate.n_running and time.monotonic() < until:
            time.sleep(0.02)
        assert served.service.gate.n_running == 0
        time.sleep(0.6)
        assert not backend.prompts("Answer")
        assert served.metric("agenttts_rejected_total", reason="caller_gone") == 1
