"""Metrics of what the database knows: how old the oldest placement without a notice is, and what is to be done.

They stand in a registry of their own: one process gives them, and no other shows zeros for what it never reads.
docs/metrics.md has each with an example.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.parts import DeliveryState
from bode.domain.terms import Holidays, legal_day
from bode.engine import heartbeat
from bode.engine.lane_rules import in_force
from bode.engine.parts import Parts
from bode.store import tables, volume
from bode.store.database import DATABASE_AWAY, SchemaError
from bode.store.lanes import read_changes
from bode_adapters.connection import certificate_not_after

log = structlog.get_logger()

DATABASE = CollectorRegistry()
"""The gauges of this module."""

UNNOTICED_AGE = Gauge(
    "bode_oldest_unnoticed_age_seconds",
    "Age of the oldest box placement whose notice is not out yet; 0 without one.",
    registry=DATABASE,
)
CLOSE_TO_DEADLINE = Gauge(
    "bode_notices_close_to_deadline",
    "Notices not out yet whose 48 hours end within so many hours.",
    ["hours"],
    registry=DATABASE,
)
OPEN_STEPS = Gauge("bode_open_steps", "Steps to be done, by lane and state.", ["lane", "state"], registry=DATABASE)
DELIVERIES = Gauge("bode_deliveries", "Deliveries by state, of those that are not done.", ["state"], registry=DATABASE)
LANE_STOPPED = Gauge("bode_lane_stopped", "1 for a lane that is stopped.", ["lane"], registry=DATABASE)
LANE_QUIET = Gauge(
    "bode_lane_quiet",
    "1 for a lane in its quiet hours: only what is close to its deadline is sent, and the rest does not count as due.",
    ["lane"],
    registry=DATABASE,
)
UNMATCHED = Gauge(
    "bode_inbound_unmatched", "Things that came in and belong to no mail or letter of ours.", registry=DATABASE
)
UNSEQUENCED = Gauge("bode_evidence_unsequenced", "Events that wait to be put in the log.", registry=DATABASE)
UNSEQUENCED_AGE = Gauge(
    "bode_evidence_unsequenced_age_seconds",
    "Age of the oldest event that waits to be put in the log; 0 without one.",
    registry=DATABASE,
)
UNSIGNED_AGE = Gauge(
    "bode_evidence_unsigned_age_seconds",
    "Age of the oldest event in the log that no checkpoint covers; 0 without one. It grows while signing is refused.",
    registry=DATABASE,
)
CHECKPOINT_SIZE = Gauge(
    "bode_evidence_checkpoint_size", "Events that the last published checkpoint states.", registry=DATABASE
)
CHECKPOINT_AT = Gauge(
    "bode_evidence_checkpoint_timestamp_seconds",
    "When the last checkpoint was published (Unix time); 0 without one.",
    registry=DATABASE,
)
WEBHOOKS_DEAD = Gauge(
    "bode_webhooks_dead", "Webhooks given up after three days, to be replayed: bode webhook list.", registry=DATABASE
)
WEBHOOKS_WAITING = Gauge("bode_webhooks_waiting", "Webhooks that are still to arrive.", registry=DATABASE)
GUARDED_MAILS = Gauge(
    "bode_guarded_mails",
    "Mails that the guard against bursts weighs now (of the last six hours), by organisation, group of providers "
    "(config/providers.toml, or 'other') and outcome: 'hard' bounces, and 'sent'.",
    ["organisation", "provider", "outcome"],
    registry=DATABASE,
)
HARD_BOUNCE_RATE = Gauge(
    "bode_hard_bounce_rate",
    "Share of the guarded mails that bounced hard, from 0 to 1: above a fifth, with enough of them, letters are held.",
    ["organisation", "provider"],
    registry=DATABASE,
)
DECREED_DAYS_LEFT = Gauge(
    "bode_decreed_holidays_days_left",
    "Days until the last day in config/holidays.toml: after its year, add the next decree.",
    registry=DATABASE,
)

OVERDUE = Gauge(
    "bode_notices_overdue", "Notices not out yet whose 48 hours are over: letters are to be ordered.", registry=DATABASE
)
BURSTS_UNDECIDED = Gauge(
    "bode_bursts_undecided",
    "Bursts of hard bounces that hold letters until a person decides, by whose they are.",
    ["kind"],
    registry=DATABASE,
)
VOLUME_HELD = Gauge(
    "bode_volume_held",
    "Messages that wait for a person because too much came at once, by organisation and rule.",
    ["organisation", "rule"],
    registry=DATABASE,
)
NEEDS_PERSON_AGE = Gauge(
    "bode_needs_person_oldest_age_seconds",
    "How long the delivery that waits longest for a person did not move; 0 without one.",
    registry=DATABASE,
)
UNKNOWN_OUTCOMES = Gauge(
    "bode_unknown_outcomes",
    "Calls to be searched or repeated because their outcome is not known.",
    ["lane"],
    registry=DATABASE,
)
DUE_AGE = Gauge(
    "bode_oldest_due_step_age_seconds",
    "How long the oldest step that is due waits for a worker, by lane.",
    ["lane"],
    registry=DATABASE,
)
CHECKPOINT_AGE = Gauge(
    "bode_evidence_checkpoint_age_seconds", "Age of the last published checkpoint; 0 without one.", registry=DATABASE
)
HEARTBEAT_AGE = Gauge(
    "bode_heartbeat_age_seconds",
    "Age of the last heartbeat that went all the way; since the start of this process where none did. Only where "
    "[heartbeat] is configured.",
    ["lane"],
    registry=DATABASE,
)
DATABASE_UP = Gauge("bode_database_up", "1 when the database answered; else its gauges are old.", registry=DATABASE)
SCHEMA_CURRENT = Gauge(
    "bode_database_schema_current", "1 when the schema is the one of this version.", registry=DATABASE
)
CERTIFICATE_DAYS_LEFT = Gauge(
    "bode_certificate_days_left",
    "Days until a client certificate of ours runs out, by its place in the configuration; -1 where it cannot be read.",
    ["place"],
    registry=DATABASE,
)
DISK_FREE_RATIO = Gauge(
    "bode_disk_free_ratio",
    "Free part of the file system that holds this, from 0 to 1: 'database' (SQLite) and 'evidence'.",
    ["holds"],
    registry=DATABASE,
)

_HOURS = (4, 12, 24)


class DatabaseMetrics:
    """Reads the gauges from the database, at the moment they are asked for; not again within `keep_seconds`."""

    def __init__(
        self,
        parts: Parts,
        *,
        keep_seconds: float = 0.0,
        certificates: Mapping[str, Path] = {},
        disks: Mapping[str, Path] = {},
    ) -> None:
        """Take the database, the clock, and files and folders of this machine to watch, by their names."""
        self._parts = parts
        self._keep_seconds = keep_seconds
        self._certificates = certificates
        self._disks = disks
        self._started_at = parts.clock.now()
        self._read_at: float | None = None
        self._alone = asyncio.Lock()

    async def refresh(self) -> None:
        """Read all gauges once. A database that is away is told by `bode_database_up`, not raised."""
        async with self._alone:
            if self._read_at is not None and time.monotonic() - self._read_at < self._keep_seconds:
                return
            self._refresh_machine()
            try:
                try:
                    await self._parts.database.check_schema()
                except SchemaError:
                    DATABASE_UP.set(1)
                    SCHEMA_CURRENT.set(0)
                    return
                SCHEMA_CURRENT.set(1)
                await self._refresh_database()
                DATABASE_UP.set(1)
            except DATABASE_AWAY as error:
                DATABASE_UP.set(0)
                log.warning("metrics.database_away", error=type(error).__name__)
            finally:
                self._read_at = time.monotonic()

    def _refresh_machine(self) -> None:
        now = self._parts.clock.real()
        for place, path in self._certificates.items():
            try:
                days = (certificate_not_after(path) - now) / timedelta(days=1)
            except (OSError, ValueError):
                days = -1.0
            CERTIFICATE_DAYS_LEFT.labels(place).set(days)
        for holds, folder in self._disks.items():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                continue  # Not made yet: the part that makes it tells what is wrong.
            DISK_FREE_RATIO.labels(holds).set(usage.free / usage.total)

    async def _refresh_database(self) -> None:
        now = self._parts.clock.now()
        holidays = self._parts.policy.is_holiday
        if isinstance(holidays, Holidays) and (last := holidays.decreed_until()) is not None:
            DECREED_DAYS_LEFT.set((last - legal_day(now)).days)
        delivery, step = tables.delivery.c, tables.step.c
        # Written into the statement, so that PostgreSQL can use the partial index over what is open.
        is_open = delivery.state != sa.literal_column("'done'")
        async with self._parts.database.read() as connection:
            before = [now, *(now + timedelta(hours=hours) for hours in _HOURS)]
            counts = (
                await connection.execute(
                    sa.select(
                        sa.func.min(delivery.notice_deadline_at),
                        *(sa.func.count(sa.case((delivery.notice_deadline_at < moment, 1))) for moment in before),
                    ).where(is_open, delivery.notice_deadline_at.is_not(None))
                )
            ).one()
            deadlines: Sequence[Any] = tuple(counts)
            oldest, overdue, *within = deadlines
            rows = await connection.execute(
                sa.select(
                    step.lane, step.state, sa.func.count(), sa.func.count(step.call), sa.func.min(step.due_at)
                ).group_by(step.lane, step.state)
            )
            states = await connection.execute(
                sa.select(delivery.state, sa.func.count(), sa.func.min(delivery.updated_at))
                .where(is_open)
                .group_by(delivery.state)
            )
            lanes = await connection.execute(sa.select(tables.lane.c.name, tables.lane.c.stopped_at))
            rules = in_force(self._parts, await read_changes(connection))
            unmatched = await connection.execute(
                sa.select(sa.func.count()).where(tables.inbound.c.state == sa.literal_column("'unmatched'"))
            )
            UNMATCHED.set(unmatched.scalar_one())
            await _refresh_held(connection)
            hook = tables.webhook_delivery.c.state
            hooks = await connection.execute(sa.select(hook, sa.func.count()).group_by(hook))
            counted: dict[str, int] = {row[0]: row[1] for row in hooks}
            WEBHOOKS_DEAD.set(counted.get("dead", 0))
            WEBHOOKS_WAITING.set(counted.get("waiting", 0))
            balances = await self._parts.health.balances(connection, now)
            GUARDED_MAILS.clear()
            HARD_BOUNCE_RATE.clear()
            for labels, balance in balances.items():
                GUARDED_MAILS.labels(*labels, "hard").set(balance.hard)
                GUARDED_MAILS.labels(*labels, "sent").set(balance.sent)
                HARD_BOUNCE_RATE.labels(*labels).set(balance.rate)
            quiet = {lane for lane, its in rules.items() if its.only_before(now) is not None}
            for lane in rules:
                LANE_QUIET.labels(lane).set(lane in quiet)
            _set_steps(rows, now, quiet)
            DELIVERIES.clear()
            NEEDS_PERSON_AGE.set(0)
            for state, count, moved_at in states:
                DELIVERIES.labels(state).set(count)
                if state == DeliveryState.NEEDS_PERSON:
                    NEEDS_PERSON_AGE.set((now - moved_at).total_seconds())
            for name, stopped_at in lanes:
                LANE_STOPPED.labels(name).set(stopped_at is not None)
            await _refresh_evidence(connection, now)
            if heartbeat.CHANNEL in self._parts.boxes:
                arrived = await _last_heartbeat(connection)
                age = now - (arrived if arrived is not None else self._started_at)
                HEARTBEAT_AGE.labels(heartbeat.CHANNEL).set(age.total_seconds())
        within_law = self._parts.policy.notice_within
        UNNOTICED_AGE.set((now - (oldest - within_law)).total_seconds() if oldest is not None else 0)
        OVERDUE.set(overdue)
        for hours, count in zip(_HOURS, within, strict=True):
            CLOSE_TO_DEADLINE.labels(str(hours)).set(count)


def _set_steps(rows: Iterable[Any], now: datetime, quiet: Collection[str]) -> None:
    """Set what one look at all steps tells: how many, the oldest that is due, and repeats of calls.

    Work that quiet hours hold waits for no worker; what is close to its deadline is told by other gauges.
    """
    for gauge in (OPEN_STEPS, UNKNOWN_OUTCOMES, DUE_AGE):
        gauge.clear()
    due: dict[str, float] = {}
    unknown: dict[str, int] = {}
    for lane, state, count, calls, due_at in rows:
        OPEN_STEPS.labels(lane, state).set(count)
        if state == "leased":
            continue  # A worker has it: it waits for nobody.
        unknown[lane] = unknown.get(lane, 0) + calls
        if due_at is not None and lane not in quiet:
            due[lane] = max(due.get(lane, 0.0), (now - due_at).total_seconds())
    for lane, age in due.items():
        DUE_AGE.labels(lane).set(age)
    for lane, calls in unknown.items():
        UNKNOWN_OUTCOMES.labels(lane).set(calls)


async def _last_heartbeat(connection: AsyncConnection) -> datetime | None:
    """Give when the newest heartbeat that is done was accepted: from the newest on, by the index on references."""
    message, delivery = tables.message.c, tables.delivery.c
    found = await connection.execute(
        sa.select(message.accepted_at)
        .join_from(tables.message, tables.delivery, message.id == delivery.message_id)
        .where(message.organisation == heartbeat.OIN, delivery.state == DeliveryState.DONE)
        .order_by(message.reference.desc())
        .limit(1)
    )
    return found.scalar_one_or_none()


async def _refresh_held(connection: AsyncConnection) -> None:
    """Read what waits for a person's decision about many at once."""
    bursts = tables.burst.c
    undecided = await connection.execute(
        sa.select(bursts.kind, sa.func.count()).where(bursts.decided_at.is_(None)).group_by(bursts.kind)
    )
    BURSTS_UNDECIDED.clear()
    for kind, count in undecided:
        BURSTS_UNDECIDED.labels(kind).set(count)
    VOLUME_HELD.clear()
    for held in await volume.held(connection):
        VOLUME_HELD.labels(held.organisation, held.rule).inc(held.messages)


