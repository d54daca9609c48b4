"""Plans as models and solver of inspect_ai, run by inspect_ai itself."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import Task, eval  # noqa: A004
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentImage, get_model
from inspect_ai.solver import SolverSpec, generate
from inspect_ai.tool import tool

from agenttts.budgets.cards import Price
from agenttts.harness.inspect import plan as plan_solver
from agenttts.harness.inspect import verifier
from agenttts.pipeline.plan import Plan
from tests.harness.tasks import readme_command, rows, write_tasks
from tests.models.local_server import Answer, completion, error, local_server
from tests.tiny_plan import save_tiny_plan, tiny_plan


def dataset(n: int = 3) -> MemoryDataset:
    return MemoryDataset(
        [
            Sample(
                id=str(row["id"]),
                input=str(row["text"]),
                target=str(row["answer"]),
                metadata={"plan": row["plan"]},
            )
            for row in rows(n)
        ]
    )


def run(task: Task, model: str, tmp_path: Path, **more: object) -> EvalLog:
    (log,) = eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none", **more)
    log.samples.sort(key=lambda sample: str(sample.id))  # they stand in the order of finishing
    return log


def inspect(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inspect_ai", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )


def bill(sample) -> dict:
    return sample.output.metadata["agenttts"]


# --- the command line


def test_inspect_eval_runs_a_plan_by_its_path_and_its_log_holds_usage_and_cost(tmp_path):
    save_tiny_plan(tmp_path / "runs" / "x")
    write_tasks(tmp_path / "tasks", 5)
    model = "agenttts/runs/x/plan.yaml"
    assert readme_command("inspect", "eval", "task.py", "--model", model) == []
    more = "--epochs 2 --log-format json --display plain"
    done = inspect(tmp_path, "eval", "tasks/fair.py", "--model", model, *more.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mean" in done.stdout
    (file,) = (tmp_path / "logs").glob("*.json")
    log = json.loads(file.read_text())
    assert log["status"] == "success"
    samples = log["samples"]
    assert len(samples) == 10
    usage = log["stats"]["model_usage"]["agenttts/runs/x/plan.yaml"]
    bills = [sample["output"]["metadata"]["agenttts"] for sample in samples]
    assert usage["input_tokens"] == sum(one["tokens"]["prefill"] for one in bills)
    assert usage["output_tokens"] == sum(one["tokens"]["decode"] for one in bills)
    assert all(one["cost"]["gflops"] > 0 and one["cost"]["usd"] is None for one in bills)
    assert "total_cost" not in usage or usage["total_cost"] is None
    scores = [sample["scores"]["verifier"]["value"] for sample in samples]
    (metric,) = (one["metrics"]["mean"]["value"] for one in log["results"]["scores"])
    assert metric == pytest.approx(sum(scores) / len(scores))


# --- the model


def test_the_answers_are_those_of_the_plan(tmp_path):
    path = save_tiny_plan(tmp_path)
    log = run(Task(dataset=dataset(), scorer=verifier("numeric")), f"agenttts/{path}", tmp_path)
    plan = Plan.load(path)
    for sample, row in zip(log.samples, rows(3), strict=True):
        answer = plan.answer({"text": row["text"]})
        assert sample.output.completion == answer.text
        assert bill(sample)["answer"] == answer.answer
        assert sample.scores["verifier"].value == float(float(answer.answer) == row["answer"])


def test_a_plan_runs_in_one_evaluation_after_another_and_leaves_no_connection_open(tmp_path, caplog):
    with local_server() as server:
        model = get_model(f"agenttts/{save_tiny_plan(tmp_path, n_solve=1)}", base_url=server.url)
        logs = [run(Task(dataset=dataset(1)), model, tmp_path) for _ in range(2)]
    assert [log.status for log in logs] == ["success"] * 2
    gc.collect()  # an open connection would be told now
    assert "Unclosed" not in caplog.text
    texts = [log.samples[0].output.completion for log in logs]
    assert texts[0] != texts[1], "the same question asked again is another draw"


def test_epochs_are_independent_draws_that_a_rerun_draws_again(tmp_path):
    with local_server() as server:
        path = save_tiny_plan(tmp_path, n_solve=1, endpoint=server.url)
        logs = [
            run(Task(dataset=dataset(1)), get_model(f"agenttts/{path}", memoize=False), tmp_path, epochs=3)
            for _ in range(2)
        ]
    texts = [{sample.epoch: sample.output.completion for sample in log.samples} for log in logs]
    assert len(set(texts[0].values())) == 3
    assert texts[0] == texts[1]


def test_the_cost_in_usd_counts_in_the_usage_of_inspect(tmp_path):
    with local_server() as server:
        plan = tiny_plan(n_solve=1, endpoint=server.url)
        price = Price(input_per_million_usd=3.0, output_per_million_usd=15.0)
        cards = {name: card.model_copy(update={"price": price}) for name, card in plan.task.cards.items()}
        path = replace(plan, task=replace(plan.task, cards=cards)).save(tmp_path / "plan.yaml")
        log = run(Task(dataset=dataset(2)), f"agenttts/{path}", tmp_path)
    # 2 problems: 7 + 7 tokens read, 4 x 3 + 3 written (see local_server)
    assert sum(bill(sample)["cost"]["usd"] for sample in log.samples) == pytest.approx(
        2 * (14 * 3 + 15 * 15) * 1e-6
    )
    (usage,) = log.stats.model_usage.values()
    assert usage.total_cost == pytest.approx(2 * (14 * 3 + 15 * 15) * 1e-6)


def test_a_provider_that_fails_is_an_error_of_the_sample_and_no_wrong_answer(tmp_path):
    first = str(rows(1)[0]["text"])

    def script(body):
        return error(400, "refused") if first in body["messages"][-1]["content"] else completion(body)

    with local_server(script) as server:
        path = save_tiny_plan(tmp_path, n_solve=1, endpoint=server.url)
        task = Task(dataset=dataset(3), scorer=verifier("exact", gold="plan", parse="text"))
        log = run(task, f"agenttts/{path}", tmp_path, fail_on_error=False)
    errors = [sample.error for sample in log.samples]
    assert "refused" in errors[0].message
    assert errors[1:] == [None, None]
    assert log.results.scores[0].scored_samples == 2


def test_problems_run_at_once_up_to_the_connections_that_inspect_allows(tmp_path):
    def slow(body):
        return Answer(body=completion(body), after_s=0.1)

    with local_server(slow) as server:
        path = save_tiny_plan(tmp_path, n_solve=1, endpoint=server.url)
        run(Task(dataset=dataset(9)), f"agenttts/{path}", tmp_path, max_connections=3)
        assert len(server.bodies) == 18
        assert server.most_at_once == 3


def test_the_conversation_is_read_as_the_fields_say(tmp_path):
    chat = [ChatMessageSystem(content="a system text"), ChatMessageUser(content="a user text")]
    with local_server() as server:
        path = save_tiny_plan(tmp_path, n_solve=1, endpoint=server.url)
        task = Task(dataset=MemoryDataset([Sample(input=chat)]))
        run(task, f"agenttts/{path}", tmp_path, model_args={"fields": "text:system"})
    assert server.bodies[0]["messages"][-1]["content"] == "translate: a system text"


def test_the_answer_can_be_said_in_place_of_the_text(tmp_path):
    path = save_tiny_plan(tmp_path)
    log = run(Task(dataset=dataset(1)), f"agenttts/{path}", tmp_path, model_args={"content": "answer"})
    assert log.samples[0].output.completion == bill(log.samples[0])["answer"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"field": "text:user"}, "known: content, fields, store, trust"),
        ({"fields": "text:nowhere"}, "question:user"),
        ({"content": "all"}, "expected text or answer"),
    ],
)
def test_an_argument_that_cannot_be_used_is_told(tmp_path, arguments, said):
    path = save_tiny_plan(tmp_path)
    with pytest.raises(PrerequisiteError, match=said):
        get_model(f"agenttts/{path}", **arguments)


def test_a_plan_that_is_not_there_is_told(tmp_path):
    with pytest.raises(PrerequisiteError, match="no such plan"):
        get_model(f"agenttts/{tmp_path / 'nosuch.yaml'}")


async def test_tools_and_pictures_are_refused_rather_than_ignored(tmp_path):
    @tool
    def add():
        async def execute(x: int, y: int):
            """Add.

            Args:
                x: One.
                y: Other.
            """
            return x + y

        return execute

    model = get_model(f"agenttts/{save_tiny_plan(tmp_path)}", memoize=False)
    with pytest.raises(PrerequisiteError, match="no tools"):
        await model.generate("1 + 1", tools=[add()])
    picture = ContentImage(image="data:image/png;base64,iVBORw0KGgo=")
    with pytest.raises(Exception, match="reads text"):
        await model.generate([ChatMessageUser(content=[picture])])
    await model.api.aclose()


# --- the solver


def test_the_solver_and_the_scorer_are_found_by_name_whatever_the_model_is(tmp_path):
    path = save_tiny_plan(tmp_path)
    assert readme_command("inspect", "eval", "task.py", "--model", "none", "--solver", "agenttts/plan", "-S")
    assert readme_command("inspect", "score", "LOG", "--scorer", "agenttts/verifier", "-S") == [
        "kind=numeric",
        *("--action", "append", "--overwrite"),  # else it asks at a prompt
    ]
    given = {"plan": str(path)}
    solver = SolverSpec("agenttts/plan", given, given)
    log = run(Task(dataset=dataset(2), scorer=verifier("numeric")), "none", tmp_path, solver=solver)
    assert log.results.scores[0].metrics["mean"].value == 1
    plan = Plan.load(path)
    assert [bill(sample)["answer"] for sample in log.samples] == [
        plan.answer({"text": row["text"]}).answer for row in rows(2)
    ]
    assert list(log.stats.model_usage) == [f"agenttts/{path}"]
    assert log.samples[0].messages[-1].content == log.samples[0].output.completion


def test_the_solver_takes_fields_from_the_metadata_of_a_sample(tmp_path):
    with local_server() as server:
        path = save_tiny_plan(tmp_path, n_solve=1, endpoint=server.url)
        sample = Sample(input="the input", metadata={"story": "the story"})
        solver = plan_solver(str(path), fields="text:row.story")
        run(Task(dataset=MemoryDataset([sample]), solver=[solver, generate()]), "mockllm/model", tmp_path)
    assert server.bodies[0]["messages"][-1]["content"] == "translate: the story"
