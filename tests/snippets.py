"""Fenced blocks of Markdown pages, and the command lines in them; shared by the tests of the README and of docs/."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from agenttts.cli import app

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    note: str = ""
    """The comment in the line before it: what a test needs to know of it, and readers do not."""
    line: int = 0
    """Of its fence, counted from 1."""

    def __str__(self) -> str:
        return f"line {self.line}, {self.language}"


def blocks(markdown: str) -> list[Block]:
    """Return the fenced blocks of a page that name a language, in order."""
    return [
        Block(
            found["language"],
            found["text"],
            found["note"] or "",
            1 + markdown.count("\n", 0, found.start("language")),
        )
        for found in _FENCE.finditer(markdown)
    ]


def texts(markdown: str, language: str) -> list[str]:
    """Return the contents of the blocks in one language."""
    return [block.text for block in blocks(markdown) if block.language == language]


def lines(shell: str) -> list[list[str]]:
    """Return the commands of a shell block as arguments; comments are left out, continued lines joined."""
    joined = shell.replace("\\\n", " ")
    parts = [part for line in joined.splitlines() for part in _without_comment(line).split("&&")]
    return [shlex.split(part) for part in parts if part.strip()]


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)


def commands(shell: str) -> Iterator[list[str]]:
    """Yield the arguments of every `agenttts ...` in a shell block; the run of which is any."""
    for words in lines(shell.replace("<run>", "run")):
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:1] == ["agenttts"]:
            yield words[1:]


def understand(arguments: list[str]) -> None:
    """Fail where the command line does not know a command, an option or a value; nothing runs."""
    command = typer.main.get_command(app)
    context = command.make_context("agenttts", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
