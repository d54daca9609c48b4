"""What commands say where something is at an end: a budget that is too small, a store that forgets, data that moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


def test_check_tells_where_a_default_budget_stands_that_is_too_small(recorded_task: Path) -> None:
    text = recorded_task.read_text().replace("default: 0.6", "default: 0.05")
    recorded_task.write_text(text)
    line = text[: text.index("budget:")].count("\n") + 1
    done = agenttts("check", recorded_task)
    assert done.exit_code == 3
    assert f"task.yaml:{line}: budget.default: no allocation fits the budget of 0.05 GFLOPs" in words(
        done.stderr
    )
    assert "expected to cost 0.06 GFLOPs" in words(done.stderr)


def test_check_names_the_option_where_its_budget_is_too_small(recorded_task: Path) -> None:
    done = agenttts("check", recorded_task, "--budget", "0.05")
    assert done.exit_code == 3
    assert "--budget 0.05: no allocation fits" in words(done.stderr)


@pytest.mark.parametrize(
    ("store", "said", "unsaid"),
    [
        ("memory:", "a store in memory has forgotten its draws", "none of them is paid twice"),
        (
            "sqlite:///draws.sqlite",
            "every draw that arrived is kept, and none of them is paid twice",
            "forgotten",
        ),
    ],
)
def test_a_spent_search_budget_promises_what_the_store_keeps(
    recorded_task: Path, store: str, said: str, unsaid: str
) -> None:
    done = agenttts(
        "optimize", recorded_task, "--allocator", "random", "--search-budget", "14", "--store", store
    )
    assert done.exit_code == 3
    assert said in words(done.stdout)
    assert unsaid not in words(done.stdout)


def test_a_plan_is_scored_where_its_data_have_moved_to(recorded_task: Path, tmp_path: Path) -> None:
    made = agenttts("optimize", recorded_task, "--allocator", "random", "--trials", "3", "--json")
    plan = json.loads(made.stdout)["plan"]["path"]
    before = json.loads(agenttts("evaluate", plan, "--json").stdout)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    problems = recorded_task.parent / "problems.jsonl"
    problems.rename(moved / "problems.jsonl")

    gone = agenttts("evaluate", plan)
    assert gone.exit_code == 2
    assert "--data FOLDER" in gone.stderr
    found = agenttts("evaluate", plan, "--data", moved, "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["score"] == before["score"]

    (moved / "problems.jsonl").write_text('{"id": "p000", "question": "?", "answer": 1, "split": "test"}\n')
    changed = agenttts("evaluate", plan, "--data", moved)
    assert changed.exit_code == 2
    assert "has changed since this task was loaded" in changed.stderr


def with_function(task: Path, refuses: str) -> Path:
    """Give the task a stage by a function that fails on problems for which the expression `refuses` holds."""
    text = task.read_text().replace(
        "score: {stage: answer",
        "  last:\n    needs: [answer]\n    function: steps.py:last\nscore: {stage: last",
    )
    task.write_text(text)
    (task.parent / "steps.py").write_text(
        "def last(problem, answers):\n"
        f"    if {refuses}:\n"
        "        raise ValueError('no such day')\n"
        "    return answers['answer']\n"
    )
    return task


def test_a_search_without_a_plan_says_that_problems_failed_and_does_not_end_as_if_all_was_well(
    recorded_task: Path,
) -> None:
    task = with_function(recorded_task, "problem['id'] < 'p005'")
    done = agenttts("optimize", task, "--allocator", "random", "--trials", "2", "--trust")
    assert done.exit_code == 3, done.stderr
    assert "No plan was written: too many problems failed. Mend the cause" in words(done.stdout)
    assert "A larger budget" not in done.stdout


def test_failures_on_unseen_problems_are_told_with_their_cause(recorded_task: Path) -> None:
    task = with_function(recorded_task, "problem['id'] >= 'p041'")
    done = agenttts("optimize", task, "--allocator", "random", "--trials", "2", "--trust")
    assert done.exit_code == 3, done.stderr
    assert "3 unseen problems failed and have no score (stage last: ValueError, e.g. problem p04" in words(
        done.stdout
    )
    assert "no such day" in done.stdout


def test_a_budget_without_sharing_out_is_refused(recorded_task: Path) -> None:
    made = agenttts("optimize", recorded_task, "--allocator", "random", "--trials", "3", "--json")
    plan = json.loads(made.stdout)["plan"]["path"]
    done = agenttts("evaluate", plan, "--budget", "1")
    assert done.exit_code == 2
    assert "Add --allocate-across-problems" in words(done.stderr)
