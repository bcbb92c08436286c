"""An event loop whose time jumps from one thing to the next, and a database connection without threads for it."""

from __future__ import annotations

import asyncio
import selectors
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from types import TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")


class NothingLeftError(Exception):
    """Everybody waits, and nothing will ever happen: a deadlock in what is simulated."""


class _Jump(selectors.SelectSelector):
    """Waits by moving the time on. Nothing real is waited for: there are no sockets and no threads in here."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftError("nothing is left to happen, and somebody still waits")
        self.seconds += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop in virtual time: a wait of a month takes no time, in the order life would have had."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-6  # as the rounding of a month in seconds needs

    def time(self) -> float:
        """Give the seconds since the beginning."""
        return self._jump.seconds

    def run_in_executor(  # type: ignore[override]  # typeshed's has a variadic type
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Run what asks for a thread here and now, so that the order of things is the same in every run."""
        del executor
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as an executor does: it is raised where the result is awaited
            future.set_exception(error)
        return future


class _Cursor:
    """A cursor in the form that SQLAlchemy's aiosqlite dialect expects."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._cursor.close()

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    async def execute(self, statement: str, parameters: Any = ()) -> Self:
        self._cursor.execute(statement, parameters)
        return self

    async def executemany(self, statement: str, parameters: Iterable[Any]) -> Self:
        self._cursor.executemany(statement, parameters)
        return self

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()


class _Queue:
    """Where the dialect leaves a setting to be made by the connection's thread; there is none, so it is made now."""

    def put_nowait(self, item: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, work = item
        future.set_result(work())


class _Connection:
    """An SQLite connection in the form that SQLAlchemy's aiosqlite dialect expects, worked in the loop's own thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._conn = self._connection = connection
        self._tx = _Queue()

    @property
    def isolation_level(self) -> str | None:
        return self._conn.isolation_level

    def cursor(self) -> _Cursor:
        return _Cursor(self._conn.cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        self._conn.create_function(*arguments, **options)

    async def commit(self) -> None:
        self._conn.commit()

    async def rollback(self) -> None:
        self._conn.rollback()

    async def close(self) -> None:
        self._conn.close()

    def stop(self) -> None:
        self._conn.close()


async def connect(*arguments: Any, **options: Any) -> _Connection:
    """Open an SQLite connection that uses no thread."""
    return _Connection(sqlite3.connect(*arguments, **options))
