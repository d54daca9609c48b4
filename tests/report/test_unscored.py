"""Sentences on verifiers without a score: worked examples."""

from __future__ import annotations

from agenttts._cli.words import unscored_lines
from agenttts.pipeline.base import Allocation
from agenttts.report.unscored import over_trials, unscored_texts
from agenttts.study.archive import Trial, Unscored


def trial(number: int, **unscored: Unscored) -> Trial:
    return Trial(number, Allocation(()), "ok", {"p": 1.0}, 1.0, unscored=unscored)


def test_a_verifier_without_any_score_is_said_to_be_of_no_use():
    entry = Unscored("best_of_n(judge)", 48, 48, "it holds no mark")
    assert unscored_texts([("solve", entry)]) == [
        "the verifier of best_of_n(judge) scored 0 of 48 samples at stage solve, e.g. it holds no mark; the majority "
        "decided instead: as it is, this verifier is paid for and of no use"
    ]


def test_few_samples_without_a_score_need_no_remark():
    assert unscored_texts([("solve", Unscored("best_of_n(judge)", 4, 48, "slow"))]) == []
    assert len(unscored_texts([("solve", Unscored("best_of_n(judge)", 5, 48, "slow"))])) == 1


def test_trials_are_added_up_by_stage_and_way():
    first = trial(0, solve=Unscored("best_of_n(judge)", 0, 8))
    second = trial(
        1, solve=Unscored("best_of_n(judge)", 6, 8, "slow"), plan=Unscored("tree(orm)", 1, 4, "gone")
    )
    other = trial(2, solve=Unscored("tree(orm)", 4, 4, "gone"))
    assert over_trials([first, second, other]) == [
        ("solve", Unscored("best_of_n(judge)", 6, 16, "slow")),
        ("plan", Unscored("tree(orm)", 1, 4, "gone")),
        ("solve", Unscored("tree(orm)", 4, 4, "gone")),
    ]


def test_a_cause_that_a_model_wrote_cannot_steer_the_terminal():
    (line,) = unscored_lines([("solve", Unscored("best_of_n(judge)", 8, 8, "\x1b[31mred\nnext"))])
    assert "\x1b" not in line
    assert "\n" not in line
