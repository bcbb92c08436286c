"""Sends spans by OpenTelemetry where the configuration asks for them; needs the packages of `bode[otel]`.

Two receivers, each by itself: a collector of traces (`[tracing]`), which is told nothing of whose message it is; and a
Logboek Dataverwerkingen (`[logboek]`), which is told that by a pseudonym.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bode.settings import ConfigError, ProcessingLogSettings, TracingSettings
from bode.tracing import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = Callable[[Span], Mapping[str, str] | None]
"""Gives what a receiver is told of a span; None where it is told nothing at all."""


class Traces:
    """Gives spans to OpenTelemetry, each in the trace of its message."""

    def __init__(self, provider: TracerProvider, attributes: Attributes = lambda span: span.attributes) -> None:
        """Take what sends them, and what is told of each."""
        from opentelemetry import trace  # noqa: PLC0415 - there only where traces are asked for

        self._api = trace
        self._provider = provider
        self._tracer = provider.get_tracer("bode")
        self._attributes = attributes

    def __call__(self, spans: Sequence[Span]) -> None:
        """Hand spans over; they are sent in the background, and dropped when there are too many."""
        api = self._api
        for span in spans:
            told = self._attributes(span)
            if told is None:
                continue
            # The root of a trace is made by nobody: each process that works for the message hangs its spans under it.
            root = api.SpanContext(
                span.message.int,
                span.message.int & 0xFFFF_FFFF_FFFF_FFFF or 1,
                is_remote=True,
                trace_flags=api.TraceFlags(api.TraceFlags.SAMPLED),
            )
            under = api.set_span_in_context(api.NonRecordingSpan(root))
            made = self._tracer.start_span(span.name, context=under, start_time=span.start_ns, attributes=dict(told))
            made.end(end_time=span.end_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class Sent:
    """Gives spans to every receiver that is configured."""

    def __init__(self, receivers: Sequence[Traces]) -> None:
        """Take the receivers."""
        self._receivers = receivers

    def __call__(self, spans: Sequence[Span]) -> None:
        """Hand spans over to each."""
        for receiver in self._receivers:
            receiver(spans)

    def close(self) -> None:
        """Send what is left."""
        for receiver in self._receivers:
            receiver.close()


def processing(activities: Mapping[str, str]) -> Attributes:
    """Give what a Logboek Dataverwerkingen is told: for what, and of whom by a pseudonym; nothing of Bode's own work.

    The attributes are those of the namespace `dpl.core` of the standard (Logius, working version).
    """

    def attributes(span: Span) -> Mapping[str, str] | None:
        whose = span.about
        if whose is None or whose.organisation not in activities:
            return None
        return {
            "dpl.core.processing_activity_id": activities[whose.organisation],
            "dpl.core.data_subject_id": whose.pseudonym,
            "dpl.core.data_subject_id_type": whose.kind,
        }

    return attributes


def traces(tracing: TracingSettings | None, logboek: ProcessingLogSettings | None) -> Sent | None:
    """Make what sends spans; nothing where nobody asks. Raises `ConfigError` where the packages are not installed."""
    receivers: list[Traces] = []
    if tracing is not None:
        receivers.append(Traces(_provider("tracing", tracing.endpoint)))
    if logboek is not None:
        receivers.append(Traces(_provider("logboek", logboek.endpoint), processing(logboek.activities)))
    return Sent(receivers) if receivers else None


def _provider(section: str, endpoint: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"configuration: {section}: install the packages for it: pip install 'bode[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "bode"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider
