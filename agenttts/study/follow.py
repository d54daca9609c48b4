"""A run as seen from outside: its log, read on as it grows, and its signs of life. Reads only; asks nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agenttts.budgets.cost import Cost
from agenttts.models.counts import CallCounts
from agenttts.study.archive import Archive, Trial
from agenttts.study.beat import Beat, read_beat
from agenttts.study.events import EVENTS_FILE, Event, count_draws, is_running, read_events_from
from agenttts.study.result import StudyOptions
from agenttts.study.statistics import Interval, mean_interval

__all__ = ["FRESH_S", "Follower", "RunSeen", "Seen"]

FRESH_S = 5.0
"""A sign of life that is younger stands for a process that lives; else its lock is tried."""
Seen = Literal["running", "finished", "search_budget_exhausted", "interrupted", "killed"]
"""`killed`: no process works on it, and none has said that it ended."""


@dataclass(frozen=True, kw_only=True)
class RunSeen:
    """Where a run stands."""

    folder: Path
    task: str
    options: StudyOptions
    status: Seen
    phase: str
    """What a running one does: one of `agenttts.study.beat.PHASES`."""
    archive: Archive
    best: Trial | None
    best_interval: Interval | None
    spent: Cost | None
    n_paid: int
    """Over all runs of the study; of one that was killed as far as is known."""
    n_reused: int
    beat: Beat | None
    """Of the process that works on it, or of one that was killed."""
    calls: CallCounts | None
    message: str
    """Why it ended; empty while it runs."""
    last_sign_at: float | None
    """When it was last heard of, in seconds since 1970 UTC."""


class Follower:
    """Reads a run again and again; what was read stays read.

    Args:
        folder: Of the run.
        clock: Time in seconds since 1970 UTC.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._n_read = 0
        self._last: dict[str, Event] = {}
        self._trials: dict[int, Trial] = {}
        self._spent: dict[str, Any] | None = None
        self._calls: dict[str, Any] | None = None
        self._at: float | None = None
        self._kind = "started"
        self._ranked: tuple[int, Archive] = (0, Archive())
        self._best: tuple[Trial, Interval] | None = None

    def look(self) -> RunSeen:
        """Return where the run stands now.

        Raises:
            RunError: There is no run, or its log cannot be read.
        """
        beat = read_beat(self.folder)
        alive = self._lives(beat)
        self._read_on()  # after the look for life: a process that ends meanwhile has written how
        archive = self._archive()
        options = StudyOptions.from_json(
            self._last["options" if "options" in self._last else "started"]["options"]
        )
        ended = self._last.get("ended")
        best, interval = self._leader(archive, options)
        status: Seen = "running" if alive else "killed" if ended is None else ended["status"]
        if ended is not None and not alive:
            beat = None  # left behind by an earlier process
        n_paid, n_reused = (
            (beat.n_paid, beat.n_reused) if beat is not None else count_draws(self._last, archive)
        )
        signs = [at for at in (self._at, None if beat is None else beat.at) if at is not None]
        return RunSeen(
            folder=self.folder,
            task=str(self._last["started"]["task"]["file"]["name"]),
            options=options,
            status=status,
            phase=beat.phase if beat is not None else _phase(self._kind),
            archive=archive,
            best=best,
            best_interval=interval,
            spent=_spent(self._spent, beat if alive else None),
            n_paid=n_paid,
            n_reused=n_reused,
            beat=beat,
            calls=_calls(self._calls, beat),
            message="" if alive or ended is None else str(ended["message"]),
            last_sign_at=max(signs, default=None),
        )

    def _lives(self, beat: Beat | None) -> bool:
        # Trying the lock might get in the way of a process that is about to take it; so only where there is doubt.
        return (beat is not None and abs(self._clock() - beat.at) < FRESH_S) or is_running(self.folder)

    def _read_on(self) -> None:
        events, self._n_read = read_events_from(self.folder / EVENTS_FILE, self._n_read)
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        kind = self._kind = event["event"]
        self._spent = event.get("spent") or self._spent
        self._calls = event.get("calls") or self._calls
        self._at = event.get("at", self._at)
        if kind == "trial":
            trial = Trial.from_json(event["trial"])
            self._trials.setdefault(trial.number, trial)
            return
        self._last[kind] = event
        if kind in {"options", "resumed"}:
            self._last.pop("ended", None)
            self._calls = None

    def _archive(self) -> Archive:
        if self._ranked[0] != len(self._trials):
            self._ranked = len(self._trials), Archive.of(self._trials.values())
        return self._ranked[1]

    def _leader(self, archive: Archive, options: StudyOptions) -> tuple[Trial | None, Interval | None]:
        best = archive.best()
        if best is None:
            return None, None
        if self._best is None or self._best[0].number != best.number:
            scores = list(best.scores.values())
            self._best = best, mean_interval(scores, confidence=options.confidence, seed=options.seed)
        return self._best


def _phase(kind: str) -> str:
    """Return what a run is at after an event of this kind."""
    return {"started": "pilot", "resumed": "round", "confirmed": "confirming"}.get(kind, "round")


def _spent(logged: dict[str, Any] | None, beat: Beat | None) -> Cost | None:
    if beat is not None:
        return beat.spent
    return None if logged is None else Cost(**logged)


def _calls(logged: dict[str, Any] | None, beat: Beat | None) -> CallCounts | None:
    if beat is not None:
        return beat.calls
    return None if logged is None else CallCounts.from_json(logged)
