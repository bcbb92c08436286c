"""What is due to go, and its going: in the caller's transaction, with the event that says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.message import Message
from bode.domain.retention import PURGES, Kind, Stage
from bode.domain.terms import legal_day
from bode.domain.volume import DAYS
from bode.store import tables
from bode.store.vault import MessageKey, Vault, VaultError

log = structlog.get_logger()

PERSON = "person"
"""What the remainder of a message is sealed as once its content is gone."""
AUDIT_PURGED = "audit_purged"

_delivery, _inbound = tables.delivery.c, tables.inbound.c
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


@dataclass(frozen=True, slots=True)
class Due:
    """A message something of which is due to go."""

    message_id: UUID
    organisation: str


def _due(kind: Kind, organisation: str | None, others: Collection[str], before: datetime) -> sa.ColumnElement[bool]:
    """Give what is due of an organisation, or of all but `others`. What is held for a case at law is not."""
    held = sa.select(tables.legal_hold.c.message_id).where(tables.legal_hold.c.message_id == _delivery.message_id)
    stages, _ = PURGES[kind]
    whose = (
        _delivery.organisation == organisation if organisation is not None else _delivery.organisation.not_in(others)
    )
    return sa.and_(
        _delivery.stage.in_([str(stage) for stage in stages]), _delivery.done_at <= before, whose, ~sa.exists(held)
    )


async def due(
    connection: AsyncConnection,
    kind: Kind,
    *,
    organisation: str | None,
    others: Collection[str],
    before: datetime,
    limit: int,
) -> list[UUID]:
    """Give messages whose term for a kind of data has ended, the oldest first."""
    query = sa.select(_delivery.message_id).where(_due(kind, organisation, others, before))
    return list((await connection.execute(query.order_by(_delivery.done_at).limit(limit))).scalars())


async def count_due(
    connection: AsyncConnection,
    kind: Kind,
    *,
    organisation: str | None,
    others: Collection[str],
    before: datetime,
    after: datetime | None,
) -> int:
    """Count them; with `after`, without those that were finished by then, which are due for more."""
    query = sa.select(sa.func.count()).select_from(tables.delivery).where(_due(kind, organisation, others, before))
    if after is not None:
        query = query.where(_delivery.done_at > after)
    return int((await connection.execute(query)).scalar_one())


async def still_due(connection: AsyncConnection, kind: Kind, ids: Sequence[UUID], before: datetime) -> set[UUID]:
    """Give which of these are due now that they are locked: one may have been held or moved on meanwhile."""
    query = sa.select(_delivery.message_id).where(_delivery.message_id.in_(ids), _due(kind, None, (), before))
    return set((await connection.execute(query)).scalars())


async def objects_of(connection: AsyncConnection, ids: Collection[UUID]) -> list[str]:
    """Give what documents of these messages are called in the store of documents, to be removed after the commit."""
    column = tables.document.c
    found = await connection.execute(
        sa.select(column.object).where(column.message_id.in_(set(ids)), column.object.is_not(None))
    )
    return list(found.scalars())


async def load_persons(connection: AsyncConnection, ids: Sequence[UUID], vault: Vault) -> dict[UUID, Message]:
    """Open who messages were for, of those whose content is gone and whose addressee is not: empty but for that."""
    content = tables.content.c
    rows = await connection.execute(
        sa.select(content.message_id, content.wrapped_key, content.sealed).where(
            content.message_id.in_(ids),
            content.sealed.is_not(None),
            content.wrapped_key.is_not(None),
            content.purged_at.is_not(None),
        )
    )
    return {one: _decode(vault.open(vault.unwrap(one, wrapped), one, PERSON, sealed)) for one, wrapped, sealed in rows}


# ---- what goes -------------------------------------------------------------------------------------------------------


async def purge(
    connection: AsyncConnection, kind: Kind, keys: dict[UUID, MessageKey | None], vault: Vault, now: datetime
) -> None:
    """Let a kind of data of messages go, by their ids with their keys."""
    ids = list(keys)
    if kind is Kind.CONTENT:
        await _content_goes(connection, keys, vault, now)
    elif kind is Kind.PERSONAL:
        await _person_goes(connection, ids, now)
    else:
        await erase(connection, ids, now)
    await connection.execute(
        sa.update(tables.delivery).where(_delivery.message_id.in_(ids)).values(stage=str(PURGES[kind][1]))
    )


async def erase(connection: AsyncConnection, ids: Sequence[UUID], now: datetime) -> None:
    """Delete or empty every row that holds something personal of messages, their keys first.

    The event that says so stands before it: a trigger lets no detail go without.
    """
    content, about = tables.content, tables.inbound_about.c
    await connection.execute(
        sa.update(content).where(content.c.message_id.in_(ids)).values(wrapped_key=None, sealed=None, purged_at=now)
    )
    # Results of boxes are about many messages. What they say is in the events: the document itself goes for all.
    named = sa.select(about.key).where(about.message_id.in_(ids))
    await connection.execute(sa.update(tables.inbound).where(_inbound.key.in_(named)).values(sealed=b""))
    await connection.execute(sa.update(tables.message).where(tables.message.c.id.in_(ids)).values(case_reference=None))
    await _delete(connection, ids, tables.document, tables.letter, tables.event_detail, tables.inbound)
    await _nobody_can_be_found(connection, ids)
    await connection.execute(
        sa.update(tables.delivery).where(_delivery.message_id.in_(ids)).values(stage=str(Stage.NOTHING))
    )


async def _content_goes(
    connection: AsyncConnection, keys: dict[UUID, MessageKey | None], vault: Vault, now: datetime
) -> None:
    content = tables.content.c
    rows = await connection.execute(
        sa.select(content.message_id, content.sealed).where(content.message_id.in_(keys), content.sealed.is_not(None))
    )
    for row in list(rows):
        key = keys[row.message_id]
        rest = None
        try:
            whole = _decode(vault.open(key, row.message_id, "content", row.sealed)) if key is not None else None
        except VaultError as error:
            # It goes all the same: nobody can read it any more.
            log.error("content.cannot_be_opened", message=str(row.message_id), purpose=error.purpose)
            whole = None
        if key is not None and whole is not None:
            left = replace(whole, subject="", text="", consequences=None, documents=(), case=None)
            rest = vault.seal(key, row.message_id, PERSON, _encode(left))
        await connection.execute(
            sa.update(tables.content).where(content.message_id == row.message_id).values(sealed=rest, purged_at=now)
        )
    await _delete(connection, list(keys), tables.document, tables.letter)


async def _person_goes(connection: AsyncConnection, ids: Sequence[UUID], now: datetime) -> None:
    content = tables.content.c
    await connection.execute(
        sa.update(tables.content).where(content.message_id.in_(ids)).values(sealed=None, purged_at=now)
    )
    await _delete(connection, ids, tables.document, tables.letter)
    await _nobody_can_be_found(connection, ids)


async def _nobody_can_be_found(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    # A keyed hash of a BSN is personal to whoever has the key.
    await connection.execute(
        sa.update(tables.message).where(tables.message.c.id.in_(ids)).values(addressee_hash=bytes(32), email_hash=None)
    )
    await _delete(connection, ids, tables.found_address, tables.failing_address)


async def _delete(connection: AsyncConnection, ids: Sequence[UUID], *of: sa.Table) -> None:
    for table in of:
        await connection.execute(sa.delete(table).where(table.c.message_id.in_(ids)))


# ---- what belongs to no message --------------------------------------------------------------------------------------


def _received(before: datetime) -> list[tuple[sa.Table, sa.ColumnElement[bool]]]:
    # What nothing was decided of yet stays: it is work, not an archive.
    return [
        (tables.inbound, (_inbound.received_at <= before) & (_inbound.state != "new")),
        (tables.hard_bounce, tables.hard_bounce.c.bounced_at <= before),
        (tables.mail_count, tables.mail_count.c.hour <= before),
        # What is usual is told by the days before.
        (tables.volume_count, tables.volume_count.c.day < legal_day(before) - timedelta(days=DAYS)),
    ]


async def purge_received(connection: AsyncConnection, before: datetime, *, dry_run: bool) -> int:
    """Let what came in go; gives how many rows. Counts only in a dry run."""
    total = 0
    for table, which in _received(before):
        if dry_run:
            total += (await connection.execute(sa.select(sa.func.count()).select_from(table).where(which))).scalar_one()
        else:
            total += (await connection.execute(sa.delete(table).where(which))).rowcount
    if not dry_run:
        left = sa.select(_inbound.key).where(_inbound.key == tables.inbound_about.c.key)
        await connection.execute(sa.delete(tables.inbound_about).where(~sa.exists(left)))
    return total


async def purge_audit(connection: AsyncConnection, before: datetime, now: datetime, *, dry_run: bool) -> int:
    """Let old acts of staff go; gives how many. An act that says so stands first: a trigger lets none go without."""
    act = tables.staff_act.c
    old = (act.at <= before) & (act.act != AUDIT_PURGED)
    count: int = (
        await connection.execute(sa.select(sa.func.count()).select_from(tables.staff_act).where(old))
    ).scalar_one()
    if count and not dry_run:
        said = {"at": now, "who": "bode", "act": AUDIT_PURGED, "subject": f"{count} until {before:%Y-%m-%d}"}
        await connection.execute(sa.insert(tables.staff_act), [said])
        await connection.execute(sa.delete(tables.staff_act).where(old))
        job, row = tables.staff_job.c, tables.staff_job_row.c
        ended = sa.select(job.id).where(job.ended_at <= before)
        await connection.execute(sa.delete(tables.staff_job_row).where(row.job_id.in_(ended)))
        await connection.execute(sa.delete(tables.staff_job).where(job.ended_at <= before))
    return count
