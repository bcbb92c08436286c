"""The stage of a measurement: real PostgreSQL and Redis, a mail server and a box in processes of their own, and Bode.

Every measurement has a database of its own, and ends with `Installation.check`: everything was delivered once, by the
word of the other sides, and the audit of the evidence is clean.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
import sqlalchemy as sa
from tests.benchmarks.processes import Served

from bode.domain import events as ev
from bode.domain.message import passes_eleven_test
from bode.engine.evidence_audit import Audit
from bode.engine.sequencer import Sequencer
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.settings import load
from bode.store import steps, tables
from bode.store.database import Database
from bode.store.evidence_keys import make_keyring
from bode.store.vault import write_key_file
from bode_ops import assembly
from bode_ops.demo.processes import free_port
from bode_ops.demo.production_parts import ProductionParts
from bode_ops.demo.scenarios import MAASVELD

_TEMPLATE = "bode_template"
_ORIGIN = "bench.example/bode"
_PATIENCE_SECONDS = 600.0
_LATER = ("read", "watch")
"""Actions of steps that are for days to come: whether it was opened, whether it was posted."""

# Numbers that were published for testing: 999900000 and up, as far as they pass the 11-test.
BSNS = [str(number) for number in range(999_900_000, 1_000_000_000) if passes_eleven_test(str(number))]


class BenchError(SystemExit):
    """A measurement that does not count: something was not delivered, or twice, or its evidence is not clean."""


def address(number: int) -> str:
    return f"b{number}@post.example.nl"


def message(number: int, email: str | None = None) -> bytes:
    """Write a message as a zaaksysteem hands it in."""
    return json.dumps(
        {
            "afzender": MAASVELD,
            "kenmerk": f"B-{number:08d}",
            "aard": "beschikking",
            "rechtsgevolgen": "U kunt bezwaar maken.",
            "termijn": {"duur": "P6W"},
            "geadresseerde": {
                "soort": "BSN",
                "nummer": BSNS[number % len(BSNS)],
                "naam": "Sanne de Vries",
                "adres": {"straat": "Dorpsstraat", "huisnummer": "1", "postcode": "1234 AB", "woonplaats": "Maasveld"},
            },
            "kanalen": [{"kanaal": "mijndomein"}],
            "kennisgeving": {"email": email or address(number)},
            "onderwerp": "Besluit op uw aanvraag",
            "tekst": "Beste mevrouw, meneer, wij hebben een besluit genomen.",
        }
    ).encode()


class Stage:
    """What all measurements share. Use it as a context manager: it stops what it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = ProductionParts(folder)
        self._number = 0
        self._databases = 0

    def __enter__(self) -> Self:
        self._database, self.broker = self._parts.start()
        self.smtp, self.box = Served("sink"), Served("box")
        write_key_file(self.folder / "key")
        make_keyring(self.folder / "evidence.key", _ORIGIN)
        (self.folder / "print" / "in").mkdir(parents=True)
        self._execute(f"CREATE DATABASE {_TEMPLATE}")
        asyncio.run(_upgraded(self._url(_TEMPLATE)))
        self.redis = redis.Redis.from_url(self.broker)
        postmaster = int((self.folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])
        self.pids = {
            "postgresql": postmaster,
            "redis": int(self.redis.info("server")["process_id"]),
            "mail server": self.smtp.pid,
            "box": self.box.pid,
        }
        return self

    def __exit__(self, *_: object) -> None:
        self.smtp.stop()
        self.box.stop()
        self.redis.close()
        self._parts.stop()

    def numbers(self, count: int) -> range:
        """Give numbers that no message had yet."""
        first, self._number = self._number, self._number + count
        return range(first, first + count)

    @contextmanager
    def empty_database(self) -> Generator[str]:
        """Give the URL of an empty database, for as long as it is needed."""
        url = self._created("")
        yield url
        self.drop(url)

    def drop(self, url: str) -> None:
        """Drop a database: else PostgreSQL would clean it up while something else is measured."""
        self._execute(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def installation(self, *, sqlite: bool = False, extra: str = "", engine: str = "") -> Installation:
        """Make an installation of Bode with a database and a configuration of its own; `extra` is more TOML."""
        folder = self.folder / f"bode{self._databases}"
        folder.mkdir()
        if sqlite:
            self._databases += 1
            url = f"sqlite:///{folder / 'bode.db'}"
        else:
            url = self._created(f" TEMPLATE {_TEMPLATE}")
        config = folder / "bode.toml"
        config.write_text(self._configuration(url, folder, sqlite=sqlite, extra=extra, engine=engine))
        return Installation(self, folder, config)

    def settle(self) -> None:
        """Have PostgreSQL write what it holds, so that no measurement pays for the one before it."""
        self._execute("CHECKPOINT")

    def server(self) -> dict[str, str]:
        """Give PostgreSQL's settings that count for speed."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
        with psycopg.connect(self._database) as connection:
            return {name: str(connection.execute(f"SHOW {name}").fetchone()[0]) for name in names}  # type: ignore[index]

    def _created(self, how: str) -> str:
        self._databases += 1
        name = f"bode{self._databases}"
        self._execute(f"CREATE DATABASE {name}{how}")
        return self._url(name)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute(statement.encode())

    def _url(self, name: str) -> str:
        return sa.make_url(self._database).set(database=name).render_as_string(hide_password=False)

    def _configuration(self, url: str, folder: Path, *, sqlite: bool, extra: str, engine: str) -> str:
        broker = "" if sqlite else f'[broker]\nurl = "{self.broker}"\nnamespace = "{folder.name}"\n'
        return f"""
[database]
url = "{url}"
{broker}
[keys]
file = "{self.folder / "key"}"
[evidence]
key_file = "{self.folder / "evidence.key"}"
origin = "{_ORIGIN}"
folder = "{folder / "evidence"}"
every_seconds = 60
[api]
port = {free_port()}
[bounces]
port = {free_port()}
domain = "retour.example.nl"
[engine]
journal_folder = "{folder / "journal"}"
{engine}
[channels.mijndomein]
adapter = "mijndomein"
kind = "box"
label = "Mijn Gemeente"
url = "https://mijn.gemeente.example"
ceiling = "hoog"
settings = {{ base_url = "http://127.0.0.1:{self.box.port}/api/v1" }}
[notices]
adapter = "smtp-notifier"
settings = {{ host = "127.0.0.1", port = {self.smtp.port}, tls = "none" }}
[print]
adapter = "print-folder"
settings = {{ folder = "{self.folder / "print"}" }}
[organisations.{MAASVELD}]
name = "Gemeente Maasveld"
email = "noreply@maasveld.example.nl"
contact = "telefoon 14 0999"
address = ["Postbus 100", "1200 AA  MAASVELD"]
{extra}
"""

    # ---- the other sides' word --------------------------------------------------------------------------------------

    async def mailed(self) -> tuple[dict[str, list[float]], int]:
        """Give when each address got mail (monotonic clock), since it was asked last; and the open connections."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.smtp.port, limit=2**28)
        await reader.readline()
        writer.write(b"XTOLD\r\n")
        told = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return told["got"], told["open"]

    def placed(self) -> tuple[dict[str, int], int]:
        """Give how often each reference was placed, since it was asked last; and the open connections."""
        told = self._ask_box("GET", "told")
        return told["placed"], told["open"]

    def box_is(self, state: str) -> None:
        """Let the box go `away` (503 to everything) or come `back`."""
        self._ask_box("POST", state)

    def _ask_box(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.box.port}/{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


async def _upgraded(url: str) -> None:
    database = Database(url)
    await database.upgrade()
    await database.close()


async def _no_ring(_lanes: Mapping[str, int]) -> None:
    """Store in silence: the measurement rings, when all is ready."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process of Bode."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def started(self) -> None:
        until = time.monotonic() + 300
        while "process.started" not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > until:
                raise BenchError(f"a Bode process did not start:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)


class Installation:
    """One Bode on the stage: a database, a configuration, its processes, and a hand in this process to fill it."""

    def __init__(self, stage: Stage, folder: Path, config: Path) -> None:
        self.stage = stage
        self.config = config
        self._folder = folder
        self.settings = load(config)
        self.app = assembly.build(self.settings)
        self.database = self.app.database
        self.running: dict[str, Running] = {}
        self._silent = Intake(
            database=self.database,
            vault=self.app.parts.vault,
            policy=self.app.parts.policy,
            clock=self.app.clock,
            organisations=frozenset(self.app.parts.organisations),
            ring=_no_ring,
        )

    async def __aenter__(self) -> Self:
        if self.database.is_sqlite:
            await self.database.upgrade()
        async with self.database.write() as connection:
            await steps.ensure_lanes(connection, self.app.parts.lanes)
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self.running.values():
            one.process.kill()
            one.process.wait()
        await self.app.close()
        if not self.database.is_sqlite:
            self.stage.drop(self.settings.database.url)
        shutil.rmtree(self._folder)

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.settings.api.port}"

    @property
    def pids(self) -> dict[str, int]:
        """The processes that a measurement is about."""
        return self.stage.pids | {name: one.pid for name, one in self.running.items()}

    def start(self, role: str, name: str | None = None) -> Running:
        """Start a process of Bode. It is ready after `started`."""
        name = name or role
        log = self._folder / f"{name}-{time.monotonic_ns()}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "bode_ops", "run", role, "--config", str(self.config)],
                stdout=file,
                stderr=file,
                env={**os.environ, "BODE__METRICS__PORT": str(free_port())},
            )
        self.running[name] = Running(process, log)
        return self.running[name]

    async def store(self, numbers: Sequence[int], *, emails: Mapping[int, str] | None = None) -> list[Accepted]:
        """Accept messages without a word to the workers."""
        stored: list[Accepted] = []
        for start in range(0, len(numbers), 100):
            raws = [message(number, (emails or {}).get(number)) for number in numbers[start : start + 100]]
            for answer in await self._silent.accept_many(raws, route=Route.COMMAND, caller=Caller("bench")):
                if not isinstance(answer, Accepted):
                    raise BenchError(f"a message was refused: {[fault.code for fault in answer.faults]}")
                stored.append(answer)
        return stored

    async def place(self, accepted: Sequence[Accepted]) -> None:
        """Have messages placed, without a call: their notices are due."""
        lanes = assembly.Lanes(self.app.parts, _no_ring)
        now = datetime.now(UTC)
        for start in range(0, len(accepted), 200):
            chunk = accepted[start : start + 200]
            await lanes.apply(
                [
                    (item.id, ev.Placed("mijndomein", now, ev.TimeSource.OTHER_SIDE, receipt=f"r-{item.reference}"))
                    for item in chunk
                ]
            )

    async def ring(self, lane: str, ready: int) -> None:
        """Tell the workers that a lane has work."""
        await self.app.doorbell.ring({lane: ready})

    async def done(self, *, sequenced: bool = False, patience: float = _PATIENCE_SECONDS) -> None:
        """Wait until nothing is left to be done today; `sequenced`: and all evidence stands in the log."""
        column = tables.step.c
        work = sa.exists(sa.select(column.id).where(column.action.not_in(_LATER)))
        waits = sa.exists(sa.select(tables.event_pending.c.event_id)) if sequenced else sa.false()
        until = time.monotonic() + patience
        while True:
            async with self.database.read() as connection:
                if not (await connection.execute(sa.select(sa.or_(work, waits)))).scalar_one():
                    return
            if time.monotonic() > until:
                raise BenchError(f"not done after {patience:.0f} seconds")
            for name, one in self.running.items():
                if one.process.poll() is not None:
                    raise BenchError(f"{name} ended by itself:\n{one.log.read_text()[-2000:]}")
            await asyncio.sleep(0.02)

    # ---- was it right? ----------------------------------------------------------------------------------------------

    async def check(self, numbers: Sequence[int], *, placed: bool, mailed: bool = True) -> dict[str, list[float]]:
        """Raise `BenchError` unless each message was placed and noticed once and the evidence is clean.

        Gives when each address got its mail.
        """
        got, _ = await self.stage.mailed()
        box, _ = self.stage.placed()
        if mailed:
            _once("mailed", Counter({to: len(times) for to, times in got.items()}), map(address, numbers))
        if placed:
            _once("placed", Counter(box), (f"B-{number:08d}" for number in numbers))
        event = tables.event.c
        async with self.database.read() as connection:
            rows = await connection.execute(
                sa.select(sa.func.count(), sa.func.count(event.message_id.distinct())).where(
                    event.name == "ConsignmentNotification"
                )
            )
            found = tuple(rows.one())
        if mailed and found != (len(numbers), len(numbers)):
            raise BenchError(f"evidence tells of {found[0]} notices of {found[1]} messages; {len(numbers)} were sent")
        await self.audit()
        return got

    async def audit(self) -> int:
        """Raise `BenchError` unless all evidence is in the log and the audit is clean; gives the number of events."""
        while await Sequencer(self.database).work():
            pass
        faults: list[str] = []
        report = await Audit(
            self.database, lambda fault: faults.append(str(fault)), folder=None, vault=self.app.parts.vault
        ).run()
        if faults or report.pending or report.leaves != report.events:
            raise BenchError(f"audit: {len(faults)} faults, {report.pending} wait: {faults[:3]}")
        return report.events

    async def bytes(self) -> int:
        """Give the size of the database."""
        async with self.database.read() as connection:
            found = await connection.execute(sa.select(sa.func.pg_database_size(sa.func.current_database())))
            return int(found.scalar_one())


def _once(what: str, counted: Counter[str], wanted: Iterator[str]) -> None:
    expected = set(wanted)
    lost, twice = expected - counted.keys(), [name for name, times in counted.items() if times > 1]
    if lost or twice or counted.keys() != expected:
        others = len(counted.keys() - expected)
        raise BenchError(f"{what}: of {len(expected)} {len(lost)} never, {len(twice)} more than once, {others} others")
