"""A small task on recorded draws: real pipeline, real store, nothing that costs."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from agenttts.budgets.cost import Budget, Unit
from agenttts.study.result import StudyOptions
from agenttts.task.task import Task

N_PROBLEMS = 60
N_DRAWS = 8
MODELS = {"rec/small": 0.4, "rec/large": 0.8}

TASK = """
name: recorded-sums
data: {path: problems.jsonl, id: id}
splits:
  search: {where: {split: search}}
  test: {where: {split: test}}
models:
  rec/small: {source: recorded, table: draws.csv, parameters: 1.0e+6, max_n: 64}
  rec/large: {source: recorded, table: draws.csv, parameters: 4.0e+6, max_n: 64}
stages:
  plan:
    prompt: {user: "plan: {{ problem.question }}"}
    models: [rec/small, rec/large]
    n_samples: [1, 2, 4, 8]
    parse: last_number
    lengths: {prefill_tokens: 10, decode_tokens: 6}
    score: {verifier: numeric, gold: half}
  solve:
    needs: [plan]
    prompt: {user: "solve: {{ problem.question }} {{ stages.plan.answer }}"}
    models: [rec/small, rec/large]
    n_samples: [1, 2, 4, 8]
    parse: last_number
    lengths: {prefill_tokens: 10, decode_tokens: 6}
    score: {verifier: numeric, gold: answer}
score: {verifier: numeric, gold: answer}
budget: {unit: tokens}
"""


def write_task(folder: Path, seed: int = 0) -> Path:
    """Write the task with its problems and its recorded draws; return the task file."""
    rng = random.Random(seed)
    problems = [
        {
            "id": f"q{i:02}",
            "question": f"what is {i} + {i}?",
            "half": i,
            "answer": 2 * i,
            "split": "search" if i % 2 else "test",
        }
        for i in range(1, N_PROBLEMS + 1)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(p) + "\n" for p in problems))
    with (folder / "draws.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["stage", "model", "problem_id", "sample_index", "text", "prefill_tokens", "decode_tokens"]
        )
        for stage, gold in (("plan", "half"), ("solve", "answer")):
            for model, skill in MODELS.items():
                for problem in problems:
                    for draw in range(N_DRAWS):
                        right = rng.random() < skill
                        value = problem[gold] if right else rng.randint(1000, 1005)
                        table.writerow(
                            [stage, model, problem["id"], draw, f"it is {value}", 10, rng.randint(3, 9)]
                        )
    path = folder / "task.yaml"
    path.write_text(TASK)
    return path


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    return Task.load(write_task(folder))


@pytest.fixture
def options() -> StudyOptions:
    return StudyOptions(budget=Budget(90, Unit.TOKENS), allocator="curves", n_trials=9, batch=3, seed=5)


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'samples.sqlite3'}"
