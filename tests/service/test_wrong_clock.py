"""A worker whose own clock is wrong, or is set: it goes by the database's, so it cuts nobody off and is never early."""

from datetime import UTC, datetime, timedelta

import pytest

from bode.clock import Clock
from bode.domain.parts import PlacementState as P

HOUR = timedelta(hours=1)


@pytest.fixture
async def beside(app, make_app, database_url):
    """Give a maker of a second worker whose own clock is ahead by so much, and which agreed on the time or not."""

    async def _beside(ahead, *, agreed=True):
        clock = Clock(wall=lambda: app.clock.time + ahead, timer=lambda: app.clock.time.timestamp())  # noqa: PLW0108 - the time changes
        if agreed:
            await clock.agree(_asking(app))
        return await make_app(database_url, beside=app, clock=clock)

    return _beside


def _asking(app):
    async def ask():
        return app.clock.time

    return ask


async def test_the_database_tells_the_time(app):
    told = await app.database.time()
    assert told.tzinfo is UTC
    assert abs(told - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize("ahead", [HOUR, 26 * HOUR])
async def test_a_worker_with_a_wrong_clock_does_not_cut_others_off(app, beside, ahead):
    await app.accept()
    assert len(await app.claim("mijnoverheid")) == 1
    await (await beside(ahead)).sweeper.sweep()
    assert [step.state for step in await app.steps()] == ["leased"]
    await (await beside(ahead, agreed=False)).sweeper.sweep()
    assert [step.state for step in await app.steps()] != ["leased"], "this test could not fail"


async def test_a_worker_with_a_wrong_clock_does_not_send_early(app, beside, body):
    at = app.clock.now() + HOUR
    accepted = await app.accept(body(publicatieTijdstip=at.isoformat()))
    await (await beside(2 * HOUR)).settle()
    assert not app.box.placements
    app.clock.move(hours=1)
    await (await beside(-2 * HOUR)).settle()
    assert app.box.placements[accepted.id] == 1, "nor late"


async def test_a_worker_with_a_wrong_clock_records_the_right_time(app, beside):
    accepted = await (await beside(-5 * HOUR)).accept()
    assert accepted.accepted_at == app.clock.time


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_that_is_set_while_a_worker_has_a_step_changes_nothing(app, make_app, database_url, hours):
    ahead = [timedelta(0)]
    clock = Clock(wall=lambda: app.clock.time + ahead[0], timer=lambda: app.clock.time.timestamp())  # noqa: PLW0108 - the time changes
    await clock.agree(_asking(app))
    worker = await make_app(database_url, beside=app, clock=clock)
    accepted = await app.accept()
    place = app.box.place

    async def set_meanwhile(*, messages):
        ahead[0] = timedelta(hours=hours)
        return await place(messages=messages)

    app.box.place = set_meanwhile
    await worker.lanes.drain("mijnoverheid")
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLACED
    assert await app.named(accepted.id, "outcome.unknown") == []


@pytest.mark.parametrize(
    "night",
    [datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)],
    ids=["spring", "autumn"],
)
async def test_forty_eight_hours_are_forty_eight_hours_in_the_night_the_clock_is_changed(app, night):
    app.clock.time = night
    app.notifier.down = True
    accepted = await app.accept()
    await app.settle()
    placement = (await app.delivery(accepted.id)).placements[0]
    assert placement.notice.deadline_at - placement.placed_at == timedelta(hours=48)
    await app.pass_time(hours=47.5, every=8)
    assert (await app.delivery(accepted.id)).letters == ()
    await app.pass_time(hours=0.6)
    assert len((await app.delivery(accepted.id)).letters) == 1
