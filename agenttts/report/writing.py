"""Where reports are written."""

from __future__ import annotations

from pathlib import Path

from agenttts.errors import RunError

__all__ = ["write_page"]


def write_page(path: Path, text: str) -> None:
    """Write a file of a report.

    Raises:
        RunError: It cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error
