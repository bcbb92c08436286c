"""Many rows in one statement, on both databases: the same rows and the same changes as one by one."""

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from bode.store import bulk, tables


def rows_of(app, number):
    """Give steps of which every column that can be empty is so in some."""
    return [
        {
            "message_id": UUID(int=at),
            "part": f"letter/{at} ' \\ {{}}, NULL \u20ac",
            "action": "print",
            "lane": "print",
            "state": "waiting",
            "due_at": app.clock.now() + timedelta(seconds=at) if at % 2 else None,
            "deadline_at": app.clock.now() + timedelta(microseconds=at),
            "call": UUID(int=at << 64) if at % 3 else None,
            "fence": at,
        }
        for at in range(number)
    ]


@pytest.mark.parametrize("number", [0, 1, bulk.FEW, bulk.FEW + 1, 300])
async def test_rows_are_inserted_as_they_were_given_and_in_that_order(app, number):
    rows = rows_of(app, number)
    async with app.database.write() as connection:
        await bulk.insert(connection, tables.step, rows)
        found = (await connection.execute(sa.select(tables.step).order_by(tables.step.c.id))).mappings().all()
    assert [{name: row[name] for name in rows[0]} for row in found] == rows if rows else found == []


@pytest.mark.parametrize("number", [0, 1, bulk.FEW, bulk.FEW + 1, 300])
async def test_only_the_rows_that_are_named_change_each_in_its_own_way(app, number):
    rows = rows_of(app, number + 2)
    changes = [
        {"message_id": UUID(int=at), "state": "ready", "due_at": None, "call": UUID(int=1 + at), "fence": at + 7}
        for at in range(number)
    ]
    async with app.database.write() as connection:
        await bulk.insert(connection, tables.step, rows)
        await bulk.update(connection, tables.step, "message_id", changes)
        found = (await connection.execute(sa.select(tables.step).order_by(tables.step.c.id))).mappings().all()
    wanted = [row | change for row, change in zip(rows, changes, strict=False)] + rows[number:]
    assert [{name: row[name] for name in rows[0]} for row in found] == wanted


async def test_rows_are_found_by_one_of_many_values_and_by_pairs_of_them(app):
    rows = rows_of(app, 40)
    step = tables.step.c
    async with app.database.write() as connection:
        await bulk.insert(connection, tables.step, rows)

        async def fences(condition):
            return {row.fence for row in await connection.execute(sa.select(step.fence).where(condition))}

        ids = {UUID(int=at) for at in range(30, 50)}
        assert await fences(bulk.among(connection, step.message_id, ids)) == set(range(30, 40))
        assert await fences(bulk.among(connection, step.message_id, set())) == set()
        # Both halves of a pair must be of the same row.
        pairs = [(UUID(int=at), rows[at]["part"]) for at in range(10)] + [(UUID(int=20), rows[21]["part"])]
        assert await fences(bulk.pairs_among(connection, (step.message_id, step.part), pairs)) == set(range(10))
