"""What a run does when it is asked for again: after edits of its code, from its folder, after failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app
from agenttts.study.events import read_events

SEARCH = ("--allocator", "random", "--trials", "2")
FAILING = (
    "def last(problem, answers):\n"
    "    if problem['id'] < 'p005':\n"
    "        raise ValueError('no such day')\n"
    "    return answers['answer']\n"
)
"""Fails on more search problems than a trial may lack."""
RIGHT = "def last(problem, answers):\n    return answers['answer']\n"


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


def outcome(done: Result) -> dict[str, Any]:
    return dict(json.loads(done.stdout))


def logged(folder: str | Path) -> list[dict[str, Any]]:
    return read_events(Path(folder) / "events.jsonl")[0]


@pytest.fixture
def function_task(recorded_task: Path) -> Path:
    """The task with a last stage by the function `last` of `steps.py`, which is not there yet."""
    text = recorded_task.read_text().replace(
        "score: {stage: answer",
        "  last:\n    needs: [answer]\n    function: steps.py:last\nscore: {stage: last",
    )
    recorded_task.write_text(text)
    return recorded_task


def test_a_run_by_code_that_was_mended_since_is_not_taken_for_the_answer(function_task: Path) -> None:
    steps = function_task.parent / "steps.py"
    steps.write_text(FAILING)
    first = outcome(agenttts("optimize", function_task, *SEARCH, "--no-confirm", "--trust", "--json"))
    assert {trial["status"] for trial in first["trials"]} == {"invalid"}
    steps.write_text(RIGHT)
    done = agenttts("optimize", function_task, *SEARCH, "--no-confirm", "--trust", "--json")
    assert done.exit_code == 0, done.stderr
    assert outcome(done)["run"] != first["run"]
    assert outcome(done)["n_paid"] == 0
    assert {trial["status"] for trial in outcome(done)["trials"]} == {"ok"}


def test_a_run_does_not_go_on_with_other_code_than_it_was_begun_with(function_task: Path) -> None:
    steps = function_task.parent / "steps.py"
    steps.write_text(RIGHT)
    begun = agenttts(
        "optimize", function_task, *SEARCH, "--trust", "--search-budget", "14", "--run", "r", "--json"
    )
    assert begun.exit_code == 3
    events = logged("runs/r")
    go_on = ("optimize", "runs/r", "--trust", "--search-budget", "2000")
    steps.write_text(FAILING)
    refused = agenttts(*go_on)
    assert refused.exit_code == 2
    assert "steps.py: changed or gone since runs/r was begun" in words(refused.stderr)
    assert [event["event"] for event in logged("runs/r")[len(events) :]] in ([], ["options"])
    again = agenttts("optimize", function_task, *SEARCH, "--trust", "--run", "r")
    assert again.exit_code == 2
    assert "other models, problems or functions" in words(again.stderr)
    steps.write_text(RIGHT)
    assert agenttts(*go_on).exit_code == 0
