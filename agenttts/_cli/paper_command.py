"""The command `agenttts paper`: its options and what they mean. Its body is in `paper`."""

from __future__ import annotations

from typing import Annotated

import typer

from agenttts._cli.completion import complete_allocators, complete_listed, complete_tasks
from agenttts._cli.options import (
    BatchOption,
    BudgetOption,
    ConcurrencyOption,
    DataOption,
    EndpointOption,
    JobsOption,
    JsonOption,
    PlannerBudgetOption,
    PlannerOption,
    PlannerTimeoutOption,
    SearchBudgetOption,
    SeedsOption,
    SourceOption,
    TrialsOfEachOption,
    TrustOption,
    YesOption,
)

__all__ = ["paper"]


def paper(
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="TASK",
            help="A task file, its folder, or a name, e.g. 2wikimultihopqa.",
            autocompletion=complete_tasks,
        ),
    ],
    budget: BudgetOption = None,
    planner: PlannerOption = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="Only these: random, bo, llm_zs, mlcopilot, agenthpo, agenttts, or any other allocator.",
            show_default="the paper's six; without a planner random and bo",
            autocompletion=complete_listed(complete_allocators),
        ),
    ] = None,
    seeds: SeedsOption = 3,
    trials: TrialsOfEachOption = 50,
    batch: BatchOption = 10,
    search_problems: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Problems of a trial.", show_default="50")
    ] = None,
    test_problems: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Unseen problems that winners are scored on.", show_default="500"
        ),
    ] = None,
    target: Annotated[
        float, typer.Option(help="Distance from the best score found that counts as arrived, below 1.")
    ] = 0.01,
    search_budget: SearchBudgetOption = None,
    planner_budget: PlannerBudgetOption = None,
    planner_timeout: PlannerTimeoutOption = None,
    jobs: JobsOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Where it is kept; the same is gone on with.",
            show_default="runs/paper-<task>-<hash of what was asked>",
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
    data: DataOption = None,
    concurrency: ConcurrencyOption = None,
    trust: TrustOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Repeat the paper's protocol: six methods searched with several seeds, tested, beside the published table."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.paper import run_paper
        from agenttts.study.contenders import split_names
        from agenttts.study.paper_opening import PaperRequest

        run_paper(
            PaperRequest(
                task=task,
                methods=None if methods is None else split_names(methods),
                n_seeds=seeds,
                n_trials=trials,
                batch=batch,
                n_search=search_problems,
                n_test=test_problems,
                target=target,
                budget=budget,
                search_budget=search_budget,
                planner=planner,
                planner_budget=planner_budget,
                planner_timeout_s=planner_timeout,
                concurrency=concurrency or 32,
                out=out,
                store=store,
                endpoint=endpoint,
                source=source.value if source is not None else None,
                data=data,
                trust=trust,
            ),
            jobs=jobs,
            yes=yes,
            as_json=as_json,
        )
