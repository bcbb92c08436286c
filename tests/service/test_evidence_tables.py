"""Evidence in the database is only ever added to; whoever tries otherwise is refused, on both databases."""

from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import IntegrityError

from bode.store import tables
from bode.store.database import Database
from bode.store.evidence_log import sequence
from bode.store.staff import StaffAct, record_act

ADDED_TO_ONLY = (
    *("event", "evidence_leaf", "evidence_tile", "evidence_checkpoint", "evidence_attestation"),
    "staff_act",
)


@asynccontextmanager
async def refused(app, text):
    with pytest.raises(IntegrityError, match=text):
        async with app.database.write() as connection:
            yield connection


@pytest.fixture
async def full(app, many_events):
    """Give a process whose evidence tables all have a row."""
    await many_events(app, 150)
    async with app.database.write() as connection:
        assert await sequence(connection) == 300
        row = {"origin": "test/log", "size": 300, "root": bytes(32), "note": "", "published_at": app.clock.now()}
        await connection.execute(sa.insert(tables.evidence_checkpoint), row)
        said = {"origin": "test/log", "size": 300, "kind": "witness", "content": b"", "received_at": app.clock.now()}
        await connection.execute(sa.insert(tables.evidence_attestation), said)
        await record_act(connection, app.vault, StaffAct(app.clock.now(), "Anna", "lane_stopped", "print", "storing"))
    for table in ADDED_TO_ONLY:
        assert await app.rows(tables.metadata.tables[table]), table
    return app


@pytest.mark.parametrize("table", ADDED_TO_ONLY)
async def test_evidence_cannot_be_changed_nor_deleted(full, table):
    before = await full.rows(tables.metadata.tables[table])
    column = next(iter(tables.metadata.tables[table].columns)).name
    async with refused(full, "only ever added to") as connection:
        await connection.execute(sa.text(f"UPDATE {table} SET {column} = {column}"))
    async with refused(full, "only ever added to") as connection:
        await connection.execute(sa.text(f"DELETE FROM {table}"))
    if not full.database.is_sqlite:
        async with refused(full, "only ever added to") as connection:
            await connection.execute(sa.text(f"TRUNCATE {table}"))
    assert await full.rows(tables.metadata.tables[table]) == before


async def test_a_row_cannot_be_replaced_on_sqlite(make_app, sqlite_url):
    app = await make_app(sqlite_url)
    await app.accept()
    async with refused(app, "only ever added to") as connection:
        await connection.execute(sa.text("INSERT OR REPLACE INTO event SELECT * FROM event WHERE id = 1"))


async def test_details_go_only_where_a_later_event_says_so(app, evidence_event):
    accepted = await app.accept()
    other = await app.accept()
    async with app.database.write() as connection:
        rows = [{"message_id": item.id, "seq": 1, "salt": bytes(32), "sealed": b"sealed"} for item in (accepted, other)]
        await connection.execute(sa.insert(tables.event_detail), rows)
    detail = tables.event_detail.c
    mine = sa.delete(tables.event_detail).where(detail.message_id == accepted.id)
    async with refused(app, "detail.shredded") as connection:
        await connection.execute(mine)
    async with refused(app, "only ever added to") as connection:
        await connection.execute(sa.update(tables.event_detail).values(sealed=b""))
    await evidence_event(app, accepted.id, "detail.shredded")
    async with app.database.write() as connection:
        await connection.execute(mine)
    async with refused(app, "detail.shredded") as connection:
        await connection.execute(sa.delete(tables.event_detail))
    assert [row.message_id for row in await app.rows(tables.event_detail)] == [other.id]


async def test_an_event_waits_for_the_log_in_the_transaction_that_writes_it(app):
    accepted = await app.accept()
    events = await app.rows(tables.event, tables.event.c.message_id == accepted.id)
    assert {row.id for row in events} == {row.event_id for row in await app.rows(tables.event_pending)}


async def test_an_event_stops_waiting_only_in_the_log(app):
    await app.accept()
    async with refused(app, "only when it is in the log") as connection:
        await connection.execute(sa.delete(tables.event_pending))
    async with refused(app, "only ever added to") as connection:
        await connection.execute(sa.update(tables.event_pending).values(event_id=7))
    assert len(await app.rows(tables.event_pending)) == 3


async def test_events_of_before_the_log_are_taken_in_by_the_upgrade(postgres, tmp_path, many_events, monkeypatch):
    """As a database of the version before it would have them."""
    upgrade = command.upgrade
    for url in (f"sqlite:///{tmp_path / 'old.db'}", postgres.fresh()):
        database = Database(url)
        monkeypatch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0002"))
        await database.upgrade()
        monkeypatch.setattr(command, "upgrade", upgrade)
        async with database.write() as connection:
            await many_events(None, 3, connection=connection)
        await database.upgrade()
        async with database.write() as connection:
            assert await sequence(connection) == 6
        await database.close()
