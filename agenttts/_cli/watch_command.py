"""The command `agenttts watch`: its options and what they mean. Its body is in `watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from agenttts._cli.options import JsonOption, RunArgument

__all__ = ["watch"]


def watch(
    run: RunArgument,
    once: Annotated[bool, typer.Option("--once", help="Show how it stands now, and end.")] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=3600, help="How often to look.")
    ] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Show a run of another process until it ends; with --json how it stands now."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.watch import run_watch

        run_watch(run, once=once, every_s=every, as_json=as_json)
