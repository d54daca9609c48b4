"""The command line: which commands and options there are, and what they mean.

Only `typer` is imported here, and bodies live in `agenttts._cli`, loaded when a command runs, so that `--help` answers
at once. Exit codes and the form of errors are decided in `agenttts._cli.console.ending`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.compare_command import compare
from agenttts._cli.completion import (
    complete_allocators,
    complete_plans,
    complete_tasks_and_runs,
)
from agenttts._cli.data_commands import data_app
from agenttts._cli.export_command import export
from agenttts._cli.options import (
    BudgetOption,
    ConcurrencyOption,
    ConfirmOption,
    DataOption,
    EndpointOption,
    JsonOption,
    PlannerBudgetOption,
    PlannerOption,
    PlannerPromptsOption,
    PlannerTimeoutOption,
    RacingOption,
    RunArgument,
    RunsFolderOption,
    SearchBudgetOption,
    SearchProblemsOption,
    SourceOption,
    Split,
    StoreOption,
    TaskArgument,
    TrustOption,
    YesOption,
)
from agenttts._cli.paper_command import paper
from agenttts._cli.record_commands import record_app
from agenttts._cli.report_command import report
from agenttts._cli.serve_command import serve
from agenttts._cli.starting_commands import doctor, init
from agenttts._cli.verifiers_commands import verifiers_app
from agenttts._cli.watch_command import watch

__all__ = ["app", "main"]

_EXIT_CODES = (
    "Exit codes: 0 fine; 1 a bug in agenttts; 2 an input (task, plan, option, file, folder) cannot be used; "
    "3 a budget or limit was reached; 4 a model provider failed; 130 interrupted. "
    "AGENTTTS_DEBUG=1 shows the traceback of an error."
)

app = typer.Typer(
    name="agenttts",
    no_args_is_help=True,
    rich_markup_mode=None,  # what is printed is text; brackets in it are brackets
    pretty_exceptions_enable=False,
    epilog=_EXIT_CODES,
    help="Find the model and the number of samples for every stage of an LLM pipeline that score best in a budget.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from agenttts import __version__

        typer.echo(f"agenttts {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Shared by all commands."""


app.command(epilog=_EXIT_CODES)(init)
app.command(epilog=_EXIT_CODES)(doctor)


