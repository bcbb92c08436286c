"""A database that only reads, is full or hangs: nothing is acknowledged or sent that cannot be stored."""

import asyncio
import time

import msgspec
import psycopg
import pytest
import sqlalchemy as sa
from litestar import Litestar, get
from litestar.testing import AsyncTestClient
from sqlalchemy.exc import InternalError, OperationalError

from bode.domain.parts import Outcome
from bode.intake.problems import on_defect
from bode.store import steps, tables
from bode.store.database import DATABASE_AWAY, Database
from bode_adapters.contract import Capabilities
from bode_adapters.memory import MemoryBox


async def only_read(database, on):
    """Have a database refuse every change, as a standby does, or take them again."""
    url = sa.make_url(database)
    async with await psycopg.AsyncConnection.connect(
        url.set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        await connection.execute(b"SET default_transaction_read_only = off")
        await connection.execute(
            f"ALTER DATABASE {url.database} SET default_transaction_read_only = {'on' if on else 'off'}".encode()
        )
        await connection.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            b"WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
async def standby(make_app, postgres_url):
    """Give a process, and a switch that makes its database one that only reads."""
    app = await make_app(postgres_url)
    yield app, lambda on: only_read(postgres_url, on)
    await only_read(postgres_url, on=False)


async def test_a_database_that_only_reads_acknowledges_nothing_and_nothing_is_sent(standby, body):
    app, switch = standby
    first = await app.accept()
    await switch(True)
    request = body()
    with pytest.raises(DATABASE_AWAY):
        await app.accept(request)
    with pytest.raises(InternalError):
        await app.accept(request)
    assert await app.lanes.drain("mijnoverheid") == 0
    assert not app.box.placements, "what cannot be claimed cannot be sent"
    assert not await app.sweeper.sweep()
    await switch(False)
    again = await app.accept(request)
    app.clock.move(minutes=1)  # the sweeper gives workers a lease's time after the database was away
    await app.settle()
    for message in (first.id, again.id):
        assert (await app.delivery(message)).outcome is Outcome.NOTICED
        assert app.box.placements[message] == 1


async def test_what_was_sent_when_the_database_failed_over_is_recorded_when_it_writes_again(standby):
    app, switch = standby
    accepted = await app.accept()
    place, switched = app.box.place, []

    async def placing(*, messages):
        answers = await place(messages=messages)
        await switch(True)
        switched.append(asyncio.create_task(back()))
        return answers

    async def back():
        await asyncio.sleep(0.2)
        await switch(False)

    app.box.place = placing
    assert await app.lanes.work("mijnoverheid") == 1
    await asyncio.gather(*switched)
    assert len(await app.named(accepted.id, "ContentConsignment")) == 1
    assert await app.named(accepted.id, "outcome.unknown") == []


@pytest.mark.parametrize("state", ["53100 disk_full", "40001 serialization_failure", "40P01 deadlock_detected"])
async def test_a_record_that_fails_once_is_made_again_and_nothing_is_called_twice(app, state, monkeypatch):
    accepted = await app.accept()
    finish, failed = steps.finish, []

    async def full(connection, leased):
        if not failed:
            failed.append(1)
            raise OperationalError("INSERT", {}, Exception(state))
        return await finish(connection, leased)

    monkeypatch.setattr("bode.store.steps.finish", full)
    assert await app.lanes.work("mijnoverheid") == 1
    assert failed
    assert app.box.placements[accepted.id] == 1
    assert await app.named(accepted.id, "outcome.unknown") == []


@pytest.mark.slow
async def test_while_answers_cannot_be_recorded_one_step_at_a_time_is_sent(make_app, database_url, monkeypatch):
    app = await make_app(database_url, hold_seconds=0.5)
    for _ in range(5):
        await app.accept()
    finish = steps.finish

    async def full(_connection, _leased):
        app.clock.move(seconds=1)
        raise OperationalError("INSERT", {}, Exception("disk full"))

    app = await make_app(database_url, beside=app, chunk=2)
    monkeypatch.setattr("bode.store.steps.finish", full)
    assert await app.lanes.drain("mijnoverheid") == 0
    assert len(app.box.placements) == 2
    app.clock.move(minutes=3)
    assert await app.lanes.drain("mijnoverheid") == 0
    assert len(app.box.placements) == 3
    monkeypatch.setattr("bode.store.steps.finish", finish)
    assert await app.lanes.work("mijnoverheid") == 1
    assert await app.lanes.work("mijnoverheid") == 1, "the last: recording works, and chunks are whole again"
    await app.pass_time(hours=2)
    assert sorted(app.box.placements.values()) == [1] * 5


async def test_a_change_that_hangs_is_rolled_back_and_lets_others_go_on(make_app, database_url):
    app = await make_app(database_url)
    hasty = Database(database_url, transaction_seconds=0.2)

    async def hangs():
        async with hasty.write() as connection:
            await connection.execute(sa.update(tables.lane).values(changed_by="hangs"))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await hangs()
    await app.stop_lane("print")
    assert {row.changed_by for row in await app.rows(tables.lane)} == {None, "test"}
    await hasty.close()


async def test_postgresql_ends_the_change_of_a_process_that_is_stopped(make_app, postgres_url):
    """Its own time limit does not run then: the server's does, and its locks are let go of."""
    app = await make_app(postgres_url)
    stopped = Database(postgres_url, transaction_seconds=0.2)
    async with stopped.engine.connect() as connection:
        await connection.execute(sa.update(tables.lane).values(changed_by="stopped"))
        await app.stop_lane("print")
        with pytest.raises(DATABASE_AWAY):
            await connection.commit()
        await connection.invalidate()
    await stopped.close()


async def test_postgresql_ends_it_after_a_list_of_rows_too(postgres_url):
    """The driver's own way to send a list leaves the server waiting without a limit."""
    stopped, others = Database(postgres_url, transaction_seconds=0.2), Database(postgres_url)
    async with stopped.engine.connect() as connection:
        pid = (await connection.execute(sa.select(sa.func.pg_backend_pid()))).scalar_one()
        await connection.execute(sa.insert(tables.lane), [{"name": name} for name in ("one", "two", "three")])
        time.sleep(1)  # noqa: ASYNC251 - as a process that is stopped
        async with others.read() as looking:
            still = await looking.execute(sa.text("SELECT state FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid})
            assert still.all() == []
        await connection.invalidate()
    await stopped.close()
    await others.close()


async def test_intake_answers_503_whatever_way_the_database_is_away():
    raised = []

    @get("/")
    async def fails() -> None:
        raise raised[-1]

    async with AsyncTestClient(Litestar([fails], exception_handlers={Exception: on_defect})) as client:
        for error in (
            OperationalError("INSERT", {}, Exception("disk full")),
            InternalError("INSERT", {}, Exception("cannot execute INSERT in a read-only transaction")),
            TimeoutError(),
        ):
            raised.append(error)
            answer = await client.get("/")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
            assert msgspec.json.decode(answer.content)["title"] == "Even niet beschikbaar"


async def test_of_what_could_not_be_asked_after_no_more_is_in_hand_than_is_sent_at_once(make_app, database_url, body):
    app = await make_app(database_url)
    mail = MemoryBox(clock=app.clock.now, capabilities=Capabilities(bulk=1000, repeat_is_recognised=False, at_once=6))
    app = await make_app(database_url, beside=app, boxes={**app.parts.boxes, "email": mail})
    assert app.parts.in_hand("email") == 3, "two chunks at a time"
    assert app.parts.in_hand("mijnoverheid") == app.parts.chunk
    for _ in range(8):
        await app.accept(body(channels=("email",), vertrouwelijkheid="laag", aard="overig", termijn=None))
    assert await app.lanes.work("email") == 3
