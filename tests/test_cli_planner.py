"""The planner on the command line: named by card, quoted, capped, shown escaped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.models.local_server import completion, local_server

INSIGHT = "Large models first \x1b[31m<b>now</b>\u202e."


def agenttts(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agenttts", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env=os.environ,
        check=False,
    )


def write_card(folder: Path, url: str, *, price: bool = False, parameters: bool = False) -> None:
    cards = folder / "budgets" / "models"
    cards.mkdir(parents=True, exist_ok=True)
    more = "    price: {input_per_million_usd: 2, output_per_million_usd: 8}\n" if price else ""
    more += "    parameters: 7.0e+9\n" if parameters else ""
    (cards / "mine.yaml").write_text(
        f"format: 1\nmodels:\n  adviser:\n    source: openai\n    base_url: {url}\n    max_attempts: 1\n{more}"
    )


def advice(body: dict) -> dict:
    reply = {
        "insights": [{"text": INSIGHT, "trials": [0, 2], "confidence": 0.7}],
        "sketches": [],
        "allocations": [],
    }
    return completion(body, contents=[json.dumps(reply)])


def test_insights_and_the_planner_s_bill_are_shown_escaped(tmp_path: Path, recorded_task: Path):
    with local_server(always=advice) as server:
        write_card(tmp_path, server.url)
        command = ["optimize", recorded_task, "--planner", "adviser", "--trials", "10", "--run", "mine"]
        done = agenttts(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        asked = len(server.bodies)
        assert asked > 0
        again = agenttts(*command, "--json", cwd=tmp_path)
        assert len(server.bodies) == asked
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    text = " ".join(done.stdout.split())
    assert f"planner adviser: {asked} calls; tokens {7 * asked} read, {3 * asked} written" in text
    assert "insights Large models first" in text
    assert "(trials 0, 2; 70% sure, it says)" in text
    assert "no proposal of the planner could be used" in text
    assert "The planner adviser is asked at most 6 times" in " ".join(done.stderr.split())
    result = json.loads(again.stdout)
    assert result["planner"]["calls"] == asked
    assert result["insights"][0]["trials"] == [0, 2]


def test_a_planner_that_costs_money_is_agreed_to_first(tmp_path: Path, recorded_task: Path):
    with local_server(always=advice) as server:
        write_card(tmp_path, server.url, price=True)
        done = agenttts("optimize", recorded_task, "--planner", "adviser", cwd=tmp_path)
        assert not server.bodies
    assert done.returncode == 2
    assert "for the planner" in " ".join(done.stderr.split())


def test_what_the_planner_options_cannot_mean_is_an_input_error(tmp_path: Path, recorded_task: Path):
    for options, said in [
        (["--allocator", "agent"], "--planner"),
        (["--planner", "rec/larg"], "Did you mean `rec/large`"),
        (["--planner", "rec/large", "--switch", "x"], "expected NAME=VALUE"),
    ]:
        done = agenttts("optimize", recorded_task, *options, cwd=tmp_path)
        assert done.returncode == 2, options
        assert said in " ".join(done.stderr.split()), done.stderr
    assert not list(tmp_path.glob("runs/*/events.jsonl"))


def test_trials_that_the_opening_takes_and_a_cap_below_one_call_are_told_up_front(
    tmp_path: Path, recorded_task: Path
):
    with local_server(always=advice) as server:
        write_card(tmp_path, server.url)
        command = ["optimize", recorded_task, "--planner", "adviser", "--planner-timeout", "5"]
        few = agenttts(*command, "--trials", "4", "--run", "few", cwd=tmp_path)
        capped = agenttts(*command, "--planner-budget", "50tokens", "--run", "capped", cwd=tmp_path)
        assert not server.bodies
    assert "not asked: the opening takes all 4 trials" in " ".join(few.stderr.split())
    said = " ".join(capped.stderr.split())
    assert "one call may need about" in said
    assert "asking the planner adviser (for 5 s at most)" in said
