"""Tasks and scripted models for the pipeline's tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cards import ModelCard
from agenttts.budgets.cost_model import CostModel
from agenttts.pipeline.base import Allocation, Problem, StageChoice
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task

CARDS = {
    name: ModelCard(name=name, source="tiny", parameters=parameters)
    for name, parameters in (("simulated/small", 1e3), ("simulated/large", 1e4), ("tiny/prm", 1e3))
}
PROBLEM = Problem("p1", {"question": "What is 6 * 7?", "answer": 42, "plan": "6*7", "items": ["x"]})


@pytest.fixture
def problem() -> Problem:
    return PROBLEM


@pytest.fixture
def cost_model() -> CostModel:
    return CostModel(CARDS)


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    """Return a maker of tasks from their `stages` and `score` blocks."""

    def make(
        stages: Mapping[str, Any], score: Mapping[str, Any] | None = None, *, trust: bool = False
    ) -> Task:
        file = TaskFile.model_validate(
            {
                "name": "test",
                "data": {"path": "problems.jsonl"},
                "stages": stages,
                "score": score or {"verifier": "numeric", "gold": "answer"},
            }
        )
        return Task(file=file, folder=tmp_path, cards=CARDS, search=(PROBLEM,), trusted=trust)

    return make


@pytest.fixture
def choose() -> Callable[..., Allocation]:
    """Return a maker of allocations: `choose(solve=(4, "majority"))`, all on the small model."""

    def make(**stages: tuple[int, str]) -> Allocation:
        return Allocation(
            tuple(StageChoice(stage, "simulated/small", n, how) for stage, (n, how) in stages.items())
        )

    return make
