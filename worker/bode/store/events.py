"""Reading evidence back: the events of a message in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables
from bode.store.vault import MessageKey, Vault, VaultError


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
    committed: bool = False
    """Whether it has details, which may be erased by now."""
    details: Mapping[str, Any] | None = field(default=None, repr=False)
    """Its details, where they were opened."""

    def opened(self, details: bytes) -> StoredEvent:
        """Give the event with its details to be read."""
        return replace(self, details=msgspec.json.decode(details, type=dict[str, Any]))


async def of_message(connection: AsyncConnection, message_id: UUID, vault: Vault | None = None) -> list[StoredEvent]:
    """Give all events of a message, in order; with a vault, their details opened as far as they are kept."""
    table = tables.event.c
    rows = await connection.execute(
        sa.select(table.seq, table.name, table.part, table.at, table.recorded_at, table.envelope, table.hash)
        .where(table.message_id == message_id)
        .order_by(table.seq)
    )
    found = [_event(row) for row in rows]
    if vault is None:
        return found
    wrapped = await connection.execute(
        sa.select(tables.content.c.wrapped_key).where(tables.content.c.message_id == message_id)
    )
    kept = wrapped.scalar_one_or_none()
    if kept is None:
        return found
    try:
        details = await details_of(connection, message_id, vault, vault.unwrap(message_id, kept))
    except VaultError:
        # What happened can be told without them; the audit is what finds that they cannot be opened.
        return found
    return [event.opened(details[event.seq][1]) if event.seq in details else event for event in found]


async def details_of(
    connection: AsyncConnection, message_id: UUID, vault: Vault, key: MessageKey
) -> dict[int, tuple[bytes, bytes]]:
    """Give salt and details by event, as far as they are kept. Raises `VaultError`."""
    column = tables.event_detail.c
    rows = await connection.execute(
        sa.select(column.seq, column.salt, column.sealed).where(column.message_id == message_id)
    )
    return {
        row.seq: (bytes(row.salt), vault.open(key, message_id, f"event {row.seq}", bytes(row.sealed))) for row in rows
    }


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
        "detail_commit" in envelope,
    )
