from __future__ import annotations

import pytest

from agenttts.pipeline.labelled import short_answer


@pytest.mark.parametrize(
    "text",
    [
        "Answer: Hull",
        "Ann was born there.\n\n**Answer:** Hull.",
        "The answer is **Hull**.",
        "Answer: The answer is Hull",
        "The final answer is: Hull.",
        "Answer:\nHull",
        'Answer: "Hull"',
        "Answer: $\\boxed{\\text{Hull}}$",
        "- Answer: `Hull`",
        "<answer>Hull</answer>",
        'So:\n```json\n{"answer": "Hull"}\n```',
        "Answer: York, no.\nAnswer: Hull",
        "Answer: Hull\n\nI hope this helps!",
        "Hull",
    ],
)
def test_the_answer_is_found_however_it_is_dressed(text: str) -> None:
    assert short_answer(text) == "Hull"


@pytest.mark.parametrize(
    "answer", ["U.S.", "Washington, D.C.", "3.5", "St. Paul", 'the "Hull" line', "1,000", "O'Neill"]
)
def test_what_belongs_to_the_answer_stays(answer: str) -> None:
    assert short_answer(f"Answer: {answer}") == answer


@pytest.mark.parametrize(
    "text", ["", "Answer:", "It is this: Hull", "Perhaps Hull.\nPerhaps York.", "x" * 61, "<answer></answer>"]
)
def test_where_nothing_is_answered_there_is_no_answer(text: str) -> None:
    assert short_answer(text) is None


def test_another_label_may_be_asked_for() -> None:
    assert short_answer("Answer: York\nCity: Hull", "City") == "Hull"


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "part",
    [
        "Answer: ",
        "<answer>",
        '"answer":"',
        "answer is\n",
        "answer ",
        "**Answer",
        "\\boxed{",
        "Answer:\n\n\n\n",
    ],
)
def test_hostile_repetition_takes_no_time(part: str) -> None:
    short_answer(part * 100_000)
