"""`Intake.accept`: the one way in for a message, whatever route it came by.

Idempotent by (organisation, reference) with a hash of the body: the same again gives the same answer, another body is
a conflict. Everything is stored in one transaction, or nothing is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError

from bode.clock import Clock
from bode.domain import events as ev
from bode.domain.decision import Detail, Fact
from bode.domain.message import Message
from bode.domain.parts import Brief, Delivery, DeliveryState
from bode.domain.policy import Policy
from bode.domain.volume import VolumeLimits, VolumeRule
from bode.failpoints import Point, failpoint
from bode.intake import body as request
from bode.intake import documents, volume
from bode.intake.documents import DocumentLimits
from bode.intake.faults import Conflict, Fault, Refused
from bode.intake.fetching import Fetcher
from bode.store import events, mail_health, messages
from bode.store.database import Database
from bode.store.documents import Elsewhere
from bode.store.mail_health import Failing
from bode.store.record import Ledger, Ring, lock, write
from bode.store.vault import MessageKey, Vault
from bode.tracing import Span, Trace, about

log = structlog.get_logger()

_REJECTED, _MOST_REJECTED = "SubmissionRejection", 20
"""The event of a message that was refused because of another, and how many of them that one keeps."""

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
    ZGW = "zgw"
    HEARTBEAT = "heartbeat"
    """From Bode itself: to be left out where senders' messages are counted."""


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


class _Asked:
    """A request that was read: what it says, and the hash of that (empty where it has faults)."""

    __slots__ = ("body", "body_hash", "read")

    def __init__(self, read: request.Read) -> None:
        self.read = read
        self.body = read.body
        self.body_hash = b"" if read.faults else read.hash()

    @property
    def fetches(self) -> bool:
        """Tell whether documents of the request are still to be fetched."""
        return self.body is not None and any(item.url is not None for item in self.body.documenten)

    @property
    def references(self) -> list[str]:
        """The references that the request names: its own, and that of an earlier message."""
        body = self.body
        return [name for name in (body.kenmerk, body.betreft) if name is not None] if body is not None else []


@dataclass(frozen=True, slots=True)
class _Ready:
    """A message without faults, to be stored."""

    message: Message
    body_hash: bytes
    concerned: messages.Known | None


