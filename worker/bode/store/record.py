"""Recording: apply events to deliveries, and write what follows, with its evidence, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.decision import Alarm, Fact, Step
from bode.domain.delivery import decide
from bode.domain.events import Event
from bode.domain.parts import Delivery, DeliveryState, LegalTime, ProfileState, letter_id
from bode.domain.policy import Policy
from bode.evidence.chain import GENESIS
from bode.evidence.envelope import Sealed, seal
from bode.store import bulk, changes, steps, tables
from bode.store.vault import MessageKey, Vault, VaultError

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=1024)
def _decode(document: str) -> Delivery:
    """Read a delivery; the same text is read once, for a step is loaded, called, and locked soon after."""
    return _decoder.decode(document)


_decoder = msgspec.json.Decoder(Delivery)


@dataclass(slots=True)
class Ledger:
    """A delivery while events are applied to it, in one transaction."""

    delivery: Delivery
    organisation: str
    seq: int = 0
    previous: bytes = GENESIS
    is_new: bool = False
    before: Delivery | None = None
    """What it was before: none for a new one. Senders are told of the difference."""
    done_at: datetime | None = None
    """Since when it was finished."""
    letters: int = 0
    """How many letters there were before."""
    key: MessageKey | None = None
    facts: list[Fact] = field(default_factory=list[Fact])
    steps: list[Step] = field(default_factory=list[Step])
    closed: list[str] = field(default_factory=list[str])
    rewake: list[tuple[str, datetime]] = field(default_factory=list[tuple[str, datetime]])
    alarms: list[Alarm] = field(default_factory=list[Alarm])

    @property
    def asks_profile(self) -> bool:
        """Whether the profile service's answer is still waited for."""
        profile = self.delivery.profile
        return profile is not None and profile.state is ProfileState.ASKING

    def apply(self, event: Event, policy: Policy, now: datetime) -> None:
        """Decide an event, and keep what follows for `write`."""
        decision = decide(self.delivery, event, policy, now)
        self.delivery = decision.delivery
        self.facts += decision.facts
        for part in decision.closed:
            self.steps = [step for step in self.steps if step.part != part]
        replaced = {step.part for step in decision.steps}
        self.steps = [step for step in self.steps if step.part not in replaced] + list(decision.steps)
        self.closed += decision.closed
        self.closed += replaced
        self.rewake += decision.rewake
        self.alarms += decision.alarms


async def lock(connection: AsyncConnection, message_ids: Sequence[UUID], vault: Vault) -> dict[UUID, Ledger]:
    """Load deliveries for change, locked in the order of their ids, with their message keys where not erased."""
    table = tables.delivery.c
    rows = await connection.execute(
        sa.select(
            table.message_id,
            table.organisation,
            table.document,
            table.event_seq,
            table.event_hash,
            table.done_at,
            tables.content.c.wrapped_key,
        )
        .join_from(tables.delivery, tables.content, table.message_id == tables.content.c.message_id)
        .where(bulk.among(connection, table.message_id, set(message_ids)))
        .order_by(table.message_id)
        .with_for_update(of=tables.delivery)
    )
    ledgers: dict[UUID, Ledger] = {}
    for row in rows:
        delivery = _decode(row.document)
        ledgers[row.message_id] = Ledger(
            delivery,
            row.organisation,
            row.event_seq,
            bytes(row.event_hash),
            before=delivery,
            done_at=row.done_at,
            letters=len(delivery.letters),
            key=_key(row.message_id, row.wrapped_key, vault),
        )
    return ledgers


def _key(message_id: UUID, wrapped: bytes | None, vault: Vault) -> MessageKey | None:
    """Give a message's key; none where it was erased, or cannot be opened: what happened is recorded all the same."""
    if wrapped is None:
        return None
    try:
        return vault.unwrap(message_id, wrapped)
    except VaultError as error:
        log.error("content.cannot_be_opened", message=str(message_id), purpose=error.purpose)
        return None


async def read_deliveries(connection: AsyncConnection, message_ids: Sequence[UUID]) -> dict[UUID, Delivery]:
    """Load deliveries to look at, without a lock."""
    table = tables.delivery.c
    rows = await connection.execute(
        sa.select(table.message_id, table.document).where(bulk.among(connection, table.message_id, set(message_ids)))
    )
    return {row.message_id: _decode(row.document) for row in rows}


