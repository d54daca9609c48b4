"""A study runs, stops, goes on and ends the same."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agenttts.budgets.cost import Budget, Unit
from agenttts.errors import InfeasibleBudgetError, RunError
from agenttts.pipeline.plan import Plan
from agenttts.study.result import ProgressEvent, StudyOptions, StudyResult
from agenttts.study.study import Study
from agenttts.task.task import Task


class Recorder:
    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []

    def on(self, event: ProgressEvent) -> None:
        self.events.append(event)


def essence(result: StudyResult) -> list[object]:
    """Everything that must not depend on how often a study was interrupted, nor on what a store held."""
    trials = [(t.number, t.allocation, t.status, dict(t.scores), t.charged, t.reason) for t in result.trials]
    best = result.best.allocation if result.best else None
    return [result.status, trials, best, result.best_interval, result.confirmation]


def assert_same_draws_paid(result: StudyResult, other: StudyResult) -> None:
    """The same draws were paid for; how often a prompt was read for them depends on which trial asked first."""
    assert result.spent.decode_tokens == other.spent.decode_tokens
    assert result.spent.prefill_tokens == pytest.approx(other.spent.prefill_tokens, rel=0.05)


async def test_a_study_ends_with_a_confirmed_plan(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    recorder = Recorder()
    result = await Study.create(tmp_path / "run", task, options, store_url).run(recorder)
    assert result.status == "finished"
    assert len(result.trials) == 9
    assert result.best is not None
    assert result.confirmation is not None
    assert result.confirmation.n == 30
    assert result.confirmation.winner is not None
    assert result.confirmation.difference is not None
    assert result.confirmation.difference.n == 30
    assert result.n_paid == result.n_paid_now > 0
    assert result.spent.decode_tokens > 0
    assert result.plan_path is not None
    plan = Plan.load(result.plan_path)
    assert plan.allocation == result.best.allocation
    assert plan.measured is not None
    assert plan.measured.split == "test"
    assert plan.measured.mean == result.confirmation.winner.mean
    kinds = [event.kind for event in recorder.events]
    assert kinds.count("trial") == 9
    assert kinds[-1] == "ended"
    last = recorder.events[-1]
    n_rollouts = sum(len(trial.scores) + trial.n_failed for trial in result.trials)
    assert last.rollouts_done == last.rollouts_total == n_rollouts <= 9 * 30
    assert last.n_paid == result.n_paid
    assert last.finals_done == last.finals_total == 2 * 30
    assert last.eta_s is None
    assert last.by_stage.keys() == {choice.stage for choice in result.best.allocation.choices}
    assert all(at_work == 0 and ended > 0 for at_work, ended in last.by_stage.values())


async def test_the_time_left_holds_the_confirmation(tmp_path: Path, task: Task, options: StudyOptions):
    recorder = Recorder()
    await Study.create(tmp_path / "run", task, options, "memory:").run(recorder)
    at = [event.kind for event in recorder.events].index("confirming")
    before = [event for event in recorder.events[:at] if event.kind == "trial"][-1]
    assert before.trials_done == before.n_trials
    assert before.eta_s is not None
    assert before.eta_s > 0
    assert before.finals_total == 0
    assert recorder.events[at].eta_s is None  # its pace is not known yet
    assert [e.finals_done for e in recorder.events[at:] if e.kind == "rollout"] == list(range(1, 61))


async def test_no_trial_passes_the_budget(tmp_path: Path, task: Task, options: StudyOptions, store_url: str):
    result = await Study.create(tmp_path / "run", task, options, store_url).run()
    assert all(trial.charged <= options.budget.amount for trial in result.trials if trial.status == "ok")
    assert all(
        trial.charged > options.budget.amount for trial in result.trials if trial.status == "over_budget"
    )


async def test_a_finished_study_is_only_read(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    first = await Study.create(tmp_path / "run", task, options, store_url).run()
    log = (tmp_path / "run" / "events.jsonl").read_bytes()
    again = await Study.open(tmp_path / "run").run()
    assert again.n_paid_now == 0
    assert replace(again, n_paid_now=first.n_paid_now) == first
    assert (tmp_path / "run" / "events.jsonl").read_bytes() == log


async def test_the_same_study_in_another_folder_pays_nothing(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    first = await Study.create(tmp_path / "one", task, options, store_url).run()
    second = await Study.create(tmp_path / "two", task, options, store_url).run()
    assert second.n_paid == 0
    assert second.spent.decode_tokens == 0
    assert second.n_reused == first.n_paid + first.n_reused
    assert essence(second) == essence(first)


@pytest.mark.parametrize("concurrency", [1, 7])
async def test_concurrency_does_not_change_the_result(
    tmp_path: Path, task: Task, options: StudyOptions, concurrency: int
):
    first = await Study.create(tmp_path / "one", task, options, "memory:").run()
    other = replace(options, concurrency=concurrency)
    second = await Study.create(tmp_path / "two", task, other, "memory:").run()
    assert essence(second) == essence(first)
    assert second.n_paid == first.n_paid


async def test_another_seed_searches_elsewhere(tmp_path: Path, task: Task, options: StudyOptions):
    options = replace(options, allocator="random")
    first = await Study.create(tmp_path / "one", task, options, "memory:").run()
    second = await Study.create(tmp_path / "two", task, replace(options, seed=6), "memory:").run()
    assert [t.allocation for t in first.trials] != [t.allocation for t in second.trials]


class _Stop:
    """Cancels the task that runs the study after some trials."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.task: asyncio.Task[StudyResult] | None = None

    def on(self, event: ProgressEvent) -> None:
        if event.kind == "trial" and event.trials_done >= self.after and self.task is not None:
            self.task.cancel()


