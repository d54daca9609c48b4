"""What a score is worth that was searched for, for result and report: whether it flatters, and whether it is one at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agenttts.study.archive import Trial
    from agenttts.study.statistics import Interval

__all__ = ["NEAR_ZERO", "flatters", "near_zero_text"]

NEAR_ZERO = 0.02
"""A search whose best trial scores no more has told nothing apart."""


def flatters(search: Interval | None, unseen: Interval | None) -> bool:
    """Return whether the score on the problems that chose a winner looks better than it is.

    Args:
        search: The score there.
        unseen: That on unseen problems; `None`: not known, and then any score above 0 may be luck.
    """
    if search is None:
        return False
    return search.mean > (0.0 if unseen is None else unseen.mean)


def near_zero_text(trials: Iterable[Trial]) -> str:
    """Return a warning where no trial scored to speak of; empty where one did, or none has a score."""
    best = max((trial.score for trial in trials if trial.scores), default=None)
    if best is None or best > NEAR_ZERO:
        return ""
    found = (
        "No trial scored above 0"
        if best == 0
        else f"No trial scored above {best:.3f}, which is next to nothing"
    )
    return (
        f"{found}: the search could not tell allocations apart, so this winner is no recommendation. Look at single "
        "answers in the report and check that the prompt asks for what `parse` reads, that the verifier compares with "
        "the right gold, and that the models can do the task at all."
    )
