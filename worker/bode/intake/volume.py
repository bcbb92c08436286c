"""Weighs what is accepted against what its organisation may send: see `bode.domain.volume`.

The numbers are those of a moment before: messages that are accepted beside each other can be a few above a limit.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.message import Message
from bode.domain.terms import legal_day
from bode.domain.volume import VolumeLimits, VolumeRule, holds_message
from bode.store import volume as store
from bode.store.vault import Vault

log = structlog.get_logger()

HOLDS = Counter("bode_volume_holds_total", "Times that a rule on volume began to hold what is sent.", ["rule"])
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Weighed:
    """Which messages are held, and what is to be written with them."""

    held: dict[UUID, VolumeRule] = field(default_factory=dict[UUID, VolumeRule])
    counted: dict[str, list[UUID]] = field(default_factory=dict[str, list[UUID]])
    """The messages that count, by organisation."""
    opens: dict[tuple[str, VolumeRule], int] = field(default_factory=dict[tuple[str, VolumeRule], int])
    """The rules that begin to hold, and the number of messages at which they do."""


async def weigh(
    connection: AsyncConnection,
    messages: Sequence[Message],
    limits: Mapping[str, VolumeLimits],
    vault: Vault,
    now: datetime,
) -> Weighed:
    """Decide, in their order, which of these messages are held."""
    weighed = Weighed()
    for organisation in sorted({message.sender for message in messages}):
        its = limits.get(organisation)
        if its is None or not its.hold_messages:
            continue
        own = [message for message in messages if message.sender == organisation]
        volume = await store.messages_volume(
            connection, organisation, legal_day(now), with_usual=its.sudden_times is not None
        )
        hashes = {item.id: vault.lookup_hashes(item.addressee.kind, item.addressee.number) for item in own}
        before = Tally[bytes]()
        if its.addressee_per_hour is not None:
            named = {one: kept[0] for kept in hashes.values() for one in kept}
            before.update(await store.to_addressees(connection, organisation, named, now - _HOUR))
        for message_id, (who, *_) in hashes.items():
            rule = holds_message(its, volume, to_addressee=before[who])
            if rule is not None:
                weighed.held[message_id] = rule
                if rule not in volume.waiting:
                    count = before[who] if rule is VolumeRule.ADDRESSEE else volume.since(rule)
                    weighed.opens[organisation, rule] = count
                    volume = replace(volume, waiting={*volume.waiting, rule})
            before[who] += 1
            volume = replace(volume, today=volume.today + 1)
        weighed.counted[organisation] = list(hashes)
    return weighed


async def write(connection: AsyncConnection, weighed: Weighed, now: datetime) -> list[tuple[str, VolumeRule]]:
    """Count the messages, in the transaction that stores them, and begin to hold; gives the rules that began."""
    for organisation, ids in sorted(weighed.counted.items()):
        await store.add_messages(connection, organisation, legal_day(now), len(ids), slot=ids[0].int)
    return [
        (organisation, rule)
        for organisation, rule in sorted(weighed.opens)
        if await store.open_hold(connection, organisation, rule, now)
    ]


def tell(organisation: str, rule: VolumeRule, count: int) -> None:
    """Tell operators that a rule began to hold; after the commit."""
    HOLDS.labels(rule).inc()
    log.error("volume.holds", organisation=organisation, rule=rule, count=count)
