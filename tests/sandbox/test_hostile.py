"""The eight hostile programs: what each gets, and that the host is untouched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agenttts.sandbox import Execution, Isolation, Limits, run_python
from agenttts.testing.hostile import HOSTILE, Host

LIMITS = Limits(timeout_s=3.0, cpu_s=2.0, output_bytes=100_000)


def gone(host: Host) -> bool:
    """Tell whether no process is left; the kernel may take a moment to end a namespace."""
    end = time.monotonic() + 3
    while host.processes() and time.monotonic() < end:
        time.sleep(0.02)
    return not host.processes()


@pytest.fixture
def untouched(host: Host, scratch: Path) -> Iterator[None]:
    before = host.files()
    yield
    assert gone(host)
    assert host.files() == before
    assert host.n_connections == 0
    assert host.left_behind(scratch) == []


@pytest.fixture
def attack(host: Host, untouched: None, isolation: Isolation) -> Callable[[str], Execution]:
    def run(name: str) -> Execution:
        done = run_python(host.program(name), limits=LIMITS, isolation=isolation)
        assert host.secret not in done.stdout + done.stderr
        assert done.isolation.startswith(isolation)
        assert done.not_isolated == ()
        return done

    return run


def test_there_are_eight() -> None:
    assert len(HOSTILE) == 8


def test_a_fork_bomb_is_ended_with_all_its_processes(attack: Callable[[str], Execution]) -> None:
    done = attack("fork bomb")
    assert done.ended in {"timeout", "cpu"}
    assert done.duration_s < 10


def test_an_endless_print_is_cut_off(attack: Callable[[str], Execution]) -> None:
    done = attack("endless print")
    assert done.ended == "output"
    assert len(done.stdout) == LIMITS.output_bytes


def test_the_home_folder_cannot_be_read(attack: Callable[[str], Execution]) -> None:
    done = attack("read of the home folder")
    assert done.exit_status == 1
    assert done.stdout == ""


def test_a_network_call_gets_no_connection(attack: Callable[[str], Execution]) -> None:
    done = attack("network call")
    assert done.exit_status == 1
    assert "connected" not in done.stdout


def test_10_gb_of_memory_are_refused(attack: Callable[[str], Execution]) -> None:
    done = attack("10 GB of memory")
    assert done.ended == "memory"
    assert "held" not in done.stdout


def test_a_program_that_closes_its_streams_is_still_ended(attack: Callable[[str], Execution]) -> None:
    done = attack("closed stdout")
    assert done.ended in {"timeout", "cpu"}
    assert done.stdout == done.stderr == ""


def test_a_symbolic_link_out_of_the_folder_leads_nowhere(attack: Callable[[str], Execution]) -> None:
    assert attack("symbolic link out of the folder").exit_status == 1


def test_an_early_exit_is_told_as_it_was(attack: Callable[[str], Execution]) -> None:
    """That it passes no tests is in tests/verifiers/test_code.py."""
    assert attack("os._exit(0) before the tests").ok


def test_the_control_group_a_host_without_a_sandbox_is_touched(host: Host, tmp_path: Path) -> None:
    """So that an untouched host above means something: the same programs, run plainly, do harm."""
    import subprocess
    import sys

    ran = {
        name: subprocess.run(
            [sys.executable, "-c", host.program(name)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20,
        )
        for name in ("read of the home folder", "network call", "symbolic link out of the folder")
    }
    assert host.secret in ran["read of the home folder"].stdout
    assert "planted" in host.files()
    assert host.n_connections == 1
