"""Decisions from a zaaksysteem's registers: fetched, handed in as messages, and written back when they were sent.

A notification only says where to look; the database remembers that, and a poller finds what no notification told. Every
step can be done again: a message has the decision's own reference, and what is written back is looked up first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import structlog
from prometheus_client import Gauge

from bode.clock import Clock
from bode.domain.parts import PlacementState
from bode.domain.policy import Policy
from bode.domain.terms import legal_day
from bode.intake.accept import Caller, Intake, Route
from bode.intake.faults import Refused
from bode.intake.zgw_mapping import (
    Found,
    Rule,
    Unmapped,
    addressee,
    message_of,
    not_yet,
    rule_for,
    too_confidential,
)
from bode.store import zgw
from bode.store.database import Database
from bode.store.record import read_deliveries
from bode.store.zgw import Decision, State
from bode_adapters.zgw import RegisterAwayError, RegisterRefusedError, Registers
from bode_adapters.zgw.wire import Document

log = structlog.get_logger()

DECISIONS = Gauge(
    "bode_zgw_decisions",
    "Decisions of a zaaksysteem by state; 'late' is one to which a document was linked after it was sent.",
    ["source", "state"],
)
WAITING_AGE = Gauge(
    "bode_zgw_oldest_age_seconds",
    "How long the oldest decision is in this state, for states that are to pass: new, waiting, refused, writing.",
    ["source", "state"],
)

SETTLE = timedelta(seconds=10)
"""How long after a notification a decision is fetched: documents that are linked together come together."""
_FIRST_RETRY = timedelta(minutes=1)
"""How soon a register that did not answer is asked again."""
_FIRST_LOOK = timedelta(minutes=5)
"""How soon a document that was not final is looked at again; a notification about the decision is sooner."""
_LONGEST_WAIT = timedelta(hours=6)
_LEASE = timedelta(minutes=10)
_AT_ONCE = 20
_EVERY_SECONDS = 2.0
_PASSING = (State.NEW, State.WAITING, State.REFUSED, State.WRITING)


@dataclass(frozen=True, slots=True)
class Source:
    """One zaaksysteem: its registers, and how its decisions become messages."""

    name: str
    registers: Registers
    rules: Sequence[Rule]
    organisations: Mapping[str, str]
    """OIN by the RSIN that decisions name."""
    ceiling: str
    since: date
    """Decisions from before this day are not looked for: they were sent by other means."""
    mijn_overheid: frozenset[str] = frozenset()
    """The channels that are MijnOverheid, to be told of in `verzending`."""
    contact: str | None = None
    """The address of the contact person that a `verzending` names; the addressee's role without one."""
    poll: timedelta = timedelta(minutes=15)
    caller: Caller = field(default=Caller("zgw"))


