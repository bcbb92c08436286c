"""Leases and fences: a worker that was cut off cannot record, and what it did is found out, never guessed."""

import asyncio
from uuid import UUID

import pytest
import sqlalchemy as sa

import bode.failpoints
from bode.domain.parts import AttentionReason, DeliveryState
from bode.domain.parts import PlacementState as P
from bode.failpoints import Point
from bode.store import steps, tables
from bode_adapters.contract import Capabilities, Unavailable, Unknown
from bode_adapters.memory import MemoryBox, Staged


class Stalling(MemoryBox):
    """A box whose first call places, and whose answer comes when the test lets it."""

    def __init__(self, clock, **options):
        super().__init__(clock=clock.now, **options)
        self.called, self.answer = asyncio.Event(), asyncio.Event()
        self.calls = []

    async def place(self, *, messages):
        self.calls.append([message.batch for message in messages])
        answers = await super().place(messages=messages)
        if len(self.calls) == 1:
            self.called.set()
            await self.answer.wait()
        return answers


@pytest.fixture
async def zombie(make_app, database_url):
    """Give a worker that placed a message and stalls, and a second worker beside it."""
    first = await make_app(database_url)
    box = Stalling(first.clock)
    boxes = {**first.parts.boxes, "mijnoverheid": box}
    first = await make_app(database_url, beside=first, boxes=boxes)
    second = await make_app(database_url, beside=first, boxes=boxes)
    accepted = await first.accept()
    working = asyncio.create_task(first.lanes.drain("mijnoverheid"))
    await box.called.wait()
    return first, second, box, accepted.id, working


async def evidence(app, message):
    return [(event.seq, event.name, event.hash) for event in await app.events(message)]


async def test_a_worker_whose_lease_ran_out_cannot_record(zombie):
    _, second, box, message, working = zombie
    second.clock.move(minutes=3)
    await second.settle()
    assert (await second.delivery(message)).placements[0].state is P.UNKNOWN
    await second.pass_time(hours=1)
    before = await evidence(second, message)
    row = await second.rows(tables.delivery)
    box.answer.set()
    await working
    assert await evidence(second, message) == before, "nothing is recorded twice"
    assert [(r.document, r.event_seq, r.event_hash) for r in await second.rows(tables.delivery)] == [
        (r.document, r.event_seq, r.event_hash) for r in row
    ]
    assert len(await second.named(message, "ContentConsignment")) == 1
    assert box.placements[message] == 1
    assert (await second.delivery(message)).state is DeliveryState.DONE


async def test_what_a_lost_worker_did_is_unknown_and_its_call_is_repeated_as_it_was(zombie):
    _, second, box, message, working = zombie
    second.clock.move(minutes=3)
    await second.settle()
    (unknown,) = await second.named(message, "outcome.unknown")
    assert unknown.detail["code"] == "worker_lost"
    assert UUID(unknown.detail["call"]) == box.calls[0][0]
    await second.pass_time(hours=1)
    assert box.calls[0] == box.calls[1], "the same call id"
    assert (await second.named(message, "outcome.reconciled"))[0].detail["outcome"] == "placed"
    assert box.placements[message] == 1
    box.answer.set()
    await working


async def test_a_worker_that_is_late_but_was_not_missed_records(zombie):
    first, second, box, message, working = zombie
    first.clock.move(minutes=3)
    box.answer.set()
    await working
    assert (await second.delivery(message)).placements[0].state is P.PLACED
    assert await second.settle() == 1
    assert await second.named(message, "outcome.unknown") == []


async def test_a_box_that_can_only_be_searched_is_searched_before_anything_is_sent_again(make_app, database_url, body):
    app = await make_app(database_url)
    box = Stalling(app.clock, capabilities=Capabilities(bulk=10, repeat_is_recognised=False, can_lookup=True))
    app = await make_app(database_url, beside=app, boxes={**app.parts.boxes, "mijndomein": box})
    accepted = await app.accept(body(channels=("mijndomein",)))
    working = asyncio.create_task(app.lanes.drain("mijndomein"))
    await box.called.wait()
    second = await make_app(database_url, beside=app, boxes=app.parts.boxes)
    second.clock.move(minutes=3)
    await second.pass_time(hours=1)
    assert len(box.calls) == 1, "it was found, and not placed again"
    assert box.placements[accepted.id] == 1
    assert (await second.delivery(accepted.id)).placements[0].state is P.PLACED
    box.answer.set()
    await working


