"""What the archive says is held."""

from __future__ import annotations

from agenttts.pipeline.base import Allocation, Failure, StageChoice
from agenttts.study.archive import Archive, ProblemFailure, Trial, TrialStatus


def trial(number: int, n_samples: int, n_seen: int, status: TrialStatus = "ok") -> Trial:
    choice = StageChoice("s", "m", n_samples, "first" if n_samples == 1 else "majority")
    lost = tuple(
        ProblemFailure(f"p{i}", Failure("s", "outage", "gone"))
        for i in range(n_seen, 10 if n_seen == 0 else 0)
    )
    scores = {f"p{i}": 0.5 for i in range(n_seen)}
    return Trial(number, Allocation((choice,)), status, scores, 1.0, failures=lost)


def test_draws_of_a_trial_without_scores_are_not_held():
    assert Archive.of([trial(0, 4, 10), trial(1, 16, 0, "invalid")]).held == {("s", "m"): 4}
    assert Archive.of([trial(0, 16, 0, "invalid")]).held == {}


def test_draws_for_a_part_of_the_problems_are_not_held():
    assert Archive.of([trial(0, 4, 10), trial(1, 16, 6, "stopped")]).held == {("s", "m"): 4}
    assert Archive.of([trial(0, 4, 10), trial(1, 16, 9, "stopped")]).held == {("s", "m"): 16}
