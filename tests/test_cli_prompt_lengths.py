"""Prompts of another length than the task says are told before money moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agenttts.cli import app

TASK = """
name: pool
data: {path: rows.jsonl}
budget: {unit: paper, default: 70}
splits: {search: {n: 4}, test: {n: 4}}
models:
  small: {source: openai, parameters: 3e9, price: {input_per_million_usd: 1, output_per_million_usd: 20}}
  large: {source: openai, parameters: 72e9, price: {input_per_million_usd: 10, output_per_million_usd: 20}}
stages:
  say:
    models: [small, large]
    n_samples: [1, 4]
    prompt: {user: "{{ problem.question }}"}
    select: majority
    lengths: {prefill_tokens: 128, decode_tokens: 64}
score: {stage: say, verifier: exact, gold: gold}
"""


def check(folder: Path, question: str) -> str:
    rows = [json.dumps({"id": str(i), "question": question, "gold": "1"}) for i in range(8)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    (folder / "task.yaml").write_text(TASK)
    done = CliRunner().invoke(app, ["check", str(folder)])
    assert done.exit_code == 0, done.stderr
    return " ".join(done.stdout.split())


def test_prompts_as_long_as_the_task_says_are_not_mentioned(tmp_path: Path) -> None:
    assert "Prompts of say" not in check(tmp_path, "x" * 512)


def test_longer_prompts_are_told_with_the_models_that_fit_no_more(tmp_path: Path) -> None:
    # 1,024 characters are 256 tokens: large x1 takes (24 * 320 - 128) / 64 = 118 units instead of 70.
    told = check(tmp_path, "x" * 1024)
    assert "Prompts of say take about 256 tokens on the search problems at hand; the task says 128" in told
    assert "no allocation with large in say fits 70 paper units" in told
    assert "one pass of the dearest model in every stage would take 118 paper units" in told


@pytest.mark.parametrize("length", [200, 40])
def test_shorter_prompts_are_told_and_take_no_model_away(tmp_path: Path, length: int) -> None:
    told = check(tmp_path, "x" * length)
    assert f"take about {length / 4:.0f} tokens" in told
    assert "no allocation with" not in told


def test_a_prompt_that_cannot_be_rendered_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    rows = [{"id": str(i), "question": "?" if i % 2 else ["?"], "gold": "1"} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "task.yaml").write_text(TASK.replace("problem.question }}", "problem.question + '!' }}"))
    done = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert done.exit_code == 2
    assert "the prompt of stage say cannot be rendered" in done.stderr
    assert done.stderr.count("TypeError") == 1


def test_an_empty_list_of_gold_answers_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    rows = [{"id": str(i), "question": "?", "gold": ["1"] if i else []} for i in range(8)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "task.yaml").write_text(TASK)
    done = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert done.exit_code == 2
    assert "1 of 4" in done.stderr
    assert "problems have no `gold`" in done.stderr
