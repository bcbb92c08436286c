"""What a person decides about what waits because too much came at once: it goes, or it is called back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain import events as ev
from bode.domain.by_hand import call_back
from bode.domain.parts import Delivery
from bode.domain.terms import legal_day
from bode.domain.volume import VolumeRule
from bode.engine.lanes import Lanes
from bode.engine.parts import Parts
from bode.store import volume as store
from bode.store.record import read_deliveries
from bode.store.staff import StaffAct, record_act

_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Which:
    """What is decided about. All of an application only leaves the rules as they are: what comes next is held too."""

    organisation: str
    rules: Collection[VolumeRule] = frozenset(VolumeRule)
    application: str | None = None


async def release(parts: Parts, lanes: Lanes, which: Which, *, by: str, reason: str) -> int:
    """Let go what waits, and count anew; gives how many messages. Raises `LookupError` when nothing is held."""
    await _decided(parts, which, StaffAct(parts.clock.now(), by, "volume_released", which.organisation, reason))
    return await _for_each(parts, lanes, which, lambda _: [ev.Released(by, reason)])


async def cancel(parts: Parts, lanes: Lanes, which: Which, *, by: str, reason: str) -> int:
    """Call back what waits: messages of which nothing was sent, and letters; as `release`."""
    await _decided(parts, which, StaffAct(parts.clock.now(), by, "volume_cancelled", which.organisation, reason))
    return await _for_each(parts, lanes, which, lambda delivery: call_back(delivery, by, reason))


async def _decided(parts: Parts, which: Which, act: StaffAct) -> None:
    """Let the rules hold no longer what comes, and write down who decided.

    This goes first: what comes in meanwhile is not held behind the back of who decided. What waits is found again when
    the work below ends half-way.
    """
    async with parts.database.write() as connection:
        rules = set[VolumeRule]()
        if which.application is None:
            rules |= set(await store.decide(connection, which.organisation, which.rules, legal_day(act.at), act.at))
        if not rules and not await _held(connection, which, None, 1):
            raise LookupError(which.organisation)
        detail = " ".join([*sorted(rules), *([which.application] if which.application is not None else [])])
        await record_act(connection, parts.vault, replace(act, detail=detail, organisation=which.organisation))


async def _for_each(
    parts: Parts, lanes: Lanes, which: Which, events_of: Callable[[Delivery], Iterable[ev.Event]]
) -> int:
    count, after = 0, None
    while True:
        async with parts.database.read() as connection:
            some = await _held(connection, which, after, _AT_ONCE)
            deliveries = await read_deliveries(connection, some)
        if not some:
            return count
        await lanes.apply([(one, event) for one, delivery in deliveries.items() for event in events_of(delivery)])
        count, after = count + len(some), some[-1]


async def _held(connection: AsyncConnection, which: Which, after: UUID | None, most: int) -> list[UUID]:
    return await store.held_ids(
        connection, which.organisation, which.rules, application=which.application, after=after, limit=most
    )
