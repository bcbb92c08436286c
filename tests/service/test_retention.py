"""Retention: what its term is over of goes, nothing else does, and extracts given out before go on verifying."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.retention import Kind, Terms
from bode.engine.copies import Audience, CannotEraseError, Copies
from bode.engine.evidence_audit import Audit
from bode.engine.inbound import Raw
from bode.engine.retention import ALL_OTHERS, Retention
from bode.evidence.note import Checkpoint, SigningKey
from bode.evidence.verify import Trust, verify
from bode.store import evidence_log, keyring, messages, retention, staff, tables
from bode.store.vault import Vault

ORIGIN = "log.bode.example"
OIN, OTHER_OIN = "00000001999000010000", "00000001999000020000"
TERMS = Terms()
SHORT = Terms(content=timedelta(days=60), personal=timedelta(days=184), evidence=timedelta(days=184))


@pytest.fixture
def keeper(app):
    return Retention(app.database, app.vault, app.parts.policy, app.clock, terms=TERMS, own={OTHER_OIN: SHORT})


async def stage(app, message):
    (row,) = await app.rows(tables.delivery, tables.delivery.c.message_id == message)
    return row.stage


async def finished(app, body, **changes):
    """Give a message that ended in a letter: with content, documents, a letter, an address and details."""
    accepted = await app.accept(body(email="weg.jan@post.example.nl", **changes))
    await app.settle()
    (placement,) = (await app.delivery(accepted.id)).placements
    bounce = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "test", 550, "5.1.1", "weg.jan@post.example.nl is unknown")
    await app.lanes.apply([(accepted.id, ev.NoticeBounced(placement.channel, bounce))])
    await app.settle()
    await app.lanes.apply([(accepted.id, ev.LetterPosted(0, app.clock.now(), ev.TimeSource.OTHER_SIDE, "DISPATCHED"))])
    assert (await app.delivery(accepted.id)).state == "done"
    return accepted.id


async def kept(app, message):
    """Give the kinds of data that are still there of a message."""
    found = set()
    for kind, some in (
        (Kind.CONTENT, (tables.document, tables.letter)),
        (Kind.EVIDENCE, (tables.event_detail,)),
    ):
        if any([await app.rows(table, table.c.message_id == message) for table in some]):
            found.add(kind)
    async with app.database.read() as connection:
        whole = await messages.load(connection, [message], app.vault, with_documents=True)
        rest = await retention.load_persons(connection, [message], app.vault)
    if whole:
        found |= {Kind.CONTENT, Kind.PERSONAL}
    if rest:
        assert (rest[message].subject, rest[message].text, rest[message].documents) == ("", "", ())
        assert rest[message].addressee.number
        found.add(Kind.PERSONAL)
    (row,) = await app.rows(tables.message, tables.message.c.id == message)
    assert (bytes(row.addressee_hash) != bytes(32)) is (Kind.PERSONAL in found)
    return found


ALL = {Kind.CONTENT, Kind.PERSONAL, Kind.EVIDENCE}


@pytest.mark.slow
@pytest.mark.law("L13")
async def test_three_years_go_by_and_exactly_what_the_policy_says_is_gone(app, body, attachment, keeper):
    """A message of each organisation every half year; each month what is due goes, and all of it is looked at."""
    key = SigningKey.generate(ORIGIN)
    copies = Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN)
    extracts, born = {}, {}
    start = app.clock.now()
    for month in range(37):
        app.clock.time = start + timedelta(days=30.5 * month)
        if month % 6 == 0 and month < 30:
            for oin in (OIN, OTHER_OIN):
                message = await finished(app, body, afzender=oin, documenten=[attachment])
                born[message] = (app.clock.now(), SHORT if oin == OTHER_OIN else TERMS)
                issued = await copies.issue(message, audience=Audience.COURT, by="x", make_pdf=lambda *_: b"%PDF")
                await _sign(app, key)
                extracts[message] = await copies.finish(issued)
        due = await keeper.due()
        gone = await keeper.purge()
        assert gone == due, "a dry run tells what a run does"
        assert await keeper.purge() == {}
        now = app.clock.now()
        for message, (at, terms) in born.items():
            want = {kind for kind in ALL if now - at < terms.of(kind)}
            assert await kept(app, message) == want, (month, now - at)
    assert all(verify(data, Trust([key.verifier])).verdict.name == "VALID" for data in extracts.values())
    last = await copies.issue(next(iter(born)), audience=Audience.COURT, by="x", make_pdf=lambda *_: b"%PDF")
    await _sign(app, key)
    assert verify(await copies.finish(last), Trust([key.verifier])).verdict.name == "VALID"
    names = [event.name for event in await app.events(next(iter(born)))]
    assert [name for name in names if name.endswith("purged")] == ["content.purged", "person.purged"]
    faults = []
    await Audit(app.database, faults.append, folder=None, vault=app.vault).run()
    assert faults == []


async def _sign(app, key):
    async with app.database.write() as connection:
        await evidence_log.sequence(connection)
        size = await evidence_log.length(connection)
        root = (await evidence_log.read_right_edge(connection, size)).root()
        note = Checkpoint(ORIGIN, size, root).sign(key).encode().decode()
        await evidence_log.keep_checkpoint(
            connection, origin=ORIGIN, size=size, root=root, note=note, published_at=app.clock.now()
        )


@pytest.mark.law("L13")
async def test_what_is_held_or_not_finished_stays_however_old_it_is(app, body, keeper):
    done = await finished(app, body)
    under_way = (await app.accept(body())).id
    copies = Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN)
    await copies.hold(done, by="x", reason="rechtszaak", on=True)
    app.clock.move(days=4000)
    assert {key: count for key, count in (await keeper.purge()).items() if key[1] in ALL} == {}
    assert (await stage(app, done), await stage(app, under_way)) == ("all", "all")
    await copies.hold(done, by="x", reason="uitspraak", on=False)
    assert (await keeper.purge())[ALL_OTHERS, Kind.EVIDENCE] == 1
    assert await stage(app, done) == "nothing"


async def test_an_event_after_the_end_does_not_start_the_term_anew(app, body, keeper):
    message = await finished(app, body)
    app.clock.move(days=80)
    await Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN).issue(
        message, audience=Audience.COURT, by="x", make_pdf=lambda *_: b"%PDF"
    )
    app.clock.move(days=11)
    await keeper.purge()
    assert await stage(app, message) == "no_content"


async def test_what_came_in_goes_on_its_own_term_and_what_is_not_decided_stays(app, keeper):
    await app.inbound.store(Raw("a" * 64, "print", app.clock.now(), b"decided"))
    await app.inbound.store(Raw("b" * 64, "print", app.clock.now(), b"new"))
    async with app.database.write() as connection:
        await connection.execute(
            sa.update(tables.inbound).where(tables.inbound.c.key == "a" * 64).values(state="ignored")
        )
    app.clock.move(days=89)
    assert await keeper.purge() == {}
    app.clock.move(days=2)
    assert await keeper.purge() == {(ALL_OTHERS, Kind.RECEIVED): 1}
    assert [row.key for row in await app.rows(tables.inbound)] == ["b" * 64]


async def test_acts_of_staff_go_on_their_own_term_and_that_is_an_act(app, keeper):
    async with app.database.write() as connection:
        await staff.record_act(
            connection, app.vault, staff.StaffAct(app.clock.now(), "jan", "lane_stopped", "print", "x")
        )
    app.clock.move(days=3 * 365 + 1)
    assert await keeper.purge() == {(ALL_OTHERS, Kind.AUDIT): 1}
    (left,) = await app.rows(tables.staff_act)
    assert (left.who, left.act) == ("bode", "audit_purged")


async def test_acts_of_staff_do_not_go_within_half_a_year_whoever_says_so(app):
    async with app.database.write() as connection:
        await staff.record_act(
            connection, app.vault, staff.StaffAct(app.clock.now(), "jan", "lane_stopped", "print", "x")
        )
    app.clock.move(days=183)
    with pytest.raises(sa.exc.IntegrityError, match="before its term is over"):
        async with app.database.write() as connection:
            await retention.purge_audit(connection, app.clock.now(), app.clock.now(), dry_run=False)
    assert len(await app.rows(tables.staff_act)) == 1


async def test_two_that_purge_at_once_purge_once(make_app, postgres_url, body):
    app = await make_app(postgres_url)
    message = await finished(app, body)
    app.clock.move(days=91)
    keepers = [Retention(app.database, app.vault, app.parts.policy, app.clock, terms=TERMS, own={}) for _ in range(2)]
    gone = await asyncio.gather(*(one.purge() for one in keepers))
    assert sum(one.get((ALL_OTHERS, Kind.CONTENT), 0) for one in gone) == 1
    assert [event.name for event in await app.events(message)].count("content.purged") == 1


async def test_the_secret_of_keyed_hashes_can_change_after_the_content_is_gone(app, body, keeper):
    await keyring.open_vault(app.database, app.vault, app.clock.now())
    message = await finished(app, body)
    app.clock.move(days=91)
    await keeper.purge()
    await keyring.new_lookup_secret(app.database, app.vault, app.clock.now())
    await keyring.rehash(app.database, app.vault)
    await keyring.drop_older_lookup_secrets(app.database, app.vault)
    async with app.database.read() as connection:
        person = (await retention.load_persons(connection, [message], app.vault))[message].addressee
    (row,) = await app.rows(tables.message, tables.message.c.id == message)
    assert bytes(row.addressee_hash) == app.vault.lookup_hash(person.kind, person.number)


# ------------------------------------------------------------------------------------------------- erasure on request


@pytest.mark.law("L13")
async def test_within_half_a_year_an_erasure_is_a_choice_that_is_made_out_loud(app, body):
    message = await finished(app, body)
    copies = Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN)
    with pytest.raises(CannotEraseError, match=r"2026-09-0\d.*AVG 17.*--before-term"):
        await copies.erase(message, by="x", reason="verzoek")
    assert await kept(app, message) == ALL
    await copies.erase(message, by="x", reason="verkeerde persoon", before_term=True)
    assert await kept(app, message) == set()
    assert await stage(app, message) == "nothing"


@pytest.mark.law("L13")
async def test_after_half_a_year_an_erasure_needs_no_more_than_a_request(app, body):
    message = await finished(app, body, zaak="ZK-2026-0001")
    app.clock.move(days=185)
    await Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN).erase(message, by="x", reason="verzoek")
    assert await kept(app, message) == set()
    (row,) = await app.rows(tables.message)
    assert row.case_reference is None


async def test_a_result_of_a_box_about_an_erased_message_is_emptied(app, body):
    message = await finished(app, body)
    await app.inbound.store(Raw("r" * 64, "result", app.clock.now(), b"<result for=999990019/>"))
    await app.inbound.keep_about("r" * 64, [message])
    await Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN).erase(
        message, by="x", reason="verzoek", before_term=True
    )
    (row,) = await app.rows(tables.inbound, tables.inbound.c.route == "result")
    assert bytes(row.sealed) == b""
    both = Vault(b"n" * 32, bytes(range(32)))
    await keyring.open_vault(app.database, both, app.clock.now())
    await keyring.rotate(app.database, both)
    (row,) = await app.rows(tables.inbound, tables.inbound.c.route == "result")
    assert (bytes(row.sealed), row.key_id) == (b"", both.key_id)
