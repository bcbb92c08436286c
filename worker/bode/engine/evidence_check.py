"""Whether the evidence of one message is whole: its chain, its state, and whether the log has it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.explain import Told, unexplained
from bode.domain.parts import Delivery
from bode.evidence.chain import GENESIS, chain_hash
from bode.evidence.merkle import leaf_hash
from bode.store import evidence_log, tables

_read_delivery = msgspec.json.Decoder(Delivery).decode


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found about one message."""

    events: int
    broken_at: int | None
    """The first event that does not follow from the one before it, or was changed."""
    unexplained: tuple[str, ...]
    """What its state says and no event tells."""
    in_log: int
    """How many of its events stand in the log."""
    signed_at: datetime | None
    """When the log was last signed, where it is."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong; that the newest events are not in the log yet is not wrong."""
        return self.broken_at is None and not self.unexplained


async def check(connection: AsyncConnection, message_id: UUID, origin: str | None) -> Checked:
    """Check one message against its own chain, its state and the log. Raises `LookupError` where there is none."""
    delivery, event = tables.delivery.c, tables.event.c
    kept = (
        await connection.execute(
            sa.select(delivery.document, delivery.event_seq, delivery.event_hash).where(
                delivery.message_id == message_id
            )
        )
    ).one_or_none()
    if kept is None:
        raise LookupError(str(message_id))
    rows = (
        await connection.execute(
            sa.select(event.id, event.seq, event.name, event.part, event.at, event.envelope, event.hash)
            .where(event.message_id == message_id)
            .order_by(event.seq)
        )
    ).all()
    chain, broken, told = GENESIS, None, Told()
    for number, row in enumerate(rows, start=1):
        envelope = bytes(row.envelope)
        said = msgspec.json.decode(envelope)
        follows = row.seq == number == said["seq"] and said["previous"] == chain.hex()
        if broken is None and not (follows and leaf_hash(envelope) == bytes(row.hash)):
            broken = number
        chain = chain_hash(chain, bytes(row.hash))
        told.add(row.name, row.part, row.at)
    if broken is None and (len(rows) != kept.event_seq or chain != bytes(kept.event_hash)):
        broken = len(rows) + 1
    leaf = tables.evidence_leaf.c
    in_log = await connection.scalar(
        sa.select(sa.func.count()).where(leaf.event_id.in_([row.id for row in rows]))
        if rows
        else sa.select(sa.literal(0))
    )
    signed = await evidence_log.latest_checkpoint(connection, origin) if origin is not None else None
    return Checked(
        len(rows),
        broken,
        tuple(unexplained(_read_delivery(kept.document), told)),
        in_log or 0,
        signed.published_at if signed is not None else None,
    )
