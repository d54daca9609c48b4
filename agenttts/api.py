"""The Python surface: search for an allocation, score a plan, compare allocators. Synchronous; the search has an async twin.

The command line asks for the same. How a study is opened lives in `agenttts.study.opening`, how a plan is scored in
`agenttts.study.scoring`, how a comparison is opened in `agenttts.study.comparison_opening`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agenttts.budgets.cost import Budget
from agenttts.errors import InputError
from agenttts.pipeline.together import run_now
from agenttts.study.comparison_runs import ComparisonResult
from agenttts.study.opening import load_task, open_study, store_url, study_options, unit_of
from agenttts.study.result import StudyResult
from agenttts.study.scoring import PlanScore, Split, load_plan, score_plan
from agenttts.task.task import Task

if TYPE_CHECKING:
    from agenttts.pipeline.base import Allocation, Rollout
    from agenttts.pipeline.plan import Plan
    from agenttts.study.comparison_workers import WorkerReport
    from agenttts.study.result import Observer

__all__ = ["aoptimize", "compare", "evaluate", "optimize"]


async def aoptimize(
    task: Task | str | Path,
    *,
    budget: Budget | str | float | None = None,
    allocator: str | None = None,
    n_trials: int = 40,
    seed: int = 0,
    search_budget: Budget | str | float | None = None,
    n_search: int | None = None,
    data: str | Path | None = None,
    confirm: bool = True,
    racing: bool = True,
    concurrency: int = 32,
    run: str | Path | None = None,
    store: str | None = None,
    endpoint: str | None = None,
    source: Literal["openai", "litellm"] | None = None,
    trust: bool = False,
    planner: str | None = None,
    planner_budget: Budget | str | float | None = None,
    planner_prompts: str | Path | None = None,
    switches: Mapping[str, Any] | None = None,
    observer: Observer | None = None,
) -> StudyResult:
    """As `optimize`, for callers that are asynchronous themselves."""
    loaded = load_task(
        task,
        trust=trust,
        endpoint=endpoint,
        source=source,
        n_search=n_search,
        unit=unit_of(budget),
        data=data,
        needs=None if confirm else "search",
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
        racing=racing,
        planner=planner,
        planner_budget=planner_budget,
        planner_prompts=planner_prompts,
        switches=switches,
    )
    return await open_study(loaded, options, run=run, store=store).study.run(observer)


def optimize(
    task: Task | str | Path,
    *,
    budget: Budget | str | float | None = None,
    allocator: str | None = None,
    n_trials: int = 40,
    seed: int = 0,
    search_budget: Budget | str | float | None = None,
    n_search: int | None = None,
    data: str | Path | None = None,
    confirm: bool = True,
    racing: bool = True,
    concurrency: int = 32,
    run: str | Path | None = None,
    store: str | None = None,
    endpoint: str | None = None,
    source: Literal["openai", "litellm"] | None = None,
    trust: bool = False,
    planner: str | None = None,
    planner_budget: Budget | str | float | None = None,
    planner_prompts: str | Path | None = None,
    switches: Mapping[str, Any] | None = None,
    observer: Observer | None = None,
) -> StudyResult:
    """Search for the allocation that scores best within a budget; write its plan into the run's folder.

    Asking again for the same returns the finished run, or goes on with one that was cut off; no draw that
    arrived is paid twice.

    Args:
        task: A loaded task, a task file, its folder, or the name of a task of the catalogue.
        budget: Most that one problem may cost, charged: `"40 gflops"`, `"0.002usd"`, or a number in the task's unit;
            `None`: the task's default.
        allocator: What proposes allocations, by name; `None`: `agent` where a planner is set, else `curves`.
        n_trials: Allocations to try.
        seed: The same seed gives the same run.
        search_budget: Most that the whole search may spend, without a unit in that of the budget; `None`: no limit.
        n_search: Use only this many search problems; `None`: the task's. Only where `task` is not loaded yet.
        data: In place of the task's data: a file, divided into search and test problems as `splits` say, or a folder
            with `search.*` and `test.*`, of the same columns; the `n` of splits then count as at most.
        confirm: Score winner and runner-up on problems that were not used for choosing.
        racing: End a trial as soon as it is surely worse than the best so far, or surely over the budget.
        concurrency: Problems worked on at a time; does not change the result.
        run: Name (kept under `runs/`) or folder of the run; `None`: a name made of the task and what was asked.
        store: Where draws are kept, a database URL; `None`: `runs/samples.sqlite`.
        endpoint: Ask the models of stages at this OpenAI-compatible base URL; scorers and planner stay where their cards say.
        source: Client used for `endpoint`; `None`: `openai`.
        trust: Allow the Python functions that the task names to run.
        planner: Card name of the model that the allocator asks for advice; `None`: the task's, if any.
        planner_budget: Most that all calls to the planner may cost together; `None`: no cap but the search budget.
        planner_prompts: Folder with prompt files that replace the allocator's own.
        switches: Options of the allocator, by name.
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
            data=data,
            confirm=confirm,
            racing=racing,
            concurrency=concurrency,
            run=run,
            store=store,
            endpoint=endpoint,
            source=source,
            trust=trust,
            planner=planner,
            planner_budget=planner_budget,
            planner_prompts=planner_prompts,
            switches=switches,
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
    allocate_across_problems: bool = False,
    budget: Budget | str | float | None = None,
    on_rollout: Callable[[Rollout], None] | None = None,
) -> PlanScore:
    """Score a plan on its task's problems.

    Args:
        plan: A loaded plan, a `plan.yaml`, or the run folder that holds it.
        split: `test` or `search`.
        n: Only the first n problems; `None`: all.
        concurrency: Problems worked on at a time.
        store: Where draws are kept, a database URL; `None`: `runs/samples.sqlite`.
        endpoint: Ask the models of stages at this OpenAI-compatible base URL; scorers and planner stay where their cards say.
        source: Client used for `endpoint`; `None`: `openai`.
        trust: Allow the Python functions that the task names to run.
        data: Where the data that the plan was made with lie now, or others in their place, as for `optimize`.
        allocate_across_problems: Let samples go where they are expected to gain most per cost, across the problems.
        budget: With it: the average budget of a problem; `None`: what the plan costs as it is.
        on_rollout: Called with every problem's rollout, in the order of finishing.

    Raises:
        PlanError: The plan cannot be read.
        DataError: The problems cannot be read.
        ProviderError: A model's endpoint is down or refuses the key.
    """
    loaded = load_plan(plan, trust=trust, endpoint=endpoint, source=source, data=data, needs=split)
    return run_now(
        score_plan(
            loaded,
            split=split,
            n=n,
            concurrency=concurrency,
            store_url=store_url(store),
            across=_average(loaded, budget, allocate_across_problems),
            share_out=allocate_across_problems,
            on_rollout=on_rollout,
        ),
        instead="await asyncio.to_thread(agenttts.evaluate, ...)",
    )


