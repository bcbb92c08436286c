"""One run: real processes at work on a few messages, one thing that goes wrong, and what the other sides then hold."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import sqlalchemy as sa
from tests.service.conftest import RETURN_DOMAIN, make_body
from tests.torture import outside
from tests.torture.faults import Befalls, Fault
from tests.torture.ground import Ground, end, processes, start, wait_for

from bode.domain.parts import AttentionReason, Delivery, DeliveryState, PlacementState
from bode.failpoints import Act
from bode.store import tables
from bode.store.database import Database
from bode.store.record import read_deliveries
from bode_ops.demo.processes import free_port

SPEED = 3600
"""The clock that counts runs an hour a second: waits of the rules are waits of seconds. Leases are not about it."""
CONNECTIONS = 4
HEARTBEAT, HOLD = 0.3, 1.5
LASTS = 1.0
"""How many seconds a thing goes wrong."""
LONGEST = 60.0
"""How many seconds a run may take before what is not done counts as lost."""


@dataclass
class Result:
    """What came of a run. Everything but the first four is to be zero, or bounded by what went wrong."""

    fault: str
    seed: int
    messages: int
    seconds: float = 0.0
    deaths: int = 0
    lost: list[str] = field(default_factory=list)
    placed_twice: list[str] = field(default_factory=list)
    letters_twice: list[str] = field(default_factory=list)
    notices_twice: int = 0
    unexplained: list[str] = field(default_factory=list)
    """Notices that went out twice without an unknown outcome in evidence."""
    unknown: int = 0
    """Outcomes that were unknown for a while, and were found out."""
    ambiguous: int = 0
    """Outcomes that are still unknown: a person is asked."""
    open_connections: int = 0
    """How many connections were open where something went wrong: the most that may be ambiguous."""
    takeover: float = 0.0
    """The longest time between the death of a process and the moment when nothing was in its hands any more."""
    audit: str = ""
    """What the audit of all evidence found wrong."""

    @property
    def is_good(self) -> bool:
        broken = (self.lost, self.placed_twice, self.letters_twice, self.unexplained, self.audit)
        return not any(broken) and self.ambiguous <= self.open_connections


def run(ground: Ground, number: int, fault: Fault, seed: int, messages: int) -> Result:
    """Make one run. The seed decides which messages there are, and which pass of a failpoint strikes."""
    folder = ground.folder / f"run-{number}"
    folder.mkdir()
    ground.redis.client.flushall()
    made = _Run(ground, folder, number, fault, seed, messages)
    try:
        made.play()
    finally:
        made.stop()
    if made.result.is_good:
        shutil.rmtree(folder)
    return made.result


class _Run:
    def __init__(self, ground: Ground, folder: Path, number: int, fault: Fault, seed: int, messages: int) -> None:
        self.ground, self.folder, self.fault, self.seed = ground, folder, fault, seed
        self.random = random.Random(seed)
        self.result = Result(fault.name, seed, messages)
        self.bodies = [self._body(number) for number in range(messages)]
        self.accepted: dict[str, UUID] = {}
        """Our id of each message that was answered with 202, by its reference."""
        self.database = ground.database(number)
        self.ports = [(free_port(), free_port()) for _ in range(2)]
        self.bode: list[BaseProcess] = []
        self.outside: BaseProcess | None = None
        self.pipe: Any = None
        self.ended = threading.Event()
        self.started = 0.0

    # ---- the parts -------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Start all, hand in, let it go wrong, wait until all is done, and count."""
        self.started = time.monotonic()
        self.pipe, theirs = processes.Pipe()
        origin = datetime.now(UTC).isoformat()
        bounces = tuple(bounce for _, bounce in self.ports)
        self.outside = processes.Process(
            target=outside.main, args=(theirs, str(self.folder), origin, SPEED, bounces), daemon=True
        )
        self.outside.start()
        addresses = self.pipe.recv()
        for place in range(2):
            self._config(place).write_text(self._configuration(addresses, origin, place))
            self.bode.append(self._start(place, armed=self.fault.armed if place == 0 else ""))
        # The armed one can fail at its first step: it need not listen.
        wait_for(lambda: self._listens(1), 30, "a process to listen")
        watching = threading.Thread(target=self._watch)
        befalling = threading.Thread(target=self._befall)
        watching.start()
        befalling.start()
        with ThreadPoolExecutor(6) as senders:
            list(senders.map(self._hand_in, self.bodies))
        befalling.join()
        watching.join()
        with suppress(TimeoutError):
            wait_for(self._is_done, max(5.0, LONGEST - (time.monotonic() - self.started)), "all messages to be done")
        self._count()
        self.result.seconds = round(time.monotonic() - self.started, 1)

    def stop(self) -> None:
        """Stop all that runs."""
        self.ended.set()
        for process in self.bode:
            end(process, 6)
        if self.outside is not None:
            self.outside.kill()
            self.outside.join()

    def _start(self, place: int, *, armed: str = "") -> BaseProcess:
        log = self.folder / "bode.log"
        return start(log, "run", "all", "--config", str(self._config(place)), armed=armed, seed=self.seed)

    def _listens(self, place: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[place][0]}/readyz", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    # ---- the messages ----------------------------------------------------------------------------------------------

    def _body(self, number: int) -> dict[str, Any]:
        """Draw a message: mostly boxes, some mail, a few letters, some addresses that do not exist."""
        kind = self.random.choices(("mijnoverheid", "mijndomein", "email", "paper", "both"), (6, 6, 4, 1, 2))[0]
        word = "late-unknown" if kind.startswith("mijn") and self.random.random() < 0.1 else "goed"
        channels = {"paper": (), "both": ("mijnoverheid", "mijndomein")}.get(kind, (kind,))
        mail = {"vertrouwelijkheid": "laag", "aard": "overig", "termijn": None} if kind == "email" else {}
        reference = f"T-{self.seed}-{number}"
        return make_body(
            email=f"{word}.{reference.lower()}@post.example.nl", channels=channels, kenmerk=reference, **mail
        )

    def _hand_in(self, body: dict[str, Any]) -> None:
        """Hand a message in as a zaaksysteem does: the same again, until there is an answer."""
        place = 0
        while time.monotonic() - self.started < LONGEST:
            url = f"http://127.0.0.1:{self.ports[place][0]}/v1/berichten"
            with suppress(httpx.HTTPError):
                answer = httpx.post(url, json=body, timeout=1.5)
                if answer.status_code == 202:
                    self.accepted[body["kenmerk"]] = UUID(answer.json()["id"])
                    return
                assert answer.status_code >= 500, answer.text
            place = 1 - place
            time.sleep(0.1)

    # ---- what goes wrong -------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Start the armed process again when it dies, at most once more armed; after a while it is armed no more."""
        calm = self.started + 3.5
        while time.monotonic() < calm and self.fault.armed and self.result.deaths < 2:
            if not self.bode[0].is_alive():
                self._count_death(self.bode[0])
                self.bode[0] = self._start(0, armed=self.fault.armed if self.result.deaths < 2 else "")
            time.sleep(0.02)
        if self.fault.armed and self.result.deaths < 2:
            pid = self.bode[0].pid
            if not end(self.bode[0], 4):
                self._count_death(self.bode[0], pid)
            self.bode[0] = self._start(0)

    def _count_death(self, process: BaseProcess, pid: int | None = None) -> None:
        """Count what was in the hands of a process that died, and how long until it no longer was."""
        died, pid = time.monotonic(), pid or process.pid
        process.join()
        self.result.deaths += 1
        self.result.open_connections += CONNECTIONS
        with suppress(TimeoutError):
            wait_for(lambda: self._in_hands_of(pid) == 0, 20, "the takeover")
        self.result.takeover = max(self.result.takeover, round(time.monotonic() - died, 2))

    def _in_hands_of(self, pid: int | None) -> int:
        found = self._ask("SELECT count(*) FROM step WHERE state = 'leased' AND owner LIKE %s", f"%:{pid}:%")
        return int(found[0][0])

    def _ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def _say(self, word: str, value: object = None) -> Any:
        self.pipe.send((word, value))
        return self.pipe.recv()

    def _befall(self) -> None:
        """Have something befall the parts, while messages come in."""
        if self.fault.befalls is None:
            return
        match self.fault.befalls:
            case Befalls.BOX_SILENT:
                for box in ("mijnoverheid", "mijndomein"):
                    self._say("box", (box, {"gedrag": "timeout-na-acceptatie", "keer": 3}))
                return
            case Befalls.DROP_AFTER_DOT:
                self._say("mail", {"dropping": CONNECTIONS})
                self.result.open_connections = CONNECTIONS
                return
            case Befalls.TARPIT:
                self._say("mail", {"tarpit_seconds": 0.7})
                self.result.open_connections = 2 * CONNECTIONS
                time.sleep(LASTS * 2)
                self._say("behave")
                return
            case _:
                wait_for(lambda: len(self.accepted) > len(self.bodies) // 4, 20, "the first messages")
        match self.fault.befalls:
            case Befalls.FLUSHALL:
                for _ in range(5):
                    self.ground.redis.client.flushall()
                    time.sleep(LASTS / 5)
            case Befalls.REDIS_STOPPED:
                self.ground.redis.stop()
                time.sleep(LASTS)
                self.ground.redis.start()
            case Befalls.POSTGRESQL_STOPPED:
                self.ground.stop_postgres_at_once()
                time.sleep(LASTS / 2)
                self.ground.postgres.start()
                # What was being sent when the server was gone for longer than a lease cannot be recorded.
                self.result.open_connections = 2 * CONNECTIONS
            case Befalls.PAUSED:
                self._pause()

    def _pause(self) -> None:
        """Stop a process past its lease, and let it go on."""
        pid, stopped = self.bode[0].pid, time.monotonic()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.result.open_connections = CONNECTIONS
        try:
            with suppress(TimeoutError):
                wait_for(lambda: self._in_hands_of(pid) == 0, 20, "the takeover")
            self.result.takeover = round(time.monotonic() - stopped, 2)
            time.sleep(max(0.0, stopped + 2 * HOLD - time.monotonic()))
        finally:
            os.kill(pid, signal.SIGCONT)

    # ---- what came of it -------------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        with suppress(psycopg.Error):
            busy = self._ask(
                "SELECT (SELECT count(*) FROM delivery WHERE state IN ('scheduled', 'under_way'))"
                " + (SELECT count(*) FROM step WHERE state IN ('ready', 'leased'))"
                " + (SELECT count(*) FROM inbound WHERE state = 'new')"
                " + (SELECT count(*) FROM event_pending)"
            )
            return busy[0][0] == 0 and self._say("tell")["to_report"] == 0
        return False

    def _count(self) -> None:
        told = self._say("tell")
        deliveries, unknown = asyncio.run(self._deliveries())
        result = self.result
        log = (self.folder / "bode.log").read_text()
        result.open_connections += CONNECTIONS * sum(
            '"lane": "email"' in line and any(f'"event": "{name}"' in line for name in _CUT_SHORT)
            for line in log.splitlines()
        )
        for reference, message in self.accepted.items():
            delivery = deliveries.get(message)
            if delivery is None or delivery.state in (DeliveryState.SCHEDULED, DeliveryState.UNDER_WAY):
                result.lost.append(f"{reference}: {'gone' if delivery is None else delivery.state}")
                continue
            result.lost += self._not_there(reference, delivery, told)
            parts = Counter(part for of, part in unknown if of == message)
            result.unknown += parts.total()
            self._count_mails(reference, delivery, told, parts)
        refs = {str(message): reference for reference, message in self.accepted.items()}
        for box in ("mijnoverheid", "mijndomein"):
            result.placed_twice += [f"{box} {refs.get(one, one)}" for one, count in told[box].items() if count > 1]
        result.letters_twice = [letter for letter, copies in told["letters"].items() if copies > 1]
        if len(self.accepted) < len(self.bodies):
            result.lost.append(f"{len(self.bodies) - len(self.accepted)} could not be handed in")
        if told["problems"]:
            result.letters_twice += told["problems"]
        result.audit = self._audit()

    def _count_mails(
        self, reference: str, delivery: Delivery, told: dict[str, Any], unknown: Counter[str | None]
    ) -> None:
        mails = sum(count for to, count in told["mails"].items() if f".{reference.lower()}@" in to)
        carried = any(item.channel == "email" for item in delivery.placements)
        if any(one.reason is AttentionReason.OUTCOME_UNKNOWN for one in delivery.attention):
            self.result.ambiguous += 1
            if not carried:
                self.result.lost.append(f"{reference}: unknown, where it could be asked after")
        if carried and mails > 1:
            self.result.placed_twice.append(f"email {reference}")
        if not carried and mails > 1:
            self.result.notices_twice += 1
            if not any(part is not None and part.startswith("notice/") for part in unknown):
                self.result.unexplained.append(reference)

    def _not_there(self, reference: str, delivery: Delivery, told: dict[str, Any]) -> list[str]:
        """Give what evidence says was done, and the other side does not have."""
        missing: list[str] = []
        for item in delivery.placements:
            there = {
                "mijnoverheid": str(delivery.brief.message_id) in told["mijnoverheid"],
                "mijndomein": any(reference == one or str(delivery.brief.message_id) == one for one in told["mijndomein"]),
                "email": any(f".{reference.lower()}@" in to for to in told["mails"]),
            }[item.channel]
            if item.state is PlacementState.PLACED and not there:
                missing.append(f"{reference}: not in {item.channel}")
        if delivery.state is DeliveryState.DONE and not delivery.placements and not delivery.letters:
            missing.append(f"{reference}: done, and nothing was sent")
        return missing

    async def _deliveries(self) -> tuple[dict[UUID, Delivery], list[tuple[UUID, str | None]]]:
        database = Database(self.database)
        try:
            async with database.read() as connection:
                found = await read_deliveries(connection, list(self.accepted.values()))
                event = tables.event.c
                rows = await connection.execute(
                    sa.select(event.message_id, event.part).where(event.name == "outcome.unknown")
                )
                return found, [(row.message_id, row.part) for row in rows]
        finally:
            await database.close()

    def _audit(self) -> str:
        log = self.folder / "audit.log"
        process = start(log, "evidence", "audit", "--details", "--config", str(self._config(1)))
        process.join(60)
        if process.exitcode == 0:
            return ""
        process.kill()
        return log.read_text()[-500:] or "the audit did not end"

    # ---- configuration ---------------------------------------------------------------------------------------------

    def _config(self, place: int) -> Path:
        return self.folder / f"bode-{place}.toml"

    def _configuration(self, addresses: dict[str, Any], origin: str, place: int) -> str:
        api, bounces = self.ports[place]
        smtp = (
            f'host = "127.0.0.1"\nport = {addresses["smtp"]}\ntls = "none"\nconnections = {CONNECTIONS}\n'
            "timeouts = { connect = 0.5, command = 0.5, data = 0.5, final = 0.5 }\n"
        )
        box = 'label = "een box"\nurl = "https://box.example.nl"\nceiling = "hoog"\nkind = "box"\n'
        return f"""
environment = "embedded"
log_format = "json"
[database]
url = "{self.database}"
transaction_seconds = 1.0
pool_size = 5
[broker]
url = "{self.ground.redis.url}"
[keys]
file = "{self.ground.folder / "bode.key"}"
[evidence]
key_file = "{self.ground.folder / "evidence.key"}"
origin = "torture.example"
folder = "{self.folder / "evidence"}"
every_seconds = 0.3
[clock]
factor = {SPEED}
origin = {origin}
[api]
port = {api}
[bounces]
port = {bounces}
domain = "{RETURN_DOMAIN}"
[engine]
chunk = 10
hold_seconds = {HOLD}
heartbeat_seconds = {HEARTBEAT}
sweep_seconds = 0.1
report_seconds = 0.3
grace_seconds = 1.5
[channels.mijnoverheid]
adapter = "mijnoverheid"
primary = true
{box}[channels.mijnoverheid.settings]
base_url = "{addresses["mijnoverheid"]}"
api_key = "key"
leverancier_oin = "00000001999000090000"
timeout_seconds = 0.7
[channels.mijndomein]
adapter = "mijndomein"
{box}[channels.mijndomein.settings]
base_url = "{addresses["mijndomein"]}/api/v1"
timeout_seconds = 0.7
[channels.email]
adapter = "smtp-carrier"
kind = "email"
label = "e-mail"
ceiling = "laag"
[channels.email.settings]
{smtp}[notices]
adapter = "smtp-notifier"
[notices.settings]
{smtp}[print]
adapter = "print-folder"
[print.settings]
folder = "{self.folder / "print"}"
[organisations.00000001999000010000]
name = "Gemeente Maasveld"
email = "noreply@maasveld.example.nl"
contact = "telefoon 14 0999"
address = ["Postbus 100", "1200 AA  MAASVELD"]
box_types = {{ mijnoverheid = "MVBESLUI" }}
"""


_CUT_SHORT = ("lane.failed", "lane.not_recorded", "call.raised", "call.overstayed", "step.cannot_be_recorded")
"""What the log says when a chunk was cut short where it was, with the connections it had."""


def as_line(result: Result) -> dict[str, Any]:
    return asdict(result)


__all__ = ["Act", "Result", "as_line", "run"]
