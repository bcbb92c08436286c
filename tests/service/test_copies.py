"""Extracts (L12) and erasure (L13): what is given out verifies, and goes on verifying when what is personal is gone."""

from __future__ import annotations

import io
import zipfile

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.decision import Fact
from bode.engine.copies import Audience, CannotEraseError, Copies, UnknownEventError, held
from bode.engine.evidence_audit import Audit
from bode.evidence.note import Checkpoint, SigningKey
from bode.evidence.verify import Trust, verify
from bode.store import evidence_log, tables
from bode.store.record import lock, write
from bode_ops.story.timeline import timeline

ORIGIN = "log.bode.example"
PDF = b"%PDF the story"


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate(ORIGIN)


@pytest.fixture
def copies(app) -> Copies:
    return Copies(app.database, app.vault, app.parts.policy, app.clock, ORIGIN)


async def finished(app, body):
    """Give a message whose notice bounced, so that a letter went: it has personal details, a letter and content."""
    accepted = await app.accept(body())
    await app.settle()
    (placement,) = (await app.delivery(accepted.id)).placements
    bounce = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "test", 550, "5.1.1", "sanne@post.example.nl is unknown")
    await app.lanes.apply([(accepted.id, ev.NoticeBounced(placement.channel, bounce))])
    await app.settle()
    now = app.clock.now()
    await app.lanes.apply([(accepted.id, ev.LetterPosted(0, now, ev.TimeSource.OTHER_SIDE, "DISPATCHED"))])
    assert (await app.delivery(accepted.id)).state == "done"
    return accepted.id


async def signed(app, key: SigningKey) -> bytes:
    """Put everything in the log and sign it; gives the root."""
    async with app.database.write() as connection:
        await evidence_log.sequence(connection)
        size = await evidence_log.length(connection)
        root = (await evidence_log.read_right_edge(connection, size)).root()
        await evidence_log.keep_checkpoint(
            connection,
            origin=ORIGIN,
            size=size,
            root=root,
            note=Checkpoint(ORIGIN, size, root).sign(key).encode().decode(),
            published_at=app.clock.now(),
        )
    return root


async def extract(app, copies: Copies, key: SigningKey, message, *, audience=Audience.COURT, only=()) -> bytes:
    issued = await copies.issue(
        message, audience=audience, only=only, by="j.jansen", make_pdf=lambda chosen, count: PDF + bytes([count])
    )
    await signed(app, key)
    return await copies.finish(issued)


def check(data: bytes, key: SigningKey) -> str:
    return verify(data, Trust([key.verifier])).verdict.name.lower()


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


@pytest.mark.law("L12")
async def test_an_extract_verifies_and_giving_it_out_is_an_event(app, body, copies, key):
    message = await finished(app, body)
    before = await app.events(message)
    data = await extract(app, copies, key, message)
    assert check(data, key) == "valid"
    (issued,) = (await app.events(message))[len(before) :]
    assert (issued.name, issued.detail["by"], issued.detail["audience"]) == ("copy.issued", "j.jansen", "court")
    assert sum(name.startswith("events/") for name in names(data)) == len(before) + 1
    assert any(name.startswith("details/") for name in names(data))


@pytest.mark.law("L12")
async def test_only_the_events_asked_for_can_be_read(app, body, copies, key):
    message = await finished(app, body)
    data = await extract(app, copies, key, message, only=["letter.posted"])
    (posted,) = await app.named(message, "letter.posted")
    (issued,) = await app.named(message, "copy.issued")
    assert [name for name in names(data) if name.startswith("events/")] == [
        f"events/{posted.seq:06d}.json",
        f"events/{issued.seq:06d}.json",
    ]
    assert check(data, key) == "valid"


async def test_an_event_the_message_does_not_have_is_refused_and_nothing_is_recorded(app, body, copies):
    message = await finished(app, body)
    before = await app.events(message)
    with pytest.raises(UnknownEventError, match=r"no event letter\.burnt"):
        await copies.issue(message, audience=Audience.COURT, only=["letter.burnt"], by="x", make_pdf=lambda *_: PDF)
    assert await app.events(message) == before