async def test_a_cancelled_study_goes_on_and_ends_the_same(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    whole = await Study.create(tmp_path / "whole", task, options, "memory:").run()
    study = Study.create(tmp_path / "run", task, options, store_url)
    for after in (1, 4, 8):
        stop = _Stop(after)
        stop.task = asyncio.create_task(study.run(stop))
        with pytest.raises(asyncio.CancelledError):
            await stop.task
        cut = study.result()
        assert cut.status == "interrupted"
        assert "run the same command again" in cut.message
        assert after <= len(cut.trials) < 9 or after == 8
        assert len(asyncio.all_tasks()) == 1
        study = Study.open(tmp_path / "run")
    result = await study.run()
    assert essence(result) == essence(whole)
    assert result.n_paid == whole.n_paid
    assert_same_draws_paid(result, whole)


async def test_a_search_budget_stops_the_search_and_a_larger_one_goes_on(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    whole = await Study.create(tmp_path / "whole", task, options, "memory:").run()
    all_tokens = whole.spent.prefill_tokens + whole.spent.decode_tokens
    capped = replace(options, search_budget=Budget(0.5 * all_tokens, Unit.TOKENS))
    study = Study.create(tmp_path / "run", task, capped, store_url)
    result = await study.run()
    assert result.status == "search_budget_exhausted"
    assert "--search-budget" in result.message
    assert result.spent.prefill_tokens + result.spent.decode_tokens <= 0.5 * all_tokens
    assert len(result.trials) < 9
    assert all(len(trial.scores) == 30 for trial in result.trials)
    study.amend(search_budget=Budget(10 * all_tokens, Unit.TOKENS))
    result = await Study.open(tmp_path / "run").run()
    assert essence(result) == essence(whole)
    assert_same_draws_paid(result, whole)


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
async def test_a_trial_that_finished_in_a_round_cut_off_can_be_the_one_confirmed(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str, share: float
):
    full = await Study.create(tmp_path / "full", task, options, "memory:").run()
    all_tokens = full.spent.prefill_tokens + full.spent.decode_tokens
    capped = replace(options, search_budget=Budget(share * all_tokens, Unit.TOKENS))
    study = Study.create(tmp_path / "run", task, capped, store_url)
    result = await study.run()
    state = study.state()
    assert result.spent.prefill_tokens + result.spent.decode_tokens <= share * all_tokens
    assert result.best == state.archive.best()
    if state.confirmed is not None:
        assert result.confirmation is not None
        assert state.confirmed["trials"][0] == result.best.number


async def test_more_trials_can_be_asked_for_later(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    study = Study.create(tmp_path / "run", task, replace(options, n_trials=6), store_url)
    await study.run()
    study.amend(n_trials=9)
    result = await study.run()
    whole = await Study.create(tmp_path / "whole", task, options, "memory:").run()
    assert essence(result) == essence(whole)


async def test_a_budget_below_the_cheapest_allocation_is_told_with_its_cost(
    tmp_path: Path, task: Task, options: StudyOptions
):
    options = replace(options, budget=Budget(5, Unit.TOKENS))
    study = Study.create(tmp_path / "run", task, options, "memory:")
    with pytest.raises(InfeasibleBudgetError, match=r"the cheapest, plan rec/.* x1.*expected to cost"):
        await study.run()


async def test_a_hopeless_budget_is_refused_before_a_folder_is_made(
    tmp_path: Path, task: Task, options: StudyOptions
):
    hopeless = replace(options, budget=Budget(0.5, Unit.TOKENS))
    with pytest.raises(InfeasibleBudgetError, match="one token written"):
        Study.create(tmp_path / "run", task, hopeless, "memory:")
    assert not (tmp_path / "run").exists()


async def test_a_store_in_memory_promises_nothing_after_an_interruption(
    tmp_path: Path, task: Task, options: StudyOptions
):
    study = Study.create(tmp_path / "run", task, options, "memory:")
    assert "forgotten" in study.result().message
    kept = Study.create(tmp_path / "kept", task, options, f"sqlite:///{tmp_path}/draws.db")
    assert "is kept" in kept.result().message


async def test_a_space_that_is_used_up_ends_the_study(tmp_path: Path, task: Task, options: StudyOptions):
    options = replace(options, budget=Budget(45, Unit.TOKENS), n_trials=100)
    result = await Study.create(tmp_path / "run", task, options, "memory:").run()
    assert result.status == "finished"
    assert "every allocation that fits the budget was tried" in result.message
    assert len(result.trials) < 100


async def test_a_folder_with_a_run_is_not_begun_again(tmp_path: Path, task: Task, options: StudyOptions):
    Study.create(tmp_path / "run", task, options, "memory:")
    assert Study.exists(tmp_path / "run")
    with pytest.raises(RunError, match="holds a run already"):
        Study.create(tmp_path / "run", task, options, "memory:")


async def test_without_a_confirmation_it_says_why(tmp_path: Path, task: Task, options: StudyOptions):
    options = replace(options, confirm=False, n_trials=3)
    result = await Study.create(tmp_path / "run", task, options, "memory:").run()
    assert result.confirmation is None
    assert result.no_confirmation_because == "it was not asked for"
    assert result.plan_path is not None
    plan = Plan.load(result.plan_path)
    assert plan.measured is not None
    assert plan.measured.split == "search"


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from agenttts.study.study import Study

class Kill:
    def __init__(self, at): self.at, self.n = at, 0
    def on(self, event):
        self.n += 1
        if self.n == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Study.open(Path(sys.argv[1])).run(Kill(int(sys.argv[2]))))
"""


async def test_a_killed_study_pays_nothing_twice_and_ends_the_same(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    whole = await Study.create(tmp_path / "whole", task, options, "memory:").run()
    study = Study.create(tmp_path / "run", task, options, store_url)
    for at in (5, 40, 150):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(at)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=120,
        )
        assert done.returncode == -signal.SIGKILL
        assert study.result().status == "interrupted"
    # A crash in the middle of writing leaves half a line behind.
    with (tmp_path / "run" / "events.jsonl").open("ab") as log:
        log.write(b'{"format":1,"event":"trial","tri')
    result = await Study.open(tmp_path / "run").run()
    assert essence(result) == essence(whole)
    assert result.n_paid == whole.n_paid
    assert result.n_reused == whole.n_reused
    assert_same_draws_paid(result, whole)


async def test_a_short_confirmation_is_said_and_extended_when_there_is_more_to_spend(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    study = Study.create(tmp_path / "run", task, replace(options, n_confirm=20), store_url)
    short = (await study.run()).confirmation
    assert short is not None
    log = tmp_path / "run" / "events.jsonl"
    log.write_text(log.read_text().replace('"n_confirm":20', '"n_confirm":30'))
    study.amend(search_budget=Budget(1e9, Unit.TOKENS))
    longer = (await study.run()).confirmation
    assert longer is not None
    assert (short.n, longer.n, longer.n_wanted) == (20, 30, 30)


@pytest.mark.parametrize("share", [0.3, 0.6, 2.0])
async def test_progress_and_result_tell_the_same_draws_wherever_the_search_budget_ends(
    tmp_path: Path, task: Task, options: StudyOptions, share: float
):
    whole = await Study.create(tmp_path / "whole", task, options, "memory:").run()
    cap = share * (whole.spent.prefill_tokens + whole.spent.decode_tokens)
    options = replace(options, search_budget=Budget(cap, Unit.TOKENS))
    recorder = Recorder()
    result = await Study.create(tmp_path / "run", task, options, "memory:").run(recorder)
    last = recorder.events[-1]
    assert (last.n_paid, last.n_reused) == (result.n_paid, result.n_reused)
    assert result.n_paid_now == result.n_paid


async def test_a_search_budget_that_ends_a_search_promises_what_the_store_keeps(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
):
    options = replace(options, search_budget=Budget(300, Unit.TOKENS))
    told = []
    for name, url in (("memory", "memory:"), ("kept", store_url)):
        result = await Study.create(tmp_path / name, task, options, url).run()
        assert result.status == "search_budget_exhausted"
        assert result.what_is_kept in result.message
        told.append(result.message)
    assert "forgotten its draws" in told[0]
    assert "paid twice" not in told[0]
    assert "every draw that arrived is kept, and none of them is paid twice" in told[1]
