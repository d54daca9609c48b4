"""A comparison runs, resumes, reports what failed, and is read into records."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import agenttts
from agenttts.budgets.cost import Unit, plain_digits
from agenttts.budgets.cost_model import CostModel
from agenttts.budgets.loading import load_cards
from agenttts.errors import InputError, RunError
from agenttts.models.base import CallUsage, Message, Request
from agenttts.pipeline.base import Allocation
from agenttts.report.comparison_words import bill_text
from agenttts.store.base import PaidCall
from agenttts.store.sql import open_store
from agenttts.study.archive import Archive
from agenttts.study.comparison_opening import ComparisonRequest, prepare_comparison
from agenttts.study.comparison_runs import outcomes, read_record, run_studies
from agenttts.study.comparison_workers import WorkerReport
from agenttts.study.study import Study

SMALL = {"n_trials": 4, "jobs": 2, "out": "cmp"}


def table(name: str) -> list[dict[str, str]]:
    with Path("runs/cmp", name).open(newline="") as file:
        return list(csv.DictReader(file))


def silent(report: WorkerReport) -> None:
    """Take no note."""


def test_studies_are_run_compared_and_written_down(recorded_task):
    result = agenttts.compare(recorded_task, ["random", "tpe"], seeds=2, **SMALL)
    assert [(run.allocator, run.seed, run.status) for run in result.runs] == [
        ("random", 0, "finished"),
        ("random", 1, "finished"),
        ("tpe", 0, "finished"),
        ("tpe", 1, "finished"),
    ]
    assert result.comparison is not None
    assert result.comparison.allocators == ("random", "tpe")
    assert len(table("runs.csv")) == 4
    assert len(table("curves.csv")) == 4 * 4
    assert {row["measure"] for row in table("pairs.csv")} == {"trials", "spend", "found", "test"}
    assert "Figures come from recorded draws" in result.page.read_text()


def test_what_is_shared_is_paid_for_once_and_told_apart_from_what_each_would_have_paid(recorded_task):
    result = agenttts.compare(recorded_task, ["random"], seeds=3, **SMALL)
    alone = sum(run.spent.flops for run in result.runs)
    assert result.spent.flops == pytest.approx(alone)
    assert 0 < result.paid.flops < alone / 1.5
    assert float(table("runs.csv")[0]["spent_gflops"]) == pytest.approx(result.runs[0].spent.flops / 1e9)


def test_asking_again_runs_nothing_and_allocators_and_seeds_can_be_added(recorded_task):
    reports: list[WorkerReport] = []
    first = agenttts.compare(recorded_task, ["random"], seeds=1, **SMALL)
    again = agenttts.compare(recorded_task, ["random"], seeds=1, report=reports.append, **SMALL)
    assert reports == []
    assert again == first
    more = agenttts.compare(recorded_task, ["random", "grid"], seeds=2, report=reports.append, **SMALL)
    assert {(said.allocator, said.seed) for said in reports} == {("random", 1), ("grid", 0), ("grid", 1)}
    assert more.runs[0] == first.runs[0]


def test_a_comparison_of_something_else_is_refused(recorded_task):
    agenttts.compare(recorded_task, ["random"], seeds=1, **SMALL)
    with pytest.raises(RunError, match="begun with n_trials 4, not 5"):
        agenttts.compare(recorded_task, ["random"], seeds=1, **{**SMALL, "n_trials": 5})
    recorded_task.write_text(recorded_task.read_text().replace("Think about", "Consider"))
    with pytest.raises(RunError, match="another task"):
        agenttts.compare(recorded_task, ["random"], seeds=1, **SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"allocators": []}, "expected one or more different names"),
        ({"allocators": ["tpe", "tpe"]}, "expected one or more different names"),
        ({"allocators": ["tpf"]}, "Did you mean `tpe`"),
        ({"seeds": 0}, "seeds"),
        ({"batch": 0}, "batch"),
        ({"target": -0.1}, "target"),
        ({"target": 5}, "less than 1, got 5"),
        ({"target": 1.0}, "scores lie between 0 and 1"),
        ({"store": "memory:"}, "cannot share a store in memory"),
        ({"planner": "rec/large"}, "none of random asks a planner"),
        ({"planner_timeout_s": 5}, "planner timeout: none of random asks a planner"),
        ({"allocators": ["random[x=true]"]}, "'random' has no switches; given: x"),
        ({"allocators": ["random[x]"]}, "'random.x.': x: expected NAME=VALUE, e.g. agenttts"),
        ({"allocators": ["random[x=1"]}, "expected a name, or one with switches in brackets"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(recorded_task, wrong, message):
    asked = {"allocators": ["random"], "seeds": 1, **wrong}
    with pytest.raises(InputError, match=message):
        agenttts.compare(recorded_task, asked.pop("allocators"), **asked)
    assert not Path("runs").exists()


def prepared(task: Path, *allocators: str, **more: object):
    return prepare_comparison(
        ComparisonRequest(task=task, allocators=allocators, n_trials=4, out="cmp", **more)
    )


def test_a_study_that_cannot_be_read_fails_alone(recorded_task):
    folder = prepared(recorded_task, "random")
    folder.study("random", 1).mkdir(parents=True)
    (folder.study("random", 1) / "events.jsonl").write_text('{"format": 99, "event": "started"}\n')
    result = agenttts.compare(recorded_task, ["random"], seeds=2, **SMALL)
    assert [run.status for run in result.runs] == ["finished", "failed"]
    assert "written in format 99" in result.failures[0].message


def test_a_study_whose_folder_is_in_use_fails_alone(recorded_task):
    from agenttts.study.events import EventLog

    folder = prepared(recorded_task, "random", "tpe")
    log = EventLog(folder.study("random", 1))
    try:
        result = agenttts.compare(recorded_task, ["random", "tpe"], seeds=2, **SMALL)
    finally:
        log.close()
    (failure,) = result.failures
    assert (failure.allocator, failure.seed, failure.exit_code) == ("random", 1, 2)
    assert "in use by another process" in failure.message
    assert [summary.n_runs for summary in result.comparison.summaries] == [1, 2]
    assert any("Runs are missing for random" in note for note in result.comparison.notes)
    assert "in use by another process" in result.page.read_text()
    assert not agenttts.compare(recorded_task, ["random", "tpe"], seeds=2, **SMALL).failures


def test_a_worker_that_is_killed_takes_one_study_with_it_that_can_be_gone_on_with(recorded_task):
    folder = prepared(recorded_task, "random", "tpe")
    killed: list[tuple[str, int]] = []

    def kill_first(report: WorkerReport) -> None:
        if report.kind == "trial" and not killed:
            killed.append((report.allocator, report.seed))
            owner = (folder.study(report.allocator, report.seed) / "lock").read_text()
            os.kill(int(owner), signal.SIGKILL)

    failed = run_studies(folder, ["random", "tpe"], [0, 1], jobs=1, report=kill_first)
    assert list(failed) == killed
    assert "exit code -9" in failed[killed[0]].message
    stand = outcomes(folder, ["random", "tpe"], [0, 1], failed)
    assert sorted(run.status for run in stand) == ["failed", "finished", "finished", "finished"]

    assert run_studies(folder, ["random", "tpe"], [0, 1], jobs=1, report=silent) == {}
    allocator, seed = killed[0]
    resumed = read_record(folder.study(allocator, seed), Unit.GFLOPS)
    straight = Study.create(
        Path("straight"),
        folder.task,
        replace(folder.options[allocator], seed=seed),
        f"sqlite:///{Path('straight.sqlite').absolute()}",
    )
    asyncio.run(straight.run())
    expected = read_record(Path("straight"), Unit.GFLOPS)
    assert resumed.best == expected.best
    assert resumed.test == expected.test


# --- reading -------------------------------------------------------------------------------------------------------


def test_a_record_tells_the_best_so_far_and_what_was_spent_by_the_end_of_each_batch(recorded_task):
    result = agenttts.compare(recorded_task, ["random"], seeds=1, **{**SMALL, "n_trials": 6})
    (run,) = result.runs
    record = read_record(run.folder, Unit.GFLOPS)
    trials = Study.open(run.folder).state().archive.trials
    scores = [trial.score if trial.status == "ok" else 0.0 for trial in trials]
    assert record.best == pytest.approx([max(scores[: i + 1]) for i in range(6)])
    assert len(set(record.spend[:4])) == 1, "a batch of four is bought together"
    assert record.spend[3] < record.spend[4] == record.spend[5]
    assert record.spend[-1] < run.spent.flops / 1e9, "the confirmation comes on top"
    assert len(record.test) == 24


def test_where_the_truth_is_known_records_hold_it(recorded_task):
    first = agenttts.compare(recorded_task, ["random"], seeds=1, **SMALL)
    (run,) = first.runs
    trials = Study.open(run.folder).state().archive.trials
    truth = {trial.allocation: 0.25 for trial in trials} | {run.plan: 0.75}
    result = agenttts.compare(recorded_task, ["random"], seeds=1, truth=truth, **SMALL)
    assert result.comparison.truth_known
    assert result.comparison.best_known == 0.75
    assert result.comparison.summaries[0].n_reached == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda truth: {}, "it holds no scores"),
        (
            lambda truth: {Allocation(()): 0.5},
            "has the stages none; the task .* Is it the truth of another task",
        ),
        (lambda truth: dict.fromkeys(truth, 1.5), "is 1.5; scores lie between 0 and 1"),
        (
            lambda truth: {
                Allocation(tuple(replace(choice, model="rec/huge") for choice in allocation.choices)): 0.5
                for allocation in truth
            },
            "rec/huge.* has no such choice. Models: ",
        ),
    ],
)
def test_a_truth_that_is_not_of_this_task_is_refused_before_the_first_study(recorded_task, change, message):
    (run,) = agenttts.compare(recorded_task, ["random"], seeds=1, **SMALL).runs
    reports: list[WorkerReport] = []
    with pytest.raises(InputError, match=message):
        agenttts.compare(
            recorded_task, ["tpe"], seeds=1, truth=change({run.plan: 0.5}), report=reports.append, **SMALL
        )
    assert reports == []


def test_a_search_that_the_truth_lacks_is_left_out_of_what_needs_it_with_a_note(recorded_task):
    runs = agenttts.compare(recorded_task, ["random", "tpe"], seeds=2, **SMALL).runs
    archives = {(run.allocator, run.seed): Study.open(run.folder).state().archive for run in runs}
    led = {
        place: {Archive(archive.trials[: i + 1]).best().allocation for i in range(len(archive.trials))}
        for place, archive in archives.items()
    }
    only = led["tpe", 1] - led["random", 0] - led["random", 1] - led["tpe", 0]
    assert only, "the search has a leader of its own"
    truth = {allocation: 0.5 for leaders in led.values() for allocation in leaders - only}
    result = agenttts.compare(recorded_task, ["random", "tpe"], seeds=2, truth=truth, **SMALL)
    comparison = result.comparison
    assert comparison.truth_known
    assert [one.found.n for one in comparison.summaries] == [2, 1]
    (note,) = [note for note in comparison.notes if "The truth lacks" in note]
    assert "1 of 4 searches (1 of tpe)" in note
    by_measure = {test.measure: test.n_seeds for test in comparison.pairs[0].tests}
    assert by_measure == {"trials": 1, "spend": 1, "found": 1, "test": 2}
    row = table("runs.csv")[3]
    assert (row["allocator"], row["seed"], row["reached"], row["true_score"]) == ("tpe", "1", "", "")
    assert row["search_score"] != ""
    assert "The truth lacks" in result.page.read_text()


def test_a_truth_that_lacks_every_search_counts_as_none(recorded_task):
    (run,) = agenttts.compare(recorded_task, ["random"], seeds=1, **SMALL).runs
    archive = Study.open(run.folder).state().archive
    other = Allocation(tuple(replace(choice, n_samples=99) for choice in run.plan.choices))
    result = agenttts.compare(recorded_task, ["random"], seeds=1, truth={other: 0.9}, **SMALL)
    comparison = result.comparison
    assert not comparison.truth_known
    assert comparison.best_known == archive.best().score
    assert "led every search" in comparison.notes[0]
    assert "as if no truth were known" in comparison.notes[0]


def test_true_scores_are_read_from_a_table_and_mistakes_are_named(tmp_path):
    from agenttts.report.comparison_report import read_truth

    path = tmp_path / "truth.csv"
    choice = {"stage": "s", "model": "m", "n_samples": 1, "select": "first"}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["allocation", "score"], [json.dumps([choice]), "0.5"]])
    assert read_truth(path) == {Allocation.from_json([choice]): 0.5}
    path.write_text("allocation,score\nnonsense,0.5\n")
    with pytest.raises(InputError, match="row 2"):
        read_truth(path)
    path.write_text("allocation,score\n")
    with pytest.raises(InputError, match="holds no scores"):
        read_truth(path)


def test_a_comparison_without_confirmation_says_nothing_of_test_problems(recorded_task):
    result = agenttts.compare(recorded_task, ["random", "tpe"], seeds=1, confirm=False, **SMALL)
    assert result.comparison.summaries[0].test is None
    assert [test.measure for test in result.comparison.pairs[0].tests] == ["trials", "spend", "found"]


def test_planner_calls_are_counted_and_paid_for_by_each_study_on_top_of_shared_draws(recorded_task):
    """The tiny model cannot read so long a prompt, so a bill of a call is put into the store of the study by hand."""
    asked = {**SMALL, "n_trials": 8, "confirm": False, "planner": "tiny/m"}
    result = agenttts.compare(recorded_task, ["agent", "random"], seeds=1, **asked)
    advised = result.runs[0]
    assert advised.planner_calls == advised.planner_failed > 0
    assert "The planner is tiny/m; 1 of 1 calls to it brought no reply." in result.figures_from
    started = Study.open(advised.folder).state().started

    async def bill() -> None:
        store = open_store(started["store"])
        request = Request("tiny/m", "tiny", (Message("user", "advise"),))
        await store.put(
            request, [], PaidCall(started["study_id"], "tiny/m", "planner", CallUsage(1000, (10,)))
        )
        await store.aclose()

    asyncio.run(bill())
    again = agenttts.compare(recorded_task, ["agent", "random"], seeds=1, **asked)
    assert again.paid.prefill_tokens == result.paid.prefill_tokens + 1000


def test_allocators_may_be_named_in_one_text(recorded_task):
    result = agenttts.compare(recorded_task, "random, grid", seeds=1, confirm=False, **SMALL)
    assert [run.allocator for run in result.runs] == ["random", "grid"]


def test_studies_that_were_not_asked_for_again_are_told_of(recorded_task):
    asked = {**SMALL, "confirm": False}
    assert agenttts.compare(recorded_task, ["random", "grid"], seeds=2, **asked).left_out == ()
    fewer = agenttts.compare(recorded_task, ["random"], seeds=1, **asked)
    assert fewer.left_out == ("grid", "random (1 more seed)")
    assert "also holds studies of grid, random (1 more seed)" in fewer.page.read_text()
    assert len(agenttts.compare(recorded_task, ["random", "grid"], seeds=2, **asked).comparison.records) == 4


def test_studies_that_a_search_budget_ended_before_a_trial_are_missing_by_name(recorded_task):
    asked = {**SMALL, "confirm": False, "search_budget": 3}
    result = agenttts.compare(recorded_task, ["random", "grid"], seeds=1, **asked)
    assert {(run.status, run.n_trials, run.has_result) for run in result.runs} == {
        ("search_budget_exhausted", 0, False)
    }
    assert result.comparison is None
    assert result.exit_code == 3
    text = result.page.read_text()
    assert "2 of 2 studies ended at their search budget." in text
    assert "No study of random, grid has a result" in text
    assert "the search budget was reached before a trial had ended" in text
    reports: list[WorkerReport] = []
    agenttts.compare(recorded_task, ["random", "grid"], seeds=1, report=reports.append, **asked)
    assert reports == [], "what its budget ended is not begun again"


def test_what_the_planner_took_stands_beside_the_spend_that_holds_it(recorded_task):
    """The tiny model cannot read so long a prompt, so what its calls took is put into the log by hand."""
    asked = {**SMALL, "n_trials": 8, "confirm": False, "planner": "tiny/m"}
    result = agenttts.compare(recorded_task, ["agent", "random"], seeds=1, **asked)
    log = result.runs[0].folder / "events.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    for event in events:
        if event["event"] == "round" and event.get("planner", {}).get("calls"):
            event["planner"].update(prefill_tokens=1000, decode_tokens=10)
    log.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    again = agenttts.compare(recorded_task, ["agent", "random"], seeds=1, **asked)
    assert (
        f"Calls to planners took {plain_digits(again.runs[0].planner_spent.flops / 1e9, 4)} GFLOPs"
        in bill_text(again)
    )
    unit = "gflops"
    model = CostModel({"tiny/m": load_cards().lookup("tiny/m")})
    per_call = model.charge("tiny/m", CallUsage(1000, (10,))).flops / 1e9
    agent, other = table("runs.csv")
    assert float(agent[f"of_that_planner_{unit}"]) == pytest.approx(per_call)
    assert other[f"of_that_planner_{unit}"] == ""
    shares = [row[f"of_that_planner_{unit}"] for row in table("curves.csv") if row["allocator"] == "agent"]
    assert float(shares[0]) == 0, "the opening asks nobody"
    assert float(shares[-1]) == pytest.approx(per_call)


def test_ablations_of_one_allocator_are_compared_under_names_of_their_own(recorded_task):
    ablated = "agenttts[no_insight1=true,no_insight3=true]"
    asked = {**SMALL, "confirm": False, "planner": "tiny/m", "planner_timeout_s": 30}
    result = agenttts.compare(
        recorded_task, "agenttts,agenttts[no_insight3=true, no_insight1=true],random", seeds=1, **asked
    )
    names = ["agenttts", ablated, "random"]
    assert [run.allocator for run in result.runs] == names
    assert list(result.comparison.allocators) == names
    assert [row["allocator"] for row in table("runs.csv")] == names
    assert f"agenttts : {ablated}" in result.page.read_text()
    folders = [run.folder.parent.name for run in result.runs]
    assert folders[0] == "agenttts"
    assert folders[1].startswith("agenttts_no_insight1_true_no_insight3_true-")
    plain, without = (Study.open(run.folder).options for run in result.runs[:2])
    assert (plain.switches, without.switches) == ({}, {"no_insight1": True, "no_insight3": True})
    assert plain.planner_deadline_s == without.planner_deadline_s == 30
    assert plain.allocator == without.allocator == "agenttts"

    reports: list[WorkerReport] = []
    alone = agenttts.compare(
        recorded_task,
        ["random"],
        seeds=1,
        report=reports.append,
        **{**asked, "planner": None, "planner_timeout_s": None},
    )
    assert reports == []
    assert set(alone.left_out) == {"agenttts", ablated}


def test_the_same_switches_in_another_order_are_the_same_contender(recorded_task):
    twice = ["agenttts[no_insight1=true,no_insight2=true]", "agenttts[no_insight2=true,no_insight1=true]"]
    with pytest.raises(InputError, match="expected one or more different names"):
        agenttts.compare(recorded_task, twice, planner="tiny/m", seeds=1, **SMALL)
