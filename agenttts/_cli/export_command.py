"""The command `agenttts export`: which options there are and what they mean. Its body is in `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.options import JsonOption, RunArgument, StoreOption, TrustOption

__all__ = ["export"]


def export(
    run: RunArgument,
    trials: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One row per trial: FILE.csv, FILE.parquet or FILE.jsonl."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The plan: FILE.yaml or FILE.json.")
    ] = None,
    draws: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl", help="Every draw that the run used: prompt, sampling, text, usage."
        ),
    ] = None,
    optuna: Annotated[
        str | None,
        typer.Option(
            metavar="STORAGE",
            help="The search as a study of Optuna, e.g. sqlite:///study.db or the journal file study.log.",
        ),
    ] = None,
    study_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of that study.", show_default="that of the run's folder"),
    ] = None,
    store: StoreOption = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="With --draws: where the run's data lie now, if they have moved."),
    ] = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's trials, plan, draws or search as files for other tools."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.export import ExportRequest, run_export

        run_export(
            ExportRequest(
                run=run,
                trials=trials,
                plan=plan,
                draws=draws,
                optuna=optuna,
                study_name=study_name,
                store=store,
                data=data,
                trust=trust,
                as_json=as_json,
            )
        )
