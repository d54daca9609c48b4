"""Wider or deeper: the same seed gives the same tree, both happen, and the best of all is taken."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from agenttts.models.base import Message
from agenttts.pipeline.strategies.refinement import Refining
from agenttts.pipeline.strategies.steps import Draw
from agenttts.pipeline.strategies.tree import search_tree
from agenttts.verifiers.base import Score
from tests.pipeline.strategies.hand import NUMBERS, PROMPT, Played, Verifying, asking, play


def better(text: str, answer: Any, feedback: str, prompt: str) -> tuple[Message, ...]:
    return (Message("user", f"better than {answer}? {feedback}"),)


def climbing(draw: Draw, index: int) -> str:
    """A new sample is below 50; a refined one is higher than what it is made from."""
    if draw.purpose == "draw":
        return f"is {(7 * index) % 50}"
    before = int(draw.messages[-2].content.split()[-1])
    return f"is {before + 1 + index}"


def grown(n: int, seed: int = 0, verifier: Verifying | None = None, **keys: Any) -> Played:
    verifier = verifier or Verifying(lambda one: Score(int(one.answer) / 100, feedback="higher"))
    how = Refining(better, verifier=verifier, **keys)
    return play(search_tree(asking(n), NUMBERS, how, random.Random(seed)), climbing)


def test_the_same_seed_gives_the_same_tree() -> None:
    assert grown(12, seed=3).draws == grown(12, seed=3).draws
    assert len({tuple(map(repr, grown(12, seed=seed).draws)) for seed in range(8)}) > 4


def test_samples_are_new_and_refined_and_the_best_of_all_is_taken() -> None:
    played = grown(16)
    kinds = Counter(draw.purpose for draw in played.draws)
    assert kinds["draw"] >= 2
    assert kinds["refine"] >= 2
    assert kinds.total() == 16
    assert played.output.notes[0] == f"{kinds['draw']} new, {kinds['refine']} refined"
    assert played.output.answer == str(max(int(answer) for answer in played.output.answers))
    assert played.output.verifier_scores[played.output.selected or 0] == max(played.output.verifier_scores)
    assert (len(played.output.texts or ()), played.output.n_plain) == (16, 0)


def test_a_refined_sample_goes_on_in_the_conversation_of_its_parent() -> None:
    refined = next(draw for draw in grown(16).draws if draw.purpose == "refine")
    assert refined.messages[:2] == PROMPT
    assert refined.messages[2].role == "assistant"
    number = refined.messages[2].content.removeprefix("is ")
    assert refined.messages[3] == Message("user", f"better than {number}? higher")


def test_no_draw_of_a_stream_is_used_twice() -> None:
    # All samples are equal, so all refinements ask the same.
    verifier = Verifying(lambda one: 0.5)
    how = Refining(better, verifier=verifier)
    for seed in range(5):
        played = play(search_tree(asking(14), NUMBERS, how, random.Random(seed)), lambda draw, index: "is 5")
        used = Counter((draw.messages, draw.first) for draw in played.draws)
        assert max(used.values()) == 1
        assert all(draw.n == 1 for draw in played.draws)


def test_it_goes_where_scores_have_been_high() -> None:
    def deep(one: Any) -> float:  # what is refined is good, what is new is bad
        return 0.95 if int(one.answer) >= 100 else 0.05

    def writes(draw: Draw, index: int) -> str:
        return "is 1" if draw.purpose == "draw" else "is 100"

    how = Refining(better, verifier=Verifying(deep))
    shares = []
    for seed in range(6):
        played = play(search_tree(asking(30), NUMBERS, how, random.Random(seed)), writes)
        shares.append(sum(draw.purpose == "refine" for draw in played.draws) / 30)
    assert sum(shares) / len(shares) > 0.6

    def flat(draw: Draw, index: int) -> str:
        return "is 100" if draw.purpose == "draw" else "is 1"

    wide = []
    for seed in range(6):
        played = play(search_tree(asking(30), NUMBERS, how, random.Random(seed)), flat)
        wide.append(sum(draw.purpose == "draw" for draw in played.draws) / 30)
    assert sum(wide) / len(wide) > 0.6


@pytest.mark.parametrize("n", [1, 2])
def test_few_samples(n: int) -> None:
    played = grown(n)
    assert len(played.draws) == n
    assert played.draws[0].purpose == "draw"


def test_it_stops_at_a_sample_that_could_not_be_better() -> None:
    played = grown(9, verifier=Verifying(lambda one: 1.0))
    assert len(played.draws) == 1


def test_samples_without_answer_or_score_count_as_0_and_end_nothing() -> None:
    how = Refining(better, verifier=Verifying())
    unscored = play(search_tree(asking(6), NUMBERS, how, random.Random(1)), climbing)
    assert len(unscored.draws) == 6
    assert "no sample was scored: majority vote" in unscored.output.notes
    nothing = play(search_tree(asking(4), NUMBERS, how, random.Random(1)), lambda draw, index: "hm")
    assert (nothing.output.answer, nothing.batches) == (None, [])
