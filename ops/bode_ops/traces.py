"""Sends traces to an OpenTelemetry collector, where `[tracing]` names one; needs the packages of `bode[otel]`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bode.settings import ConfigError, TracingSettings
from bode.tracing import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Traces:
    """Gives spans to OpenTelemetry, each in the trace of its message."""

    def __init__(self, provider: TracerProvider) -> None:
        """Take what sends them."""
        from opentelemetry import trace  # noqa: PLC0415 - there only where traces are asked for

        self._api = trace
        self._provider = provider
        self._tracer = provider.get_tracer("bode")

    def __call__(self, spans: Sequence[Span]) -> None:
        """Hand spans over; they are sent in the background, and dropped when there are too many."""
        api = self._api
        for span in spans:
            # The root of a trace is made by nobody: each process that works for the message hangs its spans under it.
            root = api.SpanContext(
                span.message.int,
                span.message.int & 0xFFFF_FFFF_FFFF_FFFF or 1,
                is_remote=True,
                trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED),
            )
            under = api.set_span_in_context(api.NonRecordingSpan(root))
            made = self._tracer.start_span(
                span.name, context=under, start_time=span.start_ns, attributes=dict(span.attributes)
            )
            made.end(end_time=span.end_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def traces(settings: TracingSettings) -> Traces:
    """Make what sends traces. Raises `ConfigError` where the packages for it are not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("configuration: tracing: install the packages for it: pip install 'bode[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "bode"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))
    return Traces(provider)
