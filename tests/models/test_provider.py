from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from agenttts.errors import (
    AuthenticationError,
    CardError,
    EndpointDownError,
    InputError,
    NotServedError,
    ProviderUnavailableError,
    RateLimitedError,
    RequestRefusedError,
    SearchBudgetExhausted,
)
from agenttts.models.base import Message, SamplingParameters
from agenttts.models.clients import Clients, _host_of, endpoint_of
from agenttts.models.provider import partial_of
from agenttts.models.retry import ClientEvent
from agenttts.testing.clients import RecordingMeter
from tests.models.conftest import ask, card
from tests.models.local_server import Answer, LocalServer, closed_port_url, completion, error, local_server

Open = Callable[..., AbstractAsyncContextManager[Clients]]


@pytest.fixture(params=["openai", "litellm"])
def opened(request: pytest.FixtureRequest, server: LocalServer) -> Open:
    """Opens clients with one card `m` at the server, through either SDK."""

    @asynccontextmanager
    async def make(on_event: Any = None, **fields: Any) -> AsyncIterator[Clients]:
        name = "served" if request.param == "openai" else "openai/served"
        fields = {"source": request.param, "model_id": name, "base_url": server.url} | fields
        clients = Clients({"m": card(**fields)}, on_event=on_event)
        try:
            yield clients
        finally:
            await clients.aclose()

    return make


async def test_one_request_asks_for_as_many_choices_as_the_card_grants(
    opened: Open, server: LocalServer
) -> None:
    async with opened(max_n=4) as clients:
        request = ask(clients, temperature=0.5, max_tokens=9, stop=("x",), top_p=0.9)
        await clients.client("m").draw(request, 3, 6)
    bodies = sorted(server.bodies, key=lambda body: body["seed"])
    assert [body.get("n", 1) for body in bodies] == [4, 2]
    assert [body["seed"] for body in bodies] == [request.base_seed + 3, request.base_seed + 7]
    sent = {name: bodies[0][name] for name in ("model", "temperature", "max_tokens", "stop", "top_p")}
    assert sent == {"model": "served", "temperature": 0.5, "max_tokens": 9, "stop": ["x"], "top_p": 0.9}


async def test_fewer_choices_than_asked_are_asked_for_again(opened: Open, server: LocalServer) -> None:
    server.always = lambda body: completion(body, n=min(3, body.get("n", 1)))
    async with opened(max_n=8) as clients:
        request = ask(clients)
        samples = await clients.client("m").draw(request, 0, 8)
    assert [sample.text for sample in samples] == [f"draw {request.base_seed + i}" for i in range(8)]
    assert [body["n"] for body in server.bodies] == [8, 5, 2]


async def test_a_server_that_ignores_n_is_remembered(opened: Open, server: LocalServer) -> None:
    server.always = lambda body: completion(body, n=1)
    async with opened(max_n=8) as clients:
        await clients.client("m").draw(ask(clients), 0, 4)
        assert [body.get("n", 1) for body in server.bodies] == [4, 1, 1, 1]
        await clients.client("m").draw(ask(clients, "other"), 0, 2)
    assert [body.get("n", 1) for body in server.bodies[4:]] == [1, 1]


async def test_an_empty_choice_alone_is_drawn_again(opened: Open, server: LocalServer) -> None:
    server.then.append(Answer(body={}))
    async with opened(max_n=3) as clients:
        request = ask(clients)
        seed = request.base_seed
        body = {"model": "served", "seed": seed, "n": 3}
        server.then[0].body = completion(body, contents=[f"draw {seed}", None, f"draw {seed + 2}"])
        meter = RecordingMeter()
        samples = await clients.client("m").draw(request, 0, 3, meter)
    assert [sample.text for sample in samples] == [f"draw {seed + i}" for i in range(3)]
    assert [(b["seed"], b.get("n", 1)) for b in server.bodies] == [(seed, 3), (seed + 1, 1)]
    assert len(meter.replies) == 2


