"""A server that scores and is not there ends a command before a server that writes is asked, and paid, for anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agenttts.cli import app
from tests.models.embedding_server import embedding_server
from tests.models.local_server import Answer, Body, closed_port_url, completion, local_server

TASK = """\
format: 1
name: spell
data: {path: problems.jsonl, id: id}
splits: {search: {where: {split: search}}, test: {where: {split: test}}}
stages:
  spell:
    models: [small, large]
    prompt: {user: "Say {{ problem.word }}"}
    n_samples: [1, 2]
    sampling: {max_tokens: 16}
    lengths: {prefill_tokens: 7, decode_tokens: 4}
score: {stage: spell, verifier: {kind: similarity, model: near, field: word}}
models:
  small: {source: openai, base_url: WRITES, parameters: 1e+6}
  large: {source: openai, base_url: WRITES, parameters: 2e+6}
  near: {source: embedding, base_url: SCORES, parameters: 1e+6}
budget: {default: 1, unit: gflops}
"""


def write_task(folder: Path, writes: str, scores: str) -> Path:
    rows = [{"id": f"p{i}", "word": f"red {i}", "split": "search" if i < 6 else "test"} for i in range(12)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "task.yaml"
    path.write_text(TASK.replace("WRITES", writes).replace("SCORES", scores))
    return path


def echo(body: Body) -> Body | Answer:
    return completion(body, contents=[body["messages"][-1]["content"].removeprefix("Say ")])


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize(
    "arguments", [("optimize",), ("compare", "--allocators", "random,gp", "--seeds", "1")], ids=lambda a: a[0]
)
def test_nothing_is_asked_where_the_scorer_is_not_there(arguments: tuple[str, ...], tmp_path: Path) -> None:
    dead = closed_port_url()
    with local_server(always=echo) as writer:
        task = write_task(tmp_path, writer.url, dead)
        done = agenttts(arguments[0], task, *arguments[1:], "--trials", "2", "--yes")
        assert done.exit_code == 4, done.output
        assert f"nobody answers at {dead} (connection refused), where near" in " ".join(done.stderr.split())
        assert writer.bodies == []


def test_draws_that_are_paid_for_need_no_server(tmp_path: Path) -> None:
    with local_server(always=echo) as writer, embedding_server() as scorer:
        task = write_task(tmp_path, writer.url, scorer.url)
        done = agenttts("optimize", task, "--trials", "2", "--yes", "--json")
        assert done.exit_code == 0, done.output
    again = agenttts("evaluate", json.loads(done.stdout)["plan"]["path"], "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["n_paid"] == 0


def test_evaluate_asks_nothing_either_and_looks_only_where_the_plan_does(tmp_path: Path) -> None:
    dead = closed_port_url()
    with local_server(always=echo) as writer:
        task = write_task(tmp_path, writer.url, dead)
        plan = tmp_path / "plan.yaml"
        done = agenttts("evaluate", plan_of(task, plan), "--store", "memory:")
        assert (done.exit_code, writer.bodies) == (4, []), done.output
        with embedding_server() as scorer:
            task = write_task(tmp_path, writer.url, scorer.url)
            text = task.read_text()
            task.write_text(
                text.replace(
                    f"large: {{source: openai, base_url: {writer.url}",
                    f"large: {{source: openai, base_url: {dead}",
                )
            )
            done = agenttts("evaluate", plan_of(task, plan), "--store", "memory:")
            assert done.exit_code == 0, done.output


def test_an_endpoint_moves_the_models_of_stages_and_leaves_the_scorer(tmp_path: Path) -> None:
    with local_server(always=echo) as writer, embedding_server() as scorer:
        plan = plan_of(write_task(tmp_path, closed_port_url(), scorer.url), tmp_path / "plan.yaml")
        done = agenttts("evaluate", plan, "--endpoint", writer.url, "--json")
        assert done.exit_code == 0, done.output
        assert (json.loads(done.stdout)["score"]["mean"], len(writer.bodies)) == (1.0, 6)
        assert scorer.bodies


def plan_of(task: Path, path: Path) -> Path:
    """Write the plan of one sample of the small model."""
    from agenttts import Plan, Task
    from agenttts.pipeline.base import Allocation, StageChoice

    Plan(Task.load(task), Allocation((StageChoice("spell", "small", 1, "first"),))).save(path)
    return path


def test_help_says_what_an_endpoint_does_not_move() -> None:
    words = " ".join(agenttts("optimize", "--help").stdout.replace("│", " ").split())
    assert "Models that score or select, and the planner, stay where their cards say" in words
