"""How the search went, worked out by hand."""

from __future__ import annotations

import pytest

from agenttts.report.facts.course import course_of
from tests.report.facts.conftest import LARGE, SMALL, make_trial

TRIALS = [
    make_trial(1, "1100000000", (SMALL, 2), charged=2.0, n_paid=8, n_reused=2),
    make_trial(0, "1100000000", (SMALL, 1), charged=1.0, n_paid=4, n_reused=6),
    make_trial(2, "1111------", (LARGE, 1), charged=1.0, n_paid=3, n_reused=1, status="stopped"),
    make_trial(3, "1111111111", (LARGE, 2), charged=3.0, n_paid=5, n_reused=11),
]


def test_best_so_far_goes_with_the_order_in_which_trials_ended(run):
    course = course_of(run(TRIALS, spent=[1.0, 2.0, 2.5, 4.0]))
    assert [(s.trial, s.best, s.best_score, s.spent, s.n_paid, s.n_reused) for s in course.steps] == [
        (1, 1, 0.2, 1.0, 8, 2),
        (0, 0, 0.2, 2.0, 12, 8),  # as good, and cheaper
        (2, 0, 0.2, 2.5, 15, 9),  # stopped: it cannot lead
        (3, 3, 1.0, 4.0, 20, 20),
    ]
    assert course.spent_unit == "gflops"
    assert all(step.after_s >= 0 for step in course.steps if step.after_s is not None)


def test_reuse_and_what_racing_spared(run):
    course = course_of(run(TRIALS))
    assert course.reuse == 0.5
    assert (course.n_stopped, course.n_rollouts, course.n_rollouts_saved) == (1, 34, 6)
    assert course.steps[0].spent is None


def test_no_draws_are_no_reuse(run):
    assert course_of(run([make_trial(0, "1")])).reuse is None


def planned(n: int, first: int, k: int, **more):
    proposals = [{"allocation": [], "origin": "curves" if i else "agent"} for i in range(k)]
    return "round", {"round": n, "first": first, "proposals": proposals, "n_feasible": 7, **more}


def test_rounds_tell_who_proposed_and_what_the_planner_learnt(run):
    turn = {
        "insights": [{"text": "<b>more</b> samples", "trials": [0, 1], "confidence": 0.7}],
        "sketches": [],
        "memory": {},
        "notes": ["a reply was no JSON"],
    }
    course = course_of(run(TRIALS, events=[planned(0, 0, 2), planned(1, 2, 3, **turn)]))
    first, second = course.rounds
    assert (first.trials, first.origins, first.n_feasible, first.insights) == (
        (0, 1),
        {"agent": 1, "curves": 1},
        7,
        (),
    )
    assert second.trials == (2, 3)  # the third of them never ended
    assert second.notes == ("a reply was no JSON",)
    (insight,) = second.insights
    assert (insight.round, insight.text, insight.trials, insight.confidence) == (
        1,
        "<b>more</b> samples",
        (0, 1),
        pytest.approx(0.7),
    )
