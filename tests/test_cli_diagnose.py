"""`agenttts diagnose`: what it says of a run, and where there is nothing to say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def run(recorded_task: Path) -> Path:
    """A finished run on recorded draws."""
    settings = ("--allocator", "random", "--trials", "6", "--no-confirm", "--run", "first")
    done = agenttts("optimize", recorded_task, *settings)
    assert done.exit_code == 0, done.stderr
    return Path("runs/first")


def test_a_run_on_recorded_draws_is_diagnosed_by_name_and_by_folder(run: Path):
    by_name, by_folder = agenttts("diagnose", "first"), agenttts("diagnose", run)
    assert by_name.exit_code == 0, by_name.stderr
    assert by_name.stdout == by_folder.stdout
    text = words(by_name.stdout)
    assert "The plan is trial" in text
    assert "Figures come from recorded draws." in text
    assert "limited by" in text


def test_the_figures_for_machines_are_those_of_the_log(run: Path):
    found = json.loads(agenttts("diagnose", run, "--json").stdout)
    best = found["plan"][-1]
    log = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    trial = next(e["trial"] for e in log if e["event"] == "trial" and e["trial"]["number"] == found["best"])
    samples = trial["sample_scores"]["answer"].values()
    assert best["stage"] == "answer"
    assert best["coverage"]["mean"] == pytest.approx(sum("1" in s for s in samples) / len(samples))
    assert best["single"]["mean"] == pytest.approx(sum(s.count("1") / len(s) for s in samples) / len(samples))
    assert found["figures_from"] == "Figures come from recorded draws."
    assert {cell["model"] for cell in found["cells"]} <= {"rec/small", "rec/large"}


def test_the_page_is_written_where_it_is_asked_for(run: Path, tmp_path: Path):
    done = agenttts("diagnose", run, "--out", tmp_path / "new" / "page.html", "--json")
    assert json.loads(done.stdout)["page"] == str(tmp_path / "new" / "page.html")
    text = (tmp_path / "new" / "page.html").read_text()
    assert "<h2>Ways to select</h2>" in text
    assert "Figures come from recorded draws." in text


def test_a_run_on_tiny_models_sets_its_verifier_against_vote_and_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    settings = ("--trials", "6", "--search-problems", "12", "--no-confirm", "--no-racing", "--run", "tiny")
    made = agenttts("optimize", "tiny", "--budget", "0.2", "--allocator", "random", *settings)
    assert made.exit_code == 0, made.stderr
    done = agenttts("diagnose", "tiny")
    assert done.exit_code == 0, done.stderr
    assert "Figures come from tiny models" in words(done.stdout)
    found = json.loads(agenttts("diagnose", "tiny", "--json").stdout)
    ways = [way for cell in found["cells"] for way in cell["ways"]]
    verified = [way for way in ways if "tiny_prm" in way["label"] and way["n_samples"] > 1]
    assert verified
    for way in verified:
        assert way["verifier"]["oracle"]["mean"] >= way["verifier"]["verifier"]["mean"] - 1e-9
    for way in ways:
        assert way["coverage"]["mean"] >= way["selected"]["mean"] - 1e-9
    assert all(cell["runaway"]["n_samples"] > 0 for cell in found["cells"])


def test_ways_that_stop_early_and_ways_that_search_are_told_apart_from_parallel_draws(recorded_task: Path):
    mark = "verifier: {kind: regex, pattern: '1'}"
    ways = f"select: [majority, adaptive_vote, {{kind: tree, {mark}}}]"
    text = recorded_task.read_text().replace("n_samples: [1, 2, 4]", "n_samples: [1]")
    answer = f"models: [rec/large]\n    n_samples: [4]\n    {ways}"
    recorded_task.write_text(text.replace("models: [rec/small, rec/large]\n    n_samples: [1, 4, 8]", answer))
    settings = ("--allocator", "grid", "--trials", "12", "--no-confirm", "--no-racing", "--run", "ways")
    done = agenttts("optimize", recorded_task, "--budget", "9000tokens", *settings)
    assert done.exit_code == 0, done.stderr
    found = json.loads(agenttts("diagnose", "ways", "--json").stdout)
    told = {way["label"]: way for cell in found["cells"] for way in cell["ways"] if way["stage"] == "answer"}
    assert told["adaptive_vote"]["beside"]["trial"] == told["majority"]["trial"]
    assert told["adaptive_vote"]["coverage"]["mean"] == told["majority"]["coverage"]["mean"]
    assert told["adaptive_vote"]["beside"]["drawn"] < 4
    assert [way["label"] for way in found["apart"]] == ["tree(regex)"]
    said = words(agenttts("diagnose", "ways", "--out", "page.html").stdout)
    assert "Ways that are in no table" in said
    assert "some of its samples are refined from others" in said
    page = Path("page.html").read_text()
    assert "<h2>Ways that are in no table</h2>" in page
    assert "some of its samples are refined from others" in page


def test_an_unknown_run_is_told_with_the_nearest_name(run: Path):
    done = agenttts("diagnose", "frist")
    assert done.exit_code == 2
    assert "there is no such run" in done.stderr
    assert "Did you mean `runs/first`?" in done.stderr
    assert "`agenttts runs` lists what there is" in agenttts("diagnose", "zzz").stderr


def test_a_run_without_a_finished_trial_says_so(recorded_task: Path):
    stopped = agenttts(
        "optimize", recorded_task, "--search-budget", "8", "--run", "cut", "--allocator", "random"
    )
    assert stopped.exit_code == 3, stopped.stdout
    done = agenttts("diagnose", "cut")
    assert done.exit_code == 2
    assert "no trial has finished yet. Go on with the run first: agenttts optimize runs/cut" in words(
        done.stderr
    )


def test_a_run_of_which_too_many_problems_failed_says_so(recorded_task: Path):
    text = recorded_task.read_text().replace(
        "score: {stage: answer",
        "  last:\n    needs: [answer]\n    function: steps.py:last\nscore: {stage: last",
    )
    recorded_task.write_text(text)
    (recorded_task.parent / "steps.py").write_text(
        "def last(problem, answers):\n"
        "    if problem['id'] < 'p005':\n"
        "        raise ValueError('no')\n"
        "    return answers['answer']\n"
    )
    agenttts("optimize", recorded_task, "--allocator", "random", "--trials", "2", "--trust", "--run", "bad")
    done = agenttts("diagnose", "bad")
    assert done.exit_code == 2
    assert "none of the 2 trials has a score that means something: too many problems failed" in words(
        done.stderr
    )
