"""The list of steps against a model in plain Python: whatever workers, sweepers and people do, in whatever order."""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from bode.domain.decision import Action, Step
from bode.store import steps, tables
from bode.store.database import Database

LANES = ("mijnoverheid", "kennisgeving")
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LEASE = timedelta(minutes=2)
minutes = st.integers(0, 8).map(lambda count: timedelta(minutes=count))


@dataclass
class Known:
    """What the model knows of one step."""

    lane: str
    action: Action
    state: str
    due: object
    deadline: object
    wake: object
    fence: int = 0
    until: object = None


class StepsMachine(RuleBasedStateMachine):
    """Several workers and sweepers on one list. Time only goes on."""

    url = ""
    """The database; set by the test."""
    leases = Bundle("leases")

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.database = Database(self.url)
        self.now = START
        self.model = {}
        self.stopped = set()
        self.messages = 0
        self.do(self._empty)

    def do(self, work, *args):
        async def in_transaction():
            async with self.database.write() as connection:
                return await work(connection, *args)

        return self.loop.run_until_complete(in_transaction())

    async def _empty(self, connection):
        await connection.execute(sa.delete(tables.step))
        await connection.execute(sa.delete(tables.lane))
        await steps.ensure_lanes(connection, LANES)

    @rule(
        lane=st.sampled_from(LANES),
        action=st.sampled_from((Action.NOTIFY, Action.WATCH)),
        due=minutes,
        deadline=minutes,
        wake=st.none() | minutes,
    )
    def plan(self, lane, action, due, deadline, wake):
        self.messages += 1
        due_at = None if action is Action.WATCH else self.now + due
        wait = due if wake is None and action is Action.WATCH else wake
        wake_at = None if wait is None else self.now + wait
        step = Step("notice/x", action, lane, due_at, self.now + deadline, wake_at)

        async def insert(connection):
            row = steps.row_of(step, UUID(int=self.messages), self.now)
            made = await connection.execute(sa.insert(tables.step).values(row).returning(tables.step.c.id))
            return made.scalar_one()

        ready = due_at is not None and due_at <= self.now
        known = Known(lane, action, "ready" if ready else "waiting", due_at, step.deadline_at, wake_at)
        step_id = self.do(insert)
        assert step_id not in self.model
        self.model[step_id] = known

    @rule(wait=st.sampled_from([timedelta(seconds=1), timedelta(minutes=1), LEASE, timedelta(minutes=5)]))
    def pass_time(self, wait):
        self.now += wait

    @rule()
    def promote(self):
        lanes = self.do(steps.promote, self.now)
        due = [one for one in self.model.values() if one.state == "waiting" and one.due and one.due <= self.now]
        assert lanes == {one.lane for one in due}
        for one in due:
            one.state = "ready"

    @rule(target=leases, lane=st.sampled_from(LANES), limit=st.integers(1, 3))
    def claim(self, lane, limit):
        async def claim(connection):
            return await steps.claim(
                connection, lane=lane, limit=limit, owner="w", lease_until=self.now + LEASE, now=self.now
            )

        leased = self.do(claim)
        ready = [(one.deadline, key) for key, one in self.model.items() if (one.lane, one.state) == (lane, "ready")]
        wanted = [] if lane in self.stopped else [key for _, key in sorted(ready)[:limit]]
        assert [item.id for item in leased] == wanted
        for item in leased:
            one = self.model[item.id]
            assert item.fence == one.fence + 1
            one.state, one.fence, one.until = "leased", item.fence, self.now + LEASE
        return multiple(*leased)

    def _held(self, item):
        one = self.model.get(item.id)
        return one is not None and (one.state, one.fence) == ("leased", item.fence)

    @rule(item=consumes(leases))
    def finish(self, item):
        held = self._held(item)
        assert self.do(steps.finish, [item]) == ({item.id} if held else set())
        if held:
            del self.model[item.id]

    @rule(item=leases)
    def finish_and_hear_nothing_of_it(self, item):
        """A lease can be finished twice: a worker whose connection was lost tries again."""
        held = self._held(item)
        assert self.do(steps.finish, [item]) == ({item.id} if held else set())
        if held:
            del self.model[item.id]

    @rule(item=leases, longer=minutes)
    def renew(self, item, longer):
        held, until = self._held(item), self.now + longer
        assert self.do(steps.renew, [item], until) == int(held)
        if held:
            self.model[item.id].until = until

    @rule(item=leases)
    def give_back(self, item):
        if self._held(item):
            self.model[item.id].state = "ready"
        self.do(steps.give_back, [item])

    @rule(late=st.sampled_from([timedelta(0), timedelta(minutes=1)]))
    def take_over(self, late):
        """A sweeper looks, and takes later what is then still lost."""
        found = self.do(steps.expired, self.now)
        lost = {key for key, one in self.model.items() if one.state == "leased" and one.until < self.now}
        assert {item.id for item in found} == lost
        self.now += late
        assert self.do(steps.take_expired, found, self.now) == lost
        for key in lost:
            del self.model[key]
        assert self.do(steps.take_expired, found, self.now) == set(), "once"

    @rule()
    def wake(self):
        found = self.do(steps.to_wake, self.now)
        due = {key for key, one in self.model.items() if one.wake is not None and one.wake <= self.now}
        assert {item.id for item in found} == due
        assert self.do(steps.take_wakes, found, self.now) == due
        for key in due:
            if self.model[key].action is Action.WATCH and self.model[key].state != "leased":
                del self.model[key]
            else:
                self.model[key].wake = None
        assert self.do(steps.take_wakes, found, self.now) == set(), "once"

    @rule(lane=st.sampled_from(LANES))
    def stop_lane(self, lane):
        async def stop(connection):
            return await steps.stop_lane(connection, lane, reason="test", by="test", now=self.now)

        assert self.do(stop) == (lane not in self.stopped)
        self.stopped.add(lane)

    @rule(lane=st.sampled_from(LANES))
    def start_lane(self, lane):
        async def start(connection):
            return await steps.start_lane(connection, lane, by="test")

        assert self.do(start) == (lane in self.stopped)
        self.stopped.discard(lane)

    @rule()
    def ring(self):
        rung = self.do(steps.ready_lanes, 100)
        ready = [one.lane for one in self.model.values() if one.state == "ready" and one.lane not in self.stopped]
        assert rung == {lane: ready.count(lane) for lane in ready}

    @invariant()
    def the_list_is_what_the_model_says(self):
        async def read(connection):
            return list(await connection.execute(sa.select(tables.step)))

        rows = self.do(read)
        assert {row.id: (row.lane, row.state, row.wake_at, row.fence) for row in rows} == {
            key: (one.lane, one.state, one.wake, one.fence) for key, one in self.model.items()
        }

    def teardown(self):
        self.loop.run_until_complete(self.database.close())
        self.loop.close()


def hold(url, examples):
    machine = type("Machine", (StepsMachine,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def sqlite_in_memory(sqlite_template, tmp_path):
    """Give SQLite that does not wait for the disk: thousands of transactions, and no power cut."""
    path = tmp_path / "bode.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


def test_the_list_of_steps_does_what_the_model_does_on_sqlite(sqlite_in_memory):
    hold(sqlite_in_memory, 6)


def test_the_list_of_steps_does_what_the_model_does_on_postgresql(postgres_url):
    hold(postgres_url, 3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_list_of_steps_does_what_the_model_does_for_long(kind, request):
    hold(request.getfixturevalue("sqlite_in_memory" if kind == "sqlite" else "postgres_url"), 300)
