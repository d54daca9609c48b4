"""Plans as a model of lm-evaluation-harness, run by the harness itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from agenttts.errors import InputError, PlanError, RequestRefusedError
from agenttts.harness.lm_eval import AgentttsLM
from agenttts.harness.lm_eval.__main__ import main, with_model
from agenttts.harness.lm_eval.model import cut
from tests.harness.tasks import readme_command, rows, write_tasks
from tests.models.local_server import completion, error, local_server
from tests.serve.conftest import serving
from tests.tiny_plan import save_tiny_plan, tiny_plan

N = 4


def ask(context: str, doc_id: int = 0, doc: dict[str, Any] | None = None, **options: Any) -> Instance:
    return Instance("generate_until", doc or {}, (context, options), 0, ("fair", doc_id, 1))


def evaluate(folder: Path, model: Any, **more: Any) -> dict[str, Any]:
    write_tasks(folder, N)
    return simple_evaluate(
        model=model,
        tasks=["fair"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **more,
    )


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agenttts.harness.lm_eval", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )


# --- the command line


def test_the_command_line_of_the_harness_runs_a_plan_and_its_results_hold_the_cost(tmp_path):
    save_tiny_plan(tmp_path / "runs" / "x")
    write_tasks(tmp_path / "tasks", N)
    shown = readme_command("python", "-m", "agenttts.harness.lm_eval")
    arguments = ["fair" if one == "gsm8k" else one for one in shown]
    more = "log=calls.jsonl --include_path tasks --output_path out --log_samples"  # the README's end with the model's
    done = run(tmp_path, *arguments, *more.split())
    assert done.returncode == 0, done.stderr
    assert "|fair " in done.stdout
    assert "agenttts ({'plan': 'runs/x/plan.yaml'" in done.stdout
    (file,) = (tmp_path / "out").rglob("results*.json")
    told = json.loads(file.read_text())["config"]["agenttts"]
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert sorted(line["doc_id"] for line in lines) == list(range(N))
    assert told["answers"] == told["by_task"]["fair"]["answers"] == N
    assert told["cost"]["gflops"] == pytest.approx(sum(line["cost"]["gflops"] for line in lines))
    assert told["tokens"]["decode"] == sum(line["tokens"]["decode"] for line in lines)
    assert told["figures_from"] == "tiny models shipped with agenttts"


def test_a_plan_that_is_not_there_ends_the_command_with_its_reason_and_exit_code(
    tmp_path, monkeypatch, capsys
):
    write_tasks(tmp_path / "tasks", 1)
    monkeypatch.chdir(tmp_path)
    options = "--tasks fair --include_path tasks --model_args plan=nosuch.yaml"
    monkeypatch.setattr(sys, "argv", ["lm_eval", *options.split()])
    assert main() == 2
    assert "error: nosuch.yaml: no such plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["--tasks", "x"], ["--tasks", "x", "--model", "agenttts"]),
        (["run", "--tasks", "x"], ["run", "--tasks", "x", "--model", "agenttts"]),
        (["--model", "dummy"], ["--model", "dummy"]),
        (["--model=dummy"], ["--model=dummy"]),
        (["ls", "tasks"], ["ls", "tasks"]),
        ([], []),
    ],
)
def test_the_model_is_the_plan_unless_another_is_named(given, made):
    assert with_model(given) == made


# --- simple_evaluate


def test_simple_evaluate_scores_what_the_plan_answers(tmp_path):
    plan = tiny_plan()
    results = evaluate(tmp_path, AgentttsLM(plan))
    answers = [plan.answer({"text": row["text"]}) for row in rows(N)]
    assert [sample["resps"] for sample in results["samples"]["fair"]] == [
        [[answer.text]] for answer in answers
    ]
    right = [float(answer.answer) == row["answer"] for answer, row in zip(answers, rows(N), strict=True)]
    assert results["results"]["fair"]["exact_match,last"] == sum(right) / N
    told = results["config"]["agenttts"]
    assert told["cost"]["gflops"] == pytest.approx(sum(answer.cost.flops for answer in answers) * 1e-9)


def test_the_model_is_known_by_its_name(tmp_path):
    path = save_tiny_plan(tmp_path / "runs" / "x")
    results = evaluate(tmp_path, "agenttts", model_args={"plan": str(path), "content": "answer"}, limit=1)
    (sample,) = results["samples"]["fair"]
    assert sample["resps"] == [[tiny_plan().answer({"text": rows(1)[0]["text"]}).answer]]


def test_a_chat_template_leaves_the_conversation_as_it_is(tmp_path):
    with local_server() as server:
        lm = AgentttsLM(tiny_plan(n_solve=1, endpoint=server.url), fields="text:system")
        evaluate(tmp_path, lm, apply_chat_template=True, system_instruction="from the system", limit=1)
    assert server.bodies[0]["messages"][-1]["content"] == "translate: from the system"


def test_what_is_cached_by_the_harness_is_not_asked_again(tmp_path):
    with local_server() as server:
        for _ in range(2):
            lm = AgentttsLM(tiny_plan(n_solve=1, endpoint=server.url))
            evaluate(tmp_path, lm, use_cache=str(tmp_path / "cache"))
            n_asked = len(server.bodies)
        assert n_asked == 2 * N


# --- the endpoint


def test_a_served_plan_is_evaluated_through_local_chat_completions(tmp_path):
    plan = tiny_plan()
    with serving(plan) as served:
        results = evaluate(
            tmp_path,
            "local-chat-completions",
            model_args={
                "model": "agenttts/tiny",
                "base_url": f"{served.url}/chat/completions",
                "num_concurrent": 4,
            },
            apply_chat_template=True,
        )
    direct = evaluate(tmp_path / "direct", AgentttsLM(plan))
    resps = [
        {str(sample["doc"]["id"]): sample["resps"] for sample in made["samples"]["fair"]}
        for made in (results, direct)
    ]
    assert resps[0] == resps[1]
    assert results["results"]["fair"] == direct["results"]["fair"]


# --- the model


def test_texts_come_in_the_order_of_the_requests_and_several_are_worked_on_at_once():
    contexts = [str(row["text"]) for row in rows(N)]

    def script(body):
        asked = body["messages"][-1]["content"]
        place = next((i for i, context in enumerate(contexts) if context in asked), None)
        said = f"problem {place}" if place is not None else asked.removeprefix("solve: ")
        return completion(body, contents=[said] * body.get("n", 1))

    with local_server(script) as server:
        lm = AgentttsLM(tiny_plan(n_solve=1, endpoint=server.url), concurrency=N)
        texts = lm.generate_until([ask(context) for context in contexts], disable_tqdm=True)
    assert texts == [f"problem {i}" for i in range(N)]


def test_repeats_of_a_request_are_independent_draws():
    with local_server() as server:
        lm = AgentttsLM(tiny_plan(n_solve=1, endpoint=server.url))
        request = ask("a question")
        texts = lm.generate_until([request] * 3, disable_tqdm=True)
        assert len(set(texts)) == 3
        assert lm.generate_until([request] * 3, disable_tqdm=True) == texts


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (["\n\n"], "one\ntwo"),
        ("t", "one\n"),
        (["four", "three", "\n"], "one"),
        (["four", ""], "one\ntwo\n\nthree"),
        ([], "one\ntwo\n\nthree"),
        (None, "one\ntwo\n\nthree"),
    ],
)
def test_a_text_ends_before_the_first_of_the_stops(until, expected):
    assert cut("one\ntwo\n\nthree", until) == expected


def test_a_plan_that_reads_several_fields_gets_columns_of_the_document():
    with local_server() as server:
        lm = AgentttsLM(tiny_plan(n_solve=1, endpoint=server.url), fields="text:row.story")
        lm.generate_until([ask("the prompt", doc={"story": "the story", "text": "other"})], disable_tqdm=True)
    assert server.bodies[0]["messages"][-1]["content"] == "translate: the story"


def test_a_failed_request_is_an_error_after_the_others_are_answered():
    def script(body):
        return error(400, "refused") if "bad" in body["messages"][-1]["content"] else completion(body)

    with local_server(script) as server:
        lm = AgentttsLM(tiny_plan(n_solve=1, endpoint=server.url))
        with pytest.raises(RequestRefusedError) as caught:
            lm.generate_until([ask("bad"), ask("good"), ask("good, too")], disable_tqdm=True)
    assert "1 of 3 requests got no answer" in caught.value.__notes__[0]
    assert lm.get_model_info()["agenttts"]["answers"] == 2


@pytest.mark.parametrize("method", ["loglikelihood", "loglikelihood_rolling"])
def test_likelihoods_are_refused_with_the_tasks_that_fit(method):
    lm = AgentttsLM(tiny_plan())
    with pytest.raises(NotImplementedError, match=rf"{method} is not there.*generate_until.*gsm8k"):
        getattr(lm, method)([])


def test_what_cannot_be_used_is_told_when_the_model_is_made(tmp_path):
    with pytest.raises(PlanError, match="no such plan"):
        AgentttsLM(tmp_path / "nosuch.yaml")
    with pytest.raises(TypeError, match="temprature"):
        AgentttsLM(tiny_plan(), temprature=1)
    with pytest.raises(InputError, match="text or answer"):
        AgentttsLM(tiny_plan(), content="all")
