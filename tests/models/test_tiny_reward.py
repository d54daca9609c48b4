from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.errors import RequestRefusedError
from agenttts.models.base import CallUsage, Message, Reply, Request
from agenttts.models.clients import Clients
from agenttts.models.tiny_reward import TinyRewardClient

CARD = ModelCard(name="tiny/prm", source="tiny")


class WordScorer:
    """A reward model to which a step is a word, good where it is `good`."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, ...]]:
        if any("too long" in reply for _, reply in pairs):
            raise ValueError("the context is full")
        return [tuple(1.0 if word == "good" else 1 / 3 for word in reply.split()) for _, reply in pairs]

    def count_tokens(self, prompt: str, completion: str) -> int:
        return len(prompt.split()) + len(completion.split())


def ask(prompt: str, reply: str) -> Request:
    return Request("tiny/prm", "tiny", (Message("user", prompt), Message("assistant", reply)))


async def test_the_reply_is_a_json_list_of_step_scores_and_costs_its_reading() -> None:
    client = TinyRewardClient(CARD, WordScorer)
    (sample,) = await client.draw(ask("a prompt", "good bad"), 0, 1)
    assert json.loads(sample.text) == [1.0, 0.333333333]
    assert (sample.prefill_tokens, sample.decode_tokens) == (4, 0)


async def test_the_meter_is_asked_before_and_told_after() -> None:
    told: list[object] = []

    class Recorder:
        async def before(self, worst: CallUsage) -> Callable[[Reply | None], None]:
            told.append(worst)
            return told.append

    await TinyRewardClient(CARD, WordScorer).draw(ask("p", "good"), 0, 1, Recorder())
    worst, reply = told
    assert worst == CallUsage(2, ())
    assert isinstance(reply, Reply)
    assert reply.usage == worst


async def test_concurrent_requests_share_a_batch_and_get_their_own_scores() -> None:
    client = TinyRewardClient(CARD, WordScorer)
    texts = ["good " * n + "bad" for n in range(1, 40)]
    samples = await asyncio.gather(*(client.draw(ask("p", text), 0, 1) for text in texts))
    assert [len(json.loads(one[0].text)) for one in samples] == [len(text.split()) for text in texts]
    assert max(client.batch_sizes) == 39
    await client.aclose()


async def test_what_the_model_cannot_read_is_refused_and_its_neighbours_are_not() -> None:
    client = TinyRewardClient(CARD, WordScorer)
    bad, good = await asyncio.gather(
        client.draw(ask("p", "too long"), 0, 1), client.draw(ask("p", "good"), 0, 1), return_exceptions=True
    )
    assert isinstance(bad, RequestRefusedError)
    assert "context is full" in str(bad)
    assert isinstance(good, list)
    assert good[0].text == "[1.0]"


async def test_a_request_without_a_reply_to_score_is_refused() -> None:
    request = Request("tiny/prm", "tiny", (Message("user", "p"),))
    with pytest.raises(RequestRefusedError, match="reply to be scored"):
        await TinyRewardClient(CARD, WordScorer).draw(request, 0, 1)


async def test_the_clients_of_a_run_know_it_by_its_card() -> None:
    clients = Clients({"tiny/prm": CARD})
    assert isinstance(clients.client("tiny/prm"), TinyRewardClient)
    await clients.aclose()


async def test_the_model_is_loaded_once_however_many_ask_at_first() -> None:
    loads: list[int] = []

    def load() -> WordScorer:
        loads.append(1)
        return WordScorer()

    client = TinyRewardClient(CARD, load)
    await asyncio.gather(*(client.draw(ask("p", "good " * n), 0, 1) for n in range(1, 20)))
    assert len(loads) == 1
    await client.aclose()
