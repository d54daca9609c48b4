"""A real HTTP server in a thread that speaks chat completions and can be slow, wrong, busy or gone.

Texts follow from the seed, as with a good server: choice j of a request with seed s says `draw s+j`.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
PROMPT_TOKENS = 7
DECODE_TOKENS = 3


@dataclass
class Answer:
    """What to send for one request."""

    status: int = 200
    body: Any = None
    """JSON, or bytes sent as they are; `None`: the usual completion."""
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    hang_up: bool = False
    """Close the connection without a reply."""


Script = Callable[[Body], Any]


def completion(body: Body, *, n: int | None = None, contents: list[Any] | None = None, **more: Any) -> Body:
    """Return the usual reply to a request; `contents` and `n` make it a strange one."""
    seed = body.get("seed") or 0
    wanted = n if n is not None else body.get("n", 1)
    texts = contents if contents is not None else [f"draw {seed + j}" for j in range(wanted)]
    choices = [
        {"index": j, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for j, text in enumerate(texts)
    ]
    if body.get("logprobs"):
        for choice in choices:
            choice["logprobs"] = {
                "content": [{"token": "draw", "logprob": -0.5}, {"token": "x", "logprob": -1.5}]
            }
    total = DECODE_TOKENS * len(texts)
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": total,
        "total_tokens": PROMPT_TOKENS + total,
    }
    reply = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": choices}
    return reply | {"usage": usage} | more


def error(
    status: int, message: str = "no", headers: dict[str, str] | None = None, code: str | None = None
) -> Answer:
    """Return an OpenAI-shaped error."""
    return Answer(
        status, {"error": {"message": message, "type": "x", "param": None, "code": code}}, headers or {}
    )


@dataclass
class LocalServer:
    """Handle of a running server."""

    url: str
    """Base URL, ending in /v1."""
    bodies: list[Body] = field(default_factory=list)
    """Every request so far, in order of arrival."""
    paths: list[str] = field(default_factory=list)
    """Path of every request."""
    keys: list[str] = field(default_factory=list)
    """Authorization header of every request."""
    times: list[float] = field(default_factory=list)
    """Monotonic clock at every request."""
    most_at_once: int = 0
    then: deque[Answer] = field(default_factory=deque)
    """Sent first, one per request; after them `always`."""
    always: Script | None = None
    """Makes the reply (JSON or `Answer`) from the request; `None`: the usual completion."""
    routes: dict[str, Script] | None = None
    """In place of `always`, by path; what is not in it is not there (404)."""
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply_to(self, body: Body, key: str, path: str) -> Answer:
        with self._lock:
            self.bodies.append(body)
            self.paths.append(path)
            self.keys.append(key)
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            planned = self.then.popleft() if self.then else None
        made = planned if planned is not None else self._script(path)(body)
        answer = made if isinstance(made, Answer) else Answer(body=made)
        if answer.body is None:
            answer.body = completion(body)
        time.sleep(answer.after_s)
        with self._lock:
            self._at_once -= 1
        return answer

    def _script(self, path: str) -> Script:
        if self.routes is not None:
            return self.routes.get(path, lambda body: Answer(404, {"detail": "Not Found"}))
        return self.always or completion


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: LocalServer

    def do_GET(self) -> None:
        self._send(self.state.reply_to({}, self.headers.get("Authorization", ""), self.path))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.state.reply_to(json.loads(raw), self.headers.get("Authorization", ""), self.path))

    def _send(self, answer: Answer) -> None:
        if answer.hang_up:
            self.close_connection = True
            return
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client gave up waiting, as some tests want

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


@contextmanager
def local_server(always: Script | None = None, then: list[Answer] | None = None) -> Iterator[LocalServer]:
    """Run a server for the length of a with block."""
    state = LocalServer("", always=always, then=deque(then or []))
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port_url() -> str:
    """Return a base URL where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
