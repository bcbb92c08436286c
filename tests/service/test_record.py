"""Recording: what a call brought, the next steps and the evidence are one transaction; the chain of evidence holds."""

import asyncio
import json
from uuid import uuid4

import msgspec
import pytest
import rfc8785
import sqlalchemy as sa
from tenacity import retry_never

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.parts import Delivery
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.evidence.chain import GENESIS, chain_hash, commit
from bode.evidence.merkle import leaf_hash
from bode.store import tables
from bode_adapters.contract import MailRefused


def bounce(verdict=Verdict.SOFT):
    reason = Reason.USER_UNKNOWN if verdict is Verdict.HARD else Reason.MAILBOX_FULL
    return ev.Bounce(verdict, reason, "a-rule", 550, "5.1.1", "<jan@x.nl> is onbekend", "mx", reported=True)


async def check_chain(app, message):
    """Check all evidence of a message as an outsider would, and that the delivery's row agrees."""
    events = await app.events(message)
    previous = GENESIS
    for number, event in enumerate(events, 1):
        envelope = json.loads(event.envelope)
        assert event.seq == envelope["seq"] == number
        assert envelope["previous"] == previous.hex()
        assert event.hash == leaf_hash(event.envelope)
        assert rfc8785.dumps(envelope) == event.envelope
        previous = chain_hash(previous, event.hash)
    (row,) = await app.rows(tables.delivery, tables.delivery.c.message_id == message)
    assert (row.event_seq, row.event_hash) == (len(events), previous)
    return events


@pytest.mark.parametrize("where", ["lock", "finish", "_delivery_row", "_write_steps", "_event_row", "store_letters"])
async def test_a_failure_while_recording_leaves_nothing_and_the_work_is_found(app, body, where, monkeypatch):
    accepted = await app.accept(body(channels=()))
    before = (await app.rows(tables.delivery), await app.events(accepted.id))
    places = {"lock": ("bode.engine.lanes.lock"), "finish": "bode.store.steps.finish"}
    place = places.get(where) or f"bode.store.{'messages' if where == 'store_letters' else 'record'}.{where}"

    def fail(*_args, **_options):
        raise OSError(where)

    with monkeypatch.context() as broken:
        broken.setattr(place, fail)
        broken.setattr("bode.engine.lanes.retry_if_exception_type", lambda _: retry_never)
        assert await app.lanes.drain("print") == 0
    assert (await app.rows(tables.delivery), await app.events(accepted.id)) == before
    assert [step.state for step in await app.steps()] == ["leased"]
    assert await app.rows(tables.letter) == []
    app.clock.move(minutes=3)
    await app.pass_time(hours=2)
    assert list(app.printer.printed.values()) == [1]
    assert len(await app.named(accepted.id, "RelayToNonERDS")) == 1
    await check_chain(app, accepted.id)


async def test_the_chain_of_evidence_holds_over_a_whole_life(app):
    app.notifier.script.rule = lambda mail: MailRefused("rcpt_to", 550, f"5.1.1 {mail.email} unknown", "mx.example.nl")
    accepted = await app.accept()
    await app.pass_time(hours=3)
    events = await check_chain(app, accepted.id)
    assert len(events) > 8


async def test_sealed_details_are_what_the_evidence_commits_to(app):
    app.notifier.script.rule = lambda mail: MailRefused("rcpt_to", 550, f"5.1.1 {mail.email} unknown", "mx.example.nl")
    accepted = await app.accept()
    await app.settle()
    committed = {
        event.seq: json.loads(event.envelope)["detail_commit"]
        for event in await app.events(accepted.id)
        if b"detail_commit" in event.envelope
    }
    assert committed
    (content,) = await app.rows(tables.content)
    key = app.vault.unwrap(accepted.id, content.wrapped_key)
    rows = await app.rows(tables.event_detail)
    assert {row.seq for row in rows} == set(committed)
    for row in rows:
        clear = app.vault.open(key, accepted.id, f"event {row.seq}", row.sealed)
        assert commit(row.salt, clear).hex() == committed[row.seq]
        assert "goed.jan@post.example.nl" in json.loads(clear)["diagnostic"]


async def test_a_letter_is_kept_as_it_was_handed_over(app, body):
    accepted = await app.accept(body(channels=()))
    await app.settle()
    (printed,) = app.printer.letters.values()
    assert await app.letter(accepted.id) == printed.pdf
    assert await app.letter(accepted.id, 1) is None


