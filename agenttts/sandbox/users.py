"""A user id for one run, so that the limit on processes counts this run alone and no other process can be signalled."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["lent_uid", "running_of_user"]

UIDS = range(61184, 65520)
"""What systemd sets aside for users that live as long as a service (systemd.exec, `DynamicUser=`)."""
_SETGID, _SETUID = 6, 7


@contextlib.contextmanager
def lent_uid() -> Iterator[int | None]:
    """Lend a user id that no other run has; `None` where the process may not become another user.

    A run holds its id by an abstract socket of that name, which the kernel removes with the process.
    """
    with contextlib.ExitStack() as stack:
        yield _lend(stack) if _may_become_another() else None


def _lend(stack: contextlib.ExitStack) -> int | None:
    start = os.getpid() % len(UIDS)
    for uid in (*UIDS[start:], *UIDS[:start]):
        holder = stack.enter_context(socket.socket(socket.AF_UNIX))
        try:
            holder.bind(f"\0agenttts-sandbox-{uid}")
        except OSError:
            holder.close()
        else:
            return int(uid)
    return None


def _may_become_another() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    able = all(effective >> capability & 1 for capability in (_SETGID, _SETUID))
    return able and _mapped(Path("/proc/self/uid_map").read_text())


def _mapped(uid_map: str) -> bool:
    """Tell whether all of `UIDS` exist in this user namespace; lines hold first id, id outside, count."""
    ranges = [tuple(map(int, line.split())) for line in uid_map.splitlines()]
    return any(first <= UIDS[0] and UIDS[-1] < first + count for first, _, count in ranges)


def running_of_user() -> int:
    """Count processes and threads of this user, which the kernel counts against the limit of a program too."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = status.read_text()
            uid = int(text.partition("\nUid:")[2].split()[0])
            total += int(text.partition("\nThreads:")[2].split()[0]) if uid == os.getuid() else 0
    return total
