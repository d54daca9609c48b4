from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from agenttts.errors import InputError, RequestRefusedError
from agenttts.models.base import Message, Request, SamplingParameters
from agenttts.models.clients import Clients
from agenttts.models.tiny_client import TinyBatcher
from agenttts.models.tiny_server import MOST_BODY_BYTES, build_app, check_address
from tests.models.conftest import card

PROMPT = "solve: 24*7+13-5"


@contextmanager
def running(**options: Any) -> Iterator[str]:
    """Serve the family in a thread."""
    config = uvicorn.Config(build_app(["tiny/xs"], **options), host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as address:
        yield address


def post(url: str, path: str = "/chat/completions", **fields: Any) -> httpx.Response:
    if path == "/chat/completions":
        fields = {"messages": [{"role": "user", "content": PROMPT}]} | fields
    return httpx.post(url + path, json={"model": "tiny/xs", "seed": 5, "max_tokens": 60} | fields)


def texts(reply: httpx.Response) -> list[str]:
    return [choice["message"]["content"] for choice in reply.json()["choices"]]


def served_request(clients: Clients, prompt: str = PROMPT) -> Request:
    sampling = SamplingParameters(max_tokens=60, logprobs=True, top_p=0.95, top_logprobs=3)
    return clients.request("tiny/xs", [Message("user", prompt)], sampling)


@pytest.mark.parametrize("max_n", [1, 8])
@pytest.mark.parametrize("source", ["openai", "litellm"])
async def test_draws_and_counts_over_http_are_those_in_process(url: str, source: str, max_n: int) -> None:
    model_id = "openai/tiny/xs" if source == "litellm" else None
    fields: dict[str, Any] = {
        "source": source,
        "base_url": url,
        "model_id": model_id,
        "max_n": max_n,
        "token_counter": "tiny",
    }
    over_http = Clients({"tiny/xs": card(name="tiny/xs", **fields)})
    in_process = Clients({"tiny/xs": card(name="tiny/xs", source="tiny")})
    served = await over_http.client("tiny/xs").draw(served_request(over_http), 2, 8)
    own = await in_process.client("tiny/xs").draw(served_request(in_process), 2, 8)
    for a, b in zip(served, own, strict=True):
        assert (a.index, a.text, a.finish_reason) == (b.index, b.text, b.finish_reason)
        assert (a.prefill_tokens, a.decode_tokens) == (b.prefill_tokens, b.decode_tokens)
        assert a.logprobs == pytest.approx(b.logprobs)
        assert [token for token, _ in a.details["top_logprobs"]] == [t for t, _ in b.details["top_logprobs"]]
        for (_, served_top), (_, own_top) in zip(
            a.details["top_logprobs"], b.details["top_logprobs"], strict=True
        ):
            assert len(served_top) == 3
            assert [token for token, _ in served_top] == [token for token, _ in own_top]
            assert [p for _, p in served_top] == pytest.approx([p for _, p in own_top])
    await over_http.aclose()
    await in_process.aclose()


def test_choice_j_is_drawn_with_the_seed_plus_j(url: str) -> None:
    together = texts(post(url, n=4))
    assert together == [texts(post(url, seed=5 + j))[0] for j in range(4)]
    assert len(set(together)) > 1


def test_the_prompt_is_counted_once_and_choices_add_up(url: str) -> None:
    one, four = post(url).json(), post(url, n=4).json()
    assert four["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    each = [choice["usage"]["completion_tokens"] for choice in four["choices"]]
    assert four["usage"]["completion_tokens"] == sum(each)
    assert four["usage"]["total_tokens"] == four["usage"]["prompt_tokens"] + sum(each)


def test_completions_take_a_list_of_prompts(url: str) -> None:
    reply = post(url, "/completions", prompt=[PROMPT, "solve: 1+1"], n=2, logprobs=2).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3]
    assert [choice["text"] for choice in reply["choices"][:2]] == texts(post(url, n=2))
    first = reply["choices"][0]["logprobs"]
    assert len(first["tokens"]) == len(first["token_logprobs"]) == len(first["text_offset"])
    assert all(len(top) == 2 for top in first["top_logprobs"])


def test_a_stop_text_ends_a_completion_before_it(url: str) -> None:
    (text,) = texts(post(url, temperature=0))
    assert texts(post(url, temperature=0, stop=text[1])) == [text.partition(text[1])[0]]


def test_streamed_text_is_the_same(url: str) -> None:
    fields: dict[str, Any] = {"n": 2, "stream": True, "stream_options": {"include_usage": True}}
    lines = [line for line in post(url, **fields).text.splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    parts = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    said = ["", ""]
    for part in parts:
        for choice in part["choices"]:
            said[choice["index"]] += choice["delta"].get("content", "")
    assert said == texts(post(url, n=2))
    assert parts[-1]["usage"] == post(url, n=2).json()["usage"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "tiny/xss"}, 404, "model"),
        ({"n": 0}, 400, "n"),
        ({"n": True}, 400, "n"),
        ({"temperature": -1}, 400, "temperature"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"stop": ["", "x"]}, 400, "stop"),
        ({"seed": 1.5}, 400, "seed"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user"}]}, 400, "messages"),
        ({"top_logprobs": 3}, 400, "top_logprobs"),
        ({"tools": [{}]}, 400, "tools"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
    ],
)
def test_a_wrong_request_is_refused_and_its_field_named(
    url: str, fields: dict[str, Any], status: int, param: str
) -> None:
    reply = post(url, **fields)
    assert reply.status_code == status
    assert reply.json()["error"]["param"] == param


