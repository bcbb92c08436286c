"""Processes: they refuse to start on another schema, end cleanly on SIGTERM, and lose nothing when they are killed."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections import Counter

import httpx
import pytest
import sqlalchemy as sa

from bode.domain.parts import AttentionReason, DeliveryState
from bode.store import tables
from bode.store.database import Database
from bode.store.evidence_keys import make_keyring
from bode.store.record import read_deliveries
from bode.store.vault import write_key_file
from bode_adapters.email.mock import MockMailServer

LAAG = {"vertrouwelijkheid": "laag", "aard": "overig", "termijn": None}
GRACE = 4.0


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Bode:
    """A Bode of one or more processes, with its configuration, beside a mail server of the test."""

    def __init__(self, folder, mail, *, database, broker=None):
        self.folder, self.database, self.port = folder, database, free_port()
        self.config = folder / "bode.toml"
        self.processes = []
        self.roles = ["api", "worker", "sweeper"] if broker else ["all"]
        write_key_file(folder / "bode.key")
        make_keyring(folder / "evidence.key", "test.example")
        for name in ("in", "reports"):
            (folder / "print" / name).mkdir(parents=True)
        smtp = f'host = "127.0.0.1"\nport = {mail.port}\ntls = "none"\ntimeouts = {{ final = 60 }}\n'
        self.config.write_text(
            f"""
environment = "embedded"
[database]
url = "{database}"
{f'[broker]{chr(10)}url = "{broker}"' if broker else ""}
[keys]
file = "{folder / "bode.key"}"
[evidence]
key_file = "{folder / "evidence.key"}"
origin = "test.example"
folder = "{folder / "evidence"}"
every_seconds = 0.1
[api]
port = {self.port}
[bounces]
port = 0
domain = "retour.example.nl"
[engine]
chunk = 20
hold_seconds = 90
sweep_seconds = 0.1
report_seconds = 0.3
grace_seconds = {GRACE}
[channels.email]
adapter = "smtp-carrier"
kind = "email"
label = "e-mail"
ceiling = "laag"
[channels.email.settings]
{smtp}
[notices]
adapter = "smtp-notifier"
[notices.settings]
{smtp}
[print]
adapter = "print-folder"
[print.settings]
folder = "{folder / "print"}"
[organisations.00000001999000010000]
name = "Gemeente Maasveld"
email = "noreply@maasveld.example.nl"
contact = "telefoon 14 0999"
address = ["Postbus 100", "1200 AA  MAASVELD"]
"""
        )

    async def start(self, *, wait=True):
        log = (self.folder / "bode.log").open("ab")
        self.processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bode_ops", "run", role, "--config", str(self.config),
                stdout=log, stderr=log, start_new_session=True,
            )
            for role in self.roles
        ]  # fmt: skip
        log.close()
        if wait:
            await self.listening()

    async def listening(self):
        async with httpx.AsyncClient() as client:
            for _ in range(3000):
                assert all(process.returncode is None for process in self.processes), self.log
                try:
                    if (await client.get(f"http://127.0.0.1:{self.port}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.01)
        raise AssertionError(self.log)

    async def hand_in(self, *bodies):
        async with httpx.AsyncClient(timeout=30) as client:
            for body in bodies:
                answer = await client.post(f"http://127.0.0.1:{self.port}/v1/berichten", json=body)
                assert answer.status_code == 202, answer.text

    async def ended(self, *, within):
        started = time.monotonic()
        codes = await asyncio.wait_for(asyncio.gather(*(process.wait() for process in self.processes)), within)
        return codes, time.monotonic() - started

    async def kill(self):
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def deliveries(self):
        database = Database(self.database)
        async with database.read() as connection:
            ids = (await connection.execute(sa.select(tables.delivery.c.message_id))).scalars().all()
            found = await read_deliveries(connection, ids)
        await database.close()
        return list(found.values())

    async def audit(self):
        """Give the exit code of an audit of all evidence, and what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bode_ops", "evidence", "audit", "--details", "--config", str(self.config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    @property
    def log(self):
        return (self.folder / "bode.log").read_text()


@pytest.fixture
async def mail():
    async with MockMailServer(slow_seconds=1.5) as server:
        yield server


@pytest.fixture
async def bode(tmp_path, mail, sqlite_url):
    made = Bode(tmp_path, mail, database=sqlite_url)
    yield made
    await made.kill()


@pytest.fixture
async def many(tmp_path, mail, postgres_url, redis):
    """Give a Bode of one process per role, on PostgreSQL and Redis."""
    made = Bode(tmp_path, mail, database=postgres_url, broker=redis.url)
    yield made
    await made.kill()


@pytest.fixture(params=["one process", "a process per role"])
async def either(request, tmp_path, mail):
    if request.param == "one process":
        made = Bode(tmp_path, mail, database=request.getfixturevalue("sqlite_url"))
    else:
        broker = request.getfixturevalue("redis").url
        made = Bode(tmp_path, mail, database=request.getfixturevalue("postgres_url"), broker=broker)
    yield made
    await made.kill()


