"""What reaches the terminal: cleaning of foreign text, where it is written, and the endings of a command.

Anything that a model, a server or a file wrote passes `clean` before it is shown: no control characters, no markup.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from agenttts.errors import AgentTTSError, InputError

__all__ = ["ask", "clean", "ending", "fold", "print_json", "say", "say_aside", "table", "width"]

WIDEST, NARROWEST = 80, 40
"""Columns that text of ours is folded to, as the terminal allows; tables may need more."""
INTERRUPTED = 130
PROVIDER_FAILED = 4


def clean(text: object, *, limit: int = 200) -> str:
    """Return one line of at most `limit` characters without control, format or surrogate characters.

    Terminal escape sequences and marks that turn the direction of writing are shown as their code, not obeyed.
    """
    line = "".join(_visible(sign) for sign in str(text)[: limit + 1])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _visible(sign: str) -> str:
    if sign == "\n":
        return "⏎"
    if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return f"\\x{ord(sign):02x}"
    return sign


def clean_lines(text: str) -> str:
    """As `clean`, for our own messages of several lines that may quote foreign text."""
    return "\n".join(clean(line, limit=2000) for line in text.splitlines())


def width() -> int:
    """Return the columns of the terminal, or what `COLUMNS` says, but 40 at least and 80 at most."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns))


def fold(text: str, *, first: str = "", rest: str | None = None) -> str:
    """Return `text` broken into lines as wide as `width()`, the first after `first`, others after `rest`."""
    import textwrap

    return textwrap.fill(
        text,
        width(),
        initial_indent=first,
        subsequent_indent=" " * len(first) if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return a plain table, columns two spaces apart.

    Args:
        head: Titles, shape (n_columns,).
        rows: Cells, already cleaned, shape (n_rows, n_columns).
        right: Indices of the columns that are aligned to the right.
    """
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def say(text: str = "") -> None:
    """Write a result to standard output.

    Raises:
        InputError: It cannot be written there, e.g. to a full disk.
    """
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise  # whoever read it has seen enough
    except OSError as error:
        # What is left in the buffer would fail once more at the end of the process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"standard output cannot be written: {error.strerror or error}") from error


def say_aside(text: str) -> None:
    """Write what is no result (progress, questions, errors) to standard error."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """Write one JSON object to standard output, ASCII only, so that nothing in it can steer a terminal."""
    say(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))


def ask(question: str) -> bool:
    """Ask yes or no on standard error.

    Raises:
        InputError: Nobody can be asked, for want of a terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{question} There is no terminal to ask on: give --yes to agree beforehand.")
    try:
        return typer.confirm(question, default=False, err=True)
    except typer.Abort:
        say_aside("")  # the question's line has no end yet
        raise


@contextmanager
def ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn what a command body raises into a message and an exit code.

    Codes: 1 bug, 2 input, 3 budget or limit, 4 provider, 130 interrupted. `AGENTTTS_DEBUG=1` adds the traceback.
    """
    with _sigterm_as_ctrl_c():
        yield from _translated(as_json)


def _translated(as_json: bool) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):  # the second one is Ctrl-C at a question
        _end("Interrupted", "interrupted", INTERRUPTED, as_json)
    except AgentTTSError as error:
        _show_traceback()
        _end(type(error).__name__, str(error), error.exit_code, as_json)
    except (BrokenPipeError, typer.Exit):
        raise
    except OSError as error:  # a file or folder outside the program is the matter
        _show_traceback()
        _end(type(error).__name__, str(error), InputError.exit_code, as_json)
    except Exception as error:  # the last line of defence: a bug must not end in a wall of text
        _show_traceback()
        message = f"{type(error).__name__}: {error}\nThis is a bug in agenttts; AGENTTTS_DEBUG=1 shows where."
        _end(type(error).__name__, message, 1, as_json)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C, whoever handles that: resumably."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals can only be handled in the main thread
        return
    # Processes that a script starts in the background ignore Ctrl-C; with it, SIGTERM would be lost.
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, interrupt)


def _show_traceback() -> None:
    if os.environ.get("AGENTTTS_DEBUG", "") not in {"", "0"}:
        import traceback

        say_aside(clean_lines(traceback.format_exc()))


def _end(kind: str, message: str, code: int, as_json: bool) -> NoReturn:
    shown = clean_lines(message)
    say_aside(shown if code == INTERRUPTED else f"error: {shown}")
    if as_json:
        print_json({"error": {"kind": kind, "message": shown, "exit_code": code}})
    raise typer.Exit(code)
