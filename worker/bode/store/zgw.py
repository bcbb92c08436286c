"""Decisions in a zaaksysteem's registers: what is still to be fetched, sent or written back, and what became of each.

A row per decision. It stays when all is done, so that a notification that comes again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

_row = tables.zgw_decision.c


class State(StrEnum):
    """Where a decision stands."""

    NEW = "new"
    """To be fetched."""
    WAITING = "waiting"
    """A document is not final, or a register did not answer: looked at again."""
    REFUSED = "refused"
    """No message can be made of it: a person mends that and has it tried again (`bode zgw retry`), or dealt with it by
    other means (`bode zgw handled`)."""
    ACCEPTED = "accepted"
    """There is a message; its sending is waited for."""
    WRITING = "writing"
    """It was sent, and the registers are to be told."""
    WRITTEN = "written"
    """Nothing is left to do: the registers were told, or a person dealt with it (`answer` is `handled`, perhaps without
    a message). Another time of sending (L8) makes it `writing` again."""


_TO_DO = [str(state) for state in (State.NEW, State.WAITING, State.WRITING)]
_BEFORE = [str(state) for state in (State.NEW, State.WAITING, State.REFUSED)]
_SENT = [str(state) for state in (State.ACCEPTED, State.WRITTEN)]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision. `attempt` names this one try: who holds another cannot record."""

    id: int
    source: str
    url: str
    state: State
    attempt: int
    since: datetime
    due_at: datetime
    answer: str
    late: bool
    """A document was linked to it after it was sent: a person looks."""
    message_id: UUID | None
    told: Mapping[str, Any]
    """What is kept to write back: `role`, `contact`, `documents`, `links`."""


def _decision(row: Any) -> Decision:
    return Decision(
        row.id,
        row.source,
        row.url,
        State(row.state),
        row.attempt,
        row.since,
        row.due_at,
        row.answer or "",
        row.late,
        row.message_id,
        msgspec.json.decode(row.told) if row.told else {},
    )


