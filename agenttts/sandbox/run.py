"""Running one program: its private folder, the isolation that works here, and what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from agenttts.errors import SandboxError
from agenttts.sandbox import bubblewrap
from agenttts.sandbox.base import Ended, Execution, Isolation, Limits
from agenttts.sandbox.orders import Place, bubblewrap_command, process_command
from agenttts.sandbox.users import lent_uid
from agenttts.sandbox.watch import Watched, watch

__all__ = ["run_python"]

PROBE_S = 20.0
"""Starting Python on a busy machine takes its time."""
SIGXCPU = 24
"""On Linux and macOS; other systems have no such signal."""


def run_python(
    source: str, *, stdin: str = "", limits: Limits | None = None, isolation: Isolation = "auto"
) -> Execution:
    """Run a Python program apart from the host, wait for its end, and remove all that it left.

    It gets an empty folder, no variables of this process, no network, and the libraries of this Python. Blocks;
    run it in a thread.

    Args:
        source: The program.
        stdin: What it reads.
        limits: What it may use; `None`: the defaults.
        isolation: `auto` takes bubblewrap where it works here, else `process`.

    Raises:
        SandboxError: The isolation that was asked for, or any, cannot be had on this machine.
    """
    if os.name != "posix":
        raise SandboxError("programs cannot be run apart from this system: use Linux, or WSL on Windows")
    box = _box(isolation)
    with _SLOTS:
        return _boxed(box, source, stdin, limits or Limits())


_SLOTS = threading.BoundedSemaphore(os.cpu_count() or 1)
"""More programs at once than cores would only bring each other to the end of their time."""


@dataclass(frozen=True)
class _Box:
    name: str
    command: Callable[[Place, Limits, int | None, int, int], list[str]]
    has: str
    on_disk: bool
    """The folder lies on the host's disk, and its size must be watched."""


_BUBBLEWRAP = _Box("bubblewrap", bubblewrap_command, bubblewrap.HAS, on_disk=False)
_PROCESS = _Box("process", process_command, "limits on memory, time, files and processes", on_disk=True)


def _box(isolation: Isolation) -> _Box:
    if isolation == "process":
        return _PROCESS
    reason = _why_no_bubblewrap()
    if not reason:
        return _BUBBLEWRAP
    if isolation == "bubblewrap":
        raise SandboxError(
            f"bubblewrap does not work here: {reason}. Install it, or set `isolation: process`"
        )
    return _PROCESS


@lru_cache(maxsize=1)
def _why_no_bubblewrap() -> str:
    """Return why bubblewrap does not work here, by really running it once; empty where it does."""
    if shutil.which("bwrap") is None:
        return "there is no program `bwrap`"
    try:
        done = _boxed(_BUBBLEWRAP, "print('works')", "", Limits(timeout_s=PROBE_S))
    except SandboxError as error:
        return str(error)
    return "" if done.stdout == "works\n" else f"a first program ended with {done.exit_status} {done.ended}"


def _boxed(box: _Box, source: str, stdin: str, limits: Limits) -> Execution:
    start = time.monotonic()
    with lent_uid() as uid, _place() as place, contextlib.ExitStack() as stack:
        place.fill(source, stdin, uid)
        report_read, report_write = _pipe(stack)
        control_read, control_write = _pipe(stack)
        command = box.command(place, limits, uid, report_write.fileno(), control_read.fileno())
        process = _started(command, place, (report_write.fileno(), control_read.fileno()))
        report_write.close()
        control_read.close()
        stop = control_write.close if box is _PROCESS else process.kill
        try:
            seen = watch(process, _streams(process), limits, stop, place.folder if box.on_disk else None)
        finally:
            stop()
            process.wait()
            for stream in _streams(process).values():
                stream.close()
        return _execution(box, process.returncode, seen, report_read, time.monotonic() - start)


def _pipe(stack: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return stack.enter_context(open(read, "rb", 0)), stack.enter_context(open(write, "wb", 0))  # noqa: PTH123


def _started(command: list[str], place: Place, fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
    with place.stdin.open("rb") as stdin:
        place.stdin.unlink()  # a judge reads its tests from there, and the program beside it must not
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name in {"PATH", "LD_LIBRARY_PATH"}},
            pass_fds=fds,
            start_new_session=True,
        )


def _streams(process: subprocess.Popen[bytes]) -> dict[str, IO[bytes]]:
    streams = {"stdout": process.stdout, "stderr": process.stderr}
    return {name: stream for name, stream in streams.items() if stream is not None}


@contextlib.contextmanager
def _place() -> Iterator[Place]:
    base = Path(tempfile.mkdtemp(prefix="agenttts-sandbox-"))
    try:
        yield Place(base)
    finally:
        _remove(base)


def _remove(base: Path) -> None:
    """Remove a folder that a hostile program filled: nested beyond all recursion, closed, full of symbolic links."""
    with contextlib.suppress(OSError):
        (base / "work").rmdir()  # empty, as nearly always
    if (base / "work").exists():
        # Neither follows symbolic links below the folder, and both can go as deep as a file system.
        subprocess.run(["chmod", "-R", "u+rwx", str(base)], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", str(base)], capture_output=True, check=False)
    shutil.rmtree(base, ignore_errors=True)


def _execution(box: _Box, status: int, seen: Watched, report: IO[bytes], duration_s: float) -> Execution:
    stdout, stderr = (seen.texts[name].decode("utf-8", "replace") for name in ("stdout", "stderr"))
    told = _told(report)
    if "failed" in told or ("has" not in told and not seen.ended):
        cause = told.get("failed") or stderr.strip()[-500:] or f"the launcher exited with {status}"
        raise SandboxError(f"{box.name}: {cause}")
    status = 128 - status if status < 0 else status
    has = [box.has, *told.get("has", ())]
    return Execution(
        exit_status=status,
        stdout=stdout,
        stderr=stderr,
        duration_s=duration_s,
        ended=seen.ended or _why(status, stderr),
        isolation=f"{box.name}: {'; '.join(has)}",
        not_isolated=tuple(told.get("lacks", ())),
    )


def _told(report: IO[bytes]) -> dict[str, Any]:
    """Return what the launcher reported before the program began."""
    os.set_blocking(report.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        lines = (report.read() or b"").splitlines()
        return {key: value for line in lines for key, value in json.loads(line).items()}
    return {}


def _why(status: int, stderr: str) -> Ended:
    if status == 128 + SIGXCPU:
        return "cpu"
    last = stderr.rstrip().rpartition("\n")[2]
    if status and (last.startswith("MemoryError") or "Cannot allocate memory" in last):
        return "memory"
    return "killed" if status > 128 else ""
