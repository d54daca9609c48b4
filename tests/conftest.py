"""Shared by all tests: a small task whose draws are recorded, so that whole runs are quick and exact."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

TASK = """
format: 1
name: sums
description: Sums in two stages, with recorded draws (invented for tests).
data: {path: problems.jsonl, id: id}
splits:
  search: {where: {split: search}}
  test: {where: {split: test}}
models:
  rec/small: {source: recorded, table: draws.csv, parameters: 1.0e+6}
  rec/large: {source: recorded, table: draws.csv, parameters: 8.0e+6}
stages:
  think:
    prompt: {user: "Think about {{ problem.question }}."}
    models: [rec/small, rec/large]
    n_samples: [1, 2, 4]
    sampling: {max_tokens: 20}
    parse: last_number
    lengths: {prefill_tokens: 10, decode_tokens: 5}
    score: {verifier: numeric, gold: answer}
  answer:
    needs: [think]
    prompt: {user: "{{ problem.question }} Somebody says {{ stages.think.answer }}."}
    models: [rec/small, rec/large]
    n_samples: [1, 4, 8]
    sampling: {max_tokens: 20}
    parse: last_number
    lengths: {prefill_tokens: 12, decode_tokens: 5}
score: {stage: answer, verifier: numeric, gold: answer}
budget: {unit: gflops, default: 0.6}
"""
N_SEARCH, N_TEST, N_DRAWS = 20, 24, 8
RIGHT = {"rec/small": 0.4, "rec/large": 0.6}
"""Share of right draws."""


def write_recorded_task(folder: Path) -> Path:
    """Write a task with its problems and recorded draws; return the task file."""
    generator = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    splits = ["search"] * N_SEARCH + ["test"] * N_TEST
    problems = [
        {"id": f"p{i:03}", "question": f"What is {i} + 1?", "answer": i + 1, "split": split}
        for i, split in enumerate(splits)
    ]
    with (folder / "problems.jsonl").open("w") as file:
        file.writelines(json.dumps(problem) + "\n" for problem in problems)
    with (folder / "draws.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["stage", "model", "problem_id", "sample_index", "text", "prefill_tokens", "decode_tokens"]
        )
        for stage in ("think", "answer"):
            for model, share in RIGHT.items():
                for problem in problems:
                    for i in range(N_DRAWS):
                        right = generator.random() < share
                        value = problem["answer"] if right else generator.choice([100, 200])
                        writer.writerow([stage, model, problem["id"], i, f"It is {value}", 10, 5])
    (folder / "task.yaml").write_text(TASK)
    return folder / "task.yaml"


@pytest.fixture
def recorded_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a task with recorded draws; the working folder is an empty one beside it."""
    path = write_recorded_task(tmp_path / "sums")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return path
