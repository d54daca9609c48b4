"""`agenttts compare`, started as users start it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agenttts.study.comparison_workers import WorkerReport
from agenttts.study.study import Study
from tests.integration.counting_server import counting_server
from tests.models.local_server import local_server
from tests.test_cli_planner import advice, write_card

ALLOCATORS = ["--allocators", "random,tpe", "--seeds", "3", "--trials", "4", "--jobs", "2", "--out", "cmp"]


def command(task: str | Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "agenttts", "compare", str(task), *arguments]


def compare(task: str | Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(task, *arguments),
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, **environment},
    )


def test_a_comparison_ends_with_table_verdict_bill_source_and_page(recorded_task):
    done = compare(recorded_task, *ALLOCATORS)
    assert done.returncode == 0, done.stderr
    out = " ".join(done.stdout.split())
    assert re.search(r"^random +3 +\d ", done.stdout, re.M)
    assert re.search(r"^random : tpe +not distinguishable", done.stdout, re.M)
    assert "cannot show any difference" in out
    assert re.search(r"Spent [\d.,]+ GFLOPs, had each study been alone; really paid [\d.,]+ GFLOPs", out)
    assert "Figures come from recorded draws" in out
    assert "study 6/6" in done.stderr
    for name in ("compare.html", "runs.csv", "curves.csv", "pairs.csv"):
        assert (Path("runs/cmp") / name).stat().st_size > 100


def test_json_is_all_there_is_on_standard_output(recorded_task):
    done = compare(recorded_task, *ALLOCATORS, "--json")
    result = json.loads(done.stdout)
    assert [one["name"] for one in result["comparison"]["allocators"]] == ["random", "tpe"]
    assert result["comparison"]["pairs"][0]["verdict"] == "not distinguishable"
    assert result["really_paid"]["flops"] < result["spent_as_if_alone"]["flops"]
    assert len(result["runs"]) == 6

    logs = [Study.open(Path(run["folder"])).state().archive for run in result["runs"]]
    with Path("truth.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["allocation", "score"])
        for allocation in {trial.allocation for archive in logs for trial in archive.trials}:
            rows.writerow([json.dumps(allocation.to_json()), 0.5])
    known = json.loads(compare(recorded_task, *ALLOCATORS, "--json", "--truth", "truth.csv").stdout)
    assert known["comparison"]["truth_known"]
    assert known["comparison"]["best_known"] == 0.5
    assert [one["n_reached"] for one in known["comparison"]["allocators"]] == [3, 3]


def test_a_terminal_is_shown_how_far_the_studies_are(recorded_task):
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from agenttts._cli.compare import _LiveReports
    from agenttts.study.comparison_opening import ComparisonRequest, prepare_comparison
    from agenttts.study.comparison_runs import outcomes

    folder = prepare_comparison(ComparisonRequest(task=recorded_task, allocators=["tpe"], n_trials=4))
    todo = outcomes(folder, ["tpe"], [0, 1], {})
    with Progress(TextColumn("{task.description}"), console=Console(file=io.StringIO())) as progress:
        reports = _LiveReports(progress, folder, 1, 3, todo)
        reports(WorkerReport("trial", "tpe", 0, 3))
        assert (progress.tasks[0].completed, progress.tasks[0].total) == (3, 8)
        reports(WorkerReport("failed", "tpe", 0, message="gone"))
        assert (progress.tasks[0].completed, progress.tasks[0].description) == (4, "2 of 3 studies, 1 failed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_is_ended_goes_on_and_its_workers_do_not_live_on(recorded_task, number):
    more = [*ALLOCATORS[:3], "6", *ALLOCATORS[4:]]
    process = subprocess.Popen(
        command(recorded_task, *more), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("study 2/12"):
            break
    process.send_signal(number)  # to the main process alone: it has to tell its workers
    rest = process.stderr.read()  # ends when the last worker has let go of it
    assert process.wait(60) == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "the same command goes on" in rest
    done = compare(recorded_task, *more)
    assert done.returncode == 0, done.stderr
    finished = re.findall(r"study (\d+)/12", done.stderr)
    assert 0 < len(finished) < 11
    assert "random        6" in done.stdout


def test_a_failed_study_is_named_and_the_exit_code_is_its_own(recorded_task):
    folder = Path("runs/cmp/random/seed-1")
    folder.mkdir(parents=True)
    (folder / "events.jsonl").write_text('{"format": 99, "event": "started"}\n')
    done = compare(recorded_task, *ALLOCATORS)
    assert done.returncode == 2
    assert "random, seed 1: " in done.stdout
    assert "written in format 99" in " ".join(done.stdout.split())
    assert re.search(r"^tpe +3 ", done.stdout, re.M)


def test_an_unknown_allocator_is_refused_before_anything_runs(recorded_task):
    done = compare(recorded_task, "--allocators", "tpf")
    assert done.returncode == 2
    assert "Did you mean `tpe`?" in done.stderr
    assert not Path("runs").exists()


def test_processes_that_draw_at_the_same_time_buy_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with counting_server(delay_s=0.02) as server:
        began = time.monotonic()
        done = compare(
            "tiny", "--allocators", "random,grid", "--seeds", "2", "--trials", "3", "--budget", "0.2",
            "--search-problems", "6", "--no-confirm", "--no-racing", "--jobs", "4", "--endpoint", server.url,
            "--json", OPENAI_API_KEY="unused",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 120
        assert max(server.draws.values()) == 1
    result = json.loads(done.stdout)
    tokens = [result[key]["decode_tokens"] for key in ("really_paid", "spent_as_if_alone")]
    assert 0 < tokens[0] < tokens[1]
    assert "tiny" in result["figures_from"]


def test_a_search_budget_that_ended_studies_is_told_and_gives_code_3(recorded_task):
    done = compare(recorded_task, *ALLOCATORS, "--search-budget", "3", "--no-confirm")
    assert done.returncode == 3
    out = " ".join(done.stdout.split())
    assert "6 of 6 studies ended at their search budget" in out
    assert "No study of random, tpe has a result" in out
    assert "random, seed 0: the search budget was reached before a trial had ended" in out


def test_a_planner_that_costs_money_is_agreed_to_before_a_comparison(recorded_task):
    with local_server(always=advice) as server:
        write_card(Path.cwd(), server.url, price=True, parameters=True)
        done = compare(recorded_task, "--allocators", "agent,random", "--seeds", "2", "--planner", "adviser")
        assert not server.bodies
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "A planner is asked by 2 of the studies" in said
    assert re.search(r"This will cost up to [\d.]+ USD for the planner\. Go on\? There is no terminal", said)


def test_ablations_are_named_in_brackets_and_the_planner_may_be_given_less_time(recorded_task):
    def slow(body: dict) -> dict:
        time.sleep(2)
        return advice(body)

    names = "agenttts,agenttts[no_insight1=true]"
    with local_server(always=slow) as server:
        write_card(Path(), server.url, parameters=True)
        done = compare(
            recorded_task, "--allocators", names, "--seeds", "1", "--trials", "12", "--no-confirm",
            "--planner", "adviser", "--planner-timeout", "0.2", "--json",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [run["allocator"] for run in result["runs"]] == names.split(",")
    logs = [(Path(run["folder"]) / "events.jsonl").read_text() for run in result["runs"]]
    assert all("no reply within 0.2 s" in log for log in logs)


def test_a_planner_whose_calls_cannot_be_counted_is_refused_before_anything_runs(recorded_task):
    with local_server(always=advice) as server:
        write_card(Path(), server.url)
        done = compare(recorded_task, "--allocators", "agent", "--seeds", "1", "--planner", "adviser")
        assert not server.bodies
    assert done.returncode == 2
    assert "models.adviser: add `parameters: <number>`" in " ".join(done.stderr.split())
    assert not Path("runs").exists()


def test_a_folder_of_another_comparison_is_refused_with_the_option_that_names_one(recorded_task):
    assert compare(recorded_task, "--allocators", "random", *ALLOCATORS[2:], "--no-confirm").returncode == 0
    done = compare(recorded_task, "--allocators", "random", *ALLOCATORS[2:])
    assert done.returncode == 2
    assert "Choose another folder (--out" in " ".join(done.stderr.split())


def test_a_truth_that_lacks_allocations_is_told_before_the_first_study(recorded_task):
    first = json.loads(compare(recorded_task, *ALLOCATORS, "--json").stdout)
    log = Study.open(Path(first["runs"][0]["folder"])).state().archive
    with Path("truth.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["allocation", "score"])
        rows.writerow([json.dumps(log.trials[0].allocation.to_json()), 0.5])
    more = [*ALLOCATORS[:3], "4", *ALLOCATORS[4:], "--truth", "truth.csv"]
    done = compare(recorded_task, *more)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"! The truth lacks \d+ of \d+ allocations that are expected to fit", " ".join(done.stderr.split())
    )
    assert done.stderr.index("The truth lacks") < done.stderr.index("study 7/8")
    assert "The truth lacks allocations that led" in " ".join(done.stdout.split())
    assert re.search(r"^random +4 ", done.stdout, re.M)
