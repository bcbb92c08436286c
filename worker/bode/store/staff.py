"""What people did that is about no message: kept for ever, and never changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables
from bode.store.vault import Vault, VaultError

_SUBJECT = 64


@dataclass(frozen=True, slots=True)
class StaffAct:
    """An act: who did what to which part of Bode, and why."""

    at: datetime
    who: str
    act: str
    """`lane_stopped`, `lane_set`, `queue_retried`, `zgw_retried`, `database_restored`, `key_rotated` ..."""
    subject: str
    """What it was done to: a lane, a sender and an entry of its queue, the id of a decision or a key, or `database`."""
    reason: str | None = None
    """In the clear; what people typed is sealed before it is recorded, see `under_seal`."""
    detail: str | None = None
    """Old and new values, where it changed some."""
    sealed: bytes | None = None


def under_seal(act: StaffAct, vault: Vault) -> StaffAct:
    """Seal the reason: what people type can name people (ADR 17)."""
    if act.reason is None:
        return act
    return replace(act, reason=None, sealed=vault.seal_staff(_bound(act), act.reason.encode()))


def opened(act: StaffAct, vault: Vault) -> StaffAct:
    """Give an act with its reason in the clear; one that cannot be opened (another key) keeps none."""
    if act.sealed is None:
        return act
    try:
        return replace(act, reason=vault.open_staff(_bound(act), act.sealed).decode(), sealed=None)
    except VaultError:
        return act


def _bound(act: StaffAct) -> str:
    return f"staff act {act.act} {act.subject}"


async def record_act(connection: AsyncConnection, act: StaffAct) -> None:
    """Write an act down, in the transaction of the act itself: there is none without it."""
    row = {
        "at": act.at,
        "who": act.who[:_SUBJECT],
        "act": act.act,
        "subject": act.subject[:_SUBJECT],
        "reason": act.reason,
        "detail": act.detail,
        "sealed": act.sealed,
    }
    await connection.execute(sa.insert(tables.staff_act), [row])


async def read_acts(connection: AsyncConnection, *, most: int) -> list[StaffAct]:
    """Read the latest acts, newest first."""
    column = tables.staff_act.c
    rows = await connection.execute(
        sa.select(column.at, column.who, column.act, column.subject, column.reason, column.detail, column.sealed)
        .order_by(column.id.desc())
        .limit(most)
    )
    return [StaffAct(row.at, row.who, row.act, row.subject, row.reason, row.detail, row.sealed) for row in rows]
