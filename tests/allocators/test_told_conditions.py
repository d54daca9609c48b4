"""What planners are told of stages that run on a condition, of pooled votes and of settings in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenttts.allocators.base import Briefing
from agenttts.allocators.conversing import space_facts
from agenttts.allocators.prompt_files import PromptFiles
from agenttts.allocators.space import Space, Structure, stage_choices
from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Problem
from agenttts.task.schema import TaskFile
from agenttts.task.task import Task

PLAIN: dict[str, Any] = {"prompt": {"user": "x"}, "models": ["m"], "n_samples": [1, 4]}
WATCHING: dict[str, Any] = PLAIN | {"needs": ["try"]}


def told(folder: Path, **stages: dict[str, Any]) -> dict[str, str]:
    """Return what the package's prompt says of each stage, on one line."""
    data: dict[str, Any] = {
        "name": "test",
        "data": {"path": "problems.jsonl"},
        "stages": stages,
        "score": {"verifier": "numeric", "gold": "answer"},
    }
    file = TaskFile.model_validate(data)
    structure = Structure.of(Task(file=file, folder=folder, cards={}, search=(Problem("p", {}),)))
    choices = tuple(stage_choices(name, block) for name, block in file.stages.items())
    costs = tuple(tuple(1.0 for _ in options) for options in choices)
    facts = space_facts(Briefing("test"), Space(choices, costs, Budget(9.0, Unit.TOKENS), structure))
    text = PromptFiles.load("llm_zs").messages("task", facts)[0].content
    parts = text.split("- stage `")[1:]
    return {part.partition("`")[0]: " ".join(part.split()) for part in parts}


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("agreement", "the agreement (share of all samples that hold the selected answer) at stage `try`"),
        ("verifier_score", "the score that a verifier gave the selected sample of stage `try`"),
    ],
)
def test_a_planner_is_told_what_is_measured_of_which_stage(tmp_path: Path, measure: str, words: str) -> None:
    selected: dict[str, Any] = {"select": [{"kind": "best_of_n", "verifier": "tiny_prm"}]}
    way = selected if measure == "verifier_score" else {}
    when = {"stage": "try", "measure": measure, "below": [0, 0.5, 0.9]}
    said = told(tmp_path, **{"try": PLAIN | way, "again": WATCHING | {"when": when}})
    assert (
        f"only on problems where {words} is below its threshold `below`, one of 0.0, 0.5, 0.9"
        in said["again"]
    )
    assert "where it does not run, the answer of `try` stands" in said["again"]
    assert "condition" not in said["try"]
    assert "pooled" not in said["again"]


def test_a_planner_is_told_that_votes_are_pooled(tmp_path: Path) -> None:
    again = WATCHING | {"when": {"stage": "try", "below": [0, 0.5]}, "pool": True}
    said = told(tmp_path, **{"try": PLAIN, "again": again})
    assert "votes are pooled: its samples and those of `try` vote together" in said["again"]


def test_a_planner_is_told_how_a_rating_sends_problems_to_settings(tmp_path: Path) -> None:
    rate = PLAIN | {"parse": "last_number"}
    easy = PLAIN | {"needs": ["rate"], "when": {"stage": "rate", "measure": "answer", "below": [0.3, 0.5]}}
    said = told(tmp_path, rate=rate, easy=easy, hard=PLAIN | {"needs": ["rate", "easy"], "otherwise": "easy"})
    assert "the answer, a rating read as a number from 0 to 1, of stage `rate` is below" in said["easy"]
    assert "the problem is left to the stages that come after it for such problems" in said["easy"]
    assert "gets only the problems that did not go to easy" in said["hard"]
    assert "where it does not run, the answer of easy is passed on" in said["hard"]


def test_a_planner_is_told_that_a_shared_stage_may_be_left_out(tmp_path: Path) -> None:
    notes = PLAIN | {"shared_by": {"field": "document"}, "optional": True}
    said = told(tmp_path, notes=notes, solve=PLAIN | {"needs": ["notes"]})
    assert "may be left out: `below` 0 leaves it out, 1.01 keeps it" in said["notes"]
    assert "condition" not in said["notes"]
