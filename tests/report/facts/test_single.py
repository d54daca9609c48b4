"""Single trials and problems."""

from __future__ import annotations

import pytest

from agenttts.pipeline.base import Failure
from agenttts.report.facts.frontier import standings
from agenttts.report.facts.single import problem_facts, trial_facts
from agenttts.study.archive import ProblemFailure
from tests.report.facts.conftest import LARGE, SMALL, make_trial

LOST = ProblemFailure("p3", Failure("solve", "Busy", "503"))
FULL = make_trial(0, "1100", (SMALL, 1), charged=1.0)
OTHER = make_trial(1, "111-", (LARGE, 1), charged=2.0, failures=(LOST,))
STOPPED = make_trial(2, "11--", (LARGE, 2), charged=3.0, status="stopped", stopped_because="surely worse")


def test_trials_tell_scores_in_the_order_of_the_problems(run):
    record = run([FULL, OTHER])
    first, second = trial_facts(record, standings(record.archive))
    assert (first.scores, first.score, first.n_failed) == ((1.0, 1.0, 0.0, 0.0), 0.5, 0)
    assert (second.scores, second.n_problems, second.n_failed) == ((1.0, 1.0, 1.0, None), 3, 1)
    assert (first.low, first.high) == pytest.approx((0.150036, 0.849964), abs=1e-5)


def test_a_stopped_trial_tells_what_it_measured_and_apart_from_it_the_estimate_for_all_problems(run):
    record = run([FULL, STOPPED])
    full, told = trial_facts(record, standings(record.archive))
    # FULL scored 1.0 on the two problems that it saw and 0.5 on all: they are half a point easier.
    assert (told.score, told.estimate) == (1.0, 0.5)
    assert told.high == 1.0
    assert full.estimate is None
    assert told.stopped_because == "surely worse"


def test_problems_are_told_over_all_trials(run):
    told = problem_facts(run([FULL, OTHER, STOPPED]), {"p0": "0 + 0?"}, {"p0": {"solve": "0"}})
    assert [p.golds for p in told] == [{"solve": "0"}, {}, {}, {}]
    assert [(p.id, p.text, p.n_scored, p.n_failed, p.mean, p.winner, p.runner_up) for p in told] == [
        ("p0", "0 + 0?", 3, 0, 1.0, 1.0, 1.0),
        ("p1", "", 3, 0, 1.0, 1.0, 1.0),
        ("p2", "", 2, 0, 0.5, 1.0, 0.0),
        ("p3", "", 1, 1, 0.0, None, 0.0),
    ]
