"""Spans by the GenAI conventions, and metrics: what an operator sees of a request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families

from agenttts.errors import InputError
from agenttts.serve.otel import OtelTracing, provider_of
from agenttts.serve.tracing import Tracing, exporter_wanted, tracing_of
from tests.scripted_server import Asked, Reply
from tests.serve.conftest import NAME, Served, plan_at, script, serving, serving_on

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_request_is_one_span_with_one_below_it_for_each_call(tmp_path: Path, backend):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    plan = plan_at(tmp_path, backend.url)
    with serving(plan, tracing=OtelTracing(provider, plan.task.cards)) as served:
        reply = served.post(headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    spans = exporter.get_finished_spans()
    parent = next(span for span in spans if span.kind is SpanKind.SERVER)
    calls = [span for span in spans if span.kind is SpanKind.CLIENT]
    assert parent.name == f"chat {NAME}"
    assert f"{parent.context.trace_id:032x}" == TRACE
    assert {span.parent.span_id for span in calls} == {parent.context.span_id}
    assert sorted(span.name for span in calls) == ["chat large", "chat small", "chat small", "chat small"]
    usage = reply.json()["usage"]
    assert parent.attributes["gen_ai.operation.name"] == "chat"
    assert parent.attributes["gen_ai.request.model"] == NAME
    assert parent.attributes["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert sum(span.attributes["gen_ai.usage.input_tokens"] for span in calls) == usage["prompt_tokens"]
    assert sum(span.attributes["gen_ai.usage.output_tokens"] for span in calls) == usage["completion_tokens"]
    assert {span.attributes["agenttts.stage"] for span in calls} == {"think", "answer"}
    assert {span.attributes["gen_ai.provider.name"] for span in calls} == {"openai"}
    assert "6 times 7" not in json.dumps([dict(span.attributes) for span in spans])


def test_a_failed_request_is_a_failed_span(tmp_path: Path):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def said(asked: Asked) -> str | Reply:
        return script(asked) if asked.prompt.startswith("Think") else Reply("gone", status=500)

    with serving_on(tmp_path, said, tracing=OtelTracing(provider, {})) as (served, _):
        assert served.post().status_code == 502
    spans = {(span.kind, span.name): span for span in exporter.get_finished_spans()}
    parent, call = spans[SpanKind.SERVER, f"chat {NAME}"], spans[SpanKind.CLIENT, "chat large"]
    assert parent.status.status_code is StatusCode.ERROR
    assert parent.attributes["error.type"] == "provider_unavailable"
    assert call.status.status_code is StatusCode.ERROR
    assert not parent.events


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, False),
    ],
)
def test_spans_are_made_where_the_usual_variables_ask_for_them(environment, wanted):
    assert exporter_wanted(environment) is wanted
    tracing = tracing_of(environment, {})
    assert (type(tracing) is not Tracing) is wanted
    tracing.close()


def test_an_unknown_exporter_is_refused():
    with pytest.raises(InputError, match="OTEL_TRACES_EXPORTER=zipkin: expected one of otlp, console"):
        tracing_of({"OTEL_TRACES_EXPORTER": "zipkin"}, {})


def test_a_protocol_that_is_not_spoken_is_refused():
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(InputError, match="http/protobuf alone"):
        tracing_of(environment, {})


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "agenttts"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours"}, "ours"),
    ],
)
def test_the_name_of_the_service_may_be_set(monkeypatch, variables, name):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    provider = provider_of("console")
    assert provider.resource.attributes["service.name"] == name
    provider.shutdown()


def test_metrics_count_tokens_cost_and_calls_by_stage(tmp_path: Path, backend):
    with serving(plan_at(tmp_path, backend.url)) as served:
        for _ in range(2):
            assert served.post().status_code == 200
        assert served.post(n=2).status_code == 400
        assert served.metric("agenttts_requests_total", status="200") == 2
        assert served.metric("agenttts_requests_total", status="400") == 1
        assert served.metric("agenttts_request_seconds_count") == 2
        assert served.metric("agenttts_tokens_total", stage="think", kind="prefill") == 2 * 3 * 100
        assert served.metric("agenttts_tokens_total", stage="think", kind="decode") == 2 * 3 * 10
        assert served.metric("agenttts_cost_usd_total", stage="answer") == pytest.approx(2 * 0.0012)
        assert served.metric("agenttts_model_calls_total", model="large", outcome="ok") == 2
        assert served.metric("agenttts_requests_running") == 0
        assert served.metric("agenttts_rejected_total", reason="bad_request") == 1


def test_metrics_are_in_the_format_of_prometheus_and_unknown_prices_have_no_series(
    tmp_path: Path, served: Served
):
    import httpx

    from agenttts.pipeline.base import Allocation, StageChoice
    from agenttts.pipeline.plan import Plan
    from agenttts.task.task import Task

    choices = (StageChoice("translate", "tiny/xs", 1, "first"), StageChoice("solve", "tiny/xs", 1, "first"))
    with serving(Plan(Task.load("tiny"), Allocation(choices))) as tiny:
        assert tiny.post(model="agenttts/tiny").status_code == 200
        text = httpx.get(f"{tiny.root}/metrics").text
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert not families["agenttts_cost_usd"]
    assert families["agenttts_cost_gflops"]
    assert "agenttts_rejected" in families