@app.command(epilog=_EXIT_CODES)
def optimize(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="A task file, its folder, a name that `agenttts tasks` lists, or a run folder to go on with.",
            autocompletion=complete_tasks_and_runs,
        ),
    ],
    budget: BudgetOption = None,
    allocator: Annotated[
        str | None,
        typer.Option(
            help="What proposes allocations, e.g. agent, curves, tpe, random, grid.",
            show_default="agent where a planner is set, else curves",
            autocompletion=complete_allocators,
        ),
    ] = None,
    planner: PlannerOption = None,
    planner_budget: PlannerBudgetOption = None,
    planner_prompts: PlannerPromptsOption = None,
    planner_timeout: PlannerTimeoutOption = None,
    switch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Option of the allocator; may be given several times."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Allocations to try.", show_default="40")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same run.", show_default="0")] = None,
    search_budget: SearchBudgetOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Where the run is kept; the same run is resumed.",
            show_default="runs/<task>-<hash of what was asked>",
        ),
    ] = None,
    store: StoreOption = None,
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
    """Search for the best allocation within a budget; writes plan.yaml and report.html into the run's folder."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.optimize import OptimizeRequest, run_optimize

        run_optimize(
            OptimizeRequest(
                task=task,
                budget=budget,
                allocator=allocator,
                planner=planner,
                planner_budget=planner_budget,
                planner_prompts=planner_prompts,
                planner_timeout=planner_timeout,
                switches=switch or None,
                n_trials=trials,
                seed=seed,
                search_budget=search_budget,
                run=run,
                store=store,
                endpoint=endpoint,
                source=source.value if source is not None else None,
                concurrency=concurrency,
                n_search=search_problems,
                data=data,
                confirm=confirm,
                racing=racing,
                trust=trust,
                yes=yes,
                as_json=as_json,
            )
        )


app.command(epilog=_EXIT_CODES)(compare)
app.command(epilog=_EXIT_CODES)(paper)


@app.command(epilog=_EXIT_CODES)
def check(
    task: TaskArgument,
    budget: BudgetOption = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials that the quote is for.")] = 40,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    search_problems: SearchProblemsOption = None,
    data: DataOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a task without spending anything: the resolved task, its space, and a quote."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.check import run_check

        run_check(
            task,
            budget=budget,
            n_trials=trials,
            endpoint=endpoint,
            source=source.value if source is not None else None,
            n_search=search_problems,
            data=data,
            trust=trust,
            as_json=as_json,
        )


@app.command(epilog=_EXIT_CODES)
def evaluate(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            help="A plan.yaml, or the run that holds it: its folder, or its name under runs/.",
            autocompletion=complete_plans,
        ),
    ],
    split: Annotated[Split, typer.Option(help="Problems to answer.")] = Split.TEST,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first N problems.")] = None,
    store: StoreOption = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    concurrency: ConcurrencyOption = None,
    trust: TrustOption = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where the plan's own data lie now, or others in their place: a file, or a folder with test.* and "
            "search.* (as for optimize).",
            show_default="where they lay",
        ),
    ] = None,
    across: Annotated[
        bool,
        typer.Option(
            "--allocate-across-problems", help="Let samples go to the problems where they gain most per cost."
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="With it: the average a problem may cost; default: what the plan costs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score a plan on its task's problems."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.evaluate import run_evaluate

        run_evaluate(
            plan,
            split=split.value,
            n=n,
            store=store,
            endpoint=endpoint,
            source=source.value if source is not None else None,
            concurrency=concurrency,
            trust=trust,
            data=data,
            across=across,
            budget=budget,
            as_json=as_json,
        )


@app.command(epilog=_EXIT_CODES)
def tasks(as_json: JsonOption = False) -> None:
    """List the tasks that can be named."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.listing import run_tasks

        run_tasks(as_json=as_json)


@app.command(epilog=_EXIT_CODES)
def models(as_json: JsonOption = False) -> None:
    """List the model cards with their figures."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.listing import run_models

        run_models(as_json=as_json)


app.command(epilog=_EXIT_CODES)(serve)


@app.command("serve-models", epilog=_EXIT_CODES)
def serve_models(
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8411,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Environment variable that holds the key callers must send."),
    ] = None,
) -> None:
    """Serve the tiny models as an OpenAI-compatible endpoint."""
    from agenttts._cli.console import ending

    with ending():
        from agenttts._cli.serving import run_serve_models

        run_serve_models(host=host, port=port, api_key_env=api_key_env)


@app.command(epilog=_EXIT_CODES)
def runs(folder: RunsFolderOption = Path("runs"), as_json: JsonOption = False) -> None:
    """List runs: status, best so far, spent, and how to resume."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.runs import run_runs

        run_runs(folder, as_json=as_json)


@app.command(epilog=_EXIT_CODES)
def diagnose(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with plots, one file that needs no network."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what limits a run: generation or selection, and whether more samples or a verifier would help."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.diagnose import run_diagnose

        run_diagnose(run, out=out, as_json=as_json)


app.command(epilog=_EXIT_CODES)(report)
app.command(epilog=_EXIT_CODES)(watch)
app.command(epilog=_EXIT_CODES)(export)
app.add_typer(data_app, name="data", epilog=_EXIT_CODES)
app.add_typer(record_app, name="record", epilog=_EXIT_CODES)
app.add_typer(verifiers_app, name="verifiers", epilog=_EXIT_CODES)


def main() -> None:
    """Run the command line; the entry point of the script `agenttts`."""
    app()
