"""A person's decision on a burst of hard bounces: the letters go, or the notices are sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from bode.domain import events as ev
from bode.domain.parts import NoticeState
from bode.engine.lanes import Lanes
from bode.engine.parts import Parts
from bode.store import mail_health
from bode.store.mail_health import BurstKind
from bode.store.record import read_deliveries
from bode.store.staff import StaffAct, record_act

_LOOK_BACK = timedelta(days=2)
_AT_ONCE = 100


async def decide_burst(
    parts: Parts, lanes: Lanes, kind: BurstKind, name: str, *, real: bool, by: str, reason: str
) -> int:
    """Decide on an open burst, and give how many notices that was about. Raises `LookupError` when it is not open."""
    now = parts.clock.now()
    async with parts.database.write() as connection:
        opened = {(burst.kind, burst.name): burst for burst in await mail_health.open_bursts(connection)}
        burst = opened.get((kind, name))
        if burst is None:
            raise LookupError(name)
        bounced = await mail_health.bounced_since(connection, kind, name, burst.opened_at - _LOOK_BACK)
        decision = "real" if real else "not_real"
        await mail_health.close_burst(connection, kind, name, decision=decision, by=by, reason=reason, now=now)
        if not real:
            await mail_health.trust_again(connection, [message_id for message_id, _ in bounced])
        whose = name if kind is BurstKind.ORGANISATION else None
        act = StaffAct(now, by, "burst_confirmed" if real else "burst_rejected", name, reason, organisation=whose)
        await record_act(connection, parts.vault, act)
    held = await held_of(parts, bounced)
    for start in range(0, len(held), _AT_ONCE):
        some = held[start : start + _AT_ONCE]
        await lanes.apply([(message_id, ev.BurstDecided(channel, real, by, reason)) for message_id, channel in some])
    return len(held)


async def held_of(parts: Parts, bounced: Sequence[tuple[UUID, str]]) -> list[tuple[UUID, str]]:
    """Give those whose notice is held."""
    held: list[tuple[UUID, str]] = []
    for start in range(0, len(bounced), _AT_ONCE):
        some = bounced[start : start + _AT_ONCE]
        async with parts.database.read() as connection:
            deliveries = await read_deliveries(connection, [message_id for message_id, _ in some])
        for message_id, channel in some:
            placement = deliveries[message_id].placement(channel) if message_id in deliveries else None
            if placement and placement.notice and placement.notice.state is NoticeState.HELD:
                held.append((message_id, channel))
    return held
