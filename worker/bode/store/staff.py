"""What people did that is about no message: kept for ever, and never changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

_SUBJECT = 64


@dataclass(frozen=True, slots=True)
class StaffAct:
    """An act: who did what to which part of Bode, and why."""

    at: datetime
    who: str
    act: str
    """`lane_stopped`, `lane_started`, `key_rotated`, `lookup_rotated`."""
    subject: str
    """What it was done to: the name of a lane, the id of a key."""
    reason: str | None


async def record_act(connection: AsyncConnection, act: StaffAct) -> None:
    """Write an act down, in the transaction of the act itself: there is none without it."""
    row = {
        "at": act.at,
        "who": act.who[:_SUBJECT],
        "act": act.act,
        "subject": act.subject[:_SUBJECT],
        "reason": act.reason,
    }
    await connection.execute(sa.insert(tables.staff_act), [row])


async def read_acts(connection: AsyncConnection, *, most: int) -> list[StaffAct]:
    """Read the latest acts, newest first."""
    column = tables.staff_act.c
    rows = await connection.execute(
        sa.select(column.at, column.who, column.act, column.subject, column.reason)
        .order_by(column.id.desc())
        .limit(most)
    )
    return [StaffAct(row.at, row.who, row.act, row.subject, row.reason) for row in rows]
