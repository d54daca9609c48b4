from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard, RewardBlock
from agenttts.errors import (
    AuthenticationError,
    EndpointDownError,
    NotServedError,
    ProviderUnavailableError,
    RateLimitedError,
    RequestRefusedError,
)
from agenttts.models.base import CallUsage, Message, ModelClient, Request, SamplingParameters
from agenttts.models.chat import MalformedReply
from agenttts.models.clients import Clients, endpoint_of
from agenttts.models.retry import ClientEvent
from agenttts.models.reward_api import NoScoresError, read_scores
from agenttts.testing.clients import ModelClientContract, RecordingMeter
from tests.models.local_server import Answer, LocalServer, closed_port_url, error
from tests.models.reward_server import ROUTES, n_words, reward_server, rows_reply

PRM = {"api": "pooling", "scores": "steps", "tag": "<extra_0>"}
ORM = {"api": "classify", "activation": "sigmoid", "extra": {"use_activation": False}}
THREE_STEPS = "18 is right\n\n18 / 3 = 5\n\nso 12, right"

Open = Callable[..., AbstractAsyncContextManager[Clients]]


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with reward_server() as running:
        yield running


def card(url: str | None, reward: dict[str, Any], **more: Any) -> ModelCard:
    fields: dict[str, Any] = {"name": "m", "source": "reward", "base_url": url, "reward": reward}
    return ModelCard(**fields | more)


@pytest.fixture
def opened(server: LocalServer) -> Open:
    """Opens clients with one reward card `m` at the server."""

    @asynccontextmanager
    async def make(reward: dict[str, Any], on_event: Any = None, **more: Any) -> AsyncIterator[Clients]:
        clients = Clients({"m": card(server.url, reward, **more)}, on_event=on_event)
        try:
            yield clients
        finally:
            await clients.aclose()

    return make


def ask(clients: Clients, text: str, prompt: str = "How many?", **sampling: Any) -> Request:
    messages = [Message("user", prompt), Message("assistant", text)]
    return clients.request("m", messages, SamplingParameters(**sampling))


async def score(clients: Clients, text: str, prompt: str = "How many?", **sampling: Any) -> Any:
    """Return the list of scores, or why there is none."""
    (sample,) = await clients.client("m").draw(ask(clients, text, prompt, **sampling), 0, 1)
    return json.loads(sample.text) if sample.text else sample.details["unscored"]


class _Contract(ModelClientContract):
    @pytest.fixture
    async def clients(self, server: LocalServer, reward: dict[str, Any]) -> AsyncIterator[Clients]:
        clients = Clients({"m": card(server.url, reward)})
        yield clients
        await clients.aclose()

    @pytest.fixture
    async def client(self, clients: Clients) -> ModelClient:
        return clients.client("m")

    @pytest.fixture
    def request_for(self, clients: Clients) -> Callable[[int], Request]:
        return lambda number: ask(clients, f"step {number}\n\nright", f"prompt {number}")


class TestProcessRewardModel(_Contract):
    @pytest.fixture
    def reward(self) -> dict[str, Any]:
        return PRM


class TestOutcomeRewardModel(_Contract):
    @pytest.fixture
    def reward(self) -> dict[str, Any]:
        return ORM


class TestCrossEncoder(_Contract):
    @pytest.fixture
    def reward(self) -> dict[str, Any]:
        return {"api": "score"}


# --- what is asked, and what the answer means


async def test_a_process_reward_model_scores_each_step_at_its_tag(opened: Open, server: LocalServer) -> None:
    async with opened(PRM | {"system": "Step by step."}, model_id="Qwen/Qwen2.5-Math-PRM-7B") as clients:
        assert await score(clients, THREE_STEPS) == [0.9, 0.2, 0.9]
    assert server.paths == ["/pooling"]
    assert server.bodies == [
        {
            "model": "Qwen/Qwen2.5-Math-PRM-7B",
            "messages": [
                {"role": "system", "content": "Step by step."},
                {"role": "user", "content": "How many?"},
                {
                    "role": "assistant",
                    "content": "18 is right<extra_0>18 / 3 = 5<extra_0>so 12, right<extra_0>",
                },
            ],
        }
    ]


async def test_an_outcome_reward_model_gives_one_score_made_of_its_logit(
    opened: Open, server: LocalServer
) -> None:
    async with opened(ORM) as clients:
        assert await score(clients, "12 is right") == [pytest.approx(0.8807970779778823)]
        assert await score(clients, "13") == [pytest.approx(0.2689414213699951)]
    assert server.paths == ["/classify", "/classify"]
    assert server.bodies[0] == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "How many?"},
            {"role": "assistant", "content": "12 is right"},
        ],
        "use_activation": False,
    }


