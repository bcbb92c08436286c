"""Work to be done: claim in bulk, finish with a fencing token, promote what is due, find what was left behind.

Lock order, everywhere: deliveries first, then steps. A claim takes steps alone and skips what is locked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.decision import Action, Step
from bode.store import bulk, tables

_step = tables.step.c
# Written into the statements, not passed beside them: else a prepared statement's plan cannot use a partial index.
_WAITING, _READY, _LEASED = (sa.literal_column(f"'{state}'", sa.String) for state in ("waiting", "ready", "leased"))

_LEASE = (_step.id, _step.fence, _step.message_id, _step.part, _step.action, _step.lane, _step.call, _step.deadline_at)


@dataclass(frozen=True, slots=True)
class Leased:
    """A step in a worker's hands. `(id, fence)` names this one lease: whoever holds another fence cannot record."""

    id: int
    fence: int
    message_id: UUID
    part: str
    action: Action
    lane: str
    call: UUID | None
    called_at: datetime
    """When this lease was taken: no call of it was made before."""
    deadline_at: datetime


def row_of(step: Step, message_id: UUID, now: datetime) -> dict[str, object]:
    """Give the row of a new step: ready when it is due now, waiting otherwise."""
    return {
        "message_id": message_id,
        "part": step.part,
        "action": str(step.action),
        "lane": step.lane,
        "state": "ready" if step.due_at is not None and step.due_at <= now else "waiting",
        "due_at": step.due_at,
        "deadline_at": step.deadline_at,
        "wake_at": step.wake_at,
        "call": UUID(step.call) if step.call is not None else None,
        "fence": 0,
    }


