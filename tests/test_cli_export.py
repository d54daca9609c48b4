"""`agenttts export`: what it writes of a finished run, read back by the tools that it is for."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

import agenttts as package
from agenttts.cli import app
from tests.terminal import slow_models

SEARCH = ("--allocator", "random", "--trials", "6", "--run", "first")


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def run(recorded_task: Path) -> Path:
    done = agenttts("optimize", recorded_task, *SEARCH)
    assert done.exit_code == 0, done.stderr
    return Path("runs/first")


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def drawn(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_the_trials_are_those_of_the_log_in_every_format(run: Path) -> None:
    for name in ("t.csv", "t.parquet", "t.jsonl"):
        done = agenttts("export", "first", "--trials", name)
        assert done.exit_code == 0, done.stderr
        assert f"6 trials: {name}" in done.stdout
    trials = [event["trial"] for event in log(run) if event["event"] == "trial"]
    trials.sort(key=lambda trial: int(trial["number"]))
    frames = [
        pd.read_csv("t.csv"),
        pd.read_parquet("t.parquet"),
        pd.read_json("t.jsonl", lines=True),
        package.Run.load("first").trials(),
    ]
    for frame in frames:
        assert frame["number"].tolist() == list(range(6))
        assert frame["n_paid"].tolist() == [trial["n_paid"] for trial in trials]
        assert frame["charged"].tolist() == pytest.approx([trial["charged"] for trial in trials])
        assert frame["answer.n_samples"].tolist() == [t["allocation"][1]["n_samples"] for t in trials]
        score = [sum(trial["scores"].values()) / len(trial["scores"]) for trial in trials]
        assert frame["score"].tolist() == pytest.approx(score)
    assert set(frames[-1].columns) == set(package.Run.load(run).columns)
    assert frames[-1]["finished_at"].notna().all()


def test_a_plan_as_json_is_the_plan(run: Path) -> None:
    assert agenttts("export", run, "--plan", "p.json").exit_code == 0
    json.loads(Path("p.json").read_text())
    plans = [
        package.Plan.load("p.json"),
        package.Plan.load(run / "plan.yaml"),
        package.Run.load("first").plan(),
    ]
    assert [plan.to_yaml() for plan in plans] == [(run / "plan.yaml").read_text()] * 3
    assert agenttts("evaluate", "p.json", "--n", "2").exit_code == 0


def test_the_draws_are_all_that_were_paid_and_nothing_of_other_runs(run: Path, recorded_task: Path) -> None:
    with sqlite3.connect("runs/samples.sqlite") as store:
        own = set(store.execute("select stream_key, idx from samples"))
    other = agenttts("optimize", recorded_task, *SEARCH[:3], "40", "--seed", "3", "--run", "other")
    assert other.exit_code == 0, other.stderr
    done = agenttts("export", "first", "--draws", "d.jsonl", "--json")
    assert done.exit_code == 0, done.stderr
    draws = drawn("d.jsonl")
    assert [(d["stream"], d["index"]) for d in draws] == list({(d["stream"], d["index"]): d for d in draws})
    assert {(d["stream"], d["index"]) for d in draws} == own
    assert json.loads(done.stdout)["draws"] == {
        "path": "d.jsonl",
        "n": len(own),
        "n_verifier_calls": 0,
        "n_missing": 0,
    }
    assert len(own) == next(event["n_paid"] for event in log(run) if event["event"] == "ended")
    draw = next(d for d in draws if d["stage"] == "answer" and d["use"] == "trial")
    assert draw["messages"][0]["content"].startswith("What is ")
    assert draw["text"].startswith("It is ")
    assert draw["usage"]["decode_tokens"] == 5
    assert draw["sampling"]["max_tokens"] == 20
    assert {d["use"] for d in draws} == {"pilot", "trial", "confirmation"}


def test_draws_of_a_live_endpoint_hold_no_key_and_nothing_is_asked_for_them(
    recorded_task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow_models(recorded_task) as environment:
        monkeypatch.setenv("OPENAI_API_KEY", environment["OPENAI_API_KEY"])
        done = agenttts(
            "optimize", recorded_task, "--allocator", "random", "--trials", "2", "--run", "first", "--yes"
        )
        assert done.exit_code == 0, done.stderr
    monkeypatch.delenv("OPENAI_API_KEY")  # and the server is gone: the store alone is read
    done = agenttts("export", "first", "--draws", "d.jsonl", "--json")
    assert done.exit_code == 0, done.stderr
    with sqlite3.connect("runs/samples.sqlite") as store:
        (held,) = store.execute("select count(*) from samples").fetchone()
    assert json.loads(done.stdout)["draws"] == {
        "path": "d.jsonl",
        "n": held,
        "n_verifier_calls": 0,
        "n_missing": 0,
    }
    text = Path("d.jsonl").read_text()
    assert environment["OPENAI_API_KEY"] not in text
    assert drawn("d.jsonl")[0]["endpoint"].startswith("http://127.0.0.1:")


def test_completions_and_calls_of_verifiers_are_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search = (*SEARCH[:3], "10", "--search-problems", "4", "--no-confirm", "--run", "fair")
    done = agenttts("optimize", "tiny", *search)
    assert done.exit_code == 0, done.stderr
    done = agenttts("export", "fair", "--draws", "d.jsonl")
    asked = [draw["purpose"] == "verify" for draw in drawn("d.jsonl")]
    assert 0 < sum(asked) < len(asked)
    wrote = f"{len(asked) - sum(asked):,} completions and {sum(asked):,} calls of verifiers: d.jsonl"
    assert wrote in words(done.stdout)
    paid = next(event["n_paid"] for event in log(Path("runs/fair")) if event["event"] == "ended")
    assert paid == len(asked) - sum(asked)


def test_draws_that_the_store_has_lost_are_counted(run: Path) -> None:
    with sqlite3.connect("runs/samples.sqlite") as store:
        store.execute("delete from samples where idx > 0")
    done = agenttts("export", "first", "--draws", "d.jsonl", "--json")
    found = json.loads(done.stdout)["draws"]
    assert found["n"] == len(drawn("d.jsonl")) > 0
    assert found["n_missing"] > 0


@pytest.mark.parametrize(
    ("store", "said"),
    [("memory:", "kept its draws in memory"), ("sqlite:///gone.sqlite", "gone.sqlite, which is gone")],
)
def test_draws_that_are_gone_altogether_are_an_error(recorded_task: Path, store: str, said: str) -> None:
    assert agenttts("optimize", recorded_task, *SEARCH, "--store", store).exit_code == 0
    for path in Path().glob("gone.sqlite*"):
        path.unlink()
    done = agenttts("export", "first", "--draws", "d.jsonl")
    assert done.exit_code == 2
    assert said in words(done.stderr)
    assert not Path("gone.sqlite").exists()
    assert not Path("d.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to export: give --trials FILE"),
        (["--study-name", "x"], "give --optuna STORAGE with it"),
        (["--trials", "t.xls"], "end it in .csv, .jsonl or .parquet"),
        (["--plan", "p.txt"], "end it in .json, .yaml or .yml"),
    ],
)
def test_what_cannot_be_exported_is_told(run: Path, options: list[str], said: str) -> None:
    done = agenttts("export", "first", *options)
    assert done.exit_code == 2
    assert said in words(done.stderr)


def test_a_run_without_a_plan_has_none_to_export(recorded_task: Path) -> None:
    done = agenttts("optimize", recorded_task, *SEARCH, "--search-budget", "0.1")
    assert done.exit_code == 3
    done = agenttts("export", "first", "--plan", "p.json")
    assert done.exit_code == 2
    assert "has no plan (yet)" in words(done.stderr)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _asked(url: str, timeout_s: float = 60.0) -> Any:
    """Return the JSON at an address, once the server there has started."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310
                return json.loads(reply.read())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_optuna_dashboard_shows_the_study(run: Path) -> None:
    done = agenttts("export", "first", "--optuna", "sqlite:///study.db", "--study-name", "mine")
    assert done.exit_code == 0, done.stderr
    assert "6 trials as the study mine" in done.stdout
    port = _free_port()
    command = [sys.executable, "-m", "optuna_dashboard._cli", "sqlite:///study.db", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        (study,) = _asked(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
        assert study["study_name"] == "mine"
        assert study["directions"] == ["maximize"]
        shown = _asked(f"http://127.0.0.1:{port}/api/studies/{study['study_id']}?after=0")
    finally:
        server.terminate()
        server.wait(10)
    frame = package.Run.load("first").trials()
    assert [trial["number"] for trial in shown["trials"]] == list(range(6))
    assert [trial["state"] for trial in shown["trials"]] == [
        {"ok": "Complete", "over_budget": "Complete", "stopped": "Pruned", "invalid": "Fail"}[status]
        for status in frame["status"]
    ]
    assert [float(trial["values"][0]) for trial in shown["trials"] if trial["state"] == "Complete"] == (
        pytest.approx([row.score for row in frame.itertuples() if row.status in {"ok", "over_budget"}])
    )
    assert {p["name"] for p in shown["trials"][0]["params"]} >= {"think.model", "answer.n_samples"}
    assert any(attribute["key"] == "charged" for attribute in shown["trials"][0]["user_attrs"])
