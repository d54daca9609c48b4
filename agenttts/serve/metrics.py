"""Prometheus metrics of a server, in a registry of its own. No prompt, key or problem is in them.

What a call cost is counted where its card says it: without a price there is no series in USD, rather than one of 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agenttts.models.retry import ClientEvent
from agenttts.serve.bill import Call

if TYPE_CHECKING:
    from agenttts.budgets.cost_model import CostModel
    from agenttts.serve.gate import Gate

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counts requests and calls. A `Watcher`."""

    def __init__(self, cost_model: CostModel, gate: Gate) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._cost_model = cost_model
        self._registry = r = CollectorRegistry()
        self._requests = Counter(
            "agenttts_requests", "Chat completions answered or refused.", ["status"], registry=r
        )
        self._seconds = Histogram(
            "agenttts_request_seconds",
            "Time that an answered request took.",
            buckets=BUCKETS_S,
            registry=r,
        )
        self._rejected = Counter("agenttts_rejected", "Requests without an answer.", ["reason"], registry=r)
        self._calls = Counter(
            "agenttts_model_calls",
            "Calls to models.",
            ["stage", "model", "purpose", "outcome"],
            registry=r,
        )
        self._call_seconds = Histogram(
            "agenttts_model_call_seconds", "Time of a call.", ["model"], buckets=BUCKETS_S, registry=r
        )
        self._tokens = Counter("agenttts_tokens", "Tokens paid for.", ["stage", "model", "kind"], registry=r)
        self._usd = Counter("agenttts_cost_usd", "US dollars spent.", ["stage", "model"], registry=r)
        self._flops = Counter(
            "agenttts_cost_gflops", "Billions of operations spent.", ["stage", "model"], registry=r
        )
        self._failures = Counter(
            "agenttts_provider_failures", "Requests that a provider failed.", ["code"], registry=r
        )
        self._retries = Counter(
            "agenttts_provider_retries", "Calls made again.", ["model", "cause"], registry=r
        )
        for name, text, value in (
            ("agenttts_requests_running", "Requests at work.", lambda: gate.n_running),
            ("agenttts_requests_waiting", "Requests that wait for their turn.", lambda: gate.n_waiting),
        ):
            Gauge(name, text, registry=r).set_function(value)

    def answered(self, took_s: float) -> None:
        """Count an answer."""
        self._requests.labels("200").inc()
        self._seconds.observe(took_s)

    def refused(self, status: int, reason: str, code: str) -> None:
        """Count a request that got no answer."""
        self._requests.labels(str(status)).inc()
        self._rejected.labels(reason).inc()
        if reason == "provider":
            self._failures.labels(code).inc()

    def event(self, event: ClientEvent) -> None:
        """Count a call that is made again."""
        if event.kind == "retry":
            self._retries.labels(event.model, event.cause).inc()

    def begun(self, stage: str, model: str, purpose: str, n: int) -> Callable[[Call], None]:
        """See `Watcher.begun`."""
        return self._ended

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def _ended(self, call: Call) -> None:
        outcome = "failed" if call.usage is None else "ok"
        self._calls.labels(call.stage, call.model, call.purpose, outcome).inc()
        self._call_seconds.labels(call.model).observe(call.seconds)
        if call.usage is None:
            return
        cost = self._cost_model.charge(call.model, call.usage)
        self._tokens.labels(call.stage, call.model, "prefill").inc(call.usage.prefill_tokens)
        self._tokens.labels(call.stage, call.model, "decode").inc(sum(call.usage.decode_tokens))
        if cost.usd is not None:
            self._usd.labels(call.stage, call.model).inc(cost.usd)
        if cost.flops is not None:
            self._flops.labels(call.stage, call.model).inc(cost.flops * 1e-9)
