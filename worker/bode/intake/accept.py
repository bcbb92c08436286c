"""`Intake.accept`: the one way in for a message, whatever route it came by.

Idempotent by (organisation, reference) with a hash of the body: the same again gives the same answer, another body is
a conflict. Everything is stored in one transaction, or nothing is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from bode.clock import Clock
from bode.domain import events as ev
from bode.domain.decision import Fact
from bode.domain.message import Message
from bode.domain.parts import Brief, Delivery, DeliveryState
from bode.domain.policy import Policy
from bode.failpoints import Point, failpoint
from bode.intake import body as request
from bode.intake import documents
from bode.intake.documents import DocumentLimits
from bode.intake.faults import Conflict, Fault, Refused
from bode.store import mail_health, messages
from bode.store.database import Database
from bode.store.mail_health import Failing
from bode.store.record import Ledger, Ring, lock, write
from bode.store.vault import Vault

log = structlog.get_logger()

ACCEPTED = Counter(
    "bode_intake_accepted_total", "Messages accepted, by route; a repeat counts as known.", ["route", "known"]
)
REFUSED = Counter(
    "bode_intake_refused_total", "Requests refused, by route and the first fault's code.", ["route", "code"]
)


class Route(StrEnum):
    """How a message came in."""

    HTTP = "http"
    QUEUE = "queue"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who hands a message over, and for which administrative bodies (OIN) that is allowed; None: for all."""

    name: str
    organisations: frozenset[str] | None = None

    def may(self, organisation: str) -> bool:
        """Tell whether this caller may send for this body."""
        return self.organisations is None or organisation in self.organisations


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to an accepted message: the same for the same message again."""

    id: UUID
    organisation: str
    reference: str
    accepted_at: datetime
    known: bool = field(compare=False, default=False)
    """True when this message had been accepted before."""


class Intake:
    """Accepts messages."""

    def __init__(
        self,
        *,
        database: Database,
        vault: Vault,
        policy: Policy,
        clock: Clock,
        organisations: frozenset[str],
        ring: Ring,
        limits: DocumentLimits | None = None,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        """Take the parts; `ring` is told the lanes that have work after the commit, `new_id` makes ids."""
        self._database = database
        self._vault = vault
        self._policy = policy
        self._clock = clock
        self._organisations = organisations
        self._ring = ring
        self._new_id = new_id
        self._limits = limits or DocumentLimits()
        documents.bound_reader()

    async def accept(self, raw: bytes, *, route: Route, caller: Caller) -> Accepted:
        """Accept a message. Raises `Refused` (every fault at once) or `Conflict`; then nothing is stored."""
        try:
            accepted = await self._accept(raw, caller)
        except Refused as refused:
            code = refused.faults[0].code if refused.faults else "onbekend"
            REFUSED.labels(route, code).inc()
            log.info("intake.refused", route=route, caller=caller.name, codes=[fault.code for fault in refused.faults])
            raise
        ACCEPTED.labels(route, accepted.known).inc()
        return accepted

    async def _accept(self, raw: bytes, caller: Caller) -> Accepted:
        now = self._clock.now()
        read = request.read(raw)
        body = read.body
        if body is None:
            raise Refused(read.faults)
        allowed = frozenset(oin for oin in self._organisations if caller.may(oin))
        known: dict[str, messages.Known] = {}
        if body.afzender in allowed:
            async with self._database.read() as connection:
                known = await messages.existing(
                    connection, body.afzender, [name for name in (body.kenmerk, body.betreft) if name is not None]
                )
        body_hash = b"" if read.faults else read.hash()
        found = known.get(body.kenmerk) if read.sound("#/kenmerk") else None
        if found is not None and found.body_hash == body_hash:
            # A repeat has the answer of the first time, whatever the clock and the configuration say now.
            return _again(found, body_hash)
        faults = read.faults + request.faults_of(
            read,
            organisations=allowed,
            channels=self._policy.channels,
            now=now,
            has_profile=self._policy.has_profile,
        )
        if body.documenten:
            inside = await asyncio.to_thread(documents.faults_of, body.documenten, self._limits)
            faults += [fault for fault in inside if read.sound(fault.pointer)]
        concerned = known.get(body.betreft) if body.betreft is not None else None
        if body.afzender in allowed and body.betreft not in {None, body.kenmerk} and concerned is None:
            text = "Er is geen eerder bericht met dit kenmerk van deze afzender."
            faults.append(Fault("#/betreft", "betreft_onbekend", text))
        if found is not None:
            conflict = _in_use(found, body_hash)
            raise Refused([*faults, conflict]) if faults else Conflict([conflict])
        if faults:
            raise Refused(faults)
        message = request.to_message(body, self._new_id())
        try:
            return await self._store(message, body_hash, concerned, now)
        except IntegrityError:
            # The same reference came in beside us: answer as for a repeat.
            async with self._database.read() as connection:
                beside = await messages.existing(connection, message.sender, [message.reference])
            if message.reference not in beside:
                raise
            return _again(beside[message.reference], body_hash)

    async def _store(
        self, message: Message, body_hash: bytes, concerned: messages.Known | None, now: datetime
    ) -> Accepted:
        key = self._vault.new_key(message.id)
        failing = await self._failing(message)
        ledger = Ledger(Delivery(brief_of(message, now, failing)), message.sender, is_new=True, key=key)
        ledger.facts.append(
            Fact(
                "SubmissionAcceptance",
                ("L12",),
                detail={
                    "reference": message.reference,
                    "nature": message.nature,
                    "body_sha256": body_hash.hex(),
                    "concerns": message.concerns,
                    "confidentiality": message.confidentiality,
                },
            )
        )
        ledger.apply(ev.Accepted(), self._policy, now)
        ledgers = {message.id: ledger}
        async with self._database.write() as connection:
            if concerned is not None:
                earlier = await lock(connection, [concerned.id], self._vault)
                for found in earlier.values():
                    found.apply(ev.Superseded(message.reference, message.nature), self._policy, now)
                ledgers |= earlier
            new = messages.NewMessage(message, body_hash, key, concerned.id if concerned else None, now)
            await messages.insert(connection, [new], self._vault)
            written = await write(connection, ledgers, policy=self._policy, vault=self._vault, now=now)
            await failpoint(Point.INTAKE_BEFORE_COMMIT)
        await failpoint(Point.INTAKE_AFTER_COMMIT)
        log.info("intake.accepted", message=str(message.id), organisation=message.sender, nature=message.nature)
        await self._ring(written.lanes)
        return Accepted(message.id, message.sender, message.reference, now)

    async def _failing(self, message: Message) -> Failing | None:
        """Tell whether the address is known to fail for this sender; an address given anew since is trusted again."""
        wish = message.notice
        if wish.email is None:
            return None
        hidden = self._vault.email_hash(wish.email)
        async with self._database.read() as connection:
            failing = await mail_health.failing(connection, message.sender, hidden)
        if failing is None:
            return None
        async with self._database.write() as connection:
            return await mail_health.still_failing(connection, message.sender, hidden, given_at=wish.given_at)

    async def cancel(self, message_id: UUID, *, by: str, reason: str) -> None:
        """Call a message back that was not handed to any channel yet (law L9). Raises `Conflict` when it was."""
        now = self._clock.now()
        async with self._database.write() as connection:
            ledgers = await lock(connection, [message_id], self._vault)
            ledger = ledgers.get(message_id)
            if ledger is None:
                raise Refused([Fault("#/id", "onbekend", "Er is geen bericht met dit id.")])
            if ledger.delivery.state is DeliveryState.CANCELLED:
                return
            if ledger.delivery.handed_over or await messages.in_hand(connection, message_id):
                text = "Dit bericht is al onderweg. Stuur een nieuw bericht met de aard 'intrekking' (Awb 2:12)."
                raise Conflict([Fault("#", "al_onderweg", text)])
            ledger.apply(ev.Cancelled(by, reason), self._policy, now)
            await write(connection, ledgers, policy=self._policy, vault=self._vault, now=now)


def _again(found: messages.Known, body_hash: bytes) -> Accepted:
    if found.body_hash != body_hash:
        raise Conflict([_in_use(found, body_hash)])
    return Accepted(found.id, found.organisation, found.reference, found.accepted_at, known=True)


def _in_use(found: messages.Known, body_hash: bytes) -> Fault:
    which = f" (sha256 {found.body_hash.hex()[:12]}…, dit bericht {body_hash.hex()[:12]}…)" if body_hash else ""
    text = f"Dit kenmerk is al gebruikt voor een ander bericht{which}. Gebruik een nieuw kenmerk."
    return Fault("#/kenmerk", "kenmerk_in_gebruik", text)


def brief_of(message: Message, accepted_at: datetime, failing: Failing | None) -> Brief:
    """Give what the rules need to know of a message."""
    return Brief(
        message_id=message.id,
        accepted_at=accepted_at,
        nature=message.nature,
        term=message.term,
        confidentiality=message.confidentiality,
        channels=message.channels,
        addressee_kind=message.addressee.kind,
        has_email=message.notice.email is not None,
        has_address=message.addressee.address is not None,
        email_given_by=message.notice.given_by,
        email_given_at=message.notice.given_at,
        opted_out_at=message.notice.opted_out_at,
        email_failing_since=failing.bounced_at if failing is not None else None,
        email_failing_reason=failing.reason if failing is not None else None,
        publish_at=message.publish_at if message.publish_at and message.publish_at > accepted_at else None,
        concerns=message.concerns,
        email_from_profile=message.notice.from_profile,
    )
