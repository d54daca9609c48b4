"""Runs the snippets of one page in order, in a folder of their own, as a reader would.

What a block needs beyond its text stands in the comment in the line before it:

    <!-- file: task.yaml -->     the block is the file of that name
    <!-- output -->              the block is what the command before it printed
    <!-- ends with 2 -->         the exit code of the last command
    <!-- not run: WHY -->        needs what is not there; `agenttts` in it must be understood all the same

Commands that serve are started as processes on a free port, which the page's later blocks are then given.
"""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agenttts.cli import app
from tests.documentation.fragments import check_fragment
from tests.snippets import Block, commands, lines, understand

SERVES = {"serve", "serve-models"}
MAY_BE_THERE = {"cheaper", "unscored"}
"""Lines of a result that hang on its figures."""
PORT = re.compile(r"\b84\d\d\b")


@dataclass
class Reader:
    """Somebody who does what a page says."""

    folder: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack
    ports: dict[str, str] = field(default_factory=dict)
    """Port in the page -> the one it stands for here."""
    said: str = ""
    """What the last command printed."""

    def do(self, block: Block) -> None:
        """Do what a block says."""
        text = PORT.sub(lambda found: self.ports.setdefault(found[0], str(_free_port())), block.text)
        kind, _, detail = block.note.partition(":")
        if kind == "file":
            self._write(detail.strip(), text)
        elif kind == "not run":
            assert detail.strip(), "say why it is not run"
            for arguments in commands(text):
                understand(arguments)
        elif kind == "output":
            assert labels(self.said) == labels(text), f"it printed: {self.said!r}"
        elif block.language == "bash":
            self._shell(text, int(detail_of(block.note, "ends with") or 0))
        elif block.language == "python":
            self._python(text)
        elif block.language == "yaml":
            check_fragment(text, self.folder / "fragment")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _shell(self, text: str, expected: int) -> None:
        rows = lines(text)
        for i, words in enumerate(rows):
            self._command(words, expected if i == len(rows) - 1 else 0)

    def _command(self, words: list[str], expected: int) -> None:
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words[0].partition("=")
            self.patch.setenv(name, value)
            words = words[1:]
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.patch.setenv(name, value)
        elif words[0] == "agenttts" and words[1] in SERVES:
            self.stack.enter_context(_serving(words[1:]))
        elif words[0] == "agenttts":
            self._agenttts(words[1:], expected)
        elif words[0] in {"pytest", "python"}:
            self._program([sys.executable, *(["-m", "pytest"] if words[0] == "pytest" else []), *words[1:]])
        else:
            raise AssertionError(f"{words[0]}: say `<!-- not run: WHY -->` in the line before the block")

    def _agenttts(self, arguments: list[str], expected: int) -> None:
        if os.environ.get("PYTHONPATH"):  # read when Python starts
            self._program([sys.executable, "-m", "agenttts", *arguments])
            return
        done = CliRunner().invoke(app, arguments)
        self.said = done.output if expected else done.stdout
        assert done.exit_code == expected, f"{arguments}: {done.output}"

    def _program(self, arguments: list[str]) -> None:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        self.said = done.stdout

    def _python(self, text: str) -> None:
        self.patch.syspath_prepend(self.folder)
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(text, "snippet", "exec"), {"__name__": "snippet"})  # noqa: S102 - it is our own
        self.said = printed.getvalue()


def detail_of(note: str, words: str) -> str:
    """Return what follows `words` in a note; empty where it does not begin so."""
    return note.removeprefix(words).strip() if note.startswith(words) else ""


def labels(output: str) -> list[str]:
    """Return the first words of the lines that do not go on with the one before; figures and names may differ."""
    starts = [line.split()[0] for line in output.splitlines() if line.strip() and not line.startswith(" ")]
    return [re.sub(r"[\d.]+", "#", word) for word in starts if word not in MAY_BE_THERE]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _serving(arguments: list[str]) -> Iterator[None]:
    port = arguments[arguments.index("--port") + 1]
    with subprocess.Popen(
        [sys.executable, "-m", "agenttts", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _wait(process, f"http://127.0.0.1:{port}/healthz")
            yield
        finally:
            process.terminate()
            process.wait(20)


def _wait(process: subprocess.Popen[str], address: str) -> None:
    for _ in range(300):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        try:
            urllib.request.urlopen(address, timeout=1).close()  # noqa: S310 - an address of this machine
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{address}: nobody answers")