Ring = Callable[[Mapping[str, int]], Awaitable[None]]
"""Told after a commit how many steps are ready in which lanes."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A message that reached a final state in a transaction; again, where something came in after it had."""

    message_id: UUID
    organisation: str
    delivery: Delivery
    sent_at: datetime | None
    at: datetime

    def tell(self) -> None:
        """Write the one log line that says how a message ended, how long it took, and by what. After the commit."""
        brief, placements = self.delivery.brief, self.delivery.placements
        notices = [placement.notice for placement in placements if placement.notice is not None]
        noticed_at = min((notice.sent_at for notice in notices if notice.sent_at is not None), default=None)
        log.info(
            "delivery.ended",
            message=str(self.message_id),
            organisation=self.organisation,
            nature=brief.nature,
            state=self.delivery.state,
            outcome=self.delivery.outcome,
            channels=[placement.channel for placement in placements if placement.placed_at is not None],
            placement_attempts=sum(placement.attempts for placement in placements),
            notice_attempts=sum(notice.attempts for notice in notices),
            letters=len(self.delivery.letters),
            seconds=_seconds(brief.accepted_at, self.at),
            seconds_to_sent=_seconds(brief.accepted_at, self.sent_at),
            seconds_to_noticed=_seconds(brief.accepted_at, noticed_at),
        )


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end is not None else None


