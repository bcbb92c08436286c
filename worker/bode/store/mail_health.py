"""What is known of mail: addresses that fail, hard bounces and mails sent, and bursts that wait for a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables


class BurstKind(StrEnum):
    """Whose problem many hard bounces in a short time are."""

    PROVIDER = "provider"
    """One mail provider refuses everybody: its directory is down, or it does so on purpose."""
    ORGANISATION = "organisation"
    """One sender's addresses are wrong: an export with a shifted column."""


@dataclass(frozen=True, slots=True)
class HardBounce:
    """One hard bounce, as it is kept: no address, only its keyed hash and its provider."""

    message_id: UUID
    channel: str
    organisation: str
    provider: str
    address_hash: bytes
    reason: str
    rule: str
    bounced_at: datetime


@dataclass(frozen=True, slots=True)
class Failing:
    """An address that bounced hard for an organisation, and has not been given anew since."""

    bounced_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Burst:
    """Many hard bounces in a short time; letters wait until a person decides."""

    kind: BurstKind
    name: str
    opened_at: datetime


def _upsert(connection: AsyncConnection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


async def count_sent(connection: AsyncConnection, sent: Mapping[tuple[datetime, str, str], int]) -> None:
    """Add to the mails sent, by (hour, organisation, provider); in one order, so that workers never lock each other."""
    for (hour, organisation, provider), number in sorted(sent.items()):
        statement = _upsert(connection, tables.mail_count).values(
            hour=hour, organisation=organisation, provider=provider, sent=number
        )
        column = tables.mail_count.c
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=[column.hour, column.organisation, column.provider], set_={"sent": column.sent + number}
            )
        )


async def keep_hard(connection: AsyncConnection, bounces: Sequence[HardBounce]) -> None:
    """Keep hard bounces, and mark their addresses as failing for their organisations.

    One for each mail: a second report of the same, or a bounce after it was sent again, takes the place of the first.
    """
    column = tables.hard_bounce.c
    mails = [(bounce.message_id, bounce.channel) for bounce in bounces]
    await connection.execute(
        sa.delete(tables.hard_bounce).where(sa.tuple_(column.message_id, column.channel).in_(mails))
    )
    await connection.execute(
        sa.insert(tables.hard_bounce),
        [
            {
                "message_id": bounce.message_id,
                "channel": bounce.channel,
                "organisation": bounce.organisation,
                "provider": bounce.provider,
                "reason": bounce.reason,
                "bounced_at": bounce.bounced_at,
            }
            for bounce in bounces
        ],
    )
    for bounce in sorted(bounces, key=lambda item: (item.organisation, item.address_hash)):
        news = {
            "bounced_at": bounce.bounced_at,
            "reason": bounce.reason,
            "rule": bounce.rule[:64],
            "message_id": bounce.message_id,
        }
        statement = _upsert(connection, tables.failing_address).values(
            organisation=bounce.organisation, address_hash=bounce.address_hash, **news
        )
        column = tables.failing_address.c
        await connection.execute(
            statement.on_conflict_do_update(index_elements=[column.organisation, column.address_hash], set_=news)
        )


async def failing_among(
    connection: AsyncConnection, addresses: Collection[tuple[str, bytes]]
) -> dict[tuple[str, bytes], Failing]:
    """Give which of these addresses, each with its organisation, are known to fail."""
    column = tables.failing_address.c
    found = await connection.execute(
        sa.select(column.organisation, column.address_hash, column.bounced_at, column.reason).where(
            column.organisation.in_({organisation for organisation, _ in addresses}),
            column.address_hash.in_({address for _, address in addresses}),
        )
    )
    rows = {(row.organisation, bytes(row.address_hash)): Failing(row.bounced_at, row.reason) for row in found}
    return {address: failing for address, failing in rows.items() if address in addresses}


async def failing(connection: AsyncConnection, organisation: str, address_hashes: Sequence[bytes]) -> Failing | None:
    """Tell whether an address, by every hash it may be kept under, is known to fail for an organisation."""
    found = await failing_among(connection, [(organisation, one) for one in address_hashes])
    return max(found.values(), key=lambda one: one.bounced_at, default=None)


async def still_failing(
    connection: AsyncConnection, organisation: str, address_hashes: Sequence[bytes], *, given_at: datetime | None
) -> Failing | None:
    """Tell whether an address is known to fail for an organisation; one that was given anew since is trusted again."""
    known = await failing(connection, organisation, address_hashes)
    if known is None or given_at is None or given_at <= known.bounced_at:
        return known
    await forget_failing(connection, organisation, address_hashes)
    return None


