"""The sweeper: what is due, what was left behind, what must be woken; also with the broker down, or several at once."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

import bode.store.steps
from bode.engine.doorbell import LANES_QUEUE, Doorbell, build_broker
from bode.engine.sweeper import Sweeper
from bode.store import tables
from bode_adapters.contract import MailRefused, Unavailable

FULL = MailRefused("rcpt_to", 452, "4.2.2 mailbox full", "mx.example.nl")


async def test_what_is_due_is_made_ready_and_rung_for(app, body):
    at = app.clock.now() + timedelta(hours=6)
    await app.accept(body(publicatieTijdstip=at.isoformat()))
    app.rings.clear()
    await app.sweeper.sweep()
    assert ([step.state for step in await app.steps()], +app.rings) == (["waiting"], {})
    app.clock.move(hours=6)
    await app.sweeper.sweep()
    assert ([step.state for step in await app.steps()], app.rings) == (["ready"], {"mijnoverheid": 1})


async def test_what_is_ready_is_rung_for_again_at_every_sweep(app):
    await app.accept()
    app.rings.clear()
    await app.sweeper.sweep()
    await app.sweeper.sweep()
    assert app.rings == {"mijnoverheid": 2}


async def test_a_stopped_lane_is_not_rung_for(app):
    await app.accept()
    await app.stop_lane("mijnoverheid")
    app.rings.clear()
    await app.sweeper.sweep()
    assert not app.rings


async def test_several_sweepers_at_once_do_everything_once(app, make_app, database_url):
    """Take over lost leases, strike the clock, and decide bounces: each once, whoever does it."""
    others = [app, *[await make_app(database_url, beside=app) for _ in range(3)]]
    app.notifier.script.rule = lambda _: FULL
    ids = [(await app.accept()).id for _ in range(12)]
    await app.settle()
    app.clock.move(minutes=20)
    await app.sweeper.sweep()
    assert len(await app.claim("kennisgeving")) == 12
    app.clock.move(hours=24)
    for _ in range(3):
        assert all(await asyncio.gather(*(other.sweeper.make_pass() for other in others)))
    for message in ids:
        assert len(await app.named(message, "outcome.unknown")) == 1
    await app.claim("kennisgeving")
    app.clock.move(hours=24)
    for _ in range(3):
        assert all(await asyncio.gather(*(other.sweeper.make_pass() for other in others)))
    for message in ids:
        assert len(await app.named(message, "deadline.missed")) == 1
        assert len(await app.named(message, "letter.ordered")) == 1
    await asyncio.gather(*(other.settle() for other in others))
    assert sorted(app.printer.printed.values()) == [1] * 12


async def test_one_message_that_cannot_be_decided_does_not_hold_up_the_others(app):
    ids = [(await app.accept()).id for _ in range(3)]
    await app.claim("mijnoverheid")
    async with app.database.write() as connection:
        await connection.execute(
            sa.update(tables.delivery).where(tables.delivery.c.message_id == ids[0]).values(document="{}")
        )
    app.clock.move(minutes=3)
    assert await app.sweeper.sweep()
    for message in ids[1:]:
        assert len(await app.named(message, "outcome.unknown")) == 1
    assert [step.message_id for step in await app.steps(tables.step.c.state == "leased")] == [ids[0]]


@pytest.mark.parametrize("part", ["expired", "to_wake", "promote", "ready_lanes"])
async def test_what_stops_one_part_of_a_sweep_does_not_stop_the_others(app, body, part, monkeypatch):
    await app.accept()
    await app.claim("mijnoverheid")
    await app.accept(body(channels=()))
    app.clock.move(minutes=3)
    app.rings.clear()

    async def broken(*_args, **_options):
        raise RuntimeError(part)

    with monkeypatch.context() as patched:
        patched.setattr(f"bode.store.steps.{part}", broken)
        assert not await app.sweeper.sweep()
    assert bool(app.rings) == (part != "ready_lanes")
    assert (len(await app.steps(tables.step.c.state == "leased")) == 0) == (part != "expired")
    assert await app.sweeper.sweep()


async def test_the_loop_goes_on_whatever_a_pass_meets(app, monkeypatch, until):
    passes = []

    async def broken(*_args):
        passes.append(1)
        if len(passes) < 3:
            raise ValueError("nonsense")

    sweeper = Sweeper(app.parts, app.lanes, broken, app.inbound.work)
    running = asyncio.create_task(sweeper.run(0.001))
    await until(lambda: len(passes) > 3)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)  # before its database is closed under it


async def test_a_wiped_broker_is_rung_again_within_two_sweeps(make_app, database_url, redis):
    broker = build_broker(redis.url, "bode")
    doorbell = Doorbell(broker, chunk=100)
    app = await make_app(database_url, ring=doorbell.ring)
    await app.accept()
    assert broker.do_qsize(LANES_QUEUE) == 1
    redis.client.flushall()
    assert broker.do_qsize(LANES_QUEUE) == 0
    await app.sweeper.sweep()
    await app.sweeper.sweep()
    assert broker.do_qsize(LANES_QUEUE) >= 1
    await doorbell.close()


@pytest.mark.slow
async def test_the_sweeper_works_and_nothing_is_lost_while_the_broker_is_down(make_app, sqlite_url, own_redis, until):
    broker = build_broker(own_redis.url, "bode")
    doorbell = Doorbell(broker, chunk=100)
    app = await make_app(sqlite_url, ring=doorbell.ring)
    own_redis.stop()
    accepted = await app.accept()
    assert not accepted.known
    app.box.script.then(accepted.id, Unavailable("later"))
    assert await app.lanes.drain("mijnoverheid") == 1
    app.clock.move(hours=1)
    assert await app.sweeper.sweep(), "a broker that is down is no trouble of the sweeper"
    assert [step.state for step in await app.steps()] == ["ready"]
    await doorbell.start(drain=app.lanes.drain, threads=2)
    own_redis.start()

    async def placed():
        await app.sweeper.sweep()
        return app.box.placements[accepted.id] == 1

    await until(placed)
    assert await app.lanes.stop(10)
    await doorbell.stop(2)
    await doorbell.close()


async def test_rings_do_not_pile_up_while_nobody_hears_them(make_app, sqlite_url, redis):
    broker = build_broker(redis.url, "bode")
    doorbell = Doorbell(broker, chunk=1)
    app = await make_app(sqlite_url, ring=doorbell.ring)
    for _ in range(20):
        await app.accept()
    for _ in range(100):
        await app.sweeper.sweep()
    assert broker.do_qsize(LANES_QUEUE) < 1100
    await doorbell.close()


@pytest.mark.parametrize("hours", [24, 48])
async def test_the_clock_strikes_also_while_a_worker_has_the_step(app, hours):
    """The alarm or the deadline passes with the notice in hand; what the worker brings is recorded as it happened."""
    app.notifier.script.rule = lambda _: FULL
    accepted = await app.accept()
    await app.settle()
    app.clock.move(minutes=20)
    await app.sweeper.sweep()
    app.notifier.script.rule = None
    notify = app.notifier.notify

    async def strikes(*, notices):
        app.clock.move(hours=hours)
        await app.sweeper._wake()
        return await notify(notices=notices)

    app.notifier.notify = strikes
    await app.lanes.drain("kennisgeving")
    (sent,) = await app.named(accepted.id, "ConsignmentNotification")
    assert sent.detail["moved"] == (hours == 24)
    assert len(await app.named(accepted.id, "deadline.missed")) == (hours == 48)
    await app.settle()
    assert len(app.printer.printed) == (hours == 48)
    assert [step for step in await app.steps() if step.action == "notify"] == []


async def test_of_several_sweepers_one_sweeps_and_another_goes_on_when_it_is_gone(app, make_app, database_url):
    other = await make_app(database_url, beside=app)
    await app.accept()
    other.rings.clear()
    async with app.database.sweeping_alone() as alone:
        assert alone
        assert await other.sweeper.sweep()
        assert not other.rings, "somebody else sweeps"
    assert await other.sweeper.sweep()
    assert other.rings


async def test_a_part_that_hangs_does_not_stop_the_sweeper(app, monkeypatch):
    await app.accept()
    app.rings.clear()

    async def hangs(*_args, **_options):
        await asyncio.Event().wait()

    monkeypatch.setattr("bode.engine.sweeper._PART_SECONDS", 0.05)
    monkeypatch.setattr("bode.store.steps.expired", hangs)
    assert not await app.sweeper.sweep()
    assert app.rings


async def test_after_the_database_was_away_workers_first_record_what_they_have(app, monkeypatch):
    await app.accept()
    await app.claim("mijnoverheid")
    app.clock.move(minutes=3)
    expired = bode.store.steps.expired

    async def away(*_args, **_options):
        raise OperationalError("SELECT", {}, Exception("the server is gone"))

    monkeypatch.setattr("bode.store.steps.expired", away)
    assert not await app.sweeper.sweep()
    monkeypatch.setattr("bode.store.steps.expired", expired)
    assert await app.sweeper.sweep()
    assert await app.steps(tables.step.c.state == "leased"), "not taken over yet"
    app.clock.move(seconds=app.parts.lease_seconds)
    assert await app.sweeper.sweep()
    assert not await app.steps(tables.step.c.state == "leased")
