"""`agenttts report`, and the page that `agenttts optimize` ends with."""

from __future__ import annotations

import csv
import json
import os
import time
import webbrowser
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agenttts.cli import app
from agenttts.study.study import Study
from tests.report.browsing import looked_at
from tests.test_cli_compare import ALLOCATORS, compare


def agenttts(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def optimize(task: Path, name: str, *more: str) -> Result:
    done = agenttts("optimize", task, "--allocator", "random", "--trials", "6", "--run", name, *more)
    assert done.exit_code == 0, done.stderr
    return done


def test_a_search_ends_with_its_page_and_names_it(recorded_task: Path):
    done = optimize(recorded_task, "first")
    page = Path("runs/first/report.html")
    assert f"report       {page}" in done.stdout
    text = page.read_text()
    assert "sums: what to run within 0.6 GFLOPs a problem" in text
    assert "Figures come from recorded draws." in text
    assert f"report {page}" in agenttts("runs").stdout
    assert json.loads(agenttts("runs", "--json").stdout)["runs"][0]["report"] == str(page)
    assert json.loads(agenttts("optimize", "runs/first", "--json").stdout)["report"] == str(page)


def test_a_finished_run_keeps_its_page_and_one_that_went_on_gets_another(recorded_task: Path):
    optimize(recorded_task, "first")
    page = Path("runs/first/report.html")
    page.write_text("kept")
    optimize(recorded_task, "first")
    assert page.read_text() == "kept"
    later = time.time() + 5
    os.utime("runs/first/events.jsonl", (later, later))
    optimize(recorded_task, "first")
    assert "what to run" in page.read_text()


def test_a_page_that_cannot_be_written_costs_no_result(recorded_task: Path):
    Path("runs/first/report.html").mkdir(parents=True)
    os.utime("runs/first/report.html", (0, 0))
    done = optimize(recorded_task, "first")
    assert "No report was written: runs/first/report.html cannot be written" in done.stderr
    assert "plan         runs/first/plan.yaml" in done.stdout
    assert "report       " not in done.stdout


def test_report_makes_the_page_again_and_prints_where_it_is(
    recorded_task: Path, monkeypatch: pytest.MonkeyPatch
):
    optimize(recorded_task, "first")
    page = Path("runs/first/report.html")
    page.unlink()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    done = agenttts("report", "first", "--open")
    assert done.stdout == f"{page}\n"
    assert opened == [page.resolve().as_uri()]
    assert page.stat().st_size > 500_000
    elsewhere = agenttts("report", "runs/first", "--out", "mine.html")
    assert elsewhere.stdout == "mine.html\n"
    assert Path("mine.html").read_text() == page.read_text()


def test_facts_for_machines_are_those_of_the_page(recorded_task: Path):
    optimize(recorded_task, "first")
    told = json.loads(agenttts("report", "first", "--json").stdout)
    best = Study.open(Path("runs/first")).result()
    assert told["answer"]["winner"] == best.best.number
    assert told["answer"]["score"]["mean"] == pytest.approx(best.confirmation.winner.mean, abs=1e-6)
    assert told["page"] == "runs/first/report.html"


def test_what_is_no_run_is_told_with_the_nearest_name(recorded_task: Path):
    optimize(recorded_task, "first")
    done = agenttts("report", "firt")
    assert done.exit_code == 2
    assert "Did you mean `runs/first`?" in done.stderr


def test_two_runs_stand_beside_each_other_paired_by_problem(recorded_task: Path, tmp_path: Path):
    optimize(recorded_task, "first")
    optimize(recorded_task, "second", "--seed", "5")
    done = agenttts("report", "first", "second")
    page = Path("runs/first/report-second.html")
    assert done.stdout == f"{page}\n"
    told = json.loads(agenttts("report", "first", "second", "--json").stdout)
    assert told["difference"]["n"] == 24
    assert told["differs"] == ["seed: 0 and 5"]
    questions = [
        "[...document.querySelectorAll('h2')].map(one => one.textContent)",
        "document.querySelectorAll('.js-plotly-plot').length",
        "document.body.innerText.includes('unseen problems that both answered: first minus second')",
        "document.querySelector('#courses-plot').data.map(one => one.name)",
    ]
    seen = looked_at(page.read_text(), tmp_path, questions, width=390)
    assert seen.answers[0] == ["Which is better", "Scores and costs", "Plans", "How the searches went"]
    assert seen.answers[1:] == [2, True, ["first: first (random, seed 0)", "second: second (random, seed 5)"]]
    assert seen.complaints == []


def test_a_comparison_gets_its_page_again_from_its_folder_alone(recorded_task: Path):
    done = compare(recorded_task, *ALLOCATORS, "--target", "0.05")
    assert done.returncode == 0, done.stderr
    page = Path("runs/cmp/compare.html")
    before = page.read_text()
    page.unlink()
    again = agenttts("report", "runs/cmp")
    assert again.exit_code == 0, again.stderr
    assert again.stdout == f"{page}\n"
    assert page.read_text() == before
    Path("runs/cmp/page.json").unlink()  # as of a version that kept none
    assert agenttts("report", "runs/cmp").exit_code == 0
    assert "within 0.01 of the best score" in page.read_text()


def test_true_scores_are_kept_for_the_page_of_a_comparison(recorded_task: Path):
    assert compare(recorded_task, *ALLOCATORS).returncode == 0
    logs = [Study.open(log.parent).state().archive for log in Path("runs/cmp").glob("*/*/events.jsonl")]
    with Path("truth.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["allocation", "score"])
        for allocation in {trial.allocation for archive in logs for trial in archive.trials}:
            rows.writerow([json.dumps(allocation.to_json()), 0.5])
    assert compare(recorded_task, *ALLOCATORS, "--truth", "truth.csv").returncode == 0
    before = Path("runs/cmp/compare.html").read_text()
    told = json.loads(agenttts("report", "runs/cmp", "--json").stdout)
    assert told["comparison"]["truth_known"]
    assert Path("runs/cmp/compare.html").read_text() == before


def test_a_folder_of_a_comparison_that_a_newer_version_wrote_is_refused(recorded_task: Path):
    assert compare(recorded_task, *ALLOCATORS).returncode == 0
    kept = Path("runs/cmp/page.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "format": 99}))
    done = agenttts("report", "runs/cmp")
    assert done.exit_code == 2
    assert "written by a newer agenttts" in done.stderr


def test_a_search_that_came_to_nothing_has_a_page_that_says_how_to_go_on(recorded_task: Path, tmp_path: Path):
    done = agenttts(
        "optimize", recorded_task, "--search-budget", "0.01", "--run", "poor", "--allocator", "random"
    )
    assert done.exit_code == 3, done.stderr
    questions = [
        "document.querySelector('.verdict').textContent",
        "document.querySelectorAll('section').length",
    ]
    seen = looked_at(Path("runs/poor/report.html").read_text(), tmp_path, questions)
    assert seen.answers[0].startswith(
        "There is nothing to run yet: no allocation within 0.6 GFLOPs a problem has a score."
    )
    assert seen.answers[1] == 9
    assert seen.complaints == []
