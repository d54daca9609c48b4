"""What more samples of a stage bring: trials alike but for their number, on the same problems."""

from __future__ import annotations

import pytest

from agenttts.report.facts.samples import sample_curves, sample_gains
from tests.report.facts.conftest import LARGE, SMALL, make_trial

STAGES = ("draft", "solve")
ONE = make_trial(0, "1100000000", (LARGE, 1), (SMALL, 1))
TWO = make_trial(1, "1111000000", (LARGE, 1), (SMALL, 2))
FOUR = make_trial(2, "1111110000", (LARGE, 1), (SMALL, 4))
ELSEWHERE = make_trial(3, "0000000000", (SMALL, 1), (SMALL, 2))
"""As `TWO`, after another model."""


def solved(trials):
    return [one for one in sample_curves(trials, STAGES) if one.stage == "solve"]


def told(trials):
    return [{n: point.value for n, point in one.points.items()} for one in solved(trials)]


def test_a_curve_joins_only_trials_whose_other_stages_are_the_same():
    assert told([ONE, TWO, FOUR, ELSEWHERE]) == [{1: 0.2, 2: 0.4, 4: 0.6}, {2: 0.0}]
    joined, apart = solved([ONE, TWO, FOUR, ELSEWHERE])
    assert [choice.model for choice in (*joined.beside, *apart.beside)] == [LARGE, SMALL]


def test_points_of_a_curve_are_of_the_same_problems():
    short = make_trial(4, "1111110---", (LARGE, 1), (SMALL, 4))
    (curve,) = solved([ONE, TWO, short])
    assert {point.n for point in curve.points.values()} == {7}
    assert curve.points[1].value == pytest.approx(2 / 7)


def test_a_trial_that_saw_less_than_half_of_the_problems_stands_apart():
    stopped = make_trial(4, "1000-" + "0" + "-" * 9, (LARGE, 1), (SMALL, 4), status="stopped")
    long = [
        make_trial(i, signs, (LARGE, 1), (SMALL, n))
        for i, n, signs in ((0, 1, "1" * 5 + "0" * 10), (1, 2, "1" * 10 + "0" * 5))
    ]
    assert told([*long, stopped]) == [{1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3)}, {4: 0.2}]


def test_stages_with_gold_depend_on_those_before_them_alone():
    drafts = {f"p{i}": 1.0 for i in range(10)}
    trials = [
        make_trial(i, "1" * 10, (SMALL, n), (SMALL, m), stage_scores={"draft": drafts})
        for i, (n, m) in enumerate([(1, 1), (2, 4)])
    ]
    (curve,) = [one for one in sample_curves(trials, STAGES) if one.stage == "draft"]
    assert (curve.of, curve.beside, sorted(curve.points)) == ("stage", (), [1, 2])


def test_a_gain_is_taken_along_the_samples_of_the_winner_and_no_other_model_counts():
    other = make_trial(5, "1111111111", (LARGE, 1), (LARGE, 2))
    (gain,) = [
        one for one in sample_gains([ONE, TWO, FOUR, other, ELSEWHERE], FOUR, STAGES) if one.stage == "solve"
    ]
    # Each doubling gains 2 of 10 problems: the pairs are 1-2, 2-4 and, of two doublings, 1-4.
    assert gain.gain.value == pytest.approx(0.2)
    assert (gain.at_winner, gain.n_pairs, gain.model) == (True, 3, SMALL)


def test_few_problems_are_no_proof_of_a_gain():
    (gain,) = [one for one in sample_gains([ONE, TWO], TWO, STAGES) if one.stage == "solve"]
    assert not gain.is_told
    assert gain.gain.low < 0 < gain.gain.high


def test_a_gain_that_all_of_many_problems_agree_on_is_told():
    few, many = (make_trial(i, sign * 100, (LARGE, 1), (SMALL, i + 1)) for i, sign in enumerate("01"))
    (gain,) = [one for one in sample_gains([few, many], many, STAGES) if one.stage == "solve"]
    assert gain.is_told
    assert gain.gain.value == 1.0


def test_where_no_trial_differs_from_the_winner_in_samples_alone_others_are_asked_and_that_is_said():
    elsewhere = make_trial(6, "1111100000", (SMALL, 1), (SMALL, 4))
    (gain,) = [one for one in sample_gains([TWO, ELSEWHERE, elsewhere], TWO, STAGES) if one.stage == "solve"]
    assert (gain.at_winner, gain.n_pairs, gain.gain.value) == (False, 1, 0.5)
