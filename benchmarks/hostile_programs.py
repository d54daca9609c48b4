"""What eight hostile programs get from the sandbox, under every isolation that works here, and that the host is untouched.

Each program is run as it is, and as an answer to a problem with tests, which it must not pass. Before the first run, a
plain process shows that this host can be touched. Exit code 1 where a program got anything.

    python benchmarks/hostile_programs.py
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agenttts.errors import SandboxError
from agenttts.pipeline.base import Problem
from agenttts.sandbox import Execution, Limits, run_python
from agenttts.testing.hostile import HOSTILE, Host, hosting
from agenttts.verifiers.base import Candidate
from agenttts.verifiers.code import CodeVerifier

LIMITS = Limits(timeout_s=3.0, cpu_s=2.0, output_bytes=100_000)
OUT = Path(__file__).resolve().parent.parent / "runs" / "benchmarks" / "hostile_programs.json"
TESTS = {"tests": ["assert double(2) == 4", "assert double(-1) == -2"]}


@dataclass(frozen=True)
class Row:
    program: str
    isolation: str
    got: str
    score: float | None
    n_processes_left: int
    n_connections: int
    files_changed: bool
    secret_read: bool
    folders_left: int
    duration_s: float

    @property
    def untouched(self) -> bool:
        left = self.n_processes_left + self.n_connections + self.folders_left
        return not left and not self.files_changed and not self.secret_read and self.score == 0


def attack(name: str, isolation: str, home: Path, scratch: Path) -> tuple[Row, Execution]:
    with hosting(home) as host:
        before = host.files()
        program = host.program(name)
        done = run_python(program, limits=LIMITS, isolation=isolation)
        verifier = CodeVerifier("tests", limits=LIMITS, isolation=isolation)
        (score,) = asyncio.run(verifier.score(Problem("double", TESTS), [Candidate("", program, program)]))
        row = Row(
            program=name,
            isolation=isolation,
            got=got(done).replace(str(host.home), "<home>"),
            score=score.value,
            n_processes_left=left(host),
            n_connections=host.n_connections,
            files_changed=host.files() != before,
            secret_read=host.secret in done.stdout + done.stderr,
            folders_left=len(host.left_behind(scratch)),
            duration_s=round(done.duration_s, 2),
        )
    return row, done


def got(done: Execution) -> str:
    if done.ended:
        return f"ended: {done.ended}"
    last = done.stderr.strip().rpartition("\n")[2]
    return last or f"exit status {done.exit_status}"


def left(host: Host) -> int:
    """Count processes that are left, after the moment that the kernel takes to end a namespace."""
    end = time.monotonic() + 2
    while host.processes() and time.monotonic() < end:
        time.sleep(0.02)
    return len(host.processes())


def control(home: Path) -> str:
    """Run three of them without a sandbox, so that an untouched host means something."""
    names = ("read of the home folder", "network call", "symbolic link out of the folder")
    with hosting(home) as host, tempfile.TemporaryDirectory() as folder:
        run = [
            subprocess.run(
                [sys.executable, "-c", host.program(name)], cwd=folder, capture_output=True, text=True
            )
            for name in names
        ]
        found = f"secret read: {host.secret in run[0].stdout}, connections: {host.n_connections}, "
        found += f"file planted: {'planted' in host.files()}"
        (home / "planted").unlink(missing_ok=True)
    return found


def works(isolation: str) -> bool:
    with contextlib.suppress(SandboxError):
        run_python("", isolation=isolation)
        return True
    return False


def show(rows: list[Row], console: Console) -> None:
    table = Table("program", "what it got", "score", "processes left", "connections", "files", "secret", "s")
    for row in rows:
        files = "changed" if row.files_changed or row.folders_left else "same"
        secret = "read" if row.secret_read else "kept"
        table.add_row(
            *(row.program, row.got, f"{row.score}", f"{row.n_processes_left}", f"{row.n_connections}"),
            *(files, secret, f"{row.duration_s}"),
        )
    console.print(table)


def main() -> int:
    console = Console(width=150)
    found = []
    with (
        tempfile.TemporaryDirectory(prefix=".agenttts-hostile-", dir=Path.home()) as home,
        tempfile.TemporaryDirectory(prefix="agenttts-scratch-") as scratch,
    ):
        Path(home).chmod(0o755)
        Path(scratch).chmod(0o1777)
        console.print(f"control, without a sandbox: {control(Path(home))}")
        tempfile.tempdir = scratch
        for isolation in filter(works, ("bubblewrap", "process")):
            rows, runs = zip(
                *(attack(name, isolation, Path(home), Path(scratch)) for name in HOSTILE), strict=True
            )
            console.print(
                f"\n{runs[0].isolation}\nnot isolated: {'; '.join(runs[0].not_isolated) or 'nothing'}"
            )
            show(list(rows), console)
            found += rows
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps([asdict(row) for row in found], indent=1) + "\n")
    return 0 if found and all(row.untouched for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
