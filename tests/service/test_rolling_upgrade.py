"""A rolling upgrade: the schema goes first, and processes of the version before work on it until they are replaced."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import bode
from bode.store.database import Database, SchemaError

MIGRATIONS = Path(bode.__file__).parent / "store" / "migrations"
SINCE = "0006"
"""The rule is held from here on."""
REVISIONS = [one.revision for one in reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions()))]


def upgrade(path, revision):
    """Bring an SQLite database to a revision, and give its tables with their columns."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        found = sa.inspect(connection)
        columns = {
            table: {column["name"]: column for column in found.get_columns(table)} for table in found.get_table_names()
        }
    engine.dispose()
    return columns


def test_no_migration_takes_away_what_the_version_before_works_with(tmp_path):
    """An old process goes on after `bode db upgrade`: its tables and columns stay, and new ones need no value of it."""
    before = upgrade(tmp_path / "bode.db", SINCE)
    for revision in REVISIONS[REVISIONS.index(SINCE) + 1 :]:
        after = upgrade(tmp_path / "bode.db", revision)
        for table, columns in before.items():
            assert columns.keys() <= after[table].keys(), f"{revision} takes columns of {table} away"
            for name in after[table].keys() - columns.keys():
                new = after[table][name]
                assert new["nullable"] or new["default"] is not None, f"{revision}: {table}.{name} needs a value"
        before = after


NEXT = '''"""The next version's migration, of this test."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = depends_on = None


def upgrade() -> None:
    for table in ("delivery", "step", "message"):
        op.add_column(table, sa.Column("of_the_next", sa.String(8), server_default="x"))
    op.create_table("of_the_next", sa.Column("id", sa.Integer, primary_key=True))
'''


@pytest.fixture
def next_version(tmp_path):
    """Give the environment of a next version: this one, and a migration more."""
    root = tmp_path / "next"
    shutil.copytree(Path(bode.__file__).parent, root / "bode")
    versions = root / "bode" / "store" / "migrations" / "versions"
    (versions / "9999_the_next.py").write_text(NEXT.format(head=REVISIONS[-1]))
    config = Path(bode.__file__).parents[2] / "config"
    if config.is_dir():
        shutil.copytree(config, root / "bode" / "config")
    return {**os.environ, "PYTHONPATH": str(root)}


async def python(words, environment=None):
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-c", *words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await made.communicate()
    return made.returncode, out.decode()


_UPGRADE = "import asyncio, sys; from bode.store.database import Database; asyncio.run(Database(sys.argv[1]).upgrade())"
_WORK = """
import asyncio, sys
from bode.store import steps
from bode.store.database import Database

async def work(url):
    database = Database(url)
    await database.check_schema()
    from datetime import UTC, datetime, timedelta
    now = datetime.now(UTC) + timedelta(days=36500)
    async with database.write() as connection:
        leased = await steps.claim(
            connection, lane="mijnoverheid", limit=1, owner="next", lease_until=now, now=now
        )
        await steps.give_back(connection, leased)
    print(len(leased))

asyncio.run(work(sys.argv[1]))
"""


@pytest.mark.slow
async def test_an_old_and_a_new_worker_work_on_one_database(make_app, postgres, next_version, tmp_path):
    url = postgres.fresh()
    database = Database(url)
    await database.upgrade()
    await database.close()
    old = await make_app(url)
    first = await old.accept()
    assert (await python([_UPGRADE, url], next_version)) == (0, "")
    second = await old.accept()
    assert await python([_WORK, url], next_version) == (0, "1\n"), "the new one takes what the old one accepted"
    await old.settle()
    for accepted in (first, second):
        assert old.box.placements[accepted.id] == 1
        assert len(await old.named(accepted.id, "ContentConsignment")) == 1
    with pytest.raises(SchemaError, match="9999"):
        await old.database.check_schema()
    code, told = await python([_WORK, url])
    assert code != 0
    assert "9999" in told, "an old one that is started now refuses, and says why"
