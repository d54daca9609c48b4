"""A stage that depends on a context only: how often it is really asked, what each problem is charged, when it pays."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import agenttts
from agenttts._cli.results import result_text
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.budgets.quote import quote_problem, quote_study
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.result import StudyResult
from agenttts.task.task import Task
from tests.integration.counting_server import counting_server
from tests.models.local_server import Body, local_server

TINY = """\
name: fairs
data: {path: rows.jsonl, id: id}
splits: {search: {where: {split: search}}, test: {where: {split: test}}}
stages:
  digest:
    shared_by: {field: story}
    prompt: {user: "translate: {{ problem.text }}"}
    models: [tiny/s]
    n_samples: [2]
    sampling: {temperature: 0.8, max_tokens: 48}
    lengths: {decode_tokens: 16}
  solve:
    needs: [digest]
    prompt: {user: "solve: {{ stages.digest.answer }}"}
    models: [tiny/s]
    n_samples: [1, 2]
    sampling: {temperature: 0.8, max_tokens: 64}
    parse: last_number
score: {verifier: numeric, gold: answer}
budget: {unit: tokens, default: 100000}
"""


def test_a_shared_stage_is_asked_once_per_context_however_many_problems_run_at_once(tmp_path: Path) -> None:
    known = (
        (Path(agenttts.__file__).parents[1] / "tasks" / "tiny" / "problems.jsonl").read_text().splitlines()
    )
    stories = [json.loads(line) for line in known[:5]]
    rows = [
        {
            "id": f"{i}-{k}",
            "story": i,
            "text": s["text"],
            "answer": s["answer"],
            "split": "test" if i == 4 else "search",
        }
        for k in range(6)
        for i, s in enumerate(stories)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "task.yaml").write_text(TINY)
    with counting_server(delay_s=0.05) as server:
        task = Task.load(tmp_path / "task.yaml", endpoint=server.url)
        result = agenttts.optimize(
            task,
            allocator="grid",
            n_trials=2,
            run=tmp_path / "run",
            store=f"sqlite:///{tmp_path}/draws.sqlite",
        )
        draws = {draw: n for draw, n in server.draws.items() if "translate" in draw[1]}
    assert (
        len(draws) == 5 * 2
    )  # two samples for each of the five stories, in all of pilot, trials and confirmation
    assert set(draws.values()) == {1}
    assert task.file.stages["digest"].shared_by is not None
    assert task.file.stages["digest"].shared_by.queries == 6.0  # as the search problems show
    trial = result.trials[0]
    lengths = trial.lengths["digest"]
    whole = sum(n * often for n, often in lengths.prefill.items()) + sum(
        n * often for n, often in lengths.decode.items()
    )
    charged = trial.costs["digest"]
    assert charged.prefill_tokens + charged.decode_tokens == pytest.approx(whole / len(trial.scores) / 6)


TASK = """\
name: library
data: {{path: rows.jsonl, id: id}}
splits: {{search: {{where: {{split: search}}}}, test: {{where: {{split: test}}}}}}
models:
  small: {{source: openai, base_url: "{url}", parameters: 1.0e+9, max_n: 4}}
stages:
  notes:
    shared_by: {{field: book, queries: 10}}
    optional: true
    prompt: {{user: "notes on {{{{ problem.text }}}}"}}
    models: [small]
  say:
    needs: [notes]
    prompt: {{user: "say {{{{ problem.question }}}} {{{{ stages.notes.answer }}}}"}}
    models: [small]
    n_samples: [1, 4]
