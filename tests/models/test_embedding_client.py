from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.errors import (
    AuthenticationError,
    EndpointDownError,
    NotServedError,
    ProviderUnavailableError,
    RateLimitedError,
    RequestRefusedError,
)
from agenttts.models.base import CallUsage, Message, ModelClient, Request, Sample, SamplingParameters
from agenttts.models.clients import Clients, endpoint_of
from agenttts.models.embedding_client import shortened
from agenttts.models.vectors import unpacked
from agenttts.testing.clients import ModelClientContract, RecordingMeter
from tests.models.embedding_server import PATH, embedding_server, embeddings, n_tokens, reply, vector
from tests.models.local_server import Answer, Body, LocalServer, closed_port_url, error

Open = Callable[..., AbstractAsyncContextManager[Clients]]


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with embedding_server() as running:
        yield running


def card(url: str | None, **more: Any) -> ModelCard:
    fields: dict[str, Any] = {"name": "m", "source": "embedding", "base_url": url}
    return ModelCard(**fields | more)


@pytest.fixture
def opened(server: LocalServer) -> Open:
    """Opens clients with one embedding card `m` at the server."""

    @asynccontextmanager
    async def make(embedding: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[Clients]:
        clients = Clients({"m": card(server.url, embedding=embedding, **more)})
        try:
            yield clients
        finally:
            await clients.aclose()

    return make


def ask(clients: Clients, text: str) -> Request:
    return clients.request("m", [Message("user", text)], SamplingParameters(temperature=0.0, max_tokens=1))


async def embed(clients: Clients, text: str, meter: RecordingMeter | None = None) -> Sample:
    (sample,) = await clients.client("m").draw(ask(clients, text), 0, 1, meter)
    return sample


async def embed_all(clients: Clients, *texts: str) -> list[Any]:
    """Return the vector of each text, or the error."""
    found = await asyncio.gather(*(embed(clients, text) for text in texts), return_exceptions=True)
    return [list(unpacked(one.text)) if isinstance(one, Sample) else one for one in found]


class _Contract(ModelClientContract):
    @pytest.fixture
    async def clients(self, server: LocalServer, batch: int) -> AsyncIterator[Clients]:
        clients = Clients({"m": card(server.url, embedding={"batch": batch})})
        yield clients
        await clients.aclose()

    @pytest.fixture
    async def client(self, clients: Clients) -> ModelClient:
        return clients.client("m")

    @pytest.fixture
    def request_for(self, clients: Clients) -> Callable[[int], Request]:
        return lambda number: ask(clients, "red " * (number + 1) + "green")


class TestOneByOne(_Contract):
    @pytest.fixture
    def batch(self) -> int:
        return 1


class TestInBatches(_Contract):
    @pytest.fixture
    def batch(self) -> int:
        return 4


# --- what is asked, and what the answer means


async def test_a_text_becomes_its_vector(opened: Open, server: LocalServer) -> None:
    async with opened(model_id="BAAI/bge") as clients:
        assert await embed_all(clients, "red red blue") == [[2.0, 0.0, 1.0]]
    assert server.paths == [PATH]
    assert server.bodies == [{"model": "BAAI/bge", "input": ["red red blue"], "encoding_format": "float"}]


async def test_the_card_says_how_long_vectors_are_and_what_else_is_sent(
    opened: Open, server: LocalServer
) -> None:
    async with opened({"dimensions": 2, "extra": {"truncate_prompt_tokens": 8}}) as clients:
        assert await embed_all(clients, "red green blue") == [[1.0, 1.0]]
    assert (server.bodies[0]["dimensions"], server.bodies[0]["truncate_prompt_tokens"]) == (2, 8)


async def test_half_characters_are_replaced(opened: Open, server: LocalServer) -> None:
    async with opened() as clients:
        await embed(clients, "red \ud83d")
    assert server.bodies[0]["input"] == ["red ?"]


async def test_one_call_serves_all_draws(opened: Open, server: LocalServer) -> None:
    async with opened() as clients:
        samples = await clients.client("m").draw(ask(clients, "red"), 3, 50)
    assert [sample.index for sample in samples] == list(range(3, 53))
    assert len({sample.text for sample in samples}) == len(server.bodies) == 1


@pytest.mark.parametrize(
    ("embedding", "cause"),
    [
        ([], "the vector is empty"),
        ([1.0, float("nan")], "not finite"),
        ([1.0, 1e300], "not finite"),
        ("AACAPw==", "no list of numbers"),
        ([None], "no list of numbers"),
    ],
)
async def test_a_vector_that_cannot_be_used_is_a_billed_sample_with_its_cause(
    opened: Open, server: LocalServer, embedding: Any, cause: str
) -> None:
    assert server.routes is not None
    server.routes[PATH] = lambda body: reply(body, [embedding])
    meter = RecordingMeter()
    async with opened() as clients:
        sample = await embed(clients, "red green", meter)
    assert (sample.text, sample.finish_reason) == ("", "unscored")
    assert cause in sample.details["unscored"]
    assert meter.prefill_tokens == sample.prefill_tokens == 2
    assert len(server.bodies) == 1


# --- texts that are too long


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [("abcdefgh", 2, "abcdefgh"), ("abcdefghi", 2, "abcdef"), ("é" * 9, 2, "é" * 6), ("a" * 3, 1, "a" * 3)],
)
def test_a_text_is_cut_to_what_the_model_reads(text: str, most: int, kept: str) -> None:
    assert shortened(text, most, lambda part: -(-len(part) // 4)) == kept


async def test_a_cut_text_is_told(opened: Open, server: LocalServer) -> None:
    async with opened({"max_input_tokens": 4}) as clients:
        sample = await embed(clients, "red red red red green")
        short = await embed(clients, "red")
    assert server.bodies[0]["input"] == [
        "red red red re"
    ]  # 6 tokens by chars/4: four sixths of 21 characters
    assert sample.details == {"cut": "only the first 14 of 21 characters were read"}
    assert short.details == {}


async def test_a_text_that_the_server_may_have_cut_is_told(opened: Open) -> None:
    async with opened({"max_input_tokens": 9}) as clients:
        full, short = await embed(clients, "a b c d e f g h i"), await embed(clients, "a b c d e f g h")
    assert full.details == {"cut": "it fills the 9 tokens that the model reads; more was not read"}
    assert short.details == {}


async def test_a_text_that_the_server_refuses_is_a_refusal(opened: Open, server: LocalServer) -> None:
    meter = RecordingMeter()
    async with opened() as clients:
        with pytest.raises(RequestRefusedError, match="maximum context length is 100 tokens"):
            await embed(clients, "red " * 101, meter)
    assert meter.settled == [None]
    assert len(server.bodies) == 1


# --- batches


async def test_texts_asked_for_together_travel_together(opened: Open, server: LocalServer) -> None:
    texts = ["red", "green green", "blue red", "blue blue blue", "green"]
    async with opened({"batch": 4}) as clients:
        assert await embed_all(clients, *texts) == [vector(text) for text in texts]
    assert sorted(len(body["input"]) for body in server.bodies) == [1, 4]


async def test_rows_are_told_apart_by_their_index(opened: Open, server: LocalServer) -> None:
    def backwards(body: Body) -> Body:
        made = embeddings(body)
        assert isinstance(made, dict)
        return made | {"data": made["data"][::-1]}

    assert server.routes is not None
    server.routes[PATH] = backwards
    async with opened({"batch": 8}) as clients:
        assert await embed_all(clients, "red", "green", "blue") == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert len(server.bodies) == 1


async def test_the_tokens_of_a_batch_are_split_and_add_up(opened: Open, server: LocalServer) -> None:
    texts = ["red green", "blue", "red red red red red red"]
    meters = [RecordingMeter() for _ in texts]
    async with opened({"batch": 8}) as clients:
        samples = await asyncio.gather(
            *(embed(clients, text, meter) for text, meter in zip(texts, meters, strict=True))
        )
    assert len(server.bodies) == 1
    assert sum(meter.prefill_tokens for meter in meters) == n_tokens(server.bodies[0]) == 9
    # chars/4 counts 3, 1 and 6 where there are 9: 2.7, 0.9 and 5.4, largest remainders first
    assert [sample.prefill_tokens for sample in samples] == [3, 1, 5]
    assert {sample.counted_by for sample in samples} == {"server, split by chars/4"}


async def test_a_split_that_adds_up_by_itself_is_exact(opened: Open) -> None:
    async with opened(
        {"batch": 8}
    ) as clients:  # 12 and 8 characters: 3 and 2 tokens by chars/4, 5 by the server
        samples = await asyncio.gather(embed(clients, "red red blue"), embed(clients, "red blue"))
    assert [(sample.prefill_tokens, sample.counted_by) for sample in samples] == [
        (3, "server"),
        (2, "server"),
    ]


async def test_one_text_that_is_refused_takes_no_other_with_it(opened: Open, server: LocalServer) -> None:
    async with opened({"batch": 8}) as clients:
        red, refused, blue = await embed_all(clients, "red", "red " * 101, "blue")
    assert (red, blue) == ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    assert isinstance(refused, RequestRefusedError)
    assert [len(body["input"]) for body in server.bodies] == [3, 1, 1, 1]


async def test_a_batch_that_fails_is_tried_again(opened: Open, server: LocalServer) -> None:
    server.then.append(error(500, "busy", {"Retry-After": "0"}))
    async with opened({"batch": 8}, max_attempts=2) as clients:
        assert await embed_all(clients, "red", "blue") == [[1, 0, 0], [0, 0, 1]]


async def test_a_batch_with_too_few_vectors_is_billed_and_in_the_end_a_failure(
    opened: Open, server: LocalServer
) -> None:
    assert server.routes is not None
    server.routes[PATH] = lambda body: reply(body, [[1.0, 0.0]])
    meters = [RecordingMeter(), RecordingMeter()]
    async with opened({"batch": 8}, max_attempts=1) as clients:
        found = await asyncio.gather(
            embed(clients, "red", meters[0]), embed(clients, "blue", meters[1]), return_exceptions=True
        )
    assert [type(one) for one in found] == [ProviderUnavailableError] * 2
    assert [meter.prefill_tokens for meter in meters] == [1, 1]


async def test_who_gives_up_waiting_holds_up_no_other(opened: Open, server: LocalServer) -> None:
    server.then.append(Answer(after_s=0.3))
    server.then[0].body = reply({"model": "m", "input": ["red", "blue"]}, [[1.0, 0.0], [0.0, 1.0]])
    async with opened({"batch": 2}) as clients:
        first, second = (asyncio.create_task(embed(clients, text)) for text in ("red", "blue"))
        await asyncio.sleep(0.1)
        first.cancel()
        assert list(unpacked((await second).text)) == [0.0, 1.0]
    assert first.cancelled()
    assert len(server.bodies) == 1


async def test_nothing_goes_on_when_nobody_waits_any_more(opened: Open, server: LocalServer) -> None:
    server.then.append(Answer(after_s=5.0, body={}))
    async with opened({"batch": 2}) as clients:
        both = [asyncio.create_task(embed(clients, text)) for text in ("red", "blue")]
        await asyncio.sleep(0.1)
        for one in both:
            one.cancel()
        await asyncio.wait(both)
        async with asyncio.timeout(2):
            await clients.aclose()


async def test_closing_lets_nobody_wait_for_ever(opened: Open, server: LocalServer) -> None:
    server.then.append(Answer(after_s=5.0, body={}))
    async with opened({"batch": 2}) as clients:
        sent = [asyncio.create_task(embed(clients, text)) for text in ("red", "blue")]
        # A first request also opens the connection, which takes its time.
        while not server.bodies:  # noqa: ASYNC110 - the server is a thread and sets no event
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(embed(clients, "green"))
        await asyncio.sleep(0.002)  # within the window in which it waits for others
        async with asyncio.timeout(2):
            await clients.aclose()
            await asyncio.wait([*sent, waiting])
    assert len(server.bodies) == 1


# --- failures


@pytest.mark.parametrize("nonsense", [b"<html>busy</html>", {"data": []}, {"data": {}}, {"data": [{}]}, []])
async def test_nonsense_is_asked_again_billed_each_time_and_in_the_end_a_failure(
    opened: Open, server: LocalServer, nonsense: Any
) -> None:
    assert server.routes is not None
    server.routes[PATH] = lambda body: Answer(body=nonsense)
    meter = RecordingMeter()
    async with opened(max_attempts=2) as clients:
        with pytest.raises(ProviderUnavailableError, match=r"nothing that can be used \(2 attempts\)"):
            await embed(clients, "red blue", meter)
    assert [one.usage for one in meter.replies] == [CallUsage(2, (), 0, "chars/4")] * 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(500), ProviderUnavailableError),
        (error(429), RateLimitedError),
        (error(401), AuthenticationError),
        (error(404, "no such model"), NotServedError),
        (Answer(hang_up=True), ProviderUnavailableError),
        (Answer(after_s=1.0), ProviderUnavailableError),
    ],
    ids=["500", "429", "401", "404", "hang up", "slow"],
)
@pytest.mark.parametrize("batch", [1, 8])
async def test_failures_are_those_of_all_providers(
    opened: Open, server: LocalServer, answer: Answer, kind: type[Exception], batch: int
) -> None:
    server.then.append(answer)
    async with opened({"batch": batch}, max_attempts=1, timeout_s=0.3) as clients:
        (failed,) = await embed_all(clients, "red")
    assert type(failed) is kind