def by_mail(body, word="goed", number=0):
    return body(email=f"{word}.jan{number}@post.example.nl", channels=("email",), **LAAG)


@pytest.mark.slow
@pytest.mark.parametrize("found", ["none", "an older one"])
async def test_a_process_refuses_to_start_on_another_schema_and_says_what_to_do(bode, sqlite_url, tmp_path, found):
    if found == "none":
        (tmp_path / "bode.db").unlink()
    else:
        database = Database(sqlite_url)
        async with database.write() as connection:
            await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
        await database.close()
    await bode.start(wait=False)
    codes, _ = await bode.ended(within=30)
    assert codes == [2]
    assert "bode db upgrade" in bode.log
    assert "Traceback" not in bode.log


@pytest.mark.parametrize("to", ["process", "group"])
async def test_a_process_ends_on_sigterm_with_0(bode, to):
    await bode.start()
    (process,) = bode.processes
    if to == "group":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
    codes, seconds = await bode.ended(within=30)
    assert codes == [0], bode.log
    assert seconds < GRACE + 2


@pytest.mark.slow
async def test_what_is_in_hand_at_sigterm_is_recorded(bode, mail, body, until):
    await bode.start()
    await bode.hand_in(*(by_mail(body, "slow", number) for number in range(3)))
    await until(lambda: len(mail.accepted) >= 1)
    bode.processes[0].terminate()
    codes, _ = await bode.ended(within=30)
    assert codes == [0], bode.log
    arrived = Counter(mail.recipients for mail in mail.accepted)
    done = [item for item in await bode.deliveries() if item.state is DeliveryState.DONE]
    assert len(done) == len(arrived) >= 1
    assert set(arrived.values()) == {1}


@pytest.mark.slow
async def test_what_is_not_answered_within_the_grace_time_does_not_keep_a_process_alive(bode, mail, body, until):
    mail.slow_seconds = 60
    await bode.start()
    await bode.hand_in(by_mail(body, "slow"))
    await until(lambda: len(mail.accepted) == 1)
    bode.processes[0].terminate()
    codes, seconds = await bode.ended(within=40)
    assert codes == [0], bode.log
    assert seconds < GRACE * 2 + 2
    (delivery,) = await bode.deliveries()
    assert delivery.state is DeliveryState.UNDER_WAY, "its lease runs out, and the next process finds out"


@pytest.mark.slow
async def test_a_process_that_is_killed_and_started_again_loses_nothing_and_sends_nothing_twice(
    either, mail, body, until
):
    bode = either
    bode.config.write_text(
        bode.config.read_text().replace("hold_seconds = 90", "hold_seconds = 90\nheartbeat_seconds = 1.5")
    )
    mail.slow_seconds = 0.3
    await bode.start()
    bodies = [by_mail(body, "slow" if number % 3 else "goed", number) for number in range(200)]
    handing_in = asyncio.create_task(bode.hand_in(*bodies[:150]))
    await until(lambda: len(mail.accepted) > 30, seconds=30)
    await asyncio.gather(handing_in, return_exceptions=True)
    await bode.kill()
    await bode.start()
    await bode.hand_in(*bodies)

    async def all_ended():
        found = await bode.deliveries()
        return len(found) == 200 and all(
            item.state in {DeliveryState.DONE, DeliveryState.NEEDS_PERSON} for item in found
        )

    await until(all_ended, seconds=60)
    arrived = Counter(mail.recipients for mail in mail.accepted)
    assert max(arrived.values()) == 1
    ended = await bode.deliveries()
    unknown = [item for item in ended if item.state is DeliveryState.NEEDS_PERSON]
    assert {item.attention[0].reason for item in unknown} <= {AttentionReason.OUTCOME_UNKNOWN}
    assert len(arrived) >= 200 - len(unknown)
    assert len(unknown) <= 80, "no more than what was in hand"
    assert (await bode.audit())[0] == 0, (await bode.audit())[1]
    for process in bode.processes:
        process.terminate()
    codes, _ = await bode.ended(within=40)
    assert set(codes) == {0}, bode.log


@pytest.mark.slow
async def test_processes_of_every_role_start_together_work_together_and_end_together(many, mail, body, until):
    await many.start()
    await many.hand_in(*(by_mail(body, "goed", number) for number in range(20)))
    await until(lambda: len(mail.accepted) == 20, seconds=30)

    async def done():
        return all(item.state is DeliveryState.DONE for item in await many.deliveries())

    await until(done)
    assert (await many.audit())[0] == 0, (await many.audit())[1]
    for process in many.processes:
        os.killpg(process.pid, signal.SIGTERM)
    codes, _ = await many.ended(within=40)
    assert codes == [0, 0, 0], many.log
