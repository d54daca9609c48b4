"""How a running study is shown: a few live lines on a terminal, else one plain line now and then, on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from agenttts._cli.console import clean, say_aside
from agenttts._cli.status import PHASES, Status, spent_text, status_lines, trouble_text
from agenttts._cli.words import allocation_text, duration_text
from agenttts.budgets.cost import Budget, Unit

if TYPE_CHECKING:
    from rich.live import Live

    from agenttts.study.result import Observer, ProgressEvent

__all__ = ["PlainProgress", "is_terminal", "live_lines", "plain_line", "show", "watching"]

SECONDS_BETWEEN_WAITS = 10.0
"""At most one plain line of waiting in this time: rate limits may make a thousand calls wait."""
TRIALS_AT_ONCE = 40
SECONDS_BETWEEN_TRIALS = 5.0
"""After so many lines, trials that are no news get at most one in this time: a log of thousands is read by nobody."""
SECONDS_OF_SILENCE = 60.0
"""After this time without a line, one says that all is well, and what is waited for."""
SECONDS_BETWEEN_DRAWINGS = 0.1
MESSAGE_SHOWN_S = 10.0
"""What was told stays on the terminal for so long."""


@contextmanager
def watching(cap: Budget | None, unit: Unit) -> Iterator[Observer]:
    """Give the observer that suits where standard error goes."""
    if not is_terminal(sys.stderr):
        yield PlainProgress(cap, unit)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        yield _LiveProgress(live, cap, unit)


def is_terminal(stream: IO[str]) -> bool:
    """Return whether lines on a stream can be drawn over."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


class PlainProgress:
    """Writes a line at turning points, for trials that are news, and now and then."""

    def __init__(self, cap: Budget | None, unit: Unit, write: Callable[[str], None] = say_aside) -> None:
        self._cap, self._unit, self._write = cap, unit, write
        self._waited_s = self._trial_s = float("-inf")
        self._n_trials = 0
        self._best: int | None = None
        self._written_s = time.monotonic()

    def on(self, event: ProgressEvent) -> None:
        """Take note of an event."""
        now = time.monotonic()
        if event.kind == "tick":
            line = self._still_there(event, now)
        elif self._is_news(event, now):
            line = plain_line(event, self._cap, self._unit)
        else:
            line = ""
        if line:
            self._written_s = now
            self._write(line)

    def _is_news(self, event: ProgressEvent, now: float) -> bool:
        if event.kind == "waiting":
            news = now - self._waited_s >= SECONDS_BETWEEN_WAITS
            self._waited_s = now if news else self._waited_s
            return news
        return event.kind != "trial" or self._is_new_trial(event, now)

    def _is_new_trial(self, event: ProgressEvent, now: float) -> bool:
        best = None if event.best is None else event.best.number
        few, last = self._n_trials < TRIALS_AT_ONCE, event.trials_done >= event.n_trials
        news = few or last or best != self._best or now - self._trial_s >= SECONDS_BETWEEN_TRIALS
        self._best = best
        if news:
            self._trial_s = now
            self._n_trials += 1
        return news

    def _still_there(self, event: ProgressEvent, now: float) -> str:
        if now - self._written_s < SECONDS_OF_SILENCE:
            return ""
        problems = f"{event.rollouts_done:,} of {event.rollouts_total:,} rollouts"
        if event.finals_total:
            problems = f"{event.finals_done:,} of {event.finals_total:,} unseen problems"
        head = f"still running: {event.trials_done}/{event.n_trials} trials, {problems}"
        return "; ".join(
            filter(None, (head, _spent(event, self._cap, self._unit), trouble_text(event.calls)))
        )


class _LiveProgress:
    """Redraws a few lines on a terminal."""

    def __init__(self, live: Live, cap: Budget | None, unit: Unit) -> None:
        self._live, self._cap, self._unit = live, cap, unit
        self._drawn_s = self._told_s = float("-inf")
        self._phase = "pilot"
        self._message = ""

    def on(self, event: ProgressEvent) -> None:
        """Take note of an event."""
        now = time.monotonic()
        if event.kind in PHASES:
            self._phase = event.kind
        if event.kind == "waiting" and event.message:
            self._message, self._told_s = event.message, now
        if event.kind in {"rollout", "waiting"} and now - self._drawn_s < SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn_s = now
        told = self._message if now - self._told_s < MESSAGE_SHOWN_S else ""
        lines = live_lines(event, self._cap, self._unit, self._phase, told, self._live.console.width)
        # A phase shorter than the time between drawings is seen too.
        show(self._live, lines, at_once=event.kind in PHASES)


def show(live: Live, lines: list[str], *, at_once: bool = False) -> None:
    """Show lines in place of those before."""
    from rich.text import Text

    # `Text` shows what it is given: markup in a name stays text.
    live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=at_once)


def live_lines(
    event: ProgressEvent,
    cap: Budget | None,
    unit: Unit,
    phase: str = "round",
    told: str = "",
    columns: int = 80,
) -> list[str]:
    """Return what a terminal of so many columns shows now."""
    return status_lines(replace(Status.of_event(event, cap, unit, phase), message=told), columns)


def plain_line(event: ProgressEvent, cap: Budget | None, unit: Unit) -> str:
    """Return the line of an event; empty where it deserves none."""
    if event.kind == "trial" and event.trial is not None:
        trial = event.trial
        score = f"{trial.score:.3f}" if trial.scores else "no score"
        status = "" if trial.status == "ok" else f" ({trial.status.replace('_', ' ')})"
        left = "" if event.eta_s is None else f"; {duration_text(event.eta_s)} left"
        trouble = trouble_text(event.calls)
        head = (
            f"{event.trials_done}/{event.n_trials} trials: trial {trial.number} {score}{status} "
            f"{allocation_text(trial.allocation)}"
        )
        parts = (head, _best(event), _spent(event, cap, unit), trouble)
        return "; ".join(filter(None, parts)) + left
    if event.kind == "pilot":
        if event.message:
            return f"{clean(event.message)}; {_spent(event, cap, unit)}"
        return PHASES["pilot"]
    if event.kind == "planning":
        return clean(event.message or PHASES["planning"])
    if event.kind == "confirming":
        return clean(event.message or PHASES["confirming"])
    if event.kind == "waiting":
        return clean(event.message) if event.message else event.kind
    return ""


def _best(event: ProgressEvent) -> str:
    if event.best is None or event.best_interval is None:
        return "best so far: none"
    return f"best so far {event.best_interval}"


def _spent(event: ProgressEvent, cap: Budget | None, unit: Unit) -> str:
    spent = spent_text(event.spent, cap, unit)
    return f"spent {spent}; draws {event.n_paid:,} paid, {event.n_reused:,} reused"
