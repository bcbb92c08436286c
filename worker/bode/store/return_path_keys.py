"""The generations of the key that signs return paths: which are believed, who made and removed them, and why.

The keys themselves are derived from the vault's secret and stand nowhere. Every process reads the generations here
before it signs or verifies, so that a rotation needs no restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

FIRST = 1
"""The generation of a fresh installation, which no row needs to tell."""

_key = tables.return_path_key.c


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of the key. The first has no time of making: it came with the installation."""

    number: int
    made_at: datetime | None = None
    made_by: str | None = None
    removed_at: datetime | None = None
    removed_by: str | None = None
    reason: str | None = None
    """Why it was made, or, once it is removed, why that."""


async def known(connection: AsyncConnection) -> Sequence[Generation]:
    """Give all generations, the newest first."""
    rows = await connection.execute(sa.select(tables.return_path_key).order_by(_key.generation.desc()))
    found = [
        Generation(row.generation, row.made_at, row.made_by, row.removed_at, row.removed_by, row.reason) for row in rows
    ]
    return found if found and found[-1].number == FIRST else [*found, Generation(FIRST)]


async def valid(connection: AsyncConnection) -> tuple[int, ...]:
    """Give the generations that are believed, the newest, which signs, first."""
    return tuple(item.number for item in await known(connection) if item.removed_at is None)


async def rotate(connection: AsyncConnection, *, by: str, reason: str, now: datetime) -> int:
    """Make a new generation, which signs from now on; gives its number. Raises `IntegrityError` when two do at once."""
    number = (await known(connection))[0].number + 1
    row = {"generation": number, "made_at": now, "made_by": by, "reason": reason}
    await connection.execute(sa.insert(tables.return_path_key).values(row))
    return number


async def remove(connection: AsyncConnection, number: int, *, by: str, reason: str, now: datetime) -> None:
    """Believe a generation no longer. The caller sees to it that it is not the newest."""
    removal = {"removed_at": now, "removed_by": by, "reason": reason}
    changed = await connection.execute(
        sa.update(tables.return_path_key).where(_key.generation == number).values(removal)
    )
    if not changed.rowcount:
        await connection.execute(sa.insert(tables.return_path_key).values(generation=number, **removal))