async def claim(
    connection: AsyncConnection,
    *,
    lane: str,
    limit: int,
    owner: str,
    lease_until: datetime,
    now: datetime,
    only_before: datetime | None = None,
) -> list[Leased]:
    """Take the most urgent ready steps of a lane, none when it is stopped. Steps of one earlier call come together.

    `only_before`: only steps whose deadline is before this moment, as in the lane's quiet hours.
    """
    stopped = sa.select(tables.lane.c.name).where(tables.lane.c.name == lane, tables.lane.c.stopped_at.is_not(None))
    chosen = (
        sa.select(_step.id)
        .where(_step.lane == lane, _step.state == _READY, ~sa.exists(stopped), *_urgent(only_before))
        .order_by(_step.deadline_at, _step.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    leased = await _lease(connection, chosen, owner, lease_until, now)
    calls = {item.call for item in leased if item.call is not None}
    if calls:
        # A call is repeated whole: its other members come along, whatever the limit.
        rest = (
            sa.select(_step.id)
            .where(_step.lane == lane, _step.state == _READY, bulk.among(connection, _step.call, calls))
            .with_for_update(skip_locked=True)
        )
        leased += await _lease(connection, rest, owner, lease_until, now)
    leased.sort(key=lambda item: (item.deadline_at, item.id))
    return leased


def _urgent(only_before: datetime | None) -> list[sa.ColumnElement[bool]]:
    return [_step.deadline_at < only_before] if only_before is not None else []


_FIRST_PROBE_SECONDS, _LAST_PROBE_SECONDS, _PROBES = 60, 4 * 3600, 3


async def claim_probe(
    connection: AsyncConnection,
    *,
    lane: str,
    owner: str,
    lease_until: datetime,
    now: datetime,
    real_now: datetime,
    only_before: datetime | None = None,
) -> list[Leased]:
    """Take a few steps of a stopped lane whose time to be tried has come: one worker at a time."""
    column = tables.lane.c
    mine = await connection.execute(
        sa.update(tables.lane)
        .where(column.name == lane, column.stopped_at.is_not(None), column.probe_at <= real_now)
        .values(probe_at=lease_until)
    )
    if mine.rowcount == 0:
        return []
    chosen = (
        sa.select(_step.id)
        .where(_step.lane == lane, _step.state == _READY, *_urgent(only_before))
        .order_by(_step.deadline_at, _step.id)
        .limit(_PROBES)
        .with_for_update(skip_locked=True)
    )
    return await _lease(connection, chosen, owner, lease_until, now)


async def probe_later(connection: AsyncConnection, lane: str, real_now: datetime) -> None:
    """Set the next moment at which a stopped lane tries a few steps: first after a minute, then twice as long."""
    column = tables.lane.c
    found = await connection.execute(sa.select(column.backoff_seconds).where(column.name == lane))
    before = found.scalar_one_or_none()
    wait = min(before * 2, _LAST_PROBE_SECONDS) if before else _FIRST_PROBE_SECONDS
    await connection.execute(
        sa.update(tables.lane)
        .where(column.name == lane, column.stopped_at.is_not(None))
        .values(backoff_seconds=wait, probe_at=real_now + timedelta(seconds=wait))
    )


async def lanes_to_probe(connection: AsyncConnection, real_now: datetime) -> list[str]:
    """Give the stopped lanes whose time to be tried has come."""
    column = tables.lane.c
    rows = await connection.execute(
        sa.select(column.name).where(column.stopped_at.is_not(None), column.probe_at <= real_now)
    )
    return [row.name for row in rows]


async def _lease(
    connection: AsyncConnection, chosen: sa.Select[tuple[int]], owner: str, lease_until: datetime, now: datetime
) -> list[Leased]:
    # In a CTE the choice is made once; a sub-select can be made again for every row, and take more than its limit.
    once = chosen.cte("chosen")
    rows = await connection.execute(
        sa.update(tables.step)
        .where(_step.id.in_(sa.select(once.c.id)))
        .values(state="leased", fence=_step.fence + 1, owner=owner, lease_until=lease_until, called_at=now)
        .returning(*_LEASE)
    )
    return [_leased(row, now) for row in rows]


def _leased(row: Any, called_at: datetime) -> Leased:
    return Leased(
        id=row.id,
        fence=row.fence,
        message_id=row.message_id,
        part=row.part,
        action=Action(row.action),
        lane=row.lane,
        call=row.call,
        called_at=called_at,
        deadline_at=row.deadline_at,
    )


async def set_calls(connection: AsyncConnection, calls: Mapping[int, UUID]) -> None:
    """Store which call each step travels in, before the call is made."""
    if calls:
        rows = [{"id": step_id, "call": call} for step_id, call in calls.items()]
        await bulk.update(connection, tables.step, "id", rows)


async def finish(connection: AsyncConnection, leased: Sequence[Leased]) -> set[int]:
    """Take these steps off the list, as far as this worker still holds their lease; gives the ids it held."""
    # Their deliveries are locked, so nobody else who removes steps can be half-way through these.
    ours = bulk.pairs_among(connection, (_step.id, _step.fence), [(item.id, item.fence) for item in leased])
    gone = await connection.execute(sa.delete(tables.step).where(ours, _step.state == _LEASED).returning(_step.id))
    return {row.id for row in gone}


async def held_under(connection: AsyncConnection, owner: str, lane: str) -> list[Leased]:
    """Give the steps of a lane that are leased under this name, by whom it may no longer be."""
    rows = await connection.execute(
        sa.select(*_LEASE, _step.called_at).where(_step.state == _LEASED, _step.owner == owner, _step.lane == lane)
    )
    return [_leased(row, row.called_at) for row in rows]


async def give_back(connection: AsyncConnection, leased: Sequence[Leased]) -> None:
    """Return steps that no call was made for: they are ready again, for anybody."""
    for item in leased:
        await connection.execute(
            sa.update(tables.step)
            .where(_step.id == item.id, _step.fence == item.fence, _step.state == _LEASED)
            .values(state="ready", owner=None, lease_until=None)
        )


async def renew(connection: AsyncConnection, leased: Sequence[Leased], until: datetime) -> int:
    """Let leases last until then, as far as this worker holds them and nobody is busy with them; gives how many."""
    fences = {item.id: item.fence for item in leased}
    rows = await connection.execute(
        sa.select(_step.id, _step.fence)
        .where(_step.id.in_(fences), _step.state == _LEASED)
        # Waiting for a lock here could be waiting for each other: steps alone are locked, and no delivery before them.
        .with_for_update(skip_locked=True)
    )
    held = [row.id for row in rows if row.fence == fences[row.id]]
    if held:
        await connection.execute(sa.update(tables.step).where(_step.id.in_(held)).values(lease_until=until))
    return len(held)


async def promote(connection: AsyncConnection, now: datetime, limit: int = 5000) -> set[str]:
    """Make due steps ready, so that a claim never has to look at the ones that wait; gives their lanes."""
    due = (
        sa.select(_step.id)
        .where(_step.state == _WAITING, _step.due_at <= now)
        .order_by(_step.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = await connection.execute(
        sa.update(tables.step).where(_step.id.in_(sa.select(due.c.id))).values(state="ready").returning(_step.lane)
    )
    return {row.lane for row in rows}


@dataclass(frozen=True, slots=True)
class Left:
    """A step whose lease ran out, or whose moment to be woken has come."""

    id: int
    message_id: UUID
    part: str
    call: UUID | None
    called_at: datetime | None


async def expired(connection: AsyncConnection, real_now: datetime, limit: int = 500) -> list[Left]:
    """Find steps whose lease ran out. To be confirmed with `take_expired` after their deliveries are locked."""
    rows = await connection.execute(
        sa.select(_step.id, _step.message_id, _step.part, _step.call, _step.called_at)
        .where(_step.state == _LEASED, _step.lease_until < real_now)
        .order_by(_step.lease_until)
        .limit(limit)
    )
    return [Left(row.id, row.message_id, row.part, row.call, row.called_at) for row in rows]


async def doubt(connection: AsyncConnection, *, since: datetime, now: datetime, real_now: datetime) -> int:
    """Treat every step that acts on the outside and was due by now as begun by a worker that died; gives how many.

    For a database that was restored: what it says is to be done may have been done since the backup, from `since` on.
    """
    acts = _step.action.in_([Action.PLACE, Action.NOTIFY, Action.PRINT])
    due = sa.or_(_step.state == _READY, sa.and_(_step.state == _WAITING, _step.due_at <= now))
    found = await connection.execute(
        sa.update(tables.step)
        .where(acts, due)
        .values(
            state="leased",
            fence=_step.fence + 1,
            owner="before the restore",
            called_at=sa.func.coalesce(_step.called_at, since),
            lease_until=real_now - timedelta(seconds=1),
        )
    )
    return found.rowcount


async def take_expired(connection: AsyncConnection, found: Sequence[Left], real_now: datetime) -> set[int]:
    """Take expired steps off the list, so that the worker that had them cannot record; gives the ids taken."""
    ids = [item.id for item in found]
    rows = await connection.execute(
        sa.select(_step.id)
        .where(bulk.among(connection, _step.id, ids), _step.state == _LEASED, _step.lease_until < real_now)
        .order_by(_step.id)
        .with_for_update()
    )
    taken = {row.id for row in rows}
    if taken:
        await connection.execute(sa.delete(tables.step).where(bulk.among(connection, _step.id, taken)))
    return taken


async def to_wake(connection: AsyncConnection, now: datetime, limit: int = 500) -> list[Left]:
    """Find steps that asked to be woken. To be confirmed with `take_wakes` after their deliveries are locked."""
    rows = await connection.execute(
        sa.select(_step.id, _step.message_id, _step.part, _step.call, _step.called_at)
        .where(_step.wake_at <= now)
        .order_by(_step.wake_at)
        .limit(limit)
    )
    return [Left(row.id, row.message_id, row.part, row.call, row.called_at) for row in rows]


async def take_wakes(connection: AsyncConnection, found: Sequence[Left], now: datetime) -> set[int]:
    """Clear the moments to be woken, once; gives the ids cleared. Steps that were only to be woken are done."""
    ids = [item.id for item in found]
    rows = await connection.execute(
        sa.select(_step.id, _step.action, _step.state)
        .where(bulk.among(connection, _step.id, ids), _step.wake_at <= now)
        .order_by(_step.id)
        .with_for_update()
    )
    found_rows = list(rows)
    only_watched = [row.id for row in found_rows if row.action == Action.WATCH and row.state != "leased"]
    others = [row.id for row in found_rows if row.id not in set(only_watched)]
    if only_watched:
        await connection.execute(sa.delete(tables.step).where(bulk.among(connection, _step.id, only_watched)))
    if others:
        await connection.execute(
            sa.update(tables.step).where(bulk.among(connection, _step.id, others)).values(wake_at=None)
        )
    return {row.id for row in found_rows}


async def ready_lanes(connection: AsyncConnection, cap: int) -> dict[str, int]:
    """Count the ready steps per lane that is not stopped, up to a cap per lane: what is to be rung for."""
    lane = tables.lane.c
    # Lane by lane, and no further than the cap: a morning's work of a million steps is not counted every second.
    some = sa.select(sa.literal(1)).where(_step.lane == lane.name, _step.state == _READY).limit(cap)
    ready = sa.select(sa.func.count()).select_from(some.correlate(tables.lane).subquery()).scalar_subquery()
    rows = await connection.execute(sa.select(lane.name, ready.label("ready")).where(lane.stopped_at.is_(None)))
    return {row.name: row.ready for row in rows if row.ready}


async def stop_lane(connection: AsyncConnection, name: str, *, reason: str, by: str, now: datetime) -> bool:
    """Stop a lane until it is started again; false when it was stopped already."""
    changed = await connection.execute(
        sa.update(tables.lane)
        .where(tables.lane.c.name == name, tables.lane.c.stopped_at.is_(None))
        .values(stopped_at=now, reason=reason[:120], changed_by=by)
    )
    return changed.rowcount > 0


async def start_lane(connection: AsyncConnection, name: str, *, by: str) -> bool:
    """Start a stopped lane; false when it was not stopped."""
    changed = await connection.execute(
        sa.update(tables.lane)
        .where(tables.lane.c.name == name, tables.lane.c.stopped_at.is_not(None))
        .values(stopped_at=None, reason=None, changed_by=by, probe_at=None, backoff_seconds=None)
    )
    return changed.rowcount > 0


async def ensure_lanes(connection: AsyncConnection, names: Sequence[str]) -> None:
    """Give every lane its row, so that stopping one is an update; processes that start together may all do so."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # In one order, so that two processes cannot wait for each other.
    rows = [{"name": name} for name in sorted(set(names))]
    await connection.execute(insert(tables.lane).on_conflict_do_nothing(), rows)
