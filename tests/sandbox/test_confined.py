"""Where the kernel allows less, as in containers or on old machines: what still holds, and what is told not to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttts.sandbox.orders import _open_to_all
from agenttts.testing.hostile import HOSTILE, PASSED, Host
from tests.sandbox.test_hostile import gone

ROOT = Path(__file__).parents[2]


def open_python() -> str | None:
    """Return a Python that every user may start; this one may lie in a home folder."""
    candidates = [sys.executable, *(f"/usr/bin/python3{minor}" for minor in ("", ".11", ".12", ".13"))]
    for path in map(Path, candidates):
        if path.exists() and _open_to_all(path):
            new_enough = subprocess.run([path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
            if new_enough.returncode == 0:
                return str(path)
    return None


needs_open_python = pytest.mark.skipif(
    open_python() is None, reason="there is no Python that every user may start"
)
SETTINGS = {
    "no namespaces": ["namespaces"],
    "no namespaces, no Landlock": ["landlock", "namespaces"],
    "no namespaces, no Landlock, no seccomp": ["landlock", "namespaces", "seccomp"],
    "an ordinary user": ["user"],
    "an ordinary user without namespaces": ["user", "namespaces"],
}


def confined(
    away: Sequence[str], programs: Mapping[str, str], python: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "tests.sandbox.confined"],
        input=json.dumps({"away": away, "programs": programs}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
    )


def run(away: Sequence[str], programs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    ran = confined(away, programs, open_python() or sys.executable)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    if "user" in away:
        assert told["uid"] != 0
    done: dict[str, dict[str, Any]] = told["done"]
    return done


@needs_open_python
@pytest.mark.parametrize("away", SETTINGS.values(), ids=SETTINGS.keys())
def test_the_eight_programs_leave_the_host_untouched(away: list[str], host: Host) -> None:
    before = host.files()
    done = run(away, {name: host.program(name) for name in HOSTILE})
    assert gone(host)
    assert host.files() == before
    assert host.n_connections == 0
    assert not any(host.secret in one["stdout"] + one["stderr"] for one in done.values())
    assert done["fork bomb"]["ended"] in {"timeout", "cpu"}
    assert done["endless print"]["ended"] == "output"
    assert done["10 GB of memory"]["ended"] == "memory"
    assert done["closed stdout"]["ended"] in {"timeout", "cpu"}
    assert done["os._exit(0) before the tests"]["stdout"] == f"{PASSED}\n"


def lacking(away: Sequence[str]) -> str:
    return " ".join(run(away, {"nothing": ""})["nothing"]["not_isolated"])


@needs_open_python
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("away", "told"),
    [
        ([], ""),
        (["namespaces"], ""),
        (["landlock"], "reading and writing of files"),
        (
            ["namespaces", "seccomp"],
            "network: Python's sockets are unusable, but the kernel would allow others",
        ),
        (["user"], "runs as the user who started it"),
    ],
)
def test_what_could_not_be_isolated_is_told(away: list[str], told: str) -> None:
    lacks = lacking(away)
    assert told in lacks
    assert bool(told) == bool(lacks)


@pytest.mark.skipif(
    os.geteuid() != 0 or _open_to_all(Path(sys.executable)),
    reason="only where root alone may read this Python",
)
def test_root_refuses_to_run_as_root_what_it_cannot_confine() -> None:
    ran = confined(["landlock", "namespaces"], {"x": "print(1)"}, sys.executable)
    assert ran.returncode != 0
    assert "install bubblewrap" in ran.stderr


def test_a_python_in_a_closed_folder_is_used_where_landlock_closes_the_rest(host: Host) -> None:
    ran = confined(["namespaces"], {"x": host.program("read of the home folder")}, sys.executable)
    done = json.loads(ran.stdout)["done"]["x"]
    assert done["exit_status"] == 1
    assert host.secret not in done["stdout"]


@needs_open_python
@pytest.mark.parametrize("away", [[], ["landlock"], ["user", "landlock", "namespaces"]])
def test_what_is_read_lies_in_no_file(away: list[str]) -> None:
    source = "import os\nprint(sorted(os.listdir(os.path.dirname(__file__))))"
    done = run(away, {"look": source})["look"]
    assert done["stdout"] == ("['loader.py', 'program.py', 'work']\n" if away[:1] == ["user"] else "")


@needs_open_python
def test_processes_that_left_the_group_are_ended_without_namespaces(host: Host) -> None:
    source = host.aimed("""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        import time
        time.sleep(300)
    os._exit(0)
os.wait()
""")
    for away in (["namespaces"], ["user", "namespaces"]):
        assert run(away, {"left": source})["left"]["exit_status"] == 0
        assert gone(host)
