"""A task narrowed to the first way of every stage, and to fewer search problems."""

from __future__ import annotations

from agenttts.models.tiny_reward import TINY_PRM
from agenttts.task.first_ways import with_fewer_search_problems, with_first_ways
from agenttts.task.task import Task


def test_each_stage_keeps_its_first_way_and_the_task_the_cards_that_are_left():
    task = Task.load("tiny")
    narrow = with_first_ways(task)
    assert [way.name for way in task.file.stages["solve"].ways] != ["majority"]
    assert [[way.name for way in narrow.file.stages[name].ways] for name in narrow.llm_stages] == [
        ["majority"],
        ["majority"],
    ]
    assert set(task.cards) - set(narrow.cards) == {TINY_PRM}
    assert narrow.digest != task.digest
    assert narrow.search == task.search


def test_of_a_way_with_a_knob_the_first_value_stays(recorded_task):
    text = recorded_task.read_text()
    ways = "select: [{kind: adaptive_vote, confidence: [0.9, 0.99]}, majority]"
    recorded_task.write_text(text.replace("n_samples: [1, 2, 4]", f"n_samples: [1, 2, 4]\n    {ways}"))
    narrow = with_first_ways(Task.load(recorded_task))
    [way] = narrow.file.stages["think"].ways
    assert (way.kind, way.confidence) == ("adaptive_vote", (0.9,))
    assert with_first_ways(narrow).digest == narrow.digest


def test_fewer_search_problems_are_the_first_ones_also_where_the_task_is_read_from_a_run():
    task = Task.load("tiny")
    fewer = with_fewer_search_problems(task, 9)
    assert fewer.search == task.search[:9]
    assert Task.load("tiny", n_search=9).search == fewer.search
    stored = Task.from_json(fewer.to_json())
    assert stored.search == fewer.search
    assert (stored.digest, stored.test()) == (fewer.digest, task.test())
    assert with_fewer_search_problems(task, 1000) is task
