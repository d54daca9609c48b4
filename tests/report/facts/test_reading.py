"""Facts of whole runs: a real one of the tiny family, one of an older version, one that was cut off, a long one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agenttts.errors import RunError
from agenttts.report.facts import RunFacts, facts_of
from agenttts.report.facts.money import stage_money
from agenttts.report.facts.record import read_run
from agenttts.study.events import EventLog
from agenttts.testing.runs import write_simulated_run

LOGS = Path(__file__).parent / "logs"
OLD = Path(__file__).parents[2] / "study" / "logs" / "before_verifier_scores.jsonl"


def folder_of(log: Path, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(log, folder / "events.jsonl")
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return facts_of(folder_of(LOGS / "tiny.jsonl", tmp_path_factory.mktemp("tiny") / "run"))


def test_figures_of_the_tiny_family_say_so(tiny):
    assert tiny.head.sources == ("tiny",)
    assert "say nothing about large models" in tiny.head.provenance
    assert all(model.source == "tiny" for model in tiny.head.models)
    assert (tiny.head.task, tiny.head.n_trials, tiny.head.n_problems) == ("tiny", 10, 12)


def test_a_real_run_is_told_from_its_log_alone(tiny):
    """Its store and the folder of its task are gone; its problems are found by name in the catalogue."""
    answer = tiny.answer
    assert (answer.winner, answer.runner_up, answer.split) == (4, 5, "test")
    assert (answer.score.mean, answer.score.n) == (0.75, 20)
    assert answer.difference.verdict == "not distinguishable"
    assert "is not there" in tiny.rollouts.why_none
    assert "How many coins now?" in tiny.problems[0].text


def test_a_stage_with_a_verifier_pays_for_it_in_a_share_of_its_own(tmp_path):
    record = read_run(folder_of(LOGS / "tiny.jsonl", tmp_path / "run"))
    trials = record.archive.trials
    told = {trial.number: stage_money(trial, record.unit, record.cost_model) for trial in trials}
    verified = [share for share in told[9].shares if share.purpose == "verify"]
    assert [(share.stage, share.model, share.decode) for share in verified] == [("solve", "tiny/prm", 0)]
    for money in told.values():
        assert money.exact
        assert sum(share.total for share in money.shares) == pytest.approx(money.total)


def test_points_of_the_frontier_are_trials_with_what_they_lose_and_save(tiny):
    numbers = {trial.number: trial for trial in tiny.trials}
    assert [point.charged for point in tiny.frontier] == sorted(point.charged for point in tiny.frontier)
    for point in tiny.frontier:
        assert numbers[point.trial].standing == point.standing
        assert (point.behind_winner is None) == (point.trial == tiny.answer.winner)


def test_facts_are_plain_data(tiny):
    data = tiny.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["answer"]["difference"]["verdict"] == "not distinguishable"
    assert data["head"]["budget"] == {"amount": 0.2, "unit": "gflops"}
    assert data["answer"]["allocation"][0] == {
        "stage": "translate",
        "model": "tiny/m",
        "n_samples": 4,
        "select": "majority",
    }


def test_a_log_of_an_older_version_is_told_as_far_as_it_goes(tmp_path):
    facts = facts_of(folder_of(OLD, tmp_path / "run"))
    assert facts.trials
    assert facts.answer.winner is not None
    assert not any(money.exact for money in facts.money.trials)
    assert all(step.after_s is None for step in facts.course.steps)
    assert all(problem.text == "" for problem in facts.problems)  # its data were never kept
    assert facts.rollouts.why_none == "the search problems cannot be read any more"


@pytest.mark.parametrize("n_lines", [1, 2, 3, 5, 9])
def test_a_run_that_was_cut_off_anywhere_is_told(tmp_path, n_lines):
    folder = folder_of(LOGS / "tiny.jsonl", tmp_path / "run")
    log = folder / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:n_lines]) + lines[n_lines][:50])
    facts = facts_of(folder)
    assert facts.head.status == "interrupted"
    assert len(facts.trials) == sum('"event":"trial"' in line for line in lines[:n_lines])
    assert bool(facts.budgets.points) == bool(facts.trials)
    json.dumps(facts.to_json(), allow_nan=False)


def test_a_run_that_is_in_work_says_so(tmp_path):
    folder = folder_of(LOGS / "tiny.jsonl", tmp_path / "run")
    lines = (folder / "events.jsonl").read_text().splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(lines[:6]))
    log = EventLog(folder)
    try:
        assert facts_of(folder).head.status == "running"
    finally:
        log.close()
    assert facts_of(folder).head.status == "interrupted"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        facts_of(tmp_path)


def test_a_simulated_run_says_so_and_is_read_back(tmp_path):
    facts = facts_of(write_simulated_run(tmp_path, n_trials=30, n_problems=20, n_unseen=10).folder)
    assert facts.head.sources == ("simulated",)
    assert "A simulation says nothing about real models." in facts.head.provenance
    assert facts.rollouts.n_read == facts.rollouts.n_asked == 24
    assert len(facts.course.rounds) == 8
    assert facts.course.rounds[1].insights[0].trials == (3,)
    purposes = {share.purpose for money in facts.money.trials for share in money.shares}
    assert purposes == {"draw", "fusion"}
