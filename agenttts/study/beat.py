"""Signs of life of a running study, for who watches it from another process: a small file, written anew each second.

The event log tells what was finished and is never thrown away; this file tells of what is under way and is gone when the
run has ended. A run that was killed leaves it behind. Nothing is decided by it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agenttts.budgets.cost import Cost
from agenttts.models.counts import CallCounts
from agenttts.study.result import Observer, ProgressEvent

__all__ = ["BEAT_FILE", "PHASES", "Beat", "Beating", "Both", "read_beat", "ticking"]

FORMAT = 1
BEAT_FILE = "beat.json"
SECONDS_BETWEEN = 1.0
MESSAGE_KEPT_S = 30.0
"""What was told is worth showing for so long."""
LONGEST_MESSAGE = 500
PHASES = ("pilot", "planning", "round", "confirming")
"""Kinds of events that tell what a study does for some time."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """Where a running study stood at a moment."""

    at: float
    """In seconds since 1970 UTC."""
    pid: int
    phase: str = "round"
    """One of `PHASES`."""
    trials_done: int = 0
    n_trials: int = 0
    rollouts_done: int = 0
    rollouts_total: int = 0
    spent: Cost = field(default_factory=Cost)
    n_paid: int = 0
    """Draws, with those of earlier runs of the study, as `spent`; the problems above are those of this run."""
    n_reused: int = 0
    eta_s: float | None = None
    finals_done: int = 0
    finals_total: int = 0
    by_stage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    calls: CallCounts | None = None
    message: str = ""
    """What a provider or planner said lately; they wrote it."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data; `from_json` reads it back."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        calls = None if self.calls is None else self.calls.to_json()
        return {"format": FORMAT, **data, "spent": asdict(self.spent), "calls": calls}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Beat:
        """Read what `to_json` wrote; what a later version added is passed over."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        calls = data.get("calls")
        known["spent"] = Cost(**data["spent"])
        stages = data.get("by_stage", {})
        known["by_stage"] = {str(name): (int(now), int(ended)) for name, (now, ended) in stages.items()}
        return cls(**{**known, "calls": None if calls is None else CallCounts.from_json(calls)})


def read_beat(folder: Path) -> Beat | None:
    """Return the last sign of life; `None` where there is none that can be read."""
    try:
        return Beat.from_json(json.loads((folder / BEAT_FILE).read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


class Beating:
    """Observer that keeps the file of a run's folder fresh. That it cannot be written stops nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / BEAT_FILE
        self._phase = "pilot"
        self._message, self._told_s = "", float("-inf")
        self._written_s = float("-inf")

    def on(self, event: ProgressEvent) -> None:
        """Take note of an event."""
        now = time.monotonic()
        if event.kind in PHASES:
            self._phase = event.kind
        if event.kind == "waiting":
            self._message, self._told_s = event.message, now
        if event.kind in {"waiting", "rollout"} and now - self._written_s < SECONDS_BETWEEN:
            return
        self._written_s = now
        self._write(self._beat(event, self._message if now - self._told_s < MESSAGE_KEPT_S else ""))

    def _beat(self, event: ProgressEvent, message: str) -> Beat:
        return Beat(
            at=round(time.time(), 3),
            pid=os.getpid(),
            phase=self._phase,
            trials_done=event.trials_done,
            n_trials=event.n_trials,
            rollouts_done=event.rollouts_done,
            rollouts_total=event.rollouts_total,
            spent=event.spent,
            n_paid=event.n_paid,
            n_reused=event.n_reused,
            eta_s=event.eta_s,
            finals_done=event.finals_done,
            finals_total=event.finals_total,
            by_stage=event.by_stage,
            calls=event.calls,
            message=message[:LONGEST_MESSAGE],
        )

    def _write(self, beat: Beat) -> None:
        draft = self._path.with_name(f".{BEAT_FILE}.{beat.pid}.tmp")
        with suppress(OSError):
            draft.write_text(json.dumps(beat.to_json(), ensure_ascii=True), encoding="ascii")
            draft.replace(self._path)

    def gone(self) -> None:
        """Take the file away: the run has ended, and its log says how."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Both:
    """Observer that tells several."""

    observers: Sequence[Observer]

    def on(self, event: ProgressEvent) -> None:
        """Pass an event on."""
        for observer in self.observers:
            observer.on(event)


@contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` each second from the running event loop: what waits for a slow model is seen to be alive."""

    async def tick_on() -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN)
            tick()

    task = asyncio.get_running_loop().create_task(tick_on())
    try:
        yield
    finally:
        task.cancel()
