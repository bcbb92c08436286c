"""How much organisations sent, and what waits because it was too much: what `bode.domain.volume` decides on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.volume import DAYS, Volume, VolumeRule, usual_day
from bode.store import bulk, tables

SLOTS = 16
"""Rows that count an organisation's day together: transactions beside each other mostly write another one."""
_LETTER_SLOT = 0
_count, _hold = tables.volume_count.c, tables.volume_hold.c


async def add_messages(connection: AsyncConnection, organisation: str, day: date, messages: int, *, slot: int) -> None:
    """Count messages."""
    await _add(connection, organisation, day, slot % SLOTS, messages=messages)


async def _add(
    connection: AsyncConnection, organisation: str, day: date, slot: int, *, messages: int = 0, letters: int = 0
) -> None:
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    table = tables.volume_count
    row = make(table).values(organisation=organisation, day=day, slot=slot, messages=messages, letters=letters)
    more = {"messages": _count.messages + messages, "letters": _count.letters + letters}
    where = [_count.organisation, _count.day, _count.slot]
    await connection.execute(row.on_conflict_do_update(index_elements=where, set_=more))


async def messages_volume(connection: AsyncConnection, organisation: str, day: date, *, with_usual: bool) -> Volume:
    """Give what the organisation sent; `with_usual`: of the days before, too."""
    today = await _today(connection, organisation, day, _count.messages)
    usual = usual_day(await _days_before(connection, organisation, day)) if with_usual else 0.0
    waiting, decided = await _holds(connection, organisation, day)
    return Volume(today, usual, decided, waiting)


async def letters_volume(connection: AsyncConnection, organisation: str, day: date) -> Volume:
    """Give the letters of the organisation; who asks holds their count until the transaction ends."""
    await _add(connection, organisation, day, _LETTER_SLOT)  # locks the row, and makes it
    today = await _today(connection, organisation, day, _count.letters)
    waiting, decided = await _holds(connection, organisation, day)
    return Volume(today, 0.0, decided, waiting)


async def add_letters(connection: AsyncConnection, organisation: str, day: date, letters: int) -> None:
    """Count letters."""
    await _add(connection, organisation, day, _LETTER_SLOT, letters=letters)


async def _today(connection: AsyncConnection, organisation: str, day: date, column: sa.ColumnElement[int]) -> int:
    total = sa.select(sa.func.coalesce(sa.func.sum(column), 0))
    found = await connection.execute(total.where(_count.organisation == organisation, _count.day == day))
    return int(found.scalar_one())


async def _days_before(connection: AsyncConnection, organisation: str, day: date) -> list[int]:
    rows = await connection.execute(
        sa.select(sa.func.sum(_count.messages))
        .where(_count.organisation == organisation, _count.day < day, _count.day >= day - timedelta(days=DAYS))
        .group_by(_count.day)
    )
    return [int(total) for total in rows.scalars()]


async def _holds(
    connection: AsyncConnection, organisation: str, day: date
) -> tuple[frozenset[VolumeRule], dict[VolumeRule, int]]:
    """Give the rules that wait for a person, and how many had come when the others were decided today."""
    rows = await connection.execute(
        sa.select(_hold.rule, _hold.decided_at, _hold.counted)
        .where(_hold.organisation == organisation, sa.or_(_hold.decided_at.is_(None), _hold.day == day))
        .order_by(_hold.id)
    )
    waiting: set[VolumeRule] = set()
    decided: dict[VolumeRule, int] = {}
    for row in rows:
        if row.decided_at is None:
            waiting.add(VolumeRule(row.rule))
        else:
            decided[VolumeRule(row.rule)] = row.counted
    return frozenset(waiting), decided