async def test_prefill_is_billed_once_per_http_request(opened: Open, server: LocalServer) -> None:
    for max_n, n_requests in ((1, 4), (4, 1)):
        async with opened(max_n=max_n) as clients:
            meter = RecordingMeter()
            await clients.client("m").draw(ask(clients), 0, 4, meter)
        assert meter.prefill_tokens == 7 * n_requests
        assert sum(sum(reply.usage.decode_tokens) for reply in meter.replies) == 12


async def test_a_reply_that_cannot_be_used_is_billed_when_it_says_its_usage(
    opened: Open, server: LocalServer
) -> None:
    server.then.append(Answer(body=completion({"model": "m"}, contents=[None])))
    async with opened() as clients:
        meter = RecordingMeter()
        samples = await clients.client("m").draw(ask(clients), 0, 1, meter)
    assert len(samples) == 1
    assert [reply.samples == () for reply in meter.replies] == [True, False]
    assert meter.prefill_tokens == 14


async def test_reasoning_cut_off_by_its_length_is_an_empty_sample(opened: Open, server: LocalServer) -> None:
    body = completion({"model": "m"}, contents=[None])
    body["choices"][0]["finish_reason"] = "length"
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
    server.then.append(Answer(body=body))
    async with opened() as clients:
        (sample,) = await clients.client("m").draw(ask(clients), 0, 1)
    assert (sample.text, sample.finish_reason, sample.decode_tokens) == ("", "length", 3)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(body=b"<html>busy</html>"),
        Answer(body={"choices": []}),
        Answer(hang_up=True),
        error(502),
        error(500),
    ],
    ids=["no JSON", "no choices", "hang up", "502", "500"],
)
async def test_a_failure_that_may_pass_is_tried_again(
    opened: Open, server: LocalServer, wrong: Answer
) -> None:
    server.then.append(wrong)
    events: list[ClientEvent] = []
    async with opened(on_event=events.append) as clients:
        (sample,) = await clients.client("m").draw(ask(clients), 0, 1)
    assert sample.text.startswith("draw")
    assert len(server.bodies) == 2
    assert [event.kind for event in events] == ["retry"]


async def test_an_outage_ends_after_the_attempts_of_the_card(opened: Open, server: LocalServer) -> None:
    server.always = lambda body: error(503, "overloaded")
    async with opened(max_attempts=2) as clients:
        with pytest.raises(ProviderUnavailableError, match=r"HTTP 503.*overloaded.*2 attempts") as caught:
            await clients.client("m").draw(ask(clients), 0, 1)
    assert len(server.bodies) == 2
    assert caught.value.n_attempts == 2
    assert caught.value.__cause__ is not None


async def test_outages_in_a_row_mean_that_the_endpoint_is_down(opened: Open, server: LocalServer) -> None:
    server.always = lambda body: error(500)
    async with opened(max_attempts=1) as clients:
        for i in range(4):
            with pytest.raises(ProviderUnavailableError):
                await clients.client("m").draw(ask(clients, str(i)), 0, 1)
        for _ in range(2):
            with pytest.raises(EndpointDownError):
                await clients.client("m").draw(ask(clients), 0, 1)
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RequestRefusedError),
        (404, NotServedError),
        (422, RequestRefusedError),
        (401, AuthenticationError),
        (403, AuthenticationError),
    ],
)
async def test_a_refusal_is_final(
    opened: Open, server: LocalServer, status: int, expected: type[Exception]
) -> None:
    server.always = lambda body: error(status, "context of \x1b[31m8192\x07 tokens" + "x" * 5000)
    async with opened() as clients:
        with pytest.raises(expected, match="8192") as caught:
            await clients.client("m").draw(ask(clients), 0, 1)
    assert len(server.bodies) == 1
    assert "\x1b" not in str(caught.value)
    assert "\x07" not in str(caught.value)
    assert len(str(caught.value)) < 800


