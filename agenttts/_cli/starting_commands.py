"""`agenttts init` and `agenttts doctor`: what can be asked. Only `typer` is imported here, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.completion import (
    complete_answers,
    complete_cards,
    complete_data_file,
    complete_listed,
    complete_tasks_and_plans,
)
from agenttts._cli.options import EndpointOption, JsonOption, SourceOption, StoreOption, TrustOption

__all__ = ["doctor", "init"]


def init(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Your problems with their right answers: JSONL, CSV, Parquet (each also .gz) or one JSON list.",
            show_default="asked on a terminal; else an example is written",
            autocompletion=complete_data_file,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the task.", show_default="of the file")] = None,
    question: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Field with the question.", show_default="guessed")
    ] = None,
    gold: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Field with the right answer (dots lead into it), or with tests of code.",
            show_default="guessed",
        ),
    ] = None,
    id_field: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="FIELD", help="Field that tells problems apart.", show_default="guessed"
        ),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Kind of answer: number, choice, text, list, json, math, long, code.",
            show_default="guessed",
            autocompletion=complete_answers,
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Model cards to choose from; with --endpoint also names that it serves.",
            show_default="all that the endpoint serves; without one the tiny family, for trying",
            autocompletion=complete_listed(complete_cards),
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Stages in order, e.g. plan,solve.", show_default="solve"),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="OpenAI-compatible base URL that serves the models. Its list of models is asked for; it is sent the "
            "key of OPENAI_API_KEY (or --api-key-env), if set.",
        ),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Environment variable that holds the endpoint's key."),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=N", help="Size of a model that no card tells, e.g. my-model=7e9."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the task.", show_default="tasks/NAME")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the problems into the task's folder.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take every default; ask nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a task for a file of problems: it looks at the file, tells what it guessed, and spends nothing."""
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.init import InitRequest, run_init

        run_init(
            InitRequest(
                file=file,
                name=name,
                question=question,
                gold=gold,
                id_field=id_field,
                answer=answer,
                models=models,
                stages=stages,
                endpoint=endpoint,
                api_key_env=api_key_env,
                parameters=parameters or (),
                out=out,
                copy=copy,
                force=force,
                yes=yes,
                as_json=as_json,
            )
        )


def doctor(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[TASK|PLAN]",
            help="A task, a plan.yaml or a run: its cards, keys and endpoints are looked at, too.",
            autocompletion=complete_tasks_and_plans,
        ),
    ] = None,
    store: StoreOption = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Deadline of a request that costs nothing.")
    ] = 5.0,
    spend: Annotated[
        bool,
        typer.Option(
            "--spend",
            help="Ask every model for four tiny completions: latency, n=, usage, logprobs, JSON schema.",
        ),
    ] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look whether everything is ready: packages, cards, keys, endpoints, sandbox, store, disk. Spends nothing.

    Ends with 0 where all is well, 2 where something must be mended, 4 where an endpoint is down.
    """
    from agenttts._cli.console import ending

    with ending(as_json=as_json):
        from agenttts._cli.doctor import DoctorRequest, run_doctor

        run_doctor(
            DoctorRequest(
                subject=subject,
                store=store,
                endpoint=endpoint,
                source=source.value if source is not None else None,
                timeout_s=timeout,
                spend=spend,
                trust=trust,
                as_json=as_json,
            )
        )
