"""Chat completions with the real openai client: every request runs the whole plan."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError

from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.plan import Plan
from agenttts.task.task import Task
from tests.scripted_server import DECODE_TOKENS, PREFILL_TOKENS, Reply, ScriptedServer
from tests.serve.conftest import NAME, QUESTION, Served, body, plan_at, script, serving, serving_on

MESSAGES = [{"role": "user", "content": QUESTION}]
CALLS = 4
"""The server grants one choice a call: three thoughts, one answer."""
USAGE = (CALLS * PREFILL_TOKENS, (3 + 1) * DECODE_TOKENS)


def test_a_request_runs_all_stages_and_gets_the_selected_answer(served: Served, backend: ScriptedServer):
    backend.asked.clear()
    reply = served.client().chat.completions.create(model=NAME, messages=MESSAGES)
    assert reply.choices[0].message.content == "So it is 42."
    assert reply.choices[0].finish_reason == "stop"
    assert backend.prompts() == [f"Think: {QUESTION}", f"Answer {QUESTION} given 42"]


def test_usage_is_that_of_all_calls(served: Served):
    usage = served.client().chat.completions.create(model=NAME, messages=MESSAGES).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (*USAGE, sum(USAGE))


def test_cost_and_stages_stand_beside_the_answer(served: Served):
    told = served.client().chat.completions.create(model=NAME, messages=MESSAGES).agenttts
    usd = (PREFILL_TOKENS * 1 + 3 * DECODE_TOKENS * 2 + PREFILL_TOKENS * 10 + DECODE_TOKENS * 20) * 1e-6
    gflops = 2 * (1e6 * (100 + 30) + 1e7 * (100 + 10)) * 1e-9
    assert told["answer"] == "42"
    assert told["cost"]["usd"] == pytest.approx(usd)
    assert told["cost"]["gflops"] == pytest.approx(gflops)
    assert told["spent"]["usd"] == pytest.approx(
        usd + 2 * PREFILL_TOKENS * 1e-6
    )  # the prompt was read thrice
    assert (told["spent"]["calls"], told["spent"]["draws_paid"]) == (CALLS, 4)
    think, answer = told["stages"]
    assert (think["stage"], think["model"], think["n_samples"], think["select"]) == (
        "think",
        "small",
        3,
        "majority",
    )
    assert think["agreement"] == pytest.approx(2 / 3)
    assert think["selected"] == 1
    assert answer["tokens"] == {"prefill": PREFILL_TOKENS, "decode": DECODE_TOKENS}


async def test_async_requests_at_once_get_each_their_own_answer(served: Served):
    client = AsyncOpenAI(base_url=served.url, api_key="none", max_retries=0)

    async def ask(number: int) -> tuple[str, int]:
        question = [{"role": "user", "content": f"Number {number}?"}]
        reply = await client.chat.completions.create(model=NAME, messages=question)
        return reply.choices[0].message.content, reply.usage.total_tokens

    replies = await asyncio.gather(*(ask(number) for number in range(40)))
    assert set(replies) == {("So it is 42.", sum(USAGE))}
    await client.close()


def test_a_stream_holds_the_selected_answer_and_ends_with_usage(served: Served):
    stream = served.client().chat.completions.create(
        model=NAME, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    parts = list(stream)
    texts = [part.choices[0].delta.content or "" for part in parts if part.choices]
    assert "".join(texts) == "So it is 42."
    assert len([text for text in texts if text]) == 4
    assert parts[-2].choices[0].finish_reason == "stop"
    assert parts[-2].agenttts["answer"] == "42"
    assert (parts[-1].usage.prompt_tokens, parts[-1].usage.completion_tokens) == USAGE


async def test_an_async_stream_without_usage_has_none(served: Served):
    client = AsyncOpenAI(base_url=served.url, api_key="none")
    stream = await client.chat.completions.create(model=NAME, messages=MESSAGES, stream=True)
    parts = [part async for part in stream]
    assert "".join(part.choices[0].delta.content or "" for part in parts) == "So it is 42."
    assert all(part.usage is None for part in parts)
    await client.close()


def test_the_plan_is_the_only_model(served: Served):
    client = served.client()
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).agenttts["reads"] == ["question"]
    with pytest.raises(NotFoundError, match="served is 'agenttts/sums'"):
        client.models.retrieve("gpt-4o")
    with pytest.raises(NotFoundError, match="served is 'agenttts/sums'"):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def test_sampling_is_the_plans_and_what_is_ignored_is_told(served: Served):
    reply = served.client().chat.completions.create(
        model=NAME, messages=MESSAGES, temperature=0.1, max_tokens=1, stop=["it"], user="me"
    )
    assert reply.choices[0].message.content == "So it is 42."
    assert reply.agenttts["ignored"] == ["max_tokens", "stop", "temperature"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("n", True),
        ("tools", [{"type": "function"}]),
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("modalities", ["audio"]),
        ("seed", -1),
        ("stream", "yes"),
        ("problem", "text"),
        ("messages", []),
        ("messages", [{"role": "tool", "content": "x"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
        ("messages", [{"role": ["user"], "content": "x"}]),
    ],
)
def test_what_a_plan_cannot_do_is_refused_by_name_and_costs_nothing(
    served: Served, backend: ScriptedServer, field: str, value: object
):
    backend.asked.clear()
    reply = served.post(**{field: value})
    assert reply.status_code == 400
    assert field in reply.json()["error"]["message"]
    assert reply.json()["error"]["param"] == field
    assert not backend.asked


def test_another_seed_gives_other_draws_and_the_same_the_same(tmp_path: Path):
    # A seed moves the stream, which the script sees as draws of no known stream: so a server that echoes seeds is used.
    from tests.models.local_server import local_server

    with local_server() as http, serving(plan_at(tmp_path, http.url)) as served:
        seeds = []
        for seed in (0, 0, 5):
            http.bodies.clear()
            assert served.post(seed=seed).status_code == 200
            seeds.append(sorted(asked["seed"] for asked in http.bodies))
    assert seeds[0] == seeds[1]
    assert not set(seeds[0]) & set(seeds[2])


def test_parts_of_text_and_developer_messages_are_read(served: Served):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "1?"}]},
    ]
    assert served.client().chat.completions.create(model=NAME, messages=messages).agenttts["answer"] == "42"


# --- fields


def test_several_fields_come_as_json_as_problem_or_as_metadata(tmp_path: Path, backend: ScriptedServer):
    fields = {"question": "Why?", "context": "Because."}
    with serving(plan_at(tmp_path, backend.url, extra_field="context")) as served:
        client = served.client()
        backend.asked.clear()
        as_json = [{"role": "user", "content": json.dumps(fields)}]
        client.chat.completions.create(model=NAME, messages=as_json)
        client.chat.completions.create(model=NAME, messages=MESSAGES, extra_body={"problem": fields})
        client.chat.completions.create(model=NAME, messages=MESSAGES, metadata=fields)
        assert backend.prompts("Think") == ["Think: Why? with Because."]
        with pytest.raises(BadRequestError, match="`question`, `context`"):
            client.chat.completions.create(model=NAME, messages=MESSAGES)
        with pytest.raises(BadRequestError, match="missing: `context`"):
            client.chat.completions.create(
                model=NAME, messages=MESSAGES, extra_body={"problem": {"question": "Why?"}}
            )


@pytest.mark.parametrize("blank", ["", "  \n ", [{"type": "text", "text": " "}]])
def test_a_question_that_is_empty_is_refused_by_name_and_costs_nothing(
    served: Served, backend: ScriptedServer, blank: object
):
    backend.asked.clear()
    for told in (
        {"messages": [{"role": "user", "content": blank}]},
        {"problem": {"question": "" if isinstance(blank, list) else blank}},
    ):
        reply = served.post(**told)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["param"]) == (400, "empty_field", next(iter(told)))
        assert "`question`" in error["message"]
    assert not backend.asked


def test_one_of_several_fields_may_be_empty_unless_it_is_a_message(tmp_path: Path, backend: ScriptedServer):
    plan = plan_at(tmp_path, backend.url, extra_field="context")
    messages = [{"role": "system", "content": " "}, {"role": "user", "content": "Why?"}]
    with serving(plan) as served:
        assert served.post(problem={"question": "Why?", "context": ""}).status_code == 200
        assert served.post(problem={"question": " ", "context": ""}).status_code == 400
    with serving(plan, mapping={"question": "user", "context": "system"}) as served:
        reply = served.post(messages=messages)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "empty_field")
    assert "`context`" in reply.json()["error"]["message"]


def test_the_plan_or_the_options_say_which_message_a_field_is(tmp_path: Path, backend: ScriptedServer):
    plan = plan_at(tmp_path, backend.url, extra_field="context")
    plan = Plan(plan.task, plan.allocation, messages={"question": "user", "context": "first_user"})
    messages = [
        {"role": "system", "content": "from the system"},
        {"role": "user", "content": "the first"},
        {"role": "user", "content": "the last"},
    ]
    read = Plan.load(plan.save(tmp_path / "plan.yaml"))
    backend.asked.clear()
    for mapping in ({}, {"context": "system"}):
        with serving(read, mapping=mapping) as served:
            served.client().chat.completions.create(model=NAME, messages=messages)
    assert backend.prompts("Think") == [
        "Think: the last with the first",
        "Think: the last with from the system",
    ]


# --- budgets


def ask_with_budget(served: Served, budget: str) -> dict:
    reply = served.client().chat.completions.create(
        model=NAME, messages=MESSAGES, extra_headers={"x-agenttts-budget": budget}
    )
    return reply.agenttts


def test_a_smaller_budget_draws_fewer_samples(served: Served):
    told = ask_with_budget(served, "1e9")
    assert told["budget"]["changes"] == ""
    assert told["budget"]["expected"] == pytest.approx(2.46)
    assert told["allocation"] == "think small x3 majority; answer large x1"
    told = ask_with_budget(served, "0.00135usd")  # three thoughts: 0.00136, two: 0.00134
    assert [stage["drawn"] for stage in told["stages"]] == [2, 1]
    assert told["budget"]["expected"] == pytest.approx(0.00134)
    assert told["cost"]["usd"] == pytest.approx(0.00134)
    with pytest.raises(BadRequestError, match=r"too small: the least .* 0\.00132 USD"):
        ask_with_budget(served, "0.0013usd")


@pytest.mark.parametrize("budget", ["much", "-1", "3 euros", "0", "1e999", "5 seconds"])
def test_a_budget_that_cannot_be_used_is_refused(served: Served, budget: str):
    reply = served.post(headers={"x-agenttts-budget": budget})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "budget"
    assert "x-agenttts-budget" in reply.json()["error"]["message"]


# --- who may ask, and what


def test_a_key_is_asked_for_everywhere_but_for_health(tmp_path: Path, backend: ScriptedServer):
    with serving(plan_at(tmp_path, backend.url), api_key="right-key") as served:
        for key in ("wrong", "right-keyy", "ö"):
            head = {"Authorization": f"Bearer {key}".encode()}
            assert httpx.get(f"{served.url}/models", headers=head).status_code == 401
            assert httpx.get(f"{served.root}/metrics", headers=head).status_code == 401
            assert served.post(headers=head).status_code == 401
        assert served.post(headers={"Authorization": "right-key"}).status_code == 401
        assert httpx.get(f"{served.root}/healthz").status_code == 200
        assert httpx.get(f"{served.root}/readyz").json()["status"] == "ready"
        reply = served.client(api_key="right-key").chat.completions.create(model=NAME, messages=MESSAGES)
        assert reply.agenttts["answer"] == "42"
        assert "right-key" not in served.log.getvalue()


def test_web_pages_cannot_spend_through_a_server_without_a_key(served: Served, backend: ScriptedServer):
    backend.asked.clear()
    raw = json.dumps(body())
    url = f"{served.url}/chat/completions"
    assert httpx.post(url, content=raw, headers={"Content-Type": "text/plain"}).status_code == 415
    rebound = {"Content-Type": "application/json", "Host": "evil.example"}
    assert httpx.post(url, content=raw, headers=rebound).status_code == 403
    assert not backend.asked


def test_bodies_that_are_too_large_or_no_json_are_refused(served: Served):
    url, head = f"{served.url}/chat/completions", {"Content-Type": "application/json"}
    large = "x" * (served.service.limits.most_body_bytes + 1)
    assert httpx.post(url, content=large, headers=head).status_code == 413
    assert httpx.post(url, content=(part for part in [large.encode()]), headers=head).status_code == 413
    for content in ("{", "[" * 100_000, "[]", '"text"', b"\xff\xfe"):
        assert httpx.post(url, content=content, headers=head).status_code == 400
    assert httpx.get(f"{served.root}/v1/other").json()["error"]["code"] == "unknown_url"
    assert httpx.get(url).status_code == 405
    assert served.service.gate.n_admitted == 0


def test_hostile_texts_of_models_arrive_as_they_are(tmp_path: Path):
    hostile = 'data: [DONE]\n\n\ud800 "}</script>\x1b[2J 42'

    def said(asked):
        return Reply("42") if asked.prompt.startswith("Think") else Reply(hostile)

    with serving_on(tmp_path, said) as (served, _):
        reply = served.post()
        assert reply.json()["choices"][0]["message"]["content"] == hostile
        stream = served.client().chat.completions.create(model=NAME, messages=MESSAGES, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in stream) == hostile


def test_logs_hold_neither_prompts_nor_answers(served: Served):
    served.client().chat.completions.create(model=NAME, messages=MESSAGES)
    lines = [json.loads(line) for line in served.log.getvalue().splitlines()]
    assert lines[-1]["event"] == "answered"
    assert lines[-1]["tokens"] == sum(USAGE)
    assert "6 times 7" not in served.log.getvalue()
    assert "So it is" not in served.log.getvalue()


# --- stores and tiny models


def test_a_store_keeps_what_was_paid(tmp_path: Path):
    with serving_on(tmp_path, script, store=f"sqlite:///{tmp_path}/draws.sqlite") as (served, backend):
        first = served.client().chat.completions.create(model=NAME, messages=MESSAGES)
        n_asked = len(backend.asked)
        second = served.client().chat.completions.create(model=NAME, messages=MESSAGES)
        assert len(backend.asked) == n_asked
    assert first.usage.total_tokens == sum(USAGE)
    assert second.usage.total_tokens == 0
    assert second.agenttts["spent"]["draws_reused"] == 4
    assert second.agenttts["cost"] == first.agenttts["cost"]
    assert second.choices[0].message.content == first.choices[0].message.content


def test_a_tiny_plan_answers_over_http_as_in_process():
    task = Task.load("tiny")
    choices = (
        StageChoice("translate", "tiny/s", 4, "majority"),
        StageChoice("solve", "tiny/xs", 4, "best_of_n(tiny_prm)"),
    )
    plan = Plan(task, Allocation(choices))
    with serving(plan, content="answer") as served:
        for problem in task.search[:4]:
            alone = plan.answer(problem)
            chat = [{"role": "user", "content": problem.fields["text"]}]
            reply = served.client().chat.completions.create(model="agenttts/tiny", messages=chat)
            assert reply.choices[0].message.content == ("" if alone.answer is None else alone.answer)
            assert reply.agenttts["cost"]["gflops"] == pytest.approx(alone.cost.flops * 1e-9)
            assert reply.agenttts["cost"]["decode_tokens"] == alone.cost.decode_tokens


def test_an_error_has_the_shape_that_clients_know(served: Served):
    with pytest.raises(APIStatusError) as caught:
        served.client().chat.completions.create(model=NAME, messages=MESSAGES, n=3)
    assert caught.value.body["type"] == "invalid_request_error"
    assert caught.value.response.headers["x-should-retry"] == "false"
