"""Short questions on a terminal, each with an answer that stands for itself; nowhere else is anything asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from agenttts._cli.console import say_aside

__all__ = ["Dialogue"]


@dataclass(frozen=True)
class Dialogue:
    """Asks on standard error, or takes every default in silence."""

    speaks: bool

    @classmethod
    def open(cls, *, silent: bool) -> Dialogue:
        """Return one that speaks where there is a terminal and silence was not asked for."""
        return cls(not silent and sys.stdin.isatty() and sys.stderr.isatty())

    def ask(self, question: str, default: str) -> str:
        """Return what the user wrote, stripped; `default` for an empty line, or where nobody is asked.

        Raises:
            typer.Abort: Ctrl-C, or the end of input.
        """
        if not self.speaks:
            return default
        try:
            given = typer.prompt(question, default=default, show_default=bool(default), err=True)
        except typer.Abort:
            say_aside("")  # the question's line has no end yet
            raise
        return str(given).strip()
