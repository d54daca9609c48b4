"""How one trial is evaluated: racing where there is somebody to race, averaging where there are draws to average over.

Both rest on what was known when the trial's round began and on the study's seed, and on nothing else: neither on other
trials of the round nor on what the store happens to hold. So a trial that is rerun is the same trial.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from agenttts.study.averaging import averaged, usable_draws
from agenttts.study.evaluate import Evaluation, run_problems, run_race
from agenttts.study.racing import Race

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation, Rollout
    from agenttts.study.archive import Archive
    from agenttts.study.result import StudyOptions
    from agenttts.study.session import Session
    from agenttts.task.task import Task

__all__ = ["evaluate_trial"]


async def evaluate_trial(
    session: Session,
    task: Task,
    options: StudyOptions,
    allocation: Allocation,
    known: Archive,
    *,
    gate: asyncio.Semaphore,
    on_rollout: Callable[[Rollout], None],
) -> Evaluation:
    """Evaluate an allocation on the search problems.

    Args:
        session: Runs the problems.
        task: Has the problems.
        options: Of the study.
        allocation: What is evaluated.
        known: The archive as it was when the round began.
        gate: Lets so many problems through at a time, over all trials.
        on_rollout: Told of each problem.
    """
    usable = usable_draws(task, known.trials, allocation) if options.reuse_estimation else {}
    runner = averaged(session.runner, session.averager, usable)
    # Somebody must have gone all the way before anybody can be stopped.
    if options.racing and any(trial.status != "stopped" for trial in known.valid):
        return await run_race(
            runner,
            allocation,
            task.search,
            Race(options.budget, len(task.search), known.best()),
            seed=options.seed,
            gate=gate,
            max_failed=options.max_failed,
            on_rollout=on_rollout,
        )
    return await run_problems(
        runner, allocation, task.search, gate=gate, max_failed=options.max_failed, on_rollout=on_rollout
    )