async def test_a_cross_encoder_scores_prompt_and_answer_as_a_pair(opened: Open, server: LocalServer) -> None:
    async with opened({"api": "score"}) as clients:
        assert await score(clients, "12 is right") == [0.75]
    assert server.paths == ["/score"]
    assert server.bodies == [{"model": "m", "text_1": "How many?", "text_2": "12 is right"}]


async def test_any_json_endpoint_is_described_by_a_template_and_paths(
    opened: Open, server: LocalServer
) -> None:
    reward = {
        "api": "json",
        "scores": "steps",
        "path": "/v2/judge",
        "request": '{"with": {{ model }}, "q": {{ prompt }}, "steps": {{ steps }}, "all": {{ text | tojson }}}',
        "scores_at": "result.steps.*.good",
        "tokens_at": "result.read",
    }
    hostile = 'say "}, {" \\ {{ model }}\n\nright'
    assert server.routes is not None
    server.routes["/v2/judge"] = lambda body: {
        "result": {"read": 31, "steps": [{"good": 0.9 if "right" in step else 0.5} for step in body["steps"]]}
    }
    async with opened(reward) as clients:
        (sample,) = await clients.client("m").draw(ask(clients, hostile, "How <many>?"), 0, 1)
    assert json.loads(sample.text) == [0.5, 0.9]
    assert (sample.prefill_tokens, sample.counted_by) == (31, "server")
    assert server.bodies == [
        {
            "with": "m",
            "q": "How <many>?",
            "steps": ['say "}, {" \\ {{ model }}', "right"],
            "all": hostile,
        }
    ]


def block(**fields: Any) -> RewardBlock:
    return RewardBlock.model_validate({"api": "pooling"} | fields)


def pooled(rows: object) -> Any:
    return {"data": [{"index": 0, "object": "pooling", "data": rows}]}


@pytest.mark.parametrize(
    ("fields", "rows", "n_steps", "scores"),
    [
        (PRM, [[0.25, 0.75], [1.0, 0.0]], 2, [0.75, 0.0]),
        (PRM | {"good_column": 0}, [[0.25, 0.75], [1.0, 0.0]], 2, [0.25, 1.0]),
        (PRM | {"activation": "softmax"}, [[1.0, 3.0]], 1, [1 / (1 + math.exp(-2))]),
        (PRM | {"activation": "softmax"}, [[-1e4, 1e4]], 1, [1.0]),
        (PRM | {"activation": "sigmoid"}, [[-800.0], [800.0], [0.0]], 3, [0.0, 1.0, 0.5]),
        (PRM | {"judges_whole": True}, [[0.9], [0.8], [0.1]], 2, [0.9, 0.8, 0.1]),
        ({}, [0.3, 0.7], 0, [0.7]),
        ({}, [[0.2], [0.3], [0.4]], 0, [0.4]),
        ({}, [[1]], 0, [1.0]),
        ({}, [1.0000002384185791], 0, [1.0]),
    ],
)
def test_rows_become_scores(fields: dict[str, Any], rows: object, n_steps: int, scores: list[float]) -> None:
    assert read_scores(block(**fields), pooled(rows), n_steps) == pytest.approx(scores, abs=1e-12)


@pytest.mark.parametrize(
    ("fields", "rows", "cause"),
    [
        (PRM, [[0.1, 0.9]], "1 scores for 2 steps, expected 2"),
        (PRM, [[0.1, 0.9]] * 40, "40 scores for 2 steps, expected 2: does the server give one per token"),
        (PRM, [], "0 scores for 2 steps"),
        (PRM, [0.1, 0.9], "one row for the whole answer"),
        (PRM | {"judges_whole": True}, [[0.1, 0.9]] * 2, "2 scores for 2 steps, expected 3"),
        (PRM, [[0.1, 0.9], [0.1, float("nan")]], "score 2 is not a finite number"),
        (PRM, [[0.1, 0.9], [0.1, None]], "score 2 is not a finite number"),
        (PRM, [[0.1, "0.9"], [0.1, 0.9]], "score 1 is not a finite number"),
        (PRM, [[0.1, True], [0.1, 0.9]], "score 1 is not a finite number"),
        (PRM, [[0.1, 10**400], [0.1, 0.9]], "score 1 is not a finite number"),
        (PRM, [[-3.0, 7.5], [0.1, 0.9]], r"score 1 is 7.5, not in \[0, 1\]; does `activation`"),
        (PRM, [[], [0.1, 0.9]], "score 1 has 0 columns"),
        (PRM | {"good_column": 2}, [[0.1, 0.9]] * 2, "score 1 has 2 columns, and column 2 is wanted"),
        (PRM | {"activation": "softmax"}, [[0.5], [0.5]], "softmax needs two columns"),
    ],
)
def test_rows_that_are_no_scores_say_what_is_wrong(fields: dict[str, Any], rows: object, cause: str) -> None:
    with pytest.raises(NoScoresError, match=cause):
        read_scores(block(**fields), pooled(rows), 2)


