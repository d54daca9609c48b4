"""Runs programs in a process that the kernel allows less; prints what became of them, and of what they could reach.

Reads JSON: what is taken away, and the programs by name.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import platform
import sys

from agenttts.sandbox import Limits, _kernel, run_python


def ordinary_user() -> None:
    """Become a user without rights; who is one already stays so."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(54321, 54321, 54321)
        os.setresuid(54321, 54321, 54321)


UNSHARE = {"x86_64": 272, "aarch64": 97}
LANDLOCK = 444
AWAY = {
    "landlock": lambda: _kernel.refuse_calls((LANDLOCK,)),
    "namespaces": lambda: _kernel.refuse_calls((UNSHARE[platform.machine()],)),
    # Calls itself another machine, for which there is no table of system calls (PER_LINUX32).
    "seccomp": lambda: ctypes.CDLL(None).personality(8),
    "user": ordinary_user,
}


def main() -> None:
    order = json.loads(sys.stdin.read())
    for name in order["away"]:
        if name != "user":
            _kernel.no_new_privileges()
        AWAY[name]()
    limits = Limits(timeout_s=3.0, cpu_s=2.0, output_bytes=100_000)
    done = {
        name: dataclasses.asdict(run_python(source, limits=limits, isolation="process"))
        for name, source in order["programs"].items()
    }
    print(json.dumps({"uid": os.getuid(), "done": done}))


if __name__ == "__main__":
    main()
