"""Finding messages: by what staff know of them, in an order that can be read on page by page at any size."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.parts import DeliveryState, Outcome
from bode.store import tables

_message, _delivery = tables.message.c, tables.delivery.c
_MOST_APART = 100
"""Up to so many bodies are each read through an index of their own, and then put together."""


class Order(StrEnum):
    """In which order messages come."""

    NEWEST = "newest"
    DEADLINE = "deadline"
    """The nearest end of the 48 hours first; messages without one are left out."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for; nothing is no limit. A person or address is known by its keyed hash alone."""

    organisations: Collection[str]
    id: UUID | None = None
    reference: str | None = None
    case: str | None = None
    hash: bytes | None = None
    state: DeliveryState | None = None
    box: str | None = None
    bounce: str | None = None
    letter: str | None = None
    letter_since: datetime | None = None
    deadline_before: datetime | None = None
    order: Order = Order.NEWEST


@dataclass(frozen=True, slots=True)
class Row:
    """A message as a list shows it."""

    id: UUID
    reference: str
    organisation: str
    nature: str
    case: str | None
    state: DeliveryState
    outcome: Outcome
    notice_deadline_at: datetime | None
    accepted_at: datetime
    updated_at: datetime


Place = tuple[datetime, UUID]
"""The last row of a page, as its order sees it: the time and the id."""


def place(row: Row, order: Order) -> Place | None:
    """Give where the page after this row starts."""
    at = row.accepted_at if order is Order.NEWEST else row.notice_deadline_at
    return (at, row.id) if at is not None else None


async def find(connection: AsyncConnection, sought: Sought, *, after: Place | None = None, limit: int) -> list[Row]:
    """Give the messages that are looked for, from after that place on."""
    return [_row(row) for row in await connection.execute(_query(sought, after, limit))]


async def ids(connection: AsyncConnection, sought: Sought, *, most: int) -> list[UUID]:
    """Give the ids of all messages that are looked for, up to `most`."""
    found = _query(sought, None, most).subquery()
    return list((await connection.execute(sa.select(found.c.id))).scalars())


def _query(sought: Sought, after: Place | None, limit: int) -> sa.Select[*tuple[Any, ...]]:
    organisations = sorted(set(sought.organisations))
    few = any(item is not None for item in (sought.id, sought.reference, sought.case, sought.hash))
    if few or not 1 < len(organisations) <= _MOST_APART:
        found = _of(sought, organisations, after, limit).subquery()
    else:
        apart = [_of(sought, [one], after, limit).subquery() for one in organisations]
        together = sa.union_all(*(sa.select(part) for part in apart)).subquery()
        found = sa.select(together).order_by(*_order(sought.order, together.c)).limit(limit).subquery()
    # What stands in `message` is read for the rows of the page alone.
    query = sa.select(
        found.c.message_id.label("id"),
        _message.reference,
        found.c.organisation,
        _message.nature,
        _message.case_reference,
        found.c.state,
        found.c.outcome,
        found.c.notice_deadline_at,
        found.c.accepted_at,
        found.c.updated_at,
    ).join_from(found, tables.message, found.c.message_id == _message.id)
    return query.order_by(*_order(sought.order, found.c))


def _of(sought: Sought, organisations: Sequence[str], after: Place | None, limit: int) -> sa.Select[*tuple[Any, ...]]:
    query = sa.select(
        _delivery.message_id,
        _delivery.organisation,
        _delivery.state,
        _delivery.outcome,
        _delivery.notice_deadline_at,
        _delivery.accepted_at,
        _delivery.updated_at,
    )
    at = _delivery.accepted_at if sought.order is Order.NEWEST else _delivery.notice_deadline_at
    number = _delivery.message_id
    if sought.reference is not None or sought.case is not None:
        query = query.join_from(tables.delivery, tables.message, _delivery.message_id == _message.id)
        if sought.order is Order.NEWEST:
            at, number = _message.accepted_at, _message.id  # the same, and the index of a case has them in this order
    query = query.where(*_wanted(sought, organisations))
    if after is not None:
        here, there = sa.tuple_(at, number), sa.tuple_(*_bound(*after))
        query = query.where(here < there if sought.order is Order.NEWEST else here > there)
    return query.order_by(*_in_order(sought.order, at, number)).limit(limit)