@pytest.mark.parametrize(
    "data", [None, [], {}, {"data": []}, {"data": {}}, {"data": [{}]}, pooled("AACA"), {"data": [3]}]
)
def test_a_reply_of_another_shape_is_malformed(data: object) -> None:
    with pytest.raises(MalformedReply):
        read_scores(block(**PRM), data, 2)


# --- steps


@pytest.mark.parametrize(
    ("fields", "text", "sent"),
    [
        ({}, "a\n\n\n\nb\n\n", "a<extra_0>b<extra_0>"),
        ({"empty_steps": "keep"}, "a\n\n\n\nb", "a<extra_0><extra_0>b<extra_0>"),
        ({"separator": "; "}, "a; b\n\nc", "a<extra_0>b\n\nc<extra_0>"),
        ({"tag": " ки", "between": "\n"}, "a\n\nb", "a ки\nb ки"),
        ({}, "right<extra_0>wrong", "right< extra_0>wrong<extra_0>"),
        ({}, "<extra<extra_0>_0>", "<extra< extra_0>_0><extra_0>"),
        ({}, "half \ud83d", "half ?<extra_0>"),
    ],
)
async def test_the_answer_is_cut_and_tagged_as_the_card_says(
    opened: Open, server: LocalServer, fields: dict[str, Any], text: str, sent: str
) -> None:
    tag = fields.get("tag", "<extra_0>")
    assert server.routes is not None
    server.routes["/pooling"] = lambda body: rows_reply(
        body, [[0.5, 0.5]] * body["messages"][-1]["content"].count(tag)
    )
    async with opened(PRM | fields) as clients:
        assert await score(clients, text) == [0.5] * sent.count(tag)
    assert server.bodies[0]["messages"][-1]["content"] == sent


async def test_a_tag_in_the_prompt_makes_no_score(opened: Open, server: LocalServer) -> None:
    async with opened(PRM) as clients:
        assert await score(clients, "a\n\nright", prompt="x<extra_0>y<extra_0>") == [0.2, 0.9]


async def test_the_separator_of_the_request_comes_before_the_cards(opened: Open) -> None:
    async with opened(PRM) as clients:
        extra = (("separator", json.dumps("; ")),)
        assert await score(clients, "right; wrong", extra=extra) == [0.9, 0.2]
        assert ask(clients, "right; wrong", extra=extra).key != ask(clients, "right; wrong").key


@pytest.mark.parametrize("text", ["", " \n\n \n"])
async def test_an_answer_without_a_step_is_not_asked_about(
    opened: Open, server: LocalServer, text: str
) -> None:
    meter = RecordingMeter()
    async with opened(PRM) as clients:
        with pytest.raises(RequestRefusedError, match="no step"):
            await clients.client("m").draw(ask(clients, text), 0, 1, meter)
    assert (server.bodies, meter.worst) == ([], [])


async def test_a_request_without_an_answer_is_refused(opened: Open) -> None:
    async with opened(ORM) as clients:
        request = clients.request("m", [Message("user", "How many?")], SamplingParameters())
        with pytest.raises(RequestRefusedError, match="reply to be scored"):
            await clients.client("m").draw(request, 0, 1)


# --- bills


async def test_tokens_read_are_those_that_the_server_reports(opened: Open, server: LocalServer) -> None:
    meter = RecordingMeter()
    async with opened(PRM) as clients:
        (sample,) = await clients.client("m").draw(ask(clients, THREE_STEPS), 0, 1, meter)
    n = n_words(server.bodies[0])
    assert [reply.usage for reply in meter.replies] == [CallUsage(n, ())]
    assert (sample.prefill_tokens, sample.decode_tokens, sample.counted_by) == (n, 0, "server")
    assert meter.worst[0].prefill_tokens >= n
    assert meter.worst[0].decode_tokens == ()


