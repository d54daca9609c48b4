"""A study of a task whose second stage runs on a condition, through the command line, with costs worked out by hand.

Six problems a split: on four all attempts agree and are right; on two the attempts are split and wrong, and the second
stage is right. An attempt reads 10 tokens and writes 20, an escalation reads 10 and writes 100.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agenttts import Plan
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.errors import PlanError
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial
from agenttts.study.events import read_events
from agenttts.study.pilot import learn_pilot, learn_trial
from agenttts.task.task import Task

TASK = """\
name: unsure
data: {path: rows.jsonl, id: id}
splits: {search: {where: {split: search}}, test: {where: {split: test}}}
models:
  small: {source: recorded, table: draws.csv, parameters: 1e9}
  large: {source: recorded, table: draws.csv, parameters: 5e9}
stages:
  attempt:
    prompt: {user: "{{ problem.id }}"}
    models: [small]
    n_samples: [1, 4]
    lengths: {prefill_tokens: 10, decode_tokens: 20}
  escalate:
    needs: [attempt]
    when: {stage: attempt, below: [0, 0.6]}
    prompt: {user: "{{ problem.id }}"}
    models: [large]
    lengths: {prefill_tokens: 10, decode_tokens: 100}
    score: {verifier: {kind: exact, normalise: false}, gold: gold}
