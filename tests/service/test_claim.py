"""Claiming: most urgent first, to one worker only, in the calls that the adapter can take."""

import asyncio
import re
from collections import Counter
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest
import sqlalchemy as sa

from bode.store import steps, tables
from bode_adapters.contract import Capabilities
from bode_adapters.memory import MemoryBox, MemoryNotifier, MemoryPrintService


async def add_steps(app, number, *, lane="mijnoverheid", action="place", state="ready", **columns):
    """Add bare steps, for what needs no messages."""
    rows = [
        {
            "message_id": uuid4(),
            "part": f"placement/{lane}",
            "action": action,
            "lane": lane,
            "state": state,
            "due_at": app.clock.now(),
            "deadline_at": app.clock.now() + timedelta(hours=48),
            "fence": 0,
            **columns,
        }
        for _ in range(number)
    ]
    async with app.database.write() as connection:
        await connection.execute(sa.insert(tables.step), rows)


async def test_the_most_urgent_steps_are_claimed_first(app):
    for hours in (5, 1, 3, 2, 4):
        await add_steps(app, 1, deadline_at=app.clock.now() + timedelta(hours=hours))
    first = await app.claim("mijnoverheid", limit=2)
    rest = await app.claim("mijnoverheid")
    hours = [(item.deadline_at - app.clock.now()) / timedelta(hours=1) for item in [*first, *rest]]
    assert hours == [1, 2, 3, 4, 5]


async def test_a_claimed_step_is_not_claimed_again(app):
    await add_steps(app, 3)
    assert len(await app.claim("mijnoverheid")) == 3
    assert await app.claim("mijnoverheid") == []


async def test_a_claim_takes_its_own_lane_and_only_what_is_ready(app):
    await add_steps(app, 2)
    await add_steps(app, 2, lane="mijndomein")
    await add_steps(app, 2, state="waiting")
    assert len(await app.claim("mijnoverheid")) == 2


async def test_a_claim_never_takes_more_than_its_limit(pg_app):
    """Also where the planner thinks that the table is nearly empty, and plans accordingly."""
    await add_steps(pg_app, 1)
    async with pg_app.database.write() as connection:
        await connection.execute(sa.text("ANALYZE step"))
    await add_steps(pg_app, 3000)
    async with pg_app.database.write() as connection:
        for way in ("hashagg", "hashjoin", "mergejoin", "material", "sort"):
            await connection.execute(sa.text(f"SET LOCAL enable_{way} = off"))
        leased = await steps.claim(
            connection,
            lane="mijnoverheid",
            limit=7,
            owner="test",
            lease_until=pg_app.clock.now() + timedelta(seconds=60),
            now=pg_app.clock.now(),
        )
        assert len(leased) == 7
        await connection.execute(sa.update(tables.step).values(state="waiting"))
        await steps.promote(connection, pg_app.clock.now(), limit=5)
        ready = sa.select(sa.func.count()).where(tables.step.c.state == "ready")
        assert (await connection.execute(ready)).scalar_one() == 5


async def test_two_connections_take_different_steps_at_the_same_time(pg_app):
    await add_steps(pg_app, 20)
    until, now = pg_app.clock.now() + timedelta(seconds=60), pg_app.clock.now()
    async with pg_app.database.write() as one, pg_app.database.write() as two:
        first = await steps.claim(one, lane="mijnoverheid", limit=12, owner="a", lease_until=until, now=now)
        second = await steps.claim(two, lane="mijnoverheid", limit=12, owner="b", lease_until=until, now=now)
    assert len(first) == 12
    assert len(second) == 8
    assert not {item.id for item in first} & {item.id for item in second}


async def test_many_workers_share_the_work_without_overlap(app, make_app, database_url):
    await add_steps(app, 200)
    workers = [app, *[await make_app(database_url, beside=app) for _ in range(3)]]

    async def claim_all(worker):
        taken = []
        while leased := await worker.claim("mijnoverheid", limit=7):
            taken += [item.id for item in leased]
        return taken

    taken = await asyncio.gather(*(claim_all(worker) for worker in workers))
    assert len([item for part in taken for item in part]) == 200
    assert len({item for part in taken for item in part}) == 200


async def test_a_stopped_lane_gives_nothing_until_it_is_started(app):
    await add_steps(app, 2)
    assert await app.stop_lane("mijnoverheid")
    assert not await app.stop_lane("mijnoverheid"), "it was stopped already"
    assert await app.claim("mijnoverheid") == []
    async with app.database.read() as connection:
        assert await steps.ready_lanes(connection, cap=100) == {}
    assert await app.start_lane("mijnoverheid")
    assert len(await app.claim("mijnoverheid")) == 2


