"""Reading evidence back: the events of a message in their order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as stored, with its envelope read."""

    seq: int
    name: str
    part: str | None
    at: datetime
    recorded_at: datetime
    law: tuple[str, ...]
    source: str
    detail: dict[str, Any]
    envelope: bytes
    hash: bytes


async def of_message(connection: AsyncConnection, message_id: UUID) -> list[StoredEvent]:
    """Give all events of a message, in order."""
    table = tables.event.c
    rows = await connection.execute(
        sa.select(table.seq, table.name, table.part, table.at, table.recorded_at, table.envelope, table.hash)
        .where(table.message_id == message_id)
        .order_by(table.seq)
    )
    return [_event(row) for row in rows]


def _event(row: sa.Row[*tuple[Any, ...]]) -> StoredEvent:
    envelope = msgspec.json.decode(row.envelope)
    return StoredEvent(
        row.seq,
        row.name,
        row.part,
        row.at,
        row.recorded_at,
        tuple(envelope["law"]),
        envelope["source"],
        envelope["detail"],
        bytes(row.envelope),
        bytes(row.hash),
    )