def test_an_unknown_model_is_answered_with_the_nearest(url: str) -> None:
    assert "'tiny/xs'" in post(url, model="tiny/xss").json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[1]", 400), (b" " * (MOST_BODY_BYTES + 1), 413)]
)
def test_a_body_that_cannot_be_read_is_refused(url: str, body: bytes, status: int) -> None:
    reply = httpx.post(f"{url}/chat/completions", content=body)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


def test_a_prompt_that_is_too_long_is_refused_and_others_are_served(url: str) -> None:
    reply = post(url, messages=[{"role": "user", "content": "1" * 5000}])
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"
    assert post(url).status_code == 200


def test_models_are_listed(url: str) -> None:
    assert [entry["id"] for entry in httpx.get(f"{url}/models").json()["data"]] == ["tiny/xs"]
    assert httpx.get(f"{url}/models/tiny/xs").json()["id"] == "tiny/xs"
    assert httpx.get(f"{url}/models/tiny/none").status_code == 404
    assert httpx.get(url.removesuffix("/v1") + "/healthz").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/chat/completion", 404), ("GET", "/chat/completions", 405)]
)
def test_an_unknown_path_or_method_is_answered_in_the_form_of_other_errors(
    url: str, method: str, path: str, status: int
) -> None:
    reply = httpx.request(method, url + path)
    assert reply.status_code == status
    assert f"{method} /v1{path} is not served" in reply.json()["error"]["message"]


def test_a_key_is_asked_for_where_one_is_set() -> None:
    with running(api_key="s3cret-key") as url:
        assert post(url).status_code == 401
        assert httpx.get(f"{url}/models").status_code == 401
        assert httpx.get(f"{url}/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(f"{url}/models", headers={"Authorization": "Bearer s3cret-key"}).status_code == 200


def test_an_open_address_needs_a_key() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_address(host, None)
    check_address("0.0.0.0", "key")
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"):
        with pytest.raises(InputError, match="API key with --api-key-env"):
            check_address(host, None)


def test_an_unknown_model_cannot_be_served() -> None:
    with pytest.raises(InputError, match="tiny/huge"):
        build_app(["tiny/huge"])


async def test_concurrent_requests_share_batches() -> None:
    from agenttts.models.tiny.model import GenerationRequest

    batcher = TinyBatcher("tiny/xs")
    requests = [GenerationRequest(PROMPT, (i,), 40, 0.8) for i in range(64)]
    await asyncio.gather(*(batcher.generate(request) for request in requests))
    assert sum(batcher.batch_sizes) == 64
    assert max(batcher.batch_sizes) >= 32
    await batcher.aclose()


async def test_one_refused_prompt_does_not_fail_its_company() -> None:
    from agenttts.models.tiny.model import GenerationRequest

    batcher = TinyBatcher("tiny/xs")
    calls = [
        batcher.generate(GenerationRequest(text, (1,), 40, 0.8)) for text in (PROMPT, "1" * 5000, PROMPT)
    ]
    first, refused, third = await asyncio.gather(*calls, return_exceptions=True)
    assert first == third
    assert isinstance(refused, RequestRefusedError)
    await batcher.aclose()
