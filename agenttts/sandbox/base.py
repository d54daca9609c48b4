"""What a program may use, and what became of it. Values only; running is in `run`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Ended", "Execution", "Isolation", "Limits"]

Isolation = Literal["auto", "bubblewrap", "process"]
"""`auto` takes bubblewrap where it works, else `process`."""

Ended = Literal["", "timeout", "cpu", "memory", "output", "files", "killed"]
"""Why a program did not end by itself: wall time, CPU time, memory, too much printed, too much written to the folder, a
signal. Empty: it ended by itself, well or not, as its exit status tells."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one program may use."""

    timeout_s: float = 10.0
    """Wall time of the whole run."""
    cpu_s: float | None = None
    """CPU time of each process; `None`: as `timeout_s`. Rounded up to whole seconds."""
    memory_mb: int = 512
    """Address space of each process. What several processes hold together is bounded by this times `n_processes`."""
    file_mb: int = 16
    """Size of each file, and four times this for all files of the folder together."""
    n_processes: int = 16
    """Processes and threads together, the program itself included."""
    n_files: int = 64
    """Files open at once in each process."""
    output_bytes: int = 1_000_000
    """Printed to standard output, and as much again to standard error; a program that prints more is ended."""

    @property
    def folder_mb(self) -> int:
        """The most that all files of the folder may hold."""
        return 4 * self.file_mb


_PLACE = re.compile(r"[^\s\"']*/(?:agenttts-sandbox-[^/\s]+/(?:work/)?|run/program/(?:folder/)?)")
"""Where a program and its folder lie, under both kinds of isolation (see `orders.Place`, `bubblewrap.PLACES`)."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a program."""

    exit_status: int
    """As shells count: 128 plus the number of the signal where a signal ended it."""
    stdout: str
    """At most `Limits.output_bytes`; what is no UTF-8 is shown as the replacement sign."""
    stderr: str
    """As `stdout`."""
    duration_s: float
    """Wall time, the start of the sandbox included."""
    ended: Ended
    isolation: str
    """What was really done to keep the program apart."""
    not_isolated: tuple[str, ...] = ()
    """What could not be done here, in words; empty where everything could."""

    @property
    def ok(self) -> bool:
        """The program ran to its end and exited with 0."""
        return self.exit_status == 0 and not self.ended

    @property
    def complaint(self) -> str:
        """`stderr` without the places of the program's files, which are others in each run."""
        return _PLACE.sub("", self.stderr).strip()
