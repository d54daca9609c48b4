"""The command `agenttts compare`: its options and what they mean. Its body is in `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.completion import complete_allocators, complete_listed
from agenttts._cli.options import (
    BatchOption,
    BudgetOption,
    ConcurrencyOption,
    ConfirmOption,
    DataOption,
    EndpointOption,
    JobsOption,
    JsonOption,
    PlannerBudgetOption,
    PlannerOption,
    PlannerPromptsOption,
    PlannerTimeoutOption,
    RacingOption,
    SearchBudgetOption,
    SearchProblemsOption,
    SeedsOption,
    SourceOption,
    TaskArgument,
    TrialsOfEachOption,
    TrustOption,
    YesOption,
)

__all__ = ["compare"]


def compare(
    task: TaskArgument,
    allocators: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME,...",
            help="What proposes allocations, separated by commas; with switches in brackets, e.g. "
            "'agenttts,agenttts[no_insight1=true]'.",
            autocompletion=complete_listed(complete_allocators),
        ),
    ],
    seeds: SeedsOption = 20,
    budget: BudgetOption = None,
    trials: TrialsOfEachOption = 40,
    batch: BatchOption = 4,
    target: Annotated[
        float, typer.Option(help="Distance from the best known score that counts as arrived, below 1.")
    ] = 0.01,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="True scores, where they are known: columns allocation, score."),
    ] = None,
    search_budget: SearchBudgetOption = None,
    planner: PlannerOption = None,
    planner_budget: PlannerBudgetOption = None,
    planner_prompts: PlannerPromptsOption = None,
    planner_timeout: PlannerTimeoutOption = None,
    jobs: JobsOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Where it is kept; the same comparison is gone on with.",
            show_default="runs/compare-<task>-<hash of what was asked>",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the draws are kept that searches share.",
            show_default="draws.sqlite in the folder",
        ),
    ] = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    concurrency: ConcurrencyOption = None,
    search_problems: SearchProblemsOption = None,
    data: DataOption = None,
    confirm: ConfirmOption = True,
    racing: RacingOption = True,
    trust: TrustOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare allocators: repeated searches of each, honest statistics, a page with plots."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.compare import run_compare
        from agenttts.study.comparison_opening import ComparisonRequest
        from agenttts.study.contenders import split_names

        run_compare(
            ComparisonRequest(
                task=task,
                allocators=split_names(allocators),
                n_seeds=seeds,
                target=target,
                budget=budget,
                n_trials=trials,
                batch=batch,
                search_budget=search_budget,
                confirm=confirm,
                racing=racing,
                planner=planner,
                planner_budget=planner_budget,
                planner_prompts=planner_prompts,
                planner_timeout_s=planner_timeout,
                concurrency=concurrency or 32,
                n_search=search_problems,
                data=data,
                out=out,
                store=store,
                endpoint=endpoint,
                source=source.value if source is not None else None,
                trust=trust,
            ),
            jobs=jobs,
            truth=truth,
            yes=yes,
            as_json=as_json,
        )