async def test_what_happened_is_recorded_also_after_the_content_was_erased(app):
    accepted = await app.accept()
    await app.settle()
    async with app.database.write() as connection:
        await connection.execute(sa.update(tables.content).values(wrapped_key=None, sealed=None))
    await app.lanes.apply([(accepted.id, ev.NoticeBounced("mijnoverheid", bounce(Verdict.HARD)))])
    await check_chain(app, accepted.id)
    assert (await app.delivery(accepted.id)).placements[0].notice.state is N.UNDELIVERABLE
    assert await app.rows(tables.event_detail) == []
    await app.settle()
    assert not app.printer.printed, "there is nothing to print from"


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [20])
async def test_a_bounce_and_a_record_at_the_same_time_both_stay(app, make_app, database_url, rounds):
    """Neither is lost, and the evidence has one order."""
    other = await make_app(database_url, beside=app)
    for _ in range(rounds):
        ids = [(await app.accept()).id for _ in range(3)]
        await app.lanes.drain("mijnoverheid")
        happened = [(message, ev.NoticeBounced("mijnoverheid", bounce())) for message in reversed(ids)]
        await asyncio.gather(
            app.lanes.drain("kennisgeving"),
            *(other.lanes.apply([one]) for one in happened),
            other.lanes.apply(happened),
        )
        for message in ids:
            names = [event.name for event in await check_chain(app, message)]
            assert names.count("bounce.received") == 2
            assert names.count("ConsignmentNotification") == 1


@pytest.mark.slow
async def test_everything_at_the_same_time_on_the_same_messages_ends_without_a_deadlock(pg_app, make_app, postgres_url):
    apps = [pg_app, *[await make_app(postgres_url, beside=pg_app) for _ in range(3)]]
    for app in apps:
        app.notifier.script.rule = lambda mail: MailRefused("rcpt_to", 452, "4.2.2 full") if mail.id.int % 3 else None
    ids = [(await pg_app.accept()).id for _ in range(150)]
    for number in range(12):
        pg_app.clock.move(hours=5)
        work = []
        for app in apps:
            work += [app.sweeper.sweep(), app.lanes.drain("mijnoverheid"), app.lanes.drain("kennisgeving")]
            part = ids[number :: len(apps)] if number % 2 else list(reversed(ids[number :: len(apps)]))
            work.append(app.lanes.apply([(message, ev.NoticeBounced("mijnoverheid", bounce())) for message in part]))
        results = await asyncio.gather(*work)
        assert all(result is not False for result in results)
    await pg_app.pass_time(hours=60, every=5)
    for message in ids:
        names = [event.name for event in await check_chain(pg_app, message)]
        assert names.count("ContentConsignment") == 1
        assert names.count("letter.ordered") <= 1
        assert names.count("deadline.missed") <= 1
    assert max(pg_app.box.placements.values()) == 1
    assert max(pg_app.printer.printed.values()) == 1


async def test_many_events_of_one_transaction_are_decided_in_their_order(app):
    accepted = await app.accept()
    await app.settle()
    soft, hard = (ev.NoticeBounced("mijnoverheid", bounce(verdict)) for verdict in (Verdict.SOFT, Verdict.HARD))
    await app.lanes.apply([(accepted.id, soft), (accepted.id, hard), (accepted.id, soft)])
    bounces = await app.named(accepted.id, "bounce.received")
    assert [(event.detail["verdict"], event.detail["moved"]) for event in bounces] == [
        ("soft", True),
        ("hard", True),
        ("soft", False),
    ]
    parts = [step.part for step in await app.steps()]
    assert parts == ["letter/0"], "the step that the soft bounce planned was called off by the hard one"


async def test_events_of_a_message_that_does_not_exist_are_no_error(app):
    assert await app.lanes.apply([(uuid4(), ev.ClockStruck("notice/mijnoverheid"))])


async def test_a_delivery_as_stored_can_be_read_by_itself(app):
    accepted = await app.accept()
    await app.settle()
    (row,) = await app.rows(tables.delivery)
    delivery = msgspec.json.decode(row.document, type=Delivery)
    assert delivery == await app.delivery(accepted.id)
    assert (row.state, row.outcome) == ("done", "noticed")
    assert row.sent_at == delivery.placements[0].placed_at
    assert delivery.placements[0].state is P.PLACED
