"""What to run, and what must be said beside the score."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agenttts.report.facts.answer import answer_of
from agenttts.study.archive import Unscored
from tests.report.facts.conftest import LARGE, SMALL, make_trial

BEST = make_trial(0, "1111111110", (LARGE, 1), charged=4.0)
SECOND = make_trial(1, "1111111100", (SMALL, 1), charged=2.0)


def entry(signs: str, first: int = 10, charged: float = 5.0, failed: int = 0, invalid: bool = False) -> dict:
    failures = [
        {"problem_id": f"f{i}", "stage": "draft", "cause": "Busy", "message": "503"} for i in range(failed)
    ]
    return {
        "scores": {f"p{first + i}": float(sign) for i, sign in enumerate(signs)},
        "failures": failures,
        "invalid": invalid,
        "charged": charged,
        "n_paid": 0,
        "n_reused": 0,
    }


def confirmed(winner: dict, runner_up: dict | None, n: int) -> list:
    return [("confirmed", {"n": n, "trials": [0, 1], "winner": winner, "runner_up": runner_up})]


def test_the_score_is_that_of_unseen_problems_where_there_is_one(run):
    told = answer_of(run([BEST, SECOND], events=confirmed(entry("1" * 40), entry("1" * 39 + "0"), 40)))
    assert (told.winner, told.runner_up, told.split, told.n_unseen) == (0, 1, "test", 40)
    assert (told.score.mean, told.score.n) == (1.0, 40)
    assert (told.search_score.mean, told.search_score.n) == (0.9, 10)
    # The budget is kept on the search problems, so their cost is the one that is quoted.
    assert (told.charged, told.unseen_charged) == (4.0, 5.0)
    assert told.share_of_budget == 0.4
    assert told.cost.flops == pytest.approx(4e9)
    assert told.difference.verdict == "not distinguishable"
    assert "not distinguishable" in told.verdict


def test_without_a_confirmation_the_score_is_said_to_flatter(run):
    told = answer_of(run([BEST, SECOND], confirm=False))
    assert (told.split, told.score.mean, told.charged) == ("search", 0.9, 4.0)
    assert told.verdict == ""
    assert told.cautions[0].startswith("The score is that of the problems which chose the winner")


def test_a_winner_that_failed_on_unseen_problems_has_the_score_of_the_search(run):
    told = answer_of(run([BEST, SECOND], events=confirmed(entry("1", failed=9, invalid=True), None, 10)))
    assert (told.split, told.score.mean) == ("search", 0.9)
    assert "So many of the 10 unseen problems failed" in told.cautions[0]


def test_a_reader_is_told_what_weakens_a_score(run):
    best = make_trial(
        0,
        "1111111110",
        (LARGE, 1),
        charged=4.0,
        unscored={"solve": Unscored("best_of_n", 3, 12)},
        estimated_from={"solve": 8},
    )
    winner = entry("00011110000000000000", charged=11.0, failed=1)
    events = confirmed(winner, entry("1" * 20), 21)
    told = " ".join(answer_of(run([best, SECOND], events=events)).cautions)
    for part in (
        "the runner-up did better",
        "Only 21 unseen problems",
        "costs more than the budget",
        "1 of 21 unseen problems failed",
        "the verifier gave 3 of 12 samples no score",
        "averaged over draws of other trials",
        "has not come to its end",
    ):
        assert part in told


def test_without_a_valid_trial_nothing_is_recommended(run):
    told = answer_of(run([make_trial(0, "11", charged=99.0, status="over_budget")]))
    assert (told.winner, told.allocation, told.score, told.split, told.charged) == (
        None,
        None,
        None,
        "",
        None,
    )
    assert told.cautions == ("No trial is valid and within the budget, so there is nothing to recommend.",)


def test_a_cheaper_plan_that_is_about_as_good_is_offered(run):
    """It loses a point of a hundred on every problem; ten problems cannot tell that from nothing."""
    best = replace(BEST, scores=dict.fromkeys(BEST.scores, 0.90))
    near = replace(SECOND, scores=dict.fromkeys(BEST.scores, 0.89))
    told = answer_of(run([best, near]))
    assert (told.winner, told.alternative) == (0, 1)
    assert told.alternative_difference.mean == pytest.approx(0.01)


def test_a_cheaper_plan_that_loses_more_is_not_offered(run):
    best = replace(BEST, scores=dict.fromkeys(BEST.scores, 0.90))
    worse = replace(SECOND, scores=dict.fromkeys(BEST.scores, 0.85))
    assert answer_of(run([best, worse])).alternative is None


def test_a_winner_that_scored_nothing_comes_with_a_warning_first_and_does_not_flatter(run):
    zeros = "0" * 10
    told = answer_of(run([make_trial(0, zeros, (LARGE, 1)), make_trial(1, zeros, (SMALL, 1))], confirm=False))
    assert told.cautions[0].startswith("No trial scored above 0")
    assert "looks better" not in " ".join(told.cautions)
