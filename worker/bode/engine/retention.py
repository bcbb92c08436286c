"""Retention: lets go what its term is over of, in small transactions, each with the event that says so (L13).

More than one may run: a message is locked and looked at again before anything of it goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog
from prometheus_client import Counter

from bode.clock import Clock
from bode.domain.decision import Fact
from bode.domain.policy import Policy
from bode.domain.retention import PURGES, Kind, Terms
from bode.engine.documents import remove
from bode.store import retention
from bode.store.database import Database
from bode.store.documents import Documents, NoDocuments
from bode.store.record import lock, write
from bode.store.vault import Vault

log = structlog.get_logger()

PURGED = Counter("bode_purged_total", "What went because its term was over, by kind of data.", ["kind"])
EVENTS = {Kind.CONTENT: "content.purged", Kind.PERSONAL: "person.purged", Kind.EVIDENCE: "detail.shredded"}
"""What says in evidence that a kind of data of a message went."""
BATCH = 100
ALL_OTHERS = "*"
"""Stands for every organisation without terms of its own."""
Found = dict[tuple[str, Kind], int]
"""How much went, or is due, by organisation and kind."""


class Retention:
    """Lets data of one database go."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        policy: Policy,
        clock: Clock,
        *,
        terms: Terms,
        own: Mapping[str, Terms],
        documents: Documents | None = None,
    ) -> None:
        """Take the terms, those of organisations that have their own, by OIN, and the store of documents if any."""
        self._database = database
        self._vault = vault
        self._policy = policy
        self._clock = clock
        self._terms = terms
        self._own = dict(own)
        self._documents = documents or NoDocuments()

    async def run(self, every_seconds: float) -> None:
        """Purge until cancelled. Trouble is logged, and the next round tries again."""
        while True:
            try:
                await self.purge()
            except Exception as error:  # noqa: BLE001 - what is due stays due: nothing may end this
                log.error("retention.failed", error=type(error).__name__)
            await asyncio.sleep(every_seconds)

    async def due(self) -> Found:
        """Count what would go now, and change nothing. A message due for more than one kind counts for the first."""
        now, found = self._clock.now(), Found()
        async with self._database.read() as connection:
            for organisation, others, terms in self._parties():
                after = None
                for kind in PURGES:
                    before = now - terms.of(kind)
                    count = await retention.count_due(
                        connection, kind, organisation=organisation, others=others, before=before, after=after
                    )
                    found[organisation or ALL_OTHERS, kind] = count
                    after = before
            before = now - self._terms.received
            found[ALL_OTHERS, Kind.RECEIVED] = await retention.purge_received(connection, before, dry_run=True)
            before = now - self._terms.audit
            found[ALL_OTHERS, Kind.AUDIT] = await retention.purge_audit(connection, before, now, dry_run=True)
        return {key: count for key, count in found.items() if count}

    async def purge(self) -> Found:
        """Let everything go that is due; gives how much."""
        now, gone = self._clock.now(), Found()
        for organisation, others, terms in self._parties():
            for kind in PURGES:
                count = await self._purge(kind, organisation, others, terms, now)
                gone[organisation or ALL_OTHERS, kind] = count
        async with self._database.write() as connection:
            before = now - self._terms.received
            gone[ALL_OTHERS, Kind.RECEIVED] = await retention.purge_received(connection, before, dry_run=False)
        async with self._database.write() as connection:
            before = now - self._terms.audit
            gone[ALL_OTHERS, Kind.AUDIT] = await retention.purge_audit(connection, before, now, dry_run=False)
        gone = {key: count for key, count in gone.items() if count}
        for (organisation, kind), count in gone.items():
            PURGED.labels(kind).inc(count)
            log.info("retention.purged", organisation=organisation, kind=kind, count=count)
        return gone

    def _parties(self) -> Iterator[tuple[str | None, Collection[str], Terms]]:
        for organisation, terms in self._own.items():
            yield organisation, (), terms
        yield None, list(self._own), self._terms

    async def _purge(
        self, kind: Kind, organisation: str | None, others: Collection[str], terms: Terms, now: datetime
    ) -> int:
        before, total = now - terms.of(kind), 0
        while True:
            async with self._database.read() as connection:
                found = await retention.due(
                    connection, kind, organisation=organisation, others=others, before=before, limit=BATCH
                )
            if not found:
                return total
            done = await self._purge_batch(kind, found, before, now)
            total += done
            if not done:
                return total  # All of them were held, or taken by another process, between the two looks.

    async def _purge_batch(self, kind: Kind, ids: Sequence[UUID], before: datetime, now: datetime) -> int:
        async with self._database.write() as connection:
            ledgers = await lock(connection, ids, self._vault)
            still = await retention.still_due(connection, kind, ids, before)
            ledgers = {one: ledger for one, ledger in ledgers.items() if one in still}
            keys = {one: ledger.key for one, ledger in ledgers.items()}
            for ledger in ledgers.values():
                ledger.facts.append(Fact(EVENTS[kind], ("L13",), at=now, detail={"by": "bode", "term": "over"}))
            objects = await retention.objects_of(connection, list(ledgers))
            if ledgers:
                await write(connection, ledgers, policy=self._policy, vault=self._vault, now=now)
                await retention.purge(connection, kind, keys, self._vault, now)
        await remove(self._documents, objects)
        return len(ledgers)
