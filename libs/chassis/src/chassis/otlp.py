"""Spans exported over OTLP/HTTP. Imported only when OTEL_EXPORTER_OTLP_ENDPOINT is set: opentelemetry is large."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis.telemetry import Span, StartSpan


class _OtlpSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(self, route: str, status: int) -> None:
        self._span.update_name(route)
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


def otlp_spans(service: str, endpoint: str) -> StartSpan:
    """Starts spans of `service` that are sent in batches to `endpoint` by a background thread."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("chassis")
    propagator = TraceContextTextMapPropagator()

    def start(name: str, parent: str | None) -> Span:
        context = propagator.extract({"traceparent": parent}) if parent else None
        return _OtlpSpan(tracer.start_span(name, context=context, kind=trace.SpanKind.SERVER))

    return start
