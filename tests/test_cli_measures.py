"""Test stages and measures from task.yaml to what `check`, `optimize` and `evaluate` print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from agenttts.cli import app

PROBE = """\
  probe:
    needs: [think]
    test: {stage: think, verifier: {kind: regex, pattern: '\\d\\d?'}}
  answer:
    needs: [think, probe]
    when: {stage: probe, measure: score, below: [0, 1]}
"""
MEASURES = """\
measures:
  same: {verifier: numeric, gold: answer}
  first: {stage: think, verifier: numeric, gold: answer}
  untested: {verifier: {kind: code, tests: answer}}
budget: {"""


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def task(recorded_task: Path) -> Path:
    """What has more than two digits is asked for again."""
    text = recorded_task.read_text()
    text = text.replace("  answer:\n    needs: [think]\n", PROBE).replace("budget: {", MEASURES)
    recorded_task.write_text(text)
    return recorded_task


@pytest.fixture
def found(task: Path) -> dict[str, Any]:
    done = agenttts("optimize", task, "--allocator", "random", "--trials", "4", "--budget", "9", "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_check_tells_the_test_and_the_measures(task: Path) -> None:
    done = agenttts("check", task)
    assert done.exit_code == 0, done.output
    assert "  test      regex of the answer of stage think" in done.stdout
    assert "where the score of probe is below 0 or 1" in done.stdout
    assert "  measure   first: numeric on stage think against answer" in done.stdout


def test_measures_of_the_winner_stand_beside_its_score(found: dict[str, Any]) -> None:
    confirmed = found["confirmation"]
    measures, stages = confirmed["winner_measures"], confirmed["winner_stages"]
    kept = ("mean", "low", "high", "n", "confidence", "method")
    assert {key: measures["same"][key] for key in kept} == confirmed["winner"]
    assert list(stages) == ["think"]
    assert measures["first"] == stages["think"]
    assert (measures["untested"]["mean"], measures["untested"]["n"]) == (None, 0)
    assert measures["untested"]["n_unscored"] == confirmed["n"] == 24
    assert "answer" in measures["untested"]["because"]
    plan = yaml.safe_load(Path(found["plan"]["path"]).read_text())
    assert plan["measured"]["measures"] == measures


def test_the_pilot_learns_how_often_a_test_fails_and_no_trial_takes_measures(found: dict[str, Any]) -> None:
    events = [json.loads(line) for line in (Path(found["run"]) / "events.jsonl").read_text().splitlines()]
    ratings = next(event["ratings"] for event in events if event["event"] == "pilot")
    assert {(stage, model) for stage, model, _ in ratings} == {
        ("answer", "rec/small"),
        ("answer", "rec/large"),
    }
    assert {value for _, _, by_problem in ratings for value in by_problem.values()} == {0.0, 1.0}
    trials = [event["trial"] for event in events if event["event"] == "trial"]
    assert len(trials) == 4
    assert not [trial for trial in trials if trial.get("measures")]


def test_evaluate_tells_them_too_and_a_second_look_pays_nothing(found: dict[str, Any]) -> None:
    told = json.loads(agenttts("evaluate", found["plan"]["path"], "--json").stdout)
    confirmed = found["confirmation"]
    assert told["measures"] == confirmed["winner_measures"]
    assert told["stages"] == confirmed["winner_stages"]
    assert told["n_paid"] == 0


def test_people_read_them_with_intervals_and_what_has_no_score(task: Path) -> None:
    done = agenttts("optimize", task, "--allocator", "random", "--trials", "2", "--budget", "9")
    words = " ".join(done.stdout.split())
    assert "beside it same 0." in words
    assert "untested no score; 24 problems unscored, the first because" in words
    assert "stage think 0." in words
    plan = next(part for part in words.split() if part.endswith("plan.yaml"))
    again = " ".join(agenttts("evaluate", plan).stdout.split())
    assert "beside it same 0." in again
    assert again.count("beside it") == 1
    assert "untested no score; 24 problems unscored" in again


def test_a_plan_without_measures_reads_as_before(recorded_task: Path) -> None:
    done = agenttts("optimize", recorded_task, "--allocator", "random", "--trials", "2", "--json")
    plan = yaml.safe_load(Path(json.loads(done.stdout)["plan"]["path"]).read_text())
    assert "measures" not in plan["measured"]
