"""The command `agenttts report`: its options and what they mean. Its body is in `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.completion import complete_runs
from agenttts._cli.options import JsonOption, TrustOption

__all__ = ["report"]


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder, the name of a run under runs/, or the folder of a comparison.",
            autocompletion=complete_runs,
        ),
    ],
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="[OTHER]",
            help="Another run, to show both beside each other.",
            autocompletion=complete_runs,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="The page to write.",
            show_default="report.html in the run's folder; of two runs report-OTHER.html in that of the first",
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the page of a run, of two runs or of a comparison: one file that needs no network."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.report import run_report

        run_report(run, other, out=out, open_page=open_page, trust=trust, as_json=as_json)
