"""requests -> OpenTelemetry spans, with the [otel] extra.

The exporter's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT, say where spans go.
"""

from __future__ import annotations

from starlette.types import ASGIApp


def traced(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that each request is a span of its caller's trace."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "vaewatch"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    wrapped: ASGIApp = OpenTelemetryMiddleware(app, tracer_provider=provider)
    return wrapped
