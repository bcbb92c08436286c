"""Traces, and the log of data processing: a message's id is its trace's, from intake to every call."""

from __future__ import annotations

import asyncio
import gzip
import sys
from hashlib import sha256
from uuid import UUID

import pytest
import toml_parts
from litestar import Litestar, Request, Response, post
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bode.intake.accept import Intake
from bode.settings import ConfigError, ProcessingLogSettings, TracingSettings, load
from bode.tracing import About, Span
from bode_adapters.serving import serve
from bode_ops import traces as module
from bode_ops.traces import Sent, Traces, processing

MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"


@pytest.fixture
def kept():
    """Keep in memory what is sent."""
    made = InMemorySpanExporter()
    made.provider = TracerProvider()
    made.provider.add_span_processor(SimpleSpanProcessor(made))
    yield made
    made.provider.shutdown()


async def traced(make_app, url, trace):
    app = await make_app(url, trace=trace)
    app.intake = Intake(
        database=app.database,
        vault=app.vault,
        policy=app.parts.policy,
        clock=app.clock,
        organisations=frozenset(app.parts.organisations),
        ring=app.lanes._ring,
        trace=trace,
    )
    return app


async def test_every_piece_of_work_for_a_message_is_in_its_trace_and_nothing_personal(make_app, sqlite_url, body, kept):
    app = await traced(make_app, sqlite_url, Traces(kept.provider))
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
    assert not any(key.startswith("dpl.") for span in spans for key in span.attributes)
    written = "".join(span.to_json() for span in spans)
    for secret in (sent["geadresseerde"]["nummer"], sent["geadresseerde"]["naam"], sent["kennisgeving"]["email"]):
        assert secret not in written


ACTIVITIES = {MAASVELD: "https://register.example/verwerkingen/berichten"}


async def test_the_log_of_data_processing_is_told_for_what_and_of_whom_by_a_pseudonym_alone(
    make_app, sqlite_url, body, kept
):
    app = await traced(make_app, sqlite_url, Sent([Traces(kept.provider, processing(ACTIVITIES))]))
    sent = body()
    one = await app.accept(sent)
    await app.settle()
    spans = kept.get_finished_spans()
    assert [span.name for span in spans] == ["intake", "place mijnoverheid", "notify kennisgeving"]
    assert {span.context.trace_id for span in spans} == {one.id.int}
    pseudonym = app.vault.pseudonyms("BSN", sent["geadresseerde"]["nummer"])[0]
    told = {
        "dpl.core.processing_activity_id": ACTIVITIES[MAASVELD],
        "dpl.core.data_subject_id": pseudonym,
        "dpl.core.data_subject_id_type": "BSN",
    }
    assert all(dict(span.attributes) == told for span in spans)
    written = "".join(span.to_json() for span in spans)
    addressee = sent["geadresseerde"]
    secrets = [addressee["nummer"], addressee["naam"], *addressee["adres"].values(), sent["kennisgeving"]["email"]]
    for secret in [*secrets, sent["onderwerp"], sent["tekst"]]:
        assert len(secret) < 4 or secret not in written
    # Who has the database finds nobody of it there: the pseudonym is none of the hashes that are kept.
    assert pseudonym != app.vault.lookup_hash("BSN", sent["geadresseerde"]["nummer"]).hex()
    assert pseudonym != sha256(sent["geadresseerde"]["nummer"].encode()).hexdigest()


async def test_the_log_of_data_processing_is_told_nothing_of_a_body_that_is_not_named(make_app, sqlite_url, body, kept):
    app = await traced(make_app, sqlite_url, Sent([Traces(kept.provider, processing({}))]))
    await app.accept(body())
    await app.settle()
    assert not kept.get_finished_spans()


def test_every_organisation_has_its_processing_activity_and_production_has_tls(tmp_path):
    config = tmp_path / "bode.toml"

    def faults(environment, oin, endpoint):
        config.write_text(
            f'environment = "{environment}"\n{toml_parts.MAASVELD.format()}\n[logboek]\nendpoint = "{endpoint}"\n'
            f'[logboek.activities]\n{oin} = "https://register.example"\n'
        )
        try:
            load(config)
        except ConfigError as error:
            return str(error)
        return ""

    assert not faults("embedded", MAASVELD, "http://127.0.0.1:9/v1/traces")
    told = faults("production", ZANDWIJK, "http://127.0.0.1:9/v1/traces")
    assert f"logboek.activities: {ZANDWIJK} is not among organisations" in told
    assert f"logboek.activities: none for organisation {MAASVELD}" in told
    assert "logboek.endpoint: production needs https://" in told


async def test_without_the_section_nothing_is_made(app):
    assert app.parts.trace is None
    await app.accept()
    assert await app.settle()


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match=r"bode\[otel\]"):
        module.traces(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces"), None)


async def test_a_logbook_gets_it_over_http_as_the_standard_names_it():
    got = []

    @post("/v1/traces", status_code=200)
    async def take(request: Request) -> Response[bytes]:
        got.append(gzip.decompress(body) if (body := await request.body())[:2] == b"\x1f\x8b" else body)
        return Response(b"", media_type="application/x-protobuf")

    async with serve(Litestar([take], openapi_config=None, logging_config=None)) as url:
        settings = ProcessingLogSettings(endpoint=f"{url}/v1/traces", activities=ACTIVITIES)
        made = module.traces(None, settings)
        made([Span(UUID(int=7), "intake", 1, 2, {"lane": "x"}, About(MAASVELD, "BSN", "0f" * 32))])
        await asyncio.to_thread(made.close)
    (sent,) = ExportTraceServiceRequest.FromString(got[0]).resource_spans[0].scope_spans[0].spans
    assert (sent.trace_id, sent.name) == (UUID(int=7).bytes, "intake")
    assert {item.key: item.value.string_value for item in sent.attributes} == {
        "dpl.core.processing_activity_id": ACTIVITIES[MAASVELD],
        "dpl.core.data_subject_id": "0f" * 32,
        "dpl.core.data_subject_id_type": "BSN",
    }


def test_both_are_made_where_both_are_asked_for_and_neither_where_none_is():
    logboek = ProcessingLogSettings(endpoint="http://127.0.0.1:9/v1/traces", activities=ACTIVITIES)
    assert module.traces(None, None) is None
    made = module.traces(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces"), logboek)
    made.close()
    assert len(made._receivers) == 2
