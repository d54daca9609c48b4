"""A plan as an ASGI application, and the process that serves it until it is told to end."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agenttts.budgets.cost_model import CostModel
from agenttts.errors import InputError
from agenttts.pipeline.messages import mapping_faults
from agenttts.serve.engine import Engine
from agenttts.serve.gate import Gate
from agenttts.serve.logs import Log
from agenttts.serve.metrics import Metrics
from agenttts.serve.problems import Reading
from agenttts.serve.service import Limits, Service, unknown_address
from agenttts.serve.shrink import Shrinker
from agenttts.serve.telling import Content
from agenttts.serve.tracing import Tracing, tracing_of

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from agenttts.pipeline.plan import Plan

__all__ = ["ServeOptions", "build_app", "build_service", "serve_on"]

KEEP_ALIVE_S = 75
"""Seconds that an idle connection stays open: longer than clients and proxies (60) keep theirs, so that none sends a
request into one that is just being closed."""
GRACE_S = 5
"""Seconds beyond the drain limit that replies may take to be written."""


@dataclass(frozen=True)
class ServeOptions:
    """How a plan is served."""

    name: str | None = None
    """Name of the model; `None`: `agenttts/<name of the task>`."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Field of a problem -> where a chat holds it; replaces single fields of the plan's `messages`."""
    content: Content = "text"
    api_key: str | None = None
    """Callers must send it as a bearer token; `None`: no check, and only callers that name localhost."""
    store: str | None = None
    """Where draws are kept, a database URL; `None`: nowhere."""
    limits: Limits = Limits()
    log: Log = field(default_factory=Log)
    tracing: Tracing | None = None
    """`None`: as the environment says."""


def build_service(plan: Plan, options: ServeOptions | None = None) -> Service:
    """Return all that answers requests, not yet open.

    Raises:
        InputError: The mapping cannot be used.
        TrustError: The task names Python functions and is not trusted.
    """
    options = options or ServeOptions()
    if faults := mapping_faults(options.mapping):
        raise InputError(f"--map: {faults[0]}")
    cost_model = CostModel(plan.task.cards)
    limits = options.limits
    gate = Gate(limits.most_running, limits.most_waiting)
    metrics = Metrics(cost_model, gate)
    tracing = options.tracing or tracing_of(os.environ, plan.task.cards)
    return Service(
        engine=Engine(
            plan,
            cost_model,
            store_url=options.store,
            watchers=(metrics, tracing),
            on_event=metrics.event,
        ),
        name=options.name or f"agenttts/{plan.task.file.name}",
        reading=Reading.of(plan, options.mapping),
        shrinker=Shrinker(plan, cost_model),
        gate=gate,
        metrics=metrics,
        tracing=tracing,
        log=options.log,
        limits=limits,
        content=options.content,
        api_key=options.api_key,
    )


def build_app(service: Service) -> Starlette:
    """Return the ASGI application of a service."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    return Starlette(
        routes=[
            Route("/healthz", service.health),
            Route("/readyz", service.ready),
            Route("/metrics", service.tell_metrics),
            Route("/v1/models", service.list_models),
            Route("/v1/models/{name:path}", service.one_model),
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
        ],
        exception_handlers={HTTPException: unknown_address},
        lifespan=service.lifespan,
    )


def serve_on(listener: socket.socket, service: Service) -> None:
    """Serve on a socket until SIGTERM or Ctrl-C; then finish what is at work, within the limit.

    A second Ctrl-C ends at once.

    Raises:
        AuthenticationError: The environment lacks a key that a model of the plan needs.
        StoreError: The store cannot be opened.
    """
    import uvicorn

    config = uvicorn.Config(
        build_app(service),
        log_level="critical",  # what matters is in our own log, without prompts
        access_log=False,
        timeout_graceful_shutdown=int(service.limits.drain_s) + GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
        lifespan="on",
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.drain()
            await super().shutdown(sockets)
            service.log.event("ended")

    try:
        with suppress(KeyboardInterrupt):  # how it is ended
            Server(config).run(sockets=[listener])
    except SystemExit:
        if service.startup_error is None:
            raise
    if service.startup_error is not None:
        raise service.startup_error