async def test_retry_after_is_honoured_and_stops_the_others_too(opened: Open, server: LocalServer) -> None:
    server.then.append(error(429, "slow down", {"Retry-After": "1"}))
    async with opened(max_concurrency=1) as clients:
        draws = [clients.client("m").draw(ask(clients, str(i)), 0, 1) for i in range(3)]
        await asyncio.gather(*draws)
    gaps = [later - server.times[0] for later in server.times[1:]]
    assert len(gaps) == 3
    assert min(gaps) >= 0.99


async def test_rate_limits_and_outages_are_counted_apart(opened: Open, server: LocalServer) -> None:
    busy = {"Retry-After": "0"}
    server.then.extend([error(429, headers=busy), error(503), error(429, headers=busy), error(503)])
    async with opened(max_attempts=3) as clients:
        assert len(await clients.client("m").draw(ask(clients), 0, 1)) == 1
        server.always = lambda body: error(429, headers=busy)
        with pytest.raises(RateLimitedError, match="3 attempts"):
            await clients.client("m").draw(ask(clients), 1, 1)


async def test_an_empty_account_is_not_waited_for(opened: Open, server: LocalServer) -> None:
    server.always = lambda body: error(429, "You exceeded your current quota", code="insufficient_quota")
    async with opened() as clients:
        with pytest.raises(EndpointDownError, match="quota"):
            await clients.client("m").draw(ask(clients), 0, 1)
    assert len(server.bodies) == 1


async def test_no_reply_in_time_is_a_failure_that_names_the_limit(opened: Open, server: LocalServer) -> None:
    server.always = lambda body: Answer(after_s=1.0)
    async with opened(timeout_s=0.3, max_attempts=1) as clients:
        began = time.monotonic()
        with pytest.raises(ProviderUnavailableError, match=r"timeout_s of card m|no reply in time"):
            await clients.client("m").draw(ask(clients), 0, 1)
    assert time.monotonic() - began < 0.9


@pytest.mark.parametrize("source", ["openai", "litellm"])
async def test_a_dead_endpoint_is_given_up_within_seconds(source: str) -> None:
    name = "served" if source == "openai" else "openai/served"
    clients = Clients({"m": card(closed_port_url(), source=source, model_id=name)})
    began = time.monotonic()
    draws = [clients.client("m").draw(ask(clients, str(i)), 0, 1) for i in range(4)]
    outcomes = await asyncio.gather(*draws, return_exceptions=True)
    assert all(isinstance(outcome, EndpointDownError) for outcome in outcomes)
    assert time.monotonic() - began < 15
    assert "base_url" in str(outcomes[0])
    await clients.aclose()


async def test_no_more_requests_in_flight_than_the_strictest_card_allows(server: LocalServer) -> None:
    server.always = lambda body: Answer(after_s=0.05)
    cards = {
        "a": card(server.url, name="a", max_concurrency=3),
        "b": card(server.url, name="b", max_concurrency=8),
    }
    clients = Clients(cards)
    requests = [clients.request(name, [Message("user", name)], SamplingParameters()) for name in cards]
    await asyncio.gather(*(clients.client(request.model).draw(request, 0, 8) for request in requests))
    assert server.most_at_once == 3
    await clients.aclose()


def test_behind_litellm_each_provider_has_its_own_limits() -> None:
    ids = {
        "a": "anthropic/claude-sonnet-4-5",
        "b": "anthropic/claude-haiku-4-5",
        "c": "gemini/gemini-2.5-pro",
    }
    hosts = {
        name: _host_of(card(name=name, source="litellm", model_id=model_id)) for name, model_id in ids.items()
    }
    assert hosts == {"a": "litellm (anthropic)", "b": "litellm (anthropic)", "c": "litellm (gemini)"}


async def test_requests_per_minute_spread_requests(server: LocalServer) -> None:
    clients = Clients({"m": card(server.url, requests_per_minute=600)})
    began = time.monotonic()
    await clients.client("m").draw(ask(clients), 0, 21)
    assert 0.8 < time.monotonic() - began < 4  # ten a second, one second's worth at once
    await clients.aclose()


