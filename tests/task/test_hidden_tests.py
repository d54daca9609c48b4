"""Selection may see public tests only: the tests by which a task is scored are refused anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agenttts.errors import TaskFileError
from agenttts.task.task import Task

Write = Callable[..., Path]

ROWS = [
    {
        "id": f"p{i}",
        "question": "q",
        "answer": 1,
        "split": split,
        "public": ["assert 1"],
        "hidden": ["assert 1"],
    }
    for i, split in enumerate(["dev"] * 4 + ["final"] * 4)
]
SCORE = ("score:\n  verifier: numeric\n  gold: answer", "score:\n  verifier: {kind: code, tests: hidden}")


def draft(select: str) -> tuple[str, str]:
    return "    n_samples: [1, 4]\n", f"    n_samples: [1, 4]\n    parse: code_block\n    select: {select}\n"


@pytest.mark.parametrize(
    ("select", "at"),
    [
        ("{kind: best_of_n, verifier: {kind: code, tests: hidden}}", "verifier"),
        ("{kind: refine, critic: {verifier: {kind: code, tests: hidden}}}", "critic.verifier"),
    ],
)
def test_ways_and_critics_may_not_read_the_tests_that_score(project: Write, select: str, at: str) -> None:
    with pytest.raises(TaskFileError) as refused:
        Task.load(project(draft(select), SCORE, rows=ROWS))
    (mistake,) = refused.value.mistakes
    assert mistake.key.endswith(f"{at}.tests")
    assert "scored by the tests in `hidden`" in mistake.message
    assert "public tests" in mistake.hint


def test_tests_that_score_a_stage_are_hidden_too(project: Write) -> None:
    of_stage = ("score: {verifier: numeric, gold: answer}", "score: {verifier: {kind: code, tests: public}}")
    select = "{kind: best_of_n, verifier: {kind: code, tests: public}}"
    with pytest.raises(TaskFileError, match="scored by the tests in `public`"):
        Task.load(project(draft(select), of_stage, SCORE, rows=ROWS))


def test_public_tests_may_select(project: Write) -> None:
    select = "{kind: best_of_n, verifier: {kind: code, tests: public}}"
    task = Task.load(project(draft(select), SCORE, rows=ROWS))
    assert task.file.stages["draft"].select[0].verifier.tests == "public"


def test_tests_that_the_data_lacks_are_told(project: Write) -> None:
    select = "{kind: best_of_n, verifier: {kind: code, tests: publc}}"
    with pytest.raises(TaskFileError, match="Did you mean `public`"):
        Task.load(project(draft(select), SCORE, rows=ROWS))
