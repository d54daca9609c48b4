"""Requests to the Linux kernel that Python has no functions for.

Standard library only, because the launcher, which runs without site-packages, imports this file by itself.
Every function raises `OSError` where the kernel refuses, so that the caller can tell what could not be isolated.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_SECCOMP = 22
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_CAP_DAC_READ_SEARCH = 2

# linux/audit.h and the tables of system calls.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SOCKET, _IO_URING_SETUP = {"x86_64": 41, "aarch64": 198}, 425
_X32 = 0x40000000

# linux/landlock.h. The numbers of the calls are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Version -> how many kinds of access to files it knows; later ones know 16."""
_SCOPE_SIGNALS_AND_SOCKETS = 0b11


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *values: int) -> None:
    """Set an attribute of this process."""
    padded = [*values, *[0] * (4 - len(values))]
    _checked(_libc().prctl(option, *map(ctypes.c_ulong, padded)), "prctl")


def no_dumps() -> None:
    """Keep other processes of the same user from reading this one's memory and files in /proc."""
    prctl(_PR_SET_DUMPABLE, 0)


def no_new_privileges() -> None:
    """Give up what setuid programs would grant, for good."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents end."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def unshare(flags: int) -> None:
    """Enter namespaces of one's own."""
    _checked(_libc().unshare(flags), "unshare")


def keep_reading(uid: int, gid: int) -> None:
    """Become another user that may still read all files. Only sensible where Landlock says which."""
    prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    mask = 1 << _CAP_DAC_READ_SEARCH
    header = struct.pack("=Ii", 0x20080522, 0)
    sets = struct.pack("=6I", mask, mask, mask, 0, 0, 0)
    _checked(_libc().capset(header, sets), "capset")
    prctl(_PR_CAP_AMBIENT, 2, _CAP_DAC_READ_SEARCH)


def refuse_calls(calls: Sequence[int]) -> None:
    """Let these system calls fail with EPERM, in this process and all it starts, for good (seccomp)."""
    arch = _ARCHITECTURES.get(platform.machine())
    if arch is None:
        raise OSError(f"seccomp: no table of system calls for {platform.machine()}")
    load, jump_equal, jump_above, give = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050001, 0x7FFF0000
    n = len(calls)
    program = [
        (load, 0, 0, 4),  # the architecture: another one has other numbers
        (jump_equal, 1, 0, arch),
        (give, 0, 0, kill),
        (load, 0, 0, 0),  # the number of the call
        (jump_above, n + 1, 0, _X32),  # the same calls under other numbers, on x86
        *[(jump_equal, n - i, 0, call) for i, call in enumerate(calls)],
        (give, 0, 0, allow),
        (give, 0, 0, refuse),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = struct.pack("@HP", len(program), ctypes.addressof(code))
    holder = ctypes.create_string_buffer(head, len(head))
    prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(holder))


def no_sockets() -> None:
    """Refuse to make sockets, and io_uring, which can make them too; pairs of sockets are harmless."""
    refuse_calls((_SOCKET.get(platform.machine(), 0), _IO_URING_SETUP))


def landlock_version() -> int:
    """Return the version of Landlock.

    Raises:
        OSError: The kernel has none.
    """
    return _checked(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1), "landlock")


def only_files(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Close all files but those below these paths, in this process and all it starts, for good (Landlock).

    From version 6 on it can signal no process but its own descendants, and reach no abstract socket of others.
    """
    version = landlock_version()
    everything = (1 << _FS_BITS.get(version, 16)) - 1
    scope = _SCOPE_SIGNALS_AND_SOCKETS if version >= 6 else 0
    size = 24 if version >= 6 else 8
    attributes = struct.pack("=QQQ", everything, 0, scope)[:size]
    libc = _libc()
    made = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    ruleset = _checked(made, "landlock")
    for path in readable:
        _allow(libc, ruleset, path, (_EXECUTE | _READ_FILE | _READ_DIR) & everything)
    for path in writable:
        _allow(libc, ruleset, path, everything)
    no_new_privileges()
    _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - few imports
            access &= _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
        rule = struct.pack("=Qi", access, opened)
        _checked(libc.syscall(_ADD_RULE, ruleset, 1, rule, 0), f"landlock {path}")
    finally:
        os.close(opened)
