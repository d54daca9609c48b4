"""The server's answers to HTTP: who may ask, what is asked, when it is worked on, and what becomes of it.

A request that is refused costs nothing. Where the caller goes away its pass is cancelled: nothing more is bought, and
what has arrived is in the store, if there is one. While the server ends, those at work are finished, for they are paid.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse

from agenttts.serve.bill import Bill
from agenttts.serve.gate import Gate, Turn, shutting_down
from agenttts.serve.metrics import CONTENT_TYPE
from agenttts.serve.protocol import ChatRequest, Written, chunks, read_request, reply
from agenttts.serve.refused import RETRY_DOWN_S, Refused
from agenttts.serve.shrink import HEADER
from agenttts.serve.telling import Content, Made, finish_reason, spent_json, text_of, told, usage_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest

    from agenttts.pipeline.base import Problem
    from agenttts.serve.engine import Engine
    from agenttts.serve.logs import Log
    from agenttts.serve.metrics import Metrics
    from agenttts.serve.problems import Reading
    from agenttts.serve.shrink import Fitted, Shrinker
    from agenttts.serve.tracing import Span, Tracing

__all__ = ["Limits", "Service"]

SLOWEST_BODY_S = 30.0
GONE = 499
"""Status in metrics and logs of a request whose caller went away; nobody receives it."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Limits:
    """What a server takes on."""

    most_running: int = 32
    """Requests worked on at a time."""
    most_waiting: int = 128
    """Requests that may wait for that."""
    most_body_bytes: int = 1 << 20
    timeout_s: float = 600.0
    """Longest time at work of one request."""
    drain_s: float = 60.0
    """How long requests at work may still take when the server ends."""
    keep_alive_s: float = 10.0
    """A stream that has nothing to say for so long sends a comment."""


@dataclass
class _Job:
    """One request on its way."""

    id: str
    asked: ChatRequest
    problem: Problem
    fitted: Fitted | None
    headers: Mapping[str, str]
    bill: Bill = field(default_factory=Bill)
    begun_s: float = field(default_factory=time.monotonic)

    @property
    def took_s(self) -> float:
        return time.monotonic() - self.begun_s


class _CallerGone(Exception):  # noqa: N818 - an ending
    """The caller closed the connection."""


