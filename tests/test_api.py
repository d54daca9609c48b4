"""The Python surface."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import agenttts
from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import InputError, PlanError, RunError
from agenttts.study import opening

SMALL = {"allocator": "random", "n_trials": 4}


def test_optimize_returns_a_result_and_leaves_a_plan_that_answers(recorded_task):
    result = agenttts.optimize(recorded_task, **SMALL)
    assert result.status == "finished"
    assert result.confirmation is not None
    plan = agenttts.Plan.load(result.plan_path)
    assert plan.allocation == result.best.allocation
    problem = plan.task.search[0]
    assert plan.answer(problem).answer is not None


def test_the_async_twin_gives_the_same(recorded_task):
    first = agenttts.optimize(recorded_task, run="one", **SMALL)
    second = asyncio.run(agenttts.aoptimize(recorded_task, run="two", **SMALL))
    assert [trial.scores for trial in first.trials] == [trial.scores for trial in second.trials]
    assert second.n_paid == 0  # the draws of the first run are in the store


def test_inside_a_running_loop_the_twin_is_named(recorded_task):
    async def notebook():
        agenttts.optimize(recorded_task, **SMALL)

    with pytest.raises(InputError, match="aoptimize"):
        asyncio.run(notebook())


def test_a_run_without_a_plan_says_how_to_go_on(recorded_task):
    run = Path("runs/two")
    run.mkdir(parents=True)
    (run / "events.jsonl").write_text("")
    with pytest.raises(PlanError, match="no plan yet; go on with `agenttts optimize runs/two`"):
        agenttts.evaluate(run)


def test_a_plan_is_found_by_the_bare_name_of_its_run(recorded_task):
    made = agenttts.optimize(recorded_task, run="first", **SMALL)
    assert agenttts.evaluate("first").plan.allocation == made.best.allocation
    assert agenttts.evaluate(Path("first")).evaluation.n_paid == 0


def test_a_plan_that_is_not_there_is_told_with_the_nearest_name(recorded_task):
    agenttts.optimize(recorded_task, run="first", **SMALL)
    with pytest.raises(PlanError, match=r"frist: no such plan\.\nDid you mean `runs/first`"):
        agenttts.evaluate("frist")


def test_a_loaded_task_and_a_budget_object_are_taken_as_they_are(recorded_task):
    task = agenttts.Task.load(recorded_task)
    budget = agenttts.Budget(0.4, agenttts.Unit.GFLOPS)
    result = agenttts.optimize(task, budget=budget, **SMALL)
    assert result.budget == budget
    assert all(trial.charged <= 0.4 for trial in result.trials if trial.status == "ok")


def test_evaluate_pairs_with_the_confirmation(recorded_task):
    result = agenttts.optimize(recorded_task, **SMALL)
    score = agenttts.evaluate(result.plan_path)
    assert score.score.mean == result.confirmation.winner.mean
    assert score.evaluation.n_paid == 0
    assert agenttts.evaluate(result.plan_path, split="search", n=3).score.n == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Budget(0.6, Unit.GFLOPS)),
        (0.5, Budget(0.5, Unit.GFLOPS)),
        ("1e3", Budget(1000, Unit.GFLOPS)),
        ("200 tokens", Budget(200, Unit.TOKENS)),
    ],
)
def test_a_budget_without_unit_is_in_the_unit_of_the_task(recorded_task, given, expected):
    assert opening.resolve_budget(agenttts.Task.load(recorded_task), given) == expected


@pytest.mark.parametrize(
    ("given", "unit"),
    [(None, None), ("1e6", None), (3.5, None), ("2E3usd", Unit.USD), ("5 seconds", Unit.SECONDS)],
)
def test_the_unit_that_a_budget_names_is_found(given, unit):
    assert opening.unit_of(given) == unit


def test_a_task_without_default_needs_a_budget(recorded_task):
    recorded_task.write_text(recorded_task.read_text().replace(", default: 0.6", ""))
    with pytest.raises(InputError, match="--budget"):
        agenttts.optimize(recorded_task, **SMALL)


def test_the_name_of_a_run_depends_on_what_was_asked_and_on_nothing_else(recorded_task):
    task = agenttts.Task.load(recorded_task)
    asked = opening.study_options(task, **SMALL)
    assert opening.run_name(task, asked).startswith("sums-")
    assert opening.run_name(task, asked) == opening.run_name(
        task, opening.study_options(task, concurrency=3, **SMALL)
    )
    others = [
        opening.study_options(task, seed=1, **SMALL),
        opening.study_options(task, budget="0.5", **SMALL),
        opening.study_options(task, allocator="grid", n_trials=4),
    ]
    assert len({opening.run_name(task, options) for options in [asked, *others]}) == 4


def test_names_lie_under_runs_and_paths_are_paths(tmp_path):
    assert opening.run_folder("mine") == Path("runs/mine")
    assert opening.run_folder("here/mine") == Path("here/mine")
    assert opening.run_folder(tmp_path) == tmp_path


def test_a_run_can_be_given_more_trials_and_not_fewer(recorded_task):
    agenttts.optimize(recorded_task, run="mine", **SMALL)
    more = agenttts.optimize(recorded_task, run="mine", allocator="random", n_trials=8)
    assert len(more.trials) == 8
    with pytest.raises(RunError, match="begun with 8 trials"):
        agenttts.optimize(recorded_task, run="mine", allocator="random", n_trials=4)


def test_a_folder_of_another_task_is_refused(recorded_task):
    agenttts.optimize(recorded_task, run="mine", **SMALL)
    recorded_task.write_text(recorded_task.read_text().replace("Think about", "Consider"))
    with pytest.raises(RunError, match="another task"):
        agenttts.optimize(recorded_task, run="mine", **SMALL)


@pytest.mark.parametrize("option", ["n_trials", "concurrency"])
def test_counts_below_one_are_refused(recorded_task, option):
    with pytest.raises(InputError, match=option):
        agenttts.optimize(recorded_task, **{option: 0})
