from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.verifiers.equality import (
    field_value,
    format_number,
    parse_number,
    same_answer,
    squad_normalise,
    vote_key,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", Fraction(42)),
        ("42.0", Fraction(42)),
        (" 1,234.5 ", Fraction(2469, 2)),
        ("1,234,567", Fraction(1234567)),
        ("-3/4", Fraction(-3, 4)),
        ("6e-3", Fraction(6, 1000)),
        ("$5", Fraction(5)),
        ("-$5", Fraction(-5)),
        ("50%", Fraction(50)),
        ("−7", Fraction(-7)),
        (".5", Fraction(1, 2)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_reads_numbers_exactly(text: object, number: Fraction) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "value", ["", "x", "1 2", "1/0", "nan", "inf", float("nan"), float("inf"), True, None, [1], "1,23", "12a"]
)
def test_other_values_are_no_numbers(value: object) -> None:
    assert parse_number(value) is None


@pytest.mark.parametrize("text", ["1e999999999", "1e999", "9" * 100_000, "1/1e999"])
def test_numbers_too_large_to_handle_are_refused_at_once(text: str) -> None:
    assert parse_number(text) is None


@given(st.text(max_size=30))
def test_any_text_has_a_key_and_a_normal_form(text: str) -> None:
    hash(vote_key(text))
    assert squad_normalise(squad_normalise(text)) == squad_normalise(text) or "a" in text.lower()
    assert same_answer(text, text)


@given(st.integers(-(10**12), 10**12))
def test_formatting_a_number_keeps_its_value(number: int) -> None:
    assert parse_number(format_number(f"{number:,}")) == number


@pytest.mark.parametrize(
    ("text", "plain"),
    [("1,234.50", "1234.5"), ("-0.50", "-0.5"), ("-$3.50", "-3.5"), ("007", "7"), ("6/8", "3/4")],
)
def test_numbers_take_their_plain_form(text: str, plain: str) -> None:
    assert format_number(text) == plain


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (42, "42.0"),
        ("Paris", " paris\n"),
        ([1, "A b"], ["1", "a  B"]),
        ({"x": 1, "y": 2}, {"y": "2", "x": 1.0}),
        ((1, 2), [1, 2]),
    ],
)
def test_answers_that_mean_the_same_share_a_key(a: object, b: object) -> None:
    assert vote_key(a) == vote_key(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, True), ("", None), ("None", None), ([1, 2], [2, 1]), ("4.2", "42"), ("the cat", "cat"), ([1], 1)],
)
def test_answers_that_differ_have_different_keys(a: object, b: object) -> None:
    assert vote_key(a) != vote_key(b)


def test_squad_normalisation_follows_the_official_script() -> None:
    assert squad_normalise("  The Cat's  pyjamas, an a-side! ") == "cats pyjamas aside"


@pytest.mark.parametrize(("a", "b"), [("4.2", "42"), ("A", "the"), ("+", "-"), ("a", "")])
def test_comparison_keeps_apart_what_normalisation_would_merge(a: str, b: str) -> None:
    assert not same_answer(a, b)


@pytest.mark.parametrize(("a", "b"), [("The Cat.", "cat"), ("1,000", 1000), ("a", "A"), (["The x"], ["x"])])
def test_comparison_ignores_case_articles_and_punctuation(a: object, b: object) -> None:
    assert same_answer(a, b)


def test_a_field_is_found_by_its_dotted_path() -> None:
    fields = {"a": {"b": [{"c": 7}]}, "a.b": "dotted"}
    assert field_value(fields, "a.b.0.c") == 7
    assert field_value(fields, "a.b") == "dotted"
    for missing in ("x", "a.x", "a.b.5", "a.b.0.c.d"):
        with pytest.raises(KeyError):
            field_value(fields, missing)
