"""How a round is divided between the planner's proposals and those of `curves`, and when the planner is left alone.

Pure: everything is read off the archive, so that a study that is resumed divides as it would have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agenttts.study.archive import Archive

__all__ = ["FIRST", "Patience", "credit", "next_number", "planner_slots"]

DECAY = 0.9
"""What a trial counts less for every trial after it."""
PRIOR_TRIALS = 4.0
"""Trials that the belief before any result counts as."""
PRIOR_GAIN = {"planner": 0.004, "curves": 0.008}
"""Gain a trial that is believed before any result: `curves` has its own evidence, a planner has to earn its share."""
FIRST = "first"
"""Key of a round's memory: the number of its first trial."""
FAILURES_BORNE = 3
MOST_SKIPPED = 15


def credit(archive: Archive, origin: str, prior_gain: float) -> float:
    """Return by how much a trial of this origin is expected to raise the best score, from its recent trials.

    A trial's gain is what it improved on the best score of all rounds before its own, so that its place in the round
    does not matter; later trials count more. Trials of rounds that left no memory are rounds of their own.
    """
    gained, n = PRIOR_TRIALS * prior_gain, PRIOR_TRIALS
    best: float | None = None
    so_far: float | None = None
    n_all = len(archive.trials)
    rounds = sorted(int(memory[FIRST]) for memory in archive.memory if FIRST in memory)
    known = 0
    for place, trial in enumerate(sorted(archive.trials, key=lambda trial: trial.number)):
        now = bisect_right(rounds, trial.number)
        if now == 0 or now != known:
            known, best = now, so_far
        may_win = trial.status == "ok" and bool(trial.scores)
        gain = max(0.0, trial.score - best) if may_win and best is not None else 0.0
        if trial.origin == origin:
            weight = DECAY ** (n_all - 1 - place)
            gained, n = gained + weight * gain, n + weight
        if may_win:
            so_far = trial.score if so_far is None else max(so_far, trial.score)
    return gained / n


def next_number(archive: Archive) -> int:
    """Return the number that the next trial gets."""
    return max((trial.number + 1 for trial in archive.trials), default=0)


def planner_slots(archive: Archive, k: int, n_round: int, *, planner: str, curves: str) -> int:
    """Return how many of a round's `k` trials the planner may propose.

    In proportion to the credits, never all of several. A planner with a small share still gets one slot every other
    round, so that one that has become useful is found out.

    Args:
        archive: What is known.
        k: Trials of the round.
        n_round: Rounds before this one.
        planner: Origin of the planner's trials.
        curves: Origin of the others.
    """
    gains = [
        credit(archive, planner, PRIOR_GAIN["planner"]),
        credit(archive, curves, PRIOR_GAIN["curves"]),
    ]
    slots = round(k * gains[0] / sum(gains))
    if slots == 0:
        return 1 if n_round % 2 == 0 else 0
    return slots if k == 1 else min(slots, k - 1)


@dataclass(frozen=True, slots=True)
class Patience:
    """With a planner that fails: after three failures in a row it is asked every 2nd, 4th, 8th, 16th round."""

    failed_in_row: int = 0
    skip: int = 0
    """Rounds in which it is not asked."""

    @classmethod
    def of(cls, archive: Archive) -> Patience:
        """Read what the last round left."""
        memory: Mapping[str, Any] = archive.memory[-1] if archive.memory else {}
        return cls(int(memory.get("failed_in_row", 0)), int(memory.get("skip", 0)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of a round in which it is not asked because of its failures."""
        if self.skip == 0:
            return ()
        rounds = "" if self.skip == 1 else "s"
        return (
            f"planner not asked: {self.failed_in_row} failures in a row, next in {self.skip} round{rounds}",
        )

    def skipped(self) -> Patience:
        """Return the state after a round in which it was not asked."""
        return Patience(self.failed_in_row, max(0, self.skip - 1))

    def after(self, *, failed: bool) -> Patience:
        """Return the state after a round in which it was asked."""
        if not failed:
            return Patience()
        failures = self.failed_in_row + 1
        over = min(failures - FAILURES_BORNE, 8)
        return Patience(failures, min(MOST_SKIPPED, 2 ** (over + 1) - 1) if over >= 0 else 0)

    def to_json(self) -> dict[str, int]:
        """Return plain data for `Turn.memory`."""
        return {"failed_in_row": self.failed_in_row, "skip": self.skip}