async def test_without_a_report_the_cards_counter_counts_and_says_so(opened: Open) -> None:
    meter = RecordingMeter()
    async with opened({"api": "score"}) as clients:
        await clients.client("m").draw(ask(clients, "12 is right"), 0, 1, meter)
    n = math.ceil(len("How many?\n12 is right") / 4)
    assert [reply.usage for reply in meter.replies] == [CallUsage(n, (), 0, "chars/4")]


async def test_one_call_serves_all_draws(opened: Open, server: LocalServer) -> None:
    meter = RecordingMeter()
    async with opened(ORM) as clients:
        samples = await clients.client("m").draw(ask(clients, "right"), 3, 50, meter)
    assert [sample.index for sample in samples] == list(range(3, 53))
    assert len({sample.text for sample in samples}) == 1
    assert (len(server.bodies), len(meter.replies)) == (1, 1)


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([[0.1, 0.9]], "1 scores for 3 steps"),
        ([[0.1, 0.9], [0.1, float("nan")], [0.1, 0.9]], "not a finite number"),
        ([[0.1, 0.9], [0.1, 9.0], [0.1, 0.9]], "not in [0, 1]"),
    ],
)
async def test_scores_that_cannot_be_used_are_a_billed_sample_with_their_cause(
    opened: Open, server: LocalServer, rows: object, cause: str
) -> None:
    assert server.routes is not None
    server.routes["/pooling"] = lambda body: rows_reply(body, rows)
    meter = RecordingMeter()
    async with opened(PRM) as clients:
        (sample,) = await clients.client("m").draw(ask(clients, THREE_STEPS), 0, 1, meter)
    assert sample.text == ""
    assert cause in sample.details["unscored"]
    assert sample.finish_reason == "unscored"
    assert meter.prefill_tokens == sample.prefill_tokens == n_words(server.bodies[0])
    assert len(server.bodies) == 1


# --- failures


@pytest.mark.parametrize(
    ("nonsense", "counted_by"),
    [
        (b"<html>busy</html>", "chars/4"),
        ({"data": []}, "chars/4"),
        ({"usage": {"prompt_tokens": 12}}, "server"),
    ],
)
async def test_nonsense_is_asked_again_billed_each_time_and_in_the_end_a_failure(
    opened: Open, server: LocalServer, nonsense: Any, counted_by: str
) -> None:
    assert server.routes is not None
    server.routes["/classify"] = lambda body: Answer(body=nonsense)
    meter = RecordingMeter()
    async with opened(ORM, max_attempts=2) as clients:
        with pytest.raises(ProviderUnavailableError, match=r"nothing that can be used \(2 attempts\)"):
            await clients.client("m").draw(ask(clients, "right"), 0, 1, meter)
    assert len(server.bodies) == 2
    assert [(reply.samples, reply.usage.counted_by) for reply in meter.replies] == [((), counted_by)] * 2


async def test_a_server_error_is_tried_again(opened: Open, server: LocalServer) -> None:
    server.then.append(error(500, "out of memory"))
    events: list[ClientEvent] = []
    async with opened(PRM, on_event=events.append) as clients:
        assert await score(clients, THREE_STEPS) == [0.9, 0.2, 0.9]
    assert len(server.bodies) == 2
    assert [(event.kind, event.cause) for event in events] == [("retry", "unavailable")]


async def test_a_busy_server_is_given_the_time_it_asks_for(opened: Open, server: LocalServer) -> None:
    server.then.append(error(429, "slow down", {"Retry-After": "0.4"}))
    async with opened(PRM) as clients:
        assert await score(clients, THREE_STEPS) == [0.9, 0.2, 0.9]
    assert server.times[1] - server.times[0] >= 0.4


async def test_a_server_that_stays_busy_is_a_failure_of_its_own(opened: Open, server: LocalServer) -> None:
    server.then.extend(error(429, "slow down", {"Retry-After": "0"}) for _ in range(3))
    async with opened(PRM, max_attempts=3) as clients:
        with pytest.raises(RateLimitedError, match="3 attempts"):
            await score(clients, THREE_STEPS)
    assert len(server.bodies) == 3


async def test_a_slow_server_meets_the_deadline_of_the_card(opened: Open, server: LocalServer) -> None:
    server.then.append(Answer(after_s=1.5))
    meter = RecordingMeter()
    async with opened(PRM, timeout_s=0.2, max_attempts=1) as clients:
        started = asyncio.get_running_loop().time()
        with pytest.raises(ProviderUnavailableError, match=r"no reply within 0.2 s \(timeout_s of card m\)"):
            await clients.client("m").draw(ask(clients, THREE_STEPS), 0, 1, meter)
        assert asyncio.get_running_loop().time() - started < 1.2
    assert meter.settled == [None]


