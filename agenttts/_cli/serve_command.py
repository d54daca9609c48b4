"""The command `agenttts serve`: its options. Only `typer` is imported here; the work is in `agenttts._cli.serve`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agenttts._cli.completion import complete_plans
from agenttts._cli.options import EndpointOption, SourceOption, TrustOption

__all__ = ["serve"]


class Content(StrEnum):
    """What is sent as the content of a reply."""

    TEXT = "text"
    ANSWER = "answer"


def serve(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            help="A plan.yaml, or the run that holds it: its folder, or its name under runs/.",
            autocompletion=complete_plans,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback needs a key.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8412,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable that holds the key callers must send.",
            show_default="AGENTTTS_SERVE_KEY, if set",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model.", show_default="agenttts/<task>")
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=SOURCE",
            help="Where a chat holds a field of the problem: user (the last message), first_user, system, "
            "conversation or json.KEY; may be given several times.",
            show_default="the plan's; else the last message",
        ),
    ] = None,
    content: Annotated[
        Content, typer.Option(help="Send the whole text of the selected sample, or the answer alone.")
    ] = Content.TEXT,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Keep draws here and pay none twice: sqlite:///file, postgresql+psycopg://...",
            show_default="draws are not kept",
        ),
    ] = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests worked on at a time.")] = 32,
    queue: Annotated[
        int, typer.Option(min=0, help="Requests that may wait for that; more are refused (429).")
    ] = 128,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Longest time at work of one request.")
    ] = 600.0,
    drain: Annotated[
        float,
        typer.Option(min=0.0, metavar="SECONDS", help="Time to finish what is at work when the server ends."),
    ] = 60.0,
    max_body: Annotated[int, typer.Option(min=1, metavar="BYTES", help="Largest request.")] = 1 << 20,
    log_requests: Annotated[
        bool, typer.Option("--log-requests", help="Log answered requests too, not only failures.")
    ] = False,
    trust: TrustOption = False,
) -> None:
    """Serve a plan as an OpenAI-compatible model: every request runs the whole plan."""
    from agenttts._cli.console import ending

    with ending():
        from agenttts._cli.serve import ServeRequest, run_serve

        run_serve(
            ServeRequest(
                plan=plan,
                host=host,
                port=port,
                api_key_env=api_key_env,
                name=name,
                pairs=tuple(map_ or ()),
                content=content.value,
                store=store,
                endpoint=endpoint,
                source=None if source is None else source.value,
                concurrency=concurrency,
                queue=queue,
                timeout_s=timeout,
                drain_s=drain,
                max_body_bytes=max_body,
                log_requests=log_requests,
                trust=trust,
            )
        )
