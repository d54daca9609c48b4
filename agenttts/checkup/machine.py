"""This computer: Python, packages, sandbox, clock, disk, the store of draws. Nothing here reaches a model."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agenttts.checkup.base import Finding, Verdict

__all__ = ["clock", "disk", "extras", "packages", "python", "sandbox", "store"]

ABOUT = "machine"
LEAST_FREE_MB, ENOUGH_FREE_MB = 100, 1000
BUSY_S = 3.0
OLDEST_PYTHON = (3, 11)


def python() -> Iterator[Finding]:
    """Yield which Python runs which version of the package."""
    from agenttts import __version__

    told = f"Python {platform.python_version()} on {platform.system()}, agenttts {__version__}"
    if sys.version_info < OLDEST_PYTHON:
        yield Finding(ABOUT, "python", Verdict.MEND, told, "Install Python 3.11 or later.")
    else:
        yield Finding(ABOUT, "python", Verdict.FINE, told)


def packages() -> Iterator[Finding]:
    """Yield packages that agenttts needs and that are missing, or too old."""
    wrong = _unmet("")
    if not wrong:
        yield Finding(ABOUT, "packages", Verdict.FINE, "all that agenttts needs are here")
    for text in wrong:
        yield Finding(ABOUT, "packages", Verdict.MEND, text, "Run `pip install --upgrade agenttts`.")


def extras() -> Iterator[Finding]:
    """Yield optional extras that are not installed."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        named = metadata("agenttts").get_all("Provides-Extra") or []
    except PackageNotFoundError:  # run from a folder that was never installed
        return
    missing = [extra for extra in sorted(named) if extra != "dev" and _unmet(extra)]
    here = [extra for extra in sorted(named) if extra != "dev" and extra not in missing]
    told = f"installed: {', '.join(here) or 'none'}"
    if missing:
        told += f"; not: {', '.join(missing)}"
    hint = f"Where you want one: pip install 'agenttts[{missing[0]}]'" if missing else ""
    yield Finding(ABOUT, "extras", Verdict.NOTE if missing else Verdict.FINE, told, hint)


def _unmet(extra: str) -> list[str]:
    """Return what the package, or one of its extras, needs and this Python lacks."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement  # comes with optuna and datasets

    try:
        named = [Requirement(text) for text in requires("agenttts") or []]
    except PackageNotFoundError:
        return []
    wrong = []
    for one in named:
        if _is_meant(one, extra):
            try:
                found = version(one.name)
            except PackageNotFoundError:
                wrong.append(f"{one.name} is not installed")
                continue
            if not one.specifier.contains(found, prereleases=True):
                wrong.append(f"{one.name} {found} is installed, and {one.specifier} is needed")
    return wrong


def _is_meant(one: object, extra: str) -> bool:
    """Return whether a requirement is one of the extra alone (of none, where that is empty)."""
    marker = getattr(one, "marker", None)
    if not extra:
        return marker is None or marker.evaluate({"extra": ""})
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def sandbox(*, needed: bool) -> Iterator[Finding]:
    """Yield how programs of models are kept apart here, found out by running one.

    Args:
        needed: The task runs such programs.
    """
    from agenttts.errors import SandboxError
    from agenttts.sandbox.run import run_python

    try:
        done = run_python("print('works')")
    except SandboxError as error:
        verdict = Verdict.MEND if needed else Verdict.NOTE
        hint = "Needed by the verifiers code, executable and gen_prm alone; they run on Linux."
        yield Finding(ABOUT, "sandbox", verdict, str(error), hint)
        return
    told = done.isolation
    if done.not_isolated:
        told += f"; not kept apart: {', '.join(done.not_isolated)}"
    weak = bool(done.not_isolated) or not done.isolation.startswith("bubblewrap")
    hint = "Programs are kept apart better with bubblewrap: apt install bubblewrap" if weak else ""
    if shutil.which("bwrap") and weak:
        hint = "bubblewrap is installed and does not work here: user namespaces may be switched off."
    yield Finding(ABOUT, "sandbox", Verdict.NOTE if weak else Verdict.FINE, told, hint)


def clock(now_s: float | None = None) -> Iterator[Finding]:
    """Yield whether the clock is behind the files of the package, as after a dead battery."""
    now = time.time() if now_s is None else now_s
    written = Path(__file__).stat().st_mtime
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < written - 86400:
        hint = "Set it, e.g. by switching on network time: connections are refused where it is far off."
        yield Finding(ABOUT, "clock", Verdict.MEND, f"{shown} lies before agenttts was installed", hint)
    else:
        yield Finding(ABOUT, "clock", Verdict.FINE, shown)


def disk(folder: Path, free_mb: float | None = None) -> Iterator[Finding]:
    """Yield whether runs can be written, and how much room there is for them."""
    place = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        told = f"{place} cannot be written: {error.strerror or error}"
        hint = "Work in a folder of your own, or give --run and --store elsewhere."
        yield Finding(ABOUT, "disk", Verdict.MEND, told, hint)
        return
    free = shutil.disk_usage(place).free / 2**20 if free_mb is None else free_mb
    told = f"{free / 1024:,.1f} GB free at {place}"
    if free < LEAST_FREE_MB:
        yield Finding(ABOUT, "disk", Verdict.MEND, told, "Make room: draws that were paid for must be kept.")
    elif free < ENOUGH_FREE_MB:
        yield Finding(ABOUT, "disk", Verdict.NOTE, told, "A long search writes some hundred MB of draws.")
    else:
        yield Finding(ABOUT, "disk", Verdict.FINE, told)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    there = folder.absolute()
    while not there.is_dir() and there != there.parent:
        there = there.parent
    return there


def store(url: str) -> Iterator[Finding]:
    """Yield whether the store of draws opens and can be written. Opening one begins with a transaction that writes."""
    from agenttts.errors import StoreError
    from agenttts.store.sql import is_memory, open_store, without_password

    about = "store"
    try:
        shown = without_password(url)
        if is_memory(url):
            yield Finding(
                about, shown, Verdict.NOTE, "draws are forgotten in the end", "Name a file to keep them."
            )
            return
        file = _sqlite_file(url)
        if file is not None and not file.exists():
            yield _new_file(about, file)
            return
        before = time.monotonic()
        opened = open_store(url, busy_timeout_s=BUSY_S)
    except StoreError as error:
        hint = "Mend the address, the rights or the database, or name another one with --store."
        yield Finding(about, "store", Verdict.MEND, str(error), hint)
        return
    _close(opened)
    took = time.monotonic() - before
    yield Finding(about, shown, Verdict.FINE, f"opens and can be written ({took * 1000:,.0f} ms)")


def _new_file(about: str, file: Path) -> Finding:
    place = _nearest(file.parent)
    if os.access(place, os.W_OK):
        return Finding(about, str(file), Verdict.FINE, "is not there yet; the first run makes it")
    told = f"is not there, and {place} cannot be written"
    return Finding(about, str(file), Verdict.MEND, told, "Name another place with --store.")


def _sqlite_file(url: str) -> Path | None:
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def _close(opened: object) -> None:
    import asyncio

    asyncio.run(opened.aclose())  # type: ignore[attr-defined]
