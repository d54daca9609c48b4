"""A study of a task that sends problems to one of two settings by a rated difficulty, with costs worked out by hand.

Ten problems a split, rated 0.0, 0.1, ... 0.9, the last one with a word that is no number. The easy setting is right on
those rated below 0.5, the hard one on all. A rating reads 10 tokens and writes 2, an easy answer reads 10 and writes
20, a hard one reads 10 and writes 190.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agenttts import Plan
from agenttts.allocators.space import Space
from agenttts.budgets.cost import Budget, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.lengths import Lengths
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Trial, lengths_from_json
from agenttts.study.events import read_events
from agenttts.study.pilot import learn_pilot, learn_trial
from agenttts.task.task import Task

TASK = """\
name: routed
data: {path: rows.jsonl, id: id}
splits: {search: {where: {split: search}}, test: {where: {split: test}}}
models:
  tiny: {source: recorded, table: draws.csv, parameters: 1e9}
  small: {source: recorded, table: draws.csv, parameters: 1e9}
  large: {source: recorded, table: draws.csv, parameters: 5e9}
stages:
  rate:
    prompt: {user: "{{ problem.id }}"}
    models: [tiny]
    parse: last_number
    lengths: {prefill_tokens: 10, decode_tokens: 2}
  easy:
    needs: [rate]
    when: {stage: rate, measure: answer, below: [0, 0.5, 1.01]}
    prompt: {user: "{{ problem.id }}"}
    models: [small]
    lengths: {prefill_tokens: 10, decode_tokens: 20}
  hard:
    needs: [rate, easy]
    otherwise: easy
    prompt: {user: "{{ problem.id }}"}
    models: [small, large]
    lengths: {prefill_tokens: 10, decode_tokens: 190}
    score: {verifier: {kind: exact, normalise: false}, gold: gold}
