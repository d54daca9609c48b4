"""The commands under `agenttts verifiers`: which there are and what they mean. Bodies are in `verifiers`."""

from __future__ import annotations

from typing import Annotated

import typer

from agenttts._cli.completion import complete_tasks, complete_verifiers
from agenttts._cli.options import (
    ConcurrencyOption,
    DataOption,
    EndpointOption,
    JsonOption,
    SearchBudgetOption,
    SourceOption,
    StoreOption,
    TrustOption,
)

__all__ = ["verifiers_app"]

verifiers_app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    help="List what can score samples; check one on draws of which gold is known.",
)


@verifiers_app.callback()
def list_(context: typer.Context, as_json: JsonOption = False) -> None:
    """List what can score samples; check one on draws of which gold is known."""
    if context.invoked_subcommand is not None:
        return
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.verifiers import run_verifiers

        run_verifiers(as_json=as_json)


@verifiers_app.command("check")
def check(
    verifier: Annotated[
        str,
        typer.Argument(
            metavar="VERIFIER",
            help="A kind or card that `agenttts verifiers` lists, the label of one of the task's ways to select, a "
            "block in quotes such as '{kind: judge, model: CARD}', or `oracle` for gold itself.",
            autocompletion=complete_verifiers,
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="A task file, its folder, or a name that `agenttts tasks` lists.",
            autocompletion=complete_tasks,
        ),
    ],
    stage: Annotated[
        str | None,
        typer.Option(help="A stage with gold.", show_default="the one that is scored in the end"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="One of the stage's models.", show_default="the one in the middle of its list"),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=2, help="Draws per problem.", show_default="the stage's most, 16 at most"),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first N search problems.")] = None,
    search_budget: SearchBudgetOption = None,
    store: StoreOption = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    concurrency: ConcurrencyOption = None,
    data: DataOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a verifier on labelled draws: ranking, calibration, and what selecting by it brings."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.verifiers import CheckRequest, run_verifier_check

        run_verifier_check(
            CheckRequest(
                verifier=verifier,
                task=task,
                stage=stage,
                model=model,
                n_samples=samples,
                n_problems=n,
                search_budget=search_budget,
                store=store,
                endpoint=endpoint,
                source=source.value if source is not None else None,
                concurrency=concurrency or 32,
                data=data,
                trust=trust,
            ),
            as_json=as_json,
        )
