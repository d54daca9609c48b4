"""`agenttts watch`: a run of another process, shown until it ends. Looking on costs nothing and disturbs nobody."""

from __future__ import annotations

import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from agenttts._cli.console import INTERRUPTED, clean, clean_lines, fold, print_json, say, say_aside, width
from agenttts._cli.progress import is_terminal, show
from agenttts._cli.status import LABEL, PHASES, Status, spent_text, status_lines, trouble_text
from agenttts._cli.words import duration_text
from agenttts.study.study import PLAN_FILE

if TYPE_CHECKING:
    from agenttts.study.follow import RunSeen

__all__ = ["run_watch", "seen_json", "seen_lines"]

SECONDS_BETWEEN_LINES = 10.0
"""Off a terminal, a line at most so often, and only where something has changed."""
SECONDS_OF_SILENCE = 60.0
"""After this time without a line, one comes though nothing has changed."""
QUIET_S = 15.0
"""A running process that has given no sign of life for so long is said to be quiet."""
EXIT_CODES = {"finished": 0, "search_budget_exhausted": 3, "interrupted": INTERRUPTED, "killed": INTERRUPTED}
STATUS = {
    "running": "running",
    "finished": "finished",
    "search_budget_exhausted": "ended: the search budget is spent",
    "interrupted": "interrupted",
    "killed": "no longer alive",
}


def run_watch(run: str, *, once: bool, every_s: float, as_json: bool) -> None:
    """Show a run until it ends, or once; end with the exit code that the run itself would have ended with.

    A look at it (`once`, `as_json`) ends with 0, however the run stands.
    """
    from agenttts.study.finding import find_run
    from agenttts.study.follow import Follower

    follower = Follower(find_run(run))
    if as_json:
        print_json(seen_json(follower.look()))
        return
    if once:
        say("\n".join(seen_lines(follower.look(), width())))
        return
    try:
        seen = _until_its_end(follower.look, every_s)
    except KeyboardInterrupt:
        say_aside(f"No longer watched; the run goes on. To look again: agenttts watch {follower.folder}")
        raise typer.Exit(INTERRUPTED) from None
    say("\n".join(seen_lines(seen, width())))
    if code := EXIT_CODES[seen.status]:
        raise typer.Exit(code)


def _until_its_end(look: Callable[[], RunSeen], every_s: float) -> RunSeen:
    with _shown() as showing, _ctrl_c() as pressed:
        while True:
            seen = look()
            if seen.status != "running":
                return seen
            showing(seen)
            if pressed.wait(every_s):
                raise KeyboardInterrupt


@contextmanager
def _ctrl_c() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C sets. As an exception it might come while lines are drawn, and leave half of them."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed  # signals can only be handled in the main thread
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.set())
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _shown() -> Iterator[Callable[[RunSeen], None]]:
    """Give what shows a running run: lines drawn over on a terminal, else a line now and then."""
    if not is_terminal(sys.stdout):
        yield _Lines(say).show
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), transient=True, auto_refresh=False) as live:
        try:
            yield lambda seen: show(live, seen_lines(seen, live.console.width), at_once=True)
        except KeyboardInterrupt:
            live.transient = False  # how the run stood when it was last seen
            raise


class _Lines:
    """Writes a line where something has changed, but not too often."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._known: tuple[Any, ...] | None = None
        self._written_s = float("-inf")

    def show(self, seen: RunSeen) -> None:
        """Take note of where the run stands."""
        known = (seen.phase, len(seen.archive.trials), None if seen.best is None else seen.best.number)
        since = self._clock() - self._written_s
        if since >= (SECONDS_BETWEEN_LINES if known != self._known else SECONDS_OF_SILENCE):
            self._known, self._written_s = known, self._clock()
            self._write(_line(seen))


def _line(seen: RunSeen) -> str:
    status = Status.of_run(seen)
    best = "none" if status.best_interval is None else str(status.best_interval)
    spent = "nothing" if status.spent is None else spent_text(status.spent, status.cap, status.unit)
    left = "" if status.eta_s is None else f"about {duration_text(status.eta_s)} left"
    parts = [
        f"{status.trials_done}/{status.n_trials} trials: {PHASES.get(seen.phase, clean(seen.phase))}",
        f"best so far {best}",
        f"spent {spent}",
        trouble_text(status.calls),
        left,
    ]
    return "; ".join(filter(None, parts))


def seen_lines(seen: RunSeen, columns: int, *, now: float | None = None) -> list[str]:
    """Return a run for people, none of the lines of how it stands longer than `columns`."""
    head = (
        f"{clean(seen.task)} within {seen.options.budget} a problem: {STATUS[seen.status]}{_quiet(seen, now)}"
    )
    lines = textwrap.wrap(head, max(24, columns), subsequent_indent="  ")
    lines += textwrap.wrap(str(seen.folder), max(24, columns), initial_indent="  ", subsequent_indent="  ")
    lines += status_lines(Status.of_run(seen), columns)
    return lines + ([] if seen.status == "running" else ["", *_what_next(seen)])


def _quiet(seen: RunSeen, now: float | None) -> str:
    if seen.last_sign_at is None or seen.status not in {"running", "killed"}:
        return ""
    silent_s = (time.time() if now is None else now) - seen.last_sign_at
    if seen.status == "running" and silent_s < QUIET_S:
        return ""
    return f", last heard of {duration_text(max(0.0, silent_s))} ago"


def _what_next(seen: RunSeen) -> list[str]:
    from agenttts.report.run_report import PAGE_FILE  # takes a second; while a run runs it is not needed

    go_on = f"agenttts optimize {seen.folder}"
    if seen.status == "killed":
        why = "No process works on this run, and none has said how it ended: it was killed, or its machine went down."
        return [fold(why), f"To go on: {go_on}"]
    lines = [fold(line) for line in clean_lines(seen.message).splitlines()]
    for label, name in (("plan", PLAN_FILE), ("report", PAGE_FILE)):
        if (seen.folder / name).is_file():
            lines.append(f"{label:<{LABEL}}{seen.folder / name}")
    if seen.status == "search_budget_exhausted":
        lines.append(f"To go on: {go_on} --search-budget AMOUNT")
    elif seen.status == "interrupted":
        lines.append(f"To go on: {go_on}")
    return lines


def seen_json(seen: RunSeen) -> dict[str, Any]:
    """Return a run for machines."""
    status = Status.of_run(seen)
    cap = status.cap
    return {
        "run": str(seen.folder),
        "task": seen.task,
        "status": seen.status,
        "phase": status.phase or None,
        "n_trials": status.trials_done,
        "n_trials_wanted": status.n_trials,
        "n_problems": status.rollouts_done,
        "n_problems_wanted": status.rollouts_total,
        "best": None if status.best is None else status.best.allocation.to_json(),
        "best_trial": None if status.best is None else status.best.number,
        "search_score": None if status.best_interval is None else status.best_interval.to_json(),
        "spent": None if status.spent is None else asdict(status.spent),
        "search_budget": None if cap is None else {"amount": cap.amount, "unit": cap.unit.value},
        "n_paid": status.n_paid,
        "n_reused": status.n_reused,
        "seconds_left": status.eta_s,
        "calls": None if status.calls is None else status.calls.to_json(),
        "last_sign_at": seen.last_sign_at,
        "message": seen.message or status.message or None,
    }
