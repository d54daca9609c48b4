"""The server that plays models from a script, and one allocation run on it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from agenttts.models.base import Message, Request, SamplingParameters
from tests.scripted_server import Asked, Reply, Script, letter_counts, play, rules, scripted_server

TASK = """
format: 1
name: two
data: {path: problems.jsonl, id: id}
splits: {search: {n: 3}, test: {n: 1}}
models:
  small: {source: openai, parameters: 1.0e+9}
  large: {source: openai, parameters: 1.0e+10}
stages:
  think:
    prompt: {system: "Be brief.", user: "think {{ problem.question }}"}
    models: [small, large]
    n_samples: [1, 3]
    parse: last_number
    select: majority
    score: {verifier: numeric, gold: answer}
  say:
    needs: [think]
    prompt: {user: "say {{ problem.question }} {{ stages.think.answer }}"}
    models: [small]
    sampling: {max_tokens: 30}
score: {verifier: exact, gold: answer}
"""
CHOICES = [("think", "large", 3, "majority"), ("say", "small", 1, "first")]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [{"id": f"{n}", "question": f"<{n}>", "answer": n} for n in range(1, 5)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TASK)
    return tmp_path / "task.yaml"


def post(url: str, body: object) -> Any:
    return httpx.post(url, json=body, timeout=10).raise_for_status().json()


def script_of(n: int) -> Script:
    return rules(
        (["Be brief.", f"<{n}>"], [f"It is {n}", "It is 9", f"{n} I guess"], "large"),
        (f"say <{n}> {n}", f"{n}"),
        ("think", "It is 9"),
        ("say", Reply("no", status=400)),
    )


@pytest.mark.parametrize("max_n", [1, 8])
def test_an_allocation_is_played_draw_by_draw(task: Path, max_n: int) -> None:
    played = play(task, script_of(2), CHOICES, data=None, split="search", max_n=max_n)
    searched = [problem.id for problem in played.task.search]
    others = [name for name in searched if name != "2"]
    assert "2" in searched  # the seed of the task decides
    # Two of three samples say 2; those of the others all say 9, and `say` then meets a fault.
    assert played.scores == {"2": 1.0}
    assert played.rollouts["2"].sample_scores["think"] == (1.0, 0.0, 1.0)
    assert sorted(played.failures) == sorted(others)
    # 2 x 1e10 x (100 + 3 x 10) and 2 x 1e9 x (100 + 10) FLOPs.
    assert {name: cost.flops for name, cost in played.evaluation.costs.items()} == {
        "think": pytest.approx(2.6e12),
        "say": pytest.approx(2.2e11),
    }


def test_a_fault_that_passes_is_tried_again(task: Path) -> None:
    seen: list[int] = []

    def script(asked: Asked) -> str | Reply:
        seen.append(asked.draw)
        return Reply("busy", status=503) if len(seen) == 1 else "2"

    played = play(task, script, CHOICES, data=None, only=["2"])
    assert played.scores == {"2": 1.0}
    assert len(seen) == 1 + 3 + 1
    assert sorted(seen[1:]) == [0, 0, 1, 2]


def test_a_server_that_hangs_is_a_failure(task: Path) -> None:
    played = play(
        task,
        lambda asked: Reply("2", after_s=2.5),
        CHOICES,
        data=None,
        only=["2"],
        timeout_s=1,
        max_attempts=1,
    )
    assert played.scores == {}
    assert "2" in played.failures


def test_what_no_rule_fits_is_told(task: Path) -> None:
    played = play(task, rules(("nothing", "x")), CHOICES, data=None, only=["2"])
    assert "no rule of the script fits: Be brief. think <2>" in played.failures["2"].message


def test_seeds_of_no_stream_are_refused() -> None:
    with scripted_server(lambda asked: f"draw {asked.draw}") as server:
        messages = (Message("user", "hello"),)
        seed = Request("m", "", messages, SamplingParameters(temperature=0.5, max_tokens=9)).base_seed
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "hello"}],
            "temperature": 0.5,
            "max_tokens": 9,
        }
        reply = post(f"{server.url}/chat/completions", body | {"seed": seed + 4, "n": 2})
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            post(f"{server.url}/chat/completions", body | {"seed": seed - 1})
    contents = [choice["message"]["content"] for choice in reply["choices"]]
    assert contents == ["draw 4", "draw 5"]


def test_embeddings_come_as_numbers_or_packed() -> None:
    from openai import AsyncOpenAI

    async def packed(url: str) -> list[float]:
        async with AsyncOpenAI(base_url=url, api_key="none") as client:  # asks for base64
            made = await client.embeddings.create(model="e", input=["cab", "b"])
            return made.data[0].embedding

    with scripted_server(rules()) as server:
        plain = post(f"{server.url}/embeddings", {"model": "e", "input": "cab"})
        assert asyncio.run(packed(server.url)) == letter_counts("cab")
    assert plain["data"][0]["embedding"] == [1.0, 1.0, 1.0] + [0.0] * 23


def test_pooling_gives_a_row_for_each_step_and_models_are_listed() -> None:
    with scripted_server(rules(), mark=lambda step: 0.75 if "good" in step else 0.25) as server:
        messages = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "good<extra_0>bad<extra_0>"},
        ]
        reply = post(f"{server.root}/pooling", {"model": "prm", "messages": messages})
        names = [one["id"] for one in httpx.get(f"{server.url}/models").json()["data"]]
    assert reply["data"][0]["data"] == [[0.25, 0.75], [0.75, 0.25]]
    assert "Qwen/Qwen2.5-7B-Instruct" in names
