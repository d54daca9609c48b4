"""Going on from the beginning of a reply, over HTTP and in process: the same draws, counts and endings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from agenttts.models.base import Message, Request, Sample, SamplingParameters
from agenttts.models.chat import chat_body, read_reply
from agenttts.models.clients import Clients
from agenttts.models.tiny.tokenizer import encode_prompt
from tests.models.conftest import card
from tests.models.test_tiny_server import PROMPT, running

BEGUN = "24 Mon+62=70 "


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as address:
        yield address


def step(begun: str, **sampling: Any) -> Request:
    messages = (Message("user", PROMPT), *((Message("assistant", begun),) if begun else ()))
    return Request(
        "tiny/xs", "e", messages, SamplingParameters(**{"max_tokens": 30, "stop": (" ",)} | sampling)
    )


async def drawn(clients: Clients, begun: str) -> list[Sample]:
    wanted = step(begun)
    request = clients.request("tiny/xs", wanted.messages, wanted.sampling)
    return await clients.client("tiny/xs").draw(request, 1, 6)


@pytest.mark.parametrize("source", ["openai", "litellm"])
@pytest.mark.parametrize("begun", ["", "24", "24 ", BEGUN])
async def test_steps_over_http_are_those_in_process(url: str, source: str, begun: str) -> None:
    model_id = "openai/tiny/xs" if source == "litellm" else None
    fields: dict[str, Any] = {"source": source, "base_url": url, "model_id": model_id, "max_n": 4}
    over_http = Clients({"tiny/xs": card(name="tiny/xs", token_counter="tiny", **fields)})
    in_process = Clients({"tiny/xs": card(name="tiny/xs", source="tiny")})
    served, own = await drawn(over_http, begun), await drawn(in_process, begun)
    for a, b in zip(served, own, strict=True):
        assert (a.index, a.text, a.finish_reason) == (b.index, b.text, b.finish_reason)
        assert (a.prefill_tokens, a.decode_tokens) == (b.prefill_tokens, b.decode_tokens)
        assert a.details.get("ended") == b.details.get("ended")
    read = begun.removesuffix(" ")
    assert own[0].prefill_tokens == len(encode_prompt(PROMPT)) + len(read.replace(" Mon", "M"))
    assert len({a.text for a in own}) > 1
    await over_http.aclose()
    await in_process.aclose()


def post(url: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "24 "}]
    body = {"model": "tiny/xs", "seed": 5, "max_tokens": 60, "messages": messages, "temperature": 0}
    reply: dict[str, Any] = httpx.post(f"{url}/chat/completions", json=body | fields).json()
    return reply["choices"][0]


def test_the_reason_of_a_stop_is_told_as_vllm_tells_it(url: str) -> None:
    goes_on = {"continue_final_message": True, "add_generation_prompt": False}
    stopped = post(url, stop=[" ", "Q"], **goes_on)
    assert (stopped["finish_reason"], stopped["stop_reason"]) == ("stop", " ")
    assert post(url, stop=["Q"], **goes_on)["stop_reason"] is None
    assert "stop_reason" not in post(url, **goes_on)


def test_of_several_stops_the_one_that_ended_it_is_told(url: str) -> None:
    goes_on = {"continue_final_message": True}
    # A space comes first in what is written: the one that the beginning ends in, which ends nothing.
    reasons = []
    for seed in range(16):
        fields = {"seed": seed, "temperature": 1.0, **goes_on}
        whole, cut = post(url, **fields), post(url, stop=[" ", "1"], **fields)
        text, rest = whole["message"]["content"], cut["message"]["content"]
        assert text.startswith(rest)
        assert cut["stop_reason"] == (text[len(rest) : len(rest) + 1] or None)
        assert cut == {**post(url, stop=["1", " "], **fields), "logprobs": None}
        reasons.append(cut["stop_reason"])
    assert {" ", "1"} <= set(reasons)


def test_without_the_flag_a_message_of_the_assistant_is_one_of_the_prompt(url: str) -> None:
    assert post(url)["message"] != post(url, continue_final_message=True)["message"]


def test_a_beginning_is_asked_for_as_vllm_and_sglang_know_it() -> None:
    body = chat_body(step("24 "), served_as="m", first=0, n=1, seeded=True)
    assert body["messages"][-1] == {"role": "assistant", "content": "24 "}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    plain = chat_body(step(""), served_as="m", first=0, n=1, seeded=True)
    assert not {"continue_final_message", "add_generation_prompt"} & set(plain)


@pytest.mark.parametrize(
    ("choice", "ended"),
    [
        ({"finish_reason": "stop", "stop_reason": None}, True),
        ({"finish_reason": "stop", "stop_reason": " "}, None),
        ({"finish_reason": "stop", "stop_reason": 128009}, None),
        ({"finish_reason": "length", "stop_reason": None}, None),
        ({"finish_reason": "stop"}, None),
    ],
)
def test_only_a_server_that_tells_the_two_apart_says_that_a_reply_has_ended(
    choice: dict[str, Any], ended: bool | None
) -> None:
    data = {
        "choices": [{"index": 0, "message": {"content": "x"}, **choice}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    (sample,) = read_reply(data, step("24 "), first=0, n=1, token_counter="chars/4").samples
    assert sample.details.get("ended") is ended
