"""Lanes: claim a chunk, make its calls, record what came of it. No transaction is open while a call is made."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.ext.asyncio import AsyncConnection
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from bode.domain import events as ev
from bode.domain.decision import Action, Alarm, AlarmKind
from bode.domain.parts import Delivery, PlacementState
from bode.domain.volume import VolumeRule
from bode.engine.calls import Calls, Outcome, Work
from bode.engine.guard import SenderSideGuard
from bode.engine.hold import Hold
from bode.engine.journal import ChunkJournal, LeftBehind
from bode.engine.lane_rules import RulesInForce
from bode.engine.letter_budget import hold_above, limits_any
from bode.engine.mail_health import Address
from bode.engine.parts import Parts
from bode.failpoints import Point, failpoint
from bode.intake.volume import tell
from bode.store import lanes as lane_store
from bode.store import mail_health, messages, steps
from bode.store.database import DATABASE_AWAY
from bode.store.record import Ledger, Ring, Written, lock, read_deliveries, write
from bode.store.steps import Leased
from bode.store.vault import OtherKeyError
from bode.tracing import About, Span, about

log = structlog.get_logger()

_T = TypeVar("_T")

OUTCOMES = Counter(
    "bode_step_outcomes_total", "Steps carried out, by lane, action and outcome.", ["lane", "action", "outcome"]
)
CALL_SECONDS = Histogram(
    "bode_chunk_call_seconds",
    "How long the calls of one chunk took, on the wall.",
    ["lane"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 30, 120),
)
RECORD_SECONDS = Histogram(
    "bode_chunk_record_seconds",
    "How long recording one chunk took, on the wall.",
    ["lane"],
    buckets=(0.002, 0.01, 0.05, 0.2, 1, 5, 30),
)
LOST_LEASES = Counter(
    "bode_lost_leases_total", "Steps whose lease ran out before their outcome was recorded.", ["lane"]
)
FOUND_IN_JOURNALS = Counter(
    "bode_steps_in_journals_total", "Steps of dead workers that their journals tell of, by what they tell.", ["found"]
)
ALARMS = Counter("bode_alarms_total", "Alarms given, by kind and lane.", ["kind", "lane"])
BOUNCES = Counter("bode_bounces_total", "Refused or returned mail, by verdict and reason.", ["verdict", "reason"])


class Lanes:
    """Works the lanes of one process."""

    def __init__(self, parts: Parts, ring: Ring) -> None:
        """Take the parts; `ring` is told the lanes that got work."""
        self._parts = parts
        self._ring = ring
        self._calls = Calls(parts)
        self._guard = SenderSideGuard(clock=parts.clock)
        self.rules = RulesInForce(parts)
        self._busy: Tally[str] = Tally()
        self._stopping = False
        self._probing: set[str] = set()
        self._unrecorded = False
        """Whether the last answers could not be recorded: until some are, one step at a time is sent."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.owner = f"{socket.gethostname()[:24]}:{os.getpid()}:{uuid4().hex[:8]}"
        self._chunks = 0

    async def drain(self, lane: str) -> int:
        """Work a lane until nothing in it is ready; gives the number of steps carried out.

        Returns at once when this process works the lane at its limit already: that work goes on and will see the new
        steps, so a lane that is slow never holds the threads that others need.
        """
        if lane not in self._parts.lanes:
            return 0
        rules = await self.rules.of(lane)
        if self._stopping or self._busy[lane] >= rules.concurrency:
            return 0
        self._busy[lane] += 1
        self._idle.clear()
        done = 0
        try:
            while not self._stopping:
                count = await self.work(lane)
                if count == 0:
                    break
                done += count
        except Exception as error:  # noqa: BLE001 - what is in hand is found by the sweeper, and the lane goes on
            log.error("lane.failed", lane=lane, error=type(error).__name__)
        finally:
            self._busy[lane] -= 1
            if not +self._busy:
                self._idle.set()
        return done

    async def stop(self, grace_seconds: float) -> bool:
        """Claim nothing more, and wait for what is in hand; tells whether all of it was recorded in time."""
        self._stopping = True
        try:
            await asyncio.wait_for(self._idle.wait(), grace_seconds)
        except TimeoutError:
            return False
        return True

    async def work(self, lane: str) -> int:
        """Claim one chunk, make its calls, record; gives its size."""
        began = self._parts.clock.real()
        hold = Hold(self._parts.clock, began + timedelta(seconds=self._parts.lease_seconds), self._parts.lease_seconds)
        # What hangs where no call's limit ends it is cut off here: else it kept its place in the lane for ever.
        async with asyncio.timeout(2 * self._parts.hold_seconds):
            with self._journal(lane) as journal:
                leased = await self._claim(lane, hold.until, journal.name)
                if not leased:
                    return 0
                beating = asyncio.create_task(
                    self._beat(lane, leased, hold, began + timedelta(seconds=self._parts.hold_seconds))
                )
                try:
                    return await self._carry_out(lane, leased, Outcome(hold, journal))
                finally:
                    beating.cancel()
                    await asyncio.gather(beating, return_exceptions=True)

    @contextmanager
    def _journal(self, lane: str) -> Generator[ChunkJournal]:
        """Keep the journal of a chunk, under a name that its leases have too; it stays behind when this fails."""
        if self._parts.journal is None:
            yield ChunkJournal(self.owner)
            return
        self._chunks += 1
        journal = self._parts.journal.begin(lane, f"{self.owner}:{self._chunks}")
        recorded = False
        try:
            yield journal
            recorded = True
        finally:
            journal.close(recorded=recorded)

    async def _beat(self, lane: str, leased: Sequence[Leased], hold: Hold, latest: datetime) -> None:
        """Renew the leases of a chunk while it is in hand, so that a worker that dies is missed within one lease."""
        while True:
            await asyncio.sleep(self._parts.heartbeat_seconds)
            now = self._parts.clock.real()
            until = min(now + timedelta(seconds=self._parts.lease_seconds), latest)
            if now >= hold.until:
                return  # Others may have it already, or it was held long enough: what is in hand ends with the lease.
            try:
                async with self._parts.database.write() as connection:
                    renewed = await steps.renew(connection, leased, until)
            except DATABASE_AWAY as error:
                log.warning("lane.not_renewed", lane=lane, steps=len(leased), error=type(error).__name__)
                continue
            if renewed == len(leased):
                hold.renew(until)

    async def _carry_out(self, lane: str, leased: Sequence[Leased], outcome: Outcome) -> int:
        await failpoint(Point.AFTER_CLAIM)
        if len(leased) == self._parts.in_hand(lane):
            # Others may help: pass the bell on.
            await self._ring({lane: len(leased)})
        started = time.perf_counter()
        try:
            work, gone = await self._patiently(lambda: self._load(leased))
            if lane == self._parts.policy.print_lane and limits_any(work, self._parts.limits_of):
                work, held = await self._patiently(lambda: self._within_budget(work))
                gone += held
        except OtherKeyError:
            await self._stop_for_other_key(lane, leased)
            return 0
        began = time.time_ns()
        await self._calls.make(lane, work, outcome)
        outcome.events += gone
        await failpoint(Point.AFTER_CALL)
        called = time.perf_counter()
        if self._parts.trace is not None:
            whose = {item.message.id: about(item.message, self._parts.vault) for item in work}
            self._parts.trace(_spans(lane, outcome, began, time.time_ns(), whose))
        recorded = await self._record_all(lane, outcome)
        finished = time.perf_counter()
        CALL_SECONDS.labels(lane).observe(called - started)
        RECORD_SECONDS.labels(lane).observe(finished - called)
        tally = Tally(type(event).__name__ for _, event in outcome.events)
        for (action, name), count in Tally(
            (step.action, type(event).__name__) for step, event in outcome.events
        ).items():
            OUTCOMES.labels(lane, action, name).inc(count)
        log.info(
            "lane.chunk",
            lane=lane,
            steps=len(leased),
            recorded=recorded,
            outcomes=dict(tally),
            call_ms=round((called - started) * 1000),
            record_ms=round((finished - called) * 1000),
        )
        return len(leased)

    async def _claim(self, lane: str, until: datetime, owner: str) -> list[Leased]:
        rules = await self.rules.of(lane)
        only_before = rules.only_before(self._parts.clock.now())
        async with self._parts.database.write() as connection:
            limit = 1 if self._unrecorded else self._parts.in_hand(lane)
            if rules.per_minute is not None:
                real = self._parts.clock.real()
                limit = await lane_store.take(connection, lane, per_minute=rules.per_minute, most=limit, real_now=real)
            leased = await steps.claim(
                connection,
                lane=lane,
                limit=limit,
                owner=owner,
                lease_until=until,
                now=self._parts.clock.now(),
                only_before=only_before,
            )
            if rules.per_minute is not None:
                await lane_store.spend(connection, lane, len(leased))
            if not leased:
                leased = await steps.claim_probe(
                    connection,
                    lane=lane,
                    owner=owner,
                    lease_until=until,
                    now=self._parts.clock.now(),
                    real_now=self._parts.clock.real(),
                    only_before=only_before,
                )
                if leased:
                    self._probing.add(lane)
            calls = self._choose_calls(lane, leased)
            await steps.set_calls(connection, calls)
            if leased:
                await failpoint(Point.BEFORE_CLAIM_COMMIT)
        return [replace(item, call=calls[item.id]) if item.id in calls else item for item in leased]

    def _choose_calls(self, lane: str, leased: Sequence[Leased]) -> dict[int, UUID]:
        """Choose the call each step travels in, before it is made; a step that is a repeat keeps the one it has."""
        new = [item.id for item in leased if item.call is None and item.action in (Action.PLACE, Action.PRINT)]
        bulk = self._parts.bulk(lane)
        calls = [self._parts.new_id() for _ in range(0, len(new), bulk)]
        return {step_id: calls[number // bulk] for number, step_id in enumerate(new)}

    async def _load(self, leased: Sequence[Leased]) -> tuple[list[Work], list[tuple[Leased, ev.Event]]]:
        """Open what the calls need; a message whose content was erased cannot be sent, and its step ends."""
        ids = [item.message_id for item in leased]
        with_documents = any(item.action in (Action.PLACE, Action.PRINT) for item in leased)
        to_fetch: list[messages.ToFetch] = []
        async with self._parts.database.read() as connection:
            await self._parts.return_path.refresh(connection)
            deliveries = await read_deliveries(connection, ids)
            contents = await messages.load(
                connection, ids, self._parts.vault, with_documents=with_documents, to_fetch=to_fetch
            )
        away = await messages.fetch(contents, to_fetch, self._parts.elsewhere.documents, self._parts.vault)
        later = _not_now(leased, deliveries, away)
        work: list[Work] = []
        gone: list[tuple[Leased, ev.Event]] = []
        for item in leased:
            delivery, message = deliveries.get(item.message_id), contents.get(item.message_id)
            if delivery is None or message is None or message.sender not in self._parts.organisations:
                log.error("step.cannot_be_made", message=str(item.message_id), part=item.part)
                gone.append((item, _cannot(item)))
            elif item.id in later:
                gone.append((item, _away(item)))
            else:
                work.append(Work(item, delivery, message))
        return work, gone

    async def _within_budget(self, work: list[Work]) -> tuple[list[Work], list[tuple[Leased, ev.Event]]]:
        """Give the letters that may go, and those that are held because too many went today."""
        async with self._parts.database.write() as connection:
            held, began = await hold_above(connection, work, self._parts.limits_of, self._parts.clock.now())
        for organisation, count in began:
            tell(organisation, VolumeRule.LETTERS, count)
        return [item for item in work if item.leased not in held], list(held.items())

    async def _patiently(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do something with the database; while that is away, again and again for a part of the lease.

        What was called is known here alone: giving up at once would make it unknown. The fence guards what comes late.
        """
        until = self._parts.clock.real() + timedelta(seconds=self._parts.hold_seconds * 0.2)
        patience = AsyncRetrying(
            retry=retry_if_exception_type(DATABASE_AWAY),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            stop=lambda _: self._parts.clock.real() >= until,
            reraise=True,
        )
        async for attempt in patience:
            with attempt:
                return await work()
        raise AssertionError("patience ends with an answer or an error")

    async def _stop_for_other_key(self, lane: str, leased: Sequence[Leased]) -> None:
        """Give back what this process cannot open, and stop the lane: its key file is the wrong one."""
        now = self._parts.clock.now()
        async with self._parts.database.write() as connection:
            await steps.give_back(connection, leased)
            await steps.stop_lane(connection, lane, reason="messages are sealed under another key", by="bode", now=now)
        ALARMS.labels(AlarmKind.LANE_STOPPED, lane).inc()
        log.error("lane.stopped", lane=lane, reason="messages are sealed under another key")

    async def _record_all(self, lane: str, outcome: Outcome) -> int:
        """Record a chunk; an answer that cannot be recorded, for whatever reason, does not take the others with it."""
        try:
            recorded = await self._patiently(lambda: self._record(lane, outcome))
        except DATABASE_AWAY as error:
            # The leases run out, and the sweeper finds out what became of it.
            self._unrecorded = True
            log.error("lane.not_recorded", lane=lane, steps=len(outcome.events), error=type(error).__name__)
            raise
        except Exception as error:  # noqa: BLE001 - what came from outside can be anything
            if len(outcome.events) > 1:
                return sum([await self._record_all(lane, replace(outcome, events=[one])) for one in outcome.events])
            ((item, event),) = outcome.events
            log.error(
                "step.cannot_be_recorded",
                message=str(item.message_id),
                part=item.part,
                outcome=type(event).__name__,
                error=type(error).__name__,
            )
            unknown = (item, _not_known(item, self._parts.clock.now()))
            return await self._record(lane, Outcome(outcome.hold, outcome.journal, [unknown]))
        self._unrecorded = False
        return recorded

    async def _record(self, lane: str, outcome: Outcome) -> int:
        """Record a chunk in one transaction; what this worker no longer holds is left to whoever took it over."""
        now = self._parts.clock.now()
        leased = [item for item, _ in outcome.events]
        async with self._parts.database.write() as connection:
            ledgers = await lock(connection, [item.message_id for item in leased], self._parts.vault)
            held = await steps.finish(connection, leased)
            happened = [(item.message_id, event) for item, event in outcome.events if item.id in held]
            decide, earlier = await self._parts.health.weigh(connection, happened, outcome.addresses, now)
            for message_id, event in decide:
                if message_id in ledgers:
                    told = await self._keep_address(connection, ledgers[message_id], event, now)
                    ledgers[message_id].apply(told, self._parts.policy, now)
            keys = {message_id: ledger.key for message_id, ledger in ledgers.items() if ledger.key is not None}
            kept = {(item.message_id, item.part) for item in leased if item.id in held}
            letters = [letter for letter in outcome.letters if (letter.message_id, f"letter/{letter.number}") in kept]
            if letters:
                await messages.store_letters(connection, letters, keys, self._parts.vault, now)
            written = await self._write(connection, ledgers, now)
            await failpoint(Point.BEFORE_RECORD_COMMIT)
        await failpoint(Point.AFTER_RECORD_COMMIT)
        lost = len(leased) - len(held)
        if lost:
            LOST_LEASES.labels(lane).inc(lost)
            log.warning("lane.lease_lost", lane=lane, steps=lost)
        for item, event in outcome.events:
            if isinstance(event, (ev.NoticeBounced, ev.CarrierBounced)) and item.id in held:
                BOUNCES.labels(event.bounce.verdict, event.bounce.reason).inc()
        await self.announce(written)
        await self._probed(lane, [event for _, event in happened])
        if earlier:
            await self.apply(earlier)
        return len(held)

    async def keep_settling(self, every_seconds: float) -> None:
        """Settle what dead workers of this machine left behind until cancelled; first what this one was before."""
        while True:
            try:
                await self.settle()
            except Exception as error:  # noqa: BLE001 - the journal stays, and the next round reads it again
                log.error("journal.not_settled", error=type(error).__name__)
            await asyncio.sleep(every_seconds)

    async def settle(self) -> None:
        """Record what workers of this machine did that are gone, by their journals."""
        if self._parts.journal is not None:
            for left, remove in self._parts.journal.left_behind():
                await self._settle(left)
                remove()

    async def _settle(self, left: LeftBehind) -> None:
        """Record what was taken; what never left is to be done again, by anybody; the rest is left to its lease."""
        async with self._parts.database.read() as connection:
            held = await steps.held_under(connection, left.name, left.lane)
        if not held:
            return
        taken = [(item, left.taken[item.id]) for item in held if item.id in left.taken]
        never_left = [item for item in held if item.id not in left.taken and item.id not in left.doubtful]
        async with self._parts.database.write() as connection:
            await steps.give_back(connection, never_left)
        if taken:
            over = Hold(self._parts.clock, self._parts.clock.real(), 0)
            await self._record_all(left.lane, Outcome(over, ChunkJournal(left.name), list(taken)))
        doubtful = len(held) - len(taken) - len(never_left)
        for found, count in (("taken", len(taken)), ("never left", len(never_left)), ("in doubt", doubtful)):
            FOUND_IN_JOURNALS.labels(found).inc(count)
        log.warning("journal.settled", lane=left.lane, taken=len(taken), never_left=len(never_left), in_doubt=doubtful)

    async def _keep_address(
        self, connection: AsyncConnection, ledger: Ledger, event: ev.Event, now: datetime
    ) -> ev.Event:
        """Keep an address that the profile service gave, sealed; gives the event with what we know of that address."""
        brief = ledger.delivery.brief
        if not isinstance(event, ev.ProfileAnswered) or event.email is None:
            return event
        if not brief.email_from_profile or not ledger.asks_profile or ledger.key is None:
            return replace(event, email=None, email_since=None)
        vault = self._parts.vault
        await messages.store_address(connection, brief.message_id, event.email, key=ledger.key, vault=vault, now=now)
        hidden = vault.email_hashes(event.email)
        failing = await mail_health.still_failing(connection, ledger.organisation, hidden, given_at=event.email_since)
        if failing is None:
            return event
        return replace(event, email_failing_since=failing.bounced_at, email_failing_reason=failing.reason)

    async def _probed(self, lane: str, events: Sequence[ev.Event]) -> None:
        """After a stopped lane tried a few steps: start it when one went well, or wait longer."""
        if lane not in self._probing:
            return
        self._probing.discard(lane)
        well = any(isinstance(event, (ev.NoticeSent, ev.Placed, ev.PlacementPending)) for event in events)
        async with self._parts.database.write() as connection:
            if well:
                await steps.start_lane(connection, lane, by="bode")
            else:
                await steps.probe_later(connection, lane, self._parts.clock.real())
        log.warning("lane.probed", lane=lane, started=well)

    async def _write(self, connection: AsyncConnection, ledgers: Mapping[UUID, Ledger], now: datetime) -> Written:
        return await write(connection, ledgers, policy=self._parts.policy, vault=self._parts.vault, now=now)

    async def apply(
        self,
        happened: Sequence[tuple[UUID, ev.Event]],
        *,
        once: sa.Update | None = None,
        addresses: Mapping[UUID, Address] | None = None,
    ) -> bool:
        """Decide and record events that no step of ours brought. `addresses` tells where mail went that bounced.

        `once` is made first, in the same transaction: when it changes nothing, somebody else recorded these events
        already, nothing is done, and the answer is False.
        """
        now = self._parts.clock.now()
        async with self._parts.database.write() as connection:
            if once is not None and (await connection.execute(once)).rowcount == 0:
                return False
            ledgers = await lock(connection, [message_id for message_id, _ in happened], self._parts.vault)
            decide, earlier = await self._parts.health.weigh(connection, happened, addresses or {}, now)
            for message_id, event in decide:
                if message_id in ledgers:
                    ledgers[message_id].apply(event, self._parts.policy, now)
            written = await self._write(connection, ledgers, now)
            await failpoint(Point.INBOUND_BEFORE_COMMIT)
        for _, event in happened:
            if isinstance(event, (ev.NoticeBounced, ev.CarrierBounced)):
                BOUNCES.labels(event.bounce.verdict, event.bounce.reason).inc()
        await self.announce(written)
        if earlier:
            await self.apply(earlier)
        return True

    async def announce(self, written: Written) -> None:
        """After a commit: ring for what is ready, give the alarms, and tell what ended."""
        for ended in written.ended:
            ended.tell()
        for message_id, alarm in written.alarms:
            await self._alarm(message_id, alarm)
        await self._ring(written.lanes)

    async def _alarm(self, message_id: UUID, alarm: Alarm) -> None:
        ALARMS.labels(alarm.kind, alarm.lane).inc()
        log.warning("alarm.given", kind=alarm.kind, message=str(message_id), lane=alarm.lane, code=alarm.code)
        if alarm.kind is not AlarmKind.SENDER_SIDE:
            return
        if self._guard.trips(alarm.lane, (await self.rules.of(alarm.lane)).breaker):
            async with self._parts.database.write() as connection:
                stopped = await steps.stop_lane(
                    connection, alarm.lane, reason="many sender-side refusals", by="bode", now=self._parts.clock.now()
                )
                # It may be over by itself (a rate, a list): a few are tried again, first soon, then less often.
                await steps.probe_later(connection, alarm.lane, self._parts.clock.real())
            if stopped:
                ALARMS.labels(AlarmKind.LANE_STOPPED, alarm.lane).inc()
                log.error("lane.stopped", lane=alarm.lane, reason="many sender-side refusals")


def _spans(lane: str, outcome: Outcome, began_ns: int, ended_ns: int, whose: Mapping[UUID, About]) -> list[Span]:
    """Give the calls of a chunk as spans, each in the trace of its message."""
    return [
        Span(
            item.message_id,
            f"{item.action} {lane}",
            began_ns,
            ended_ns,
            {"lane": lane, "part": item.part, "outcome": type(event).__name__, "call": str(item.call or "")},
            whose.get(item.message_id),
        )
        for item, event in outcome.events
    ]


def _not_known(item: Leased, now: datetime) -> ev.Event:
    """Give the event of a step whose answer cannot be recorded: nothing is known of it."""
    kind, _, name = item.part.partition("/")
    code, call = "cannot_be_recorded", str(item.call) if item.call is not None else None
    match kind:
        case "placement" if item.action is Action.CHECK:
            return ev.ReachabilityChecked(name, None, now, code)
        case "placement":
            return ev.PlacementUnknown(name, code, call, item.called_at)
        case "reading":
            return ev.NotOpened(name, code)
        case "profile":
            return ev.ProfileUnavailable(code)
        case "letter":
            return ev.LetterUnknown(int(name), code, call)
        case _:
            return ev.NoticeUnknown(name, code)


def _not_now(leased: Sequence[Leased], deliveries: Mapping[UUID, Delivery], away: Collection[UUID]) -> set[int]:
    """Give the steps that hand over what is away for now; with one of a call that is repeated all of it waits."""
    waits = [item for item in leased if item.message_id in away and item.action in (Action.PLACE, Action.PRINT)]
    calls: set[UUID] = set()
    for item in waits:
        placement = deliveries[item.message_id].placement(item.part.partition("/")[2])
        if placement is not None and placement.state is PlacementState.UNKNOWN and item.call is not None:
            calls.add(item.call)
    return {item.id for item in leased if item in waits or (item.call is not None and item.call in calls)}


def _away(item: Leased) -> ev.Event:
    """Give the event of a step whose documents are away for now: nothing was handed over, and it is tried again."""
    kind, _, name = item.part.partition("/")
    if kind == "letter":
        return ev.LetterUnavailable(int(name), "documents_away")
    return ev.PlacementUnavailable(name, "documents_away")


def _cannot(item: Leased) -> ev.Event:
    """Give the event of a step that cannot be made because its content or its organisation is gone."""
    kind, _, name = item.part.partition("/")
    match kind:
        case "placement":
            return ev.PlacementRefused(name, "content_gone", ev.RefusalKind.UNRECOGNISED)
        case "reading":
            return ev.NotOpened(name, "content_gone", final=True)
        case "profile":
            return ev.ProfileRefused("content_gone", ev.RefusalKind.UNRECOGNISED)
        case "letter":
            return ev.LetterRefused(int(name), "content_gone")
        case _:
            return ev.NoticeUnavailable(name, "content_gone")
