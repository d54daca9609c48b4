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


POOL = """
name: pool
data: {path: rows.jsonl}
budget: {unit: paper, default: 100}
splits: {search: {n: 4}, test: {n: 4}}
models:
  small: {source: openai, parameters: 3.2e9, nominal_parameters: 3e9, price: {input_per_million_usd: 1, output_per_million_usd: 20}}
  large: {source: openai, parameters: 72.7e9, nominal_parameters: 72e9, price: {input_per_million_usd: 10, output_per_million_usd: 20}}
stages:
  say:
    models: [small, large]
    n_samples: [1, 4]
    prompt: {user: "{{ problem.question }}"}
    select: majority
    lengths: {prefill_tokens: 128, decode_tokens: 64}
score: {stage: say, verifier: exact, gold: gold}
"""


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": str(i), "question": "?", "gold": "1"}) for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    (tmp_path / "task.yaml").write_text(POOL)
    return tmp_path / "task.yaml"


def test_one_problem_is_quoted_in_the_papers_unit_gflops_and_usd(pool: Path) -> None:
    # 128 tokens read, 64 written. small x1: 1 unit, small x4: 4, large x1: 24 * 192 = 4608, so 70; large x4: 142.
    problem = json.loads(check(pool, "--json"))["problem"]
    assert problem["cheapest"]["cost"] == pytest.approx(
        {"paper": 1, "gflops": 2 * 3.2 * 192, "usd": (128 + 64 * 20) / 1e6}
    )
    assert problem["dearest"]["cost"] == pytest.approx(
        {"paper": 70, "gflops": 2 * 72.7 * 192, "usd": (1280 + 64 * 20) / 1e6}
    )
    # In USD small x4 needs most.
    assert problem["most"] == pytest.approx(
        {"paper": 70, "gflops": 2 * 72.7 * 192, "usd": (128 + 256 * 20) / 1e6}
    )
    assert problem["exact"] is True
    assert problem["unknown"] == {}
    text = check(pool)
    table = text[text.index("One problem") :].splitlines()
    assert [line.split() for line in table[:5]] == [
        ["One", "problem", "paper", "units", "GFLOPs", "USD"],
        ["cheapest", "1", "1,229", "0.001408"],
        ["dearest", "70", "27,917", "0.00256"],
        ["most", "70", "27,917", "0.005248"],
        ["budget", "100"],
    ]
    assert "say large x1, the dearest that fits" in text
    assert max(map(len, table)) <= 80


def test_a_unit_that_some_card_cannot_tell_is_unknown_and_names_the_card(pool: Path) -> None:
    no_price = re.sub(r"(large: .*), price: .*", r"\1}", pool.read_text())
    pool.write_text(no_price)
    text = " ".join(check(pool).split())
    assert "USD unknown: no `price` on the card of large" in text
    problem = json.loads(check(pool, "--json"))["problem"]
    assert problem["cheapest"]["cost"]["usd"] is None
    assert problem["cheapest"]["cost"]["paper"] == pytest.approx(1)
    assert problem["unknown"] == {"usd": "no `price` on the card of large"}


def test_the_papers_unit_is_unknown_where_it_sees_nothing_of_a_stage(pool: Path) -> None:
    text = (
        pool.read_text()
        .replace("3.2e9, nominal_parameters: 3e9", "1e6")
        .replace("unit: paper", "unit: gflops")
    )
    pool.write_text(text.replace("default: 100", "default: 1e5").replace("[small, large]", "[small]"))
    problem = json.loads(check(pool, "--json"))["problem"]
    assert problem["cheapest"]["cost"]["paper"] is None
    assert "sees nothing" in problem["unknown"]["paper"]
    assert next(iter(problem["most"])) == "gflops", "the unit of the budget comes first"