async def test_an_address_without_embeddings_says_how_to_mend_it(server: LocalServer) -> None:
    clients = Clients({"m": card(server.url.removesuffix("/v1"))})
    (failed,) = await embed_all(clients, "red")
    await clients.aclose()
    assert isinstance(failed, NotServedError)
    assert "/embeddings: mend base_url of the card m; does it lack /v1?" in str(failed)


async def test_a_server_that_is_gone_is_down() -> None:
    clients = Clients({"m": card(closed_port_url(), max_attempts=1)})
    (failed,) = await embed_all(clients, "red")
    await clients.aclose()
    assert isinstance(failed, EndpointDownError)


async def test_without_a_key_openai_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        Clients({"m": card(None)}).client("m")


# --- who is who


def test_what_changes_vectors_makes_another_stream() -> None:
    def place(**embedding: Any) -> str:
        return endpoint_of(card("http://u:p@h/v1", embedding=embedding or None))

    assert place() == place(batch=4)
    assert "u:p" not in place()
    assert len({place(), place(dimensions=2), place(max_input_tokens=9), place(extra={"a": 1})}) == 4


async def test_chat_and_embeddings_of_one_host_share_its_limits(server: LocalServer) -> None:
    assert server.routes is not None
    server.routes["/v1/chat/completions"] = lambda body: Answer(after_s=0.1)
    server.routes[PATH] = lambda body: Answer(body=embeddings(body), after_s=0.1)
    chat = ModelCard(name="chat", source="openai", base_url=server.url, max_concurrency=1)
    clients = Clients({"m": card(server.url), "chat": chat})
    asked = clients.request("chat", [Message("user", "x")], SamplingParameters())
    await asyncio.gather(
        clients.client("chat").draw(asked, 0, 1), embed(clients, "red"), embed(clients, "blue")
    )
    await clients.aclose()
    assert server.most_at_once == 1