async def test_the_steps_of_one_earlier_call_come_together_whatever_the_limit(app):
    call, other = uuid4(), uuid4()
    await add_steps(app, 5, call=call)
    await add_steps(app, 5, call=other, deadline_at=app.clock.now() + timedelta(hours=49))
    leased = await app.claim("mijnoverheid", limit=2)
    assert [item.call for item in leased] == [call] * 5


async def test_the_calls_are_chosen_for_the_adapters_bulk_and_stored_before_they_are_made(make_app, database_url):
    seen = []

    class Watching(MemoryBox):
        async def place(self, *, messages):
            stored = {step.message_id: step.call for step in await app.steps(tables.step.c.state == "leased")}
            assert all(stored[message.id] == message.batch for message in messages)
            seen.append(Counter(message.batch for message in messages))
            return await super().place(messages=messages)

    app = await make_app(database_url)
    box = Watching(clock=app.clock.now, capabilities=Capabilities(bulk=4, repeat_is_recognised=True))
    app = await make_app(database_url, beside=app, boxes={**app.parts.boxes, "mijnoverheid": box})
    for _ in range(10):
        await app.accept()
    await app.lanes.drain("mijnoverheid")
    sizes = Counter()
    for call in seen:
        sizes.update(call)
    assert sorted(sizes.values()) == [2, 4, 4]


@pytest.mark.parametrize("lane", ["mijnoverheid", "mijndomein", "kennisgeving", "print"])
async def test_no_call_holds_more_than_the_adapter_can_take(make_app, sqlite_url, body, lane):
    """The contract: an adapter declares the most items one call may hold, and Bode splits above it."""
    sizes = []

    def watched(made, name):
        call = getattr(made, name)

        async def counted(**items):
            sizes.append(len(next(iter(items.values()))))
            return await call(**items)

        setattr(made, name, counted)
        return made

    first = await make_app(sqlite_url)
    clock = first.clock.now
    few = Capabilities(bulk=3, repeat_is_recognised=True, can_lookup=True)
    parts = {
        "boxes": {
            **first.parts.boxes,
            "mijnoverheid": watched(MemoryBox(clock=clock, capabilities=few), "place"),
            "mijndomein": watched(MemoryBox(clock=clock, capabilities=few), "place"),
        },
        "notifier": watched(MemoryNotifier(clock=clock, bulk=3), "notify"),
        "printer": watched(MemoryPrintService(clock=clock, bulk=3), "submit"),
    }
    app = await make_app(sqlite_url, beside=first, **parts)
    channel = lane if lane.startswith("mijn") else "mijnoverheid"
    for _ in range(8):
        await app.accept(body(channels=() if lane == "print" else (channel,)))
    await app.settle()
    assert sizes
    assert max(sizes) <= 3
    assert [row for row in await app.steps() if row.action != "watch"] == [], "and all of it was done"


async def test_given_back_steps_are_ready_for_anybody(app):
    await add_steps(app, 2)
    leased = await app.claim("mijnoverheid")
    async with app.database.write() as connection:
        await steps.give_back(connection, leased[:1])
    again = await app.claim("mijnoverheid")
    assert [item.id for item in again] == [leased[0].id]
    assert again[0].fence == leased[0].fence + 1


async def test_counting_what_is_ready_stops_at_the_cap(app):
    await add_steps(app, 30)
    await add_steps(app, 2, lane="print")
    async with app.database.read() as connection:
        assert await steps.ready_lanes(connection, cap=10) == {"mijnoverheid": 10, "print": 2}


async def test_the_statements_of_every_second_use_their_indexes_whatever_they_are_given(pg_app):
    """A prepared statement's plan knows no parameters: a partial index must follow from the statement's own text."""
    for _ in range(100):
        await add_steps(pg_app, 5, call=uuid4())
    async with pg_app.database.write() as connection:
        await connection.exec_driver_sql("ANALYZE step")
    seen = []

    def remember(_connection, _cursor, statement, *_):
        seen.append(statement)

    sa.event.listen(pg_app.database.engine.sync_engine, "before_cursor_execute", remember)
    now = pg_app.clock.now()
    async with pg_app.database.write() as connection:
        await steps.promote(connection, now)
        await steps.expired(connection, now)
        await steps.to_wake(connection, now)
        await steps.ready_lanes(connection, cap=10)
        await steps.claim(connection, lane="mijnoverheid", limit=1, owner="test", lease_until=now, now=now)
    sa.event.remove(pg_app.database.engine.sync_engine, "before_cursor_execute", remember)
    wanted = ["ix_step_waiting", "ix_step_leased", "ix_step_wake", "ix_step_ready", "ix_step_ready", "ix_step_call"]
    async with pg_app.database.read() as connection:
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, index in zip(seen, wanted, strict=True):
            numbers = count(1)
            general = re.sub(r"%\(\w+\)s", lambda _: f"${next(numbers)}", statement)  # noqa: B023 - used at once
            plan = await connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {general}")
            assert index in "\n".join(row[0] for row in plan), statement
