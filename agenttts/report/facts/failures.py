"""What failed: problems by cause, samples without answer or score, trials that do not count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from agenttts.report.facts.values import FailureGroup, Failures, SampleProblems

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import ProblemFailure, Trial

__all__ = ["failures_of"]

MOST_TRIALS = 20
Kind: TypeAlias = Literal["unparsed", "runaway", "unscored"]
Seen: TypeAlias = tuple[str, str, Kind, int, int, str]


def failures_of(record: RunRecord) -> Failures:
    """Return what failed in a run."""
    trials = record.archive.trials
    pilot = record.state.pilot or {}
    return Failures(
        groups=(*_groups(record.result.failures, "search"), *_unseen(record)),
        samples=tuple(_samples(trials)),
        invalid=_numbers(trials, "invalid"),
        over_budget=_numbers(trials, "over_budget"),
        stopped=_numbers(trials, "stopped"),
        pilot_failed=int(pilot.get("n_failed", 0)),
    )


def _numbers(trials: Sequence[Trial], status: str) -> tuple[int, ...]:
    return tuple(trial.number for trial in trials if trial.status == status)


def _unseen(record: RunRecord) -> Iterator[FailureGroup]:
    """Give the failures of the confirmation, under the numbers of winner and runner-up."""
    result = record.result
    confirmed = result.confirmation
    if confirmed is None:
        return
    both = ((result.best, confirmed.winner_failures), (result.runner_up, confirmed.runner_up_failures))
    told = [(trial.number, entry) for trial, entries in both if trial is not None for entry in entries]
    yield from _groups(told, confirmed.split)


def _groups(failures: Iterable[tuple[int, ProblemFailure]], split: str) -> list[FailureGroup]:
    """Return failures by stage and cause, the most frequent first."""
    found: dict[tuple[str, str], list[tuple[int, ProblemFailure]]] = {}
    for number, entry in failures:
        found.setdefault((entry.failure.stage, entry.failure.cause), []).append((number, entry))
    groups = [
        FailureGroup(
            stage=stage,
            cause=cause,
            n=len(same),
            trials=tuple(dict.fromkeys(number for number, _ in same))[:MOST_TRIALS],
            example=same[0][1].failure.message,
            problem_id=same[0][1].problem_id,
            split=split,
        )
        for (stage, cause), same in found.items()
    ]
    return sorted(groups, key=lambda group: (-group.n, group.stage, group.cause))


def _samples(trials: Iterable[Trial]) -> Iterator[SampleProblems]:
    """Give the samples that went wrong by stage, model and kind, the largest share first; those without are left out."""
    sums: dict[tuple[str, str, Kind], tuple[int, int, str]] = {}
    for stage, model, kind, n, n_samples, example in (one for trial in trials for one in _of_trial(trial)):
        before = sums.get((stage, model, kind), (0, 0, ""))
        sums[stage, model, kind] = (before[0] + n, before[1] + n_samples, before[2] or (example if n else ""))
    found = [SampleProblems(*place, *counts) for place, counts in sums.items() if counts[0]]
    yield from sorted(found, key=lambda one: (-one.n / one.n_samples, one.stage, one.model, one.kind))


def _of_trial(trial: Trial) -> Iterator[Seen]:
    for stage, lost in trial.unparsed.items():
        yield stage, lost.model, "unparsed", lost.n, lost.n_samples, lost.example
    for stage, ran in trial.runaway.items():
        yield stage, ran.model, "runaway", ran.n, ran.n_samples, ""
    for stage, left in trial.unscored.items():
        yield stage, left.select, "unscored", left.n, left.n_samples, left.example