@dataclass
class Service:
    """State of a running server."""

    engine: Engine
    name: str
    reading: Reading
    shrinker: Shrinker
    gate: Gate
    metrics: Metrics
    tracing: Tracing
    log: Log
    limits: Limits
    content: Content = "text"
    api_key: str | None = None
    startup_error: Exception | None = None
    """Why it could not be opened."""
    _passes: set[asyncio.Task[Written]] = field(default_factory=set)
    _started: int = field(default_factory=lambda: int(time.time()))
    _down_until_s: float = 0.0

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Open what answers, and let go of it in the end."""
        try:
            await self.engine.open()
        except Exception as error:
            self.startup_error = error
            raise
        try:
            yield
        finally:
            await self.engine.aclose()
            await asyncio.to_thread(self.tracing.close)

    def drain(self) -> None:
        """Take on nothing more; what is at work may finish within its time."""
        self.gate.close()
        self.log.event("draining", running=self.gate.n_running, at_most_s=self.limits.drain_s)
        asyncio.get_running_loop().call_later(self.limits.drain_s, self._give_up)

    def _give_up(self) -> None:
        for task in self._passes:
            task.cancel()

    # --- what is not chat

    async def health(self, _http: HttpRequest) -> Response:
        """Say that the process is alive."""
        return _json({"status": "ok"})

    async def ready(self, _http: HttpRequest) -> Response:
        """Say whether a request sent now would be worked on."""
        because = None
        if self.gate.is_closed:
            because = "shutting down"
        elif self.gate.is_full:
            because = "the queue is full"
        elif time.monotonic() < self._down_until_s:
            because = "a model's endpoint is down"
        if because is not None:
            return _json({"status": "not ready", "because": because}, 503)
        return _json({"status": "ready", "model": self.name})

    async def tell_metrics(self, http: HttpRequest) -> Response:
        """Return the metrics; where there is a key, they need it."""
        try:
            self._check_caller(http)
        except Refused as refused:
            return _refusal(refused)
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    async def list_models(self, http: HttpRequest) -> Response:
        """Return the plan as the only model."""
        try:
            self._check_caller(http)
        except Refused as refused:
            return _refusal(refused)
        return _json({"object": "list", "data": [self._entry()]})

    async def one_model(self, http: HttpRequest) -> Response:
        """Return the plan as a model."""
        try:
            self._check_caller(http)
            if (name := http.path_params["name"]) != self.name:
                raise Refused(
                    f"the model {name[:200]!r} does not exist; served is {self.name!r}",
                    status=404,
                    code="model_not_found",
                )
        except Refused as refused:
            return _refusal(refused)
        return _json(self._entry())

    def _entry(self) -> dict[str, Any]:
        plan = self.engine.plan
        return {
            "id": self.name,
            "object": "model",
            "created": self._started,
            "owned_by": "agenttts",
            "agenttts": {
                "task": plan.task.file.name,
                "allocation": str(plan.allocation),
                "reads": list(self.reading.reads),
                "messages": dict(self.reading.mapping),
            },
        }

    def _check_caller(self, http: HttpRequest) -> None:
        """Refuse strangers.

        Without a key, other hosts' names are refused too: a web page whose name leads here (DNS rebinding) would
        otherwise be able to spend.
        """
        if self.api_key is None:
            if (http.url.hostname or "") not in LOOPBACK:
                raise Refused("without an API key only localhost is served", status=403, reason="key")
            return
        scheme, _, given = http.headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.api_key.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refused("the API key is wrong or missing", status=401, code="invalid_api_key", reason="key")

    # --- chat

    async def chat(self, http: HttpRequest) -> Response:
        """Answer a chat completion."""
        turn: Turn | None = None
        try:
            self._check_caller(http)
            turn = self.gate.admit()
            job = await self._job(http)
        except Refused as refused:
            if turn is not None:
                turn.leave()
            return self._refused(refused, None)
        task = asyncio.create_task(self._pass(job, turn))
        self._passes.add(task)
        task.add_done_callback(self._passes.discard)
        task.add_done_callback(
            lambda _: turn.leave()
        )  # one that is cancelled before it began has no `finally`
        gone = asyncio.create_task(_gone(http))
        try:
            if job.asked.stream:
                return await self._streamed(job, task, gone)
            return _json(reply(await self._outcome(job, task, gone)))
        except Refused as refused:
            return self._refused(refused, job)
        except _CallerGone:
            return Response(status_code=GONE)
        finally:
            if not job.asked.stream or task.done():
                gone.cancel()

    async def _job(self, http: HttpRequest) -> _Job:
        data = await _body(http, self.limits.most_body_bytes)
        asked = read_request(data, (self.name,))
        request_id = f"chatcmpl-{secrets.token_hex(12)}"
        budget = http.headers.get(HEADER)
        fitted = None if budget is None else self.shrinker.fitted(budget)
        return _Job(request_id, asked, self.reading.problem(asked, request_id), fitted, dict(http.headers))

    async def _pass(self, job: _Job, turn: Turn) -> Written:
        """Wait for the turn, run the plan, and write what came of it.

        Raises:
            Refused: It failed, took too long, or the server ends.
        """
        try:
            await turn.start()
            with self.tracing.request(self.name, job.headers) as span, _noted(span):
                made = await self._within_time(job)
                self.shrinker.observe(made.outputs)
                span.note(self._attributes(job, made))
                return self._written(job, made)
        finally:
            turn.leave()

    async def _within_time(self, job: _Job) -> Made:
        allocation = self.engine.plan.allocation if job.fitted is None else job.fitted.allocation
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await self.engine.answer(
                    job.problem, allocation, job.bill, seed=job.asked.seed, fitted=job.fitted
                )
        except TimeoutError as error:
            raise Refused(
                f"no answer within {self.limits.timeout_s:g} s",
                status=504,
                code="timeout",
                reason="timeout",
            ) from error

    def _written(self, job: _Job, made: Made) -> Written:
        return Written(
            id=job.id,
            created=int(time.time()),
            model=self.name,
            text=text_of(made.final, self.content),
            finish_reason=finish_reason(made.final),
            usage=usage_of(job.bill),
            agenttts=told(made, self.engine.cost_model, job.asked.ignored, job.took_s),
        )

    def _attributes(self, job: _Job, made: Made) -> dict[str, Any]:
        prefill, decode = job.bill.tokens()
        spent = job.bill.cost(self.engine.cost_model)
        return {
            "gen_ai.response.id": job.id,
            "gen_ai.response.model": self.name,
            "gen_ai.response.finish_reasons": [finish_reason(made.final)],
            "gen_ai.usage.input_tokens": prefill,
            "gen_ai.usage.output_tokens": decode,
            "agenttts.cost.usd": spent.usd,
            "agenttts.cost.gflops": None if spent.flops is None else spent.flops * 1e-9,
            "agenttts.calls": len(job.bill.calls),
        }

    async def _outcome(self, job: _Job, task: asyncio.Task[Written], gone: asyncio.Task[None]) -> Written:
        """Wait for the pass to end, and count it.

        Raises:
            Refused: It failed.
            _CallerGone: The caller did not wait for it; the pass is cancelled.
        """
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await self._ended(job, task)

    async def _ended(self, job: _Job, task: asyncio.Task[Written]) -> Written:
        """Return what came of a pass that is over, or end one whose caller is gone."""
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            self._left(job)
            raise _CallerGone
        if task.cancelled():
            raise shutting_down()
        written = task.result()
        self.metrics.answered(job.took_s)
        self.log.answered(
            id=job.id,
            seconds=round(job.took_s, 3),
            tokens=written.usage["total_tokens"],
            calls=job.bill.by_stage(),
        )
        return written

    def _left(self, job: _Job) -> None:
        """Count a caller who did not wait for the answer."""
        self.metrics.refused(GONE, "caller_gone", "caller_gone")
        self.log.event("caller gone", id=job.id, seconds=round(job.took_s, 3))

    def _refused(self, refused: Refused, job: _Job | None) -> Response:
        self._count(refused, job)
        return _refusal(refused, self._beside(refused, job))

    def _count(self, refused: Refused, job: _Job | None) -> None:
        self.metrics.refused(refused.status, refused.reason, refused.code)
        if refused.code == "endpoint_down":
            self._down_until_s = time.monotonic() + RETRY_DOWN_S
        if refused.status >= 500 and refused.reason != "shutdown":
            shown = {} if job is None else {"id": job.id, "seconds": round(job.took_s, 3)}
            if refused.stage:
                shown["stage"] = refused.stage
            self.log.event(
                "failed",
                status=refused.status,
                code=refused.code,
                because=refused.detail,
                **shown,
            )

    def _beside(self, refused: Refused, job: _Job | None) -> dict[str, Any] | None:
        """Return what an error tells beside its message: what was spent on it all the same."""
        if job is None or not job.bill.calls:
            return None
        return {
            "id": job.id,
            "stage": refused.stage or None,
            "spent": spent_json(job.bill, self.engine.cost_model),
        }

    # --- streams

    async def _streamed(self, job: _Job, task: asyncio.Task[Written], gone: asyncio.Task[None]) -> Response:
        """Return a stream. What ends soon still has its true status; later, an error is an event of the stream."""
        await asyncio.wait(
            {task, gone}, timeout=self.limits.keep_alive_s, return_when=asyncio.FIRST_COMPLETED
        )
        if task.done() or gone.done():
            events = _events(job.asked, await self._ended(job, task))
            return _event_stream(_as_async(events))
        return _event_stream(self._live(job, task, gone))

    async def _live(
        self, job: _Job, task: asyncio.Task[Written], gone: asyncio.Task[None]
    ) -> AsyncIterator[str]:
        try:
            while not (task.done() or gone.done()):
                yield ": working\n\n"  # a comment: it keeps proxies from cutting the connection
                await asyncio.wait(
                    {task, gone}, timeout=self.limits.keep_alive_s, return_when=asyncio.FIRST_COMPLETED
                )
            for event in _events(job.asked, await self._ended(job, task)):
                yield event
        except Refused as refused:
            self._count(refused, job)
            yield _event(refused.body(self._beside(refused, job)))
        except _CallerGone:
            return
        finally:
            if not task.done():  # the framework has noticed first that the caller is gone
                self._left(job)
                task.cancel()
            gone.cancel()


@contextmanager
def _noted(span: Span) -> Iterator[None]:
    """Mark the span of a request that fails."""
    try:
        yield
    except Refused as refused:
        span.failed(refused.code, refused.detail)
        raise
    except asyncio.CancelledError:
        span.failed("cancelled", "")
        raise


async def _body(http: HttpRequest, most: int) -> Any:
    """Return the JSON of a request.

    A web page may send texts and forms to any address, but JSON only where it is allowed to: so the type is checked.
    """
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused("expected the content type application/json", status=415, code="content_type")
    try:
        async with asyncio.timeout(SLOWEST_BODY_S):
            received = await _received(http, most)
    except TimeoutError as error:
        raise Refused("the body did not arrive in time", status=408, code="timeout") from error
    try:
        return json.loads(received)
    except (ValueError, RecursionError) as error:
        raise Refused("the body is not JSON") from error


async def _received(http: HttpRequest, most: int) -> bytearray:
    from starlette.requests import ClientDisconnect

    too_large = Refused(f"the body is larger than {most} bytes", status=413, code="too_large")
    said = http.headers.get("content-length", "")
    if said.isdigit() and int(said[:20]) > most:
        raise too_large
    received = bytearray()
    with suppress(ClientDisconnect):  # a part of a body is no JSON, and nobody reads the answer
        async for part in http.stream():
            received += part
            if len(received) > most:
                raise too_large
    return received


async def _gone(http: HttpRequest) -> None:
    """Return when the caller has closed the connection."""
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _events(asked: ChatRequest, written: Written) -> Iterator[str]:
    for chunk in chunks(written, with_usage=asked.stream_usage):
        yield _event(chunk)
    yield "data: [DONE]\n\n"


async def _as_async(events: Iterator[str]) -> AsyncIterator[str]:
    for event in events:
        yield event


def _event(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _event_stream(events: AsyncIterator[str]) -> Response:
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # the second one is for nginx
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # ASCII only: what a model wrote may hold halves of surrogate pairs, which UTF-8 cannot.
    return Response(json.dumps(data), status, headers, "application/json")


def _refusal(refused: Refused, more: Mapping[str, Any] | None = None) -> Response:
    return _json(refused.body(more), refused.status, refused.headers())


async def unknown_address(http: HttpRequest, error: Exception) -> Response:
    """Answer for a path or method that is not served."""
    status = getattr(error, "status_code", 404)
    what = f"{http.method} {http.url.path[:200]} is not served here; the API is at /v1/chat/completions"
    return _refusal(Refused(what, status=status, code="unknown_url"))
