"""What people did, looked at, or were refused: kept for ever, and never changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables
from bode.store.vault import Vault, VaultError

_SUBJECT = 64
_act = tables.staff_act.c

REFUSED = "refused"
"""The outcome of what somebody was not allowed to do."""


@dataclass(frozen=True, slots=True)
class StaffAct:
    """An act: who did what to what, and why. The reason of an act about a message is sealed in that message's event."""

    at: datetime
    who: str
    act: str
    """`lane_stopped`, `lane_set`, `queue_retried`, `zgw_retried`, `database_restored`, `key_rotated`, `login` ..."""
    subject: str
    """What it was done to: a lane, a sender and an entry of its queue, the id of a decision or a key, or `database`."""
    reason: str | None = None
    """What they typed. It can name people, and is sealed where it is kept (ADR 17)."""
    detail: str | None = None
    """Old and new values, where it changed some."""
    organisation: str | None = None
    message_id: UUID | None = None
    outcome: str | None = None
    """None: it was done."""
    id: int = 0


async def record_act(connection: AsyncConnection, vault: Vault, *acts: StaffAct) -> None:
    """Write acts down, their reasons sealed, in the transaction of the acts themselves: there is none without it."""
    rows = [
        {
            "at": act.at,
            "who": act.who[:_SUBJECT],
            "act": act.act,
            "subject": act.subject[:_SUBJECT],
            "detail": act.detail,
            "sealed": vault.seal_staff(_bound(act.act, act.subject), act.reason.encode()) if act.reason else None,
            "organisation": act.organisation,
            "message_id": act.message_id,
            "outcome": act.outcome,
        }
        for act in acts
    ]
    if rows:
        await connection.execute(sa.insert(tables.staff_act), rows)


@dataclass(frozen=True, slots=True)
class ActFilter:
    """Which acts are asked for; nothing is no limit."""

    who: str | None = None
    act: str | None = None
    outcome: str | None = None
    message_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    organisations: Collection[str] | None = None
    """Acts about messages of these, and those about no message; None: all."""


async def read_acts(
    connection: AsyncConnection,
    vault: Vault,
    *,
    most: int,
    chosen: ActFilter | None = None,
    before: int | None = None,
) -> list[StaffAct]:
    """Read acts, newest first; `before` is the id of the last one already seen.

    A reason that cannot be opened (another key) is left out.
    """
    wanted = _wanted(chosen or ActFilter())
    if before is not None:
        last = sa.select(_act.at).where(_act.id == before).scalar_subquery()
        wanted.append(sa.tuple_(_act.at, _act.id) < sa.tuple_(last, sa.bindparam(None, before, sa.BigInteger)))
    rows = await connection.execute(
        sa.select(tables.staff_act).where(*wanted).order_by(_act.at.desc(), _act.id.desc()).limit(most)
    )
    return [_read(row, vault) for row in rows]


def _wanted(chosen: ActFilter) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if chosen.who is not None:
        wanted.append(_act.who == chosen.who)
    if chosen.act is not None:
        wanted.append(_act.act == chosen.act)
    if chosen.outcome is not None:
        wanted += [_act.outcome == chosen.outcome, _act.outcome.is_not(None)]  # as its index says it
    if chosen.message_id is not None:
        wanted.append(_act.message_id == chosen.message_id)
    if chosen.since is not None:
        wanted.append(_act.at >= chosen.since)
    if chosen.until is not None:
        wanted.append(_act.at < chosen.until)
    if chosen.organisations is not None:
        wanted.append(_act.organisation.is_(None) | _act.organisation.in_(set(chosen.organisations)))
    return wanted


def _read(row: sa.Row[*tuple[Any, ...]], vault: Vault) -> StaffAct:
    return StaffAct(
        row.at,
        row.who,
        row.act,
        row.subject,
        _reason(row, vault),
        row.detail,
        row.organisation,
        row.message_id,
        row.outcome,
        row.id,
    )


def _reason(row: sa.Row[*tuple[Any, ...]], vault: Vault) -> str | None:
    if row.sealed is None:
        reason: str | None = row.reason  # in the clear: of an act from before reasons were sealed
        return reason
    try:
        return vault.open_staff(_bound(row.act, row.subject), row.sealed).decode()
    except VaultError:
        return None


def _bound(act: str, subject: str) -> str:
    return f"staff act {act} {subject}"