async def test_an_addressee_is_not_told_what_staff_wrote(app, body, copies, key):
    message = await finished(app, body)
    await copies.hold(message, by="j.jansen", reason="rechtszaak", on=True)
    data = await extract(app, copies, key, message, audience=Audience.ADDRESSEE)
    (staff,) = await app.named(message, "staff.action")
    assert f"events/{staff.seq:06d}.json" not in names(data)
    assert check(data, key) == "valid"


TYPED = "buurvrouw De Wit belde"


@pytest.mark.law("L13")
async def test_no_text_that_a_person_typed_stands_in_an_envelope_and_an_extract_shows_it(app, body, copies, key):
    message = await finished(app, body)
    now = app.clock.now()
    acts = [
        ev.LetterReturned(0, now, "R01", TYPED),
        ev.LetterUnclear(0, now, "X", TYPED),
        ev.Handled("j.jansen", TYPED),
        ev.Retried("j.jansen", TYPED),
        ev.LetterOrdered("j.jansen", TYPED),
        ev.LetterStopped(1, "j.jansen", TYPED),
    ]
    before = len(await app.events(message))
    for act in acts:
        await app.lanes.apply([(message, act)])
    await copies.hold(message, by="j.jansen", reason=TYPED, on=True)
    events = await app.events(message)
    told = [event for event in events[before:] if TYPED in (event.details or {}).values()]
    assert {event.detail["act"] for event in told if event.name == "staff.action"} == {
        *("handled", "retry", "letter", "letter_stopped", "legal_hold")
    }
    assert {event.name for event in told} == {"staff.action", "letter.returned", "letter.unclear"}
    assert all(TYPED.encode() not in event.envelope for event in events)

    shown: list[str] = []

    def make_pdf(chosen, _count):
        shown.extend(line.detail for line in timeline(chosen, channels={}))
        return PDF

    issued = await copies.issue(message, audience=Audience.COURT, by="j.jansen", make_pdf=make_pdf)
    await signed(app, key)
    data = await copies.finish(issued)
    assert check(data, key) == "valid"
    assert sum(TYPED in detail for detail in shown) == len(told)
    archive = zipfile.ZipFile(io.BytesIO(data))
    for event in told:
        assert TYPED.encode() in archive.read(f"details/{event.seq:06d}.json")
        assert TYPED.encode() not in archive.read(f"events/{event.seq:06d}.json")
    faults: list[object] = []
    report = await Audit(app.database, faults.append, folder=None, vault=app.vault).run()
    assert (report.details >= len(told), faults) == (True, [])


@pytest.mark.law("L9")
async def test_an_event_recorded_with_its_reason_open_still_shows_it_and_verifies(app, body, copies, key):
    message = await finished(app, body)
    fact = Fact("staff.action", ("L6", "L9"), detail={"act": "retry", "by": "j.jansen", "reason": TYPED})
    async with app.database.write() as connection:
        ledgers = await lock(connection, [message], app.vault)
        ledgers[message].facts.append(fact)
        await write(connection, ledgers, policy=app.parts.policy, vault=app.vault, now=app.clock.now())
    (line,) = timeline(await app.named(message, "staff.action"), channels={})
    assert line.detail == f"Reden: {TYPED}."
    assert check(await extract(app, copies, key, message), key) == "valid"


async def test_an_extract_is_not_made_before_a_checkpoint_covers_it(app, body, copies):
    message = await finished(app, body)
    issued = await copies.issue(message, audience=Audience.COURT, by="x", make_pdf=lambda *_: PDF)
    with pytest.raises(evidence_log.NotCoveredError):
        await copies.finish(issued)


