"""Endpoints are asked for their list of models, and, with leave, for tiny completions; on real local servers."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.checkup.base import Finding, Verdict
from agenttts.checkup.endpoints import Place, look_at, places_of
from agenttts.checkup.trials import Needs, try_model
from agenttts.models.listing import listed_models
from tests.models.local_server import Answer, Body, closed_port_url, completion, error, local_server

LIST = {
    "object": "list",
    "data": [{"id": "m"}, {"id": "other"}, {"id": "m"}, {"id": 7}, {"id": "bad\x1bname"}, "x"],
}


def card(url: str, **more: Any) -> ModelCard:
    return ModelCard(**{"name": "m", "source": "openai", "base_url": url, "max_n": 1} | more)


async def looked(url: str, **more: Any) -> list[Finding]:
    (place,) = places_of({"m": card(url, **more)})
    return await look_at(place, 2.0)


def said(found: list[Finding], verdict: Verdict) -> str:
    return "\n".join(f"{one.name}: {one.message} {one.help}" for one in found if one.verdict is verdict)


async def test_the_list_holds_each_usable_name_once() -> None:
    with local_server(lambda body: LIST) as server:
        assert await listed_models(server.url) == ("m", "other")
        assert server.paths == ["/v1/models"]


async def test_a_model_that_is_served_is_fine() -> None:
    with local_server(lambda body: LIST) as server:
        (found,) = await looked(server.url)
    assert found.verdict is Verdict.FINE
    assert "serves 2 models" in found.message


async def test_a_model_that_is_not_served_gets_the_nearest_name() -> None:
    with local_server(lambda body: LIST) as server:
        found = await looked(server.url, model_id="othr")
    assert "lists no model 'othr' Mend model_id on the card. Did you mean `other`?" in said(
        found, Verdict.MEND
    )


async def test_an_endpoint_where_nobody_listens_is_down() -> None:
    (found,) = await looked(closed_port_url())
    assert found.verdict is Verdict.DOWN
    assert "no connection" in found.message
    assert "base_url of m" in found.help


async def test_an_endpoint_that_hangs_is_down_after_the_deadline() -> None:
    with local_server(then=[Answer(body=LIST, after_s=1.0)]) as server:
        (place,) = places_of({"m": card(server.url)})
        before = time.monotonic()
        (found,) = await look_at(place, 0.2)
        assert time.monotonic() - before < 0.9
    assert (found.verdict, "no reply within 0.2 s" in found.message) == (Verdict.DOWN, True)


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        (error(401, "no such key sk-secret1234"), Verdict.MEND, "the key is wrong or missing"),
        (error(404), Verdict.NOTE, "has no list of models"),
        (error(500, "out of memory"), Verdict.DOWN, "out of memory"),
        (Answer(body=b"<html>"), Verdict.DOWN, "is this an OpenAI-compatible endpoint?"),
        (Answer(body={"data": 3}), Verdict.DOWN, "no list of models"),
        (Answer(body=b"[" * 100_000), Verdict.DOWN, "no list of models"),
        (Answer(status=302, body={}, headers={"Location": "http://127.0.0.1:9/"}), Verdict.DOWN, "HTTP 302"),
        (Answer(hang_up=True), Verdict.DOWN, "no connection"),
    ],
    ids=["refused", "no list", "broken", "a page", "no list in it", "nested", "elsewhere", "hangs up"],
)
async def test_what_an_endpoint_may_say(
    answer: Answer, verdict: Verdict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret1234")
    with local_server(lambda body: answer) as server:
        (found,) = await looked(server.url)
    assert found.verdict is verdict
    assert words in found.message
    assert "secret" not in found.message + found.help


@contextmanager
def server_of_2030() -> Iterator[str]:
    """A server whose clock is far ahead; the usual one sends the right date by itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(LIST).encode()
            self.send_response_only(200)
            self.send_header("Date", "Tue, 01 Jan 2030 00:00:00 GMT")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


async def test_a_clock_that_is_far_off_is_told() -> None:
    with server_of_2030() as url:
        found = await look_at(Place(url, ()), 2.0)
    assert re.search(r"clock: is [0-9,]+ s behind that of http://127", said(found, Verdict.NOTE))


def test_a_reward_model_lists_its_models_below_v1() -> None:
    scorer = ModelCard(name="r", source="reward", base_url="http://127.0.0.1:9", reward={"api": "classify"})
    assert [place.url for place in places_of({"r": scorer})] == ["http://127.0.0.1:9/v1"]


# --- tiny completions


def able(body: Body) -> Any:
    wanted = "json" in str(body.get("response_format"))
    texts = ['{"word": "yes"}' if wanted else "yes"] * body.get("n", 1)
    return completion(body, contents=texts)


def poor(body: Body) -> Any:
    """One choice whatever is asked for, no usage, no probabilities, no JSON."""
    reply = completion(body, n=1)
    reply["choices"][0].pop("logprobs", None)
    return {key: value for key, value in reply.items() if key != "usage"}


async def tried(
    script: Callable[[Body], Any], needs: Needs | None = None, **more: Any
) -> tuple[list[Finding], list[Body]]:
    with local_server(script) as server:
        return await try_model(card(server.url, **more), needs or Needs(), 5.0), server.bodies


async def test_an_able_endpoint_is_asked_four_tiny_questions() -> None:
    found, bodies = await tried(able, max_n=16, supports_json_schema=True)
    assert len(bodies) == 4
    assert max(body["max_tokens"] for body in bodies) <= 64
    assert {one.verdict for one in found} == {Verdict.FINE}
    assert "this cost 43 tokens" in found[0].message, "4 times 7 read, 5 times 3 written"


async def test_what_an_able_endpoint_could_do_and_the_card_does_not_use_is_told() -> None:
    found, _ = await tried(able)
    assert "Set `max_n: 16`" in said(found, Verdict.NOTE)
    assert "supports_json_schema: true" in said(found, Verdict.NOTE)


async def test_what_the_card_promises_and_the_endpoint_does_not_keep_is_told() -> None:
    found, _ = await tried(poor, max_n=16, supports_json_schema=True)
    notes = said(found, Verdict.NOTE)
    for words in ("reports no usage", "does not grant n=", "self_certainty", "supports_json_schema: false"):
        assert words in notes


async def test_probabilities_that_the_task_needs_must_be_there() -> None:
    found, _ = await tried(poor, Needs(logprobs=True))
    assert "the task needs them" in said(found, Verdict.MEND)


async def test_a_model_that_refuses_is_asked_once() -> None:
    found, bodies = await tried(lambda body: error(404, "no such model", code="model_not_found"))
    assert len(bodies) == 1
    assert "mend model_id" in said(found, Verdict.MEND)


async def test_a_model_that_is_overloaded_is_down() -> None:
    found, _ = await tried(lambda body: error(503, "loading"))
    assert "loading" in said(found, Verdict.DOWN)


async def test_hostile_replies_are_read_as_nothing() -> None:
    for body in (
        b"null",
        b'{"choices": 7, "usage": []}',
        b'{"choices": [7], "usage": {"prompt_tokens": "x"}}',
    ):
        found, _ = await tried(lambda _, body=body: Answer(body=body), max_n=4)
        assert "reports no usage" in said(found, Verdict.NOTE)
