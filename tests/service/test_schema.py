"""The schema: one definition for both databases, brought there by the migrations, and checked at start."""

import asyncio
import sys

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from bode.store import steps, tables
from bode.store.database import Database, SchemaError


@pytest.fixture(params=["sqlite", "postgresql"])
async def empty(request, tmp_path):
    """Give a database without a schema."""
    url = (
        f"sqlite:///{tmp_path / 'empty.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").fresh()
    )
    database = Database(url)
    yield database
    await database.close()
    if request.param == "postgresql":
        request.getfixturevalue("postgres").drop(url)


async def test_the_migrations_make_exactly_the_tables_of_the_code(empty):
    await empty.upgrade()

    def differences(connection):
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "render_as_batch": True}
        )
        return compare_metadata(context, tables.metadata)

    async with empty.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_the_partial_indexes_are_those_of_the_code(empty):
    await empty.upgrade()

    def found(connection):
        seen = sa.inspect(connection)
        key = f"{connection.dialect.name}_where"
        return {
            index["name"]: index.get("dialect_options", {}).get(key) is not None
            for table in tables.metadata.tables
            for index in seen.get_indexes(table)
        }

    async with empty.engine.connect() as connection:
        partial = await connection.run_sync(found)
        dialect = connection.dialect.name
    wanted = {
        index.name: index.dialect_options[dialect]["where"] is not None
        for table in tables.metadata.tables.values()
        for index in table.indexes
    }
    assert {name: partial[name] for name in wanted} == wanted


async def test_upgrading_again_changes_nothing(empty):
    await empty.upgrade()
    async with empty.write() as connection:
        await steps.ensure_lanes(connection, ["print"])
    await empty.upgrade()
    await empty.check_schema()
    async with empty.read() as connection:
        assert (await connection.execute(sa.select(tables.lane.c.name))).scalars().all() == ["print"]


async def test_a_database_without_a_schema_is_refused_with_what_to_do(empty):
    with pytest.raises(SchemaError, match="bode db upgrade") as refused:
        await empty.check_schema()
    assert refused.value.found is None


@pytest.mark.parametrize("revision", ["0000", "9999"])
async def test_an_older_or_newer_schema_is_refused(empty, revision):
    await empty.upgrade()
    async with empty.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    with pytest.raises(SchemaError) as refused:
        await empty.check_schema()
    assert refused.value.found == revision


async def test_an_upgrade_that_fails_half_way_leaves_nothing_and_can_be_made_again(empty):
    async with empty.write() as connection:
        await connection.execute(sa.text("CREATE TABLE step (id INTEGER)"))
    with pytest.raises(sa.exc.SQLAlchemyError):
        await empty.upgrade()
    async with empty.write() as connection:
        await connection.execute(sa.text("DROP TABLE step"))
    await empty.upgrade()
    await empty.check_schema()


@pytest.mark.slow
async def test_two_processes_that_upgrade_at_once_both_end_well(empty):
    url = empty.engine.url.render_as_string(hide_password=False)
    code = "import asyncio, sys; from bode.store.database import Database; asyncio.run(Database(sys.argv[1]).upgrade())"
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, url) for _ in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    await empty.check_schema()


async def test_processes_that_start_at_once_all_find_their_lanes(app, make_app, database_url):
    others = [await make_app(database_url, beside=app) for _ in range(4)]
    names = [f"lane-{number}" for number in range(20)]

    async def ensure(other):
        async with other.database.write() as connection:
            await steps.ensure_lanes(connection, names)

    await asyncio.gather(*(ensure(other) for other in others))
    found = {row.name for row in await app.rows(tables.lane)}
    assert found == {*names, *app.parts.lanes}


async def test_the_statements_of_an_upgrade_are_told_and_change_nothing_until_they_are_carried_out(postgres):
    url = postgres.fresh()
    database = Database(url)
    told = await database.upgrade_sql()
    with pytest.raises(SchemaError):
        await database.check_schema()
    # What was told is all of it: carried out by hand, it makes the schema of this version.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(told.encode())
    await database.check_schema()
    assert await database.upgrade_sql() == ""
    await database.close()
    postgres.drop(url)