async def _refresh_evidence(connection: AsyncConnection, now: datetime) -> None:
    """Read how far the log and its checkpoints are behind. Of a log under a new name, too."""
    pending, leaf, event = tables.event_pending.c, tables.evidence_leaf.c, tables.event.c
    checkpoint = tables.evidence_checkpoint.c
    waiting = await connection.execute(sa.select(sa.func.count()).select_from(tables.event_pending))
    UNSEQUENCED.set(waiting.scalar_one())
    oldest = sa.select(sa.func.min(pending.event_id)).scalar_subquery()
    UNSEQUENCED_AGE.set(await _age(connection, now, event.id == oldest))
    last = (
        await connection.execute(
            sa.select(checkpoint.size, checkpoint.published_at).order_by(checkpoint.published_at.desc()).limit(1)
        )
    ).one_or_none()
    CHECKPOINT_SIZE.set(last.size if last is not None else 0)
    CHECKPOINT_AT.set(last.published_at.timestamp() if last is not None else 0)
    CHECKPOINT_AGE.set((now - last.published_at).total_seconds() if last is not None else 0)
    first = sa.select(leaf.event_id).where(leaf.position == (last.size if last is not None else 0)).scalar_subquery()
    UNSIGNED_AGE.set(await _age(connection, now, event.id == first))


async def _age(connection: AsyncConnection, now: datetime, which: sa.ColumnElement[bool]) -> float:
    recorded = (await connection.execute(sa.select(tables.event.c.recorded_at).where(which))).scalar_one_or_none()
    return (now - recorded).total_seconds() if recorded is not None else 0.0
