"""A world: processes of Bode that come and go, the sides they talk to, people who look after them, and time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from bode import failpoints
from bode.clock import Clock
from bode.compose.notice import NoticeComposer
from bode.domain import events as ev
from bode.domain.decision import AlarmKind, Fact
from bode.domain.message import Confidentiality
from bode.domain.parts import AttentionReason, Delivery, NoticeState, letter_id
from bode.domain.policy import Channel, ChannelKind, Policy
from bode.engine.inbound import Inbound, Raw
from bode.engine.lanes import Lanes
from bode.engine.mail_health import MailHealth
from bode.engine.parts import Organisation, Parts
from bode.engine.return_path import ReturnPath, notice_id
from bode.engine.sweeper import Sweeper
from bode.failpoints import Act, FailpointError, Point
from bode.intake import body as request
from bode.intake.accept import Accepted, Caller, Intake, Route, brief_of
from bode.settings import config_folder, holidays
from bode.store import mail_health, messages, steps, tables
from bode.store.database import DATABASE_AWAY, Database
from bode.store.record import Ledger, read_deliveries, write
from bode.store.vault import Vault
from bode_ops import assembly
from bode_ops.simulate.loop import VirtualLoop, connect
from bode_ops.simulate.plan import (
    BOX,
    CARRIER,
    OIN,
    ORIGIN,
    PORTAL,
    Fault,
    Incident,
    Mishaps,
    Options,
    What,
    Wish,
    arrivals,
    incidents,
    wish,
)
from bode_ops.simulate.sides import RETURN_DOMAIN, PlainLetters, SimulatedBox, SimulatedNotifier, SimulatedPrinter
from bode_ops.simulate.truth import Truth

_T = TypeVar("_T")

HOLD_SECONDS = 120.0
LATEST = timedelta(days=45)
"""How long after the last mishap the world goes on at most."""
_NEVER = ORIGIN + timedelta(days=100_000)
_ALONE = 8
"""Batches up to this size come in a message at a time, through the whole of intake; longer ones in bulk."""
_CLIENT_WAIT = timedelta(minutes=5)
_RING = timedelta(seconds=0.2)
_CALL_SECONDS = (0.05, 0.3, 2.0)


class Killed(BaseException):
    """This process is dead."""


class GoneError(Exception):
    """The process that was asked died before it answered."""


class BrokenError(AssertionError):
    """A promise was broken, seen while it happened."""

    def __init__(self, rule: str, message: UUID | None, text: str) -> None:
        """Say which rule, of which message if of one, and how."""
        super().__init__(text)
        self.rule = rule
        self.message = message
        self.text = text


_HERE: ContextVar[Process | None] = ContextVar("_HERE", default=None)
_NUMBER: ContextVar[int] = ContextVar("_NUMBER")


class SimulatedDatabase(Database):
    """SQLite on a file in memory, whose connection can be lost."""

    def __init__(self, url: str, world: World) -> None:
        """Take the world, whose incidents say when the database is away."""
        super().__init__(url, connect=connect)
        self._world = world
        event.listen(self.engine.sync_engine, "connect", _without_waiting)

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """Give a transaction, unless the database is away; the connection can be lost around its commit."""
        self._away()
        async with super().write() as connection:
            yield connection
            if self._world.strikes(What.LOST_BEFORE_COMMIT):
                raise _lost()
        if self._world.strikes(What.LOST_AFTER_COMMIT):
            raise _lost()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """Give a connection, unless the database is away."""
        self._away()
        async with super().read() as connection:
            yield connection

    @asynccontextmanager
    async def sweeping_alone(self) -> AsyncGenerator[bool]:
        """Let all sweep: a sweeper that is stopped loses PostgreSQL's lock, and this one's file would stay locked."""
        yield True

    async def time(self) -> datetime:
        """Give the time by the one clock that is right."""
        return self._world.now()

    def _away(self) -> None:
        process = _HERE.get()
        if process is not None and (process.frozen or self._world.suffers(What.DATABASE_AWAY)):
            raise _lost()


def _without_waiting(connection: Any, _record: Any) -> None:
    """Do not wait for the disk: this file is in memory, and ends with the simulation."""
    connection.execute("PRAGMA synchronous=OFF")


def _lost() -> OperationalError:
    return OperationalError("a statement", {}, Exception("the connection was lost"))


@dataclass(eq=False)
class Process:
    """One process of Bode: all roles, as on one machine; several share a database."""

    world: World
    name: str
    alive: bool = True
    frozen: bool = False
    """Stopped, as by SIGSTOP: it does nothing, renews nothing, and goes on later where it was."""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])

    def __post_init__(self) -> None:
        world, clock = self.world, Clock(wall=self._wall, timer=self.world.seconds)
        self.clock = clock
        self.ahead = timedelta(0)
        self.parts = replace(world.parts, clock=clock)
        self.lanes = Lanes(self.parts, world.ring)
        self.inbound = Inbound(self.parts, self.lanes)
        self.sweeper = Sweeper(self.parts, self.lanes, world.ring, self.inbound.work)
        self.intake = Intake(
            database=world.database,
            vault=world.parts.vault,
            policy=world.parts.policy,
            clock=clock,
            organisations=frozenset(world.parts.organisations),
            ring=world.ring,
            new_id=lambda: world.wish(_NUMBER.get()).id,
        )

    def _wall(self) -> datetime:
        return self.world.now() + self.ahead

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Have this process do something; it dies with the process."""
        context = copy_context()
        context.run(_HERE.set, self)
        task = self.world.loop.create_task(work, context=context)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), BrokenError):
            self.world.broken.append(error)

    async def ask(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Have this process do something, and wait for it. Raises `GoneError` when it dies on the way."""
        task = self.start(work)
        await asyncio.wait([task])
        if task.cancelled() or isinstance(task.exception(), Killed):
            raise GoneError
        return task.result()

    async def freeze(self, seconds: float) -> None:
        """Stop here for so long. No time limit of its own ends that: nothing in a stopped process runs."""
        loop, self.frozen = self.world.loop, True
        until = loop.time() + seconds
        try:
            while self.alive and loop.time() < until:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(until - loop.time())
        finally:
            self.frozen = False
        if not self.alive:
            raise Killed

    def kill(self) -> None:
        """End it here: nothing it has in hand is finished."""
        self.alive = False
        for task in self.tasks:
            task.cancel()
        self.world.later(timedelta(seconds=20), self.world.start_process)


class World:
    """Everything of one run."""

    def __init__(self, options: Options, folder: Path, policy: Policy, loop: VirtualLoop) -> None:
        """Make the sides, an empty database, and the list of what will go wrong."""
        self.options = options
        self.loop = loop
        self.mishaps = Mishaps(options, self.now)
        self.incidents = incidents(options)
        self.broken: list[BrokenError] = []
        self.refused: list[str] = []
        self.truths: dict[UUID, Truth] = {}
        self.numbers: dict[UUID, int] = {}
        self.happened: list[tuple[datetime, str]] = []
        self.counts: Counter[str] = Counter()
        self._random = Random(f"{options.seed}/world")
        self._calls = Random(f"{options.seed}/calls")
        self._wishes: dict[int, Wish] = {}
        self._once = [one for one in self.incidents if not one.lasts]
        self._clocks = [one for one in self.incidents if one.what is What.CLOCK_SET]
        self._lasting = [one for one in self.incidents if one.lasts and one.what is not What.CLOCK_SET]
        self._names = 0
        self._next_reading, self._next_people = ORIGIN, ORIGIN + timedelta(hours=5)
        self._pending = 0
        self._ringing: set[str] = set()
        self._visits: Counter[UUID] = Counter()
        self.grid = timedelta(minutes=30)
        """How far apart sweeps are at least; in life a second, which a month has too many of."""
        vault = Vault(sha256(f"{options.seed}".encode()).digest())
        self.database = SimulatedDatabase(f"sqlite:///{folder}/bode.db", self)
        self.boxes = {name: SimulatedBox(self, name) for name in (BOX, PORTAL, CARRIER)}
        self.notifier = SimulatedNotifier(self)
        self.printer = SimulatedPrinter(self)
        self.parts = Parts(
            database=self.database,
            vault=vault,
            policy=policy,
            clock=Clock(wall=self.now, timer=self.seconds),
            boxes=self.boxes,
            notifier=self.notifier,
            printer=self.printer,
            notice_composer=NoticeComposer(config_folder() / "notices"),
            letter_composer=PlainLetters(),
            rules=assembly.bounce_rules(),
            return_path=ReturnPath(vault.return_path_key, RETURN_DOMAIN, valid=timedelta(days=60), now=self.now),
            health=MailHealth(assembly.providers(vault), vault),
            organisations={
                OIN: Organisation(OIN, "Gemeente Maasveld", "noreply@example.nl", "14 0999", ("Postbus 1",))
            },
            box_urls={BOX: "https://mijn.overheid.nl", PORTAL: "https://mijn.gemeente.example", CARRIER: ""},
            hold_seconds=HOLD_SECONDS,
            new_id=lambda: UUID(int=self._calls.getrandbits(128), version=4),
        )
        self.processes: list[Process] = []

    # ---- what the sides ask ----------------------------------------------------------------------------------------

    def seconds(self) -> float:
        """Give the seconds since the beginning."""
        return self.loop.time()

    def now(self) -> datetime:
        """Give the time it really is."""
        return ORIGIN + timedelta(seconds=self.seconds())

    def wish(self, number: int) -> Wish:
        """Give a message as its sender wants it."""
        if number not in self._wishes:
            made = self._wishes[number] = wish(self.options, number)
            self.numbers[made.id] = number
            self.truths[made.id] = Truth()
            for channel in (BOX, PORTAL):
                self.notifier.about[notice_id(made.id, channel)] = made.id, channel
            for letter in range(12):
                self.printer.about[letter_id(made.id, letter)] = made.id
        return self._wishes[number]

    def truth(self, message: UUID) -> Truth:
        """Give what really happened to a message."""
        return self.truths[message]

    def number(self, message: UUID) -> int:
        """Give a message's number in this run."""
        return self.numbers[message]

    def tell(self, message: UUID, text: str) -> None:
        """Keep something for a message's story."""
        if self.options.tell:
            self.truths[message].log.append((self.now(), text))

    def later(self, wait: timedelta, act: Callable[[], Any]) -> None:
        """Have something happen after a while."""
        self._pending += 1

        def happens() -> None:
            self._pending -= 1
            act()

        self.loop.call_later(wait.total_seconds(), happens)

    async def take_time(self) -> None:
        """Let a call take its time: as a rule little, and sometimes longer than it may."""
        slow = Fault.TIMEOUTS in self.options.faults and self.now() < self.options.quiet_after
        if slow and self._random.random() < 0.001:
            await asyncio.sleep(self._random.choice((85.0, 95.0, 400.0)))
        else:
            await asyncio.sleep(self._random.choice(_CALL_SECONDS))

    def suffers(self, what: What) -> bool:
        """Tell whether this goes on now."""
        now = self.now()
        return any(one.what is what and one.at <= now < one.at + one.lasts for one in self._lasting)

    def strikes(self, what: What) -> bool:
        """Tell whether this happens to this process, here and once."""
        if _HERE.get() is None:
            return False
        found = next((one for one in self._once if one.what is what and one.at <= self.now()), None)
        if found is not None:
            self._once.remove(found)
            self._note(str(found))
        return found is not None

    def _note(self, text: str) -> None:
        self.happened.append((self.now(), text))

    def hand_in(self, to: str, mail: bytes) -> None:
        """Have a mail server bring a bounce; it tries again until it is answered."""
        raw = to.encode() + b"\n" + mail
        thing = Raw(sha256(raw).hexdigest(), "smtp", self.now(), raw)
        if to.rpartition("@")[2] != RETURN_DOMAIN:
            return
        self._background(self._until_answered(lambda process: process.inbound.store(thing)))

    async def _until_answered(self, work: Callable[[Process], Coroutine[Any, Any, _T]]) -> _T:
        while True:
            alive = [process for process in self.processes if process.alive]
            if alive:
                process = self._random.choice(alive)
                try:
                    return await process.ask(work(process))
                except (GoneError, FailpointError, *DATABASE_AWAY):
                    pass
            await asyncio.sleep(_CLIENT_WAIT.total_seconds())

    def _background(self, work: Coroutine[Any, Any, Any]) -> None:
        self._pending += 1
        task = self.loop.create_task(work)

        def done(_task: asyncio.Task[Any]) -> None:
            self._pending -= 1
            if error := _task.exception():
                self.broken.append(BrokenError("no surprises", None, f"{type(error).__name__}: {error}"))

        task.add_done_callback(done)

    # ---- processes -------------------------------------------------------------------------------------------------

    def start_process(self) -> None:
        """Start a process, as an operator's system does after one died."""
        self._names += 1
        process = Process(self, f"worker-{self._names}")
        self.processes = [one for one in self.processes if one.alive] + [process]
        self._note(f"{process.name} starts")
        self._background(self._agree(process))

    async def _agree(self, process: Process) -> None:
        await process.clock.agree(self.database.time)

    async def ring(self, lanes: Mapping[str, int]) -> None:
        """Carry a ring to a process, which takes a moment; some get lost, as in a broker that is wiped."""
        for lane in lanes:
            lost = Fault.DUPLICATES in self.options.faults and self._random.random() < 0.01
            if not lost and lane not in self._ringing:
                self._ringing.add(lane)
                self.later(_RING, partial(self._rung, lane))

    def _rung(self, lane: str) -> None:
        self._ringing.discard(lane)
        process = self._anybody()
        if process is not None:
            process.start(process.lanes.drain(lane))

    async def struck(self, point: Point) -> None:
        """Be called at every failpoint of every process."""
        process = _HERE.get()
        if process is None:
            return
        if point is Point.AFTER_CLAIM:
            await self._check_order(process)
        found = next((one for one in self._once if one.point is point and one.at <= self.now()), None)
        if found is None:
            return
        self._once.remove(found)
        self._note(f"{process.name}: {found}")
        match found.act:
            case Act.KILL:
                process.kill()
                raise Killed
            case Act.EXCEPTION:
                raise FailpointError(point)
            case _:
                # Inside a transaction others would wait with it, as they do for a lock; elsewhere past its lease.
                inside = "before" in point and point.endswith("commit")
                if inside:
                    await asyncio.sleep(5)
                else:
                    await process.freeze(HOLD_SECONDS + 2 * self.grid.total_seconds())

    async def _check_order(self, process: Process) -> None:
        """Hold the order of work: a claim leaves nothing that is more urgent than what it took."""
        self.counts["claims"] += 1
        if self.counts["claims"] % 7:
            return
        step = tables.step.c
        async with Database.read(self.database) as connection:
            mine = list(
                await connection.execute(
                    sa.select(step.lane, step.deadline_at, step.call, step.action).where(
                        step.state == "leased", step.owner == process.lanes.owner, step.called_at == self.now()
                    )
                )
            )
            stopped = {row.name for row in await connection.execute(_STOPPED)}
            for lane in {row.lane for row in mine} - stopped:
                taken = [row.deadline_at for row in mine if row.lane == lane]
                if len(taken) > self.parts.chunk:
                    continue  # Others of an earlier call came along.
                left = await connection.execute(
                    sa.select(sa.func.min(step.deadline_at)).where(step.lane == lane, step.state == "ready")
                )
                most_urgent = left.scalar_one()
                if most_urgent is not None and (len(taken) < self.parts.chunk or most_urgent < max(taken)):
                    raise BrokenError("order of the deadline", None, f"{lane}: {most_urgent} was left for later work")

    # ---- the run ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Let it all happen, until nothing is left to happen."""
        await self.database.upgrade()
        async with self.database.write() as connection:
            await steps.ensure_lanes(connection, self.parts.lanes)
        for _ in range(2):
            self.start_process()
        for incident in self._clocks:
            self.later(incident.at - ORIGIN, partial(self._set_clock, incident))
        for at, numbers in arrivals(self.options):
            self.later(at - ORIGIN, partial(self._arrive, numbers))
        while not self.broken and self.now() < self.options.quiet_after + LATEST:
            moment, quiet = await self._next_moment(), self.now() >= self.options.quiet_after
            reports = await self.printer.reports()
            if moment is None and not reports and not self._pending and quiet and self._settled():
                break
            wait = min(moment or self._next_people, self._next_people, self._next_reading if reports else _NEVER)
            await asyncio.sleep((max(wait, self.now() + self.grid * (2 if quiet else 1)) - self.now()).total_seconds())
            process = self._anybody()
            if process is not None:
                await self._look_after(process)
        for process in self.processes:
            process.alive = False

    async def _look_after(self, process: Process) -> None:
        """Do what is to be done regularly, and is due: read reports, let people look, sweep."""
        if self.now() >= self._next_reading and await self.printer.reports():
            self._next_reading = self.now() + timedelta(hours=2)
            await self._attempt(process, process.inbound.read_reports())
        if self.now() >= self._next_people:
            self._next_people = self.now() + timedelta(hours=5)
            await self._people_look()
        moment = await self._next_moment()
        if moment is not None and moment <= self.now():
            self.counts["sweeps"] += 1
            await self._attempt(process, process.sweeper.sweep())

    def _settled(self) -> bool:
        return not any(process.tasks for process in self.processes)

    def _anybody(self) -> Process | None:
        alive = [process for process in self.processes if process.alive]
        return self._random.choice(alive) if alive else None

    async def _attempt(self, process: Process, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await process.ask(work)
        except (GoneError, FailpointError, *DATABASE_AWAY):
            self.counts["passes cut short"] += 1

    async def _next_moment(self) -> datetime | None:
        async with Database.read(self.database) as connection:
            found = await connection.execute(_NEXT)
            row = found.one()
        if row.ready or row.new:
            return self.now()
        return min((at for at in (row.due, row.wake, row.lease, row.probe) if at is not None), default=None)

    def _set_clock(self, incident: Incident) -> None:
        process = self._anybody()
        if process is not None:
            process.ahead += incident.lasts
            self._note(f"{process.name}'s own clock is set by {incident.lasts.total_seconds() / 3600:+.0f} h")

    # ---- messages come in ------------------------------------------------------------------------------------------

    def _arrive(self, numbers: list[int]) -> None:
        self._background(self._come_in(numbers))

    async def _come_in(self, numbers: list[int]) -> None:
        wishes = [self.wish(number) for number in numbers]
        if len(numbers) > _ALONE:
            await self._until_answered(lambda process: self._store_all(process, wishes))
            for one in wishes:
                self._answered(one)
            return
        for one in wishes:
            raw = msgspec.json.encode(one.body(self.now()))
            again, _ = self.mishaps.chance(one.number, "request", {"twice": (Fault.DUPLICATES, 0.1)})
            _NUMBER.set(one.number)
            for _ in range(2 if again else 1):
                accepted = await self._until_answered(partial(_accept, raw))
                if accepted.id != one.id:
                    raise BrokenError("one message, one id", one.id, "a repeat was answered with another id")
            self._answered(one)

    def _answered(self, one: Wish) -> None:
        truth = self.truths[one.id]
        truth.answered_at = truth.answered_at or self.now()
        self.tell(one.id, "its sender is told: accepted")

    async def _store_all(self, process: Process, wishes: list[Wish]) -> None:
        """Store a morning's run in one transaction: what intake does, but for the checks a message at a time."""
        now, vault, policy = process.clock.now(), self.parts.vault, self.parts.policy
        new: list[messages.NewMessage] = []
        ledgers: dict[UUID, Ledger] = {}
        async with self.database.write() as connection:
            known = await messages.existing(connection, OIN, [f"SIM-{one.number:07d}" for one in wishes])
            for one in wishes:
                if f"SIM-{one.number:07d}" in known:
                    continue
                read = request.read(msgspec.json.encode(one.body(now)))
                if read.body is None or read.faults:
                    raise BrokenError("good requests", one.id, f"{[fault.code for fault in read.faults]}")
                message = request.to_message(read.body, one.id)
                hidden = vault.email_hashes(message.notice.email) if message.notice.email else ()
                failing = await mail_health.failing(connection, OIN, hidden) if hidden else None
                key = vault.new_key(one.id)
                ledger = ledgers[one.id] = Ledger(Delivery(brief_of(message, now, failing)), OIN, is_new=True, key=key)
                ledger.facts.append(Fact("SubmissionAcceptance", ("L12",), detail={"reference": message.reference}))
                ledger.apply(ev.Accepted(), policy, now)
                new.append(messages.NewMessage(message, read.hash(), key, None, now))
            lanes: Mapping[str, int] = {}
            if new:
                await messages.insert(connection, new, vault)
                lanes = (await write(connection, ledgers, policy=policy, vault=vault, now=now)).lanes
        await self.ring(lanes)

    # ---- people ----------------------------------------------------------------------------------------------------

    async def _people_look(self) -> None:
        """Do what an operator does: start lanes, decide bursts, replay mails, have parts tried again that wait."""
        process = self._anybody()
        if process is None or self.suffers(What.DATABASE_AWAY):
            return
        async with Database.write(self.database) as connection:
            stopped = {row.name for row in await connection.execute(_STOPPED)}
            for name in sorted(stopped):
                await steps.start_lane(connection, name, by="people")
                self._note(f"people start lane {name}")
            bursts = await mail_health.open_bursts(connection)
            bounced: list[tuple[UUID, str]] = []
            for burst in bursts:
                since = burst.opened_at - timedelta(hours=6)
                bounced += await mail_health.bounced_since(connection, burst.kind, burst.name, since)
                await mail_health.close_burst(
                    connection, burst.kind, burst.name, decision="real", by="people", reason="seen", now=self.now()
                )
                self._note(f"people decide the burst of {burst.kind} {burst.name}")
            # A mail that an exception kept from being decided is listed for them; they have it decided again.
            inbound = tables.inbound.c
            kept = sa.and_(inbound.state == "unmatched", inbound.note.startswith("cannot_decide"))
            replayed = await connection.execute(sa.update(tables.inbound).where(kept).values(state="new", note=None))
            if replayed.rowcount:
                self.counts["mails decided again"] += replayed.rowcount
                self._note(f"people have {replayed.rowcount} mails decided again")
        await self._decide_bursts(process, bounced)
        await self._try_again(process)

    async def _decide_bursts(self, process: Process, bounced: list[tuple[UUID, str]]) -> None:
        async with Database.read(self.database) as connection:
            deliveries = await read_deliveries(connection, [message for message, _ in bounced])
        for message, channel in bounced:
            placement = deliveries[message].placement(channel) if message in deliveries else None
            if placement is not None and placement.notice and placement.notice.state is NoticeState.HELD:
                decided = ev.BurstDecided(channel, real=True, by="people", reason="seen")
                await self._attempt(process, process.lanes.apply([(message, decided)]))

    async def _try_again(self, process: Process) -> None:
        delivery = tables.delivery.c
        async with Database.read(self.database) as connection:
            rows = await connection.execute(
                sa.select(delivery.message_id, delivery.document)
                .where(delivery.state == "needs_person", delivery.updated_at < self.now() - timedelta(hours=2))
                .order_by(delivery.message_id)
            )
            found = [(row.message_id, _DOCUMENT(row.document)) for row in rows]
        for message, known in found:
            reasons = {one.reason for one in known.attention}
            chance = Random(f"{self.options.seed}/people/{message}/{self._visits[message]}")
            if self._visits[message] >= 3 or reasons <= _NOT_FOR_RETRY or chance.random() < 0.4:
                continue
            self._visits[message] += 1
            truth = self.truths[message]
            event: ev.Event = ev.Retried("people", "mended")
            if chance.random() < 0.05:
                truth.orders += 1
                event = ev.LetterOrdered("people", "asked for")
            else:
                truth.retries += 1
            self.tell(message, f"people act: {type(event).__name__}")
            await self._attempt(process, process.lanes.apply([(message, event)]))

    # ---- alarms ----------------------------------------------------------------------------------------------------

    def hear(self, event: MutableMapping[str, Any]) -> None:
        """Be told of a line in the log: an alarm that an operator would get."""
        if event.get("event") == "alarm.given" and event.get("kind") in (
            AlarmKind.NOTICE_LATE,
            AlarmKind.NOTICE_MISSED,
            AlarmKind.NEEDS_PERSON,
        ):
            message = UUID(event["message"])
            if message in self.truths:
                self.truths[message].alarms.append(self.now())
        if event.get("level") == "error":
            self.counts[f"log {event['event']}"] += 1
        if event.get("event") in _NEVER_LOGGED:
            self.broken.append(BrokenError("no surprises", UUID(event["message"]), f"{event['event']} was logged"))


def _accept(raw: bytes, process: Process) -> Coroutine[Any, Any, Accepted]:
    return process.intake.accept(raw, route=Route.HTTP, caller=Caller("simulation"))


_NEVER_LOGGED = {"letter.not_composed", "notice.not_composed", "step.cannot_be_made", "content.cannot_be_opened"}
"""What no mishap here can bring about: a fault of the code, or of this simulator."""
_NOT_FOR_RETRY = {AttentionReason.NO_POSTAL_ADDRESS, AttentionReason.CONTRADICTION, AttentionReason.BURST}
_DOCUMENT = msgspec.json.Decoder(Delivery).decode
_STOPPED = sa.select(tables.lane.c.name).where(tables.lane.c.stopped_at.is_not(None))


def _next_moment() -> sa.Select[*tuple[Any, ...]]:
    step, lane, inbound = tables.step.c, tables.lane.c, tables.inbound.c
    running = sa.exists(sa.select(lane.name).where(lane.name == step.lane, lane.stopped_at.is_(None)))
    waiting, ready, leased = (sa.literal_column(f"'{one}'", sa.String) for one in ("waiting", "ready", "leased"))
    return sa.select(
        sa.select(sa.func.min(step.due_at)).where(step.state == waiting).scalar_subquery().label("due"),
        sa.select(sa.func.min(step.wake_at)).where(step.wake_at.is_not(None)).scalar_subquery().label("wake"),
        sa.select(sa.func.min(step.lease_until)).where(step.state == leased).scalar_subquery().label("lease"),
        sa.select(sa.func.min(lane.probe_at)).where(lane.stopped_at.is_not(None)).scalar_subquery().label("probe"),
        sa.exists(sa.select(step.id).where(step.state == ready, running)).label("ready"),
        sa.exists(
            sa.select(inbound.key).where(inbound.state == sa.literal_column("'new'"), inbound.route == "smtp")
        ).label("new"),
    )


_NEXT = _next_moment()


def simulated_policy() -> Policy:
    """Give the policy of a simulation: the defaults, over a box, a portal and e-mail."""
    channels = (
        Channel(
            BOX,
            ChannelKind.BOX,
            "de Berichtenbox van MijnOverheid",
            Confidentiality.HOOG,
            primary=True,
            repeat_is_recognised=True,
            can_lookup=True,
            can_check=True,
        ),
        Channel(PORTAL, ChannelKind.BOX, "Mijn Gemeente", Confidentiality.SUBSTANTIEEL, can_lookup=True),
        Channel(CARRIER, ChannelKind.EMAIL, "e-mail", Confidentiality.LAAG),
    )
    return Policy(channels={channel.name: channel for channel in channels}, is_holiday=holidays())


@contextmanager
def simulated(options: Options, policy: Policy) -> Generator[tuple[VirtualLoop, World]]:
    """Make a world in a loop of its own, with a file in memory; both are gone afterwards."""
    before, memory = structlog.get_config(), Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    folder = Path(tempfile.mkdtemp(prefix="bode-simulate-", dir=memory if memory.is_dir() else None))
    loop = VirtualLoop()
    world = World(options, folder, policy, loop)
    state, collected = random.getstate(), gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)  # a run makes much garbage and keeps little of it
    random.seed(options.seed)  # what waits for a database that is away, waits a random time

    def hear(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        world.hear(line)
        raise structlog.DropEvent

    try:
        structlog.configure(
            processors=[structlog.processors.add_log_level, hear],
            wrapper_class=structlog.make_filtering_bound_logger(30),
        )
        failpoints.arm(world.struck)
        yield loop, world
    finally:
        failpoints.arm(None)
        structlog.configure(**before)
        random.setstate(state)
        gc.set_threshold(*collected)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(world.database.close())
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
