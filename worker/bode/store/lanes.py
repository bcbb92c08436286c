"""What was changed of lanes while they run, and how much of their rate is left: rows of the table `lane`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

_lane = tables.lane.c
_BURST_SECONDS = 5.0
"""So many seconds' worth may go at once: as often as a sweeper that is not slow rings."""

Changes = dict[str, int | str | None]
"""Rules that were changed, by name; what is not in it is as the configuration says."""
_decode = msgspec.json.Decoder(Changes).decode


async def read_changes(connection: AsyncConnection) -> dict[str, Changes]:
    """Give what was changed, by lane; lanes that are as configured are left out."""
    rows = await connection.execute(sa.select(_lane.name, _lane.rules).where(_lane.rules.is_not(None)))
    return {row.name: _decode(row.rules) for row in rows}


async def lock_changes(connection: AsyncConnection, name: str) -> Changes:
    """Give what was changed of one lane, whose row is held until the transaction ends."""
    found = await connection.execute(sa.select(_lane.rules).where(_lane.name == name).with_for_update())
    rules = found.scalar_one()
    return _decode(rules) if rules is not None else {}


async def write_changes(connection: AsyncConnection, name: str, changes: Mapping[str, int | str | None]) -> None:
    """Keep what is changed of a lane; nothing: it is as configured."""
    rules = msgspec.json.encode(changes).decode() if changes else None
    await connection.execute(sa.update(tables.lane).where(_lane.name == name).values(rules=rules))


async def take(connection: AsyncConnection, name: str, *, per_minute: int, most: int, real_now: datetime) -> int:
    """Give how many steps may be taken now, at most `most`; the lane's row is held until the transaction ends."""
    found = await connection.execute(
        sa.select(_lane.allowance, _lane.allowance_at).where(_lane.name == name).with_for_update()
    )
    row: Any = found.one()
    burst = max(1.0, per_minute * _BURST_SECONDS / 60)
    left = burst
    if row.allowance is not None and row.allowance_at is not None:
        elapsed = max((real_now - row.allowance_at).total_seconds(), 0.0)
        left = min(burst, row.allowance + elapsed * per_minute / 60)
    await connection.execute(
        sa.update(tables.lane).where(_lane.name == name).values(allowance=left, allowance_at=real_now)
    )
    return max(0, min(most, int(left)))


async def spend(connection: AsyncConnection, name: str, count: int) -> None:
    """Take off what was taken: a call that is repeated whole can bring it below nothing, and is waited for then."""
    if count:
        await connection.execute(
            sa.update(tables.lane).where(_lane.name == name).values(allowance=_lane.allowance - count)
        )
