"""The command line: which commands and options there are, and what they mean.

Only `typer` is imported here, and bodies live in `agenttts._cli`, loaded when a command runs, so that `--help` answers
at once. Exit codes and the form of errors are decided in `agenttts._cli.console.ending`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

_EXIT_CODES = (
    "Exit codes: 0 fine; 1 a bug in agenttts; 2 an input (task, plan, option, file, folder) cannot be used; "
    "3 a budget or limit was reached; 4 a model provider failed; 130 interrupted. "
    "AGENTTTS_DEBUG=1 shows the traceback of an error."
)

app = typer.Typer(
    name="agenttts",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # what is printed is text; brackets in it are brackets
    pretty_exceptions_enable=False,
    epilog=_EXIT_CODES,
    help="Find the model and the number of samples for every stage of an LLM pipeline that score best in a budget.",
)


class Source(StrEnum):
    """Which client talks to an endpoint."""

    OPENAI = "openai"
    LITELLM = "litellm"


class Split(StrEnum):
    """Which problems to answer."""

    TEST = "test"
    SEARCH = "search"


TaskArgument = Annotated[
    str,
    typer.Argument(metavar="TASK", help="A task file, its folder, or a name that `agenttts tasks` lists."),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        "-b",
        metavar="AMOUNT[UNIT]",
        help="Most that one problem may cost, e.g. 1e6 or 0.002usd. Units: gflops, usd, tokens, seconds, paper.",
        show_default="the task's",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where draws are kept: sqlite:///file, postgresql+psycopg://..., memory:",
        show_default="runs/samples.sqlite",
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Take every model from this OpenAI-compatible base URL. It is sent the key of OPENAI_API_KEY (or of the card's api_key_env), if set.",
    ),
]
SourceOption = Annotated[
    Source | None, typer.Option(help="Client used for --endpoint.", show_default="openai")
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Run the Python functions that the task names.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]
ConcurrencyOption = Annotated[
    int | None, typer.Option(min=1, help="Problems worked on at a time.", show_default="32")
]
SearchProblemsOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Use only N search problems.", show_default="the task's"),
]
RunsFolderOption = Annotated[Path, typer.Option("--folder", help="Folder of the runs.")]


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


@app.command(epilog=_EXIT_CODES)
def optimize(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="A task file, its folder, a name that `agenttts tasks` lists, or a run folder to go on with.",
        ),
    ],
    budget: BudgetOption = None,
    allocator: Annotated[
        str | None,
        typer.Option(help="What proposes allocations: curves, tpe, random, grid.", show_default="curves"),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Allocations to try.", show_default="40")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same run.", show_default="0")] = None,
    search_budget: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT[UNIT]",
            help="Most that the whole search may spend; it stops there and can be resumed.",
        ),
    ] = None,
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
    confirm: Annotated[
        bool,
        typer.Option("--confirm/--no-confirm", help="Score the winner on problems not used for choosing."),
    ] = True,
    trust: TrustOption = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Agree to spending money. Without it you are asked, or, off a terminal, refused (code 2).",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Search for the best allocation within a budget; writes plan.yaml into the run's folder."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.optimize import OptimizeRequest, run_optimize

        run_optimize(
            OptimizeRequest(
                task=task,
                budget=budget,
                allocator=allocator,
                n_trials=trials,
                seed=seed,
                search_budget=search_budget,
                run=run,
                store=store,
                endpoint=endpoint,
                source=source.value if source is not None else None,
                concurrency=concurrency,
                n_search=search_problems,
                confirm=confirm,
                trust=trust,
                yes=yes,
                as_json=as_json,
            )
        )


@app.command(epilog=_EXIT_CODES)
def check(
    task: TaskArgument,
    budget: BudgetOption = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials that the quote is for.")] = 40,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    search_problems: SearchProblemsOption = None,
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
            trust=trust,
            as_json=as_json,
        )


@app.command(epilog=_EXIT_CODES)
def evaluate(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", help="A plan.yaml, or the run folder that holds it.")
    ],
    split: Annotated[Split, typer.Option(help="Problems to answer.")] = Split.TEST,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only the first N problems.")] = None,
    store: StoreOption = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    concurrency: ConcurrencyOption = None,
    trust: TrustOption = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the task's data are looked for first.")
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


def main() -> None:
    """Run the command line; the entry point of the script `agenttts`."""
    app()