async def wake(
    connection: AsyncConnection, source: str, url: str, *, link: str | None, now: datetime, due_at: datetime
) -> bool:
    """Take note of a decision, new or known; tells whether it is a document too late for the message that was made.

    `link` is the document's link that a notification is about; the poller names none, and wakes nothing that is known.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    added = await connection.execute(
        insert(tables.zgw_decision)
        .values(source=source, url=url, state=str(State.NEW), attempt=0, since=now, due_at=due_at, late=False)
        .on_conflict_do_nothing()
    )
    if added.rowcount > 0 or link is None:
        return False
    found = await connection.execute(
        sa.select(tables.zgw_decision).where(_row.source == source, _row.url == url).with_for_update()
    )
    known = _decision(found.one())
    values: dict[str, object]
    if known.state in _BEFORE:
        values = {"state": str(State.NEW), "attempt": known.attempt + 1, "due_at": due_at}
    elif link not in known.told.get("links", ()) and not known.late:
        values = {"late": True}
    else:
        return False
    await connection.execute(sa.update(tables.zgw_decision).where(_row.id == known.id).values(**values))
    return "late" in values


async def claim(connection: AsyncConnection, *, limit: int, now: datetime, until: datetime) -> list[Decision]:
    """Take what is due; nobody else takes it before `until`."""
    rows = (
        await connection.execute(
            sa.select(tables.zgw_decision)
            .where(_row.state.in_(_TO_DO), _row.due_at <= now)
            .order_by(_row.due_at, _row.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if rows:
        await connection.execute(
            sa.update(tables.zgw_decision)
            .where(_row.id.in_([row.id for row in rows]))
            .values(attempt=_row.attempt + 1, due_at=until)
        )
    return [_decision(row) for row in rows]


async def record(connection: AsyncConnection, held: Decision, **values: object) -> bool:
    """Record what came of a try, as `claim` gave it; false when somebody else has it now."""
    told = values.pop("told", None)
    if told is not None:
        values["told"] = msgspec.json.encode(told).decode()
    done = await connection.execute(
        sa.update(tables.zgw_decision)
        .where(_row.id == held.id, _row.attempt == held.attempt + 1)
        .values(**{name: str(value) if name == "state" else value for name, value in values.items()})
    )
    return done.rowcount > 0


async def sent(connection: AsyncConnection, *, limit: int, now: datetime) -> int:
    """Find messages that were sent, or at another time than was written, and have that written; gives how many."""
    delivery = tables.delivery.c
    found = (
        await connection.execute(
            sa.select(_row.id, delivery.sent_at)
            .join_from(tables.zgw_decision, tables.delivery, _row.message_id == delivery.message_id)
            .where(
                _row.state.in_(_SENT),
                delivery.sent_at.is_not(None),
                sa.or_(_row.sent_at.is_(None), _row.sent_at != delivery.sent_at),
            )
            .order_by(_row.id)
            .limit(limit)
            .with_for_update(of=tables.zgw_decision, skip_locked=True)
        )
    ).all()
    for row in found:
        await connection.execute(
            sa.update(tables.zgw_decision)
            .where(_row.id == row.id)
            .values(state=str(State.WRITING), sent_at=row.sent_at, due_at=now, since=now, attempt=_row.attempt + 1)
        )
    return len(found)


async def retry(connection: AsyncConnection, url: str, now: datetime) -> int:
    """Have a decision looked at again now; gives how many there were with this address, or the end of it."""
    done = await connection.execute(
        sa.update(tables.zgw_decision)
        .where(
            sa.or_(_row.url == url, _row.url.endswith(f"/{url}", autoescape=True)),
            _row.state.in_([*_BEFORE, str(State.WRITING)]),
        )
        .values(
            state=sa.case((_row.state == str(State.WRITING), str(State.WRITING)), else_=str(State.NEW)),
            due_at=now,
            attempt=_row.attempt + 1,
        )
    )
    return done.rowcount


async def handled(connection: AsyncConnection, url: str, now: datetime) -> int:
    """Take note that a person dealt with a decision by other means: nothing more is done for it; gives how many.

    A notification about it that comes later is shown as late: no one knows which documents that person saw. A worker
    that has it in hand at this moment still records what came of that: a message that was made after all is not hidden.
    """
    done = await connection.execute(
        sa.update(tables.zgw_decision)
        .where(
            sa.or_(_row.url == url, _row.url.endswith(f"/{url}", autoescape=True)),
            _row.state.in_([*_BEFORE, str(State.WRITING)]),
        )
        .values(state=str(State.WRITTEN), answer="handled", since=now)
    )
    return done.rowcount


async def seen(connection: AsyncConnection, url: str) -> int:
    """Take note that a person saw the late document of a decision; gives how many."""
    which = sa.or_(_row.url == url, _row.url.endswith(f"/{url}", autoescape=True))
    done = await connection.execute(sa.update(tables.zgw_decision).where(which, _row.late).values(late=False))
    return done.rowcount


async def read(connection: AsyncConnection, *, states: Sequence[State], limit: int) -> list[Decision]:
    """Give decisions in these states, and those with a late document, the ones that wait longest first."""
    rows = await connection.execute(
        sa.select(tables.zgw_decision)
        .where(sa.or_(_row.state.in_([str(state) for state in states]), _row.late))
        .order_by(_row.since, _row.id)
        .limit(limit)
    )
    return [_decision(row) for row in rows]


async def counts(connection: AsyncConnection) -> list[tuple[str, str, int, datetime]]:
    """Count decisions by source and state, with the oldest `since` of each; those with a late document as `late`."""
    state = sa.case((_row.late, "late"), else_=_row.state)
    rows = await connection.execute(
        sa.select(_row.source, state, sa.func.count(), sa.func.min(_row.since)).group_by(_row.source, state)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]
