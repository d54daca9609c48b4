"""How often a stage with `when` is expected to run, against counting every set of draws."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import pytest

from agenttts.budgets.run_shares import RunShares, chance_below, pilot_samples
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.task.schema import TaskFile

VOTES = [(0,), (-1,), (0, 0, 1), (0, 1, 1, -1, 2), (0, 0, 0, 0), (-1, -1, 0, 0, 1, 1), (0, 1, 2, 3, 4, -1)]
THRESHOLDS = [0.3, 0.5, 2 / 3, 0.9, 1.01]


def is_below(votes: tuple[int, ...], below: float) -> bool:
    counts = Counter(vote for vote in votes if vote >= 0)
    return max(counts.values(), default=0) / len(votes) < below


@pytest.mark.parametrize("votes", VOTES)
@pytest.mark.parametrize("below", THRESHOLDS)
def test_few_samples_are_all_sets_of_the_draws(votes, below):
    for n in range(1, len(votes) + 1):
        sets = list(combinations(votes, n))
        wanted = sum(is_below(one, below) for one in sets) / len(sets)
        assert chance_below(votes, n, below) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("votes", VOTES)
@pytest.mark.parametrize("below", THRESHOLDS)
def test_more_samples_than_draws_are_drawn_with_replacement(votes, below):
    n = len(votes) + 1
    sets = list(product(votes, repeat=n))[:300_000]
    wanted = sum(is_below(one, below) for one in sets) / len(sets)
    assert chance_below(votes, n, below) == pytest.approx(wanted, abs=1e-12)


def test_a_hundred_samples_of_many_draws_are_within_rounding():
    votes = (0,) * 500 + (1,) * 400 + (-1,) * 100
    assert 0 < chance_below(votes, 100, 0.5) < 1
    assert chance_below(votes, 2000, 0.49) < chance_below(votes, 2000, 0.51)


def test_no_votes_and_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        chance_below((), 1, 0.5)
    with pytest.raises(ValueError, match="at least one"):
        chance_below((0,), 0, 0.5)


def shares(measure: str = "agreement", select: object = "majority") -> RunShares:
    stage = {"prompt": {"user": "x"}, "models": ["m"], "n_samples": [1, 2, 8]}
    escalate = {**stage, "needs": ["attempt"]}
    escalate["when"] = {"stage": "attempt", "measure": measure, "below": [0, 0.5, 1.01]}
    data = {"path": "rows.jsonl"}
    stages = {"attempt": {**stage, "select": select}, "escalate": escalate}
    score = {"verifier": "numeric", "gold": "answer"}
    return RunShares(TaskFile.model_validate({"name": "t", "data": data, "stages": stages, "score": score}))


def attempt(n: int, select: str = "majority") -> StageChoice:
    return StageChoice("attempt", "m", n, "first" if n == 1 else select)


def test_what_is_not_known_counts_as_always():
    known = shares()
    assert known.share("escalate", 0.5, attempt(2)) == 1.0
    assert known.share("attempt", None, attempt(2)) == 1.0
    known.observe_votes("attempt", "m", {"p": (0,)})  # one draw says nothing about eight
    assert known.share("escalate", 0.5, attempt(8)) == 1.0
    assert known.share("escalate", 0.5, attempt(1)) == (0 + 1) / 2  # but that one sample agrees with itself


def test_never_and_always_need_no_data():
    known = shares()
    assert known.share("escalate", 0.0, attempt(2)) == 0.0
    known.observe_votes("attempt", "m", {"p": (0, 0, 0, 0)})
    assert known.share("escalate", 1.01, attempt(2)) == 1.0


def test_problems_are_averaged_with_one_more_on_which_it_runs():
    known = shares()
    known.observe_votes("attempt", "m", {"sure": (0, 0, 0, 0), "unsure": (0, 1, -1, -1)})
    # Sets of two of the unsure problem's draws: one of six holds no answer at all, the others a half or less than a
    # half: (0, 1), (0, -1) twice, (1, -1) twice are at 0.5, which is not below it.
    assert known.share("escalate", 0.5, attempt(2)) == pytest.approx((0 + 1 / 6 + 1) / 3)


def test_the_longest_draws_of_a_problem_count():
    known = shares()
    known.observe_votes("attempt", "m", {"p": (0, 1)})
    known.observe_votes("attempt", "m", {"p": (0, 0, 0, 0)})
    known.observe_votes("attempt", "m", {"p": (0,)})
    assert known.share("escalate", 0.6, attempt(2)) == pytest.approx(1 / 2)


def test_scores_are_known_of_tried_choices_alone():
    verifier = {"kind": "best_of_n", "verifier": "tiny_prm"}
    known = shares("verifier_score", [verifier])
    label = "best_of_n(tiny_prm)"
    values = {"a": 0.9, "b": 0.2, "c": None}
    known.observe_measured("escalate", attempt(8, label), values)
    assert known.share("escalate", 0.5, attempt(8, label)) == pytest.approx((0 + 1 + 1 + 1) / 4)
    assert known.share("escalate", 0.5, attempt(2, label)) == 1.0


def mended() -> RunShares:
    model = {"prompt": {"user": "x"}, "models": ["m", "other"], "n_samples": [1, 8]}
    check = {"stage": "attempt", "verifier": {"kind": "regex", "pattern": "x"}}
    when = {"stage": "check", "measure": "score", "below": [0, 0.5, 1]}
    stages = {
        "attempt": model,
        "check": {"needs": ["attempt"], "test": check},
        "repair": {**model, "needs": ["attempt", "check"], "when": when},
    }
    score = {"verifier": "numeric", "gold": "answer"}
    task = {"name": "t", "data": {"path": "rows.jsonl"}, "stages": stages, "score": score}
    return RunShares(TaskFile.model_validate(task))


def test_scores_of_tests_tell_how_often_an_answer_is_mended_at_every_threshold():
    known = mended()
    assert known.watched == {"repair": "attempt"}
    assert known.share("repair", 1, attempt(1)) == 1.0
    known.observe_measured("repair", attempt(1), {"a": 1.0, "b": 0.0, "c": 0.5, "d": 1.0})
    assert known.share("repair", 1, attempt(1)) == pytest.approx((2 + 1) / 5)
    assert known.share("repair", 0.5, attempt(1)) == pytest.approx((1 + 1) / 5)
    assert known.share("repair", 0, attempt(1)) == 0.0


def test_a_choice_that_was_not_tested_counts_as_the_worst_tested_one_of_its_model():
    known = mended()
    known.observe_measured("repair", attempt(1), {"a": 1.0, "b": 0.0})
    known.observe_measured("repair", attempt(4), {"a": 1.0, "b": 1.0})
    assert known.share("repair", 1, attempt(8)) == pytest.approx((1 + 1) / 3)
    assert known.share("repair", 1, StageChoice("attempt", "other", 8, "majority")) == 1.0


def routed_file() -> TaskFile:
    stage = {"prompt": {"user": "x"}, "models": ["m"], "n_samples": [1, 4]}
    when = {"stage": "rate", "measure": "answer", "below": [0, 0.3, 0.7, 1.01]}
    stages = {
        "rate": stage,
        "easy": {**stage, "needs": ["rate"], "when": when},
        "medium": {**stage, "needs": ["rate", "easy"], "when": when, "otherwise": "easy"},
        "hard": {**stage, "needs": ["rate", "medium"], "otherwise": "medium"},
    }
    score = {"verifier": "numeric", "gold": "answer"}
    task = {"name": "t", "data": {"path": "rows.jsonl"}, "stages": stages, "score": score}
    return TaskFile.model_validate(task)


def routed() -> RunShares:
    return RunShares(routed_file())


RATER = StageChoice("rate", "m", 1, "first")


def at(easy: float, medium: float) -> Allocation:
    thresholds = {"easy": easy, "medium": medium}
    names = ("rate", "easy", "medium", "hard")
    return Allocation(tuple(StageChoice(n, "m", 1, "first", thresholds.get(n)) for n in names))


def test_ratings_tell_the_share_at_every_threshold():
    known = routed()
    known.observe_measured("easy", RATER, {"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.9, "e": None})
    found = [known.expected(at(0.3, 0.7), stage) for stage in ("rate", "easy", "medium", "hard")]
    # a and e are easy, b and c medium, d is hard; each counts one problem more
    assert found == pytest.approx([1, 3 / 6, 3 / 6, 2 / 6])
    assert known.expected(at(0.4, 0.7), "medium") == pytest.approx((1 + 1) / 6)
    assert known.expected(at(0.0, 0.3), "medium") == pytest.approx((2 + 1) / 6)


def test_what_settings_leave_needs_no_data_where_they_take_all_or_nothing():
    known = routed()
    assert [known.expected(at(1.01, 0.7), stage) for stage in ("easy", "medium", "hard")] == [1, 0, 0]
    assert [known.expected(at(0.0, 0.0), stage) for stage in ("easy", "medium", "hard")] == [0, 0, 1]
    assert known.expected(at(0.7, 0.3), "medium") == 0  # whatever is below 0.3 was easy
    assert [known.largest(at(0.7, 0.3), stage) for stage in ("easy", "medium", "hard")] == [1, 0, 1]


def test_settings_without_data_all_count_in_full():
    known = routed()
    known.observe_measured("easy", StageChoice("rate", "m", 4, "majority"), {"a": 0.1})
    assert [known.expected(at(0.3, 0.7), stage) for stage in ("easy", "medium", "hard")] == [1, 1, 1]


def test_the_pilot_draws_ratings_once():
    assert pilot_samples(routed_file(), "rate") == 1
