"""The Python surface: search for an allocation, score a plan. Synchronous, with an async twin of the search.

The command line asks for the same. How a study is opened lives in `agenttts.study.opening`, how a plan is scored in
`agenttts.study.scoring`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agenttts.budgets.cost import Budget
from agenttts.pipeline.together import run_now
from agenttts.study.opening import load_task, open_study, store_url, study_options, unit_of
from agenttts.study.result import StudyResult
from agenttts.study.scoring import PlanScore, Split, load_plan, score_plan
from agenttts.task.task import Task

if TYPE_CHECKING:
    from agenttts.pipeline.base import Rollout
    from agenttts.pipeline.plan import Plan
    from agenttts.study.result import Observer

__all__ = ["aoptimize", "evaluate", "optimize"]


async def aoptimize(
    task: Task | str | Path,
    *,
    budget: Budget | str | float | None = None,
    allocator: str = "curves",
    n_trials: int = 40,
    seed: int = 0,
    search_budget: Budget | str | float | None = None,
    n_search: int | None = None,
    confirm: bool = True,
    concurrency: int = 32,
    run: str | Path | None = None,
    store: str | None = None,
    endpoint: str | None = None,
    source: Literal["openai", "litellm"] | None = None,
    trust: bool = False,
    observer: Observer | None = None,
) -> StudyResult:
    """As `optimize`, for callers that are asynchronous themselves."""
    loaded = load_task(
        task, trust=trust, endpoint=endpoint, source=source, n_search=n_search, unit=unit_of(budget)
    )
    options = study_options(
        loaded,
        budget=budget,
        allocator=allocator,
        n_trials=n_trials,
        seed=seed,
        search_budget=search_budget,
        concurrency=concurrency,
        confirm=confirm,
    )
    return await open_study(loaded, options, run=run, store=store).study.run(observer)


def optimize(
    task: Task | str | Path,
    *,
    budget: Budget | str | float | None = None,
    allocator: str = "curves",
    n_trials: int = 40,
    seed: int = 0,
    search_budget: Budget | str | float | None = None,
    n_search: int | None = None,
    confirm: bool = True,
    concurrency: int = 32,
    run: str | Path | None = None,
    store: str | None = None,
    endpoint: str | None = None,
    source: Literal["openai", "litellm"] | None = None,
    trust: bool = False,
    observer: Observer | None = None,
) -> StudyResult:
    """Search for the allocation that scores best within a budget; write its plan into the run's folder.

    Asking again for the same returns the finished run, or goes on with one that was cut off; nothing is paid twice.

    Args:
        task: A loaded task, a task file, its folder, or the name of a task of the catalogue.
        budget: Most that one problem may cost, charged: `"40 gflops"`, `"0.002usd"`, or a number in the task's unit;
            `None`: the task's default.
        allocator: What proposes allocations: `curves`, `tpe`, `random` or `grid`.
        n_trials: Allocations to try.
        seed: The same seed gives the same run.
        search_budget: Most that the whole search may spend, without a unit in that of the budget; `None`: no limit.
        n_search: Use only this many search problems; `None`: the task's. Only where `task` is not loaded yet.
        confirm: Score winner and runner-up on problems that were not used for choosing.
        concurrency: Problems worked on at a time; does not change the result.
        run: Name (kept under `runs/`) or folder of the run; `None`: a name made of the task and what was asked.
        store: Where draws are kept, a database URL; `None`: `runs/samples.sqlite`.
        endpoint: Take every model from this OpenAI-compatible base URL.
        source: Client used for `endpoint`; `None`: `openai`.
        trust: Allow the Python functions that the task names to run.
        observer: Told of progress.

    Raises:
        InputError: Task, budget, run folder or an option cannot be used.
        InfeasibleBudgetError: No allocation fits the budget.
        ProviderError: A model's endpoint is down or refuses the key; the run can be resumed.
    """
    return run_now(
        aoptimize(
            task,
            budget=budget,
            allocator=allocator,
            n_trials=n_trials,
            seed=seed,
            search_budget=search_budget,
            n_search=n_search,
            confirm=confirm,
            concurrency=concurrency,
            run=run,
            store=store,
            endpoint=endpoint,
            source=source,
            trust=trust,
            observer=observer,
        ),
        instead="await agenttts.aoptimize(...)",
    )


def evaluate(
    plan: Plan | str | Path,
    *,
    split: Split = "test",
    n: int | None = None,
    concurrency: int = 32,
    store: str | None = None,
    endpoint: str | None = None,
    source: Literal["openai", "litellm"] | None = None,
    trust: bool = False,
    data: str | Path | None = None,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> PlanScore:
    """Score a plan on its task's problems.

    Args:
        plan: A loaded plan, a `plan.yaml`, or the run folder that holds it.
        split: `test` or `search`.
        n: Only the first n problems; `None`: all.
        concurrency: Problems worked on at a time.
        store: Where draws are kept, a database URL; `None`: `runs/samples.sqlite`.
        endpoint: Take every model from this OpenAI-compatible base URL.
        source: Client used for `endpoint`; `None`: `openai`.
        trust: Allow the Python functions that the task names to run.
        data: Folder where the data of the task are looked for first; they must be those that the plan was made with.
        on_rollout: Called with every problem's rollout, in the order of finishing.

    Raises:
        PlanError: The plan cannot be read.
        DataError: The problems cannot be read.
        ProviderError: A model's endpoint is down or refuses the key.
    """
    loaded = load_plan(plan, trust=trust, endpoint=endpoint, source=source, data=data)
    return run_now(
        score_plan(
            loaded,
            split=split,
            n=n,
            concurrency=concurrency,
            store_url=store_url(store),
            on_rollout=on_rollout,
        ),
        instead="await asyncio.to_thread(agenttts.evaluate, ...)",
    )
