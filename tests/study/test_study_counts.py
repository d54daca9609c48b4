"""What a study says it has paid, however its runs end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agenttts._cli.results import result_json
from agenttts.errors import StoreError
from agenttts.store.sql import open_store
from agenttts.study.result import ProgressEvent, StudyOptions, StudyResult
from agenttts.study.study import Study
from agenttts.task.task import Task


class _Stop:
    """Cancels the task that runs the study in the midst of a round, after so many problems of its trials."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.task: asyncio.Task[StudyResult] | None = None
        self.last: ProgressEvent | None = None

    def on(self, event: ProgressEvent) -> None:
        self.last = event
        if event.rollouts_done >= self.after and self.task is not None:
            self.task.cancel()


async def _interrupted(study: Study, after: int) -> _Stop:
    stop = _Stop(after)
    stop.task = asyncio.create_task(study.run(stop))
    with pytest.raises(asyncio.CancelledError):
        await stop.task
    return stop


async def _billed(store_url: str, study: Study) -> int:
    store = open_store(store_url)
    calls = await store.paid(study.state().started["study_id"])
    await store.aclose()
    return sum(len(call.usage.decode_tokens) for call in calls)


async def test_an_interrupted_run_counts_the_draws_of_trials_that_it_cut_off(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
) -> None:
    study = Study.create(tmp_path / "run", task, options, store_url)
    stop = await _interrupted(study, after=20)
    cut = study.result()
    in_trials = sum(trial.n_paid for trial in cut.trials)
    assert cut.n_paid == await _billed(store_url, study) > in_trials
    assert stop.last is not None
    assert (stop.last.n_paid, stop.last.n_reused) == (cut.n_paid, cut.n_reused)
    assert cut.n_paid_now == cut.n_paid

    again = await _interrupted(Study.open(tmp_path / "run"), after=100)
    more = study.result()
    assert more.n_paid == await _billed(store_url, study) > cut.n_paid
    assert again.last is not None
    # As what was spent, so the draws that are told are those of all runs.
    assert (again.last.n_paid, again.last.n_reused) == (more.n_paid, more.n_reused)
    assert more.n_paid_now == more.n_paid - cut.n_paid


async def test_a_run_that_cannot_even_begin_forgets_no_draws(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
) -> None:
    study = Study.create(tmp_path / "run", task, options, store_url)
    await _interrupted(study, after=20)
    counted = study.result().n_paid
    (tmp_path / "samples.sqlite3").rename(tmp_path / "away")
    (tmp_path / "samples.sqlite3").mkdir()
    with pytest.raises(StoreError, match=r"samples\.sqlite3"):
        await Study.open(tmp_path / "run").run()
    assert study.result().status == "interrupted"
    assert study.result().n_paid == counted


async def test_a_trial_that_was_cut_off_does_not_pass_its_last_attempt_off_as_the_whole(
    tmp_path: Path, task: Task, options: StudyOptions, store_url: str
) -> None:
    study = Study.create(tmp_path / "run", task, options, store_url)
    await _interrupted(study, after=20)
    done = {trial.number for trial in study.result().trials}
    result = await Study.open(tmp_path / "run").run()
    first_round = set(range(options.batch)) - done
    assert first_round
    assert {trial.number for trial in result.trials if trial.resumed} == first_round
    shown = result_json(task, result, tmp_path / "run", resumed=True)["trials"]
    assert {trial["number"] for trial in shown if trial["n_paid"] is None} == first_round
    assert [t["n_paid"] for t in shown if not t["resumed"]] == [
        t.n_paid for t in result.trials if not t.resumed
    ]
