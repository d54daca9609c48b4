"""Commands on a real terminal (a pseudo one) of a given width, and models that are slow, busy and hostile."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.models.local_server import Body, completion, error, local_server

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]busy[/red]"


@dataclass(frozen=True)
class OnTerminal:
    """What a command left behind."""

    returncode: int
    shown: str
    """Everything that was sent to the terminal."""
    out: str
    """What went to the pipe that standard output was, if it was one."""

    @property
    def lines(self) -> list[str]:
        """Every line that was ever drawn, without control sequences."""
        return [line for line in re.split(r"[\r\n]+", CONTROL.sub("", self.shown)) if line]

    @property
    def cursor_is_shown(self) -> bool:
        return self.shown.rfind("\x1b[?25h") >= self.shown.rfind("\x1b[?25l")

    @property
    def screen(self) -> list[str]:
        """What stands there in the end, of what rich uses: going up, clearing lines."""
        rows, row = [""], 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.shown):
            if part == "\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif part.endswith("A") and part.startswith("\x1b"):
                row = max(0, row - int(part[2:-1] or 1))
            elif part == "\x1b[2K":
                rows[row] = ""
            elif not part.startswith(("\x1b", "\r")):
                rows[row] += part
        return rows


def on_terminal(
    command: list[str],
    *,
    columns: int,
    out: Any = None,
    environment: dict[str, str] | None = None,
    interrupt: Callable[[str], bool] = lambda shown: False,
    timeout_s: float = 90.0,
) -> OnTerminal:
    """Run a command on a terminal of its own; press Ctrl-C there as soon as `interrupt` says so of what was shown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave if out is None else out,
        stderr=slave,
        env={**kept, "TERM": "xterm", **(environment or {})},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    shown, pressed, end = b"", False, time.monotonic() + timeout_s
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.1)
        try:
            part = os.read(master, 65536) if ready else None
        except OSError:  # how Linux tells that the other side is closed
            break
        if part == b"":
            break
        shown += part or b""
        if not pressed and interrupt(shown.decode(errors="replace")):
            pressed = True
            os.write(master, b"\x03")
    else:
        process.kill()
    written, _ = process.communicate(timeout=10)
    os.close(master)
    return OnTerminal(process.returncode, shown.decode(), (written or b"").decode())


@contextmanager
def slow_models(task: Path) -> Iterator[dict[str, str]]:
    """Serve the models of a recorded task over HTTP, slowly and with hostile refusals; give the environment to use."""
    n = 0

    def answer(body: Body) -> Any:
        nonlocal n
        n += 1
        if n % 11 == 3:
            return error(429, HOSTILE, headers={"Retry-After": "0.4"})
        if n % 11 == 7:
            return error(503, HOSTILE)
        time.sleep(0.02)
        return completion(body, contents=[f"It is {n % 7}" for _ in range(body.get("n", 1))])

    with local_server(always=answer) as server:
        text = task.read_text()
        served = f"{{source: openai, base_url: '{server.url}', parameters"
        task.write_text(text.replace("{source: recorded, table: draws.csv, parameters", served))
        yield {"OPENAI_API_KEY": "sk-not-a-key"}
