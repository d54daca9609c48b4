"""The same task in-process, and over HTTP by `openai` and by `litellm`: same draws, same costs, same decision."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.counting_server import counting_server

OPTIONS = [
    "--budget",
    "0.2",
    "--trials",
    "6",
    "--search-problems",
    "12",
    "--seed",
    "3",
    "--no-confirm",
    "--json",
]


def optimize(folder: Path, *extra: str, check: bool = True) -> dict[str, Any]:
    """Run the command line in `folder` and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "agenttts", "optimize", "tiny", *OPTIONS, *extra],
        cwd=folder,
        env={**os.environ, "OPENAI_API_KEY": "unused"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def events(folder: Path) -> list[dict[str, Any]]:
    """Return the event log of the one run below `folder`."""
    (log,) = folder.glob("runs/*/events.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def trials(folder: Path) -> list[dict[str, Any]]:
    """Return what each trial was, scored and was charged, in the order of their numbers."""
    found = [event["trial"] for event in events(folder) if event["event"] == "trial"]
    kept = ("number", "allocation", "scores", "charged", "lengths", "sample_scores")
    return sorted(({key: trial[key] for key in kept} for trial in found), key=lambda trial: trial["number"])


@pytest.mark.parametrize("source", ["openai", "litellm"])
def test_http_gives_the_same_study_as_in_process(tmp_path: Path, source: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    inside = optimize(here)
    with counting_server() as server:
        outside = optimize(there, "--endpoint", server.url, "--source", source)
        n_draws = sum(server.draws.values())
    assert trials(there) == trials(here)
    assert outside["plan"]["allocation"] == inside["plan"]["allocation"]
    assert n_draws == outside["n_paid"] == inside["n_paid"]
