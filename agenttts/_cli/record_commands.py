"""The commands under `agenttts record`: which there are and what they mean. Bodies are in `record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agenttts.models.recorded_columns import columns_text

__all__ = ["record_app"]

record_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Replay draws that were made once: import tables of them, look into them.",
)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")
]


# \b keeps the lines that follow, up to an empty one, as they are.
@record_app.command("import", epilog=f"\b\nColumns of a table:\n{columns_text()}")
def import_(
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLE...",
            help="CSV (also .csv.gz) or Parquet, one row per draw; its columns are described below.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the draws, problems and task are written.")
    ],
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="The task that the draws are for; its import.yaml says what it takes.",
            show_default="one is drafted",
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NEW=RECORDED[:FIRST-LAST]",
            help="Stage and the recorded draws it takes, renumbered from 0, e.g. attempt=solve:0-63. May be repeated; "
            "stages that are not named are left out.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check tables of recorded draws and make a folder of them that `agenttts optimize` runs on."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.record import run_import

        run_import(tables, out=out, task=task, stages=stage or (), force=force, as_json=as_json)


@record_app.command("show")
def show(
    place: Annotated[
        Path, typer.Argument(metavar="FOLDER|TABLE", help="A table of draws, or a folder of some.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what a recording holds: stages, models, problems, draws, gaps, and what is estimated."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.record import run_show

        run_show(place, as_json=as_json)
