"""Single trials and single problems, from the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agenttts.report.facts.intervals import band
from agenttts.report.facts.values import ProblemFact, Standing, TrialFact

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import Archive, Trial

__all__ = ["problem_facts", "trial_facts"]


def trial_facts(record: RunRecord, standing: Mapping[int, Standing]) -> tuple[TrialFact, ...]:
    """Return every trial, in the order of their numbers."""
    names = record.problem_ids
    return tuple(
        _trial(trial, record.archive, standing[trial.number], names) for trial in record.archive.trials
    )


def _trial(trial: Trial, archive: Archive, standing: Standing, names: Sequence[str]) -> TrialFact:
    low, high = band(list(trial.scores.values())) if trial.scores else (None, None)
    return TrialFact(
        number=trial.number,
        allocation=trial.allocation,
        status=trial.status,
        standing=standing,
        score=trial.score if trial.scores else None,
        low=low,
        high=high,
        n_problems=len(trial.scores),
        n_failed=trial.n_failed,
        charged=trial.charged,
        n_paid=trial.n_paid,
        n_reused=trial.n_reused,
        origin=trial.origin,
        reason=trial.reason,
        repaired=trial.repaired,
        stopped_because=trial.stopped_because,
        estimated_from=trial.estimated_from,
        scores=tuple(trial.scores.get(name) for name in names),
        estimate=archive.estimate(trial) if trial.status == "stopped" and trial.scores else None,
    )


def problem_facts(
    record: RunRecord, texts: Mapping[str, str], golds: Mapping[str, Mapping[str, str]]
) -> tuple[ProblemFact, ...]:
    """Return every search problem over all trials.

    Args:
        record: The run.
        texts: Beginning of each problem, by id; those that are not known are left out.
        golds: Right answers of each problem by stage, by id; likewise.
    """
    scored: dict[str, list[float]] = {name: [] for name in record.problem_ids}
    failed = dict.fromkeys(record.problem_ids, 0)
    for trial in record.archive.trials:
        for name, score in trial.scores.items():
            scored[name].append(score)
        for entry in trial.failures:
            failed[entry.problem_id] += 1
    best, second = record.result.best, record.result.runner_up
    return tuple(
        ProblemFact(
            id=name,
            text=texts.get(name, ""),
            n_scored=len(scores),
            n_failed=failed[name],
            mean=sum(scores) / len(scores) if scores else None,
            winner=None if best is None else best.scores.get(name),
            runner_up=None if second is None else second.scores.get(name),
            golds=golds.get(name, {}),
        )
        for name, scores in scored.items()
    )
