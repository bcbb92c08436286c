"""Extracts of evidence (afschriften, L12), and erasing what is personal (L13). Both are themselves events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.clock import Clock
from bode.domain.decision import Detail, Fact, staff_action, typed
from bode.domain.parts import DeliveryState
from bode.domain.policy import Policy
from bode.domain.retention import may_be_erased_from
from bode.engine.documents import remove
from bode.evidence.extract import Closed, Draft, Open, build
from bode.evidence.statement import ISSUED
from bode.store import evidence_log, retention, tables
from bode.store.database import Database
from bode.store.documents import Documents, NoDocuments
from bode.store.events import StoredEvent, details_of, of_message
from bode.store.record import Ledger, lock, write
from bode.store.vault import Vault

SHREDDED = "detail.shredded"


class Audience(StrEnum):
    """Whom an extract is for; the act of giving it out says so."""

    ADDRESSEE = "addressee"
    """What the addressee can ask for (Awb 2:25): what was sent, noticed, came back and was done about it."""
    SENDER = "sender"
    """Everything."""
    COURT = "court"
    """Everything."""


_INTERNAL = frozenset(
    {
        "event.recorded",
        "attention.asked",
        "staff.action",
        "placement.pending",
        "copy.issued",
        "SubmissionRejection",
    }
)
"""What an addressee's extract leaves closed: how the sender works, not what was sent, noticed or came back."""


class UnknownEventError(Exception):
    """An extract was asked of events that the message does not have; says which there are."""

    def __init__(self, unknown: Collection[str], known: Collection[str]) -> None:
        """Keep the parts as attributes."""
        super().__init__(
            f"the message has no event {', '.join(sorted(unknown))}; it has {', '.join(sorted(known)) or 'none'}"
        )
        self.unknown = frozenset(unknown)


