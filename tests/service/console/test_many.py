"""A resend of 5,000 on PostgreSQL by real processes: dry run, second person, progress, and a kill -9 in the middle."""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import psycopg
import pytest
from installation import Installation, installed
from structlog.testing import capture_logs
from tests.service.console.conftest import BOX, HANDLER, OTHER_HANDLER, THEIRS, token_in

from bode.domain import events as ev
from bode.intake.accept import Accepted, Caller, Route
from bode.settings import load
from bode_adapters.email.mock import MockMailServer
from bode_ops import assembly
from bode_ops.assembly import Application

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MANY, AT_ONCE = 5000, 100


def body(number: int) -> bytes:
    return json.dumps(
        {
            "afzender": "00000001999000010000",
            "kenmerk": f"V-{number:05d}",
            "aard": "beschikking",
            "rechtsgevolgen": "U kunt bezwaar maken.",
            "termijn": {"duur": "P6W"},
            "geadresseerde": {"soort": "BSN", "nummer": "999990019", "naam": "Sanne de Vries"},
            "kanalen": [{"kanaal": BOX}],
            "kennisgeving": {"email": f"v{number}@post.example.nl"},
            "onderwerp": "Besluit op uw aanvraag",
            "tekst": "Beste mevrouw, meneer, wij hebben een besluit genomen.",
        }
    ).encode()


async def noticed(bode: Installation) -> None:
    """Hand in the messages, and have them placed and noticed without a call."""
    app = assembly.build(load(bode.config))
    with capture_logs():
        await _noticed(app)
    await app.close()


async def _noticed(app: Application) -> None:
    now = datetime.now(UTC)
    for start in range(0, MANY, AT_ONCE):
        bodies = [body(number) for number in range(start, start + AT_ONCE)]
        answers = await app.intake.accept_many(bodies, route=Route.COMMAND, caller=Caller("test"))
        ids = [answer.id for answer in answers if isinstance(answer, Accepted)]
        assert len(ids) == AT_ONCE, answers[0]
        await app.lanes.apply([(one, ev.Placed(BOX, now, THEIRS)) for one in ids])
        await app.lanes.apply([(one, ev.NoticeSent(BOX, now)) for one in ids])


@pytest.fixture
async def bode(postgres, tmp_path) -> AsyncIterator[Installation]:
    url = postgres.fresh()
    async with installed(tmp_path, url, factor=1.0) as made:
        # Without the message that Bode sends itself now and then: it would be among those that are found.
        made.config.write_text(made.config.read_text().replace("[heartbeat]", "[console]\ndemo_login = true"))
        await made.make_ready()
        yield made
    postgres.drop(url)


class Staff:
    """Somebody at the console of a running process."""

    def __init__(self, url: str) -> None:
        self.client = httpx.AsyncClient(base_url=url, timeout=60, follow_redirects=True)
        self.token = ""

    async def login(self, who: str) -> None:
        await self.client.post("/inloggen", data={"wie": who})
        self.token = token_in((await self.client.get("/berichten")).text)

    async def post(self, path: str, **fields: str) -> httpx.Response:
        return await self.client.post(path, data={"csrf": self.token, **fields})

    async def main(self, path: str) -> str:
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (await self.client.get(path)).text))


async def test_a_resend_of_5000_that_is_killed_half_way_goes_on_without_a_double(bode, capsys):  # noqa: PLR0915 - a story
    def counted(statement: str) -> tuple[int, ...]:
        with psycopg.connect(bode.values["database"]) as connection:
            return tuple(connection.execute(statement.encode()).fetchone())

    def say(what: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {what}: {time.monotonic() - clock:.1f} s")

    acts = "SELECT count(*), count(DISTINCT message_id) FROM event WHERE name = 'staff.action'"
    done = "SELECT count(*) FROM staff_job_row WHERE state = 'done'"
    clock = time.monotonic()
    await noticed(bode)
    await bode.start()
    await bode.stop_lanes("kennisgeving")  # so that what is to be sent can be counted before it is
    one, other = Staff(bode.url), Staff(bode.url)
    async with one.client, other.client:
        await one.login(HANDLER)
        say(f"{MANY} messages handed in and noticed, Bode started")

        clock = time.monotonic()
        answer = await one.post(
            "/opdrachten", status="afgerond", keuze="alle", handeling="notice_again", reden="storing"
        )
        job = answer.url.path
        await bode.until(lambda: _says(one, job, "Wacht op bevestiging"))
        assert counted(acts) == (0, 0), "a dry run does nothing"
        assert counted("SELECT count(*), count(*) FILTER (WHERE state = 'fit') FROM staff_job_row") == (MANY, MANY)
        say("dry run")

        answer = await one.post(f"{job}/bevestigen")
        assert "Een andere collega moet dit bevestigen" in answer.text
        assert counted(done) == (0,)
        clock = time.monotonic()
        await other.login(OTHER_HANDLER)
        await other.post(f"{job}/bevestigen")
        await bode.until(lambda: counted(done)[0] > MANY // 5)
        assert await _says(other, job, "Wordt uitgevoerd"), "progress can be seen"
        await _killed_while_it_writes(bode)
        half = counted(done)[0]
        assert MANY // 5 < half < MANY
        assert counted(acts) == (half, half), "a row and its act are one"
        say(f"killed after {half}")

        clock = time.monotonic()
        await bode.start()
        say("started again")
        clock = time.monotonic()
        await bode.until(lambda: _says(other, job, "5.000 berichten: gedaan", "Klaar"))
        say(f"the other {MANY - half} done")
    assert counted(acts) == (MANY, MANY)
    assert counted("SELECT count(*), count(DISTINCT message_id) FROM step WHERE action = 'notify'") == (MANY, MANY)
    assert counted("SELECT count(*), count(DISTINCT message_id) FROM staff_act WHERE act = 'notice_again'") == (
        MANY,
        MANY,
    )

    clock = time.monotonic()
    await bode.relay_ends()
    async with MockMailServer(port=bode.values["smtp"]) as server:
        await bode.start_lanes("kennisgeving")
        await bode.until(lambda: counted("SELECT count(*) FROM step WHERE action = 'notify'") == (0,), 300)
        mails = Counter(recipient for mail in server.accepted for recipient in mail.recipients)
    assert len(mails) == MANY
    assert set(mails.values()) == {1}
    say(f"{MANY} mails, each to another")


async def _says(staff: Staff, path: str, *words: str) -> bool:
    text = await staff.main(path)
    return all(word in text for word in words)


async def _killed_while_it_writes(bode: Installation) -> None:
    """Kill the process while a transaction of its job is open: half of what it wrote is then undone."""
    busy = b"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE staff_job_row%' AND xact_start IS NOT NULL"
    with psycopg.connect(bode.values["database"], autocommit=True) as connection:
        until = time.monotonic() + 30
        while connection.execute(busy).fetchone() == (0,):
            assert time.monotonic() < until, "the job never writes"
            await asyncio.sleep(0)
    await bode.kill()