async def test_a_mail_that_may_have_left_waits_for_a_person_and_is_not_sent_again(app, body):
    app.mail.script.rule = lambda _: Staged(Unknown("lost"), happened=True)
    accepted = await app.accept(body(channels=("email",), vertrouwelijkheid="laag", aard="overig", termijn=None))
    await app.pass_time(hours=100, every=10)
    delivery = await app.delivery(accepted.id)
    assert [item.reason for item in delivery.attention] == [AttentionReason.OUTCOME_UNKNOWN]
    assert app.mail.placements[accepted.id] == 1
    assert not app.printer.printed


async def test_a_lost_notice_is_sent_again_and_the_evidence_says_so(app):
    accepted = await app.accept()
    await app.lanes.drain("mijnoverheid")
    assert len(await app.claim("kennisgeving")) == 1
    app.clock.move(minutes=3)
    await app.settle()
    names = [event.name for event in await app.events(accepted.id) if event.part == "notice/mijnoverheid"]
    assert names == ["notice.due", "outcome.unknown", "ConsignmentNotification"]
    (sent,) = await app.named(accepted.id, "ConsignmentNotification")
    assert sent.detail["attempt"] == 2


async def test_a_lost_letter_is_repeated_with_its_own_call_and_printed_once(app, body):
    calls = []

    def lost(letter):
        calls.append(letter.batch)
        return Staged(Unknown("lost"), happened=True) if len(calls) == 1 else None

    app.printer.script.rule = lost
    accepted = await app.accept(body(channels=()))
    await app.pass_time(hours=4)
    assert calls[0] == calls[1]
    assert list(app.printer.printed.values()) == [1]
    assert len(await app.named(accepted.id, "RelayToNonERDS")) == 1


async def test_the_fence_of_an_earlier_lease_opens_nothing(app):
    await app.accept()
    (old,) = await app.claim("mijnoverheid")
    async with app.database.write() as connection:
        await steps.give_back(connection, [old])
    (new,) = await app.claim("mijnoverheid")
    assert new.fence > old.fence
    async with app.database.write() as connection:
        assert await steps.finish(connection, [old]) == set()
        await steps.give_back(connection, [old])
    assert [row.state for row in await app.steps()] == ["leased"]
    async with app.database.write() as connection:
        assert await steps.finish(connection, [new]) == {new.id}


async def test_the_id_of_a_step_is_never_used_again(app):
    app.box.script.rule = lambda _: Unavailable("later")
    await app.accept()
    seen = set()
    for _ in range(6):
        (step,) = await app.steps()
        assert step.id not in seen
        seen.add(step.id)
        app.clock.move(hours=12)
        await app.settle()
    async with app.database.write() as connection:
        await connection.execute(sa.delete(tables.step))
    await app.accept()
    assert (await app.steps())[0].id > max(seen)


async def test_a_worker_killed_between_claim_and_call_leads_to_one_placement(app, make_app, database_url):
    accepted = await app.accept()
    await app.claim("mijnoverheid")
    other = await make_app(database_url, beside=app)
    assert await other.settle() == 0
    app.clock.move(minutes=3)
    await other.pass_time(hours=1)
    assert app.box.placements[accepted.id] == 1


async def test_a_worker_that_was_stopped_past_its_lease_does_not_call(make_app, database_url, body, failpoints):
    """A box that can only be searched is found empty and given the message; the worker that wakes must not."""
    app = await make_app(database_url)
    second = await make_app(database_url, beside=app)
    accepted = await app.accept(body(channels=("mijndomein",)))
    stopped, goes_on = asyncio.Event(), asyncio.Event()

    async def stop(point):
        if point is Point.BEFORE_CALL and not stopped.is_set():
            stopped.set()
            await goes_on.wait()

    failpoints.arm(stop)
    working = asyncio.create_task(app.lanes.drain("mijndomein"))
    await stopped.wait()
    second.clock.move(minutes=3)
    await second.pass_time(hours=1)
    assert app.other_box.placements[accepted.id] == 1
    goes_on.set()
    await working
    assert app.other_box.placements[accepted.id] == 1, "placed by the worker that woke up, too"
    assert (await second.delivery(accepted.id)).state is DeliveryState.DONE


async def test_a_worker_that_woke_too_late_and_was_not_missed_tries_again(app, failpoints):
    accepted = await app.accept()
    failpoints.arm(lambda point: _sleep_through(app) if point is Point.AFTER_CLAIM else _nothing())
    await app.lanes.work("mijnoverheid")
    failpoints.arm(None)
    assert app.box.placements[accepted.id] == 0
    (failure,) = await app.named(accepted.id, "ContentConsignmentFailure")
    assert failure.detail["code"] == "lease_over"
    await app.pass_time(hours=1)
    assert app.box.placements[accepted.id] == 1


async def _sleep_through(app):
    app.clock.move(minutes=3)


async def _nothing():
    return None


@pytest.fixture
def failpoints():
    yield bode.failpoints
    bode.failpoints.arm(None)
