"""The connection to the database: PostgreSQL, or SQLite on one machine, behind one small class."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import event
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_MIGRATIONS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x626F6465
"""The advisory lock of upgrades: 'bode'."""

_SWEEP_LOCK = 0x626F6466
"""The advisory lock of the sweeper that sweeps."""
_READ_ONLY = "25006"
"""What PostgreSQL answers a change on a server that only reads: a standby, or a primary that was one a moment ago."""
TRANSACTION_SECONDS = 60.0

DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeoutError, OSError)
"""What is raised while the database is away, full, too busy, or only reads: the same can be tried again.

Deadlocks and failures to serialise are among the first; a server that only reads, and a transaction that was ended
because it did nothing for too long, are among the third; the time limit of `write` is among the last."""


class SchemaError(Exception):
    """The database's schema is not the one this version works with. Says which, and what to do."""

    def __init__(self, found: str | None, wanted: str | None) -> None:
        """Keep the parts as attributes."""
        super().__init__(
            f"the database has schema {found or 'none'}, this version works with {wanted}: run 'bode db upgrade' first"
        )
        self.found = found
        self.wanted = wanted


def _async_url(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    drivers = {"postgresql": "postgresql+psycopg", "sqlite": "sqlite+aiosqlite"}
    if parsed.drivername not in {*drivers, *drivers.values()}:
        raise ValueError(f"database URL starts with {parsed.drivername!r}: use postgresql:// or sqlite:///")
    return parsed.set(drivername=drivers.get(parsed.drivername, parsed.drivername))


class Database:
    """One database. `write` gives a transaction that may change rows, `read` one that does not."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        transaction_seconds: float = TRANSACTION_SECONDS,
        connect: Callable[..., Awaitable[Any]] | None = None,
    ) -> None:
        """Take a URL such as `postgresql://user@host/name` or `sqlite:///path`; nothing is opened yet.

        No change may take longer than `transaction_seconds`: one that hangs holds locks that others wait for.
        `connect` opens SQLite's connections in another way: the simulator's have no threads.
        """
        self._transaction_seconds = transaction_seconds
        self._url = _async_url(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # SQLite has one writer: inside this process writers stand in line here instead of failing with "locked".
        self._writer = asyncio.Lock() if self.is_sqlite else None
        options: dict[str, Any] = {} if self.is_sqlite else {"pool_size": pool_size, "max_overflow": pool_size}
        if not self.is_sqlite:
            # Of a database in SQL_ASCII the driver would give bytes where it gives texts.
            options["connect_args"] = {"client_encoding": "utf8"}
        if connect is not None:
            options["connect_args"] = {"async_creator_fn": connect}
        # What a statement was given can be personal or sealed, and errors are logged: it is never part of their text.
        self.engine: AsyncEngine = create_async_engine(
            self._url, pool_pre_ping=not self.is_sqlite, hide_parameters=True, **options
        )
        if self.is_sqlite:
            _prepare_sqlite(self.engine)
        else:
            _prepare_postgresql(self.engine, transaction_seconds)

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(self._url.database) if self.is_sqlite and self._url.database else None

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """Give a connection in a transaction that is committed at the end, or rolled back by an exception.

        Raises `TimeoutError`, after a roll-back, when it takes longer than a change may.
        """
        async with asyncio.timeout(self._transaction_seconds), self._writing() as connection:
            yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncGenerator[AsyncConnection]:
        if self._writer is None:
            async with self.engine.begin() as connection:
                yield connection
            return
        async with self._writer, self.engine.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await connection.rollback()
                raise
            await connection.commit()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """Give a connection to read with."""
        async with self.engine.connect() as connection:
            yield connection

    async def time(self) -> datetime:
        """Give the time by the database's own clock, which all its processes share; SQLite has its machine's."""
        if self.is_sqlite:
            return datetime.now(UTC)
        async with self.engine.connect() as connection:
            told = await connection.execute(sa.select(sa.func.clock_timestamp()))
        found: datetime = told.scalar_one()
        return found.astimezone(UTC)

    async def check_schema(self) -> None:
        """Raise `SchemaError` unless the schema is exactly the one this version works with."""
        wanted = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
        async with self.engine.connect() as connection:
            found = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
        if found != wanted:
            raise SchemaError(found, wanted)

    async def upgrade(self) -> None:
        """Bring the schema to the one this version works with: whole or not at all, and one process at a time."""

        def run(sync: sa.Connection) -> None:
            command.upgrade(_alembic(sync), "head")

        async with self._writing() as connection:
            if not self.is_sqlite:
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            await connection.run_sync(run)

    @asynccontextmanager
    async def sweeping_alone(self) -> AsyncGenerator[bool]:
        """Tell whether nobody else sweeps this database meanwhile: one of many does, and another when that one dies.

        It saves work, and no more: a sweeper that is stopped loses the lock after the time a change may take, and what
        it then does is still guarded row by row.
        """
        if self.is_sqlite:
            with open(f"{self._url.database}.sweeper", "ab") as file:  # noqa: ASYNC230, PTH123 - beside the database
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield False
                else:
                    yield True
            return
        connection = await self.engine.connect()
        try:
            mine = await connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_SWEEP_LOCK)))
            yield bool(mine.scalar_one())
        finally:
            # The server may have ended it meanwhile; then the lock is let go of already.
            with contextlib.suppress(*DATABASE_AWAY):
                await connection.close()

    async def upgrade_sql(self) -> str:
        """Give the statements that `upgrade` would carry out now, of PostgreSQL: nothing is changed or locked.

        Empty when the schema is current. Of SQLite they cannot be told beforehand: `ValueError`.
        """
        if self.is_sqlite:
            raise ValueError("SQLite's statements follow from the tables that are there")
        written = StringIO()

        def run(sync: sa.Connection) -> None:
            found = MigrationContext.configure(sync).get_current_revision()
            if found != ScriptDirectory(str(_MIGRATIONS)).get_current_head():
                command.upgrade(_alembic(sync, written), f"{found or 'base'}:head", sql=True)

        async with self.engine.connect() as connection:
            await connection.run_sync(run)
        return written.getvalue()

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _prepare_postgresql(engine: AsyncEngine, transaction_seconds: float) -> None:
    def connected(connection: Any, _record: Any) -> None:
        # A process that is stopped in a transaction is let go of by the server: its locks would stop everybody else.
        with connection.cursor() as cursor:
            cursor.execute(f"SET idle_in_transaction_session_timeout = {round(transaction_seconds * 1000)}")
        connection.commit()
        # Arrays travel in binary: as text every quotation mark in them is escaped, one by one, in Python.
        connection.driver_connection.adapters.register_dumper(list, ListBinaryDumper)

    def failed(context: sa.ExceptionContext) -> None:
        # The server only reads: the address now leads to another one, and all connections to this one are of no use.
        if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
            context.is_disconnect = True

    def row_by_row(cursor: Any, statement: str, rows: Sequence[Any], _context: Any) -> bool:
        # The driver would send them as a pipeline, after which the server waits without any limit for a process that is
        # stopped in its transaction. Where rows are many, `bulk` writes them in one statement.
        for row in rows:
            cursor.execute(statement, row)
        return True

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "handle_error", failed)
    event.listen(engine.sync_engine, "do_executemany", row_by_row)


def _alembic(connection: sa.Connection, output: TextIO | None = None) -> Config:
    config = Config(output_buffer=output)
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _prepare_sqlite(engine: AsyncEngine) -> None:
    def connected(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: `write` begins them as IMMEDIATE, so that two processes
        # wait for each other at the start instead of failing half-way.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        # Without it a row that REPLACE removes goes past the triggers that keep evidence.
        cursor.execute("PRAGMA recursive_triggers=ON")
        cursor.close()

    event.listen(engine.sync_engine, "connect", connected)