class Zgw:
    """Works the decisions of one database. More than one may run: each takes its own."""

    def __init__(
        self, database: Database, clock: Clock, intake: Intake, policy: Policy, sources: Sequence[Source]
    ) -> None:
        """Take the sources; nothing is opened yet."""
        self._database = database
        self._clock = clock
        self._intake = intake
        self._policy = policy
        self._sources = {source.name: source for source in sources}
        self._polled: dict[str, datetime] = {}

    async def run(self) -> None:
        """Work until cancelled. Whatever goes wrong is logged, and tried again."""
        if not self._sources:
            return
        async with self.opened():
            while True:
                done = 0
                try:
                    done = await self.work()
                    await self._poll()
                    await self.measure()
                except Exception as error:  # noqa: BLE001 - what is to be done stays in the database
                    log.error("zgw.failed", error=type(error).__name__)
                if not done:
                    await asyncio.sleep(_EVERY_SECONDS)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Have the registers open for the length of an `async with`."""
        for source in self._sources.values():
            await source.registers.open()
        try:
            yield
        finally:
            for source in self._sources.values():
                await source.registers.close()

    def is_ours(self, name: str, url: str) -> bool:
        """Tell whether an address lies in a source's register of decisions."""
        return self._sources[name].registers.is_ours("besluiten", url)

    async def notified(self, name: str, *, besluit: str, link: str) -> None:
        """Remember that a document was linked to a decision. Raises what the database raises: then it is sent again."""
        now = self._clock.now()
        async with self._database.write() as connection:
            late = await zgw.wake(connection, name, besluit, link=link, now=now, due_at=now + SETTLE)
        if late:
            log.error("zgw.document_after_sending", source=name, decision=_tail(besluit))

    async def work(self) -> int:
        """Do what is due: fetch, hand in, write back; gives how many decisions."""
        now = self._clock.now()
        async with self._database.write() as connection:
            await zgw.sent(connection, limit=_AT_ONCE, now=now)
            held = await zgw.claim(connection, limit=_AT_ONCE, now=now, until=now + _LEASE)
        await asyncio.gather(*(self._do(item) for item in held))
        return len(held)

    async def reconcile(self, name: str) -> int:
        """Look through the registers for decisions that no notification told of; gives how many were not known."""
        source, found = self._sources[name], 0
        now = self._clock.now()
        for rsin in source.organisations:
            async for besluit in source.registers.besluiten(rsin):
                if besluit.verzenddatum is not None or besluit.datum < source.since:
                    continue
                if not await source.registers.links(besluit.url):
                    continue  # Nothing to send yet: the link is what tells.
                async with self._database.write() as connection:
                    before = await zgw.counts(connection)
                    await zgw.wake(connection, name, besluit.url, link=None, now=now, due_at=now)
                    found += _total(await zgw.counts(connection)) - _total(before)
        if found:
            log.warning("zgw.missed_by_notifications", source=name, decisions=found)
        return found

    async def measure(self) -> None:
        """Set the gauges."""
        now = self._clock.now()
        async with self._database.read() as connection:
            counted = await zgw.counts(connection)
        DECISIONS.clear()
        WAITING_AGE.clear()
        for source, state, count, since in counted:
            DECISIONS.labels(source, state).set(count)
            if state in _PASSING:
                WAITING_AGE.labels(source, state).set((now - since).total_seconds())

    async def _poll(self) -> None:
        now = self._clock.real()
        for name, source in self._sources.items():
            last = self._polled.get(name)
            if last is not None and now - last < source.poll:
                continue
            self._polled[name] = now
            try:
                await self.reconcile(name)
            except (RegisterAwayError, RegisterRefusedError) as error:
                log.warning("zgw.not_reconciled", source=name, answer=error.code)

    # ---- one decision ------------------------------------------------------------------------------------------------

    async def _do(self, held: Decision) -> None:
        source = self._sources.get(held.source)
        if source is None:
            return  # It was taken out of the configuration; what is open stays, and is shown.
        now = self._clock.now()
        try:
            values = await (self._write_back if held.state is State.WRITING else self._send)(source, held)
        except Exception as error:  # noqa: BLE001 - one decision must not hold up the others
            values = self._failed(held, error, now)
        state = values.get("state", held.state)
        if state is not held.state:
            values["since"] = now
        async with self._database.write() as connection:
            kept = await zgw.record(connection, held, **values)
        if kept:
            level = log.error if state is State.REFUSED else log.info
            level("zgw.decided", source=held.source, decision=_tail(held.url), state=state, answer=values.get("answer"))

    def _failed(self, held: Decision, error: Exception, now: datetime) -> dict[str, Any]:
        """Give what follows from an error: again later, or a person."""
        writing = held.state is State.WRITING
        match error:
            case RegisterAwayError(code=code, retry_after=seconds):
                wait = _as_long_again(held, now, _FIRST_RETRY)
                if seconds is not None:
                    wait = max(wait, timedelta(seconds=min(seconds, 86_400)))
                return {"state": State.WRITING if writing else State.WAITING, "answer": code, "due_at": now + wait}
            case RegisterRefusedError(code=code) if writing:
                # The message was sent: what is left is to tell, and a person may mend why that is refused.
                return {"answer": code, "due_at": now + _LONGEST_WAIT}
            case RegisterRefusedError(code=code) | Unmapped(code=code):
                return {"state": State.REFUSED, "answer": code}
            case Refused():
                codes = " ".join(sorted({fault.code for fault in error.faults}))
                return {"state": State.REFUSED, "answer": f"intake: {codes}"[:80]}
            case _:
                log.error("zgw.defect", source=held.source, decision=_tail(held.url), error=type(error).__name__)
                return {"answer": f"defect: {type(error).__name__}"[:80], "due_at": now + _LONGEST_WAIT}

    async def _send(self, source: Source, held: Decision) -> dict[str, Any]:
        """Fetch a decision and hand its message in; or say what it waits for."""
        registers = source.registers
        besluit = await registers.besluit(held.url)
        oin = source.organisations.get(besluit.verantwoordelijke_organisatie)
        if oin is None:
            raise Unmapped("andere_organisatie")
        rule = rule_for(source.rules, besluit.besluittype)
        links = await registers.links(held.url)
        if not links:
            return self._later(held, "geen_document")
        documents: list[Document] = [await registers.document(link.informatieobject) for link in links]
        if any(too_confidential(document, source.ceiling) for document in documents):
            raise Unmapped("te_vertrouwelijk")
        if any(not_yet(document) for document in documents):
            return self._later(held, "document_niet_definitief")
        if not besluit.zaak:
            raise Unmapped("geen_zaak")
        zaak, rollen = await asyncio.gather(registers.zaak(besluit.zaak), registers.rollen(besluit.zaak))
        rol = addressee(rule, rollen)
        contents = [(document, await registers.content(document)) for document in documents]
        body = message_of(rule, Found(besluit, zaak, rollen, contents), oin=oin)
        accepted = await self._intake.accept(msgspec.json.encode(body), route=Route.ZGW, caller=source.caller)
        told = {
            # Open Zaak keeps up to 200 characters of whom it was sent to.
            "role": (rol.betrokkene or rol.url)[:200],
            "contact": source.contact or rol.url,
            "documents": [link.informatieobject for link in links],
            "links": [link.url for link in links],
        }
        return {"state": State.ACCEPTED, "answer": None, "message_id": accepted.id, "told": told}

    def _later(self, held: Decision, why: str) -> dict[str, Any]:
        now = self._clock.now()
        return {"state": State.WAITING, "answer": why, "due_at": now + _as_long_again(held, now, _FIRST_LOOK)}

    async def _write_back(self, source: Source, held: Decision) -> dict[str, Any]:
        """Write the legal day of sending to the decision, and a sending for each document."""
        assert held.message_id is not None
        async with self._database.read() as connection:
            delivery = (await read_deliveries(connection, [held.message_id]))[held.message_id]
        legal = delivery.legal_time(self._policy.primary_channels())
        if legal is None or not legal.standing:
            # The only sending came back: the second one counts, and is told when it has left (L8).
            return {"state": State.ACCEPTED, "answer": "teruggekomen"}
        day = legal_day(legal.at)
        placed = {item.channel for item in delivery.placements if item.state is PlacementState.PLACED}
        await source.registers.set_verzenddatum(held.url, day)
        for document in held.told["documents"]:
            await source.registers.add_verzending(
                document,
                betrokkene=held.told["role"],
                contact=held.told["contact"],
                day=day,
                mijn_overheid=not placed.isdisjoint(source.mijn_overheid),
            )
        return {"state": State.WRITTEN, "answer": None}


def _as_long_again(held: Decision, now: datetime, least: timedelta) -> timedelta:
    """Give the next wait: as long as it stands so already, from `least` to six hours."""
    return min(max(now - held.since, least), _LONGEST_WAIT)


def _total(counted: Sequence[tuple[str, str, int, datetime]]) -> int:
    return sum(count for _, _, count, _ in counted)


def _tail(url: str) -> str:
    """Give the end of an address: its id."""
    return url.rpartition("/")[2][:40]
