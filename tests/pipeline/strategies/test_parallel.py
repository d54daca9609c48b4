"""All at once: what fusion, agreed fusion and a choice by a model ask, and what they fall back on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agenttts.models.base import Message, SamplingParameters
from agenttts.pipeline.base import Judged
from agenttts.pipeline.selectors import BestOfN, Majority
from agenttts.pipeline.strategies.parallel import (
    Second,
    agreed_fusion,
    chosen,
    first_of_one,
    fused,
    pooled,
    selected,
)
from agenttts.pipeline.strategies.steps import Draw
from tests.pipeline.strategies.hand import NUMBERS, PROMPT, Verifying, Writes, asking, play

GREEDY = SamplingParameters(temperature=0.0)


def shown(texts: Sequence[str], answers: Sequence[Any], prompt: str) -> tuple[Message, ...]:
    return (Message("user", "|".join([prompt, *texts, *map(str, answers)])),)


def then(reply: str, *texts: str) -> Writes:
    """Return a source of samples, and of the reply to whatever is asked after them."""
    return lambda draw, index: texts[index] if draw.purpose == "draw" else reply


def test_samples_sent_to_the_verifier_are_counted_apart_from_those_it_left_unscored() -> None:
    verifier = Verifying(lambda one: 0.5 if one.answer == "4" else None)
    texts = ("it is 4", "no number", "it is 5", "it is 6")
    found = play(selected(asking(4), NUMBERS, BestOfN(), verifier), lambda draw, index: texts[index])
    assert found.output.judged == Judged(3, 2, "?")


def test_one_sample_is_drawn_however_many_are_allowed() -> None:
    played = play(first_of_one(asking(4), NUMBERS), then("", "it is 42"))
    assert played.plan == [("draw", 0, 1)]
    assert (played.output.answer, played.output.selected) == ("42", 0)


def test_all_are_drawn_at_once_and_only_parsed_ones_are_scored() -> None:
    verifier = Verifying(lambda one: {"1": 0.2, "2": 0.9}[one.answer])
    played = play(selected(asking(3), NUMBERS, BestOfN(), verifier), then("", "1", "none", "2"))
    assert played.plan == [("draw", 0, 3)]
    assert played.batches == [["1", "2"]]
    assert verifier.asked[0].prompt == "Be brief.\n6 * 7?"
    assert played.output.verifier_scores == (0.2, None, 0.9)
    assert (played.output.answer, played.output.selected) == ("2", 2)
    assert played.output.notes[0].startswith("1 of 3 samples could not be parsed: ")


def test_nothing_parsed_is_no_answer_and_no_question_to_a_verifier() -> None:
    played = play(selected(asking(2), NUMBERS, BestOfN(), Verifying()), then("", "no", "none"))
    assert played.batches == []
    assert played.output.answer is None
    assert played.output.verifier_scores == (None, None)


def test_a_vote_with_an_earlier_stage_prefers_the_earlier_on_a_tie() -> None:
    played = play(pooled(asking(2), NUMBERS, ["7", None], ["seven: 7", "?"]), then("", "8", "none"))
    assert (played.output.answer, played.output.text, played.output.selected) == ("7", "seven: 7", None)
    both = play(pooled(asking(2), NUMBERS, ["7"], ["seven: 7"]), then("", "8", "8"))
    assert (both.output.answer, both.output.selected) == ("8", 0)
    assert play(pooled(asking(1), NUMBERS, [None], ["?"]), then("", "none")).output.answer is None


def test_a_fusion_shows_all_samples_with_what_they_answer() -> None:
    played = play(fused(asking(2), NUMBERS, Second(shown, GREEDY)), then("it is 3", "1", "none"))
    assert played.plan == [("draw", 0, 2), ("fusion", 0, 1)]
    question = played.draws[1]
    assert (question.model, question.sampling) == ("small", GREEDY)
    assert question.messages[0].content == "Be brief.\n6 * 7?|1|none|1|None"
    assert (played.output.answer, played.output.text, played.output.selected) == ("3", "it is 3", None)
    assert played.output.answers == ("1", None)


def test_a_fusion_that_cannot_be_read_leaves_the_majority() -> None:
    played = play(fused(asking(3), NUMBERS, Second(shown, GREEDY)), then("hm", "1", "2", "2"))
    assert (played.output.answer, played.output.selected) == ("2", 1)
    assert "majority vote" in played.output.notes[0]
    nothing = play(fused(asking(2), NUMBERS, Second(shown, GREEDY)), then("hm", "a", "b"))
    assert nothing.output.answer is None


def test_agreed_fusion_shows_the_leader_and_its_strongest_rival_alone() -> None:
    texts = ("is 1", "is 2", "none", "is 3", "now 2", "now 3.0", "also 2")
    played = play(agreed_fusion(asking(7), NUMBERS, Second(shown, GREEDY)), then("2", *texts))
    assert played.draws[1].messages[0].content == "Be brief.\n6 * 7?|is 2|is 3|2|3"
    assert played.output.answer == "2"


def test_on_a_tie_the_leader_is_the_one_drawn_first() -> None:
    played = play(agreed_fusion(asking(2), NUMBERS, Second(shown, GREEDY)), then("9", "5", "4"))
    assert played.draws[1].messages[0].content.endswith("|5|4|5|4")


@pytest.mark.parametrize("texts", [("4", "4.0"), ("4", "none"), ("none", "none")])
@pytest.mark.parametrize("way", [agreed_fusion, chosen])
def test_without_two_answers_nothing_is_asked(way: Any, texts: tuple[str, ...]) -> None:
    played = play(way(asking(2), NUMBERS, Second(shown, GREEDY)), then("1", *texts))
    assert played.plan == [("draw", 0, 2)]
    assert played.output.answer == (None if texts[0] == "none" else "4")


def test_a_choice_shows_equal_answers_once_and_takes_the_named_one() -> None:
    texts = ("is 5", "none", "is 4", "now 5.0", "is 3")
    second = Second(shown, GREEDY, "large")
    played = play(chosen(asking(5), NUMBERS, second), then("Reply 1 errs.\n\n3", *texts))
    assert played.plan == [("draw", 0, 5), ("choose", 0, 1)]
    assert played.draws[1].model == "large"
    assert played.draws[1].messages[0].content == "Be brief.\n6 * 7?|is 5|is 4|is 3|5|4|3"
    assert (played.output.answer, played.output.selected, played.output.text) == ("3", 4, "is 3")


@pytest.mark.parametrize(
    ("reply", "picked"),
    [
        ("2", 2),
        ("**2**", 2),
        ("Reply 2", 2),
        ("The best one is reply 2.", 2),
        ("Reply 2, because it is right", 2),
        ("(2)", 2),
        ("Both 1 and 2 err where 3 does not", 3),
        ("Reply: 2\nI took it since 1 + 1 = 3", 2),
        ("I looked at all 3.\n2\n", 2),
    ],
)
def test_the_number_of_the_best_is_found_in_the_reply(reply: str, picked: int) -> None:
    played = play(chosen(asking(3), NUMBERS, Second(shown, GREEDY)), then(reply, "7", "8", "9"))
    assert played.output.answer == str(6 + picked)


@pytest.mark.parametrize(
    "reply", ["", "none", "0", "4", "-2", "1.5", "1,200", "12345", "x2x2", "\x1b[2J", "\N{BLACK STAR}"]
)
def test_a_reply_that_names_no_sample_leaves_the_majority(reply: str) -> None:
    played = play(chosen(asking(3), NUMBERS, Second(shown, GREEDY)), then(reply, "7", "8", "8"))
    assert (played.output.answer, played.output.selected) == ("8", 1)
    assert "no sample was named in" in played.output.notes[0]


def test_what_a_reply_holds_is_told_without_control_characters() -> None:
    played = play(chosen(asking(2), NUMBERS, Second(shown, GREEDY)), then("\x1b[2J" * 50, "7", "8"))
    assert all(note.isprintable() for note in played.output.notes)
    assert len(played.output.notes[0]) < 400


def test_a_majority_of_many_is_the_selectors_own() -> None:
    played = play(selected(asking(4), NUMBERS, Majority()), then("", "7", "8", "8", "7"))
    assert (played.output.answer, played.output.selected) == ("7", 0)


def test_a_fusion_is_asked_of_the_model_that_drew() -> None:
    draw = asking(2, model="large")
    played = play(fused(draw, NUMBERS, Second(shown, GREEDY)), then("1", "1", "2"))
    assert isinstance(played.draws[1], Draw)
    assert (played.draws[1].model, played.draws[0].messages) == ("large", PROMPT)
