"""Lanes are tuned while they run: what is written is followed within seconds, and deadlines go before quiet hours."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bode.domain.lane_rules import LaneRules, QuietHours
from bode.domain.parts import NoticeState
from bode.engine.lane_rules import KEPT
from bode.store import lanes, tables
from bode.store.staff import StaffAct, read_acts, record_act
from bode_adapters.contract import MailRefused

FULL = MailRefused("rcpt_to", 452, "4.2.2 mailbox full", "mx.example.nl")
BLOCKED = MailRefused("after_dot", 554, "5.7.1 blocked using spamhaus", "mx.example.nl")
NIGHT = QuietHours.parse("18:00-08:00")
NOTICES, PRINT = "kennisgeving", "print"


async def change(app, lane, **rules):
    """Write a change as the command does, and let the time pass after which it is in force."""
    async with app.database.write() as connection:
        await lanes.write_changes(connection, lane, rules)
    app.clock.time += KEPT


@pytest.fixture
async def app(make_app, database_url):
    return await make_app(database_url)


async def notice_of(app, accepted):
    return (await app.delivery(accepted.id)).placement("mijnoverheid").notice


async def test_a_change_is_followed_by_a_worker_that_runs_already(app, make_app, database_url):
    other = await make_app(database_url, beside=app)
    assert (await app.lanes.rules.of(PRINT)).concurrency == 2
    assert (await other.lanes.rules.of(PRINT)).concurrency == 2
    await change(app, PRINT, concurrency=1, per_minute=30)
    for process in (app, other):
        assert await process.lanes.rules.of(PRINT) == LaneRules(concurrency=1, per_minute=30)
    await change(app, PRINT)
    assert await other.lanes.rules.of(PRINT) == LaneRules()


async def test_a_rate_holds_over_all_workers_and_the_most_urgent_goes_first(app, make_app, database_url):
    other = await make_app(database_url, beside=app)
    await app.stop_lane(NOTICES)
    for _ in range(12):
        await app.accept()
        app.clock.move(seconds=1)
    await app.settle()
    await change(app, NOTICES, per_minute=60)  # five at once, then one a second
    await app.start_lane(NOTICES)
    sent = []
    for _ in range(4):
        sent.append(await app.lanes.work(NOTICES) + await other.lanes.work(NOTICES))
        app.clock.move(seconds=2)
    assert sent == [5, 2, 2, 2]
    left = [step.deadline_at for step in await app.steps(tables.step.c.lane == NOTICES, tables.step.c.state == "ready")]
    assert len(left) == 1
    assert left[0] >= max(notice.deadline for notice in app.notifier.notices.values())


@pytest.mark.law("L3")
async def test_a_notice_waits_for_the_end_of_quiet_hours_and_goes_then(make_app, sqlite_url):
    app = await make_app(sqlite_url, lane_rules={NOTICES: LaneRules(quiet_hours=NIGHT)})
    app.clock.move(hours=10)  # 20:00 in the Netherlands
    accepted = await app.accept()
    await app.settle()
    assert (await notice_of(app, accepted)).state is NoticeState.DUE
    assert not app.notifier.sent
    await app.pass_time(hours=11.5, every=4)
    assert not app.notifier.sent
    await app.pass_time(hours=0.75)
    assert sum(app.notifier.sent.values()) == 1
    assert (await notice_of(app, accepted)).state is NoticeState.SENT


@pytest.mark.law("L3", "L7")
async def test_the_deadline_goes_before_quiet_hours(make_app, sqlite_url):
    """A notice whose 48 hours end at night is tried at night; the alarms come and the letter goes as without them."""
    app = await make_app(sqlite_url, lane_rules={NOTICES: LaneRules(quiet_hours=NIGHT)})
    app.clock.move(hours=20)  # 06:00: the 48 hours end at 06:00 too, within the quiet hours of the second night
    tried = []
    app.notifier.script.rule = lambda _: tried.append(app.clock.now()) or FULL
    accepted = await app.accept()
    await app.settle()
    start = app.clock.now()
    await app.pass_time(hours=50, every=1)
    at_night = [round((at - start) / timedelta(hours=1)) for at in tried if NIGHT.until(at) is not None]
    assert min(tried) - start == timedelta(hours=2), "the first night holds it until 08:00"
    assert [hour for hour in at_night if hour < 36] == []
    assert 46 in at_night, "the reserved last attempt, at 04:00"
    assert len(await app.named(accepted.id, "deadline.missed")) == 1
    assert len((await app.delivery(accepted.id)).letters) == 1


async def test_the_breaker_of_a_lane_is_its_own(app):
    app.notifier.script.rule = lambda _: BLOCKED
    await change(app, NOTICES, breaker=2)
    for _ in range(3):
        await app.accept()
    await app.settle()
    assert await app.stopped() == {NOTICES: "many sender-side refusals"}


async def test_a_rule_that_this_version_does_not_know_leaves_the_lane_as_configured(app):
    await change(app, PRINT, colour="red")
    assert await app.lanes.rules.of(PRINT) == LaneRules()


async def test_the_reason_of_an_act_is_sealed_and_its_values_are_not(app):
    act = StaffAct(app.clock.now(), "Anna", "lane_set", PRINT, "Storing bij Jantje", '{"old":{},"new":{"breaker":2}}')
    async with app.database.write() as connection:
        await record_act(connection, app.vault, act)
    (row,) = await app.rows(tables.staff_act)
    assert row.reason is None
    assert b"Jantje" not in row.sealed
    async with app.database.read() as connection:
        (read,) = await read_acts(connection, app.vault, most=5)
    assert read == replace(act, id=read.id)
