"""Webhooks that are still to arrive: a row per receiver and change, gone when the receiver has it.

The order per message is kept: a row is taken only when no earlier one of its message is left for that receiver,
given up or not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

_hook = tables.webhook_delivery.c


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook in a sender's hands. `attempt` names this one try: who holds another cannot record."""

    subscription: str
    position: int
    event_id: UUID
    body: str
    attempt: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A webhook that did not arrive yet, as it is shown to people."""

    subscription: str
    state: str
    message_id: UUID
    kind: str
    attempt: int
    since: datetime
    answer: str


async def insert(connection: AsyncConnection, rows: Sequence[dict[str, object]]) -> None:
    """Write webhooks, in the transaction that numbers their changes."""
    if rows:
        await connection.execute(sa.insert(tables.webhook_delivery), list(rows))


async def claim(
    connection: AsyncConnection, subscription: str, *, limit: int, now: datetime, until: datetime
) -> list[Due]:
    """Take the webhooks that are due, the first of each message; nobody else takes them before `until`."""
    earlier = tables.webhook_delivery.alias("earlier")
    first = ~sa.exists().where(
        earlier.c.subscription == _hook.subscription,
        earlier.c.message_id == _hook.message_id,
        earlier.c.position < _hook.position,
    )
    rows = (
        await connection.execute(
            sa.select(_hook.position, _hook.event_id, _hook.body, _hook.attempt, _hook.since)
            .where(_hook.subscription == subscription, _hook.state == "waiting", _hook.due_at <= now, first)
            .order_by(_hook.due_at, _hook.position)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if rows:
        await connection.execute(
            sa.update(tables.webhook_delivery)
            .where(_hook.subscription == subscription, _hook.position.in_([row.position for row in rows]))
            .values(attempt=_hook.attempt + 1, due_at=until)
        )
    return [Due(subscription, row.position, row.event_id, row.body, row.attempt + 1, row.since) for row in rows]


def _held(due: Due) -> tuple[sa.ColumnElement[bool], ...]:
    return _hook.subscription == due.subscription, _hook.position == due.position, _hook.attempt == due.attempt


async def arrived(connection: AsyncConnection, due: Due) -> None:
    """Take a webhook off the list: the receiver has it."""
    await connection.execute(sa.delete(tables.webhook_delivery).where(*_held(due)))


async def again(connection: AsyncConnection, due: Due, *, at: datetime, answer: str) -> None:
    """Put a webhook back, to be tried again."""
    await connection.execute(
        sa.update(tables.webhook_delivery).where(*_held(due)).values(due_at=at, answer=answer[:40])
    )


async def give_up(connection: AsyncConnection, before: datetime, now: datetime) -> int:
    """Set apart what has not arrived since before this moment, though it was tried; gives how many."""
    old = sa.update(tables.webhook_delivery).where(_hook.state == "waiting", _hook.since < before, _hook.attempt > 0)
    done = await connection.execute(old.values(state="dead", due_at=now))
    return done.rowcount


async def forget(connection: AsyncConnection, receivers: Collection[str], before: datetime) -> int:
    """Forget what has waited since before this moment for a receiver that is none of these; gives how many.

    Not sooner: a process that was not restarted yet does not know a new receiver.
    """
    old = sa.delete(tables.webhook_delivery).where(_hook.subscription.not_in(receivers), _hook.since < before)
    return (await connection.execute(old)).rowcount


async def replay(connection: AsyncConnection, subscription: str, now: datetime) -> int:
    """Have everything that was given up for one receiver sent again; gives how many."""
    done = await connection.execute(
        sa.update(tables.webhook_delivery)
        .where(_hook.subscription == subscription, _hook.state == "dead")
        .values(state="waiting", attempt=0, due_at=now, since=now)
    )
    return done.rowcount


async def waiting(connection: AsyncConnection, *, limit: int) -> list[Waiting]:
    """Give what did not arrive yet, what was given up first."""
    rows = await connection.execute(
        sa.select(tables.webhook_delivery).order_by(_hook.state, _hook.subscription, _hook.position).limit(limit)
    )
    return [
        Waiting(row.subscription, row.state, row.message_id, row.kind, row.attempt, row.since, row.answer or "")
        for row in rows
    ]
