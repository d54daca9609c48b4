"""Averages over draws equal what the selectors themselves give over all sets in all orders."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.pipeline.selectors import SELECTORS
from agenttts.study.archive import Trial
from agenttts.study.estimation import expected_score, held_draws
from agenttts.verifiers.equality import vote_key

EXACT = ["first", "majority", "best_of_n"]


def brute_force(
    kind: str, n: int, answers: Sequence[Any], values: Sequence[float], scores: Sequence[float | None]
) -> float:
    found = []
    for order in permutations(range(len(answers)), n):
        selection = SELECTORS[kind].select(
            [answers[i] for i in order], [scores[i] for i in order] if scores else ()
        )
        assert selection.index is not None
        found.append(values[order[selection.index]])
    return sum(found) / len(found)


def draws(rng: random.Random, n_draws: int) -> tuple[list[Any], list[float], list[float | None]]:
    """Draws with ties, unparsed and unscored ones, and values that differ within an answer."""
    answers = [rng.choice([None, "1", "1.0", "2", "x", "X"]) for _ in range(n_draws)]
    values = [rng.choice([0.0, 1.0, 0.25]) for _ in range(n_draws)]
    scores = [rng.choice([None, 0.0, 0.5, 0.9]) for _ in range(n_draws)]
    return answers, values, scores


def estimate(
    kind: str, n: int, answers: Sequence[Any], values: Sequence[float], scores: Sequence[float | None]
) -> float:
    votes = [None if answer is None else vote_key(answer) for answer in answers]
    return expected_score(kind, n, votes, values, scores)


@pytest.mark.parametrize("kind", EXACT)
def test_the_average_is_that_of_all_sets_in_all_orders(kind: str):
    rng = random.Random(kind)
    for _ in range(12):
        answers, values, scores = draws(rng, 6)
        for n in (1, 2, 3, 4, 5, 6):
            expected = brute_force(kind, n, answers, values, scores)
            assert estimate(kind, n, answers, values, scores) == pytest.approx(expected, abs=1e-9)


def test_a_weighted_vote_is_near_the_average_of_all_sets():
    rng = random.Random(5)
    errors = []
    for _ in range(40):
        answers, values, scores = draws(rng, 6)
        for n in (1, 2, 4, 6):
            expected = brute_force("weighted_vote", n, answers, values, scores)
            errors.append(estimate("weighted_vote", n, answers, values, scores) - expected)
    assert max(abs(error) for error in errors) < 0.08, "five standard deviations of 1000 sets"
    assert abs(sum(errors) / len(errors)) < 0.005


def test_without_a_verifiers_score_the_majority_decides():
    answers, values = ["1", "2", "2", None, "1", "2"], [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    nothing: list[float | None] = [None] * 6
    for n in (2, 3, 5):
        majority = brute_force("majority", n, answers, values, nothing)
        assert estimate("best_of_n", n, answers, values, nothing) == pytest.approx(majority)
        assert estimate("weighted_vote", n, answers, values, nothing) == pytest.approx(majority, abs=0.06)


def test_a_worked_example():
    """Three of four draws are right; of two in random order, ties go to the first: right in 3 + 3/2 of 6 sets."""
    assert estimate("majority", 2, ["1", "1", "1", "2"], [1, 1, 1, 0], []) == pytest.approx(4.5 / 6)


def test_it_agrees_with_many_random_sets_of_many_draws():
    rng = random.Random(11)
    answers = [rng.choice(["1", "1", "1", "2", "2", "3", None, "4"]) for _ in range(64)]
    values = [1.0 if answer == "1" else 0.0 for answer in answers]
    hits = []
    for _ in range(4000):
        order = rng.sample(range(64), 16)
        index = SELECTORS["majority"].select([answers[i] for i in order], ()).index
        assert index is not None
        hits.append(values[order[index]])
    assert estimate("majority", 16, answers, values, []) == pytest.approx(sum(hits) / 4000, abs=0.03)


def test_a_hundred_draws_that_all_differ_are_averaged_in_a_moment():
    since = time.monotonic()
    value = estimate("majority", 50, [str(i) for i in range(100)], [float(i < 30) for i in range(100)], [])
    assert value == pytest.approx(0.3)
    assert time.monotonic() - since < 1.0


def test_thousands_of_draws_do_not_overflow():
    answers = ["1"] * 2100 + ["2"] * 900
    values = [1.0] * 2100 + [0.0] * 900
    assert estimate("majority", 5, answers, values, []) == pytest.approx(0.837, abs=0.002)


@pytest.mark.parametrize(("kind", "n"), [("list_vote", 2), ("fusion", 2), ("majority", 0), ("majority", 4)])
def test_what_cannot_be_averaged_is_refused(kind: str, n: int):
    with pytest.raises(ValueError, match="expected"):
        estimate(kind, n, ["1", "2", "3"], [0.0, 1.0, 0.0], [])


# --- which draws


def trial(n: int, label: str = "majority", model: str = "s", prompts: dict[str, str] | None = None) -> Trial:
    allocation = Allocation((StageChoice("solve", model, n, label),))
    scores = dict.fromkeys(prompts or {"p1": "", "p2": ""}, 1.0)
    return Trial(0, allocation, "ok", scores, 1.0, prompts={"solve": prompts} if prompts else {})


def held(*known: Trial, label: str = "majority", same_label: bool = False) -> dict[str, dict[str, int]]:
    found = held_draws(known, StageChoice("solve", "s", 4, label), same_label=same_label)
    return {problem: dict(by_prompt) for problem, by_prompt in found.items()}


def test_more_draws_of_the_same_model_are_held():
    assert held(trial(8), trial(16, "best_of_n")) == {"p1": {"": 16}, "p2": {"": 16}}


def test_a_verifier_has_scored_the_draws_of_its_own_trials_alone():
    assert held(trial(8, "best_of_n"), trial(16), label="best_of_n", same_label=True) == {
        "p1": {"": 8},
        "p2": {"": 8},
    }


def test_draws_are_counted_by_prompt():
    known = [trial(8, prompts={"p1": "a", "p2": "b"}), trial(16, prompts={"p1": "a", "p2": "c"})]
    assert held(*known) == {"p1": {"a": 16}, "p2": {"b": 8, "c": 16}}


def test_a_stopped_trial_leaves_draws_for_the_problems_it_saw():
    assert held(replace(trial(16, prompts={"p2": "b"}), status="stopped")) == {"p2": {"b": 16}}


def test_draws_of_another_model_or_no_more_of_them_do_not_help():
    assert held(trial(16, model="l"), trial(4), trial(1, "first")) == {}
