from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttts.errors import SandboxError
from agenttts.sandbox import Isolation, run_python
from agenttts.testing.hostile import Host, hosting


def isolations() -> list[Isolation]:
    """Return those that work on this machine."""
    working: list[Isolation] = []
    for isolation in ("bubblewrap", "process"):
        with contextlib.suppress(SandboxError):
            run_python("", isolation=isolation)  # type: ignore[arg-type]  # of a tuple
            working.append(isolation)  # type: ignore[arg-type]
    return working


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isolation" in metafunc.fixturenames:
        metafunc.parametrize("isolation", isolations())


@pytest.fixture
def host() -> Iterator[Host]:
    """A host whose secret lies in the real home folder, in a folder that everyone may read."""
    home = Path.home() / f".agenttts-test-{secrets.token_hex(4)}"
    home.mkdir(mode=0o755)
    try:
        with hosting(home) as made:
            yield made
    finally:
        shutil.rmtree(home)


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sandboxes make their folders during a test; open to all, as /tmp is."""
    with tempfile.TemporaryDirectory(prefix="agenttts-scratch-") as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