_FINAL = frozenset({DeliveryState.DONE, DeliveryState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a transaction, to act on after its commit: lanes to ring, alarms to give."""

    lanes: Mapping[str, int]
    """Ready steps per lane."""
    alarms: Sequence[tuple[UUID, Alarm]]
    events: int
    ended: Sequence[Ended] = ()


async def write(
    connection: AsyncConnection, ledgers: Mapping[UUID, Ledger], *, policy: Policy, vault: Vault, now: datetime
) -> Written:
    """Write deliveries, steps and evidence of a transaction, each kind in one statement."""
    new_steps: list[dict[str, object]] = []
    sealed: list[Sealed] = []
    details: list[dict[str, object]] = []
    inserts: list[dict[str, object]] = []
    updates: list[dict[str, object]] = []
    alarms: list[tuple[UUID, Alarm]] = []
    told: list[dict[str, object]] = []
    ended: list[Ended] = []
    primary = policy.primary_channels()
    for message_id, ledger in ledgers.items():
        for fact in ledger.facts:
            event = seal(
                fact,
                message_id=message_id,
                organisation=ledger.organisation,
                seq=ledger.seq + 1,
                previous=ledger.previous,
                recorded_at=now,
            )
            ledger.seq, ledger.previous = event.seq, event.chain
            sealed.append(event)
            if event.salt is not None and event.details is not None and ledger.key is not None:
                purpose = f"event {event.seq}"
                details.append(
                    {
                        "message_id": message_id,
                        "seq": event.seq,
                        "salt": event.salt,
                        "sealed": vault.seal(ledger.key, message_id, purpose, event.details),
                    }
                )
        new_steps += [steps.row_of(step, message_id, now) for step in ledger.steps]
        alarms += [(message_id, alarm) for alarm in ledger.alarms]
        legal = ledger.delivery.legal_time(primary)
        (inserts if ledger.is_new else updates).append(_delivery_row(message_id, ledger, legal, primary, now))
        ended += _ended(message_id, ledger, legal, now)
        told += _changes(message_id, ledger, legal, primary, now)
    await bulk.insert(connection, tables.delivery, inserts)
    await bulk.update(connection, tables.delivery, "message_id", updates)
    await _write_steps(connection, ledgers, new_steps)
    await changes.insert(connection, told)
    await bulk.insert(connection, tables.event, [_event_row(event) for event in sealed])
    await bulk.insert(connection, tables.event_detail, details)
    await bulk.insert(connection, tables.letter_name, _names_of_new_letters(ledgers))
    stop = {alarm.lane: alarm for _, alarm in alarms if alarm.stop}
    for lane, alarm in stop.items():
        await steps.stop_lane(connection, lane, reason=alarm.code, by="bode", now=now)
    lanes: dict[str, int] = {}
    for row in new_steps:
        if row["state"] == "ready":
            lanes[str(row["lane"])] = lanes.get(str(row["lane"]), 0) + 1
    return Written(lanes, alarms, len(sealed), ended)


def _delivery_row(
    message_id: UUID, ledger: Ledger, legal: LegalTime | None, primary: frozenset[str], now: datetime
) -> dict[str, object]:
    delivery = ledger.delivery
    letter = delivery.letters[-1] if delivery.letters else None
    row: dict[str, object] = {
        "message_id": message_id,
        "state": str(delivery.state),
        "outcome": str(delivery.outcome),
        "notice_deadline_at": delivery.notice_deadline,
        "sent_at": legal.at if legal is not None else None,
        "document": _encode(delivery).decode(),
        "event_seq": ledger.seq,
        "event_hash": ledger.previous,
        "updated_at": now,
        # Since when it is finished: an event after that moves no term of retention.
        "done_at": (ledger.done_at or now) if delivery.state is DeliveryState.DONE else None,
        "box": delivery.box(primary),
        "bounce": str(delivery.came_back) if delivery.came_back is not None else None,
        "letter": str(letter.state) if letter is not None else None,
        "letter_at": letter.requested_at if letter is not None else None,
        "held": str(delivery.held_by) if delivery.held_by is not None else None,
    }
    if ledger.is_new:
        row |= {"organisation": ledger.organisation, "accepted_at": delivery.brief.accepted_at}
    return row


def _ended(message_id: UUID, ledger: Ledger, legal: LegalTime | None, now: datetime) -> list[Ended]:
    """Give a message that this transaction brought to its end: nothing, or that one."""
    before, delivery = ledger.before, ledger.delivery
    if delivery.state not in _FINAL or (before is not None and before.state in _FINAL):
        return []
    return [Ended(message_id, ledger.organisation, delivery, legal.at if legal is not None else None, now)]


def _changes(
    message_id: UUID, ledger: Ledger, legal: LegalTime | None, primary: frozenset[str], now: datetime
) -> list[dict[str, object]]:
    """Give what the sender is to be told of a message, once: nothing, or one row."""
    before = ledger.before
    old = None
    if before is not None:
        same = before.sendings is ledger.delivery.sendings
        old = legal if same else before.legal_time(primary)
    row = changes.row_of(message_id, ledger.organisation, before, ledger.delivery, old=old, legal=legal, now=now)
    ledger.before = ledger.delivery
    return [row] if row is not None else []


def _names_of_new_letters(ledgers: Mapping[UUID, Ledger]) -> list[dict[str, object]]:
    """Give the rows of the letters that were ordered in this transaction."""
    return [
        {"letter_id": letter_id(message_id, number), "message_id": message_id, "number": number}
        for message_id, ledger in ledgers.items()
        for number in range(ledger.letters, len(ledger.delivery.letters))
    ]


async def _write_steps(
    connection: AsyncConnection, ledgers: Mapping[UUID, Ledger], new_steps: list[dict[str, object]]
) -> None:
    """Call off and add steps. One in a worker's hands is left to that worker: its answer is decided when it comes."""
    column = tables.step.c
    off = [
        (message_id, part)
        for message_id, ledger in ledgers.items()
        if not ledger.is_new
        for part in dict.fromkeys(ledger.closed)
    ]
    if off:
        named = bulk.pairs_among(connection, (column.message_id, column.part), off)
        await connection.execute(sa.delete(tables.step).where(named, column.state != "leased"))
    for message_id, ledger in ledgers.items():
        for part, wake_at in ledger.rewake:
            await connection.execute(
                sa.update(tables.step)
                .where(column.message_id == message_id, column.part == part)
                .values(wake_at=wake_at)
            )
    await bulk.insert(connection, tables.step, new_steps)


def _event_row(event: Sealed) -> dict[str, object]:
    return {
        "message_id": event.message_id,
        "seq": event.seq,
        "name": event.name,
        "part": event.part,
        "at": event.at,
        "recorded_at": event.recorded_at,
        "envelope": event.envelope,
        "hash": event.hash,
    }