async def test_a_server_that_is_gone_stops_the_run() -> None:
    clients = Clients({"m": card(closed_port_url().removesuffix("/v1"), PRM, max_attempts=1)})
    with pytest.raises(EndpointDownError, match="is down: no connection") as caught:
        await score(clients, THREE_STEPS)
    assert caught.value.stops_run
    await clients.aclose()


async def test_a_wrong_address_is_named(opened: Open, server: LocalServer) -> None:
    async with opened(PRM | {"path": "/v1/pooling"}) as clients:
        with pytest.raises(NotServedError, match=f"nothing is served at {server.url}/v1/pooling") as caught:
            await score(clients, THREE_STEPS)
    assert caught.value.stops_run
    assert "chat completions" not in str(caught.value)


async def test_a_model_that_is_not_served_is_named(opened: Open, server: LocalServer) -> None:
    server.then.append(error(404, "The model `m` does not exist."))
    async with opened(PRM) as clients:
        with pytest.raises(NotServedError, match="has no model 'm'"):
            await score(clients, THREE_STEPS)


async def test_an_answer_that_is_too_long_is_refused_at_once(opened: Open, server: LocalServer) -> None:
    server.then.append(error(400, "This model's maximum context length is 4096 tokens"))
    async with opened(PRM) as clients:
        with pytest.raises(RequestRefusedError, match="4096"):
            await score(clients, THREE_STEPS)
    assert len(server.bodies) == 1


# --- keys


async def test_the_key_of_another_provider_is_not_sent(
    opened: Open, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-somebody-else")
    async with opened(ORM) as clients:
        await score(clients, "right")
    assert "somebody" not in server.keys[0]


async def test_the_key_that_the_card_names_is_sent_and_never_shown(
    opened: Open, server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_KEY", "very-secret-4711")
    server.then.append(error(401, "no entry for very-secret-4711"))
    async with opened(ORM, api_key_env="REWARD_KEY") as clients:
        with pytest.raises(AuthenticationError, match="the key of REWARD_KEY was refused") as caught:
            await score(clients, "right")
    assert server.keys == ["Bearer very-secret-4711"]
    chain = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "4711" not in chain


async def test_a_public_address_needs_the_key_that_the_card_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWARD_KEY", raising=False)
    clients = Clients({"m": card("https://rewards.example.com", ORM, api_key_env="REWARD_KEY")})
    with pytest.raises(AuthenticationError, match="REWARD_KEY is not set"):
        clients.client("m")


# --- identity and limits


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "sigmoid"},
        {"good_column": 0},
        {"judges_whole": True},
        {"separator": "\n"},
        {"tag": "<step>"},
        {"between": "\n"},
        {"empty_steps": "keep"},
        {"system": "Be strict."},
        {"extra": {"use_activation": False}},
        {"path": "/v1/pooling"},
    ],
)
def test_what_changes_scores_starts_new_streams(change: dict[str, Any]) -> None:
    before, after = card(None, PRM), card(None, PRM | change)
    assert endpoint_of(before) != endpoint_of(after)


def test_what_changes_no_score_keeps_the_streams() -> None:
    before = card("http://h:1", PRM)
    after = card("http://h:1", PRM, timeout_s=3, max_concurrency=2, parameters=7e9, api_key_env="X")
    assert endpoint_of(before) == endpoint_of(after)
    assert endpoint_of(before).startswith("reward:http://h:1/pooling:")
    assert endpoint_of(card(None, PRM)).startswith("reward:http://127.0.0.1:8000/pooling:")


async def test_cards_of_one_server_share_its_limit(server: LocalServer) -> None:
    cards = {
        name: card(server.url, reward, name=name, max_concurrency=most)
        for name, reward, most in (("prm", PRM, 2), ("orm", ORM, 8))
    }
    server.routes = {
        path: lambda body, reply=reply: Answer(body=reply(body), after_s=0.05)
        for path, reply in ROUTES.items()
    }
    clients = Clients(cards)
    messages = [Message("user", "p"), Message("assistant", "right")]
    calls = (
        clients.client(name).draw(clients.request(name, messages, SamplingParameters(seed=i)), 0, 1)
        for name in cards
        for i in range(6)
    )
    await asyncio.gather(*calls)
    await clients.aclose()
    assert server.most_at_once == 2
