"""A problem begins with what was asked, and its right answers stand apart."""

from __future__ import annotations

from agenttts.pipeline.base import Problem
from agenttts.report.facts.problem_texts import golds_of, text_of
from agenttts.task.task import Task

TINY = Task.load("tiny").file
FIELDS = {"id": "s1", "split": "search", "text": "How many coins now?", "plan": "1 Mon+2", "answer": 3}


def test_the_question_comes_without_id_split_and_right_answer():
    assert text_of(TINY, Problem("s1", FIELDS)) == "How many coins now?"


def test_a_problem_that_no_prompt_reads_is_told_by_its_fields():
    assert text_of(TINY, Problem("s1", {"id": "s1", "about": "coins"})) == "about: coins"


def test_right_answers_are_told_by_stage():
    assert golds_of(TINY, Problem("s1", FIELDS)) == {"translate": "1 Mon+2", "solve": "3"}


def test_a_problem_without_a_right_answer_has_none():
    assert golds_of(TINY, Problem("s1", {"text": "How many?"})) == {}
