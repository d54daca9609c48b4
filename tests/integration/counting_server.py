"""The tiny family behind a real HTTP server that writes down every draw it was asked for."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from agenttts.models.tiny_server import build_app

Draw = tuple[str, str, int]
"""Model, messages as JSON, seed: one draw of one stream."""


class CountingServer:
    """ASGI middleware around the real application."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self._app = build_app()
        self._delay_s = delay_s
        self.draws: Counter[Draw] = Counter()
        self.n_requests = 0
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/chat/completions"):
            await self._app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.n_requests += 1
        self.draws.update(_draws(json.loads(body)))
        sent = False

        async def replay() -> Any:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self._app(scope, replay, send)


def _draws(body: dict[str, Any]) -> list[Draw]:
    messages = json.dumps(body["messages"], sort_keys=True)
    return [(body["model"], messages, body["seed"] + j) for j in range(body.get("n") or 1)]


@contextmanager
def counting_server(delay_s: float = 0.0) -> Iterator[CountingServer]:
    """Serve in a thread on a free port of the loopback address."""
    counting = CountingServer(delay_s)
    server = uvicorn.Server(
        uvicorn.Config(counting, host="127.0.0.1", port=0, log_level="error", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the server did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    counting.url = f"http://127.0.0.1:{port}/v1"
    try:
        yield counting
    finally:
        server.should_exit = True
        thread.join(timeout=30)
