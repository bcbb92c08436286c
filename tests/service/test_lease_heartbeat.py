"""Heartbeats: a chunk in hand stays its worker's while that lives, and is missed within one lease when it does not."""

import asyncio
from datetime import timedelta

import pytest

from bode.clock import Clock
from bode.engine.hold import Hold
from bode.store import steps, tables


@pytest.fixture
async def pair(make_app, database_url):
    """Give two workers with a lease of 1.2 seconds on the clock that a test moves, and a heartbeat in real time."""
    first = await make_app(database_url, heartbeat_seconds=0.4)
    return first, await make_app(database_url, beside=first, heartbeat_seconds=0.4)


def stays(app, goes_on):
    place = app.box.place

    async def placing(*, messages):
        answers = await place(messages=messages)
        await goes_on.wait()
        return answers

    app.box.place = placing


async def leases(app):
    return [row.lease_until for row in await app.steps(tables.step.c.state == "leased")]


async def test_a_chunk_in_hand_outlives_its_first_lease(pair, until):
    first, second = pair
    goes_on = asyncio.Event()
    stays(first, goes_on)
    accepted = await first.accept()
    working = asyncio.create_task(first.lanes.drain("mijnoverheid"))

    async def leased():
        return await leases(second)

    await until(leased)
    (before,) = await leases(second)
    for _ in range(3):
        first.clock.move(seconds=0.5)
        until_now = first.clock.real() + timedelta(seconds=first.parts.lease_seconds)

        async def renewed(until_now=until_now):
            return await leases(second) == [until_now]

        await until(renewed)
        await second.sweeper.sweep()
    assert (await leases(second))[0] > before
    goes_on.set()
    assert await working == 1
    assert await second.named(accepted.id, "outcome.unknown") == []
    assert first.box.placements[accepted.id] == 1


async def test_no_heartbeat_goes_on_longer_than_a_chunk_may_be_in_hand(make_app, database_url, until):
    app = await make_app(database_url, heartbeat_seconds=0.02, hold_seconds=10)
    goes_on = asyncio.Event()
    stays(app, goes_on)
    await app.accept()
    latest = app.clock.real().timestamp() + 10
    working = asyncio.create_task(app.lanes.drain("mijnoverheid"))

    async def renewed_to_the_end():
        app.clock.move(seconds=0.03)
        return any(at.timestamp() == pytest.approx(latest) for at in await leases(app))

    await until(renewed_to_the_end)
    goes_on.set()
    await working


async def test_a_lease_is_renewed_by_its_own_fence_alone(app):
    await app.accept()
    (old,) = await app.claim("mijnoverheid")
    later = app.clock.real() + timedelta(minutes=10)
    async with app.database.write() as connection:
        await steps.give_back(connection, [old])
    (new,) = await app.claim("mijnoverheid")
    async with app.database.write() as connection:
        assert await steps.renew(connection, [old], later) == 0
    assert await leases(app) != [later]
    async with app.database.write() as connection:
        assert await steps.renew(connection, [new], later) == 1
    assert await leases(app) == [later]


async def test_a_heartbeat_waits_for_nobody(pg_app):
    await pg_app.accept()
    leased = await pg_app.claim("mijnoverheid")
    later = pg_app.clock.real() + timedelta(minutes=10)
    async with pg_app.database.write() as busy:
        assert await steps.finish(busy, leased) == {leased[0].id}
        async with pg_app.database.write() as connection:
            assert await steps.renew(connection, leased, later) == 0


async def in_a_call(hold, begun):
    async with hold.call(60):
        begun.append(1)
        hold.renew(hold.until)
        await asyncio.Event().wait()


async def test_a_call_ends_with_the_hold_however_often_that_was_renewed():
    clock, begun = Clock(), []
    hold = Hold(clock, clock.real() + timedelta(seconds=0.04), 0.04)
    with pytest.raises(TimeoutError):
        await in_a_call(hold, begun)
    assert begun


async def test_a_hold_that_is_over_lets_nobody_call():
    clock, begun = Clock(), []
    hold = Hold(clock, clock.real(), 12)
    assert hold.is_over
    with pytest.raises(TimeoutError):
        await in_a_call(hold, begun)
