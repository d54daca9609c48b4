"""What `agenttts check` foretells of a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agenttts.budgets.cost import Budget
from agenttts.cli import app
from agenttts.errors import InputError
from agenttts.task.task import Task
from tests.conftest import N_TEST


def check(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_the_confirmation_is_quoted_on_no_more_problems_than_the_test_split_has(recorded_task: Path) -> None:
    assert json.loads(check(recorded_task, "--json"))["n_confirm"] == N_TEST
    assert f"sealed for the test: {N_TEST}" in check(recorded_task)


def test_recorded_cards_are_quoted_at_their_own_lengths(recorded_task: Path) -> None:
    from agenttts._cli.quoting import recorded_means

    table = recorded_task.parent / "draws.csv"
    table.write_text(re.sub(r"(rec/large.*),10,5\b", r"\1,30,15", table.read_text()))
    means = recorded_means(Task.load(recorded_task))
    sizes = {"rec/small": (10, 5), "rec/large": (30, 15)}
    assert means == {
        (part, stage, model): tokens[at]
        for stage in ("think", "answer")
        for model, tokens in sizes.items()
        for at, part in enumerate(("prefill", "decode"))
    }


def test_the_planner_of_the_task_is_named_with_its_calls_and_price(recorded_task: Path) -> None:
    text = (
        recorded_task.read_text()
        .replace("budget:", "planner: adviser\nbudget:")
        .replace(
            "models:\n",
            "models:\n  adviser: {source: openai, base_url: 'http://localhost:9/v1', parameters: 1e9}\n",
            1,
        )
    )
    recorded_task.write_text(text)
    words = " ".join(check(recorded_task).split())
    assert "planner The planner adviser is asked at most" in words
    assert "price unknown" in words


def test_a_budget_beyond_all_numbers_is_said_to_be_too_large() -> None:
    with pytest.raises(InputError, match="too large"):
        Budget.parse("1e400")
