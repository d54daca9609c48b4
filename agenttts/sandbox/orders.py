"""What the launcher is told to do, and the command that starts it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agenttts.sandbox import bubblewrap
from agenttts.sandbox.base import Limits
from agenttts.sandbox.users import running_of_user

__all__ = ["Place", "bubblewrap_command", "process_command"]

CODE = Path(__file__).parent
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
OWN_COUNT = (5, 14)
"""Since this Linux, processes are counted per user namespace."""


@dataclass(frozen=True)
class Place:
    """The private folder of one run; its name cannot be guessed."""

    base: Path

    @property
    def folder(self) -> Path:
        """Where the program works; empty at first."""
        return self.base / "work"

    @property
    def program(self) -> Path:
        """The program, beside its folder."""
        return self.base / "program.py"

    @property
    def stdin(self) -> Path:
        """What the program reads."""
        return self.base / "stdin"

    @property
    def loader(self) -> Path:
        """A copy of `_loader`, where every user can read it."""
        return self.base / "loader.py"

    def fill(self, source: str, stdin: str, uid: int | None) -> None:
        """Write what a run needs."""
        self.base.chmod(0o711)
        self.folder.mkdir(mode=0o700)
        if uid is not None:
            os.chown(self.folder, uid, uid)
        for path, text in ((self.program, source), (self.loader, (CODE / "_loader.py").read_text())):
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
            path.chmod(0o444)
        self.stdin.write_bytes(stdin.encode("utf-8", "surrogatepass"))


def bubblewrap_command(
    place: Place, limits: Limits, uid: int | None, report_fd: int, _control_fd: int
) -> list[str]:
    """Return the command that runs the program under bubblewrap."""
    folder, program, code = bubblewrap.PLACES
    order = _order(limits, uid, folder, program) | {
        "report_fd": report_fd,
        "control_fd": None,
        "own_user": uid is None,
    }
    before = bubblewrap.command(
        program=place.program,
        code=CODE,
        python=python_folders(),
        megabytes=limits.folder_mb,
        as_root=uid is not None,
    )
    return [*before, *_launch(f"{code}/_launcher.py", order)]


def process_command(
    place: Place, limits: Limits, uid: int | None, report_fd: int, control_fd: int
) -> list[str]:
    """Return the command that runs the program below a supervisor."""
    system = (*bubblewrap.SYSTEM, *bubblewrap.SETTINGS, "/sys/devices/system/cpu")
    order = _order(limits, uid, str(place.folder), str(place.program)) | {
        "report_fd": report_fd,
        "control_fd": control_fd,
        "own_user": False,
        "base": str(place.base),
        "loader": str(place.loader),
        "readable": [*system, *map(str, python_folders()), str(place.program), str(place.loader), *DEVICES],
        "writable": [str(place.folder), "/dev/null"],
        "python_is_open": all(map(_open_to_all, (Path(sys.executable), *python_folders(), place.base))),
    }
    return _launch(str(CODE / "_launcher.py"), order)


def python_folders() -> list[Path]:
    """Return where this Python lies, with its site-packages, so that programs find the same libraries."""
    real = Path(sys.executable).resolve()
    return sorted({Path(sys.prefix), Path(sys.base_prefix), real.parent.parent})


def _order(limits: Limits, uid: int | None, folder: str, program: str) -> dict[str, Any]:
    cpu_s = limits.timeout_s if limits.cpu_s is None else limits.cpu_s
    return {
        "python": sys.executable,
        "program": program,
        "folder": folder,
        "uid": uid,
        "limits": dataclasses.asdict(limits) | {"cpu_s": math.ceil(cpu_s)},
        "n_running": running_of_user() if uid is None else 0,
        "counts_alone": _kernel_version() >= OWN_COUNT,
        "env": _environment(folder),
    }


def _environment(folder: str) -> dict[str, str]:
    """Return all variables that a program gets; none is the parent's but where its Python finds its libraries."""
    own = {
        "HOME": folder,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONHASHSEED": "0",  # so that the order of sets, and with it a score, is the same each time
        "TMPDIR": folder,
        # Libraries for arrays start a thread per core otherwise, and each takes its share of the address space.
        **dict.fromkeys(("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    }
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return own | ({"LD_LIBRARY_PATH": libraries} if libraries else {})


def _launch(launcher: str, order: dict[str, Any]) -> list[str]:
    return [sys.executable, "-I", "-S", "-B", launcher, json.dumps(order)]


def _kernel_version() -> tuple[int, ...]:
    parts = platform.release().split("-")[0].split(".")
    return tuple(int(part) for part in parts[:2] if part.isdigit())


def _open_to_all(path: Path) -> bool:
    real = path.resolve()
    entered = all(parent.stat().st_mode & 0o001 for parent in (*real.parents, *path.parents))
    return entered and bool(real.stat().st_mode & 0o005)
