"""Waiting for a program while its output is read, and ending it where it goes over a limit."""

from __future__ import annotations

import os
import selectors
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agenttts.sandbox.base import Ended, Limits

__all__ = ["Watched", "watch"]

GRACE_S = 10.0
"""How long a supervisor may take to kill what is left, before it is killed itself."""
LOOK_S = 0.2
"""How often the folder is measured."""
MOST_ENTRIES = 10_000
"""Files that a folder on disk may hold."""


@dataclass
class Watched:
    """What was seen of a program."""

    ended: Ended = ""
    texts: dict[str, bytearray] = field(default_factory=dict)


def watch(
    process: subprocess.Popen[bytes],
    streams: dict[str, IO[bytes]],
    limits: Limits,
    stop: Callable[[], None],
    folder: Path | None,
) -> Watched:
    """Read the streams until all are at their ends, or a limit is passed; then the process is gone.

    Args:
        process: What was started.
        streams: By name; each is kept up to `limits.output_bytes`.
        limits: Wall time, output, and size of the folder.
        stop: Ends the program and all that it started.
        folder: Is measured while the program runs; `None`: what lies in it is limited already.
    """
    seen = Watched(texts={name: bytearray() for name in streams})
    deadline = time.monotonic() + limits.timeout_s
    with selectors.DefaultSelector() as selector:
        for name, stream in streams.items():
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map() and not seen.ended:
            left = deadline - time.monotonic()
            for key, _ in selector.select(max(0.0, min(left, LOOK_S))):
                _read(selector, key, seen, limits)
            seen.ended = seen.ended or _passed(deadline, folder, limits)
    if not seen.ended:  # all streams are closed, which a program may do and go on
        seen.ended = _await_end(process, deadline, folder, limits)
    stop()
    _end(process)
    return seen


def _read(
    selector: selectors.BaseSelector, key: selectors.SelectorKey, seen: Watched, limits: Limits
) -> None:
    text = seen.texts[key.data]
    chunk = os.read(key.fd, 65536)
    if not chunk:
        selector.unregister(key.fileobj)
    text += chunk[: limits.output_bytes - len(text)]
    if len(text) >= limits.output_bytes and chunk:
        seen.ended = "output"


def _passed(deadline: float, folder: Path | None, limits: Limits) -> Ended:
    if time.monotonic() >= deadline:
        return "timeout"
    return "files" if folder is not None and _too_full(folder, limits.folder_mb * 1024 * 1024) else ""


def _await_end(
    process: subprocess.Popen[bytes], deadline: float, folder: Path | None, limits: Limits
) -> Ended:
    while True:
        try:
            process.wait(max(0.0, min(deadline - time.monotonic(), LOOK_S)))
        except subprocess.TimeoutExpired:
            if passed := _passed(deadline, folder, limits):
                return passed
        else:
            return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _too_full(folder: Path, most_bytes: int) -> bool:
    """Tell whether a folder holds too much, without following what its names point at."""
    total = entries = 0
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    status = entry.stat(follow_symlinks=False)
                    entries += 1
                    total += status.st_blocks * 512
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    if total > most_bytes or entries > MOST_ENTRIES:
                        return True
        except OSError:  # changed meanwhile, closed, or deeper than paths reach
            continue
    return False
