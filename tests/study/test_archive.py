"""What the archive says is held."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agenttts.budgets.cost import Cost
from agenttts.pipeline.base import Allocation, CostPart, Failure, StageChoice
from agenttts.study.archive import Archive, ProblemFailure, Runaway, Trial, TrialStatus
from agenttts.study.events import fold, read_events

OLD_LOG = Path(__file__).parent / "logs" / "before_verifier_scores.jsonl"
"""Written before trials kept what verifiers gave, runaway samples and the answers of every stage with gold."""


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


@pytest.mark.parametrize("codes", [(0, 0, 1, -1, 2), (), (-1, -1), tuple(range(40)), tuple(range(36))])
def test_a_log_keeps_what_a_diagnosis_needs(codes: tuple[int, ...]):
    made = replace(
        trial(0, 4, 2),
        sample_scores={"s": {"p0": (1.0, 0.0), "p1": (0.25, 0.5)}},
        verifier_scores={"s": {"p0": (0.1234, None), "p1": (1.0, 0.0)}},
        runaway={"s": Runaway("m", 3, 8)},
        parts={"s": (CostPart("m", "draw", Cost(2.0, 1.0, None, 3.0), Cost(4.0, 4.0, None, 0.0, 5.0)),)},
        votes={"s": {"p0": codes}},
    )
    assert Trial.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_log_written_before_verifier_scores_were_kept_still_loads():
    first, second = fold(read_events(OLD_LOG)[0]).archive.trials
    assert first.sample_scores["think"]["p004"] == (0.0, 1.0)
    assert second.allocation["answer"].n_samples == 4
    for old in (first, second):
        assert old.verifier_scores == old.runaway == old.votes == {}
        assert all(lengths.spread is None for lengths in old.lengths.values())
        assert Trial.from_json(old.to_json()) == old


def test_votes_of_older_logs_are_lists():
    data = trial(0, 4, 1).to_json() | {"votes": {"s": {"p0": [0, 1, -1]}}}
    assert Trial.from_json(data).votes == {"s": {"p0": (0, 1, -1)}}
