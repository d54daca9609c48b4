"""How a running study is shown: a few live lines on a terminal, else one plain line per event, on standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agenttts._cli.console import clean, say_aside, width
from agenttts._cli.words import allocation_text, amount_text, duration_text
from agenttts.budgets.cost import Budget, Cost, Unit, amount
from agenttts.errors import CardError

if TYPE_CHECKING:
    from rich.live import Live

    from agenttts.study.result import Observer, ProgressEvent

__all__ = ["PlainProgress", "live_lines", "plain_line", "watching"]

SECONDS_BETWEEN_WAITS = 10.0
"""At most one plain line of waiting in this time: rate limits may make a thousand calls wait."""
SECONDS_BETWEEN_DRAWINGS = 0.1
PHASES = {
    "pilot": "pilot: learning how long prompts and answers are",
    "planning": "asking the planner",
    "round": "",
    "confirming": "confirming winner and runner-up on unseen problems",
}
"""What a study does for some time, by the event that tells so."""


@contextmanager
def watching(cap: Budget | None, unit: Unit) -> Iterator[Observer]:
    """Give the observer that suits where standard error goes."""
    if not _is_terminal():
        yield PlainProgress(cap, unit)
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
        yield _LiveProgress(live, cap, unit)


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"


class PlainProgress:
    """Writes one line per trial and other turning point."""

    def __init__(self, cap: Budget | None, unit: Unit, write: Callable[[str], None] = say_aside) -> None:
        self._cap, self._unit, self._write = cap, unit, write
        self._waited_s = -SECONDS_BETWEEN_WAITS

    def on(self, event: ProgressEvent) -> None:
        """Take note of an event."""
        if event.kind == "waiting":
            if time.monotonic() - self._waited_s < SECONDS_BETWEEN_WAITS:
                return
            self._waited_s = time.monotonic()
        line = plain_line(event, self._cap, self._unit)
        if line:
            self._write(line)


class _LiveProgress:
    """Redraws a few lines on a terminal."""

    def __init__(self, live: Live, cap: Budget | None, unit: Unit) -> None:
        self._live, self._cap, self._unit = live, cap, unit
        self._drawn_s = 0.0
        self._phase = "round"

    def on(self, event: ProgressEvent) -> None:
        """Take note of an event."""
        from rich.text import Text

        if event.kind in PHASES:
            self._phase = event.kind
        if event.kind == "rollout" and time.monotonic() - self._drawn_s < SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn_s = time.monotonic()
        # `Text` shows what it is given: markup in a name stays text.
        self._live.update(
            Text(
                "\n".join(live_lines(event, self._cap, self._unit, self._phase)),
                no_wrap=True,
                overflow="ellipsis",
            ),
            refresh=event.kind in PHASES,  # a phase shorter than the time between drawings is seen too
        )


def live_lines(event: ProgressEvent, cap: Budget | None, unit: Unit, phase: str = "round") -> list[str]:
    """Return what a terminal shows now."""
    left = "" if event.eta_s is None else f"  {duration_text(event.eta_s)} left"
    trials = f"trials {event.trials_done} of {event.n_trials}"
    problems = f"problems {event.rollouts_done:,} of {event.rollouts_total:,}"
    first = PHASES[phase] or f"{trials}  {problems}{left}"
    lines = [first, _best(event), _spent(event, cap, unit)]
    if event.kind == "waiting" and event.message:
        lines.append(clean(event.message, limit=width()))
    return lines


def plain_line(event: ProgressEvent, cap: Budget | None, unit: Unit) -> str:
    """Return the line of an event; empty where it deserves none."""
    if event.kind == "trial" and event.trial is not None:
        trial = event.trial
        score = f"{trial.score:.3f}" if trial.scores else "no score"
        status = "" if trial.status == "ok" else f" ({trial.status.replace('_', ' ')})"
        left = "" if event.eta_s is None else f"; {duration_text(event.eta_s)} left"
        head = (
            f"{event.trials_done}/{event.n_trials} trials: trial {trial.number} {score}{status} "
            f"{allocation_text(trial.allocation)}"
        )
        return f"{head}; {_best(event, short=True)}; {_spent(event, cap, unit)}{left}"
    if event.kind == "pilot":
        if event.message:
            return f"{clean(event.message)}; {_spent(event, cap, unit)}"
        return PHASES["pilot"]
    if event.kind == "planning":
        return clean(event.message or PHASES["planning"])
    if event.kind in {"confirming", "waiting"}:
        return clean(event.message) if event.message else event.kind
    return ""


def _best(event: ProgressEvent, *, short: bool = False) -> str:
    if event.best is None or event.best_interval is None:
        return "best so far: none"
    words = f"best so far {event.best_interval}"
    return words if short else f"{words}  {allocation_text(event.best.allocation)}"


def _spent(event: ProgressEvent, cap: Budget | None, unit: Unit) -> str:
    shown = cap.unit if cap is not None else _known_unit(event.spent, unit)
    of = "" if cap is None else f" of {amount_text(cap.amount)}"
    return (
        f"spent {_amount(event.spent, shown)}{of} {_sum_unit(shown).label}; "
        f"draws {event.n_paid:,} paid, {event.n_reused:,} reused"
    )


def _known_unit(cost: Cost, unit: Unit) -> Unit:
    """Return the unit, or tokens where the cost in it is unknown: a planner's card may lack what tasks' cards have."""
    try:
        amount(cost, _sum_unit(unit))
    except CardError:
        return Unit.TOKENS
    return unit


def _sum_unit(unit: Unit) -> Unit:
    """Calls of many problems do not add up in unit `paper`; GFLOPs stand in."""
    return Unit.GFLOPS if unit is Unit.PAPER else unit


def _amount(cost: Cost, unit: Unit) -> str:
    return amount_text(amount(cost, _sum_unit(unit)))
