from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.pipeline.parsing import make_parser
from agenttts.task.schema import ParseBlock


def parse(text: str, rule: str, **settings: Any) -> Any:
    return make_parser(ParseBlock(rule=rule, **settings)).parse(text).answer


def test_text_is_stripped_and_blank_is_no_answer() -> None:
    assert parse(" a b\n", "text") == "a b"
    assert parse(" \n", "text") is None


def test_regex_takes_the_first_group_of_the_last_match() -> None:
    assert parse("x=1 x=2", "regex", pattern=r"x=(\d)") == "2"
    assert parse("x=1 x=2", "regex", pattern=r"x=(\d)", which="first") == "1"
    assert parse("x=1", "regex", pattern=r"x=\d") == "x=1"
    assert parse("y", "regex", pattern=r"x=(\d)") is None


def test_regex_all_gives_every_match() -> None:
    assert parse("[3] and [7]", "regex_all", pattern=r"\[(\d)\]") == ["3", "7"]
    assert parse("none", "regex_all", pattern=r"\[(\d)\]") is None


def test_a_pathological_pattern_ends_in_time_with_a_note() -> None:
    parser = make_parser(ParseBlock(rule="regex", pattern=r"^(\w+\s?)*$"))
    started = time.monotonic()
    parsed = parser.parse("word " * 30 + "!" * 3)
    assert time.monotonic() - started < 10
    assert parsed.answer is None
    assert parsed.note


@pytest.mark.parametrize(
    ("text", "path", "answer"),
    [
        ('so {"answer": 5} is it', "answer", 5),
        ('{"a": {"b": [1, {"c": "x"}]}}', "a.b.1.c", "x"),
        ('```json\n{"answer": 1}\n``` not {"answer": 2}', "answer", 1),
        ('as in [1], the reply is {"answer": 2}', "answer", 2),
        ('{broken {"answer": 3}', "answer", 3),
        ("[1, 2]", None, [1, 2]),
        ('"yes"', None, "yes"),
        ("true", None, True),
        ('{"answer": null}', "answer", None),
        ('{"x": 1}', "answer", None),
        ("nothing here", None, None),
        ('{"answer": NaN}', "answer", None),
        ('{"answer": 1', "answer", None),
    ],
)
def test_json_finds_the_first_value(text: str, path: str | None, answer: Any) -> None:
    assert parse(text, "json", path=path) == answer


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 100_000, "{" * 50_000 + "}" * 50_000])
def test_json_of_nothing_but_brackets_ends_in_time(text: str) -> None:
    started = time.monotonic()
    assert parse(text, "json") in (None, {})
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("24 Mon*3=72 Tue-5=67", "67"),
        ("so 1,234,567.50 dollars.", "1234567.5"),
        ("it is -5", "-5"),
        ("5-3", "3"),
        ("x = −3", "-3"),
        ("7 - 2 = 5.", "5"),
        ("1e3 metres", "1000"),
        ("about 2.50%", "2.5"),
        ("costs $12", "12"),
        ("the answer is 3/4.", "3/4"),
        ("on 11/22/2026", "2026"),
        ("1, 2, 3", "3"),
        ("5 (see x2)", "5"),
        ("wait...72", "72"),
        (".5", "0.5"),
        ("007", "7"),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text: str, number: str | None) -> None:
    assert parse(text, "last_number") == number


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Answer: B", "B"),
        ("The answer is (c).", "C"),
        ("**Answer:** D", "D"),
        ("answer: b", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("B) because A is wrong", "B"),
        (r"\boxed{\text{A}}", "A"),
        ("A dog is B", "B"),
        ("I think it is A", "A"),
        ("The answer is a mystery, so (D)", "D"),
        ("First (A), no: the answer is C", "C"),
        ("Answer: A. No, wait. Answer: B", "B"),
        ("c", "C"),
        ("no label at all", None),
        ("Answer: Both", None),
    ],
)
def test_choice_finds_the_label(text: str, label: str | None) -> None:
    assert parse(text, "choice", choices=("A", "B", "C", "D")) == label


def test_choice_of_words_ignores_case() -> None:
    assert parse("I would say Yes", "choice", choices=("yes", "no")) == "yes"
    assert parse("nothing", "choice", choices=("yes", "no")) is None


def test_choice_can_take_the_first() -> None:
    assert parse("Answer: A. Answer: B", "choice", choices=("A", "B"), which="first") == "A"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"so \boxed{42}", "42"),
        (r"\boxed{\frac{1}{2}} and \boxed{x^{2}}", "x^{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{1", None),
        (r"\boxed{3} then \boxed{4", "3"),
        (r"\boxed{}", None),
        ("none", None),
    ],
)
def test_boxed_with_balanced_braces(text: str, content: str | None) -> None:
    assert parse(text, "boxed") == content


def test_lines_lose_bullets_and_numbers() -> None:
    text = "- one\n\n 2. two\n(3) three\n* four\n3.14 five\na) six"
    assert parse(text, "lines") == ["one", "two", "three", "four", "3.14 five", "six"]
    assert parse("\n \n", "lines") is None


def test_code_blocks_by_language_and_place() -> None:
    text = "```python\na = 1\n```\ntext\n```sh\nls\n```\n```python\nb = 2\n"
    assert parse(text, "code_block", language="python") == "b = 2"
    assert parse(text, "code_block", language="Python", which="first") == "a = 1"
    assert parse(text, "code_block", language="sh") == "ls"
    assert parse(text, "code_block") == "b = 2"
    assert parse("no code", "code_block") is None


def test_a_function_that_raises_is_a_parse_failure_with_its_cause() -> None:
    parser = make_parser(ParseBlock(rule="function", function="m:f"), lambda text: int(text))
    assert parser.parse("7").answer == 7
    parsed = parser.parse("seven")
    assert parsed.answer is None
    assert "ValueError" in parsed.note


def test_a_failure_says_which_rule_found_nothing() -> None:
    assert "last_number" in make_parser(ParseBlock(rule="last_number")).parse("none").note


RULES = [
    ParseBlock(rule="text"),
    ParseBlock(rule="json", path="a.0"),
    ParseBlock(rule="last_number"),
    ParseBlock(rule="choice", choices=("A", "B")),
    ParseBlock(rule="boxed"),
    ParseBlock(rule="lines"),
    ParseBlock(rule="code_block"),
    ParseBlock(rule="regex", pattern=r"(\d+)|x"),
]


@given(st.text(alphabet=st.sampled_from('0123456789.,-+eE/[]{}()"\\boxedAB: \n`$%x−'), max_size=60))
def test_no_text_breaks_a_rule(text: str) -> None:
    for block in RULES:
        parsed = make_parser(block).parse(text)
        assert (parsed.answer is None) == bool(parsed.note)
