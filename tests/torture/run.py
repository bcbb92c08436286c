"""One run: real processes at work on a few messages, one thing that goes wrong, and what the other sides then hold."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
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

from bode.domain.parts import AttentionReason, Delivery, DeliveryState, PlacementState, letter_id
from bode.failpoints import Act
from bode.store import tables
from bode.store.database import Database
from bode.store.record import read_deliveries
from bode_ops.demo.processes import free_port

SPEED = 3600
"""The clock that counts runs an hour a second: waits of the rules are waits of seconds. Leases are not about it."""
CONNECTIONS = 4
HEARTBEAT, HOLD = 0.5, 3.0
"""What a run is quick with; in life 4 and 120."""
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
    problems: list[str] = field(default_factory=list)
    """What the print service could not read."""

    @property
    def is_good(self) -> bool:
        broken = (self.lost, self.placed_twice, self.letters_twice, self.unexplained, self.problems)
        return not any(broken) and self.ambiguous <= self.open_connections


class Stage:
    """What several runs share, one after another: a database, the other sides, and a process that is left in peace."""

    def __init__(self, ground: Ground, number: int, *, heartbeat: float = HEARTBEAT, hold: float = HOLD) -> None:
        self.ground, self.heartbeat, self.hold = ground, heartbeat, hold
        self.folder = ground.folder / f"stage-{number}"
        self.folder.mkdir()
        self.database = ground.database(number)
        ground.redis.client.flushall()
        self.ports = [(free_port(), free_port()) for _ in range(2)]
        self.pipe, theirs = processes.Pipe()
        origin = datetime.now(UTC).isoformat()
        bounces = tuple(bounce for _, bounce in self.ports)
        self.outside: BaseProcess = processes.Process(
            target=outside.main, args=(theirs, str(self.folder), origin, SPEED, bounces), daemon=True
        )
        self.outside.start()
        addresses = self.pipe.recv()
        for place in range(2):
            self.config(place).write_text(_configuration(self, addresses, origin, place))
        self.clean = self.start(1)
        wait_for(lambda: self.listens(1), 60, "a process to listen")

    def start(self, place: int, *, armed: str = "", seed: int = 0) -> BaseProcess:
        return start(self.log, "run", "all", "--config", str(self.config(place)), armed=armed, seed=seed)

    def listens(self, place: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[place][0]}/readyz", timeout=3).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def log(self) -> Path:
        return self.folder / "bode.log"

    def config(self, place: int) -> Path:
        return self.folder / f"bode-{place}.toml"

    def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def say(self, word: str, value: object = None) -> Any:
        self.pipe.send((word, value))
        return self.pipe.recv()

    def audit(self) -> str:
        """Have all evidence audited; gives what was found wrong."""
        log = self.folder / "audit.log"
        process = start(log, "evidence", "audit", "--details", "--config", str(self.config(1)))
        process.join(120)
        if process.exitcode == 0:
            return ""
        process.kill()
        return log.read_text()[-500:] or "the audit did not end"

    def close(self, *, keep: bool) -> None:
        end(self.clean, 6)
        self.outside.kill()
        self.outside.join()
        if not keep:
            shutil.rmtree(self.folder)


class Play:
    """One run on a stage. The seed decides which messages there are, and which pass of a failpoint strikes."""

    def __init__(self, stage: Stage, fault: Fault, seed: int, messages: int) -> None:
        self.stage, self.fault, self.seed = stage, fault, seed
        self.random = random.Random(seed)
        self.result = Result(fault.name, seed, messages)
        self.bodies = [self._body(number) for number in range(messages)]
        self.accepted: dict[str, UUID] = {}
        """Our id of each message that was answered with 202, by its reference."""
        self.suffers: BaseProcess | None = None
        """The process that things are done to."""
        self.began = self.last_accepted = time.monotonic()

    def run(self) -> Result:
        """Start the process that suffers, hand in, let it go wrong, wait until all is done, and count."""
        logged = self.stage.log.stat().st_size
        try:
            self.suffers = self.stage.start(0, armed=self.fault.armed, seed=self.seed)
            with suppress(TimeoutError):
                # It may be armed to hang or die at its first step: then it never listens.
                wait_for(lambda: self.stage.listens(0) or not self._suffers_alive(), 15, "a process to listen")
            self.began = self.last_accepted = time.monotonic()
            befalling = threading.Thread(target=self._befall)
            befalling.start()
            with ThreadPoolExecutor(6) as senders:
                handing_in = [senders.submit(self._hand_in, body) for body in self.bodies]
                self._watch(handing_in)
            befalling.join()
            with suppress(TimeoutError):
                wait_for(self._is_done, LONGEST, "all messages to be done", every=0.3)
            self._count(logged)
        finally:
            self.stage.say("behave")
            if self.suffers is not None:
                end(self.suffers, 6)
        self.result.seconds = round(time.monotonic() - self.began, 1)
        return self.result

    def _suffers_alive(self) -> bool:
        return self.suffers is not None and self.suffers.is_alive()

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
        while time.monotonic() - self.began < LONGEST:
            url = f"http://127.0.0.1:{self.stage.ports[place][0]}/v1/berichten"
            with suppress(httpx.HTTPError):
                answer = httpx.post(url, json=body, timeout=3)
                if answer.status_code == 202:
                    self.accepted[body["kenmerk"]] = UUID(answer.json()["id"])
                    self.last_accepted = time.monotonic()
                    return
                assert answer.status_code >= 500, answer.text
            place = 1 - place
            time.sleep(0.1)

    # ---- what goes wrong -------------------------------------------------------------------------------------------

    def _watch(self, handing_in: list[Future[None]]) -> None:
        """See the armed process die or be cut short; when messages were handed in and worked, end it."""
        again = self.random.random() < 0.3
        while self.fault.armed:
            if not self._suffers_alive():
                self._count_death(self.suffers)
                if not again:
                    return
                again = False
                self.suffers = self.stage.start(0, armed=self.fault.armed, seed=self.seed + 1)
            waits = 6.0 if self.fault.act is Act.KILL and self.result.deaths == 0 else 1.5
            if all(one.done() for one in handing_in) and time.monotonic() > self.last_accepted + waits:
                break
            time.sleep(0.05)
        if self.fault.act is Act.HANG:
            # What hangs outlives its lease, and can be in doubt with all it has in hand: as many mails as connections.
            self.result.open_connections += CONNECTIONS
        if self.fault.armed and self.suffers is not None:
            pid = self.suffers.pid
            if not end(self.suffers, 4):
                self._count_death(self.suffers, pid)

    def _count_death(self, process: BaseProcess | None, pid: int | None = None) -> None:
        """Count what was in the hands of a process that died, and how long until it no longer was."""
        assert process is not None
        died, pid = time.monotonic(), pid or process.pid
        process.join()
        self.result.deaths += 1
        self.result.open_connections += CONNECTIONS
        with suppress(TimeoutError):
            wait_for(lambda: self._in_hands_of(pid) == 0, 20, "the takeover")
        self.result.takeover = max(self.result.takeover, round(time.monotonic() - died, 2))

    def _in_hands_of(self, pid: int | None) -> int:
        found = self.stage.ask("SELECT count(*) FROM step WHERE state = 'leased' AND owner LIKE %s", f"%:{pid}:%")
        return int(found[0][0])

    def _befall(self) -> None:  # noqa: C901 - each befalls in its own way
        """Have something befall the parts, while messages come in."""
        ground = self.stage.ground
        match self.fault.befalls:
            case None:
                if self.fault.armed.startswith("take_over"):
                    self._lose_steps()
            case Befalls.BOX_SILENT:
                for box in ("mijnoverheid", "mijndomein"):
                    self.stage.say("box", (box, {"gedrag": "timeout-na-acceptatie", "keer": 3}))
            case Befalls.DROP_AFTER_DOT:
                self.stage.say("mail", {"dropping": CONNECTIONS})
            case Befalls.TARPIT:
                self.stage.say("mail", {"tarpit_seconds": 1.2})
                time.sleep(2 * LASTS)
                self.stage.say("behave")
            case Befalls.FLUSHALL:
                for _ in range(5):
                    ground.redis.client.flushall()
                    time.sleep(LASTS / 5)
            case Befalls.REDIS_STOPPED:
                self._amid_work()
                ground.redis.stop()
                time.sleep(LASTS)
                ground.redis.start()
            case Befalls.POSTGRESQL_STOPPED:
                self._amid_work()
                ground.stop_postgres_at_once()
                time.sleep(LASTS / 2)
                ground.postgres.start()
                # What was sent while the server was gone for longer than a lease cannot be recorded.
                self.result.open_connections = 2 * CONNECTIONS
            case Befalls.PAUSED:
                self._amid_work()
                self._pause()

    def _lose_steps(self) -> None:
        """Claim steps as a worker that dies at once does, for the armed process to take over; the other is stopped."""
        other = self.stage.clean.pid
        assert other is not None
        self._amid_work()
        end_at = time.monotonic() + 4
        os.kill(other, signal.SIGSTOP)
        self.result.open_connections += CONNECTIONS
        try:
            while time.monotonic() < end_at and self._suffers_alive():
                self.stage.ask(
                    "UPDATE step SET state = 'leased', fence = fence + 1, owner = 'dead', lease_until = now(),"
                    " called_at = (SELECT max(updated_at) FROM delivery) WHERE id IN"
                    " (SELECT id FROM step WHERE state = 'ready' ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED)"
                    " RETURNING id"
                )
                self.result.open_connections += 2
                time.sleep(0.15)
        finally:
            os.kill(other, signal.SIGCONT)

    def _amid_work(self) -> None:
        wait_for(lambda: len(self.accepted) > len(self.bodies) // 4, 30, "the first messages")

    def _pause(self) -> None:
        """Stop a process past its lease, and let it go on."""
        pid, stopped = self.suffers.pid if self.suffers else None, time.monotonic()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.result.open_connections = CONNECTIONS
        try:
            with suppress(TimeoutError):
                wait_for(lambda: self._in_hands_of(pid) == 0, 20, "the takeover")
            self.result.takeover = round(time.monotonic() - stopped, 2)
            time.sleep(max(0.0, stopped + 2 * self.stage.hold - time.monotonic()))
        finally:
            os.kill(pid, signal.SIGCONT)

    # ---- what came of it -------------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        with suppress(psycopg.Error):
            busy = self.stage.ask(
                "SELECT (SELECT count(*) FROM delivery WHERE state IN ('scheduled', 'under_way'))"
                " + (SELECT count(*) FROM step WHERE state IN ('ready', 'leased'))"
                " + (SELECT count(*) FROM inbound WHERE state = 'new')"
                " + (SELECT count(*) FROM event_pending)"
            )
            return busy[0][0] == 0 and self.stage.say("tell")["to_report"] == 0
        return False

    def _count(self, logged: int) -> None:
        told = self.stage.say("tell")
        deliveries, unknown = asyncio.run(self._deliveries())
        result = self.result
        with self.stage.log.open("rb") as file:
            file.seek(logged)
            log = file.read().decode()
        mine = set(self.accepted.values())
        result.open_connections += CONNECTIONS * sum(
            line.get("lane") == "email" and line["event"] in _CUT_SHORT for line in _events(log)
        )
        # An answer that cannot be recorded, however often that is tried, is one.
        result.open_connections += sum(
            line["event"] == "step.cannot_be_recorded" and line.get("part") == "placement/email"
            for line in _events(log)
        )
        # A relay that does not answer in time leaves one connection in doubt, and not a chunk.
        result.open_connections += sum(
            of in mine and part == "placement/email" and code not in _OF_A_CHUNK for of, part, code in unknown
        )
        for reference, message in self.accepted.items():
            delivery = deliveries.get(message)
            if delivery is None or delivery.state in (DeliveryState.SCHEDULED, DeliveryState.UNDER_WAY):
                result.lost.append(f"{reference}: {'gone' if delivery is None else delivery.state}")
                continue
            result.lost += self._not_there(reference, delivery, told)
            parts = Counter(part for of, part, _ in unknown if of == message)
            result.unknown += parts.total()
            self._count_mails(reference, delivery, told, parts)
        refs = {str(message) for message in self.accepted.values()}
        for box in ("mijnoverheid", "mijndomein"):
            result.placed_twice += [
                f"{box} {one}"
                for one, count in told[box].items()
                if count > 1 and (one in refs or one in self.accepted)
            ]
        mine = {str(letter_id(message, number)) for message in self.accepted.values() for number in range(9)}
        result.letters_twice = [one for one, copies in told["letters"].items() if copies > 1 and one in mine]
        if len(self.accepted) < len(self.bodies):
            result.lost.append(f"{len(self.bodies) - len(self.accepted)} could not be handed in")
        result.problems = told["problems"]

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
                "mijndomein": any(
                    reference == one or str(delivery.brief.message_id) == one for one in told["mijndomein"]
                ),
                "email": any(f".{reference.lower()}@" in to for to in told["mails"]),
            }[item.channel]
            if item.state is PlacementState.PLACED and not there:
                missing.append(f"{reference}: not in {item.channel}")
        if delivery.state is DeliveryState.DONE and not delivery.placements and not delivery.letters:
            missing.append(f"{reference}: done, and nothing was sent")
        return missing

    async def _deliveries(self) -> tuple[dict[UUID, Delivery], list[tuple[UUID, str | None, str]]]:
        """Give what is stored of the messages, and each outcome that was unknown: of which, which part, and why."""
        database = Database(self.stage.database)
        try:
            async with database.read() as connection:
                found = await read_deliveries(connection, list(self.accepted.values()))
                event = tables.event.c
                rows = await connection.execute(
                    sa.select(event.message_id, event.part, event.envelope).where(event.name == "outcome.unknown")
                )
                codes = [(row.message_id, row.part, json.loads(row.envelope)["detail"]["code"]) for row in rows]
                return found, codes
        finally:
            await database.close()


def _events(log: str) -> Iterator[dict[str, Any]]:
    """Read the lines of a log that are Bode's own: the last one of a process that was killed can be half."""
    for line in log.splitlines():
        with suppress(ValueError):
            if isinstance(read := json.loads(line), dict) and "event" in read:
                yield read


