from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttts.pipeline.base import Problem
from agenttts.testing.verifiers import VerifierContract
from agenttts.verifiers.base import Candidate, Verifier
from agenttts.verifiers.rouge import rouge_l
from agenttts.verifiers.rules import GoldError, GoldRule
from agenttts.verifiers.tools import node_f1, parameter_f1

GOLD = [
    {"task": "make_call", "arguments": [{"name": "to", "value": "Ann"}]},
    {"task": "set_alarm", "arguments": [{"name": "time", "value": 7}]},
]


class PlanContract(VerifierContract):
    @pytest.fixture
    def problem(self) -> Problem:
        return Problem("p", {"gold": GOLD})

    @pytest.fixture
    def candidates(self) -> Sequence[Candidate]:
        return [
            Candidate("", "", answer)
            for answer in (GOLD, GOLD[:1], "make_call", json.dumps(GOLD), 3, GOLD, None)
        ]


class TestNodeF1(PlanContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", node_f1)


class TestParameterF1(PlanContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", parameter_f1)


class TestRougeL(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return GoldRule("gold", rouge_l)


@pytest.mark.parametrize(
    "answer",
    [
        ["make_call", "set_alarm"],
        GOLD,
        [{"task": "set_alarm"}, "make_call"],
        {"task_nodes": GOLD},
        {"nodes": ["make_call", "set_alarm"]},
        json.dumps(GOLD),
        json.dumps({"nodes": json.dumps(["make_call", "set_alarm"])}),
    ],
)
def test_tools_are_read_in_every_form(answer: Any) -> None:
    assert node_f1(GOLD, answer) == 1


@pytest.mark.parametrize(
    "answer",
    [
        GOLD,
        [
            {"task": "make_call", "arguments": {"to": "Ann"}},
            {"task": "set_alarm", "arguments": {"time": "7"}},
        ],
        {"nodes": GOLD},
        json.dumps({"task_nodes": GOLD}),
    ],
)
def test_arguments_are_read_in_every_form(answer: Any) -> None:
    assert parameter_f1(GOLD, answer) == 1


@pytest.mark.parametrize(
    ("answer", "nodes", "parameters"),
    [
        ([GOLD[0], 7, None, {"tool": "set_alarm"}, {"task": ["set_alarm"]}, ""], 2 / 3, 2 / 3),
        ([GOLD[0], {"task": "set_alarm"}], 1, 2 / 3),
        ([GOLD[0], {"task": "set_alarm", "arguments": "time=7"}], 1, 2 / 3),
        (
            [
                GOLD[0],
                {"task": "set_alarm", "arguments": [{"name": "time"}, {"value": 7}, ["time", 7], None]},
            ],
            1,
            2 / 3,
        ),
        ("[{", 0, 0),
        ({"nodes": 5}, 0, 0),
        (7, 0, 0),
        ("[" * 100_000, 0, 0),
    ],
)
def test_malformed_parts_are_missing(answer: Any, nodes: float, parameters: float) -> None:
    assert node_f1(GOLD, answer) == pytest.approx(nodes)
    assert parameter_f1(GOLD, answer) == pytest.approx(parameters)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["task", "arguments", "name", "value", "nodes", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_answer_raises_or_leaves_the_range(answer: Any) -> None:
    for written in (answer, json.dumps(answer)):
        assert 0 <= node_f1(GOLD, written) <= 1
        assert 0 <= parameter_f1(GOLD, written) <= 1
        assert 0 <= rouge_l("call Ann", written) <= 1


def test_a_value_too_deep_to_write_is_wrong() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert parameter_f1(GOLD, [{"task": "make_call", "arguments": {"to": deep}}]) == 0
    assert rouge_l("call", [deep]) == 0


@pytest.mark.parametrize("gold", [7, {"x": 1}, [{"tool": "make_call"}]])
def test_gold_that_is_no_plan_is_told(gold: Any) -> None:
    for score in (node_f1, parameter_f1):
        with pytest.raises(GoldError, match="expected a list of tools"):
            score(gold, GOLD)


def test_plans_without_items_agree() -> None:
    assert node_f1([], []) == 1
    assert node_f1([], ["make_call"]) == 0
    assert parameter_f1(["make_call"], ["make_call"]) == 1


def test_gold_without_a_word_is_told() -> None:
    with pytest.raises(GoldError, match="empty"):
        rouge_l([], "call")