def _bound(at: datetime, last: UUID) -> tuple[sa.BindParameter[Any], sa.BindParameter[Any]]:
    return sa.bindparam(None, at, tables.UtcDateTime), sa.bindparam(None, last, sa.Uuid)


def _order(order: Order, columns: Any) -> tuple[sa.ColumnElement[Any], ...]:
    at = columns["accepted_at" if order is Order.NEWEST else "notice_deadline_at"]
    return _in_order(order, at, columns["message_id"])


def _in_order(order: Order, at: Any, number: Any) -> tuple[sa.ColumnElement[Any], ...]:
    return (at.desc(), number.desc()) if order is Order.NEWEST else (at.asc(), number.asc())


def _wanted(  # noqa: C901 - a table of limits
    sought: Sought, organisations: Sequence[str]
) -> list[sa.ColumnElement[bool]]:
    one = len(organisations) == 1
    wanted: list[sa.ColumnElement[bool]] = [
        _delivery.organisation == organisations[0] if one else _delivery.organisation.in_(organisations)
    ]
    if sought.id is not None:
        wanted.append(_delivery.message_id == sought.id)
    if sought.reference is not None:
        # The unique index has the organisation first.
        wanted += [_message.reference == sought.reference, _message.organisation.in_(organisations)]
    if sought.case is not None:
        wanted.append(_message.case_reference == sought.case)
    if sought.hash is not None:
        wanted.append(_delivery.message_id.in_(_with_hash(_cut(sought.hash))))
    if sought.state is not None:
        wanted.append(in_state(sought.state))
    for column, value in (
        (_delivery.box, sought.box),
        (_delivery.bounce, sought.bounce),
        (_delivery.letter, sought.letter),
    ):
        if value is not None:
            wanted.append(column == value)
    if sought.letter_since is not None:
        wanted.append(_delivery.letter_at >= sought.letter_since)
    if sought.order is Order.DEADLINE or sought.deadline_before is not None:
        # Nothing that is done has a deadline: said as the index of open deliveries says it.
        wanted += [is_open(), _delivery.notice_deadline_at.is_not(None)]
    if sought.deadline_before is not None:
        wanted.append(_delivery.notice_deadline_at < sought.deadline_before)
    return wanted


def in_state(state: DeliveryState) -> sa.ColumnElement[bool]:
    """Compare with the state as it stands in the statement: only then does the index of open deliveries apply."""
    same = _delivery.state == sa.literal(str(state), literal_execute=True)
    return same if state is DeliveryState.DONE else same & is_open()


def is_open() -> sa.ColumnElement[bool]:
    """Tell what is not done, as the indexes of open deliveries say it."""
    return _delivery.state != sa.literal("done", literal_execute=True)


def _cut(hashes: bytes) -> list[bytes]:
    return [hashes[start : start + 32] for start in range(0, len(hashes), 32)]


def _with_hash(hashes: Sequence[bytes]) -> sa.CompoundSelect[Any]:
    return sa.union(
        sa.select(_message.id).where(_message.addressee_hash.in_(hashes)),
        sa.select(_message.id).where(_message.email_hash.in_(hashes)),
        sa.select(tables.found_address.c.message_id).where(tables.found_address.c.email_hash.in_(hashes)),
    )


def _row(row: sa.Row[*tuple[Any, ...]]) -> Row:
    return Row(
        row.id,
        row.reference,
        row.organisation,
        row.nature,
        row.case_reference,
        DeliveryState(row.state),
        Outcome(row.outcome),
        row.notice_deadline_at,
        row.accepted_at,
        row.updated_at,
    )