def _configuration(stage: Stage, addresses: dict[str, Any], origin: str, place: int) -> str:
    api, bounces = stage.ports[place]
    smtp = (
        f'host = "127.0.0.1"\nport = {addresses["smtp"]}\ntls = "none"\nconnections = {CONNECTIONS}\n'
        "timeouts = { connect = 1, command = 1, data = 1, final = 1 }\n"
    )
    box = 'label = "een box"\nurl = "https://box.example.nl"\nceiling = "hoog"\nkind = "box"\n'
    return f"""
environment = "embedded"
log_format = "json"
[database]
url = "{stage.database}"
transaction_seconds = 1.0
pool_size = 5
[broker]
url = "{stage.ground.redis.url}"
[keys]
file = "{stage.ground.folder / "bode.key"}"
[evidence]
key_file = "{stage.ground.folder / "evidence.key"}"
origin = "torture.example"
folder = "{stage.folder / "evidence"}"
every_seconds = 1
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
hold_seconds = {stage.hold}
heartbeat_seconds = {stage.heartbeat}
sweep_seconds = 0.25
report_seconds = 0.5
grace_seconds = 1.5
journal_folder = "{stage.folder / "journal"}"
[policy]
read_polls = ["30d"]
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
folder = "{stage.folder / "print"}"
[organisations.00000001999000010000]
name = "Gemeente Maasveld"
email = "noreply@maasveld.example.nl"
contact = "telefoon 14 0999"
address = ["Postbus 100", "1200 AA  MAASVELD"]
box_types = {{ mijnoverheid = "MVBESLUI" }}
"""


_OF_A_CHUNK = ("worker_lost", "cannot_be_recorded", "call_overstayed", "adapter_raised:FailpointError")
_CUT_SHORT = ("lane.failed", "lane.not_recorded", "call.raised", "call.overstayed")
"""What the log says when a chunk was cut short where it was, with the connections it had."""
