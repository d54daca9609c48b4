"""Where trials stand in cost and score."""

from __future__ import annotations

from agenttts.report.facts.frontier import frontier_of, standings
from agenttts.study.archive import Archive
from tests.report.facts.conftest import LARGE, SMALL, make_trial

CHEAP = make_trial(0, "1100000000", (SMALL, 1), (SMALL, 1), charged=1.0)
BEST = make_trial(1, "1111111110", (LARGE, 1), (SMALL, 1), charged=2.0)
NEAR = make_trial(2, "1111111100", (LARGE, 2), (SMALL, 1), charged=3.0)
POOR = make_trial(3, "1000000000", (LARGE, 4), (SMALL, 1), charged=4.0)
LOST = make_trial(4, "", (LARGE, 1), (LARGE, 1), charged=0.0, status="invalid")
TRIALS = [CHEAP, BEST, NEAR, POOR, LOST]


def test_one_that_a_cheaper_one_surely_beats_is_beaten_and_one_that_may_be_as_good_is_not():
    # NEAR has one problem less than BEST, POOR eight: see the worked interval in test_intervals.
    assert standings(Archive.of(TRIALS)) == {
        0: "frontier",
        1: "frontier",
        2: "maybe",
        3: "beaten",
        4: "apart",
    }


def test_equal_cost_and_score_leave_one_on_the_frontier_and_none_beaten():
    twin = make_trial(1, "1100000000", (SMALL, 2), (SMALL, 1), charged=1.0)
    assert standings(Archive.of([CHEAP, twin])) == {0: "frontier", 1: "maybe"}


def test_a_dearer_one_beats_nobody():
    assert standings(Archive.of([CHEAP, BEST]))[0] == "frontier"


def test_a_stopped_trial_is_never_on_the_frontier():
    stopped = make_trial(5, "11--------", (LARGE, 1), (LARGE, 2), charged=0.5, status="stopped")
    assert standings(Archive.of([*TRIALS, stopped]))[5] == "maybe"


def test_the_frontier_is_told_by_rising_cost_with_the_difference_to_the_winner(run):
    record = run(TRIALS)
    cheap, best = frontier_of(record, standings(record.archive))
    assert [(point.trial, point.standing) for point in (cheap, best)] == [(0, "frontier"), (1, "frontier")]
    assert best.behind_winner is None
    assert best.saves == 0
    assert cheap.behind_winner.mean == 0.7
    assert cheap.behind_winner.verdict == "better"
    assert cheap.saves == 0.5


def test_what_is_dearer_than_the_winner_and_no_better_is_not_told_beside_it(run):
    # NEAR may be on the frontier, yet nobody would run it instead of BEST.
    record = run(TRIALS)
    where = standings(record.archive)
    assert where[2] == "maybe"
    assert 2 not in [point.trial for point in frontier_of(record, where)]


def test_a_trial_over_the_budget_may_be_on_the_frontier_and_says_so(run):
    record = run(
        [BEST, make_trial(9, "1111111111", (LARGE, 4), (LARGE, 4), charged=12.0, status="over_budget")]
    )
    points = frontier_of(record, standings(record.archive))
    assert [(point.trial, point.over_budget) for point in points] == [(1, False), (9, True)]
