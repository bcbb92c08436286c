"""Results that boxes bring by themselves, in documents: each is stored, decided once, and only then confirmed.

They come late, out of order, partly, twice or never; the rules say what each of them moves. What is not about a message
of ours is passed over; a result that never comes is shown to a person by the clock of its placement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import sqlalchemy as sa
import structlog

from bode.domain import events as ev
from bode.domain.parts import Delivery, PlacementState, placement_part
from bode.engine import answers
from bode.engine.inbound import RECEIVED, Inbound, Raw
from bode.engine.lanes import Lanes
from bode.engine.parts import Parts
from bode.store import tables
from bode.store.database import DATABASE_AWAY
from bode.store.record import read_deliveries
from bode_adapters.contract import BringsResults, Placed, Refused, ResultDocument, Unavailable

log = structlog.get_logger()

ROUTE = "result"
_inbound = tables.inbound.c
_LONGEST_IN_HANDS = timedelta(hours=1)
_Happened = list[tuple[UUID, ev.Event]]


class BoxResults:
    """Reads what the boxes of one installation bring."""

    def __init__(self, parts: Parts, lanes: Lanes, inbound: Inbound) -> None:
        """Take the parts; `inbound` stores what comes in."""
        self._parts = parts
        self._lanes = lanes
        self._inbound = inbound

    async def run(self, every_seconds: float) -> None:
        """Read results until cancelled. Trouble is logged, and the next round tries again."""
        while True:
            await self.read()
            await asyncio.sleep(every_seconds)

    async def read(self) -> int:
        """Read the documents of every box that brings some, decide and confirm them; gives their number."""
        count = 0
        for lane, box in self._parts.boxes.items():
            if isinstance(box, BringsResults) and box.capabilities.brings_results:
                try:
                    count += await self._read(lane, box)
                except Exception as error:  # noqa: BLE001 - an adapter is other people's code, and may raise anything
                    log.error("inbound.results_failed", lane=lane, error=type(error).__name__)
        return count

    async def _read(self, lane: str, box: BringsResults) -> int:
        settled: list[str] = []
        for document in await box.results():
            try:
                if await self._decide(lane, document):
                    settled.append(document.key)
            except DATABASE_AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - one that cannot be decided must not hold up the others
                log.error("inbound.cannot_decide", route=ROUTE, lane=lane, error=type(error).__name__)
        if settled:
            await box.confirm(keys=settled)
        return len(settled)

    async def _decide(self, lane: str, document: ResultDocument) -> bool:
        """Store and decide a document, and tell whether it is done with: not while a worker is at its messages."""
        key = sha256(f"{ROUTE}:{lane}:{document.key}".encode()).hexdigest()
        await self._inbound.store(Raw(key, ROUTE, self._parts.clock.real(), document.content))
        async with self._parts.database.read() as connection:
            found = await connection.execute(sa.select(_inbound.state, _inbound.received_at).where(_inbound.key == key))
            stored = found.one()
            deliveries = await read_deliveries(connection, list(document.answers))
        if stored.state != "new":
            return True
        if document.fault:
            log.error("inbound.unreadable", route=ROUTE, lane=lane, fault=document.fault)
            await self._record([], key, f"unreadable:{document.fault}", about=())
            return bool(document.content)  # What came without its content is not stored yet.
        if await self._in_hands(lane, list(deliveries), stored.received_at):
            return False
        happened: _Happened = []
        for message_id, answer in document.answers.items():
            if message_id in deliveries:
                happened += self._events(lane, document.receipt, deliveries[message_id], answer)
        note = f"{len(deliveries)} of {len(document.answers)} results are ours"
        await self._record(happened, key, note, about=list(deliveries))
        return True

    def _events(self, lane: str, receipt: str, delivery: Delivery, answer: Placed | Refused | Unavailable) -> _Happened:
        message_id, placement = delivery.brief.message_id, delivery.placement(lane)
        answers.note_unrecognised(lane, answer)
        event = answers.of_box(lane, _accessible(answer, delivery), self._parts.rules, call=None, called_at=self._now())
        unknown = placement is not None and placement.state is PlacementState.UNKNOWN
        if unknown and not isinstance(answer, Placed):
            # A result is proof that the call was taken in: it is the answer to that call, not to a repeat of it.
            return [(message_id, ev.PlacementPending(lane, receipt)), (message_id, event)]
        return [(message_id, event)]

    async def _in_hands(self, lane: str, message_ids: Sequence[UUID], received_at: datetime) -> bool:
        """Tell whether a worker has one of these placements in hand: its own answer must be recorded first."""
        if self._parts.clock.real() - received_at > _LONGEST_IN_HANDS:
            return False
        step = tables.step.c
        mine = step.message_id.in_(message_ids) & (step.part == placement_part(lane)) & (step.state == "leased")
        async with self._parts.database.read() as connection:
            return (await connection.execute(sa.select(sa.exists().where(mine)))).scalar_one()

    async def _record(self, happened: _Happened, key: str, note: str, *, about: Sequence[UUID]) -> None:
        """Decide the events of a document and say what became of it, in one transaction; once, whoever is at it."""
        state = "matched" if happened else "unmatched"
        once = (
            sa.update(tables.inbound)
            .where(_inbound.key == key, _inbound.state == "new")
            .values(state=state, note=note[:80])
        )
        await self._inbound.keep_about(key, about)
        try:
            first = await self._lanes.apply(happened, once=once)
        except DATABASE_AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - what is wrong with one message must not hold up the others
            log.error("inbound.one_by_one", route=ROUTE, key=key, error=type(error).__name__)
            first = await self._one_by_one(happened, once)
        if first:
            RECEIVED.labels(ROUTE, state).inc()
            log.info("inbound.decided", route=ROUTE, state=state, note=note)

    async def _one_by_one(self, happened: _Happened, once: sa.Update) -> bool:
        """Decide each event by itself; the same again moves nothing."""
        for message_id, event in happened:
            try:
                await self._lanes.apply([(message_id, event)])
            except DATABASE_AWAY:
                raise
            except Exception as error:  # noqa: BLE001 - the others are still to be decided
                log.error("inbound.cannot_decide", route=ROUTE, message=str(message_id), error=type(error).__name__)
        return await self._lanes.apply([], once=once)

    def _now(self) -> datetime:
        return self._parts.clock.now()


def _accessible(answer: Placed | Refused | Unavailable, delivery: Delivery) -> Placed | Refused | Unavailable:
    """L10: no message is accessible before its moment of publication, which a document does not name."""
    publish_at = delivery.brief.publish_at
    if isinstance(answer, Placed) and publish_at is not None and publish_at > answer.at:
        return replace(answer, at=publish_at)
    return answer