def _apart(asked: Sequence[_Asked]) -> Iterator[list[_Asked]]:
    """Split where a request names a message that an earlier one of the same part would make.

    One whose documents are still to be fetched goes alone: they are not counted in what is held at once.
    """
    together: list[_Asked] = []
    made: set[tuple[str, str]] = set()
    fetches = False
    for item in asked:
        body = item.body
        if body is not None:
            if together and (fetches or item.fetches or any((body.afzender, name) in made for name in item.references)):
                yield together
                together, made = [], set()
            fetches = item.fetches
            made.add((body.afzender, body.kenmerk))
        together.append(item)
    if together:
        yield together


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
        fetcher: Fetcher | None = None,
        new_id: Callable[[], UUID] = uuid4,
        trace: Trace | None = None,
        limits_of: Mapping[str, VolumeLimits] | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Take the parts; `ring` is told the lanes that have work after the commit, `new_id` makes ids.

        `limits_of` tells how much organisations may send before a person looks, `elsewhere` where large documents go.
        """
        self._trace = trace
        self._database = database
        self._vault = vault
        self._policy = policy
        self._clock = clock
        self._organisations = organisations
        self._ring = ring
        self._new_id = new_id
        self._limits = limits or DocumentLimits()
        self._fetcher = fetcher or Fetcher([])
        self._limits_of = limits_of or {}
        self._elsewhere = elsewhere or Elsewhere()
        documents.bound_reader()

    async def accept(
        self, raw: bytes, *, route: Route, caller: Caller, also: Mapping[str, str] | None = None
    ) -> Accepted:
        """Accept a message. Raises `Refused` (every fault at once) or `Conflict`; then nothing is stored.

        `also` are fields that follow from where it was sent, and that the request itself leaves out.
        """
        try:
            accepted = await self._accept(_Asked(request.read(raw, also)), caller)
        except Refused as refused:
            _count(refused, route)
            log.info("intake.refused", route=route, caller=caller.name, codes=[fault.code for fault in refused.faults])
            await self._keep_refusal(refused)
            raise
        _count(accepted, route)
        return accepted

    async def accept_many(self, raws: Sequence[bytes], *, route: Route, caller: Caller) -> list[Accepted | Refused]:
        """Accept messages together, with the answer that each would have had alone, in the same order.

        One transaction stores all that can be: a row that is refused leaves the others as they are. A row that names
        a reference of an earlier one waits for it, as if they had come one after the other. Raises what the database
        raises while it is away; what was stored by then gives the same answer when it is sent again.
        """
        answers: list[Accepted | Refused] = []
        asked = await asyncio.to_thread(lambda: [_Asked(request.read(raw)) for raw in raws])
        for together in _apart(asked):
            answers += await self._accept_together(together, caller)
        for answer in answers:
            _count(answer, route)
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if refused:
            codes = sorted({fault.code for item in refused for fault in item.faults})
            log.info("intake.rows_refused", route=route, caller=caller.name, rows=len(refused), codes=codes)
            for answer in refused:
                await self._keep_refusal(answer)
        return answers

    async def _accept_together(self, asked: Sequence[_Asked], caller: Caller) -> list[Accepted | Refused]:
        now = self._clock.now()
        judged = await self._judge(asked, caller, now)
        ready = [item for item in judged if isinstance(item, _Ready)]
        try:
            stored = iter(await self._store(ready, caller, now))
        except IntegrityError:
            # A reference came in beside us: one by one, so that only that row has another answer.
            return [await self._alone(item, caller) for item in asked]
        return [next(stored) if isinstance(item, _Ready) else item for item in judged]

    async def _alone(self, asked: _Asked, caller: Caller) -> Accepted | Refused:
        try:
            return await self._accept(asked, caller)
        except Refused as refused:
            return refused

    async def _accept(self, asked: _Asked, caller: Caller) -> Accepted:
        now = self._clock.now()
        (judged,) = await self._judge([asked], caller, now)
        if isinstance(judged, Refused):
            raise judged
        if isinstance(judged, Accepted):
            return judged
        try:
            (accepted,) = await self._store([judged], caller, now)
        except IntegrityError:
            # The same reference came in beside us: answer as for a repeat.
            message = judged.message
            async with self._database.read() as connection:
                beside = await messages.existing(connection, message.sender, [message.reference])
            if message.reference not in beside:
                raise
            return _again(beside[message.reference], judged.body_hash)
        return accepted

    async def _judge(self, asked: Sequence[_Asked], caller: Caller, now: datetime) -> list[_Ready | Accepted | Refused]:
        """Give what is to be stored, or the answer where nothing is."""
        allowed = self._allowed(caller)
        wanted: dict[str, set[str]] = {}
        for item in asked:
            if item.body is not None and item.body.afzender in allowed:
                wanted.setdefault(item.body.afzender, set()).update(item.references)
        known: dict[str, dict[str, messages.Known]] = {}
        if wanted:
            async with self._database.read() as connection:
                for organisation, references in wanted.items():
                    known[organisation] = await messages.existing(connection, organisation, sorted(references))
        judged: list[_Ready | Accepted | Refused] = []
        for item in asked:
            try:
                judged.append(await self._judge_one(item, caller, known, now))
            except Refused as refused:
                judged.append(refused)
        return judged

    def _allowed(self, caller: Caller) -> frozenset[str]:
        return frozenset(oin for oin in self._organisations if caller.may(oin))

    async def _judge_one(
        self, asked: _Asked, caller: Caller, all_known: Mapping[str, dict[str, messages.Known]], now: datetime
    ) -> _Ready | Accepted:
        read, body, body_hash = asked.read, asked.body, asked.body_hash
        allowed = self._allowed(caller)
        if body is None:
            raise Refused(read.faults)
        if body.afzender in self._organisations - allowed:
            log.warning("api.refused_tenant", caller=caller.name, organisation=body.afzender)
        known = all_known.get(body.afzender, {})
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
            if faults:
                raise Refused([*faults, conflict])
            raise Conflict([conflict], about=found.id, body_hash=body_hash)
        if not faults and asked.fetches:
            # The others' documents are asked for only where all the rest is right.
            body, faults = await self._fetcher.fetched(body)
            faults = faults or await asyncio.to_thread(documents.faults_of, body.documenten, self._limits)
        if faults:
            raise Refused(faults)
        return _Ready(request.to_message(body, self._new_id()), body_hash, concerned)

    async def _store(self, ready: Sequence[_Ready], caller: Caller, now: datetime) -> list[Accepted]:
        """Store messages in one transaction, or none of them."""
        if not ready:
            return []
        began = time.time_ns()
        failing = await self._failing([item.message for item in ready])
        weighed = await self._weigh([item.message for item in ready], now)
        ledgers: dict[UUID, Ledger] = {}
        new: list[messages.NewMessage] = []
        for item in ready:
            message, key = item.message, self._vault.new_key(item.message.id)
            ledgers[message.id] = self._ledger(item, key, failing.get(message.id), weighed.held.get(message.id), now)
            concerns = item.concerned.id if item.concerned else None
            objects = await messages.put_large(message, key, self._vault, self._elsewhere)
            new.append(messages.NewMessage(message, item.body_hash, key, concerns, now, caller.name, objects))
        async with self._database.write() as connection:
            if concerned := {item.concerned.id for item in ready if item.concerned is not None}:
                earlier = await lock(connection, sorted(concerned), self._vault)
                for item in ready:
                    if item.concerned is not None and (found := earlier.get(item.concerned.id)) is not None:
                        found.apply(ev.Superseded(item.message.reference, item.message.nature), self._policy, now)
                ledgers |= earlier
            await messages.insert(connection, new, self._vault)
            written = await write(connection, ledgers, policy=self._policy, vault=self._vault, now=now)
            began_to_hold = await volume.write(connection, weighed, now)
            await failpoint(Point.INTAKE_BEFORE_COMMIT)
        await failpoint(Point.INTAKE_AFTER_COMMIT)
        for message in (item.message for item in ready):
            log.info("intake.accepted", message=str(message.id), organisation=message.sender, nature=message.nature)
        for organisation, rule in began_to_hold:
            volume.tell(organisation, rule, weighed.opens[organisation, rule])
        if self._trace is not None:
            ended = time.time_ns()
            self._trace(
                [Span(item.message.id, "intake", began, ended, {}, about(item.message, self._vault)) for item in ready]
            )
        await self._ring(written.lanes)
        return [Accepted(item.message.id, item.message.sender, item.message.reference, now) for item in ready]

    def _ledger(
        self, ready: _Ready, key: MessageKey, failing: Failing | None, held: VolumeRule | None, now: datetime
    ) -> Ledger:
        message = ready.message
        ledger = Ledger(Delivery(brief_of(message, now, failing)), message.sender, is_new=True, key=key)
        ledger.facts.append(
            Fact(
                "SubmissionAcceptance",
                ("L12",),
                detail={
                    "reference": message.reference,
                    "nature": message.nature,
                    "body_sha256": ready.body_hash.hex(),
                    "concerns": message.concerns,
                    "confidentiality": message.confidentiality,
                },
            )
        )
        ledger.apply(ev.Accepted(held), self._policy, now)
        return ledger

    async def _weigh(self, asked: Sequence[Message], now: datetime) -> volume.Weighed:
        if not any(message.sender in self._limits_of for message in asked):
            return volume.Weighed()
        async with self._database.read() as connection:
            return await volume.weigh(connection, asked, self._limits_of, self._vault, now)

    async def _failing(self, asked: Sequence[Message]) -> dict[UUID, Failing]:
        """Give the addresses known to fail for their sender; one given anew since is trusted again."""
        hidden = {
            item.id: (item.sender, self._vault.email_hashes(item.notice.email))
            for item in asked
            if item.notice.email is not None
        }
        if not hidden:
            return {}
        async with self._database.read() as connection:
            asked_for = {(sender, one) for sender, hashes in hidden.values() for one in hashes}
            known = await mail_health.failing_among(connection, asked_for)
        failing: dict[UUID, Failing] = {}
        for item in asked:
            sender, hashes = hidden.get(item.id, (item.sender, ()))
            if not any((sender, one) in known for one in hashes):
                continue
            async with self._database.write() as connection:
                still = await mail_health.still_failing(connection, sender, hashes, given_at=item.notice.given_at)
            if still is not None:
                failing[item.id] = still
        return failing

    async def _keep_refusal(self, refused: Refused) -> None:
        """Write down, with the message that is there, that another one under its reference was refused (L12).

        Each body once, and no more than a few: a sender that goes on and on does not fill the log.
        """
        if not isinstance(refused, Conflict) or refused.about is None:
            return
        now = self._clock.now()
        async with self._database.write() as connection:
            ledgers = await lock(connection, [refused.about], self._vault)
            kept = [
                event.detail.get("body_sha256")
                for event in await events.of_message(connection, refused.about)
                if event.name == _REJECTED
            ]
            hashed = refused.body_hash.hex()
            if refused.about not in ledgers or hashed in kept or len(kept) >= _MOST_REJECTED:
                return
            detail: Detail = {"body_sha256": hashed, "codes": sorted({fault.code for fault in refused.faults})}
            ledgers[refused.about].facts.append(Fact(_REJECTED, ("L12",), at=now, detail=detail))
            await write(connection, ledgers, policy=self._policy, vault=self._vault, now=now)

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
            written = await write(connection, ledgers, policy=self._policy, vault=self._vault, now=now)
        for ended in written.ended:
            ended.tell()


def _count(answer: Accepted | Refused, route: Route) -> None:
    if isinstance(answer, Accepted):
        ACCEPTED.labels(route, answer.known).inc()
    else:
        REFUSED.labels(route, answer.faults[0].code if answer.faults else "onbekend").inc()


def _again(found: messages.Known, body_hash: bytes) -> Accepted:
    if found.body_hash != body_hash:
        raise Conflict([_in_use(found, body_hash)], about=found.id, body_hash=body_hash)
    return Accepted(found.id, found.organisation, found.reference, found.accepted_at, known=True)


def _in_use(found: messages.Known, body_hash: bytes) -> Fault:
    which = f" (sha256 {found.body_hash.hex()}, dit bericht {body_hash.hex()})" if body_hash else ""
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
