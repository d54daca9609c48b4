"""The command line of bubblewrap (https://github.com/containers/bubblewrap)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["HAS", "PLACES", "SETTINGS", "SYSTEM", "command"]

FOLDER, PROGRAM, CODE = "/run/program/folder", "/run/program/program.py", "/run/program/sandbox"
PLACES = (FOLDER, PROGRAM, CODE)
"""Where the program finds its folder, itself and the launcher."""
HAS = "own namespaces for files, processes, network and IPC; no home; read-only system; folder in memory"
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin")
SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")


def command(*, program: Path, code: Path, python: Sequence[Path], megabytes: int, as_root: bool) -> list[str]:
    """Return what to put before the launcher's command.

    Args:
        program: File of the program.
        code: Folder of the launcher.
        python: Folders that Python needs besides the system's.
        megabytes: What the folder may hold.
        as_root: Whether the launcher is root, and is to become another user.
    """
    size = str(megabytes * 1024 * 1024)
    scratch = ("--perms", "1777", "--size", size, "--tmpfs")
    return [
        *[
            "bwrap",
            "--unshare-ipc",
            "--unshare-pid",
            "--unshare-net",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ],
        *(["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if as_root else ["--unshare-user"]),
        *["--die-with-parent", "--new-session", "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"],
        *[*scratch, "/tmp", *scratch, "/dev/shm"],  # noqa: S108 - of the sandbox
        *(word for path in (*SYSTEM, *SETTINGS) for word in _shown(Path(path))),
        *_folders([*python, Path(PROGRAM)]),
        *[*scratch, FOLDER],
        *(word for path in python for word in ("--ro-bind", str(path), str(path))),
        *["--ro-bind", str(program), PROGRAM, "--ro-bind", str(code), CODE],
        *["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", FOLDER, "--"],
    ]


def _folders(paths: Sequence[Path]) -> list[str]:
    """Make the folders above these paths, which bubblewrap would close to other users."""
    above = sorted({folder for path in paths for folder in path.parents} - {Path("/"), Path("/tmp")})  # noqa: S108
    return [word for folder in above for word in ("--perms", "0755", "--dir", str(folder))]


def _shown(path: Path) -> tuple[str, ...]:
    if path.is_symlink() and path.parent == Path("/"):
        return ("--symlink", str(path.readlink()), str(path))
    return ("--ro-bind", str(path), str(path)) if path.exists() else ()
