"""What the overview counts: per lane, per body, per hour. Each has a bound, so that it is quick at any size."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.parts import DeliveryState
from bode.store import tables
from bode.store.search import in_state, is_open

MOST_COUNTED = 10_000
"""More than this is read as 'many'."""
_MOST_DONE = 1_000
"""What is done is in no index of its own, and how much it is tells nobody what to do."""
HOURS = 24

_ORDER = (
    DeliveryState.NEEDS_PERSON,
    DeliveryState.UNDER_WAY,
    DeliveryState.SCHEDULED,
    DeliveryState.DONE,
    DeliveryState.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class LaneStands:
    """How a lane stands; lanes work for all bodies together."""

    name: str
    stopped_at: datetime | None
    reason: str | None
    ready: int
    in_hand: int
    oldest_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class BodyStands:
    """How a body's messages stand."""

    organisation: str
    waiting_for_person: int
    un_noticed: int
    next_deadline_at: datetime | None
    oldest_placed_at: datetime | None
    """Since when the oldest message without its notice is accessible."""
    mails: int
    """Mails that left in the last hours."""
    failed: dict[str, int]
    """Mails that bounced hard in the last hours, by reason."""


@dataclass(frozen=True, slots=True)
class Hour:
    """Mails of an hour."""

    begins_at: datetime
    mails: int
    bounced: int


@dataclass(frozen=True, slots=True)
class Counted:
    """How many messages are in a state."""

    state: DeliveryState
    number: int
    more: bool
    """There are more: counting stopped here."""


async def states(connection: AsyncConnection, organisations: Collection[str]) -> list[Counted]:
    """Count the messages per state, each up to a bound."""
    counts: list[Counted] = []
    for state in _ORDER:
        most = _MOST_DONE if state is DeliveryState.DONE else MOST_COUNTED
        some = sa.select(sa.literal(1)).where(
            in_state(state), tables.delivery.c.organisation.in_(sorted(organisations))
        )
        found = await connection.scalar(sa.select(sa.func.count()).select_from(some.limit(most + 1).subquery()))
        counts.append(Counted(state, min(found or 0, most), (found or 0) > most))
    return counts


async def lanes(connection: AsyncConnection, names: Sequence[str]) -> list[LaneStands]:
    """Tell how each lane stands."""
    step, lane = tables.step.c, tables.lane.c
    rows = await connection.execute(sa.select(lane.name, lane.stopped_at, lane.reason))
    known = {row.name: row for row in rows}
    ready = sa.literal_column("'ready'", sa.String)
    leased = sa.literal_column("'leased'", sa.String)
    number = sa.func.count().label("number")
    leases = await connection.execute(sa.select(step.lane, number).where(step.state == leased).group_by(step.lane))
    held: dict[str, int] = {row.lane: row.number for row in leases}
    found: list[LaneStands] = []
    for name in names:
        some = sa.select(step.due_at).where(step.state == ready, step.lane == name).limit(MOST_COUNTED + 1).subquery()
        count, oldest = (await connection.execute(sa.select(sa.func.count(), sa.func.min(some.c.due_at)))).one()
        row = known.get(name)
        found.append(
            LaneStands(
                name,
                row.stopped_at if row is not None else None,
                row.reason if row is not None else None,
                count,
                held.get(name, 0),
                oldest,
            )
        )
    return found


async def bodies(
    connection: AsyncConnection, organisations: Collection[str], now: datetime, notice_within: timedelta
) -> list[BodyStands]:
    """Tell how each body's messages stand."""
    since = now - timedelta(hours=HOURS)
    found: list[BodyStands] = []
    mails = await _by(connection, tables.mail_count.c.organisation, organisations, since)
    bounce = tables.hard_bounce.c
    failed: dict[str, dict[str, int]] = {}
    for organisation, reason, count in await connection.execute(
        sa.select(bounce.organisation, bounce.reason, sa.func.count())
        .where(bounce.bounced_at >= since, bounce.organisation.in_(sorted(organisations)))
        .group_by(bounce.organisation, bounce.reason)
    ):
        failed.setdefault(organisation, {})[reason] = count
    if not organisations:
        return found
    for row in await connection.execute(_stands(sorted(organisations))):
        deadline = row.deadline
        found.append(
            BodyStands(
                row.organisation,
                row.waiting,
                row.un_noticed,
                deadline,
                deadline - notice_within if deadline is not None else None,
                mails.get(row.organisation, 0),
                failed.get(row.organisation, {}),
            )
        )
    return found


def _stands(organisations: Sequence[str]) -> sa.Select[*tuple[Any, ...]]:
    """Ask for all bodies in one statement: counts up to the bound, and the nearest deadline, each from an index."""
    delivery = tables.delivery.c
    body = sa.union_all(*(sa.select(sa.literal(one).label("organisation")) for one in organisations)).subquery()
    mine = delivery.organisation == body.c.organisation
    has_deadline = sa.and_(mine, is_open(), delivery.notice_deadline_at.is_not(None))

    def counted(*wanted: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        some = sa.select(delivery.message_id).where(*wanted).limit(MOST_COUNTED + 1).correlate(body).subquery()
        return sa.select(sa.func.count()).select_from(some).correlate(body).scalar_subquery()

    nearest = sa.select(delivery.notice_deadline_at).where(has_deadline).order_by(delivery.notice_deadline_at).limit(1)
    return sa.select(
        body.c.organisation,
        counted(mine, in_state(DeliveryState.NEEDS_PERSON)).label("waiting"),
        counted(has_deadline).label("un_noticed"),
        nearest.correlate(body).scalar_subquery().label("deadline"),
    ).order_by(body.c.organisation)


async def hours(connection: AsyncConnection, organisations: Collection[str], now: datetime) -> list[Hour]:
    """Give the mails of the last hours, the oldest first."""
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
    mails = await _by(connection, tables.mail_count.c.hour, organisations, begins[0])
    bounce = tables.hard_bounce.c
    bounced: dict[datetime, int] = {}
    rows = await connection.execute(
        sa.select(bounce.bounced_at)
        .where(bounce.bounced_at >= begins[0], bounce.organisation.in_(sorted(organisations)))
        .limit(MOST_COUNTED)
    )
    for (at,) in rows:
        hour = at.replace(minute=0, second=0, microsecond=0)
        bounced[hour] = bounced.get(hour, 0) + 1
    return [Hour(begin, mails.get(begin, 0), bounced.get(begin, 0)) for begin in begins]


async def _by(
    connection: AsyncConnection, column: sa.Column[object], organisations: Collection[str], since: datetime
) -> dict[object, int]:
    count = tables.mail_count.c
    rows = await connection.execute(
        sa.select(column, sa.func.sum(count.sent))
        .where(count.hour >= since, count.organisation.in_(sorted(organisations)))
        .group_by(column)
    )
    return {key: int(number) for key, number in rows}
