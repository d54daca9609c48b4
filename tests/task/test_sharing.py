"""What a stage that problems share may read, and how many problems a context has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import DataError, TaskFileError
from agenttts.pipeline.base import Allocation, Problem, StageChoice
from agenttts.pipeline.plan_checks import misfits
from agenttts.study.evaluate import evaluate
from agenttts.task.sharing import queries_per_context
from agenttts.task.task import Task

Write = Callable[..., Path]
TASK = """\
name: library
data: {path: rows.jsonl, id: id}
splits: {search: {where: {split: dev}}, test: {where: {split: final}}}
models: {small: {source: openai, base_url: "http://localhost:9/v1", parameters: 1e9}}
stages:
  notes:
    shared_by: {field: book}
    prompt: {user: "notes on {{ problem.text }}"}
    models: [small]
  index:
    needs: [notes]
    shared_by: {field: book}
    prompt: {user: "index {{ stages.notes.answer }}"}
    models: [small]
  say:
    needs: [notes, index]
    prompt: {user: "{{ problem.question }} {{ stages.index.answer }}"}
    models: [small]
score: {verifier: exact, gold: answer}
"""


def rows(**last: Any) -> list[dict[str, object]]:
    """Five dev problems of two books, one final; `last` changes the last dev problem."""
    found: list[dict[str, object]] = [
        {
            "id": f"p{i}",
            "book": f"b{i // 3}",
            "text": f"text {i // 3}",
            "question": f"q{i}",
            "answer": "x",
            "split": "dev",
        }
        for i in range(5)
    ]
    found[-1].update(last)
    return [*found, {**found[0], "id": "t", "split": "final"}]


def load(project: Write, *changes: tuple[str, str], **last: Any) -> Task:
    return Task.load(project(*changes, rows=rows(**last), text=TASK))


def test_the_problems_per_context_are_counted_where_the_task_leaves_them_to_the_data(project: Write) -> None:
    task = load(project)
    shared = task.file.stages["notes"].shared_by
    assert shared is not None
    assert shared.queries == 5 / 2
    again = Task.from_json(task.to_json())
    assert again.digest == task.digest
    assert again.file.stages["notes"].shared_by == shared


@pytest.mark.parametrize(
    ("changes", "last", "told"),
    [
        ([("field: book", "field: boook")], {}, "stages.notes.shared_by.field: the data has no field `boook`.\nDid you mean `book`?"),
        (
            [("{{ problem.text }}", "{{ problem.text }} for {{ problem.question }}")],
            {},
            "sums.yaml:7: stages.notes.shared_by: the prompt reads `problem.question`, which differs between problems ",
        ),
        ([], {"text": "another"}, "`problem.text`, which differs between problems 'p4' and 'p3' of the same `book`."),
        ([], {"book": None}, "problem 'p4' has no `book`."),
        ([("{{ problem.text }}", "{{ problem }}")], {}, "a prompt reads `problem` as a whole"),
        ([("{{ problem.text }}", "{% set p = problem %}{{ p.question }}")], {}, "a prompt reads `problem` as a whole"),
        (
            [("    shared_by: {field: book}\n    prompt: {user: \"notes", "    prompt: {user: \"notes")],
            {},
            "`notes` is not shared by `book`, so this stage cannot be.",
        ),
        (
            [("    models: [small]\n  index", "    models: [small]\n    n_samples: [1, 4]\n    select: {kind: best_of_n, verifier: {kind: code, tests: text}}\n  index")],
            {},
            "code may score samples by what differs between the problems of a context.",
        ),
        ([("field: book}\n    prompt: {user: \"notes", "field: book, queries: 0.5}\n    prompt: {user: \"notes")], {}, "stages.notes.shared_by.queries: expected "),
        (
            [("  say:\n", "  say:\n    optional: true\n")],
            {},
            "stages.say: `optional` is for stages with `shared_by`",
        ),
        (
            [("    needs: [notes]\n", "    needs: [notes]\n    when: {stage: notes, below: 0.5}\n")],
            {},
            "a stage with `shared_by` runs once per context",
        ),
        (
            [("  index:\n", "  index:\n    optional: true\n"), ("score: {verifier", "score: {stage: index, verifier")],
            {},
            "score.stage: `index` may be left out, and then has no answer that could be scored.",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_sharing_are_told(
    project: Write, changes: list[tuple[str, str]], last: dict[str, Any], told: str
) -> None:
    with pytest.raises(TaskFileError) as caught:
        load(project, *changes, **last)
    assert told in str(caught.value)


def test_a_prompt_file_is_read_as_well(project: Write, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("{{ problem['question'] }}")
    with pytest.raises(TaskFileError, match=r"the prompt reads `problem.question`, which differs"):
        load(project, ('{user: "notes on {{ problem.text }}"}', "{user_file: notes.txt}"))


CHOSEN = Allocation(tuple(StageChoice(name, "small", 1, "first") for name in ("notes", "index", "say")))


async def test_problems_that_differ_where_they_may_not_are_refused_before_they_are_run(
    project: Write,
) -> None:
    task = load(project)
    other = Problem("late", {**task.search[0].fields, "text": "another"})
    with pytest.raises(
        DataError, match=r"stages\.notes\.shared_by: the prompt reads `problem\.text`.*'late'"
    ):
        await evaluate(
            task,
            CHOSEN,
            [*task.search, other],
            clients=None,
            sampler=None,
            cost_model=None,  # type: ignore[arg-type]
        )


def test_a_plan_may_leave_out_optional_stages_alone(project: Write) -> None:
    task = load(project, ("  index:\n", "  index:\n    optional: true\n"))

    def without(stage: str) -> Allocation:
        off = [
            StageChoice(c.stage, c.model, 1, "first", 0.0 if c.stage == stage else None)
            for c in CHOSEN.choices
        ]
        return Allocation(tuple(off))

    assert misfits(CHOSEN, task) == misfits(without("index"), task) == []
    assert "it takes no `below`" in misfits(without("notes"), task)[0]


def test_contexts_are_told_apart_by_value() -> None:
    problems = [Problem(str(i), {"c": value}) for i, value in enumerate([1, "1", [1], [1], {"a": 2}, 1])]
    assert queries_per_context(problems, "c") == 6 / 4
    assert queries_per_context([], "c") == 1.0