def _average(plan: Plan, budget: Budget | str | float | None, across: bool) -> Budget | None:
    """Return the average budget of a batch.

    Raises:
        InputError: It cannot be read, or nothing is shared out under it.
    """
    if budget is None:
        return None
    if not across:
        raise InputError("a plan costs what it costs: `budget` goes with allocate_across_problems")
    unit = plan.budget.unit if plan.budget is not None else plan.task.file.budget.unit
    return budget if isinstance(budget, Budget) else Budget.parse(str(budget), unit)


def compare(
    task: Task | str | Path,
    allocators: Sequence[str] | str,
    *,
    seeds: int = 20,
    budget: Budget | str | float | None = None,
    n_trials: int = 40,
    batch: int = 4,
    target: float = 0.01,
    truth: Mapping[Allocation, float] | None = None,
    search_budget: Budget | str | float | None = None,
    confirm: bool = True,
    racing: bool = True,
    planner: str | None = None,
    planner_budget: Budget | str | float | None = None,
    planner_prompts: str | Path | None = None,
    planner_timeout_s: float | None = None,
    concurrency: int = 32,
    jobs: int | None = None,
    n_search: int | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    store: str | None = None,
    endpoint: str | None = None,
    source: Literal["openai", "litellm"] | None = None,
    trust: bool = False,
    report: Callable[[WorkerReport], None] | None = None,
) -> ComparisonResult:
    """Compare allocators by repeated searches; write tables and a page with plots into the comparison's folder.

    Searches run in processes of their own: in a script, call this under `if __name__ == "__main__":`. Asking again for
    the same reads what is finished and goes on with the rest; allocators and seeds may be added. Draws are shared and
    paid for once, and every search is billed as if it were alone. A search that fails is told in the result.

    Args:
        task: A loaded task, a task file, its folder, or the name of a task of the catalogue.
        allocators: Names, each of them once: a list, or text with commas between them. With switches they stand in
            brackets: `agenttts[no_insight1=true]`.
        seeds: Searches of each allocator, with seeds 0, 1, ...
        budget: As for `optimize`.
        n_trials: Allocations that each search tries.
        batch: Trials proposed together.
        target: Distance from the best known score that counts as arrived, at least 0 and less than 1.
        truth: True score of every allocation that may win within the budget, where it is known. A search that was led
            by another one is left out of what needs the truth, with a note.
        search_budget: Most that each search may spend; `None`: no limit.
        confirm: Score each final plan on the test problems.
        racing: As for `optimize`.
        planner: As for `optimize`, for those allocators that ask one.
        planner_budget: As for `optimize`.
        planner_prompts: As for `optimize`.
        planner_timeout_s: Longest wait for one reply of the planner, with all attempts; `None`: 120 seconds.
        concurrency: Problems that each search works on at a time.
        jobs: Searches that run at a time; `None`: one a core.
        n_search: Use only this many search problems.
        data: As for `optimize`.
        out: Name (kept under `runs/`) or folder of the comparison; `None`: a name made of the task and what was asked.
        store: Where shared draws are kept, a database URL; `None`: `draws.sqlite` in the folder.
        endpoint: Ask the models of stages at this OpenAI-compatible base URL; scorers and planner stay where their cards say.
        source: Client used for `endpoint`; `None`: `openai`.
        trust: Allow the Python functions that the task names to run.
        report: Told of each trial and each search that ends.

    Raises:
        InputError: Task, allocators, budget, folder or an option cannot be used.
    """
    from agenttts.report.comparison_report import report_comparison
    from agenttts.study.comparison_opening import ComparisonRequest, cores, prepare_comparison
    from agenttts.study.comparison_runs import run_studies
    from agenttts.study.comparison_truth import check_truth
    from agenttts.study.contenders import split_names

    if isinstance(allocators, str):
        allocators = split_names(allocators)
    request = ComparisonRequest(
        task=task,
        allocators=allocators,
        n_seeds=seeds,
        target=target,
        budget=budget,
        n_trials=n_trials,
        batch=batch,
        search_budget=search_budget,
        confirm=confirm,
        racing=racing,
        planner=planner,
        planner_budget=planner_budget,
        planner_prompts=planner_prompts,
        planner_timeout_s=planner_timeout_s,
        concurrency=concurrency,
        n_search=n_search,
        data=data,
        out=out,
        store=store,
        endpoint=endpoint,
        source=source,
        trust=trust,
    )
    folder, names, numbers = prepare_comparison(request), request.names, list(range(seeds))
    if truth is not None:
        check_truth(truth, folder.task)
    failed = run_studies(folder, names, numbers, jobs=jobs or cores(), report=report or (lambda said: None))
    return report_comparison(folder, names, numbers, failed, target=target, truth=truth)
