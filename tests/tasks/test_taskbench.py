"""TaskBench over HTTP on models that a script plays; the expected figures are worked out in the comments."""

from __future__ import annotations

import json

import pytest

from tests.scripted_server import Played, Reply, play, rules

PLAN, CHOOSE, FILL = "You plan how a request", "You choose the tools", "You fill in the parameters"
PLANTS, TABLE, TRAM = "water the plants in the kitchen", "Blue Heron", "When does a tram go"
TIMER, NOTE, DAY = "Set a timer for 12 minutes", "Write to Ansel", "Look up trams from Mill Lane"


def nodes(*calls: tuple[str, dict[str, str]]) -> str:
    made = [
        {"task": task, "arguments": [{"name": name, "value": value} for name, value in arguments.items()]}
        for task, arguments in calls
    ]
    return json.dumps({"nodes": made})


SCRIPT = rules(
    # The published steps to the letter.
    ([PLAN, PLANTS], "Step 1: Water the plants in the kitchen for 5 minutes"),
    ([CHOOSE, PLANTS], '```json\n{"tools": ["water_plants"]}\n```'),
    ([FILL, PLANTS], nodes(("water_plants", {"room": "kitchen", "minutes": "5"}))),
    # One of two tools; the right one is filled in whole.
    ([PLAN, TABLE], "1. Reserve a table"),
    ([CHOOSE, TABLE], '{"tools": ["book_table"]}'),
    ([FILL, TABLE], nodes(("book_table", {"place": "Blue Heron", "time": "19:00", "people": "4"}))),
    # The wrong tool and values that no gold call has.
    ([PLAN, TRAM], "Step 1: Send a note"),
    ([CHOOSE, TRAM], '{"tools": ["send_note"]}'),
    ([FILL, TRAM], nodes(("send_note", {"to": "Harbour Square", "text": "tram?"}))),
    # Malformed in every stage.
    ([PLAN, TIMER], "I do not know."),
    ([CHOOSE, TIMER], '{"tools": ["set_timer", '),
    ([FILL, TIMER], "set_timer(12)"),
    # One of two values.
    ([PLAN, NOTE], "Step 1: Send a note to Ansel that the parcel is at the baker's"),
    ([CHOOSE, NOTE], '{"tools": ["send_note"]}'),
    ([FILL, NOTE], nodes(("send_note", {"to": "Ansel", "text": "come to the baker"}))),
    ([PLAN, DAY], Reply("overloaded for good", status=400)),
)  # fmt: skip

CHOICES = [(stage, "llama3.1-8b", 1, "fusion") for stage in ("decompose", "select_tools", "fill_parameters")]


@pytest.fixture(scope="module")
def played() -> Played:
    return play("taskbench", SCRIPT, CHOICES)


def test_parameters_are_scored_by_f1(played: Played) -> None:
    # Pairs of tool, name and value. tb-s2: gold has 3 + 2 pairs, 3 are named, all right: 2 x 3 / (5 + 3) = 3/4.
    # tb-s5: gold 2, named 2, right 1: 2 x 1 / (2 + 2) = 1/2.
    assert played.scores == {"tb-s1": 1.0, "tb-s2": 0.75, "tb-s3": 0.0, "tb-s4": 0.0, "tb-s5": 0.5}


def test_tools_are_scored_by_node_f1(played: Played) -> None:
    # tb-s2: one of two tools: 2 x 1 / (2 + 1).
    expected = {"tb-s1": 1.0, "tb-s2": pytest.approx(2 / 3), "tb-s3": 0.0, "tb-s4": 0.0, "tb-s5": 1.0}
    assert played.evaluation.stage_scores["select_tools"] == expected
    assert played.evaluation.measures["node_f1"] == expected


def test_steps_are_scored_by_rouge_l(played: Played) -> None:
    scores = played.evaluation.stage_scores["decompose"]
    assert scores["tb-s4"] == 0.0
    assert scores["tb-s1"] == 1.0
    # tb-s2: `1 reserve a table` are 4 words of the 14 + 11 of both steps (19 and 00 are words): 2 x 4 / (4 + 25).
    assert scores["tb-s2"] == pytest.approx(8 / 29)


def test_a_stage_without_answer_leaves_its_place_in_the_prompt_empty(played: Played) -> None:
    (prompt,) = [text for text in played.server.prompts(TIMER) if FILL in text]
    assert "Tools chosen, in the order of their use: none\n" in prompt
    assert "- set_timer: minutes (number: How long)" in prompt


def test_only_the_chosen_tools_are_described(played: Played) -> None:
    (prompt,) = [text for text in played.server.prompts(TABLE) if FILL in text]
    assert "- book_table: place (string: Name of the place)" in prompt
    assert "- send_note:" not in prompt


def test_a_fault_of_the_provider_is_told_and_no_score(played: Played) -> None:
    assert played.failures["tb-s6"].stage == "decompose"
    assert "overloaded for good" in played.failures["tb-s6"].message


def test_samples_are_fused_by_the_same_model_and_fusion_is_charged() -> None:
    # Two samples and a fusion of 10 tokens: the fusion's reply is that of the rules again, by the words of the request.
    choices = [("decompose", "llama3.1-8b", 2, "fusion"), *CHOICES[1:]]
    played = play("taskbench", SCRIPT, choices, only=["tb-s1"])
    assert played.scores == {"tb-s1": 1.0}
    cost = played.evaluation.costs["decompose"]
    assert (cost.prefill_tokens, cost.decode_tokens) == (200, 30)
