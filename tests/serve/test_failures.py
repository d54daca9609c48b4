"""A provider that fails is told with its cause, and never becomes a wrong answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import InternalServerError

from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import (
    AuthenticationError,
    CardError,
    EndpointDownError,
    NotServedError,
    ProviderUnavailableError,
    RateLimitedError,
    RecordedMissError,
    RequestRefusedError,
    StoreError,
)
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.plan import Plan
from agenttts.serve.refused import refusal_of
from agenttts.task.task import Task
from tests.models.local_server import closed_port_url
from tests.scripted_server import Asked, Reply
from tests.serve.conftest import NAME, QUESTION, Served, plan_at, script, serving, serving_on

MESSAGES = [{"role": "user", "content": QUESTION}]


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (ProviderUnavailableError("x"), 502, True),
        (EndpointDownError("x"), 503, True),
        (RateLimitedError("x"), 503, True),
        (AuthenticationError("x"), 502, False),
        (RequestRefusedError("x"), 502, False),
        (NotServedError("x"), 502, False),
        (RecordedMissError("x"), 400, False),
        (StoreError("x"), 500, False),
        (CardError("x"), 500, False),
        (ValueError("a prompt"), 500, False),
    ],
)
def test_every_kind_of_failure_has_its_status_and_says_whether_to_retry(error, status, retry):
    refused = refusal_of(error, "think")
    assert (refused.status, refused.retry) == (status, retry)
    assert refused.message.startswith("stage think: ")
    assert "a prompt" not in refused.message


def test_a_stage_that_fails_is_named_with_its_cause_and_what_was_spent(tmp_path: Path):
    def said(asked: Asked) -> str | Reply:
        return script(asked) if asked.prompt.startswith("Think") else Reply("out of memory", status=500)

    with serving_on(tmp_path, said) as (served, _):
        with pytest.raises(InternalServerError, match="gave no usable reply") as caught:
            served.client().chat.completions.create(model=NAME, messages=MESSAGES)
        reply = caught.value.response
        assert reply.status_code == 502
        assert reply.json()["error"]["message"].startswith("stage answer: ")
        assert reply.json()["error"]["code"] == "provider_unavailable"
        assert reply.json()["agenttts"]["stage"] == "answer"
        assert reply.json()["agenttts"]["spent"]["draws_paid"] == 3
        assert served.metric("agenttts_provider_failures_total", code="provider_unavailable") == 1
        assert served.metric("agenttts_model_calls_total", stage="answer", outcome="failed") == 1
        logged = _failed(served)
        assert (logged["stage"], logged["code"]) == ("answer", "provider_unavailable")
        assert "out of memory" in logged["because"]


def test_a_request_that_the_provider_refuses_is_not_sent_again(tmp_path: Path):
    with serving_on(tmp_path, lambda asked: Reply("the prompt is too long", status=400)) as (served, backend):
        with pytest.raises(InternalServerError, match="too long"):
            served.client(max_retries=2).chat.completions.create(model=NAME, messages=MESSAGES)
        assert len(backend.prompts()) == 1
        assert backend.url in _failed(served)["because"]
        assert served.metric("agenttts_requests_total", status="502") == 1


def _failed(served: Served) -> dict[str, Any]:
    """Return the last line of the log about a failure."""
    lines = [json.loads(line) for line in served.log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == "failed"][-1]


@pytest.mark.parametrize(
    "error",
    [
        EndpointDownError("http://10.0.0.7:8000/v1 is down. Check base_url, then run the same command again"),
        RateLimitedError("http://10.0.0.7:8000/v1: HTTP 429: slow down"),
        AuthenticationError("http://10.0.0.7:8000/v1: HTTP 401: no\nthe key of THEIR_KEY was refused"),
        NotServedError("http://10.0.0.7:8000/v1: HTTP 404: no\nmend base_url of the card m"),
        ProviderUnavailableError("http://10.0.0.7:8000/v1: no connection"),
        RequestRefusedError("http://10.0.0.7:8000/v1: HTTP 400: too long, see http://10.0.0.7/help."),
        StoreError("postgresql://db.10.0.0.7/draws cannot be opened; check base_url"),
    ],
)
def test_a_caller_reads_neither_addresses_nor_advice_for_the_operator(error):
    refused = refusal_of(error, "think")
    told = json.dumps(refused.body())
    assert not [word for word in ("10.0.0.7", "base_url", "THEIR_KEY", "command") if word in told]
    assert "10.0.0.7" in refused.detail


def test_an_endpoint_that_is_gone_is_503_at_once_and_the_server_not_ready(tmp_path: Path):
    address = closed_port_url()
    with serving(plan_at(tmp_path, address)) as served:
        reply = served.post()
        assert reply.status_code == 503
        assert reply.json()["error"] == {
            "message": "stage think: a model of this plan cannot be reached now; ask again later",
            "type": "api_error",
            "param": None,
            "code": "endpoint_down",
        }
        logged = _failed(served)
        assert logged["stage"] == "think"
        assert f"{address}: no connection" in logged["because"] or f"{address} is down" in logged["because"]
        assert reply.headers["retry-after"] == "15"
        assert served.post(stream=True).status_code == 503
        ready = httpx.get(f"{served.root}/readyz")
        assert (ready.status_code, ready.json()["because"]) == (503, "a model's endpoint is down")
        assert httpx.get(f"{served.root}/healthz").status_code == 200


def test_a_selection_without_any_score_because_the_verifier_is_down_is_no_answer(tmp_path: Path):
    judged: list[str] = []

    def said(asked: Asked) -> str | Reply:
        if asked.prompt.startswith("Think"):
            return script(asked)
        if asked.prompt.startswith("Answer"):
            return ["It is 1", "It is 2"][asked.draw]
        judged.append(asked.prompt)
        return Reply("judge is busy", status=500)

    how = {"n_answer": 2, "select": "best_of_n(judge)"}
    with serving_on(tmp_path, said, **how) as (served, _):
        reply = served.post()
    assert judged
    assert reply.status_code == 502
    assert "stage answer: " in reply.json()["error"]["message"]
    assert "judge is busy" in _failed(served)["because"]


def test_messages_hold_no_keys(tmp_path: Path):
    said = Reply("Incorrect API key provided: sk-abcdef123456", status=401)
    with serving_on(tmp_path, lambda asked: said) as (served, _):
        reply = served.post()
        assert reply.status_code == 502
        assert "abcdef123456" not in reply.text
        assert "abcdef123456" not in served.log.getvalue()


def test_a_recorded_plan_answers_the_problems_that_were_recorded_and_no_others(recorded_task: Path):
    choices = (
        StageChoice("think", "rec/small", 2, "majority"),
        StageChoice("answer", "rec/large", 4, "majority"),
    )
    plan = Plan(Task.load(recorded_task), Allocation(choices), Budget(1.0, Unit.GFLOPS))
    problem = plan.task.search[0]
    with serving(plan) as served:
        known = served.post(problem=dict(problem.fields))
        other = served.post(problem={"question": "What?"})
    assert known.json()["agenttts"]["answer"] == plan.answer(problem).answer
    assert other.status_code == 400
    assert other.json()["error"]["code"] == "recorded_miss"


FUNCTION_TASK = """
format: 1
name: calls
data: {path: problems.jsonl, id: id}
splits: {search: {n: 2}}
models:
  small: {source: openai, base_url: "URL", parameters: 1.0e+6, max_attempts: 1}