score: {{verifier: exact, gold: answer}}
budget: {{unit: tokens, default: 1000}}
"""
NOTES = 100 + 300
"""Tokens of one run of the notes."""


def reply(body: Body) -> dict[str, Any]:
    """Be right at once with notes; without them three times of four, with long answers."""
    text = body["messages"][-1]["content"]
    prefill, decode = (100, 300) if text.startswith("notes") else (10, 10) if "insight" in text else (10, 30)
    places = range(body["seed"], body["seed"] + (body.get("n") or 1))
    if text.startswith("notes"):
        said = ["insight" for _ in places]
    else:
        said = ["yes" if "insight" in text or place % 4 else "no" for place in places]
    choices = [
        {"index": j, "finish_reason": "stop", "message": {"role": "assistant", "content": one}}
        for j, one in enumerate(said)
    ]
    usage = {"prompt_tokens": prefill, "completion_tokens": decode * len(said)}
    usage["total_tokens"] = sum(usage.values())
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"]}
    return {**head, "choices": choices, "usage": usage}


def study(folder: Path, **options: Any) -> tuple[StudyResult, Task, Counter[str]]:
    rows = [
        {"id": f"{b}{k}", "book": b, "text": f"text of {b}", "question": k, "answer": "yes", "split": split}
        for split, books in (("search", "ab"), ("test", "cd"))
        for b in books
        for k in range(4)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with local_server(always=reply) as server:
        (folder / "task.yaml").write_text(TASK.format(url=server.url))
        task = Task.load(folder / "task.yaml")
        options = {"allocator": "grid", **options}
        store = f"sqlite:///{folder}/draws.sqlite"
        result = agenttts.optimize(task, n_trials=4, run=folder / "run", store=store, **options)
        asked = Counter(body["messages"][-1]["content"] for body in server.bodies)
    return result, task, asked


def allocation(notes: float | None, n: int) -> Allocation:
    select = "first" if n == 1 else "majority"
    return Allocation(
        (StageChoice("notes", "small", 1, "first", notes), StageChoice("say", "small", n, select))
    )


def test_the_search_says_from_how_many_queries_on_a_shared_stage_pays(tmp_path: Path) -> None:
    result, task, asked = study(tmp_path, racing=False)
    found = {trial.allocation: trial for trial in result.trials}
    assert {a: trial.charged for a, trial in found.items()} == pytest.approx(
        {
            allocation(None, 1): NOTES / 10 + 20,
            allocation(None, 4): NOTES / 10 + 10 + 4 * 10,
            allocation(0.0, 1): 40,
            allocation(0.0, 4): 10 + 4 * 30,
        }
    )
    assert [a for a, trial in found.items() if trial.score < 1] == [allocation(0.0, 1)]
    assert {text: n for text, n in asked.items() if text.startswith("notes")} == {
        f"notes on text of {book}": 1 for book in "abcd"
    }
    assert result.best is not None
    assert result.best.allocation == allocation(None, 1)
    # 20 + 400 / q <= 130 from q = 3.6 on
    (one,) = result.break_even
    assert (one.stage, one.count, one.against) == ("notes", 4, found[allocation(0.0, 4)].number)
    assert "notes: from 4 per book on" in result_text(task, result, tmp_path / "run", resumed=False)
    plan = yaml.safe_load((tmp_path / "run" / "plan.yaml").read_text())
    assert plan["search"]["break_even"] == {"notes": 4}
    assert agenttts.Plan.load(tmp_path / "run" / "plan.yaml").provenance.break_even == {"notes": 4}


def test_a_plan_charges_each_answer_its_part_and_may_leave_the_stage_out(tmp_path: Path) -> None:
    _, task, _ = study(tmp_path)
    with local_server(always=reply) as server:
        card = task.cards["small"].model_copy(update={"base_url": server.url})
        plan = agenttts.Plan.load(tmp_path / "run" / "plan.yaml")
        answers = []
        for chosen in (allocation(None, 1), allocation(0.0, 4)):
            served = replace(plan, allocation=chosen, task=replace(plan.task, cards={"small": card}))
            answers.append(served.answer(task.search[0]))
    costs = [one.cost.prefill_tokens + one.cost.decode_tokens for one in answers]
    assert costs == pytest.approx([NOTES / 10 + 20, 130])
    assert [(one.answer, one.stages["notes"].answer) for one in answers] == [("yes", "insight"), ("yes", "")]


def test_a_quote_counts_a_shared_stage_once_per_context_and_charges_its_part(tmp_path: Path) -> None:
    _, task, _ = study(tmp_path)
    cost_model, lengths = CostModel(task.cards), Lengths.of_task(task)
    lengths.observe_counts("notes", "small", prefill={100: 50}, decode={300: 50})
    lengths.observe_counts("say", "small", prefill={10: 50}, decode={10: 50})
    on, off = allocation(None, 1), allocation(0.0, 1)
    for one, tokens in ((on, NOTES / 10 + 20), (off, 20)):
        quote = quote_problem(lengths, cost_model, one).expected
        assert quote.prefill_tokens + quote.decode_tokens == pytest.approx(tokens)
    spent = quote_study(lengths, cost_model, [on], n_trials=1, n_search=8).expected
    # two books among the eight search problems
    assert spent.prefill_tokens + spent.decode_tokens == pytest.approx(2 * NOTES + 8 * 20)
    assert spent.calls == pytest.approx(2 + 8)


@pytest.mark.parametrize("allocator", ["random", "curves", "tpe", "gp", "cmaes", "nsga2"])
def test_every_allocator_can_leave_the_stage_out(tmp_path: Path, allocator: str) -> None:
    result, _, _ = study(tmp_path, allocator=allocator, confirm=False)
    assert {trial.allocation for trial in result.trials} == {
        allocation(notes, n) for notes in (None, 0.0) for n in (1, 4)
    }
