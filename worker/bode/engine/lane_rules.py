"""The rules in force for each lane: the configuration, with what was changed since it started on top."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from bode.domain.lane_rules import LaneRuleError, LaneRules
from bode.engine.parts import Parts
from bode.store import lanes
from bode.store.database import DATABASE_AWAY
from bode.store.lanes import Changes

log = structlog.get_logger()

KEPT = timedelta(seconds=2)
"""How long what was read is used: a change is in force in every process after this."""


class RulesInForce:
    """Reads what was changed, and keeps it for two seconds."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts; nothing is read yet."""
        self._parts = parts
        self._read_at: datetime | None = None
        self._rules: dict[str, LaneRules] = {}

    async def of(self, lane: str) -> LaneRules:
        """Give the rules of a lane."""
        now = self._parts.clock.real()
        if self._read_at is None or not timedelta(0) <= now - self._read_at < KEPT:
            try:
                async with self._parts.database.read() as connection:
                    changes = await lanes.read_changes(connection)
            except DATABASE_AWAY as error:
                # What was read last holds on; without the database nothing is claimed anyway.
                log.warning("lane.rules_not_read", error=type(error).__name__)
            else:
                self._rules = in_force(self._parts, changes)
                self._read_at = now
        return self._rules.get(lane, configured(self._parts, lane))

    async def only_before(self, lane: str) -> datetime | None:
        """Give the deadline before which work may be done now: there is one in the lane's quiet hours."""
        return (await self.of(lane)).only_before(self._parts.clock.now())


def configured(parts: Parts, lane: str) -> LaneRules:
    """Give what the configuration says of a lane."""
    return parts.lane_rules.get(lane, LaneRules(concurrency=parts.lane_concurrency))


def in_force(parts: Parts, changes: Mapping[str, Changes]) -> dict[str, LaneRules]:
    """Give the rules of every lane. A change that is no rule of this version is passed over, and logged."""
    rules: dict[str, LaneRules] = {}
    for lane in parts.lanes:
        rules[lane] = configured(parts, lane)
        try:
            rules[lane] = rules[lane].changed(changes.get(lane, {}))
        except LaneRuleError as error:
            log.error("lane.rules_unusable", lane=lane, detail=str(error))
    return rules
