"""What else is nearly as good and cheaper: where each trial stands in cost and score, and the frontier.

A trial is beaten where a tried one costs no more and surely scores more. "Surely" is by interval over the problems that
both have (`intervals.surely_better`); so more trials stay than by the means alone, and of two that cannot be told apart
none is dropped. Told are those that may be run instead of the winner: none that is dearer and scores no more. What is
shown as a difference to the winner is the product's own paired comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agenttts.report.facts.intervals import surely_better
from agenttts.report.facts.values import FrontierPoint, Standing
from agenttts.study.archive import Archive
from agenttts.study.statistics import mean_interval, paired_difference

if TYPE_CHECKING:
    from agenttts.report.facts.record import RunRecord
    from agenttts.study.archive import Trial
    from agenttts.study.result import StudyOptions

__all__ = ["frontier_of", "standings"]

MOST_MAYBE = 12
"""Trials that may be on the frontier and are told beside those that are."""
COUNTING = frozenset({"ok", "over_budget"})
"""Of these the whole of the problems was run."""


def standings(archive: Archive) -> dict[int, Standing]:
    """Return where each trial stands, by number.

    A stopped trial is compared on the problems that it saw; it is never on the frontier.
    """
    front = _front([trial for trial in archive.valid if trial.status in COUNTING])
    on = {trial.number for trial in front}
    found: dict[int, Standing] = {}
    for trial in archive.trials:
        if trial.status == "invalid" or not trial.scores:
            found[trial.number] = "apart"
        elif trial.number in on:
            found[trial.number] = "frontier"
        else:
            cheaper = [other for other in front if other.charged <= trial.charged]
            found[trial.number] = "beaten" if _beaten(trial, cheaper) else "maybe"
    return found


def _front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats by the means, by rising cost; of equal ones the first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.charged, -t.score, t.number)):
        if not front or trial.score > front[-1].score:
            front.append(trial)
    return front


def _beaten(trial: Trial, cheaper: Sequence[Trial]) -> bool:
    """Return whether one surely scores more; the best first, which most often settles it."""
    return any(surely_better(other.scores, trial.scores) for other in reversed(cheaper))


def frontier_of(record: RunRecord, standing: Mapping[int, Standing]) -> tuple[FrontierPoint, ...]:
    """Return the frontier and the trials that may be on it, by rising cost; the winner is always among them."""
    best = record.result.best
    trials = [t for t in record.archive.trials if t.status in COUNTING and not _pointless(t, best)]
    on = [trial for trial in trials if standing[trial.number] == "frontier"]
    maybe = sorted(
        (trial for trial in trials if standing[trial.number] == "maybe"),
        key=lambda t: (_lost(t, on), t.charged, t.number),
    )
    told = [*on, *maybe[:MOST_MAYBE]]
    if best is not None and best not in told:
        told.append(best)
    told.sort(key=lambda trial: (trial.charged, trial.number))
    return tuple(_point(trial, best, standing[trial.number], record.options) for trial in told)


def _pointless(trial: Trial, best: Trial | None) -> bool:
    """Return whether a trial costs more than the winner and scores no more."""
    return best is not None and trial.charged > best.charged and trial.score <= best.score


def _lost(trial: Trial, front: Sequence[Trial]) -> float:
    """Return what the trial scores less than the best that costs no more."""
    return max((other.score for other in front if other.charged <= trial.charged), default=0.0) - trial.score


def _point(trial: Trial, best: Trial | None, standing: Standing, options: StudyOptions) -> FrontierPoint:
    other = None if best is None or trial.number == best.number else best
    paired = other is not None and bool(other.scores.keys() & trial.scores.keys())
    return FrontierPoint(
        trial=trial.number,
        charged=trial.charged,
        score=mean_interval(list(trial.scores.values()), confidence=options.confidence, seed=options.seed),
        standing=standing,
        over_budget=trial.status == "over_budget",
        behind_winner=paired_difference(
            other.scores, trial.scores, confidence=options.confidence, seed=options.seed
        )
        if other is not None and paired
        else None,
        saves=None if best is None or not best.charged else 1 - trial.charged / best.charged,
    )
