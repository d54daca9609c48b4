"""The commands under `agenttts data`: which there are and what they mean. Bodies are in `data`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.completion import complete_recipes

__all__ = ["data_app"]

data_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Make the data of tasks from published sets.",
)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]


@data_app.command("prepare")
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A task that `agenttts data list` names.",
            autocompletion=complete_recipes,
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PATH|DATASET|URL",
            help="File or folder in the published shape (JSON, JSONL, CSV, Parquet, also .gz), a data set on Hugging Face "
            "(OWNER/NAME or OWNER/NAME@REVISION), or the address of a file.",
            show_default="where it is published",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where rows, task and record are written.", show_default="tasks/NAME"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed and files, same rows.")] = 0,
    n_search: Annotated[
        int | None, typer.Option(min=1, help="Most search problems.", show_default="the recipe's")
    ] = None,
    n_test: Annotated[
        int | None, typer.Option(min=1, help="Most test problems.", show_default="the recipe's")
    ] = None,
    from_date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="livecodebench: contests of this day or later."),
    ] = None,
    to_date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="livecodebench: contests of this day or earlier."),
    ] = None,
    test_mb: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="livecodebench: most megabytes of hidden tests a problem.", show_default="2"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the rows of a task from the set that is published, with a record of what was done."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.data import PrepareRequest, run_prepare

        run_prepare(
            PrepareRequest(
                name=name,
                source=source,
                out=out,
                seed=seed,
                n_search=n_search,
                n_test=n_test,
                from_date=None if from_date is None else from_date.date(),
                to_date=None if to_date is None else to_date.date(),
                test_mb=test_mb,
                force=force,
                as_json=as_json,
            )
        )


@data_app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the recipes: what they make, of what, under which licence."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.data import run_list

        run_list(as_json=as_json)
