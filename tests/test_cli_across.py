"""`agenttts evaluate --allocate-across-problems`: one shadow price across the problems, as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def plan(recorded_task: Path) -> Path:
    """A plan that votes among eight samples."""
    text = recorded_task.read_text().replace("n_samples: [1, 4, 8]", "n_samples: [8]")
    recorded_task.write_text(
        text.replace("n_samples: [1, 2, 4]", "n_samples: [1]").replace("default: 0.6", "default: 9")
    )
    made = agenttts("optimize", recorded_task, "--allocator", "random", "--trials", "2", "--json")
    return Path(json.loads(made.stdout)["plan"]["path"])


def test_samples_and_price_are_told(plan: Path) -> None:
    done = agenttts("evaluate", plan, "--allocate-across-problems")
    assert done.exit_code == 0, done.stderr
    assert "answer: " in done.stdout
    assert "the plan says 8 for each" in " ".join(done.stdout.split())


def test_the_average_charge_keeps_to_the_plans_cost_and_to_a_budget(plan: Path) -> None:
    as_it_is = json.loads(agenttts("evaluate", plan, "--json").stdout)["charged"]["amount"]
    shared = json.loads(agenttts("evaluate", plan, "--allocate-across-problems", "--json").stdout)
    assert shared["charged"]["amount"] <= as_it_is
    assert [one["stage"] for one in shared["across"]] == ["answer"]
    budget = 0.6 * as_it_is
    less = json.loads(
        agenttts("evaluate", plan, "--allocate-across-problems", "--budget", f"{budget}", "--json").stdout
    )
    assert less["charged"]["amount"] <= budget


def test_a_budget_that_nothing_is_shared_out_under_is_refused_with_the_option_that_goes_with_it(
    plan: Path,
) -> None:
    done = agenttts("evaluate", plan, "--budget", "1")
    assert done.exit_code == 2, done.stdout
    assert "Add --allocate-across-problems, or leave --budget out" in " ".join(done.stderr.split())
    assert "allocate_across_problems" not in done.stderr