@pytest.mark.law("L13")
async def test_erasing_leaves_nothing_personal_and_the_proof_whole(app, body, copies, key):
    message = await finished(app, body)
    earlier = await extract(app, copies, key, message)
    async with app.database.read() as connection:
        sealed_root = (await evidence_log.latest_checkpoint(connection, ORIGIN)).root
    events = await app.events(message)

    await copies.erase(message, by="j.jansen", reason="verzoek")

    for table in (tables.document, tables.letter, tables.event_detail, tables.found_address, tables.inbound):
        assert await app.rows(table, table.c.message_id == message) == [], table.name
    (content,) = await app.rows(tables.content, tables.content.c.message_id == message)
    assert (content.wrapped_key, content.sealed) == (None, None)
    (row,) = await app.rows(tables.message, tables.message.c.id == message)
    assert bytes(row.addressee_hash) == bytes(32)
    after = await app.events(message)
    assert [event.envelope for event in after[: len(events)]] == [event.envelope for event in events]
    assert any(event.details for event in events), "there was something to erase"
    assert not any(event.details for event in after)
    assert [event.name for event in after[len(events) :]] == ["detail.shredded"]

    assert check(earlier, key) == "valid"
    later = await extract(app, copies, key, message)
    assert check(later, key) == "valid"
    assert not any(name.startswith("details/") for name in names(later))
    async with app.database.read() as connection:
        rows = await connection.execute(tables.evidence_checkpoint.select().order_by(tables.evidence_checkpoint.c.size))
        assert bytes(rows.first().root) == sealed_root
    faults: list[object] = []
    report = await Audit(app.database, faults.append, folder=None, vault=app.vault).run()
    assert (faults, report.faults) == ([], 0)


@pytest.mark.law("L13")
async def test_what_is_held_for_a_case_is_not_erased_before_it_is_released(app, body, copies):
    message = await finished(app, body)
    assert await copies.hold(message, by="x", reason="rechtszaak", on=True)
    assert not await copies.hold(message, by="x", reason="rechtszaak", on=True)
    with pytest.raises(CannotEraseError, match="release it first"):
        await copies.erase(message, by="x", reason="verzoek")
    assert await copies.hold(message, by="x", reason="uitspraak", on=False)
    async with app.database.read() as connection:
        assert await held(connection, message) is None
    await copies.erase(message, by="x", reason="verzoek")


@pytest.mark.law("L13")
async def test_a_message_under_way_is_not_erased(app, body, copies):
    accepted = await app.accept(body())
    with pytest.raises(CannotEraseError, match="not finished"):
        await copies.erase(accepted.id, by="x", reason="verzoek")
    assert [event.name for event in await app.events(accepted.id)][-1] != "detail.shredded"


@pytest.mark.law("L12")
async def test_a_correction_leaves_the_event_and_the_state_as_they_are_and_stands_beside_it(app, body, copies, key):
    message = await finished(app, body)
    before, delivery = await app.events(message), await app.delivery(message)
    (posted,) = await app.named(message, "letter.posted")
    wrong = "de drukker noemde de verkeerde dag: 3 maart, niet 2 maart"
    await copies.correct(message, seq=posted.seq, by="j.jansen", reason=wrong)
    *same, correction = await app.events(message)
    assert [event.envelope for event in same] == [event.envelope for event in before]
    assert await app.delivery(message) == delivery
    assert (correction.name, correction.detail) == ("correction", {"corrects": posted.seq, "by": "j.jansen"})
    assert wrong.encode() not in correction.envelope
    shown: list[str] = []

    def make_pdf(chosen, _count):
        shown.extend(f"{line.title}: {line.detail}" for line in timeline(chosen, channels={}))
        return PDF

    await copies.issue(message, audience=Audience.COURT, by="j.jansen", make_pdf=make_pdf)
    (line,) = [line for line in shown if "verbetert" in line]
    assert f"gebeurtenis {posted.seq}" in line
    assert wrong in line
    assert check(await extract(app, copies, key, message), key) == "valid"


@pytest.mark.parametrize("seq", [0, -1, 10_000])
async def test_an_event_that_is_not_there_cannot_be_corrected(app, body, copies, seq):
    message = await finished(app, body)
    before = await app.events(message)
    with pytest.raises(LookupError, match=f"events 1 to {len(before)}"):
        await copies.correct(message, seq=seq, by="j.jansen", reason="verkeerd")
    assert await app.events(message) == before
