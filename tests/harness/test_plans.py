"""What the plug-ins of harnesses share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agenttts.budgets.cost import Cost
from agenttts.errors import InputError, PlanError
from agenttts.harness.plans import Reading, find_plan, reply_text
from agenttts.models.base import Message
from agenttts.pipeline.base import StageOutput
from agenttts.pipeline.plan import PlanAnswer
from tests.tiny_plan import save_tiny_plan, tiny_plan

CHAT = [Message("system", "Be brief."), Message("user", "asked")]
READS_TWO = Reading(("question", "context"), {}, "id")


def test_a_plan_is_found_by_its_file_its_folder_and_the_name_of_its_run(tmp_path, monkeypatch):
    path = save_tiny_plan(tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    plans = [find_plan(name) for name in (path, "runs/first/plan.yaml", "runs/first", "first")]
    assert len({str(plan.allocation) for plan in plans}) == 1


def test_a_plan_is_found_from_where_the_command_was_started(tmp_path, monkeypatch):
    save_tiny_plan(tmp_path / "runs" / "first")
    elsewhere = tmp_path / "tasks"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PWD", str(tmp_path))
    assert find_plan("first").allocation == tiny_plan().allocation


def test_a_plan_that_is_nowhere_is_told_with_the_nearest(tmp_path, monkeypatch):
    save_tiny_plan(tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match="runs/first"):
        find_plan("frist")


def test_a_field_that_the_row_lacks_is_what_the_user_says():
    problem = READS_TWO.problem(CHAT, {"context": "c", "target": "gold", "id": 7})
    assert (problem.id, dict(problem.fields)) == ("7", {"question": "asked", "context": "c"})


def test_columns_that_the_plan_does_not_read_stay_out_of_the_problem():
    fields = READS_TWO.problem(CHAT, {"question": "q", "context": "c", "target": "gold"}).fields
    assert fields == {"question": "q", "context": "c"}


def test_several_fields_that_the_row_lacks_are_asked_for_by_name():
    with pytest.raises(InputError, match=r'"question": "\.\.\.", "context"'):
        READS_TWO.problem(CHAT, {"target": "gold"})


def test_a_mapping_names_columns_and_messages():
    reading = Reading.of(tiny_plan(), "text=row.story; rules:system")
    problem = reading.problem(CHAT, {"story": "s", "text": "other"}, problem_id=3)
    assert (problem.id, dict(problem.fields)) == ("3", {"text": "s", "rules": "Be brief."})


def test_a_column_that_is_not_there_is_told_with_those_that_are():
    reading = Reading.of(tiny_plan(), {"text": "row.story"})
    with pytest.raises(InputError, match="`story`, and the row has: `title`"):
        reading.problem(CHAT, {"title": "t"})


def test_the_mapping_of_the_plan_holds_unless_it_is_replaced():
    plan = replace(tiny_plan(), messages={"text": "system"})
    assert Reading.of(plan).problem(CHAT).fields == {"text": "Be brief."}
    assert Reading.of(plan, "text:user").problem(CHAT).fields == {"text": "asked"}


@pytest.mark.parametrize("fields", ["text:nowhere", {"text": "nowhere"}])
def test_an_unknown_source_is_refused(fields):
    with pytest.raises(InputError, match="question:user"):
        Reading.of(tiny_plan(), fields)


def test_an_answer_without_a_text_is_said_as_it_is():
    said = []
    for output in (StageOutput(27), StageOutput(27, "it is 27"), StageOutput(None)):
        answer = PlanAnswer(output.answer, output.text, {"solve": output}, Cost(), ())
        said.append([reply_text(tiny_plan(), answer, content) for content in ("text", "answer")])
    assert said == [["27", "27"], ["it is 27", "27"], ["", ""]]
