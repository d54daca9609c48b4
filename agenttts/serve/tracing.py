"""OpenTelemetry spans: one per request, below it one per call to a model, named as the GenAI conventions say.

Spans are made only where an exporter is set by the usual variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_TRACES_EXPORTER`) and the extra `otel` is installed. No prompt and no answer
is in them.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ (`gen_ai.*`); `agenttts.*` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agenttts.budgets.cards import ModelCard
from agenttts.errors import InputError
from agenttts.serve.bill import Call

__all__ = ["Span", "Tracing", "exporter_wanted", "tracing_of"]

EXPORTERS = ("otlp", "console")
PROTOCOL = "http/protobuf"
PROVIDERS = {"openai": "openai", "tiny": "agenttts"}
"""Source of a card -> `gen_ai.provider.name`; of litellm what its name says."""


class Span:
    """The span of a request; this one does nothing."""

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes; those that are `None` are left out."""

    def failed(self, code: str, message: str) -> None:
        """Mark the request as failed."""


class Tracing:
    """Spans of a server; this one makes none. A `Watcher`."""

    @contextmanager
    def request(self, model: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Open the span of a request for the length of a with block.

        Args:
            model: Name that the plan is served as.
            headers: Of the request: a `traceparent` in them becomes the parent.
        """
        yield Span()

    def begun(self, stage: str, model: str, purpose: str, n: int) -> Callable[[Call], None]:
        """See `Watcher.begun`."""
        return lambda call: None

    def close(self) -> None:
        """Send what is still to be sent."""


def exporter_wanted(environment: Mapping[str, str]) -> bool:
    """Return whether the usual variables ask for spans."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if named:
        return named != "none"
    return any(
        environment.get(name)
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )


def tracing_of(environment: Mapping[str, str], cards: Mapping[str, ModelCard]) -> Tracing:
    """Return the tracing that the environment asks for.

    Raises:
        InputError: An exporter that is not known, or the extra is not installed.
    """
    if not exporter_wanted(environment):
        return Tracing()
    try:
        from agenttts.serve.otel import OtelTracing, provider_of
    except ImportError as error:
        raise InputError(
            "an exporter of OpenTelemetry is set, and the packages for it are missing: "
            "pip install 'agenttts[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_EXPORTER"
        ) from error
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    if named not in EXPORTERS:
        raise InputError(f"OTEL_TRACES_EXPORTER={named}: expected one of {', '.join(EXPORTERS)}, none")
    protocol = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip().lower()
    if protocol not in {"", PROTOCOL}:
        raise InputError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: spans are sent by {PROTOCOL} alone")
    return OtelTracing(provider_of(named), cards)


def provider_name(card: ModelCard | None) -> str:
    """Return `gen_ai.provider.name` of a card."""
    if card is None:
        return "unknown"
    if card.source == "litellm":
        return card.served_as.partition("/")[0] or "litellm"
    return PROVIDERS.get(card.source, card.source)
