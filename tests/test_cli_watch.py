"""`agenttts watch`: a run of another process, from outside, while it runs and after it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts._cli.watch import _Lines, seen_lines
from agenttts.cli import app
from agenttts.models.counts import CallCounts
from agenttts.study.beat import BEAT_FILE, Beat
from agenttts.study.follow import Follower, RunSeen
from tests.terminal import HOSTILE, on_terminal, slow_models

SEARCH = ("--allocator", "random", "--trials", "6", "--run", "r")
WATCH = [sys.executable, "-m", "agenttts", "watch", "r", "--every", "0.2"]


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def searching(task: Path) -> Iterator[subprocess.Popen[str]]:
    """A search in another process, under way."""
    with slow_models(task) as environment:
        command = [sys.executable, "-m", "agenttts", "optimize", str(task), *SEARCH]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        try:
            end = time.monotonic() + 30
            while not Path("runs/r", BEAT_FILE).exists() and time.monotonic() < end:
                time.sleep(0.1)
            yield process
        finally:
            process.kill()
            process.wait(10)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_run_is_watched_on_a_terminal_and_ctrl_c_ends_the_watching_alone(
    recorded_task: Path, columns: int
) -> None:
    with searching(recorded_task) as search:
        done = on_terminal(WATCH, columns=columns, interrupt=lambda shown: "retries " in shown)
        assert search.poll() is None
    assert done.returncode == 130
    assert done.cursor_is_shown
    assert "running" in done.shown
    assert max(map(len, [line for line in done.lines if "No longer" not in line])) <= columns
    left = words("\n".join(done.screen))
    assert left.endswith("No longer watched; the run goes on. To look again: agenttts watch runs/r")
    assert " spent " in left.partition("No longer")[0]  # how it stood stays to be read


def test_a_run_is_watched_to_its_end(recorded_task: Path) -> None:
    with searching(recorded_task) as search:
        watching = subprocess.Popen(WATCH, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        search.send_signal(signal.SIGINT)
        told, _ = watching.communicate(timeout=60)
        assert search.wait(30) == 130
    assert watching.returncode == 130
    assert not [sign for sign in told if ord(sign) < 32 and sign != "\n"]
    assert told.splitlines()[0].startswith("0/6 trials: ") or "interrupted" in told.splitlines()[0]
    assert "within 0.6 GFLOPs a problem: interrupted" in told
    assert "To go on: agenttts optimize runs/r" in told


def test_a_run_that_is_killed_is_missed(recorded_task: Path) -> None:
    with searching(recorded_task) as search:
        search.kill()
        search.wait(10)
    done = agenttts("watch", "r", "--every", "0.2")
    assert done.exit_code == 130
    assert "no longer alive, last heard of" in words(done.stdout)
    assert "it was killed, or its machine went down. To go on: agenttts optimize runs/r" in words(done.stdout)
    assert "waiting now" not in done.stdout
    assert agenttts("watch", "r", "--once").exit_code == 0


def test_a_running_run_is_told_to_machines_and_listed_with_the_way_to_watch_it(recorded_task: Path) -> None:
    with searching(recorded_task):
        time.sleep(1.5)
        found = json.loads(agenttts("watch", "r", "--json").stdout)
        listed = agenttts("runs").stdout
    assert (found["status"], found["n_trials_wanted"]) == ("running", 6)
    assert found["phase"] in {"pilot", "round"}
    assert found["calls"]["retries"].keys() <= {"rate_limit", "unavailable"}
    assert time.time() - found["last_sign_at"] < 30
    assert "watch  agenttts watch runs/r" in listed


def test_a_finished_run_is_told_and_watching_ends_at_once(recorded_task: Path) -> None:
    assert agenttts("optimize", recorded_task, *SEARCH).exit_code == 0
    done = agenttts("watch", "r")
    assert done.exit_code == 0, done.stderr
    result = json.loads(agenttts("optimize", "runs/r", "--json").stdout)
    assert "within 0.6 GFLOPs a problem: finished" in done.stdout
    assert f"{len(result['trials'])} of 6" in done.stdout
    assert "plan         runs/r/plan.yaml" in done.stdout
    assert "best found" in done.stdout


def test_a_run_whose_budget_is_spent_ends_as_the_search_did(recorded_task: Path) -> None:
    assert agenttts("optimize", recorded_task, *SEARCH, "--search-budget", "14").exit_code == 3
    done = agenttts("watch", "r")
    assert done.exit_code == 3
    assert "To go on: agenttts optimize runs/r --search-budget AMOUNT" in done.stdout


def test_a_name_that_is_none_is_told_with_the_nearest(recorded_task: Path) -> None:
    assert agenttts("optimize", recorded_task, *SEARCH[:-1], "first").exit_code == 0
    done = agenttts("watch", "firts")
    assert done.exit_code == 2
    assert "Did you mean `runs/first`?" in done.stderr


@pytest.fixture
def seen(recorded_task: Path) -> RunSeen:
    assert agenttts("optimize", recorded_task, *SEARCH).exit_code == 0
    return replace(Follower(Path("runs/r")).look(), status="running", last_sign_at=1000.0)


def test_what_a_provider_said_is_shown_as_text(seen: RunSeen) -> None:
    beat = Beat(at=1000.0, pid=1, message=HOSTILE + "\u202e\n")
    lines = seen_lines(replace(seen, beat=beat), 80, now=1000.0)
    assert lines[-1] == "told         \\x1b[2J\\x1b]0;owned\\x07[red]busy[/red]\\x202e⏎"
    ended = seen_lines(replace(seen, status="interrupted", message=HOSTILE), 80)
    assert "\x1b" not in "".join(ended)


def test_a_run_that_is_quiet_is_said_to_be(seen: RunSeen) -> None:
    assert seen_lines(seen, 80, now=1010.0)[0].endswith(": running")
    assert seen_lines(seen, 80, now=1600.0)[0].endswith(": running, last heard of 10 min ago")


def test_off_a_terminal_lines_come_where_something_changed_and_not_too_often(seen: RunSeen) -> None:
    told: list[str] = []
    clock = [0.0]
    lines = _Lines(told.append, clock=lambda: clock[0])
    for second in range(131):
        clock[0] = float(second)
        phase = "round" if second < 5 else "confirming"
        lines.show(replace(seen, phase=phase, calls=CallCounts(1, float(second), 0, {})))
    # At once; then as something changed, no sooner than 10 s later; then after each minute of silence.
    waited = [line.partition("waited ")[2].partition(",")[0] for line in told]
    assert waited == ["0 s", "10 s", "70 s", "2 min"]
    assert all("\n" not in line for line in told)