score: {verifier: {kind: exact, normalise: false}, gold: gold}
budget: {unit: tokens, default: 300}
"""
RATE, EASY, HARD = 12, 30, 200
N = 10


def allocation(below: float, hard: str = "large") -> Allocation:
    return Allocation(
        (
            StageChoice("rate", "tiny", 1, "first"),
            StageChoice("easy", "small", 1, "first", below),
            StageChoice("hard", hard, 1, "first"),
        )
    )


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    rows, draws = [], []
    for split in ("search", "test"):
        for i in range(N):
            name = f"{split}{i}"
            rows.append({"id": name, "split": split, "gold": "right"})
            said = "no idea" if i == N - 1 else f"difficulty {i / N}"
            easy = "right" if i < 5 else "wrong"
            draws.append(("rate", "tiny", name, 0, said, 10, 2))
            draws.append(("easy", "small", name, 0, easy, 10, 20))
            draws.append(("hard", "small", name, 0, "wrong", 10, 190))
            draws.append(("hard", "large", name, 0, "right", 10, 190))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (tmp_path / "draws.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        head = ["stage", "model", "problem_id", "sample_index", "text", "prefill_tokens", "decode_tokens"]
        writer.writerows([head, *draws])
    (tmp_path / "task.yaml").write_text(TASK)
    return tmp_path / "task.yaml"


def agenttts(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agenttts", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def optimize(task_file: Path, run: Path, *options: str) -> tuple[str, list[dict]]:
    said = agenttts("optimize", task_file, "--trials", "5", "--run", run, *options)
    return said, read_events(run / "events.jsonl")[0]


def trials_of(events: list[dict]) -> dict[Allocation, Trial]:
    found = [Trial.from_json(event["trial"]) for event in events if event["event"] == "trial"]
    return {trial.allocation: trial for trial in found}


def test_the_space_holds_an_allocation_once_where_a_setting_gets_no_problem(task_file: Path) -> None:
    told = json.loads(agenttts("check", task_file, "--json"))
    # easy never and easy below 0.5 with two models each for hard; easy always, where hard's model is all the same
    assert told["space"]["n_feasible"] == 2 + 2 + 1
    said = agenttts("check", task_file)
    assert "where the answer of rate is below 0 or 0.5 or 1.01" in said
    assert "where easy was not run" in said


@pytest.mark.parametrize("allocator", ["random", "curves", "tpe", "gp", "grid"])
def test_charged_costs_are_those_of_the_settings_that_ran(
    task_file: Path, tmp_path: Path, allocator: str
) -> None:
    said, events = optimize(task_file, tmp_path / "run", "--allocator", allocator, "--no-racing")
    trials = trials_of(events)
    assert set(trials) == {
        allocation(0.0, "small"),
        allocation(0.0),
        allocation(0.5, "small"),
        allocation(0.5),
        allocation(1.01, "small"),  # the first of the choices that make no difference
    }
    assert trials[allocation(0.0)].charged == RATE + HARD
    assert trials[allocation(1.01, "small")].charged == RATE + EASY
    # Rated 0.0 to 0.4: five problems; the one without a number is taken for easy too.
    best = trials[allocation(0.5)]
    assert best.charged == pytest.approx(RATE + 0.6 * EASY + 0.4 * HARD)
    assert sum(best.scores.values()) == 9
    assert set(best.stage_scores["hard"]) == {f"search{i}" for i in range(5, 9)}
    assert best.measured["easy"] == {f"search{i}": pytest.approx(i / N) for i in range(N - 1)}
    # With easy off all ten problems go to hard, and all are right.
    assert Plan.load(tmp_path / "run" / "plan.yaml").allocation == allocation(0.0)
    assert "otherwise" in said


def test_expected_costs_come_to_be_the_measured_ones(task_file: Path, tmp_path: Path) -> None:
    _, events = optimize(task_file, tmp_path / "run", "--allocator", "random", "--no-racing")
    task = Task.load(task_file)
    lengths = Lengths(task.file)

    def cost(below: float) -> float:
        space = Space.build(task, lengths, CostModel(task.cards), Budget(300, Unit.TOKENS))
        chosen = allocation(below, "small" if below > 1 else "large")
        row = space.index(chosen)
        assert row is not None
        assert space.cost_array(space.once(_rows(row)))[0] == pytest.approx(space.cost(chosen))
        return space.cost(chosen)

    assert cost(0.5) == RATE + EASY + HARD  # nothing is known: both count in full
    learn_pilot(lengths, next(event for event in events if event["event"] == "pilot"))
    # The pilot saw eight problems; one more counts for each side.
    n_easy = sum(
        p.id in {"search0", "search1", "search2", "search3", "search4", "search9"} for p in task.search[:8]
    )
    assert cost(0.5) == pytest.approx(RATE + (n_easy + 1) / 9 * EASY + (8 - n_easy + 1) / 9 * HARD)
    for trial in trials_of(events).values():
        learn_trial(lengths, trial)
    assert cost(0.5) == pytest.approx(RATE + 7 / 11 * EASY + 5 / 11 * HARD)
    assert (cost(0.0), cost(1.01)) == (pytest.approx(RATE + HARD), pytest.approx(RATE + EASY))
    # The ratings are kept, so that they tell the share at a threshold that was never tried.
    rater = StageChoice("rate", "tiny", 1, "first")
    assert lengths.run_shares.share("easy", 0.25, rater) == pytest.approx((4 + 1) / 11)
    assert lengths.run_shares.share("hard", None, rater, 0.25) == pytest.approx((6 + 1) / 11)


def _rows(row: tuple[int, ...]):
    import numpy as np

    return np.array([row], dtype=np.int32)


def test_the_pilot_runs_every_model_of_both_settings_on_every_problem(
    task_file: Path, tmp_path: Path
) -> None:
    _, events = optimize(task_file, tmp_path / "run", "--allocator", "random")
    pilot = next(event for event in events if event["event"] == "pilot")
    seen: Counter[tuple[str, str]] = Counter()
    for stage, data in pilot["lengths"]:
        piece = lengths_from_json(data)
        seen[stage, piece.model] += sum(piece.prefill.values())
    assert set(seen) == {("rate", "tiny"), ("easy", "small"), ("hard", "small"), ("hard", "large")}
    assert (seen["hard", "small"], seen["hard", "large"]) == (8, 8)
    assert pilot["n_failed"] == 0


def test_a_tight_budget_buys_the_routed_plan_and_evaluation_agrees(task_file: Path, tmp_path: Path) -> None:
    budget = ["--budget", "130tokens", "--allocator", "grid"]
    optimize(task_file, tmp_path / "run", *budget)
    plan = Plan.load(tmp_path / "run" / "plan.yaml")
    assert plan.allocation == allocation(0.5)  # 110 tokens; hard alone would take 212
    told = json.loads(agenttts("evaluate", tmp_path / "run" / "plan.yaml", "--json"))
    assert told["charged"]["amount"] == pytest.approx(RATE + 0.6 * EASY + 0.4 * HARD)
    easy, hard = (next(p for p in plan.task.search if p.id == name) for name in ("search1", "search7"))
    answer = plan.answer(easy)
    assert (answer.answer, answer.stages["hard"].skipped) == ("right", True)
    assert answer.cost.prefill_tokens + answer.cost.decode_tokens == RATE + EASY
    answer = plan.answer(hard)
    assert (answer.answer, answer.stages["easy"].answer, answer.stages["hard"].skipped) == (
        "right",
        None,
        False,
    )
    assert answer.cost.prefill_tokens + answer.cost.decode_tokens == RATE + HARD
