"""Runs put together by hand: a task of two stages, and whatever trials a test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.report.facts.record import RunRecord, read_run
from agenttts.study.archive import Trial
from agenttts.study.events import EventLog
from agenttts.study.result import StudyOptions
from agenttts.task.task import Task

SMALL, LARGE = "simulated/small", "simulated/large"
N_PROBLEMS = 10

TASK = """
name: by-hand
data: {path: problems.jsonl, id: id}
splits:
  search: {where: {split: search}}
  test: {where: {split: test}}
models:
  simulated/small: {source: openai, base_url: "http://127.0.0.1:9/v1", parameters: 1.0e+8}
  simulated/large: {source: openai, base_url: "http://127.0.0.1:9/v1", parameters: 4.0e+8}
stages:
  draft:
    prompt: {user: "draft: {{ problem.question }}"}
    models: [simulated/small, simulated/large]
    n_samples: [1, 2, 4]
    parse: last_number
    lengths: {prefill_tokens: 10, decode_tokens: 5}
    score: {verifier: numeric, gold: answer}
  solve:
    needs: [draft]
    prompt: {user: "solve: {{ problem.question }} {{ stages.draft.answer }}"}
    models: [simulated/small, simulated/large]
    n_samples: [1, 2, 4]
    parse: last_number
    lengths: {prefill_tokens: 10, decode_tokens: 5}
    score: {verifier: numeric, gold: answer}
score: {verifier: numeric, gold: answer}
budget: {unit: gflops}
"""

Rows = Mapping[str, Any]


def name_of(i: int) -> str:
    return f"p{i}"


def by_problem(signs: str) -> dict[str, float]:
    """Return scores from `110-`: right, right, wrong, no score."""
    return {name_of(i): float(sign) for i, sign in enumerate(signs) if sign != "-"}


def choice(stage: str, model: str, n: int) -> StageChoice:
    return StageChoice(stage, model, n, "first" if n == 1 else "majority")


def make_trial(
    number: int,
    signs: str,
    draft: tuple[str, int] = (SMALL, 1),
    solve: tuple[str, int] = (SMALL, 1),
    *,
    charged: float = 1.0,
    **more: Any,
) -> Trial:
    """Return a trial; its stages share the cost evenly."""
    half = Cost(flops=charged * 5e8, linear_flops=charged * 5e8, prefill_tokens=10, decode_tokens=5)
    told: dict[str, Any] = {"costs": {"draft": half, "solve": half}, "origin": "curves", **more}
    return Trial(
        number,
        Allocation((choice("draft", *draft), choice("solve", *solve))),
        told.pop("status", "ok"),
        by_problem(signs),
        charged,
        **told,
    )


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    rows = [
        {
            "id": name_of(i),
            "question": f"{i} + {i}?",
            "answer": 2 * i,
            "split": "search" if i < N_PROBLEMS else "test",
        }
        for i in range(2 * N_PROBLEMS)
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.yaml").write_text(TASK)
    return Task.load(folder / "task.yaml")


@pytest.fixture
def run(tmp_path: Path, task: Task) -> Callable[..., RunRecord]:
    """Return a maker of runs: trials, then what else the log is to hold."""

    def make(
        trials: Sequence[Trial],
        *,
        events: Sequence[tuple[str, Rows]] = (),
        budget: float = 10.0,
        spent: Sequence[float] = (),
        **options: Any,
    ) -> RunRecord:
        folder = tmp_path / "run"
        log = EventLog(folder)
        asked = StudyOptions(budget=Budget(budget, Unit.GFLOPS), **options)
        log.append(
            "started",
            study_id="s",
            agenttts="0.1.0",
            task_digest=task.digest,
            task=task.to_json(),
            options=asked.to_json(),
            store="memory:",
        )
        for i, trial in enumerate(trials):
            paid = {"spent": asdict(Cost(flops=spent[i] * 1e9, decode_tokens=spent[i]))} if spent else {}
            log.append("trial", trial=trial.to_json(), **paid)
        for kind, content in events:
            log.append(kind, **content)
        log.close()
        return read_run(folder)

    return make
