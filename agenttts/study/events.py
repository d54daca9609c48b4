"""The event log of a run: one JSON object a line, appended, never changed. The study is the fold of it.

Each line carries the version of the format, and when it was written (`at`, in seconds since 1970 UTC; older logs lack
it). Nothing that is decided rests on that time. A cut-off last line, as a crash leaves it, is ignored when reading and cut
away when the log is opened for writing; a newer format is refused.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from agenttts.errors import RunError
from agenttts.study.archive import Archive, Trial
from agenttts.study.planner import turn_from_json

__all__ = [
    "EVENTS_FILE",
    "EventLog",
    "StudyState",
    "count_draws",
    "fold",
    "is_running",
    "read_events",
    "read_events_from",
]

FORMAT = 1
EVENTS_FILE = "events.jsonl"
LOCK_FILE = "lock"
BILLS = ("spent", "spent_on_task", "planner_bill")
"""What events say of what was paid by then; the last one counts."""

Event = dict[str, Any]


@dataclass(frozen=True)
class StudyState:
    """A study as far as its log tells."""

    started: Event
    """Task, options, store, study id."""
    pilot: Event | None = None
    rounds: tuple[Event, ...] = ()
    """Proposals by round, in order."""
    archive: Archive = field(default_factory=Archive)
    confirmed: Event | None = None
    ended: Event | None = None
    """How the last run of the study ended; `None` while it runs, or where it was killed."""

    n_paid: int = 0
    """Completions paid for: as counted by the store at the end of a run. Where a run is in work or was killed, at
    least so many: those counted by then, or those of the trials in the log."""
    n_reused: int = 0
    """Draws used without paying for them (again): by the pilot, the trials and the confirmation; where the search
    budget cut trials off, also by these."""
    spent: Event | None = None
    """What was paid by the time of the last event that says so, as the fields of `Cost`."""
    spent_on_task: Event | None = None
    """The same without the planner; `None` where there is none, and in older logs."""
    planner_bill: Event | None = None
    """The planner's part of it; `None` where there is none, and in older logs."""

    @property
    def final(self) -> Event | None:
        """The confirmation of the trials that lead now; `None` where they are not confirmed."""
        leading = [
            trial.number for trial in (self.archive.best(), self.archive.runner_up()) if trial is not None
        ]
        return self.confirmed if self.confirmed is not None and self.confirmed["trials"] == leading else None

    @property
    def unscored(self) -> bool:
        """Whether the plan was confirmed without success: so many unseen problems failed that it has no score."""
        return self.final is not None and bool(self.final["winner"]["invalid"])

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do. Failures may be over later, so a plan without a score is not done."""
        return self.ended is not None and self.ended["status"] == "finished" and not self.unscored

    @property
    def options(self) -> dict[str, Any]:
        """The options, as amended last."""
        return dict(self.started["options"])


def fold(events: Iterable[Event]) -> StudyState:
    """Return the study that events describe.

    Trials and rounds are kept by number, so that one logged twice counts once: the first stays.

    Raises:
        RunError: The log does not begin with `started`.
    """
    last: dict[str, Event] = {}
    rounds: dict[int, Event] = {}
    trials: dict[int, Trial] = {}
    bills: dict[str, Event] = {}
    n_told = 0
    for event in events:
        kind = event["event"]
        if not last and kind != "started":
            raise RunError("the event log does not begin with the start of a study")
        bills.update({name: event[name] for name in BILLS if event.get(name) is not None})
        n_told = event.get("n_paid", n_told) if kind == "ended" else n_told
        if kind == "round":
            rounds.setdefault(event["round"], event)
        elif kind == "trial":
            trials.setdefault(event["trial"]["number"], Trial.from_json(event["trial"]))
        else:
            last[kind] = event
        if kind in {"options", "resumed"}:
            last.pop("ended", None)
    if not last:
        raise RunError("the event log is empty")
    planned = tuple(rounds[n] for n in sorted(rounds))
    return _state(last, planned, _archive(planned, trials.values()), bills, n_told)


def _archive(rounds: Iterable[Event], trials: Iterable[Trial]) -> Archive:
    """Return the trials, with what the conversations of the rounds left behind."""
    archive = Archive.of(trials)
    for event in rounds:
        if "memory" in event:
            archive = archive.with_turn(*turn_from_json(event))
    return archive


def _state(
    last: Mapping[str, Event],
    rounds: tuple[Event, ...],
    archive: Archive,
    bills: Mapping[str, Event],
    n_told: int,
) -> StudyState:
    started, pilot, confirmed, ended = (last.get(kind) for kind in ("started", "pilot", "confirmed", "ended"))
    assert started is not None  # noqa: S101 - `fold` has seen it
    n_paid, n_reused = count_draws(last, archive, n_told)
    return StudyState(
        started={**started, "options": last.get("options", started)["options"]},
        pilot=pilot,
        rounds=rounds,
        archive=archive,
        confirmed=confirmed,
        ended=ended,
        n_paid=n_paid,
        n_reused=n_reused,
        **bills,
    )


def count_draws(last: Mapping[str, Event], archive: Archive, n_told: int = 0) -> tuple[int, int]:
    """Return draws paid and reused; see `StudyState`.

    Args:
        last: The last event of each kind.
        archive: The trials.
        n_told: Draws paid by the end of an earlier run of the study.
    """
    pilot, confirmed, ended = (last.get(kind) for kind in ("pilot", "confirmed", "ended"))
    finals = [] if confirmed is None else [e for e in (confirmed["winner"], confirmed["runner_up"]) if e]
    draws = [(pilot["n_paid"], pilot["n_reused"])] if pilot is not None else []
    draws += [(trial.n_paid, trial.n_reused) for trial in archive.trials]
    draws += [(entry["n_paid"], entry["n_reused"]) for entry in finals]
    if ended is not None and "n_paid" in ended:
        n_paid = int(ended["n_paid"])
        return n_paid, int(ended.get("n_reused", max(0, sum(map(sum, draws)) - n_paid)))
    # A run that did not come to count has paid at least for what an earlier one had counted.
    return max(n_told, sum(paid for paid, _ in draws)), sum(reused for _, reused in draws)


def read_events(path: Path) -> tuple[list[Event], int]:
    """Return the events of a log, and the length in bytes of its whole lines.

    Raises:
        RunError: There is no log, it is of a newer format, or a line before the last is no JSON.
    """
    return read_events_from(path, 0)


def read_events_from(path: Path, start: int) -> tuple[list[Event], int]:
    """Return the events of a log from a place on, and where its whole lines end, in bytes.

    Args:
        path: The log.
        start: 0, or where an earlier call said that whole lines end; line numbers in errors count from there.

    Raises:
        RunError: As `read_events`.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except FileNotFoundError as error:
        raise RunError(f"{path.parent} holds no run: {path.name} is missing") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    events: list[Event] = []
    n_whole = 0
    lines = content.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        event = _parse(line)
        if event is None and number == len(lines):
            break
        if event is None:
            raise RunError(
                f"{path}:{number}: not a JSON object; the log was damaged by something else than a crash"
            )
        _check_format(path, number, event)
        events.append(event)
        n_whole += len(line)
    return events, start + n_whole


