"""Completion as shells ask for it: the protocol, spoken to a process of its own."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttts._cli.completion import complete_cards, complete_listed, complete_tasks
from agenttts.allocators.base import ALLOCATORS
from agenttts.budgets.loading import load_cards
from agenttts.catalogue import list_tasks

SCRIPT = Path(sys.executable).parent / "agenttts"


def offered(line: str, shell: str = "bash") -> list[str]:
    """Return what is offered for the last word of a line; one that ends in a space begins a new word."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [SCRIPT],
        env={**os.environ, "_AGENTTTS_COMPLETE": f"complete_{shell}", **asked},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == "", done.stderr
    if shell == "zsh":
        return re.findall(r'^\s*"?([^":\s()]+)', done.stdout.replace("_arguments '*: :((", ""), re.MULTILINE)
    return [part.partition("\t")[0] for part in done.stdout.splitlines()]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task, a card and two runs, of which one has a plan."""
    (tmp_path / "tasks" / "timetables").mkdir(parents=True)
    (tmp_path / "tasks" / "timetables" / "task.yaml").write_text("name: timetables\n")
    (tmp_path / "budgets" / "models").mkdir(parents=True)
    (tmp_path / "budgets" / "models" / "own.yaml").write_text(
        'models:\n    "my own":\n        source: openai\n    mine: {source: openai}\nformat: 1\n'
    )
    for name in ("tiny-1", "tiny-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "events.jsonl").touch()
    (tmp_path / "runs" / "tiny-2" / "plan.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_tasks_and_allocators_are_offered_in_every_shell(project: Path, shell: str) -> None:
    assert {"check", "compare"} <= set(offered("agenttts c", shell))
    assert {"tiny", "timetables"} <= set(offered("agenttts optimize ti", shell))
    assert offered("agenttts optimize tiny --allocator cu", shell) == ["curves"]


def test_all_that_can_be_named_is_offered(project: Path) -> None:
    listed = {task.name for task in list_tasks()}
    assert listed <= set(offered("agenttts check "))
    assert set(offered("agenttts optimize tiny --allocator ")) == set(ALLOCATORS)


def test_the_cards_that_are_offered_are_those_that_load(project: Path) -> None:
    assert set(complete_cards("")) == set(load_cards())
    assert offered("agenttts optimize tiny --planner mine") == ["mine"]


def test_runs_and_plans_are_offered_where_they_are_meant(project: Path) -> None:
    assert offered("agenttts diagnose tiny") == ["tiny-1", "tiny-2"]
    assert "runs/tiny-2" in offered("agenttts evaluate runs/ti")
    assert offered("agenttts evaluate runs/tiny-1") == ["runs/tiny-1/"], "a folder to go into: it has no plan"
    assert "runs/tiny-1" in offered("agenttts optimize runs/t")


def test_the_last_name_of_a_list_is_completed_and_none_is_offered_twice(project: Path) -> None:
    assert offered("agenttts compare tiny --allocators curves,c") == ["curves,cmaes"]
    assert complete_listed(complete_cards)("mine,my")[-1:] == ["mine,my own"]


def test_files_are_offered_for_problems(project: Path) -> None:
    for name in ("rows.jsonl", "rows.csv", "rows.txt"):
        (project / name).touch()
    assert offered("agenttts init ro") == ["rows.csv", "rows.jsonl"]
    assert offered("agenttts init rows.jsonl --answer n") == ["number"]


def test_what_cannot_be_read_offers_nothing_and_says_nothing(project: Path) -> None:
    (project / "budgets" / "models" / "bad.yaml").write_bytes(b"\xff\xfe models: [")
    assert offered("agenttts optimize tiny --planner mine") == ["mine"]
    assert complete_tasks("/nowhere/at/all/") == []
    assert complete_tasks("~nobody-of-this-name/") == []


def test_a_key_press_is_answered_quickly(project: Path) -> None:
    def took(command: list[str], **environment: str) -> float:
        before = time.perf_counter()
        subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)
        return time.perf_counter() - before

    asked = {"_AGENTTTS_COMPLETE": "complete_bash", "COMP_WORDS": "agenttts optimize t", "COMP_CWORD": "2"}
    base = [sys.executable, "-c", "import typer"]
    took([str(SCRIPT)], **asked)
    pairs = [(took([str(SCRIPT)], **asked), took(base)) for _ in range(7)]
    assert statistics.median(ours / theirs for ours, theirs in pairs) < 5, pairs


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_can_be_shown_and_installed(tmp_path: Path, shell: str) -> None:
    # Without this variable the shell is the one that the process was started from.
    environment = {
        **os.environ,
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
        "HOME": str(tmp_path),
    }
    shown = subprocess.run(
        [SCRIPT, "--show-completion", shell], env=environment, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert f"_AGENTTTS_COMPLETE=complete_{shell}" in shown.stdout
    done = subprocess.run(
        [SCRIPT, "--install-completion", shell], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert f"_AGENTTTS_COMPLETE=complete_{shell}" in written


def test_bash_itself_completes(project: Path) -> None:
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [SCRIPT, "--show-completion", "bash"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    line = (
        f"{script}\nCOMP_WORDS=(agenttts optimize time); COMP_CWORD=2; "
        '_agenttts_completion agenttts; echo "${COMPREPLY[@]}"'
    )
    path = f"{SCRIPT.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "timetables", done.stderr
