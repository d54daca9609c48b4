"""A study that races: losers end early, nobody is crowned unseen, and it is the same study every time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.errors import RunError
from agenttts.pipeline.base import Allocation, Failure, Problem, Rollout
from agenttts.study.opening import open_study, run_name, study_options
from agenttts.study.result import ProgressEvent, StudyOptions, StudyResult
from agenttts.study.session import Session
from agenttts.study.study import Study
from agenttts.task.task import Task


class Simulated:
    """The large model plans almost always right, the small one never; the draw is fixed by problem and allocation."""

    def __init__(self, failing: set[str] = frozenset(), tokens: float = 8.0) -> None:
        self.n_done = 0
        self.failing = failing
        self.tokens = tokens

    async def __call__(self, problem: Problem, allocation: Allocation) -> Rollout:
        noise = hashlib.sha256(f"{problem.id} {allocation}".encode()).digest()[0]
        await asyncio.sleep(noise % 3 / 1000)
        self.n_done += 1
        if problem.id in self.failing:
            return Rollout(problem.id, {}, None, failure=Failure("solve", "Gone", "gone"))
        right = allocation["plan"].model == "rec/large" and noise > 12
        cost = {"solve": Cost(prefill_tokens=self.tokens * allocation["plan"].n_samples)}
        return Rollout(problem.id, {}, float(right), costs=cost)

    @asynccontextmanager
    async def session(self, task: Task, **_: Any) -> AsyncIterator[Session]:
        async def n_paid() -> int:
            return self.n_done

        yield Session(
            self, CostModel(task.cards), lambda: Cost(), n_paid, lambda cap: None, lambda stage, model: 8
        )


class Recorder:
    def __init__(self, stop_after: int = 10**9) -> None:
        self.events: list[ProgressEvent] = []
        self.stop_after = stop_after
        self.task: asyncio.Task[StudyResult] | None = None

    def on(self, event: ProgressEvent) -> None:
        self.events.append(event)
        if event.rollouts_done >= self.stop_after and self.task is not None:
            self.task.cancel()


@pytest.fixture
def options(options: StudyOptions) -> StudyOptions:
    return replace(options, allocator="random", n_trials=16, batch=3)


def create(folder: Path, task: Task, options: StudyOptions, runner: Simulated | None = None) -> Study:
    return Study.create(folder, task, options, "memory:", sessions=(runner or Simulated()).session)


def essence(result: StudyResult) -> list[object]:
    # What a trial that was cut off paid by itself is not known any more; it says so.
    trials = [replace(trial, resumed=False) for trial in result.trials]
    best = None if result.best is None else replace(result.best, resumed=False)
    return [result.status, trials, best, result.confirmation]


async def test_losers_end_early_and_the_winner_has_seen_everything(
    tmp_path: Path, task: Task, options: StudyOptions
):
    recorder = Recorder()
    result = await create(tmp_path / "run", task, options).run(recorder)
    stopped = [trial for trial in result.trials if trial.status == "stopped"]
    assert stopped
    assert all(trial.number >= options.batch for trial in stopped), (
        "the first round has nobody to race against"
    )
    assert all(trial.stopped_because.startswith("surely") for trial in stopped)
    assert {len(trial.scores) for trial in stopped} <= {10, 20}
    assert len({frozenset(trial.scores) for trial in stopped if len(trial.scores) == 10}) == 1
    order = [problem.id for problem in task.search]
    assert all(list(t.scores) == [name for name in order if name in t.scores] for t in result.trials)
    assert all(len(trial.scores) == 30 for trial in result.trials if trial.status == "ok")
    assert result.best is not None
    assert result.best.status == "ok"
    last = recorder.events[-1]
    assert last.rollouts_done == last.rollouts_total == sum(len(trial.scores) for trial in result.trials)
    assert last.rollouts_total < 16 * 30


async def test_racing_does_not_change_the_winner_here_and_can_be_left_out(
    tmp_path: Path, task: Task, options: StudyOptions
):
    racing = await create(tmp_path / "racing", task, options).run()
    without = await create(tmp_path / "without", task, replace(options, racing=False)).run()
    assert not any(trial.status == "stopped" for trial in without.trials)
    assert all(len(trial.scores) == 30 for trial in without.trials)
    assert racing.best is not None
    assert without.best is not None
    assert racing.best.allocation == without.best.allocation


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_concurrency_has_no_say(tmp_path: Path, task: Task, options: StudyOptions, concurrency: int):
    first = await create(tmp_path / "one", task, options).run()
    second = await create(tmp_path / "two", task, replace(options, concurrency=concurrency)).run()
    assert essence(second) == essence(first)


async def test_a_study_cut_off_in_the_middle_of_races_ends_the_same(
    tmp_path: Path, task: Task, options: StudyOptions
):
    whole = await create(tmp_path / "whole", task, options).run()
    study = create(tmp_path / "run", task, options)
    for at in (40, 35, 70):
        recorder = Recorder(stop_after=at)
        recorder.task = asyncio.create_task(study.run(recorder))
        with pytest.raises(asyncio.CancelledError):
            await recorder.task
    assert essence(await study.run()) == essence(whole)


async def test_a_trial_whose_problems_fail_is_not_stopped_but_invalid(
    tmp_path: Path, task: Task, options: StudyOptions
):
    failing = {problem.id for problem in task.search[options.n_pilot : options.n_pilot + 3]}
    result = await create(tmp_path / "run", task, options, Simulated(failing)).run()
    assert {trial.status for trial in result.trials} == {"invalid"}
    assert all(trial.n_failed == 3 for trial in result.trials)


async def test_what_is_surely_too_dear_is_stopped(tmp_path: Path, task: Task, options: StudyOptions):
    """The forecast takes prompts for shorter than they are, so that some allocations pass that cost too much."""
    options = replace(options, budget=Budget(200, Unit.TOKENS), seed=3)
    runner = Simulated(tokens=60)
    result = await create(tmp_path / "run", task, options, runner).run()
    reasons = {trial.stopped_because for trial in result.trials if trial.status == "stopped"}
    assert "surely over the budget" in reasons
    for trial in result.trials:
        if trial.stopped_because == "surely over the budget":
            assert trial.charged > 200
            assert trial.number >= options.batch


def test_studies_begun_before_racing_go_on_without(options: StudyOptions):
    old = {k: v for k, v in options.to_json().items() if k not in {"racing", "reuse_estimation"}}
    assert StudyOptions.from_json(old) == replace(options, racing=False, reuse_estimation=False)
    assert StudyOptions.from_json(options.to_json()) == options


def test_a_study_without_racing_is_another_study(tmp_path: Path, task: Task):
    racing, without = (
        study_options(task, budget=90.0, allocator="random", racing=racing) for racing in (True, False)
    )
    assert (racing.racing, without.racing) == (True, False)
    assert run_name(task, racing) != run_name(task, without)
    open_study(task, racing, run=tmp_path / "run", store="memory:")
    with pytest.raises(RunError, match="begun with racing True, not False"):
        open_study(task, without, run=tmp_path / "run", store="memory:")
