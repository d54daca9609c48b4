"""Pages as a real browser makes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["HOSTILE", "rendered", "without_scripts"]

HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
"""What a model, a file or a server may have written."""


def without_scripts(text: str) -> str:
    """Return a page without what its scripts hold."""
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def _browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no browser: install chromium to run this test")


def rendered(text: str, folder: Path) -> str:
    """Return what a browser makes of a page, without scripts."""
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            _browser(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return without_scripts(done.stdout)
