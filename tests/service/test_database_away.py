"""The database goes away and comes back: nothing unstored is acknowledged, and workers go on by themselves."""

import asyncio
import gc
import sqlite3
import sys

import msgspec
import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError

from bode.domain.parts import Outcome
from bode.engine.sequencer import Sequencer
from bode.intake.queue import QueueIntake, connect
from bode.intake.sealed import private_key, public_key, seal
from bode.store import tables
from bode.store.database import Database


@pytest.fixture
async def own(own_postgres, make_app):
    """Give a process on a PostgreSQL that the test may stop."""
    url = own_postgres.fresh()
    database = Database(url)
    await asyncio.to_thread(_upgrade, url)
    await database.close()
    yield await make_app(url)
    gc.collect()


# The pool lets go of connections to a server that is gone without a last word to it.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*was deleted while still open:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def _upgrade(url):
    asyncio.run(Database(url).upgrade())


async def test_what_was_called_while_the_database_went_away_is_recorded_when_it_is_back(own, own_postgres):
    """The answer of a call is known to this worker alone: it keeps it until the database is back, within its lease."""
    ids = [(await own.accept()).id for _ in range(3)]
    place = own.box.place

    async def placing(*, messages):
        answers = await place(messages=messages)
        await asyncio.to_thread(own_postgres.stop)
        coming = asyncio.create_task(asyncio.to_thread(own_postgres.start))
        back.append(coming)
        return answers

    back = []
    own.box.place = placing
    assert await own.lanes.work("mijnoverheid") == 3
    await back[0]
    own.box.place = place
    for message in ids:
        names = [event.name for event in await own.events(message)]
        assert names.count("ContentConsignment") == 1
        assert "outcome.unknown" not in names
    await own.settle()
    assert [own.box.placements[message] for message in ids] == [1, 1, 1]


async def test_a_database_that_is_gone_acknowledges_nothing_and_everybody_recovers(own, own_postgres, body):
    first = await own.accept()
    await asyncio.to_thread(own_postgres.stop)
    request = body()
    with pytest.raises(SQLAlchemyError):
        await own.accept(request)
    assert await own.lanes.drain("mijnoverheid") == 0, "logged, and no more"
    assert not await own.sweeper.sweep()
    with pytest.raises(SQLAlchemyError):
        await own.inbound.work()
    await asyncio.to_thread(own_postgres.start)
    again = await own.accept(request)
    assert not again.known
    assert await own.sweeper.sweep()
    await own.settle()
    for message in (first.id, again.id):
        assert (await own.delivery(message)).outcome is Outcome.NOTICED
        assert own.box.placements[message] == 1


@pytest.mark.slow
async def test_a_message_from_the_queue_waits_for_the_database(own, own_postgres, body, redis, until):
    key, broker = private_key(own.vault.intake_seed), connect(redis.url)
    oins = frozenset(own.parts.organisations)
    queue = QueueIntake(own.intake, lambda: key, broker, namespace="bode", senders={"zaak": oins}, most_bytes=100_000)
    redis.client.xadd("bode:intake:zaak", {"bericht": seal(msgspec.json.encode(body()), public_key(key))})
    await asyncio.to_thread(own_postgres.stop)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(queue.run())
        await until(lambda: any(line["event"] == "queue.waits" for line in logs))
    queue.left_ms = 0
    await asyncio.to_thread(own_postgres.start)

    async def stored():
        return len(await own.rows(tables.message)) == 1

    await until(stored, seconds=40)
    await until(lambda: redis.client.xlen("bode:intake:zaak") == 0)
    assert redis.client.xlen("bode:intake:zaak:apart") == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await queue.close()


@pytest.mark.slow
async def test_the_sequencer_goes_on_when_the_database_is_back(own, own_postgres, many_events, until):
    async def sequenced(number):
        return len(await own.rows(tables.evidence_leaf)) == number

    await many_events(own, 1)
    sequencing = asyncio.create_task(Sequencer(own.database, every_seconds=0.01).run())
    await until(lambda: sequenced(2))
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.sleep(0.05)
    await asyncio.to_thread(own_postgres.start)
    assert not sequencing.done()
    await many_events(own, 1)
    await until(lambda: sequenced(4))
    sequencing.cancel()
    await asyncio.gather(sequencing, return_exceptions=True)


async def test_connections_that_were_cut_are_replaced(pg_app):
    await pg_app.accept()
    async with pg_app.database.read() as connection:
        cut = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await connection.execute(cut)
    await pg_app.settle()
    assert max(pg_app.box.placements.values()) == 1


_WRITER = """
import asyncio, sys
from bode.store.database import Database
import sqlalchemy as sa

async def write(url, number):
    database = Database(url)
    for _ in range(number):
        async with database.write() as connection:
            await connection.execute(sa.text("UPDATE lane SET changed_by = coalesce(changed_by, '') || 'x'"))
    await database.close()

asyncio.run(write(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
async def test_two_processes_write_one_sqlite_file_without_an_error(make_app, sqlite_url):
    app = await make_app(sqlite_url)
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, sqlite_url, "30")
    accepted = []
    while writer.returncode is None and len(accepted) < 60:
        accepted.append((await app.accept()).id)
        await app.lanes.drain("mijnoverheid")
    assert await writer.wait() == 0
    await app.settle()
    assert [app.box.placements[message] for message in accepted] == [1] * len(accepted)
    assert {row.changed_by for row in await app.rows(tables.lane)} == {"x" * 30}


async def test_readers_on_sqlite_do_not_wait_for_a_writer(make_app, sqlite_url):
    app = await make_app(sqlite_url)
    accepted = await app.accept()
    async with app.database.write() as connection:
        await connection.execute(sa.update(tables.lane).values(changed_by="test"))
        assert len(await app.events(accepted.id)) == 3


async def test_a_writer_that_is_cancelled_leaves_the_database_free(app):
    for turns in range(12):
        writing = asyncio.create_task(app.accept())
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert not (await app.accept()).known
    await app.settle()
    assert max(app.box.placements.values()) == 1


def test_the_sqlite_file_is_in_wal_mode_and_flushed(sqlite_url):
    async def look():
        database = Database(sqlite_url)
        async with database.read() as connection:
            found = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "busy_timeout")
            ]
        await database.close()
        return found

    assert asyncio.run(look()) == ["wal", 2, 30000]
    assert sqlite3.threadsafety >= 1