def _parse(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _check_format(path: Path, number: int, event: Event) -> None:
    version = event.get("format")
    if not isinstance(version, int) or version > FORMAT:
        raise RunError(
            f"{path}:{number}: written in format {version}, this agenttts reads up to {FORMAT}. "
            "Update agenttts (pip install --upgrade agenttts), or use another run folder"
        )


class EventLog:
    """The log of one run folder, open for appending and locked against other processes.

    Raises:
        RunError: Another process has the folder open, the log cannot be read, or the folder not written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS_FILE
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder / LOCK_FILE)
            try:
                self._file = self._open()
            except BaseException:
                self._lock.close()
                raise

    def _open(self) -> IO[bytes]:
        if self.path.exists():
            _, n_whole = read_events(self.path)
            if n_whole < self.path.stat().st_size:
                os.truncate(self.path, n_whole)
        return self.path.open("ab")

    def append(self, kind: str, **content: Any) -> Event:
        """Write one event and have it on disk before returning; return it.

        Raises:
            RunError: It cannot be written.
        """
        event: Event = {"format": FORMAT, "event": kind, "at": round(time.time(), 3), **content}
        line = json.dumps(event, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
        with _writing(self.path.parent):
            self._file.write(line.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        return event

    def close(self) -> None:
        """Close the log and let others have the folder."""
        self._file.close()
        self._lock.close()


def is_running(folder: Path) -> bool:
    """Return whether a process has the run of this folder open."""
    try:
        with (folder / LOCK_FILE).open("r+") as handle:
            _lock_handle(handle)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error that names the folder and the way out."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the run folder {folder} cannot be written: {error.strerror}. "
            "Make room or permissions there, or name another folder with --run"
        ) from error


def _lock(path: Path) -> IO[str]:
    """Take the folder's lock. It belongs to the open file, so the lock of a process that died is free at once."""
    handle = path.open("a+")
    try:
        _lock_handle(handle)
    except OSError as error:
        handle.seek(0)
        owner = handle.read(20).strip() or "unknown"
        handle.close()
        raise RunError(
            f"{path.parent} is in use by another process (id {owner}). Wait for it to end, or choose another folder"
        ) from error
    handle.seek(0)
    handle.truncate()
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


if sys.platform == "win32":
    import msvcrt

    def _lock_handle(handle: IO[str]) -> None:
        # A byte far behind the text, so that the owner's id can still be read.
        handle.seek(1 << 20)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock_handle(handle: IO[str]) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