async def test_what_was_received_before_a_failure_is_attached_to_it(
    opened: Open, server: LocalServer
) -> None:
    server.always = lambda body: error(400) if body["seed"] % 4 == 1 else completion(body)
    async with opened() as clients:
        request = ask(clients)
        with pytest.raises(RequestRefusedError) as caught:
            await clients.client("m").draw(request, 0, 4)
    expected = [i for i in range(4) if (request.base_seed + i) % 4 != 1]
    assert [sample.index for sample in partial_of(caught.value)] == expected


async def test_a_budget_that_ends_midway_keeps_what_was_drawn(opened: Open) -> None:
    async with opened() as clients:
        with pytest.raises(SearchBudgetExhausted) as caught:
            await clients.client("m").draw(ask(clients), 0, 4, RecordingMeter(most_calls=2))
    assert len(partial_of(caught.value)) == 2


async def test_no_usage_is_estimated_and_says_so(server: LocalServer) -> None:
    server.always = lambda body: {
        k: v for k, v in completion(body, contents=["x" * 9]).items() if k != "usage"
    }
    clients = Clients({"m": card(server.url)})
    (sample,) = await clients.client("m").draw(ask(clients, "12345"), 0, 1)
    assert (sample.prefill_tokens, sample.decode_tokens, sample.counted_by) == (2, 3, "chars/4")
    await clients.aclose()


async def test_logprobs_come_back_when_asked_for(opened: Open) -> None:
    async with opened() as clients:
        (sample,) = await clients.client("m").draw(ask(clients, logprobs=True), 0, 1)
        (without,) = await clients.client("m").draw(ask(clients), 0, 1)
    assert sample.logprobs == (-0.5, -1.5)
    assert without.logprobs is None


async def test_the_likeliest_tokens_come_back_when_asked_for() -> None:
    tops = [{"token": "Yes", "logprob": -0.2}, {"token": "No", "logprob": -1.7}]

    def with_tops(body: dict[str, Any]) -> Any:
        reply = completion(body)
        if body.get("top_logprobs"):
            content = [{"token": "Yes", "logprob": -0.2, "top_logprobs": tops}]
            reply["choices"][0]["logprobs"] = {"content": content}
        return reply

    with local_server(always=with_tops) as server:
        clients = Clients({"m": card(server.url)})
        (sample,) = await clients.client("m").draw(ask(clients, top_logprobs=2), 0, 1)
        (without,) = await clients.client("m").draw(ask(clients, logprobs=True), 0, 1)
        await clients.aclose()
    assert [(body.get("logprobs"), body.get("top_logprobs")) for body in server.bodies] == [
        (True, 2),
        (True, None),
    ]
    assert sample.details["top_logprobs"] == [["Yes", [["Yes", -0.2], ["No", -1.7]]]]
    assert sample.logprobs == (-0.2,)
    assert "top_logprobs" not in without.details


@pytest.mark.parametrize(
    "block", [None, [], {"content": None}, {"content": [{"token": "x", "logprob": -1.0}]}, {"content": [3]}]
)
async def test_likeliest_tokens_that_are_not_given_are_not_there(block: Any) -> None:
    def odd(body: dict[str, Any]) -> Any:
        reply = completion(body)
        reply["choices"][0]["logprobs"] = block
        return reply

    with local_server(always=odd) as server:
        clients = Clients({"m": card(server.url)})
        (sample,) = await clients.client("m").draw(ask(clients, top_logprobs=2), 0, 1)
        await clients.aclose()
    assert "top_logprobs" not in sample.details


async def test_a_missing_key_is_named_before_any_call(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)
    cards = {
        "openai": card(name="openai"),
        "litellm": card(name="litellm", source="litellm", model_id="anthropic/claude-sonnet-4-5"),
        "named": card("https://llm.example.com/v1", name="named", api_key_env="MY_KEY"),
    }
    clients = Clients(cards)
    for name, variable in {
        "openai": "OPENAI_API_KEY",
        "litellm": "ANTHROPIC_API_KEY",
        "named": "MY_KEY",
    }.items():
        with pytest.raises(AuthenticationError, match=variable):
            clients.client(name)


