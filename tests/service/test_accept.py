"""Accepting: everything in one transaction, nothing readable at rest, the same answer for the same message."""

import asyncio
import json
from uuid import UUID, uuid4

import msgspec
import pytest
import sqlalchemy as sa

from bode.domain.parts import DeliveryState
from bode.domain.parts import PlacementState as P
from bode.intake.accept import Caller, Route
from bode.intake.faults import Conflict, Refused
from bode.store import messages, record, tables

ALL_TABLES = tables.metadata.tables.values()


async def everything(app):
    """Give every value of every row of every table as bytes, as it would be found in a stolen backup."""
    found = {}
    async with app.database.read() as connection:
        for table in ALL_TABLES:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            for row in await connection.exec_driver_sql(f"SELECT {columns} FROM {table.name}"):
                for column, value in zip(table.columns, row, strict=True):
                    raw = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                    found.setdefault(f"{table.name}.{column.name}", []).append(raw)
    return found


async def counts(app):
    async with app.database.read() as connection:
        return {
            table.name: (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()
            for table in ALL_TABLES
            if table.name != "lane"
        }


async def test_an_accepted_message_has_content_a_delivery_a_step_and_evidence(app, body, attachment):
    accepted = await app.accept(body(documenten=[attachment]))
    async with app.database.read() as connection:
        loaded = (await messages.load(connection, [accepted.id], app.vault, with_documents=True))[accepted.id]
    assert loaded.addressee.name == "Jantje Zonderbrief"
    assert loaded.documents[0].content.startswith(b"%PDF-")
    delivery = await app.delivery(accepted.id)
    assert [placement.state for placement in delivery.placements] == [P.PLANNED]
    (step,) = await app.steps()
    assert (step.message_id, step.part, step.lane, step.state) == (
        accepted.id,
        "placement/mijnoverheid",
        "mijnoverheid",
        "ready",
    )
    assert [event.name for event in await app.events(accepted.id)] == [
        "SubmissionAcceptance",
        "preference.snapshot",
        "channel.decision",
    ]
    assert app.rings == {"mijnoverheid": 1}


async def test_nothing_personal_stands_in_any_table_in_the_clear(app, body, attachment):
    """A whole life: placed, bounced with the address in the diagnostic, a letter, a report, and a bounce mail."""
    from bode_adapters.contract import MailRefused

    def refused(mail):
        return MailRefused("rcpt_to", 550, f"5.1.1 <{mail.email}> Jantje Zonderbrief unknown", "mx.example.nl")

    app.notifier.script.rule = refused
    request = body(email="jantje.geheim@post.example.nl", documenten=[attachment], zaak="Z-1")
    accepted = await app.accept(request)
    await app.settle()
    assert app.printer.printed
    who = request["geadresseerde"]
    secrets = (
        who["nummer"],
        who["naam"],
        "Zonderbrief",
        who["adres"]["straat"],
        who["adres"]["postcode"],
        "jantje.geheim",
        request["onderwerp"],
        request["tekst"],
        request["rechtsgevolgen"],
        "%PDF-",
        "besluit.pdf",
    )
    found = await everything(app)
    assert found["event.envelope"], "the scan sees the evidence"
    leaks = {
        f"{column} holds {secret!r}"
        for column, values in found.items()
        for secret in secrets
        for value in values
        if secret.encode() in value or secret.encode().hex() in value.decode("latin-1").lower()
    }
    assert leaks == set()
    assert str(accepted.id).encode() in b"".join(found["event.envelope"]), "and would see what is not sealed"


@pytest.mark.parametrize("table", ["content", "delivery", "step", "event"])
async def test_a_failure_in_the_middle_leaves_nothing(app, body, table, monkeypatch):
    def fail(*_args):
        raise RuntimeError(table)

    targets = {
        "content": (messages, "_without_bytes"),
        "delivery": (record, "_delivery_row"),
        "step": (record.steps, "row_of"),
        "event": (record, "_event_row"),
    }
    before = await counts(app)
    with monkeypatch.context() as broken:
        broken.setattr(*targets[table], fail)
        with pytest.raises(RuntimeError):
            await app.accept(request := body())
    assert await counts(app) == before
    assert not app.rings
    assert not (await app.accept(request)).known, "and the same message is new afterwards"


async def test_a_refused_message_leaves_nothing(app, body):
    with pytest.raises(Refused):
        await app.accept(body(rechtsgevolgen=None))
    assert set((await counts(app)).values()) == {0}


async def test_the_same_message_again_is_the_same_answer(app, body):
    request = body()
    first = await app.accept(request)
    app.clock.move(hours=1)
    again = await app.accept(json.dumps(dict(reversed(request.items())), indent=3).encode())
    assert (again, again.known) == (first, True)
    assert (await counts(app))["message"] == 1


async def test_another_body_under_the_same_reference_is_a_conflict(app, body):
    request = body()
    await app.accept(request)
    with pytest.raises(Conflict):
        await app.accept(request | {"onderwerp": "Iets anders"})


async def test_the_same_message_from_many_at_once_is_stored_once(app, make_app, database_url, body):
    others = [app, *[await make_app(database_url, beside=app) for _ in range(3)]]
    for _ in range(5):
        request = body()
        answers = await asyncio.gather(*(other.accept(request) for other in others for _ in range(3)))
        assert len({answer.id for answer in answers}) == 1
        assert [answer.known for answer in answers].count(False) == 1
    assert (await counts(app))["message"] == 5


async def test_a_withdrawal_links_both_messages(app, body):
    earlier = await app.accept()
    await app.settle()
    reference = (await app.rows(tables.message))[0].reference
    later = await app.accept(body(aard="intrekking", betreft=reference, termijn=None))
    async with app.database.read() as connection:
        assert [known.id for known in await messages.concerning(connection, earlier.id)] == [later.id]
        known = await messages.get(connection, later.id)
    assert known.concerns == earlier.id
    (link,) = await app.named(earlier.id, "message.superseded")
    assert link.detail == {"by": later.reference, "nature": "intrekking"}
    (acceptance,) = await app.named(later.id, "SubmissionAcceptance")
    assert acceptance.detail["concerns"] == reference


async def test_a_withdrawal_while_the_earlier_message_is_being_recorded_loses_nothing(
    pg_app, make_app, postgres_url, body
):
    other = await make_app(postgres_url, beside=pg_app)
    for _ in range(15):
        earlier = await pg_app.accept(request := body())
        _, later = await asyncio.gather(
            pg_app.lanes.drain("mijnoverheid"),
            other.accept(body(aard="intrekking", betreft=request["kenmerk"], termijn=None)),
        )
        names = [event.name for event in await pg_app.events(earlier.id)]
        assert names.count("message.superseded") == 1
        assert names.count("ContentConsignment") == 1
        await pg_app.settle()
        assert pg_app.box.placements[later.id] == 1


async def test_a_scheduled_message_can_be_called_back_and_is_never_placed(app, body):
    at = app.clock.now().replace(hour=20)
    accepted = await app.accept(body(publicatieTijdstip=at.isoformat()))
    assert (await app.delivery(accepted.id)).state is DeliveryState.SCHEDULED
    await app.settle()
    await app.intake.cancel(accepted.id, by="medewerker", reason="fout")
    await app.intake.cancel(accepted.id, by="medewerker", reason="fout")
    await app.pass_time(hours=24, every=4)
    assert (await app.delivery(accepted.id)).state is DeliveryState.CANCELLED
    assert not app.box.placements
    assert len(await app.named(accepted.id, "message.cancelled")) == 1
    assert await app.steps() == []


async def test_a_message_in_a_workers_hands_cannot_be_called_back(app):
    accepted = await app.accept()
    assert len(await app.claim("mijnoverheid")) == 1
    with pytest.raises(Conflict):
        await app.intake.cancel(accepted.id, by="medewerker", reason="fout")


async def test_a_placed_message_cannot_be_called_back(app):
    accepted = await app.accept()
    await app.settle()
    with pytest.raises(Conflict):
        await app.intake.cancel(accepted.id, by="medewerker", reason="fout")


async def test_a_message_that_is_called_back_while_it_is_claimed_is_one_or_the_other(pg_app, make_app, postgres_url):
    """Never both: what was cancelled was not placed, what was placed was not cancelled."""
    other = await make_app(postgres_url, beside=pg_app)
    ended = {"cancelled": 0, "placed": 0}

    async def work(turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        await pg_app.lanes.work("mijnoverheid")

    async def cancel(message):
        try:
            await other.intake.cancel(message, by="medewerker", reason="fout")
        except Conflict:
            return False
        return True

    for turns in range(40):
        accepted = await pg_app.accept()
        cancelled, _ = await asyncio.gather(cancel(accepted.id), work(turns))
        state = (await pg_app.delivery(accepted.id)).state
        assert cancelled == (state is DeliveryState.CANCELLED)
        assert pg_app.box.placements[accepted.id] == (0 if cancelled else 1)
        ended["cancelled" if cancelled else "placed"] += 1
    assert all(ended.values()), f"both happened: {ended}"


async def test_cancelling_an_unknown_message_is_refused(app):
    with pytest.raises(Refused):
        await app.intake.cancel(uuid4(), by="medewerker", reason="fout")


async def test_the_text_of_a_database_error_shows_nothing_of_what_it_was_given(app):
    with pytest.raises(sa.exc.SQLAlchemyError) as raised:
        async with app.database.write() as connection:
            await connection.execute(
                sa.text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "jantje@geheim.example.nl"}
            )
    assert "jantje" not in str(raised.value)


async def test_the_status_of_many_messages_is_read_by_id(app):
    ids = [(await app.accept()).id for _ in range(3)]
    async with app.database.read() as connection:
        loaded = await messages.load(connection, [*ids, UUID(int=0)], app.vault, with_documents=False)
    assert set(loaded) == set(ids)
    assert msgspec.json.encode(loaded[ids[0]])


@pytest.mark.law("L12")
async def test_another_message_under_a_reference_in_use_is_refused_and_that_is_kept_with_the_first(app, body):
    accepted = await app.accept(body(kenmerk="K-1"))
    before, delivery = await app.events(accepted.id), await app.delivery(accepted.id)
    other = body(kenmerk="K-1", onderwerp="Een ander besluit")
    for request in (other, other, body(kenmerk="K-1", onderwerp="Weer een ander besluit")):
        with pytest.raises(Conflict):
            await app.accept(request)
    rejected = await app.named(accepted.id, "SubmissionRejection")
    assert len(rejected) == 2, "each body once"
    assert all(len(bytes.fromhex(event.detail["body_sha256"])) == 32 for event in rejected)
    assert {tuple(event.detail["codes"]) for event in rejected} == {("kenmerk_in_gebruik",)}
    assert b"ander besluit" not in b"".join(event.envelope for event in rejected)
    assert (await app.events(accepted.id))[: len(before)] == before
    assert await app.delivery(accepted.id) == delivery


async def test_a_sender_that_goes_on_and_on_does_not_fill_the_log(app, body):
    accepted = await app.accept(body(kenmerk="K-1"))
    rows = [msgspec.json.encode(body(kenmerk="K-1", onderwerp=f"Besluit {number}")) for number in range(30)]
    answers = await app.intake.accept_many(rows, route=Route.HTTP, caller=Caller("zaak"))
    assert all(isinstance(answer, Conflict) for answer in answers)
    assert len(await app.named(accepted.id, "SubmissionRejection")) == 20
