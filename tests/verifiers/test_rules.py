from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers import rules
from agenttts.verifiers.base import Candidate, Score, Verifier
from agenttts.verifiers.function import FunctionVerifier
from agenttts.verifiers.rules import FormRule, GoldRule


class TestExact(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", rules.exact)


class TestSetF1(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", rules.set_f1)


class TestTokenF1(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", rules.token_f1)


class TestNumeric(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", rules.numeric)


class TestChoice(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", rules.choice)


class TestPattern(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return FormRule(rules.matches(r"\d+"))


class TestSchema(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return FormRule(rules.json_schema({"type": "integer"}))


class TestFunction(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return FunctionVerifier(lambda fields, answer, text: float(answer == fields["gold"]))


async def one(verifier: Verifier, answer: Any, text: str = "", **fields: Any) -> Score:
    (score,) = await verifier.score(Problem("p", fields), [Candidate("prompt", text, answer)])
    return score


# Worked by hand from the definition; the first three are also what the official SQuAD script prints.
@pytest.mark.parametrize(
    ("gold", "answer", "f1"),
    [
        ("the quick brown fox", "a brown fox", 2 * 1.0 * (2 / 3) / (1.0 + 2 / 3)),
        ("cat cat dog", "cat dog dog", 2 / 3),
        ("Paris, France", "Berlin", 0.0),
        ("the", "a", 1.0),
        ("the", "cat", 0.0),
        (["one", "two words"], "two words", 1.0),
        (42, "42", 1.0),
    ],
)
def test_token_f1_of_worked_examples(gold: object, answer: object, f1: float) -> None:
    assert rules.token_f1(gold, answer) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("gold", "answer", "f1"),
    [
        (["a", "b", "c"], ["b", "c", "d", "e"], 2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)),
        (["a", "b"], ["B", "b", "A"], 1.0),
        ([], [], 1.0),
        ([], ["a"], 0.0),
        (["a"], [], 0.0),
        ([1, 2], ["2.0", "1"], 1.0),
        ([["s", "p"]], [["S", "p"]], 1.0),
    ],
)
def test_set_f1_of_worked_examples(gold: object, answer: object, f1: float) -> None:
    assert rules.set_f1(gold, answer) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("The Beatles", "beatles", 1.0),
        (["NYC", "New York City"], "new york city!", 1.0),
        ("4.2", "42", 0.0),
        (["a", "b"], ["A", "B"], 1.0),
        (["a", "b"], ["b", "a"], 0.0),
        ({"x": 1}, {"x": "1.0"}, 1.0),
        (True, 1, 0.0),
    ],
)
def test_exact_after_normalisation(gold: object, answer: object, equal: float) -> None:
    assert rules.exact(gold, answer) == equal


def test_exact_as_written_keeps_case_and_articles() -> None:
    assert rules.exact_as_written("24*7+13", " 24*7+13\n") == 1.0
    assert rules.exact_as_written("A", "a") == 0.0
    assert rules.exact_as_written(True, 1) == 0.0
    assert rules.exact_as_written(["x", "y"], "y") == 1.0


@pytest.mark.parametrize(
    ("gold", "answer", "tolerance", "equal"),
    [
        (100, "101", 0.01, 1.0),  # relative to the larger: 101 * 0.01 = 1.01
        (100, "101.2", 0.01, 0.0),
        (0.001, "0.002", 0.01, 1.0),  # absolute below 1
        ("1,000", "$1000", 0, 1.0),
        ("1/3", "0.3333333333", 0, 0.0),
        (5, "five", 1, 0.0),
        ([1, 2], "2", 0, 1.0),
    ],
)
def test_numeric_within_tolerance(gold: object, answer: object, tolerance: float, equal: float) -> None:
    assert rules.numeric(gold, answer, tolerance) == equal


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [("B", "(b)", 1.0), ("B", "B.", 1.0), ("B", "A", 0.0), (["A", "B"], "b", 1.0)],
)
def test_choice_compares_labels(gold: object, answer: object, equal: float) -> None:
    assert rules.choice(gold, answer) == equal


async def test_an_unparsed_answer_is_wrong() -> None:
    assert await one(GoldRule("gold", rules.exact), None, gold="x") == Score(0.0)
    assert await one(FormRule(rules.matches(".*")), None) == Score(0.0)


@pytest.mark.parametrize("fields", [{}, {"gold": None}, {"gold": "many"}, {"gold": []}])
async def test_missing_or_unusable_gold_is_unscored_with_its_cause(fields: dict[str, Any]) -> None:
    score = await one(GoldRule("gold", rules.numeric), "42", **fields)
    assert score.value is None
    assert "gold" in score.unscored_because


async def test_a_pattern_must_match_the_whole_answer() -> None:
    rule = FormRule(rules.matches(r"\d+"))
    assert (await one(rule, "42")).value == 1.0
    assert (await one(rule, "42 apples")).value == 0.0


async def test_a_pattern_that_takes_too_long_leaves_unscored_in_time() -> None:
    started = time.monotonic()
    score = await one(FormRule(rules.matches(r"(a|aa|a?a)+$")), "a" * 60 + "b" * 3)
    assert time.monotonic() - started < 10
    assert score.value is None or score.value == 0.0


async def test_a_schema_accepts_values_and_their_json_text() -> None:
    rule = FormRule(rules.json_schema({"type": "object", "required": ["x"]}))
    assert (await one(rule, {"x": 1})).value == 1.0
    assert (await one(rule, '{"x": 1}')).value == 1.0
    assert (await one(rule, '{"y": 1}')).value == 0.0
    assert (await one(rule, "not json")).value == 0.0


async def test_a_schema_never_fetches_what_it_refers_to() -> None:
    rule = FormRule(rules.json_schema({"$ref": "http://127.0.0.1:9/schema.json"}))
    assert (await one(rule, {"x": 1})).value == 0.0


def test_a_wrong_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="not a JSON Schema"):
        rules.json_schema({"type": "no such type"})


@pytest.mark.parametrize("returned", [2, -0.1, float("nan"), "good", None])
async def test_a_function_with_a_wrong_result_leaves_unscored(returned: object) -> None:
    score = await one(FunctionVerifier(lambda fields, answer, text: returned), "x")
    assert score.value is None
    assert "[0, 1]" in score.unscored_because


async def test_a_function_that_raises_leaves_only_its_candidate_unscored() -> None:
    def check(fields: object, answer: int, text: str) -> float:
        return 1 / answer if text else 0.0

    candidates: Sequence[Candidate] = [Candidate("", "t", 1), Candidate("", "t", 0), Candidate("", "t", 2)]
    scores = await FunctionVerifier(check).score(Problem("p", {}), candidates)
    assert [score.value for score in scores] == [1.0, None, 0.5]
    assert "ZeroDivisionError" in scores[1].unscored_because