async def forget_failing(connection: AsyncConnection, organisation: str, address_hashes: Sequence[bytes]) -> None:
    """Trust an address again: it was given anew, or a person says so."""
    column = tables.failing_address.c
    await connection.execute(
        sa.delete(tables.failing_address).where(
            column.organisation == organisation, column.address_hash.in_(address_hashes)
        )
    )


async def trust_again(connection: AsyncConnection, message_ids: Sequence[UUID]) -> None:
    """Trust the addresses again whose hard bounces turned out not to be real."""
    await connection.execute(
        sa.delete(tables.failing_address).where(tables.failing_address.c.message_id.in_(set(message_ids)))
    )


async def balance(connection: AsyncConnection, kind: BurstKind, name: str, since: datetime) -> tuple[int, int]:
    """Give the hard bounces and the mails sent since then, for a provider or an organisation."""
    bounce, count = tables.hard_bounce.c, tables.mail_count.c
    whose = (
        (bounce.provider, count.provider) if kind is BurstKind.PROVIDER else (bounce.organisation, count.organisation)
    )
    hard = await connection.execute(sa.select(sa.func.count()).where(whose[0] == name, bounce.bounced_at >= since))
    sent = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(count.sent), 0)).where(
            whose[1] == name, count.hour >= since.replace(minute=0, second=0, microsecond=0)
        )
    )
    return hard.scalar_one(), int(sent.scalar_one())


async def balances(connection: AsyncConnection, since: datetime) -> dict[tuple[str, str], tuple[int, int]]:
    """Give the hard bounces and the mails sent since then, by (organisation, provider)."""
    bounce, count = tables.hard_bounce.c, tables.mail_count.c
    hard = await connection.execute(
        sa.select(bounce.organisation, bounce.provider, sa.func.count())
        .where(bounce.bounced_at >= since)
        .group_by(bounce.organisation, bounce.provider)
    )
    sent = await connection.execute(
        sa.select(count.organisation, count.provider, sa.func.sum(count.sent))
        .where(count.hour >= since.replace(minute=0, second=0, microsecond=0))
        .group_by(count.organisation, count.provider)
    )
    found = {(organisation, provider): (number, 0) for organisation, provider, number in hard}
    for organisation, provider, number in sent:
        found[organisation, provider] = (found.get((organisation, provider), (0, 0))[0], int(number))
    return found


async def open_bursts(connection: AsyncConnection) -> list[Burst]:
    """Give the bursts that wait for a person."""
    column = tables.burst.c
    rows = await connection.execute(
        sa.select(column.kind, column.name, column.opened_at)
        .where(column.decided_at.is_(None))
        .order_by(column.opened_at)
    )
    return [Burst(BurstKind(row.kind), row.name, row.opened_at) for row in rows]


async def open_burst(connection: AsyncConnection, kind: BurstKind, name: str, now: datetime) -> bool:
    """Open a burst; false when it was open already."""
    try:
        async with connection.begin_nested():
            await connection.execute(sa.insert(tables.burst).values(kind=kind, name=name, opened_at=now))
    except IntegrityError:
        return False
    return True


async def close_burst(
    connection: AsyncConnection, kind: BurstKind, name: str, *, decision: str, by: str, reason: str, now: datetime
) -> bool:
    """Close a burst with a person's decision; false when it was not open."""
    column = tables.burst.c
    changed = await connection.execute(
        sa.update(tables.burst)
        .where(column.kind == kind, column.name == name, column.decided_at.is_(None))
        .values(decided_at=now, decision=decision, decided_by=by, reason=reason[:200])
    )
    return changed.rowcount > 0


async def bounced_since(
    connection: AsyncConnection, kind: BurstKind, name: str, since: datetime
) -> list[tuple[UUID, str]]:
    """Give the messages and channels whose mail bounced hard since then."""
    column = tables.hard_bounce.c
    whose = column.provider if kind is BurstKind.PROVIDER else column.organisation
    rows = await connection.execute(
        sa.select(column.message_id, column.channel)
        .where(whose == name, column.bounced_at >= since)
        .distinct()
        .order_by(column.message_id)
    )
    return [(row.message_id, row.channel) for row in rows]
