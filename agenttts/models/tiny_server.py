"""The tiny family as an OpenAI-compatible server: a live endpoint to try things on, without a key or a GPU.

`/v1/models`, `/v1/chat/completions`, `/v1/completions` (also streamed) and `/healthz`. Concurrent requests are written
in the same batches as in-process ones, and a draw depends on its seed alone, so both give the same texts and counts.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from agenttts.errors import InputError, RequestRefusedError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response

    from agenttts.models.tiny.model import Generation
    from agenttts.models.tiny_protocol import Asked

__all__ = ["build_app", "listen", "serve", "serve_on", "served_models"]

MOST_BODY_BYTES = 1 << 20
DEFAULT_PORT = 8411


def served_models() -> tuple[str, ...]:
    """Return the names of the generators of the tiny family, smallest first."""
    from agenttts.models.tiny.model import GENERATORS

    return GENERATORS


def serve(
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    models: Sequence[str] | None = None,
    *,
    api_key: str | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        host: Address to listen on; one that other machines can reach needs an `api_key`.
        port: 0 for any free one.
        models: Names to serve; `None` for all.
        api_key: Callers must send it as a bearer token; `None` for no check.

    Raises:
        InputError: An open address without a key, one that cannot be listened on, or an unknown model.
    """
    check_address(host, api_key)
    with listen(host, port) as listener:
        serve_on(listener, models, api_key=api_key)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that callers can connect to; they are answered as soon as it is served on.

    Raises:
        InputError: The address cannot be listened on, e.g. because the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}. Choose another --port or --host"
        ) from error


def serve_on(
    listener: socket.socket, models: Sequence[str] | None = None, *, api_key: str | None = None
) -> None:
    """As `serve`, on a socket of `listen`."""
    import uvicorn

    config = uvicorn.Config(build_app(models, api_key=api_key), log_level="warning", access_log=False)
    with suppress(KeyboardInterrupt):  # how it is ended
        uvicorn.Server(config).run(sockets=[listener])


def check_address(host: str, api_key: str | None) -> None:
    """Raise InputError for an address that others can reach, unless there is a key."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback and not api_key:
        raise InputError(
            f"{host} can be reached from other machines: name the variable of an API key with --api-key-env, "
            "or use 127.0.0.1"
        )


def build_app(models: Sequence[str] | None = None, *, api_key: str | None = None) -> Starlette:
    """Return the ASGI application.

    Raises:
        InputError: A model that is not in the family.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    known = served_models()
    names = tuple(models) if models is not None else known
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(
            f"unknown tiny model {', '.join(unknown) or '(none given)'}; there are {', '.join(known)}"
        )
    service = _Service(names, api_key)
    return Starlette(
        routes=[
            Route("/healthz", service.health),
            Route("/v1/models", service.list_models),
            Route("/v1/models/{name:path}", service.one_model),
            Route("/v1/chat/completions", service.chat, methods=["POST"]),
            Route("/v1/completions", service.complete, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _unknown_address},
        lifespan=service.lifespan,
    )


class _Service:
    """State of a running server: one batcher per model."""

    def __init__(self, models: tuple[str, ...], api_key: str | None) -> None:
        from agenttts.models.tiny_client import TinyBatcher

        self._batchers = {name: TinyBatcher(name) for name in models}
        self._api_key = api_key
        self._started = int(time.time())

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        for batcher in self._batchers.values():
            await batcher.aclose()

    async def health(self, _request: HttpRequest) -> Response:
        return _json({"status": "ok", "models": list(self._batchers)})

    async def list_models(self, request: HttpRequest) -> Response:
        return self._refuse_strangers(request) or _json(
            {"object": "list", "data": [self._entry(name) for name in self._batchers]}
        )

    async def one_model(self, request: HttpRequest) -> Response:
        refusal = self._refuse_strangers(request)
        if refusal is not None:
            return refusal
        name = request.path_params["name"]
        if name in self._batchers:
            return _json(self._entry(name))
        return _error(f"the model {name!r} does not exist", 404, "model_not_found")

    async def chat(self, request: HttpRequest) -> Response:
        return await self._answer(request, is_chat=True)

    async def complete(self, request: HttpRequest) -> Response:
        return await self._answer(request, is_chat=False)

    def _entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "agenttts"}

    def _refuse_strangers(self, request: HttpRequest) -> Response | None:
        if self._api_key is None:
            return None
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if hmac.compare_digest(given.encode(), self._api_key.encode()):
            return None
        return _error("the API key is wrong or missing", 401, "invalid_api_key")

    async def _answer(self, request: HttpRequest, *, is_chat: bool) -> Response:
        from agenttts.models.tiny_protocol import Refusal, read_request, reply

        refusal = self._refuse_strangers(request)
        if refusal is not None:
            return refusal
        try:
            data = await _body(request)
            fresh_seed = secrets.randbelow(2**31)
            asked = read_request(data, tuple(self._batchers), is_chat=is_chat, fresh_seed=fresh_seed)
            batcher = self._batchers[asked.model]
            drawn = await asyncio.gather(*(batcher.generate(prompt) for prompt in asked.prompts))
        except Refusal as error:
            return _json(error.body(), error.status)
        except RequestRefusedError as error:
            return _error(str(error), 400, "context_length_exceeded")
        head = {"id": f"tiny-{secrets.token_hex(12)}", "created": int(time.time())}
        return _stream(asked, drawn, head) if asked.stream else _json(reply(asked, drawn, head))


async def _body(request: HttpRequest) -> Any:
    from agenttts.models.tiny_protocol import Refusal

    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MOST_BODY_BYTES:
            raise Refusal(f"the body is larger than {MOST_BODY_BYTES} bytes", status=413)
    try:
        return json.loads(received)
    except (ValueError, RecursionError) as error:
        raise Refusal("the body is not JSON") from error


async def _unknown_address(request: HttpRequest, error: Exception) -> Response:
    """Answer for a path or method that is not served."""
    status = getattr(error, "status_code", 404)
    what = f"{request.method} {request.url.path}"
    return _error(f"{what} is not served here; paths begin with /v1/", status, "unknown_url")


def _json(body: Any, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(body, status)


def _error(message: str, status: int, code: str) -> Response:
    from agenttts.models.tiny_protocol import Refusal

    return _json(Refusal(message, code=code, status=status).body(), status)


def _stream(asked: Asked, drawn: Sequence[Sequence[Generation]], head: dict[str, Any]) -> Response:
    from starlette.responses import StreamingResponse

    from agenttts.models.tiny_protocol import chunks

    async def events() -> AsyncIterator[str]:
        for chunk in chunks(asked, drawn, head):
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")
