"""Metrics of what the database knows: how old the oldest placement without a notice is, and what is to be done."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from prometheus_client import Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.terms import Holidays, legal_day
from bode.engine.parts import Parts
from bode.store import tables

UNNOTICED_AGE = Gauge(
    "bode_oldest_unnoticed_age_seconds", "Age of the oldest box placement whose notice is not out yet; 0 without one."
)
CLOSE_TO_DEADLINE = Gauge(
    "bode_notices_close_to_deadline", "Notices not out yet whose 48 hours end within so many hours.", ["hours"]
)
OPEN_STEPS = Gauge("bode_open_steps", "Steps to be done, by lane and state.", ["lane", "state"])
DELIVERIES = Gauge("bode_deliveries", "Deliveries by state.", ["state"])
LANE_STOPPED = Gauge("bode_lane_stopped", "1 for a lane that is stopped.", ["lane"])
UNMATCHED = Gauge("bode_inbound_unmatched", "Things that came in and belong to no mail or letter of ours.")
UNSEQUENCED = Gauge("bode_evidence_unsequenced", "Events that wait to be put in the log.")
UNSEQUENCED_AGE = Gauge(
    "bode_evidence_unsequenced_age_seconds", "Age of the oldest event that waits to be put in the log; 0 without one."
)
UNSIGNED_AGE = Gauge(
    "bode_evidence_unsigned_age_seconds",
    "Age of the oldest event in the log that no checkpoint covers; 0 without one. It grows while signing is refused.",
)
CHECKPOINT_SIZE = Gauge("bode_evidence_checkpoint_size", "Events that the last published checkpoint states.")
CHECKPOINT_AT = Gauge(
    "bode_evidence_checkpoint_timestamp_seconds", "When the last checkpoint was published (Unix time); 0 without one."
)
WEBHOOKS_DEAD = Gauge("bode_webhooks_dead", "Webhooks given up after three days, to be replayed: bode webhook list.")
WEBHOOKS_WAITING = Gauge("bode_webhooks_waiting", "Webhooks that are still to arrive.")
GUARDED_MAILS = Gauge(
    "bode_guarded_mails",
    "Mails that the guard against bursts weighs now (of the last six hours), by organisation, group of providers "
    "(config/providers.toml, or 'other') and outcome: 'hard' bounces, and 'sent'.",
    ["organisation", "provider", "outcome"],
)
HARD_BOUNCE_RATE = Gauge(
    "bode_hard_bounce_rate",
    "Share of the guarded mails that bounced hard, from 0 to 1: above a fifth, with enough of them, letters are held.",
    ["organisation", "provider"],
)
DECREED_DAYS_LEFT = Gauge(
    "bode_decreed_holidays_days_left",
    "Days until the last day in config/holidays.toml: after its year, add the next decree.",
)

_HOURS = (4, 12, 24)


class DatabaseMetrics:
    """Reads the gauges from the database, at the moment they are asked for."""

    def __init__(self, parts: Parts) -> None:
        """Take the database, the clock and the names of the lanes."""
        self._parts = parts

    async def refresh(self) -> None:
        """Read all gauges once."""
        now = self._parts.clock.now()
        holidays = self._parts.policy.is_holiday
        if isinstance(holidays, Holidays) and (last := holidays.decreed_until()) is not None:
            DECREED_DAYS_LEFT.set((last - legal_day(now)).days)
        delivery, step = tables.delivery.c, tables.step.c
        async with self._parts.database.read() as connection:
            open_deadline = delivery.notice_deadline_at.is_not(None)
            oldest = (
                await connection.execute(sa.select(sa.func.min(delivery.notice_deadline_at)).where(open_deadline))
            ).scalar_one()
            within = {
                hours: (
                    await connection.execute(
                        sa.select(sa.func.count()).where(
                            open_deadline, delivery.notice_deadline_at < now + timedelta(hours=hours)
                        )
                    )
                ).scalar_one()
                for hours in _HOURS
            }
            steps = await connection.execute(
                sa.select(step.lane, step.state, sa.func.count()).group_by(step.lane, step.state)
            )
            states = await connection.execute(sa.select(delivery.state, sa.func.count()).group_by(delivery.state))
            lanes = await connection.execute(sa.select(tables.lane.c.name, tables.lane.c.stopped_at))
            unmatched = await connection.execute(
                sa.select(sa.func.count()).where(tables.inbound.c.state == "unmatched")
            )
            UNMATCHED.set(unmatched.scalar_one())
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
            OPEN_STEPS.clear()
            for lane, state, count in steps:
                OPEN_STEPS.labels(lane, state).set(count)
            DELIVERIES.clear()
            for state, count in states:
                DELIVERIES.labels(state).set(count)
            for name, stopped_at in lanes:
                LANE_STOPPED.labels(name).set(stopped_at is not None)
            await _refresh_evidence(connection, now)
        within_law = self._parts.policy.notice_within
        UNNOTICED_AGE.set((now - (oldest - within_law)).total_seconds() if oldest is not None else 0)
        for hours, count in within.items():
            CLOSE_TO_DEADLINE.labels(str(hours)).set(count)


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
    first = sa.select(leaf.event_id).where(leaf.position == (last.size if last is not None else 0)).scalar_subquery()
    UNSIGNED_AGE.set(await _age(connection, now, event.id == first))


async def _age(connection: AsyncConnection, now: datetime, which: sa.ColumnElement[bool]) -> float:
    recorded = (await connection.execute(sa.select(tables.event.c.recorded_at).where(which))).scalar_one_or_none()
    return (now - recorded).total_seconds() if recorded is not None else 0.0
