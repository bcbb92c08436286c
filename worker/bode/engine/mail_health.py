"""Mail health: addresses that fail are remembered, and bursts of hard bounces hold letters until a person decides.

A burst is a sign that something else is wrong than the addressees: a provider's directory that is down, an export with
a shifted column. Then letters by the hundred would be wrong, and good addresses distrusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter as Metric
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.store import mail_health as store
from bode.store.mail_health import BurstKind, HardBounce
from bode.store.vault import Vault

log = structlog.get_logger()

BURSTS = Metric("bode_bounce_bursts_total", "Bursts of hard bounces that hold letters, by whose they are.", ["kind"])

_NOT_THE_PROVIDERS = frozenset({Reason.HOST_UNKNOWN, Reason.ADDRESS_SYNTAX})
"""A domain that does not exist, or an address nobody can read, says nothing about a provider."""
NOBODY = "-"
"""The provider of such an address."""
OTHERS = "other"
"""The group of the providers that config/providers.toml does not name."""


@dataclass(frozen=True, slots=True)
class BurstLimits:
    """When hard bounces are a burst: at least `least` of them in `window`, and this share of all mail."""

    window: timedelta = timedelta(hours=6)
    provider_least: int = 10
    provider_share: float = 0.2
    organisation_least: int = 25
    organisation_share: float = 0.2

    def exceeded(self, kind: BurstKind, hard: int, sent: int) -> bool:
        """Tell whether these numbers are a burst."""
        provider = kind is BurstKind.PROVIDER
        least = self.provider_least if provider else self.organisation_least
        share = self.provider_share if provider else self.organisation_share
        return hard >= least and hard >= share * (hard + sent)


class Providers:
    """Which provider an address is at."""

    def __init__(self, domains: Mapping[str, Sequence[str]], vault: Vault) -> None:
        """Take the domains of each provider, and the vault whose keyed hash names a domain nobody listed."""
        self._names = frozenset(domains)
        self._provider_of = {domain: name for name, listed in domains.items() for domain in listed}
        self._vault = vault

    def of(self, address: str) -> str:
        """Give the provider: a listed name, or a keyed hash of the domain, which can be a family's own."""
        domain = address.rpartition("@")[2].lower()
        return self._provider_of.get(domain) or f"domain-{self._vault.lookup_hash('domain', domain).hex()[:12]}"

    def group(self, provider: str) -> str:
        """Give a listed provider's own name, and one name for all others: a label may not grow with the addresses."""
        return provider if provider in self._names else OTHERS


@dataclass(frozen=True, slots=True)
class Balance:
    """Mails of the guard's window: those that bounced hard, and those that left. A late bounce is among both."""

    hard: int
    sent: int

    @property
    def rate(self) -> float:
        """The share that bounced hard, as `BurstLimits` compares it."""
        return self.hard / (self.hard + self.sent) if self.hard else 0.0


@dataclass(frozen=True, slots=True)
class Address:
    """Whose mail it was (OIN), and where it went."""

    organisation: str
    email: str = field(repr=False)


class MailHealth:
    """Watches what becomes of mail, in the transaction that records it."""

    def __init__(self, providers: Providers, vault: Vault, limits: BurstLimits | None = None) -> None:
        """Take the providers, the vault whose keyed hash stands for an address, and the limits of a burst."""
        self._providers = providers
        self._vault = vault
        self._limits = limits or BurstLimits()

    async def weigh(
        self,
        connection: AsyncConnection,
        happened: Sequence[tuple[UUID, ev.Event]],
        addresses: Mapping[UUID, Address],
        now: datetime,
    ) -> tuple[list[tuple[UUID, ev.Event]], list[tuple[UUID, ev.Event]]]:
        """Keep what became of mails. Gives the events to decide, and events for messages that bounced before.

        A hard bounce in a burst comes back as held: no letter before a person decides.
        """
        await self._count_sent(connection, happened, addresses, now)
        hard = [
            bounce
            for message_id, event in happened
            if message_id in addresses and (bounce := self._hard(message_id, event, addresses[message_id], now))
        ]
        if not hard:
            return list(happened), []
        await store.keep_hard(connection, hard)
        bursts = {(burst.kind, burst.name) for burst in await store.open_bursts(connection)}
        opened = [one for one in sorted(_suspects(hard) - bursts) if await self._opens(connection, *one, now)]
        earlier = [
            (message_id, ev.BurstSuspected(channel))
            for kind, name in opened
            for message_id, channel in await store.bounced_since(connection, kind, name, now - self._limits.window)
        ]
        held = {bounce.message_id for bounce in hard if _suspects([bounce]) & (bursts | set(opened))}
        decide = [
            (message_id, replace(event, held=True))
            if message_id in held and isinstance(event, ev.NoticeBounced) and event.bounce.verdict is Verdict.HARD
            else (message_id, event)
            for message_id, event in happened
        ]
        return decide, [(message_id, event) for message_id, event in earlier if message_id not in held]

    async def balances(self, connection: AsyncConnection, now: datetime) -> dict[tuple[str, str], Balance]:
        """Give what the guard weighs now, by organisation and group of providers; for metrics, so of bounded number."""
        found: dict[tuple[str, str], Balance] = {}
        recent = await store.balances(connection, now - self._limits.window)
        for (organisation, provider), (hard, sent) in recent.items():
            group = (organisation, self._providers.group(provider))
            before = found.get(group, Balance(0, 0))
            found[group] = Balance(before.hard + hard, before.sent + sent)
        return found

    async def _count_sent(
        self,
        connection: AsyncConnection,
        happened: Sequence[tuple[UUID, ev.Event]],
        addresses: Mapping[UUID, Address],
        now: datetime,
    ) -> None:
        hour = now.replace(minute=0, second=0, microsecond=0)
        sent = Counter(
            (hour, where.organisation, self._providers.of(where.email))
            for message_id, event in happened
            if isinstance(event, (ev.NoticeSent, ev.Placed)) and (where := addresses.get(message_id)) is not None
        )
        if sent:
            await store.count_sent(connection, sent)

    def _hard(self, message_id: UUID, event: ev.Event, where: Address, now: datetime) -> HardBounce | None:
        if not isinstance(event, (ev.NoticeBounced, ev.CarrierBounced)) or event.bounce.verdict is not Verdict.HARD:
            return None
        own_fault = event.bounce.reason in _NOT_THE_PROVIDERS
        return HardBounce(
            message_id,
            event.channel,
            where.organisation,
            NOBODY if own_fault else self._providers.of(where.email),
            self._vault.email_hashes(where.email)[0],
            event.bounce.reason,
            event.bounce.rule,
            now,
        )

    async def _opens(self, connection: AsyncConnection, kind: BurstKind, name: str, now: datetime) -> bool:
        """Open a burst where the numbers say so."""
        hard, sent = await store.balance(connection, kind, name, now - self._limits.window)
        if not self._limits.exceeded(kind, hard, sent) or not await store.open_burst(connection, kind, name, now):
            return False
        BURSTS.labels(kind).inc()
        log.error("mail.burst_opened", kind=kind, name=name, hard=hard, sent=sent)
        return True


def _suspects(bounces: Sequence[HardBounce]) -> set[tuple[BurstKind, str]]:
    """Give the providers and organisations whose burst these bounces could be."""
    providers = {(BurstKind.PROVIDER, bounce.provider) for bounce in bounces if bounce.provider != NOBODY}
    return providers | {(BurstKind.ORGANISATION, bounce.organisation) for bounce in bounces}