score: {verifier: {kind: exact, normalise: false}, gold: gold}
budget: {unit: tokens, default: 150}
"""
X4, LARGE = 10 + 4 * 20, 10 + 100
SMALL_4 = StageChoice("attempt", "small", 4, "majority")
BEST = Allocation((SMALL_4, StageChoice("escalate", "large", 1, "first", 0.6)))


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    rows, draws = [], []
    for split in ("search", "test"):
        for i in range(6):
            name = f"{split}{i}"
            rows.append({"id": name, "split": split, "gold": "right"})
            said = ["right"] * 4 if i < 4 else ["wrong", "right", "wrong", "other"]
            draws += [("attempt", "small", name, k, text, 10, 20) for k, text in enumerate(said)]
            draws.append(("escalate", "large", name, 0, "right", 10, 100))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (tmp_path / "draws.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["stage", "model", "problem_id", "sample_index", "text", "prefill_tokens", "decode_tokens"]
        )
        writer.writerows(draws)
    (tmp_path / "task.yaml").write_text(TASK)
    return tmp_path / "task.yaml"


def agenttts(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agenttts", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def optimize(task_file: Path, run: Path, *options: str) -> tuple[str, list[dict]]:
    said = agenttts("optimize", task_file, "--allocator", "random", "--trials", "4", "--run", run, *options)
    return said, read_events(run / "events.jsonl")[0]


def test_before_any_draw_a_stage_counts_as_always_running(task_file: Path) -> None:
    told = json.loads(agenttts("check", task_file, "--json"))
    # 4 attempts and the escalation may cost 200; the other three of the four allocations fit 150.
    assert (told["space"]["n_allocations"], told["space"]["n_feasible"]) == (4, 3)
    assert "where the agreement of attempt is below 0 or 0.6" in agenttts("check", task_file)


def test_the_search_finds_the_plan_that_fits_because_it_rarely_escalates(
    task_file: Path, tmp_path: Path
) -> None:
    said, events = optimize(task_file, tmp_path / "run", "--no-racing")
    assert [event["n_feasible"] for event in events if event["event"] == "round"] == [4]
    trials = {
        Allocation.from_json(e["trial"]["allocation"]): e["trial"] for e in events if e["event"] == "trial"
    }
    best = trials[BEST]
    assert best["charged"] == pytest.approx(X4 + 2 / 6 * LARGE)
    assert best["status"] == "ok"
    assert sum(best["scores"].values()) == 6
    assert best["votes"] == {"attempt": {f"search{i}": "0000" if i < 4 else "0102" for i in range(6)}}
    assert set(best["stage_scores"]["escalate"]) == {"search4", "search5"}
    off = trials[Allocation((SMALL_4, StageChoice("escalate", "large", 1, "first", 0.0)))]
    assert off["charged"] == X4
    assert sum(off["scores"].values()) == 4
    plan = Plan.load(tmp_path / "run" / "plan.yaml")
    assert plan.allocation == BEST
    rows = [line.split() for line in said.splitlines() if line.startswith(("attempt ", "escalate "))]
    assert rows[:2] == [
        ["attempt", "small", "4", "majority", "always"],
        ["escalate", "large", "1", "first", "0.6"],
    ]


def test_expected_costs_are_what_draws_show(task_file: Path, tmp_path: Path) -> None:
    _, events = optimize(task_file, tmp_path / "run", "--no-racing")
    task = Task.load(task_file)
    lengths = Lengths(task.file)

    def cost() -> float:
        space = Space.build(task, lengths, CostModel(task.cards), Budget(250, Unit.TOKENS))
        return space.cost(BEST)

    assert cost() == pytest.approx(X4 + LARGE)
    learn_pilot(lengths, next(event for event in events if event["event"] == "pilot"))
    # The pilot saw all six problems: it runs on two of them, and on one more that is added for caution.
    assert cost() == pytest.approx(X4 + 3 / 7 * LARGE)
    for event in events:
        if event["event"] == "trial":
            learn_trial(lengths, Trial.from_json(event["trial"]))
    assert cost() == pytest.approx(X4 + 3 / 7 * LARGE)


def test_the_plan_is_evaluated_and_answers_one_problem(task_file: Path, tmp_path: Path) -> None:
    optimize(task_file, tmp_path / "run")
    told = json.loads(agenttts("evaluate", tmp_path / "run" / "plan.yaml", "--json"))
    assert told["charged"]["amount"] == pytest.approx(X4 + 2 / 6 * LARGE)
    plan = Plan.load(tmp_path / "run" / "plan.yaml")
    sure, unsure = (next(p for p in plan.task.search if p.id == name) for name in ("search0", "search4"))
    answer = plan.answer(sure)
    assert (answer.answer, answer.stages["escalate"].skipped) == ("right", True)
    assert answer.cost.prefill_tokens + answer.cost.decode_tokens == X4
    answer = plan.answer(unsure)
    assert (answer.answer, answer.stages["escalate"].skipped) == ("right", False)
    assert answer.cost.prefill_tokens + answer.cost.decode_tokens == X4 + LARGE


def test_a_plan_without_its_threshold_is_refused(task_file: Path, tmp_path: Path) -> None:
    optimize(task_file, tmp_path / "run")
    text = (tmp_path / "run" / "plan.yaml").read_text()
    (tmp_path / "run" / "plan.yaml").write_text(text.replace("  below: 0.6\n", "", 1))
    with pytest.raises(PlanError, match="stage escalate runs on a condition: below: expected the threshold"):
        Plan.load(tmp_path / "run" / "plan.yaml")


@pytest.mark.skipif("AGENTTTS_REPLAY" not in os.environ, reason="needs the recorded tables (AGENTTTS_REPLAY)")
def test_the_catalogue_task_aime_runs_on_the_recorded_tables(tmp_path: Path) -> None:
    tables = [Path(os.environ["AGENTTTS_REPLAY"]) / f"aime{year}_qwen3.csv.gz" for year in (24, 25)]
    agenttts("record", "import", *tables, "--task", "aime", "--out", tmp_path / "aime")
    told = json.loads(agenttts("check", tmp_path / "aime", "--json"))
    assert told["n_search"] == 30
    assert told["space"]["n_allocations"] == (24 * 6) * (1 + 5 * 24 * 6)
    _, events = optimize(tmp_path / "aime", tmp_path / "run")
    task = Task.load(tmp_path / "aime" / "task.yaml")
    lengths = Lengths(task.file)
    learn_pilot(lengths, next(event for event in events if event["event"] == "pilot"))
    trials = [Trial.from_json(event["trial"]) for event in events if event["event"] == "trial"]
    for trial in trials:
        learn_trial(lengths, trial)
    space = Space.build(task, lengths, CostModel(task.cards), Budget(160_000, Unit.GFLOPS))
    assert 0.2 < space.n_feasible / space.size < 0.5
    for trial in trials:
        if trial.status != "stopped":
            assert space.cost(trial.allocation) == pytest.approx(trial.charged, rel=0.5)
