"""What is said of a winner in the end: the verdict in words, and the cheaper plan that is recommended."""

from __future__ import annotations

import numpy as np
import pytest

from agenttts.budgets.cost import Budget, Unit
from agenttts.pipeline.base import Allocation, StageChoice
from agenttts.study.archive import Archive, Trial
from agenttts.study.confirm import MOST_LOST, alternative, verdict
from agenttts.study.result import StudyOptions
from agenttts.study.statistics import paired_difference

OPTIONS = StudyOptions(budget=Budget(10, Unit.GFLOPS))


def trial(number: int, scores: list[float], charged: float) -> Trial:
    choice = StageChoice("s", "m", number + 1, "first" if number == 0 else "majority")
    return Trial(number, Allocation((choice,)), "ok", by_problem(scores), charged)


def scores(n: int, n_right: int) -> list[float]:
    return [1.0] * n_right + [0.0] * (n - n_right)


def graded(n: int, gaps: list[float]) -> tuple[list[float], list[float]]:
    """Return scores of a winner and of a trial that is behind by `gaps` on the first problems."""
    gaps = gaps + [0.0] * (n - len(gaps))
    return [0.9] * n, [0.9 - gap for gap in gaps]


def by_problem(side: list[float]) -> dict[str, float]:
    return {f"p{i:03}": score for i, score in enumerate(side)}


def test_interval_and_test_may_disagree_where_few_problems_differ() -> None:
    best, other = map(by_problem, graded(20, [0.9] * 4 + [0.8]))
    difference = paired_difference(best, other)
    assert difference.p > 0.05
    assert difference.low > 0
    assert difference.verdict == "not distinguishable"


def test_a_cheaper_plan_that_lost_much_on_few_problems_is_not_recommended() -> None:
    best, other = graded(20, [0.9] * 4 + [0.8])
    assert alternative(Archive.of([trial(0, best, 9), trial(1, other, 1)]), OPTIONS) is None


def test_a_loss_that_could_be_chance_is_not_recommended_when_it_is_large() -> None:
    archive = Archive.of([trial(0, scores(20, 15), 9), trial(1, scores(20, 12), 1)])
    assert paired_difference(*(t.scores for t in archive.trials)).verdict == "not distinguishable"
    assert alternative(archive, OPTIONS) is None


def test_the_cheapest_plan_within_the_loss_allowed_is_recommended() -> None:
    lost_5, lost_2, lost_0 = (scores(100, n) for n in (85, 88, 90))
    trials = [trial(0, scores(100, 90), 9), trial(1, lost_5, 1), trial(2, lost_2, 2), trial(3, lost_0, 3)]
    found = alternative(Archive.of(trials), OPTIONS)
    assert found is not None
    assert found.trial.number == 2
    assert found.difference.mean == pytest.approx(MOST_LOST)


def test_a_plan_that_is_hardly_cheaper_is_not_recommended() -> None:
    archive = Archive.of([trial(0, scores(100, 90), 9), trial(1, scores(100, 90), 8.5)])
    assert alternative(archive, OPTIONS) is None


def test_a_small_loss_that_is_no_chance_is_not_recommended() -> None:
    rng = np.random.default_rng(0)
    best = rng.uniform(0.5, 0.9, 400)
    other = best - 0.015 + rng.normal(0, 0.05, 400)
    assert paired_difference(by_problem(best.tolist()), by_problem(other.tolist())).mean < MOST_LOST
    assert alternative(Archive.of([trial(0, best.tolist(), 9), trial(1, other.tolist(), 1)]), OPTIONS) is None


def test_the_verdict_says_which_of_interval_and_test_it_goes_by_where_they_disagree() -> None:
    best, other = map(by_problem, graded(20, [0.9] * 4 + [0.8]))
    assert verdict(paired_difference(best, other)) == (
        "winner and runner-up are not distinguishable on unseen problems: the interval leaves 0 out, but by the test "
        "it could be chance"
    )
    assert verdict(paired_difference(best, best)) == (
        "winner and runner-up are not distinguishable on unseen problems"
    )
