"""What senders are told: changes of a message's state, written with the state, and numbered after their commit.

A number given inside a worker's transaction would not do: who reads up to 7 never sees 6 when 6 commits later. Rows
come in without a position; one transaction at a time numbers what is committed: the feed only ever grows at its end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.parts import Delivery, DeliveryState, LegalTime
from bode.store import bulk, tables

KEPT = timedelta(days=90)
BATCH = 2000

_change, _feed = tables.status_change.c, tables.status_feed.c
_WAITS = _change.position.is_(None)


class Kind(StrEnum):
    """What happened, in the words that senders read."""

    ACCEPTED = "aangenomen"
    SENT = "verzonden"
    """The legal time of sending is known, or another one than before (L8, L10)."""
    NEEDS_PERSON = "wacht-op-medewerker"
    """A person must act; `reasons` says why. A failure that nothing follows from by itself ends here."""
    DONE = "afgerond"
    CANCELLED = "geannuleerd"
    MOVED = "gewijzigd"
    """Another state or outcome, that asks nothing of anybody."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change in the feed. Holds no personal data."""

    position: int
    message_id: UUID
    organisation: str
    reference: str
    kind: Kind
    state: DeliveryState
    outcome: str
    reasons: tuple[str, ...]
    sent_at: datetime | None
    at: datetime

    @property
    def id(self) -> UUID:
        """The change's own id: the same in the feed and in every webhook, however often it is read or sent."""
        return uuid5(NAMESPACE_URL, f"urn:uuid:{self.message_id}#{self.position}")


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the feed, and where to go on. `missed`: changes after the given position are no longer kept."""

    changes: tuple[Change, ...]
    next: int
    more: bool
    missed: bool = False


def row_of(
    message_id: UUID,
    organisation: str,
    before: Delivery | None,
    after: Delivery,
    *,
    old: LegalTime | None,
    legal: LegalTime | None,
    now: datetime,
) -> dict[str, object] | None:
    """Give the row of a change, or nothing when a sender would see no difference.

    `old` and `legal` are the legal time of sending before and after it (L8).
    """
    reasons, old_reasons = _reasons(after), _reasons(before) if before is not None else ()
    if before is None:
        kind = Kind.NEEDS_PERSON if after.state is DeliveryState.NEEDS_PERSON else Kind.ACCEPTED
    elif after.state is DeliveryState.CANCELLED and before.state is not DeliveryState.CANCELLED:
        kind = Kind.CANCELLED
    elif set(reasons) - set(old_reasons):
        kind = Kind.NEEDS_PERSON
    elif after.state is DeliveryState.DONE and (before.state, before.outcome) != (after.state, after.outcome):
        kind = Kind.DONE
    elif legal != old:
        kind = Kind.SENT if legal is not None and legal.standing else Kind.MOVED
    elif (before.state, before.outcome, old_reasons) != (after.state, after.outcome, reasons):
        kind = Kind.MOVED
    else:
        return None
    return {
        "message_id": message_id,
        "organisation": organisation,
        "kind": str(kind),
        "state": str(after.state),
        "outcome": str(after.outcome),
        "reasons": " ".join(reasons),
        "sent_at": legal.at if legal is not None and legal.standing else None,
        "at": now,
    }


def _reasons(delivery: Delivery) -> tuple[str, ...]:
    return tuple(f"{item.part}:{item.reason}" for item in delivery.attention)


async def insert(connection: AsyncConnection, rows: Sequence[Mapping[str, object]]) -> None:
    """Write changes, in the transaction of what changed."""
    await bulk.insert(connection, tables.status_change, rows)


async def anything_waits(connection: AsyncConnection) -> bool:
    """Tell whether a change has no position yet."""
    return (await connection.execute(sa.select(_change.id).where(_WAITS).limit(1))).first() is not None


async def number(connection: AsyncConnection, limit: int = BATCH) -> list[Change]:
    """Give committed changes their positions, and the changes themselves. Others that do the same wait for this one.

    A message's changes keep their order: each was written with its delivery locked, so ids and commits agree.
    """
    last = await _hold(connection)
    rows = (
        await connection.execute(
            sa.select(tables.status_change, tables.message.c.reference)
            .join_from(tables.status_change, tables.message, _change.message_id == tables.message.c.id)
            .where(_WAITS)
            .order_by(_change.id)
            .limit(limit)
        )
    ).all()
    if not rows:
        return []
    places = [{"id": row.id, "position": last + index} for index, row in enumerate(rows, start=1)]
    await bulk.update(connection, tables.status_change, "id", places)
    await connection.execute(sa.update(tables.status_feed).values(last=last + len(rows)))
    return [_change_of(row, last + index) for index, row in enumerate(rows, start=1)]


async def _hold(connection: AsyncConnection) -> int:
    """Lock the feed's row, make it when it is not there, and give the last position."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    await connection.execute(
        insert(tables.status_feed).values(name="status", last=0, purged=0).on_conflict_do_nothing()
    )
    held = await connection.execute(sa.select(_feed.last).with_for_update())
    last: int = held.scalar_one()
    return last


async def read(connection: AsyncConnection, *, after: int, limit: int, organisations: Collection[str] | None) -> Page:
    """Give the changes after a position, of these organisations (None: all), oldest first."""
    feed = (await connection.execute(sa.select(_feed.last, _feed.purged))).one_or_none()
    if feed is None:
        return Page((), after, more=False)
    # `last` is read first: a change that is numbered meanwhile is past it, and on the next page.
    wanted = [_change.position > after, _change.position <= feed.last]
    if organisations is not None:
        wanted.append(_change.organisation.in_(organisations))
    rows = (
        await connection.execute(
            sa.select(tables.status_change, tables.message.c.reference)
            .join_from(tables.status_change, tables.message, _change.message_id == tables.message.c.id)
            .where(*wanted)
            .order_by(_change.position)
            .limit(limit + 1)
        )
    ).all()
    found = tuple(_change_of(row, row.position) for row in rows[:limit])
    more = len(rows) > limit
    return Page(found, found[-1].position if more else max(after, feed.last), more, missed=0 < after < feed.purged)


async def purge(connection: AsyncConnection, now: datetime) -> int:
    """Forget changes older than 90 days; gives how many."""
    await _hold(connection)
    old = [_change.at < now - KEPT, _change.position.is_not(None)]
    upto = (await connection.execute(sa.select(sa.func.max(_change.position)).where(*old))).scalar_one()
    if upto is None:
        return 0
    gone = await connection.execute(sa.delete(tables.status_change).where(*old))
    await connection.execute(sa.update(tables.status_feed).values(purged=upto))
    return gone.rowcount


def _change_of(row: sa.Row[*tuple[Any, ...]], position: int) -> Change:
    return Change(
        position,
        row.message_id,
        row.organisation,
        row.reference,
        Kind(row.kind),
        DeliveryState(row.state),
        row.outcome,
        tuple(row.reasons.split()),
        row.sent_at,
        row.at,
    )
