"""requests -> OpenTelemetry spans, when the [otel] extra is installed and asked for.

Where spans go is said by the exporter's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from __future__ import annotations

from starlette.types import ASGIApp


def traced(app: ASGIApp) -> ASGIApp:
    """The application with a span for each request; the caller's trace goes on in it."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "vaewatch"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    wrapped: ASGIApp = OpenTelemetryMiddleware(app, tracer_provider=provider)
    return wrapped
