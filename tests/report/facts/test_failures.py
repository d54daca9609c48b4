"""What failed."""

from __future__ import annotations

from agenttts.pipeline.base import Failure
from agenttts.report.facts.failures import failures_of
from agenttts.study.archive import ProblemFailure, Runaway, Unparsed, Unscored
from tests.report.facts.conftest import LARGE, SMALL, make_trial


def lost(problem: str, cause: str) -> ProblemFailure:
    return ProblemFailure(problem, Failure("solve", cause, f"{cause} of {problem}"))


def test_failures_are_grouped_by_stage_and_cause_the_most_frequent_first(run):
    record = run(
        [
            make_trial(0, "11111111--", failures=(lost("p8", "Busy"), lost("p9", "Gone"))),
            make_trial(1, "111111111-", (SMALL, 2), failures=(lost("p9", "Gone"),)),
            make_trial(2, "", (LARGE, 1), status="invalid", failures=(lost("p0", "Gone"),)),
            make_trial(3, "1111111111", (LARGE, 2), charged=12.0, status="over_budget"),
            make_trial(4, "11--------", (LARGE, 4), status="stopped"),
        ]
    )
    told = failures_of(record)
    gone, busy = told.groups
    assert (gone.stage, gone.cause, gone.n, gone.trials, gone.example) == (
        "solve",
        "Gone",
        3,
        (0, 1, 2),
        "Gone of p9",
    )
    assert (busy.n, busy.problem_id, busy.split) == (1, "p8", "search")
    assert (told.invalid, told.over_budget, told.stopped) == ((2,), (3,), (4,))


def test_samples_that_went_wrong_are_counted_over_trials(run):
    record = run(
        [
            make_trial(0, "1", unparsed={"draft": Unparsed(SMALL, 0, 10, "never told")}),
            make_trial(
                1,
                "1",
                (SMALL, 2),
                unparsed={"draft": Unparsed(SMALL, 2, 10, "I cannot say")},
                runaway={"solve": Runaway(SMALL, 5, 10)},
                unscored={"solve": Unscored("best_of_n", 0, 10)},
            ),
        ]
    )
    told = [(s.stage, s.model, s.kind, s.n, s.n_samples, s.example) for s in failures_of(record).samples]
    assert told == [
        ("solve", SMALL, "runaway", 5, 10, ""),
        ("draft", SMALL, "unparsed", 2, 20, "I cannot say"),
    ]


def test_failures_on_unseen_problems_are_told_apart(run):
    entry = {
        "scores": {"p10": 1.0},
        "failures": [{"problem_id": "p11", "stage": "draft", "cause": "Busy", "message": "503"}],
        "invalid": False,
        "charged": 1.0,
        "n_paid": 1,
        "n_reused": 0,
    }
    confirmed = ("confirmed", {"n": 2, "trials": [0], "winner": entry, "runner_up": None})
    (group,) = failures_of(run([make_trial(0, "1")], events=[confirmed])).groups
    assert (group.split, group.trials, group.problem_id) == ("test", (0,), "p11")