async def to_addressees(
    connection: AsyncConnection, organisation: str, addressees: Mapping[bytes, bytes], since: datetime
) -> dict[bytes, int]:
    """Count the messages to each addressee since then; every hash that one may be kept under stands for the newest.

    Those from before a person last decided about an addressee of this organisation do not count.
    """
    decided = await connection.execute(
        sa.select(sa.func.max(_hold.decided_at)).where(
            _hold.organisation == organisation, _hold.rule == VolumeRule.ADDRESSEE
        )
    )
    last = decided.scalar_one()
    message = tables.message.c
    rows = await connection.execute(
        sa.select(message.addressee_hash, sa.func.count())
        .where(
            bulk.among(connection, message.addressee_hash, list(addressees)),
            message.organisation == organisation,
            message.accepted_at > (max(since, last) if last is not None else since),
        )
        .group_by(message.addressee_hash)
    )
    found: dict[bytes, int] = {}
    for addressee_hash, count in rows:
        who = addressees[bytes(addressee_hash)]
        found[who] = found.get(who, 0) + count
    return found


async def open_hold(connection: AsyncConnection, organisation: str, rule: VolumeRule, now: datetime) -> bool:
    """Let a rule hold until a person decides; false when it does already."""
    try:
        async with connection.begin_nested():
            await connection.execute(
                sa.insert(tables.volume_hold).values(organisation=organisation, rule=rule, opened_at=now)
            )
    except IntegrityError:
        return False
    return True


async def decide(
    connection: AsyncConnection, organisation: str, rules: Collection[VolumeRule], day: date, now: datetime
) -> list[VolumeRule]:
    """Let these rules hold no longer what comes, and count anew from here; gives those that did."""
    decided: list[VolumeRule] = []
    for rule in sorted(rules):
        column = _count.letters if rule is VolumeRule.LETTERS else _count.messages
        counted = await _today(connection, organisation, day, column)
        changed = await connection.execute(
            sa.update(tables.volume_hold)
            .where(_hold.organisation == organisation, _hold.rule == rule, _hold.decided_at.is_(None))
            .values(decided_at=now, day=day, counted=counted)
        )
        if changed.rowcount:
            decided.append(rule)
    return decided


@dataclass(frozen=True, slots=True)
class Held:
    """What waits of one organisation, by one rule, from one application."""

    organisation: str
    rule: VolumeRule
    application: str | None
    messages: int
    since: datetime
    """When the first of them was accepted; where nothing waits, when the rule began to hold."""
    holds_all: bool
    """Whether what comes next is held too."""


async def held(connection: AsyncConnection) -> list[Held]:
    """Give what waits, and the rules that hold although nothing has come since."""
    delivery, message = tables.delivery.c, tables.message.c
    rows = await connection.execute(
        sa.select(
            delivery.organisation,
            delivery.held,
            message.application,
            sa.func.count().label("messages"),
            sa.func.min(message.accepted_at).label("since"),
        )
        .join_from(tables.delivery, tables.message, message.id == delivery.message_id)
        .where(delivery.held.is_not(None))
        .group_by(delivery.organisation, delivery.held, message.application)
        .order_by(delivery.organisation, delivery.held, message.application)
    )
    holds = await connection.execute(
        sa.select(_hold.organisation, _hold.rule, _hold.opened_at).where(_hold.decided_at.is_(None))
    )
    waiting = {(row.organisation, row.rule): row.opened_at for row in holds}
    found = [
        Held(
            row.organisation,
            VolumeRule(row.held),
            row.application,
            row.messages,
            row.since,
            (row.organisation, row.held) in waiting,
        )
        for row in rows
    ]
    seen = {(one.organisation, str(one.rule)) for one in found}
    empty = [
        Held(organisation, VolumeRule(rule), None, 0, at, holds_all=True)
        for (organisation, rule), at in sorted(waiting.items())
        if (organisation, rule) not in seen
    ]
    return found + empty


async def held_ids(
    connection: AsyncConnection,
    organisation: str,
    rules: Collection[VolumeRule],
    *,
    application: str | None,
    after: UUID | None,
    limit: int,
) -> list[UUID]:
    """Give messages that wait, in the order of their ids."""
    delivery, message = tables.delivery.c, tables.message.c
    query = (
        sa.select(delivery.message_id)
        .where(delivery.organisation == organisation, delivery.held.in_({str(rule) for rule in rules}))
        .order_by(delivery.message_id)
        .limit(limit)
    )
    if application is not None:
        query = query.join_from(tables.delivery, tables.message, message.id == delivery.message_id).where(
            message.application == application
        )
    if after is not None:
        query = query.where(delivery.message_id > after)
    return list((await connection.execute(query)).scalars())
