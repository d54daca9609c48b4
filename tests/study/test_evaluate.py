"""A failed problem is data, never a wrong answer; what must stop a run stops it and leaves nothing running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttts.allocators.base import Proposal
from agenttts.budgets.cost import Budget, Cost, Unit
from agenttts.budgets.cost_model import CostModel
from agenttts.errors import EndpointDownError, ProviderUnavailableError
from agenttts.models.base import CallUsage
from agenttts.pipeline.base import (
    Allocation,
    Charge,
    CostPart,
    Failure,
    Judged,
    Problem,
    Rollout,
    StageChoice,
    StageOutput,
)
from agenttts.study.archive import Runaway, Trial, Unparsed, Unscored
from agenttts.study.evaluate import run_all, run_problems
from agenttts.study.result import StudyOptions
from agenttts.study.session import Session
from agenttts.study.study import Study
from agenttts.task.task import Task

ALLOCATION = Allocation((StageChoice("solve", "simulated/small", 1, "first"),))
BUDGET = Budget(10, Unit.TOKENS)


def problems(n: int) -> list[Problem]:
    return [Problem(f"p{i}", {}) for i in range(n)]


class Scripted:
    """Fails the named problems; the others are right and cost what is said."""

    def __init__(self, failing: set[str] = frozenset(), tokens: float = 8.0) -> None:
        self.failing = failing
        self.tokens = tokens
        self.n_running = self.most_running = self.n_done = 0

    async def __call__(self, problem: Problem, allocation: Allocation) -> Rollout:
        self.n_running += 1
        self.most_running = max(self.most_running, self.n_running)
        try:
            await asyncio.sleep(0.001)
        finally:
            self.n_running -= 1
        self.n_done += 1
        if problem.id in self.failing:
            failure = Failure("solve", "ProviderUnavailableError", "gone")
            return Rollout(problem.id, {}, None, failure=failure, n_paid=1)
        costs = {"solve": Cost(prefill_tokens=self.tokens)}
        return Rollout(problem.id, {}, 1.0, costs=costs, n_paid=1)


async def run(runner: Any, n: int, *, max_failed: float = 0.02, concurrency: int = 4) -> Any:
    gate = asyncio.Semaphore(concurrency)
    return await run_problems(runner, ALLOCATION, problems(n), gate=gate, max_failed=max_failed)


async def test_few_failures_are_named_and_left_out_of_the_mean():
    evaluation = await run(Scripted({"p7"}), 50)
    assert evaluation.status(BUDGET) == "ok"
    assert len(evaluation.scores) == 49
    assert [entry.problem_id for entry in evaluation.failures] == ["p7"]
    assert set(evaluation.scores.values()) == {1.0}
    assert evaluation.charged(BUDGET) == pytest.approx(8.0)
    assert evaluation.n_paid == 50


async def test_more_than_max_failed_is_invalid():
    assert (await run(Scripted({"p7", "p8"}), 50)).status(BUDGET) == "invalid"
    assert (await run(Scripted({"p7", "p8"}), 50, max_failed=0.04)).status(BUDGET) == "ok"


async def test_nothing_scored_is_invalid_whatever_is_allowed():
    evaluation = await run(Scripted({"p0", "p1"}), 2, max_failed=1.0)
    assert evaluation.status(BUDGET) == "invalid"


async def test_a_measured_cost_above_the_budget_cannot_win():
    assert (await run(Scripted(tokens=10.0), 5)).status(BUDGET) == "ok"
    assert (await run(Scripted(tokens=10.01), 5)).status(BUDGET) == "over_budget"


async def test_no_more_problems_run_at_once_than_the_gate_lets_through():
    runner = Scripted()
    gate = asyncio.Semaphore(3)
    await run_all([run_problems(runner, ALLOCATION, problems(10), gate=gate) for _ in range(4)])
    assert runner.most_running == 3
    assert runner.n_done == 40


async def test_the_first_error_is_raised_and_nothing_goes_on():
    n_started = 0

    async def work(i: int) -> None:
        nonlocal n_started
        n_started += 1
        await asyncio.sleep(0.01 if i == 3 else 30)
        raise EndpointDownError("gone")

    with pytest.raises(EndpointDownError):
        await run_all([work(i) for i in range(10)])
    assert n_started == 10
    assert len(asyncio.all_tasks()) == 1


def sessions(runner: Any, task: Task) -> Any:
    @asynccontextmanager
    async def opened(task: Task, **_: Any) -> AsyncIterator[Session]:
        async def n_paid() -> int:
            return runner.n_done

        cost_model = CostModel(task.cards)
        yield Session(runner, cost_model, lambda: Cost(), n_paid, lambda cap: None, lambda stage, model: 8)

    return opened


class Dying(Scripted):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    async def __call__(self, problem: Problem, allocation: Allocation) -> Rollout:
        if self.n_done >= self.after:
            raise EndpointDownError("connection refused again and again")
        return await super().__call__(problem, allocation)


async def test_an_endpoint_that_goes_down_leaves_a_resumable_run(
    tmp_path: Path, task: Task, options: StudyOptions
):
    runner = Dying(after=100)
    study = Study.create(tmp_path / "run", task, options, "memory:", sessions=sessions(runner, task))
    with pytest.raises(EndpointDownError) as caught:
        await study.run()
    assert any("To go on" in note for note in caught.value.__notes__)
    cut = study.result()
    assert cut.status == "interrupted"
    assert "connection refused" in cut.message
    assert runner.n_running == 0
    runner.after = 10**9
    result = await study.run()
    assert result.status == "finished"
    assert len(result.trials) == 9


async def test_failures_are_named_in_the_result(tmp_path: Path, task: Task, options: StudyOptions):
    name = task.search[4].id
    options = replace(options, max_failed=0.05)
    runner = Scripted({name})
    study = Study.create(tmp_path / "run", task, options, "memory:", sessions=sessions(runner, task))
    result = await study.run()
    assert {entry.problem_id for _, entry in result.failures} == {name}
    assert len(result.failures) == len(result.trials)
    assert all(trial.status == "ok" and trial.n_failed == 1 for trial in result.trials)


async def test_when_every_trial_fails_there_is_no_winner(tmp_path: Path, task: Task, options: StudyOptions):
    runner = Scripted({problem.id for problem in task.search[options.n_pilot :]})
    study = Study.create(tmp_path / "run", task, options, "memory:", sessions=sessions(runner, task))
    result = await study.run()
    assert result.best is None
    assert result.confirmation is None
    assert result.plan_path is None
    assert result.no_confirmation_because == "no trial is valid and within the budget"
    assert {trial.status for trial in result.trials} == {"invalid"}


async def test_a_pilot_that_fails_as_a_whole_stops_the_run_with_its_cause(
    tmp_path: Path, task: Task, options: StudyOptions
):
    runner = Scripted({problem.id for problem in task.search})
    study = Study.create(tmp_path / "run", task, options, "memory:", sessions=sessions(runner, task))
    with pytest.raises(ProviderUnavailableError, match=r"all 16 problems of the pilot failed.*gone"):
        await study.run()
    runner.failing = set()
    assert (await study.run()).status == "finished"


async def test_the_test_split_is_read_by_the_confirmation_alone(
    tmp_path: Path, task: Task, options: StudyOptions
):
    asked: list[str] = []

    class Watching(Scripted):
        async def __call__(self, problem: Problem, allocation: Allocation) -> Rollout:
            asked.append(problem.id)
            return await super().__call__(problem, allocation)

    study = Study.create(tmp_path / "run", task, options, "memory:", sessions=sessions(Watching(), task))
    await study.run()
    test_ids = {problem.id for problem in task.test()}
    first_test = next(i for i, name in enumerate(asked) if name in test_ids)
    assert set(asked[:first_test]) <= {problem.id for problem in task.search}
    assert set(asked[first_test:]) == test_ids
    assert len(asked) - first_test == 2 * len(test_ids)


async def test_a_trial_counts_what_its_verifier_left_unscored_stays_valid_and_older_logs_still_load():
    async def runner(problem: Problem, allocation: Allocation) -> Rollout:
        none = Judged(2, 0 if problem.id == "p0" else 2, "" if problem.id == "p0" else "x" * 500)
        return Rollout(problem.id, {"solve": StageOutput("4", judged=none)}, 1.0)

    evaluation = await run(runner, 3)
    trial = evaluation.as_trial(0, Proposal(ALLOCATION, "", ""), BUDGET)
    assert trial.unscored == {"solve": Unscored("first", 4, 6, "x" * 200)}
    assert trial.status == "ok"
    data = json.loads(json.dumps(trial.to_json()))
    assert Trial.from_json(data) == trial
    older = {key: value for key, value in data.items() if key != "unscored"}
    assert Trial.from_json(older) == replace(trial, unscored={})


async def test_a_stage_that_did_not_run_sent_nothing_to_a_verifier():
    async def runner(problem: Problem, allocation: Allocation) -> Rollout:
        return Rollout(problem.id, {"solve": StageOutput("4")}, 1.0)

    assert (await run(runner, 3)).unscored == {}


async def test_a_trial_keeps_what_was_unparsed_and_who_counted_and_older_logs_still_load():
    async def runner(problem: Problem, allocation: Allocation) -> Rollout:
        charge = Charge("simulated/small", "draw", CallUsage(3, (4, 5), counted_by="chars/4"))
        scores = (0.123456, None)
        output = StageOutput(
            None, "no idea", (None, None), None, None, 0, scores, n_runaway=1, charges=(charge,)
        )
        return Rollout(problem.id, {"solve": output}, 0.0)

    trial = (await run(runner, 3)).as_trial(0, Proposal(ALLOCATION, "", ""), BUDGET)
    assert trial.unparsed == {"solve": Unparsed("simulated/small", 6, 6, "no idea")}
    assert trial.counted_by == {"simulated/small": ("chars/4",)}
    assert trial.runaway == {"solve": Runaway("simulated/small", 3, 6)}
    assert trial.verifier_scores["solve"] == dict.fromkeys(["p0", "p1", "p2"], (0.1235, None))
    assert trial.lengths["solve"].spread == pytest.approx(0.5**0.5)  # 4 and 5, three times over
    data = json.loads(json.dumps(trial.to_json()))
    assert Trial.from_json(data) == trial
    older = {key: value for key, value in data.items() if key not in {"unparsed", "counted_by"}}
    assert Trial.from_json(older) == replace(trial, unparsed={}, counted_by={})


async def test_what_calls_were_for_is_a_mean_over_scored_problems():
    """A problem that made no call of a kind counts, one that failed does not."""
    read, write = Cost(prefill_tokens=6), Cost(decode_tokens=4)

    async def run(problem: Problem, allocation: Allocation) -> Rollout:
        parts = [CostPart("simulated/small", "draw", read, write)]
        parts += [CostPart("simulated/small", "verify", read, Cost())] if problem.id == "p0" else []
        failure = Failure("solve", "outage", "gone") if problem.id == "p2" else None
        score = None if failure else 1.0
        return Rollout(problem.id, {}, score, parts={"solve": tuple(parts)}, failure=failure)

    evaluation = await run_problems(run, ALLOCATION, problems(3), gate=asyncio.Semaphore(3), max_failed=0.5)
    told = {
        part.purpose: (part.prefill.prefill_tokens, part.decode.decode_tokens)
        for part in evaluation.parts["solve"]
    }
    assert told == {"draw": (6, 4), "verify": (3, 0)}
