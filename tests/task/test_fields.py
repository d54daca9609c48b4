from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttts.errors import TaskFileError, TrustError
from agenttts.pipeline.plan import Plan
from agenttts.task.data import DataFileError, Row, Table
from agenttts.task.fields import with_fields
from agenttts.task.schema import DataBlock
from agenttts.task.task import Task

Write = Callable[..., Path]
DATA = "data: {path: rows.jsonl, id: id}"


def _made(rows: list[dict[str, Any]], fields: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    table = Table("rows.jsonl", tuple(Row(i, i + 1, row) for i, row in enumerate(rows)), "0" * 64)
    blocks = DataBlock.model_validate({"path": "rows.jsonl", "fields": fields}).fields
    return [row.fields for row in with_fields(table, blocks, **options).rows]


@pytest.mark.parametrize(
    ("row", "field", "expected"),
    [
        # Published rows: GSM8K's answer ends in `#### 72`, TaskBench's nodes are JSON in a text.
        (
            {"answer": "48/2 = 24.\n#### 72"},
            {"from": "answer", "parse": {"rule": "regex", "pattern": r"####\s*(.+)"}},
            "72",
        ),
        ({"tool_nodes": '[{"task": "book"}]'}, {"from": "tool_nodes", "parse": "json"}, [{"task": "book"}]),
        ({"tool_nodes": [{"task": "book"}]}, {"from": "tool_nodes", "parse": "json"}, [{"task": "book"}]),
        ({"a": {"b": ["x", "y"]}}, {"from": "a.b.1"}, "y"),
        ({"a": 7}, "a", 7),
        ({"solution": r"so \boxed{\frac12}"}, {"from": "solution", "parse": "boxed"}, r"\frac12"),
        ({"n": 12}, {"from": "n", "parse": "last_number"}, "12"),
        ({"zero": 0, "no": False}, {"from": "zero"}, 0),
    ],
)
def test_a_field_is_made_of_another_by_the_rules_for_completions(
    row: dict[str, Any], field: Any, expected: Any
) -> None:
    assert _made([row], {"gold": field}) == [{**row, "gold": expected}]


def test_fields_are_made_of_the_row_as_the_source_has_it_and_may_take_its_names() -> None:
    fields = {"a": "b", "b": "a"}
    assert _made([{"a": 1, "b": 2}], fields) == [{"a": 2, "b": 1}]


def test_rows_of_which_a_field_cannot_be_made_are_told_with_line_and_name_up_to_20() -> None:
    rows: list[dict[str, Any]] = [
        {"answer": f"no number {'x' * 100}"},
        {"answer": None},
        {},
        {"answer": "#### 4"},
    ]
    fields = {"gold": {"from": "answer", "parse": {"rule": "regex", "pattern": "#### (.+)"}}}
    with pytest.raises(DataFileError) as caught:
        _made([*rows, *[{"answer": "-"}] * 30], fields)
    first, second, third, *rest = map(str, caught.value.mistakes)
    assert first.startswith(
        "rows.jsonl:1: gold: cannot be made of `answer`: rule regex found no answer in 'no number xxx"
    )
    assert len(first) < 180
    assert (second, third) == (
        "rows.jsonl:2: gold: this row has no `answer`.",
        "rows.jsonl:3: gold: this row has no `answer`.",
    )
    assert rest[0].startswith("rows.jsonl:5: gold: ")
    assert len(caught.value.mistakes) == 20


def test_of_a_data_set_the_row_is_told() -> None:
    table = Table("org/name[test]", (Row(0, None, {"a": "1"}), Row(1, None, {"a": "one"})), "0" * 64)
    blocks = DataBlock.model_validate(
        {"dataset": "org/name", "fields": {"n": {"from": "a", "parse": "last_number"}}}
    ).fields
    with pytest.raises(DataFileError, match=r"^org/name\[test\]: row 2\.n: cannot be made of `a`"):
        with_fields(table, blocks)


def test_a_column_that_no_row_has_is_told_once_with_the_nearest() -> None:
    with pytest.raises(DataFileError) as caught:
        _made([{"answer": "1"}] * 30, {"gold": "answr"})
    assert str(caught.value) == (
        "rows.jsonl: no row has the column `answr`, which the field `gold` is made of.\n"
        "Did you mean `answer`?"
    )


def test_made_fields_serve_ids_where_prompts_and_gold_and_come_back_from_a_plan(
    project: Write, tmp_path: Path
) -> None:
    fields = (
        "fields: {name: {from: meta.key}, part: split, asked: question, "
        "gold: {from: solution, parse: {rule: regex, pattern: '#### (.+)'}}}"
    )
    rows: list[dict[str, object]] = [
        {
            "meta": {"key": f"k{i}"},
            "split": "dev" if i < 4 else "final",
            "question": f"{i}?",
            "solution": f"#### {i}",
        }
        for i in range(8)
    ]
    task = Task.load(
        project(
            (DATA, f"data: {{path: rows.jsonl, id: name, {fields}}}"),
            ("search: {where: {split: dev}}", "search: {where: {part: dev}}"),
            ('user: "{{ problem.question }}"', 'user: "{{ problem.asked }}"'),
            ("gold: answer}", "gold: gold}"),
            ("gold: answer\n", "gold: gold\n"),
            rows=rows,
        )
    )
    assert sorted((one.id, one.fields["gold"]) for one in task.search) == [
        (f"k{i}", str(i)) for i in range(4)
    ]
    stored = Task.from_json(json.loads(json.dumps(task.to_json())))
    assert (stored.search, stored.test(), stored.digest) == (task.search, task.test(), task.digest)


def test_a_task_with_other_fields_is_another_one_and_one_without_keeps_its_digest(project: Write) -> None:
    plain, made, other = (
        Task.load(project((DATA, f"data: {{path: rows.jsonl, id: id{fields}}}"))).digest
        for fields in ("", ", fields: {q: question}", ", fields: {q: answer}")
    )
    assert len({plain, made, other}) == 3
    assert "fields" not in Task.load(project()).file.model_dump(mode="json", exclude_defaults=True)["data"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("{gold: {frm: answer}}", "sums.yaml:2: data.fields.gold.frm: unknown key.\nDid you mean `from`?"),
        (
            "{gold: {from: answer, parse: bxed}}",
            "sums.yaml:2: data.fields.gold.parse: expected one of text, ",
        ),
        (
            "{gold: {from: answer, parse: {rule: regex, pattern: '('}}}",
            "sums.yaml:2: data.fields.gold.parse.pattern: not a regular expression",
        ),
        (
            "{gold: {from: answer, parse: {rule: function, function: 'own.py:gold'}}}",
            "sums.yaml:2: data.fields.gold.parse.function: the data cannot be read without Python code",
        ),
    ],
)
def test_a_mistake_in_a_field_is_told_at_its_key(project: Write, fields: str, expected: str) -> None:
    path = project((DATA, f"data: {{path: rows.jsonl, id: id, fields: {fields}}}"))
    with pytest.raises(TaskFileError) as caught:
        Task.load(path)
    assert expected in str(caught.value)


