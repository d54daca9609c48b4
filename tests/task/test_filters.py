from __future__ import annotations

import pytest

from agenttts.pipeline.base import Problem, StageOutput
from agenttts.pipeline.prompts import Prompt, PromptRenderError, variables
from agenttts.task.filters import FILTERS, pick
from agenttts.task.schema import PromptBlock
from agenttts.task.templates import Known, faults

ITEMS = ["zero", "one", "two", "three"]


@pytest.mark.parametrize(
    ("indices", "picked"),
    [
        ([2, 0], ["two", "zero"]),
        (["3", " 1 "], ["three", "one"]),
        ([1, "1", 1.0, "1.0"], ["one"]),
        ([4, -1, "-0", 99], ["zero"]),
        (["none", None, "", True, 0.5, "1/2", [2], {"a": 1}, 3], ["three"]),
        (["9" * 5000, float("nan"), float("inf")], []),
        ((1, 2), ["one", "two"]),
        ("2", ["two"]),
        (0, ["zero"]),
        ("", []),
        ([], []),
    ],
)
def test_items_are_picked_in_the_order_of_the_indices(indices: object, picked: list[str]) -> None:
    assert pick(ITEMS, indices) == picked


def test_only_a_list_can_be_picked_from() -> None:
    with pytest.raises(TypeError, match="pick chooses from a list, got str"):
        pick("text", [0])


def render(user: str, **fields: object) -> str:
    outputs = {
        "find": StageOutput(["2", "9", "0"], "", (["2", "9", "0"],)),
        "lost": StageOutput(None, "?", (None,)),
    }
    return Prompt.compile(PromptBlock(user=user)).render(variables(Problem("p", fields), outputs))[0].content


def test_prompts_pick_by_the_answer_of_a_stage() -> None:
    text = "{% for item in problem.items | pick(stages.find.answer) %}<{{ item }}>{% endfor %}"
    assert render(text, items=ITEMS) == "<two><zero>"


def test_an_answer_that_could_not_be_parsed_picks_nothing() -> None:
    assert render("{{ problem.items | pick(stages.lost.answer) | length }}", items=ITEMS) == "0"


@pytest.mark.parametrize(
    "text", ["{{ problem.nosuch | pick([0]) }}", "{{ problem.items | pick(problem.nosuch) }}"]
)
def test_a_missing_variable_is_named(text: str) -> None:
    with pytest.raises(PromptRenderError, match="nosuch"):
        render(text, items=ITEMS)


def test_what_is_no_list_is_a_failure_of_the_problem() -> None:
    with pytest.raises(PromptRenderError, match="pick chooses from a list, got int"):
        render("{{ problem.items | pick([0]) }}", items=7)


@pytest.mark.parametrize("name", FILTERS)
def test_checks_know_the_filters(name: str) -> None:
    known = Known(fields=["items"], needs=(), stages=())
    assert faults(f"{{{{ problem.items | {name}([0]) }}}}", known) == []
