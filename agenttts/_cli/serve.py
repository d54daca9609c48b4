"""`agenttts serve`: from options to a running server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from agenttts._cli.console import clean, say_aside
from agenttts.errors import CardError, InputError

if TYPE_CHECKING:
    from agenttts.serve.app import ServeOptions
    from agenttts.serve.shrink import Shrinker

__all__ = ["ServeRequest", "run_serve"]

KEY_VARIABLE = "AGENTTTS_SERVE_KEY"


@dataclass(frozen=True)
class ServeRequest:
    """What was asked for; see the options of the command."""

    plan: Path
    host: str
    port: int
    api_key_env: str | None
    name: str | None
    pairs: tuple[str, ...]
    content: str
    store: str | None
    endpoint: str | None
    source: str | None
    concurrency: int
    queue: int
    timeout_s: float
    drain_s: float
    max_body_bytes: int
    log_requests: bool
    trust: bool


def run_serve(request: ServeRequest) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    from agenttts.models.tiny_server import check_address, listen
    from agenttts.serve.app import build_service, serve_on
    from agenttts.study.scoring import load_plan

    key = _key(request.api_key_env)
    check_address(request.host, key)
    plan = load_plan(request.plan, trust=request.trust, endpoint=request.endpoint, source=request.source)
    service = build_service(plan, _options(request, key))
    with listen(request.host, request.port) as listener:
        shown = f"[{request.host}]" if ":" in request.host else request.host
        port = listener.getsockname()[1]
        say_aside(f"Serving {clean(service.name)} at http://{shown}:{port}/v1 (Ctrl-C ends it).")
        say_aside(f"Allocation: {clean(str(plan.allocation))}")
        say_aside(f"A request holds: {_asked(service.reading.reads, service.reading.mapping)}")
        say_aside(_least_budget(service.shrinker))
        serve_on(listener, service)


def _options(request: ServeRequest, key: str | None) -> ServeOptions:
    from agenttts.serve.app import ServeOptions
    from agenttts.serve.logs import Log
    from agenttts.serve.service import Limits

    return ServeOptions(
        name=request.name,
        mapping=_mapping(request.pairs),
        content=cast("Literal['text', 'answer']", request.content),
        api_key=key,
        store=request.store,
        limits=Limits(
            most_running=request.concurrency,
            most_waiting=request.queue,
            most_body_bytes=request.max_body_bytes,
            timeout_s=request.timeout_s,
            drain_s=request.drain_s,
        ),
        log=Log(requests=request.log_requests),
    )


def _least_budget(shrinker: Shrinker) -> str:
    """Return in words how small a budget a request may set."""
    from agenttts.serve.shrink import HEADER

    try:
        least = shrinker.least()
    except CardError as error:
        return f"A request can set no budget: {clean(str(error))}"
    return f"A request may set a budget, {HEADER}: {least} or more"


def _key(variable: str | None) -> str | None:
    """Return the key that callers must send; `None`: none.

    Raises:
        InputError: The variable that was named is not set.
    """
    key = os.environ.get(variable or KEY_VARIABLE)
    if variable is not None and not key:
        raise InputError(f"--api-key-env: the environment variable {variable} is not set or empty")
    return key or None


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Read `--map FIELD=SOURCE`."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, source = pair.partition("=")
        if not sign:
            raise InputError(f"--map {pair!r}: expected FIELD=SOURCE, e.g. question=user")
        found[name.strip()] = source.strip()
    return found


def _asked(reads: Sequence[str], mapping: Mapping[str, str]) -> str:
    """Return in words what a request must hold."""
    if mapping:
        return ", ".join(f"{clean(name)} from {clean(source)}" for name, source in mapping.items())
    if len(reads) == 1:
        return f"{clean(reads[0])}, as the last message of the user"
    return f"a JSON object with {', '.join(map(clean, reads))}, as the last message of the user"