async def test_a_key_reaches_the_server_and_no_message(
    opened: Open, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "hemlig-value-1234567"
    monkeypatch.setenv("MY_KEY", key)
    server.always = lambda body: error(401, f"Incorrect API key provided: {key}")
    async with opened(api_key_env="MY_KEY") as clients:
        with pytest.raises(AuthenticationError) as caught:
            await clients.client("m").draw(ask(clients), 0, 1)
    assert server.keys == [f"Bearer {key}"]
    seen: BaseException | None = caught.value
    while seen is not None:
        assert key not in f"{seen} {seen!r}"
        seen = seen.__cause__


async def test_a_missing_key_and_a_refused_one_are_told_apart_by_the_name_of_the_variable(
    opened: Open, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always = lambda body: error(401, "the API key is wrong or missing")
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(AuthenticationError, match="no key was sent: set MY_KEY, or api_key_env on the card"):
        async with opened(api_key_env="MY_KEY") as clients:
            await clients.client("m").draw(ask(clients), 0, 1)
    monkeypatch.setenv("MY_KEY", "hemlig-value-1234567")
    with pytest.raises(AuthenticationError, match="the key of MY_KEY was refused"):
        async with opened(api_key_env="MY_KEY") as clients:
            await clients.client("m").draw(ask(clients), 0, 1)


@pytest.mark.parametrize("body", [{"detail": "Not Found"}, b"Not Found", b"<html>no model here</html>"])
async def test_an_address_without_chat_completions_stops_the_run_with_a_hint(
    opened: Open, server: LocalServer, body: Any
) -> None:
    server.always = lambda _: Answer(404, body)
    address = server.url.removesuffix("/v1")
    async with opened(base_url=address) as clients:
        with pytest.raises(NotServedError) as caught:
            await clients.client("m").draw(ask(clients), 0, 1)
    assert caught.value.stops_run
    hint = f"no chat completions at {address}/chat/completions; does base_url lack /v1?"
    assert hint in str(caught.value)


async def test_a_model_that_the_endpoint_does_not_know_stops_the_run_and_is_named(
    opened: Open, server: LocalServer
) -> None:
    server.always = lambda _: error(404, "The model `served` does not exist.", code="model_not_found")
    async with opened() as clients:
        with pytest.raises(NotServedError, match=r"has no model '(openai/)?served': mend model_id") as caught:
            await clients.client("m").draw(ask(clients), 0, 1)
    assert caught.value.stops_run


async def test_extra_fields_are_sent_as_they_are(opened: Open, server: LocalServer) -> None:
    extra = (("presence_penalty", "0.5"), ("temperature", "null"))
    async with opened() as clients:
        await clients.client("m").draw(ask(clients, extra=extra), 0, 1)
        with pytest.raises(InputError, match="seed"):
            await clients.client("m").draw(ask(clients, extra=(("seed", "1"),)), 0, 1)
    assert server.bodies[0]["presence_penalty"] == 0.5
    assert "temperature" not in server.bodies[0]


async def test_a_seed_is_only_sent_where_it_is_known(server: LocalServer) -> None:
    clients = Clients({"m": card(server.url, supports_seed=False)})
    await clients.client("m").draw(ask(clients), 0, 2)
    assert all("seed" not in body for body in server.bodies)
    await clients.aclose()


def test_the_identity_of_an_endpoint_holds_no_secret_and_its_model() -> None:
    with_password = card("http://me:word@host:1/v1/?key=1", model_id="other")
    assert endpoint_of(with_password) == "http://host:1/v1#other"
    assert endpoint_of(card("http://host:1/v1/")) == "http://host:1/v1"
    xs, s = (endpoint_of(card(source="tiny", name=name)) for name in ("tiny/xs", "tiny/s"))
    assert re.fullmatch("tiny:[0-9a-f]{12}", xs)
    assert xs != s


def test_an_unknown_model_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(CardError, match="tiny/xs"):
        Clients({"tiny/xs": card(source="tiny", name="tiny/xs")}).client("tiny/xxs")