class CannotEraseError(Exception):
    """Personal data cannot be erased now; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Issued:
    """An extract that was recorded, and can be built once a checkpoint covers it."""

    draft: Draft
    seq: int
    """The number of its own event."""
    envelope: bytes

    @property
    def open_seqs(self) -> list[int]:
        """The events to prove: those that are open, and its own."""
        return [seq for seq, event in enumerate(self.draft.events, start=1) if isinstance(event, Open)] + [self.seq]


MakePdf = Callable[[Sequence[StoredEvent], int], bytes]
"""Writes the story of the open events with their details, given how many there are in all."""


class Copies:
    """Gives out extracts of one database, and erases what is personal in it."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        policy: Policy,
        clock: Clock,
        origin: str,
        *,
        documents: Documents | None = None,
    ) -> None:
        """Take the parts; `origin` is the name of the log, `documents` the store of documents where there is one."""
        self._documents = documents or NoDocuments()
        self._database = database
        self._vault = vault
        self._policy = policy
        self._clock = clock
        self._origin = origin

    async def issue(
        self,
        message_id: UUID,
        *,
        audience: Audience,
        only: Collection[str] = (),
        by: str,
        make_pdf: MakePdf,
    ) -> Issued:
        """Record that an extract is given out, and to whom. `only` names the kinds of event to open.

        Raises `UnknownEventError`, or `LookupError` where there is no such message.
        """
        now = self._clock.now()
        async with self._database.write() as connection:
            ledger = await self._ledger(connection, message_id)
            events = await of_message(connection, message_id)
            chosen = [event for event in events if _asked_for(event, audience, only)]
            if missing := set(only) - {event.name for event in events}:
                raise UnknownEventError(missing, {event.name for event in events})
            key = ledger.key
            details = await details_of(connection, message_id, self._vault, key) if key is not None else {}
            seqs = {event.seq for event in chosen}
            draft = Draft(
                self._origin,
                message_id,
                ledger.organisation,
                [
                    Open(event.envelope, *details.get(event.seq, (None, None)))
                    if event.seq in seqs
                    else Closed(event.hash)
                    for event in events
                ],
                make_pdf(
                    [event.opened(details[event.seq][1]) if event.seq in details else event for event in chosen],
                    len(events),
                ),
            )
            detail: Detail = {"extract": draft.digest, "audience": str(audience), "by": by, "opened": len(chosen)}
            ledger.facts.append(Fact(ISSUED, ("L12",), at=now, detail=detail))
            await self._write(connection, message_id, ledger, now)
            issued = (await of_message(connection, message_id))[-1]
        return Issued(draft, issued.seq, issued.envelope)

    async def finish(self, issued: Issued) -> bytes:
        """Give the extract as a ZIP. Raises `NotCoveredError` until a checkpoint covers it."""
        message_id = issued.draft.message_id
        async with self._database.read() as connection:
            checkpoint = await evidence_log.latest_checkpoint(connection, self._origin)
            if checkpoint is None:
                raise evidence_log.NotCoveredError(message_id, [issued.seq])
            proven = await evidence_log.prove_events(connection, message_id, issued.open_seqs, checkpoint)
        return build(
            issued.draft,
            issued=issued.envelope,
            inclusions=proven,
            checkpoint=checkpoint.note.encode(),
            cosignatures=checkpoint.attestations.get("witness", b""),
            timestamp=checkpoint.attestations.get("timestamp", b""),
        )

    async def erase(self, message_id: UUID, *, by: str, reason: str, before_term: bool = False) -> None:
        """Erase everything personal of a message for good; its evidence stays, and stays provable (L13).

        `before_term`: though it is needed for half a year to prove what was sent (AVG 17, third paragraph, b and e);
        the choice of who is answerable for it. Raises `CannotEraseError` where an exception of AVG 17 stands in the
        way, `LookupError` where there is no such message.
        """
        now = self._clock.now()
        async with self._database.write() as connection:
            ledger = await self._ledger(connection, message_id)
            if ledger.delivery.state is not DeliveryState.DONE:
                raise CannotEraseError(
                    "the message is not finished: erasing it would end its delivery, which is a legal duty (AVG 17, "
                    "third paragraph, b)"
                )
            hold = await held(connection, message_id)
            if hold is not None:
                raise CannotEraseError(
                    f"the message is held for a case at law since {hold:%Y-%m-%d} (AVG 17, third paragraph, e): "
                    "release it first"
                )
            until = may_be_erased_from(await _done_at(connection, message_id) or now)
            if until > now and not before_term:
                raise CannotEraseError(
                    f"until {until:%Y-%m-%d} it is kept to prove what was sent and noticed (Awb 2:25; AVG 17, third "
                    "paragraph, b and e). To do it all the same, for instance for a message that should not have been "
                    "sent: --before-term"
                )
            ledger.facts.append(Fact(SHREDDED, ("L13",), at=now, detail={"by": by}, sealed={"reason": reason}))
            # The reason is for whoever asks before the erasure ends: it goes with the rest, its commitment stays.
            ledger.key = None
            await self._write(connection, message_id, ledger, now)
            objects = await retention.objects_of(connection, [message_id])
            await retention.erase(connection, [message_id], now)
        await remove(self._documents, objects)

    async def hold(self, message_id: UUID, *, by: str, reason: str, on: bool) -> bool:
        """Hold a message's data for a case at law, or release it; false where it was so already."""
        now = self._clock.now()
        async with self._database.write() as connection:
            ledger = await self._ledger(connection, message_id)
            if (await held(connection, message_id) is not None) is on:
                return False
            table = tables.legal_hold
            if on:
                await connection.execute(sa.insert(table).values(message_id=message_id, since=now))
            else:
                await connection.execute(sa.delete(table).where(table.c.message_id == message_id))
            act = "legal_hold" if on else "legal_hold_released"
            ledger.facts.append(staff_action("L12", "L13", act=act, by=by, reason=reason))
            await self._write(connection, message_id, ledger, now)
        return True

    async def correct(self, message_id: UUID, *, seq: int, by: str, reason: str) -> None:
        """Record that an earlier event states something wrongly. That event stays as it is, and so does the state.

        Raises `LookupError` where there is no such message, or no such event of it.
        """
        now = self._clock.now()
        async with self._database.write() as connection:
            ledger = await self._ledger(connection, message_id)
            if not 1 <= seq <= ledger.seq:
                raise LookupError(f"event {seq}: the message has events 1 to {ledger.seq}")
            detail: Detail = {"corrects": seq, "by": by}
            ledger.facts.append(Fact("correction", ("L12",), at=now, detail=detail, sealed=typed(reason=reason)))
            await self._write(connection, message_id, ledger, now)

    async def _ledger(self, connection: AsyncConnection, message_id: UUID) -> Ledger:
        ledgers = await lock(connection, [message_id], self._vault)
        if message_id not in ledgers:
            raise LookupError(str(message_id))
        return ledgers[message_id]

    async def _write(self, connection: AsyncConnection, message_id: UUID, ledger: Ledger, now: datetime) -> None:
        await write(connection, {message_id: ledger}, policy=self._policy, vault=self._vault, now=now)


def _asked_for(event: StoredEvent, audience: Audience, only: Collection[str]) -> bool:
    if only:
        return event.name in only
    return audience is not Audience.ADDRESSEE or event.name not in _INTERNAL


async def held(connection: AsyncConnection, message_id: UUID) -> datetime | None:
    """Tell since when a message is held for a case at law; nothing where it is not."""
    column = tables.legal_hold.c
    return (
        await connection.execute(sa.select(column.since).where(column.message_id == message_id))
    ).scalar_one_or_none()


async def _done_at(connection: AsyncConnection, message_id: UUID) -> datetime | None:
    column = tables.delivery.c
    found = await connection.execute(sa.select(column.done_at).where(column.message_id == message_id))
    return found.scalar_one_or_none()
