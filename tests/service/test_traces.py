"""Traces: a message's id is its trace's, from intake through the queue to every call; off, there is nothing of it."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bode.intake.accept import Intake
from bode.settings import ConfigError, TracingSettings
from bode_ops import traces as module
from bode_ops.traces import Traces


async def test_every_piece_of_work_for_a_message_is_in_its_trace_and_nothing_personal(make_app, sqlite_url, body):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace = Traces(provider)
    app = await make_app(sqlite_url, trace=trace)
    app.intake = Intake(
        database=app.database,
        vault=app.vault,
        policy=app.parts.policy,
        clock=app.clock,
        organisations=frozenset(app.parts.organisations),
        ring=app.lanes._ring,
        trace=trace,
    )
    sent = body()
    one = await app.accept(sent)
    other = await app.accept(body(channels=("mijndomein",)))
    await app.settle()
    spans = kept.get_finished_spans()
    of = {span.name for span in spans if span.context.trace_id == one.id.int}
    assert of == {"intake", "place mijnoverheid", "notify kennisgeving"}
    assert {span.context.trace_id for span in spans} == {one.id.int, other.id.int}
    assert len({(span.context.trace_id, span.parent.span_id) for span in spans}) == 2
    assert all(span.end_time >= span.start_time for span in spans)
    written = "".join(span.to_json() for span in spans)
    for secret in (sent["geadresseerde"]["nummer"], sent["geadresseerde"]["naam"], sent["kennisgeving"]["email"]):
        assert secret not in written
    trace.close()


async def test_without_the_section_nothing_is_made(app):
    assert app.parts.trace is None
    await app.accept()
    assert await app.settle()


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"bode\[otel\]"):
        module.traces(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces"))
