"""What an application's `Idempotency-Key` was answered, for a day: the same request again has the same answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

KEPT = timedelta(days=1)
TAKEN_OVER = timedelta(minutes=1)
"""After so long without an answer, whoever was at it is gone, and the request may be done anew."""

_row = tables.repeat_key.c


@dataclass(frozen=True, slots=True)
class Key:
    """A key as an application gave it, hashed, and the hash of the request it came with."""

    application: str
    key_hash: bytes
    fingerprint: bytes

    @property
    def here(self) -> tuple[sa.ColumnElement[bool], ...]:
        """Say which row is this key's."""
        return _row.application == self.application, _row.key_hash == self.key_hash


@dataclass(frozen=True, slots=True)
class Given:
    """The answer that was given. Holds no personal data."""

    status: int
    location: str | None
    answer: str


class KeyReusedError(Exception):
    """The key came with another request before."""


class UnderWayError(Exception):
    """The first request with this key is being done now."""


async def begin(connection: AsyncConnection, key: Key, now: datetime) -> Given | None:
    """Claim a key, or give the answer of the first time. Raises `KeyReusedError` or `UnderWayError`."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"fingerprint": key.fingerprint, "status": None, "location": None, "answer": None, "at": now}
    made = await connection.execute(
        insert(tables.repeat_key)
        .values(application=key.application, key_hash=key.key_hash, **values)
        .on_conflict_do_nothing()
        .returning(_row.application)
    )
    if made.first() is not None:
        return None
    held = (await connection.execute(sa.select(tables.repeat_key).where(*key.here).with_for_update())).one_or_none()
    if held is not None and held.at > now - KEPT:
        if held.fingerprint != key.fingerprint:
            raise KeyReusedError
        if held.status is not None:
            return Given(held.status, held.location, held.answer)
        if held.at > now - TAKEN_OVER:
            raise UnderWayError
    await connection.execute(sa.update(tables.repeat_key).where(*key.here).values(**values))
    return None


async def finish(connection: AsyncConnection, key: Key, given: Given) -> None:
    """Keep the answer."""
    values = {"status": given.status, "location": given.location, "answer": given.answer}
    await connection.execute(sa.update(tables.repeat_key).where(*key.here).values(**values))


async def release(connection: AsyncConnection, key: Key) -> None:
    """Let go of a key whose request was refused or failed: nothing was done, so it may come again, mended."""
    await connection.execute(sa.delete(tables.repeat_key).where(*key.here, _row.status.is_(None)))


async def purge(connection: AsyncConnection, now: datetime) -> int:
    """Forget what was answered more than a day ago; gives how many."""
    return (await connection.execute(sa.delete(tables.repeat_key).where(_row.at < now - KEPT))).rowcount
