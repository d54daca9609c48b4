"""Spans by the OpenTelemetry SDK; imported only where they are wanted (see `agenttts.serve.tracing`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import agenttts
from agenttts.budgets.cards import ModelCard
from agenttts.serve.bill import Call
from agenttts.serve.tracing import Span, Tracing, provider_name

__all__ = ["OtelTracing", "provider_of"]


def provider_of(exporter: str) -> TracerProvider:
    """Return a provider that sends spans in batches to `otlp` or writes them to the `console`."""
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "agenttts"}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(exporter)))
    return provider


def _exporter(name: str) -> SpanExporter:
    if name == "console":
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class OtelTracing(Tracing):
    """Spans of one provider."""

    def __init__(self, provider: TracerProvider, cards: Mapping[str, ModelCard]) -> None:
        self._provider = provider
        self._cards = cards
        self._tracer = provider.get_tracer("agenttts.serve", agenttts.__version__)

    @contextmanager
    def request(self, model: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """See `Tracing.request`."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "agenttts",
            "gen_ai.request.model": model,
        }
        with self._tracer.start_as_current_span(
            f"chat {model}",
            context=TraceContextTextMapPropagator().extract(dict(headers)),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,  # messages of exceptions may quote prompts
            set_status_on_exception=False,
        ) as span:
            yield _OtelSpan(span)

    def begun(self, stage: str, model: str, purpose: str, n: int) -> Callable[[Call], None]:
        """See `Watcher.begun`."""
        card = self._cards.get(model)
        span = self._tracer.start_span(
            f"chat {model}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider_name(card),
                "gen_ai.request.model": model if card is None else card.served_as,
                "gen_ai.request.choice.count": n,
                "agenttts.stage": stage,
                "agenttts.purpose": purpose,
            },
        )
        return lambda call: _end(span, call)

    def close(self) -> None:
        """See `Tracing.close`."""
        self._provider.shutdown()


class _OtelSpan(Span):
    def __init__(self, span: ApiSpan) -> None:
        self._span = span

    def note(self, attributes: Mapping[str, Any]) -> None:
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def failed(self, code: str, message: str) -> None:
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR, message))


def _end(span: ApiSpan, call: Call) -> None:
    if call.usage is None:
        span.set_attribute("error.type", "no_usable_reply")
        span.set_status(Status(StatusCode.ERROR))
    else:
        span.set_attribute("gen_ai.usage.input_tokens", call.usage.prefill_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", sum(call.usage.decode_tokens))
        span.set_attribute("agenttts.n_samples", len(call.usage.decode_tokens))
    span.end()