stages:
  think:
    prompt: {user: "Think: {{ problem.question }}"}
    models: [small]
    n_samples: 1
    sampling: {max_tokens: 50}
    parse: last_number
  merge: {needs: [think], function: "steps.py:merge"}
score: {verifier: numeric, gold: answer}
"""


def test_a_function_as_last_stage_is_the_answer_and_its_fault_is_told_by_name(tmp_path: Path):
    from tests.scripted_server import scripted_server
    from tests.serve.conftest import write_task

    (tmp_path / "steps.py").write_text(
        "def merge(problem, answers):\n"
        "    if 'bad' in problem['question']:\n"
        "        raise KeyError('secret of the problem')\n"
        "    return {'sum': answers['think'], 'nan': float('nan')}\n"
    )
    with scripted_server(lambda asked: "It is 42", names={"small": ["small"]}) as backend:
        path = write_task(tmp_path, backend.url)
        path.write_text(FUNCTION_TASK.replace("URL", backend.url))
        task = Task.load(path, trust=True)
        with serving(Plan(task, Allocation((StageChoice("think", "small", 1, "first"),)))) as served:
            chat = {"model": "agenttts/calls"}
            good = served.post(**chat)
            bad = served.post(messages=[{"role": "user", "content": "bad"}], **chat)
    assert good.json()["choices"][0]["message"]["content"].startswith('{"sum": "42"')
    assert bad.status_code == 500
    assert "stage merge: KeyError" in bad.json()["error"]["message"]
    assert "secret" not in bad.text