def test_a_function_makes_a_field_where_the_user_trusts_it_and_its_code_is_watched_over(
    project: Write, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text("def twice(text):\n    return 2 * int(text)\n")
    made = "fields: {double: {from: answer, parse: {rule: function, function: 'own.py:twice'}}}"
    path = project((DATA, f"data: {{path: rows.jsonl, id: id, {made}}}"))
    task = Task.load(path, trust=True)
    assert all(one.fields["double"] == 2 * one.fields["answer"] for one in task.search)
    assert set(task.code_sha256 or {}) == {"own.py"}
    with pytest.raises(TrustError):
        Task.from_json(task.to_json()).test()
    (tmp_path / "own.py").write_text("def twice(text):\n    raise ValueError('no')\n")
    with pytest.raises(
        TaskFileError, match=r"rows.jsonl:\d+: double: .*the parse function raised ValueError: no"
    ):
        Task.load(path, trust=True)


def test_a_plan_keeps_the_fields(project: Write) -> None:
    from agenttts.pipeline.base import Allocation, StageChoice

    task = Task.load(
        project((DATA, "data: {path: rows.jsonl, id: id, fields: {q: {from: question, parse: text}}}"))
    )
    allocation = Allocation(tuple(StageChoice(name, "small", 1, "first") for name in task.llm_stages))
    plan = Plan(task=task, allocation=allocation)
    plan.save(task.folder / "plan.yaml")
    assert Plan.load(task.folder / "plan.yaml").task.file.data == task.file.data
