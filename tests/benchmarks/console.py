"""How long staff wait: every search and page of the console, over HTTP, with very many messages in PostgreSQL.

Messages are copies of ones that were really handed in, spread over 40 days and three bodies of different sizes:
98 % is done, the newest 2 % is open, some older ones wait for a person. With them comes what stands besides: an event
each (no evidence, but as long as that of three), steps that wait, mails per hour, bounces, what staff did.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from tests.benchmarks.stage import BSNS, BenchError, Installation, Stage

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode_adapters.serving import serve
from bode_ops import assembly, web
from bode_ops.assembly import Lanes
from bode_ops.console.search import CAME_BACK, DEADLINES, LETTERS, VIEWS
from bode_ops.demo.scenarios import MAASVELD

MOST_MS = 300
_REAL, _AT_ONCE = 60, 100_000
_ROUNDS_OF_SLOWEST = 10
_BOX = "mijndomein"
ZANDWIJK, BOSRIJK = "00000001999000020000", "00000001999000030000"
_EXTRA = "[console]\ndemo_login = true\n" + "".join(
    f'[organisations.{oin}]\nname = "Gemeente {name}"\nemail = "noreply@{name.lower()}.example.nl"\n'
    f'contact = "telefoon 14 0998"\naddress = ["Postbus 1", "1200 AA  {name.upper()}"]\n'
    for oin, name in ((ZANDWIJK, "Zandwijk"), (BOSRIJK, "Bosrijk"))
)

# `k` counts down to 0, the newest. An addressee has three messages, one of a hundred is of one company.
_MESSAGES = """
WITH source AS (
        SELECT m.body_hash, m.nature, m.addressee_hash, d.document, d.event_hash
        FROM message m JOIN delivery d ON d.message_id = m.id WHERE d.state = 'done' ORDER BY m.reference LIMIT 1),
     new AS (
        SELECT gen_random_uuid() AS id, k, now() - k * interval '40 days' / %(total)s AS at,
               (ARRAY[%(one)s, %(one)s, %(one)s, %(two)s, %(two)s, %(three)s])[1 + k %% 6] AS organisation,
               CASE WHEN k %% 10000 = 11 THEN 'needs_person' WHEN k >= %(total)s / 50 THEN 'done'
                    WHEN k %% 50 = 1 THEN 'needs_person' WHEN k %% 50 = 2 THEN 'scheduled' ELSE 'under_way' END AS state
        FROM generate_series(%(first)s, %(last)s, -1) AS k),
     messages AS (
        INSERT INTO message (id, organisation, reference, body_hash, nature, case_reference, addressee_hash, email_hash,
                             accepted_at)
        SELECT id, organisation, 'K-' || k, body_hash, nature,
               CASE WHEN k %% 50 = 9 THEN 'WOZ-2026' ELSE 'Z-' || k / 5 END,
               CASE WHEN k %% 100 = 9 THEN addressee_hash ELSE sha256(('p' || k / 3)::bytea) END,
               sha256(('e' || k / 2)::bytea), at
        FROM new, source),
     steps AS (
        INSERT INTO step (message_id, part, action, lane, state, due_at, deadline_at, fence)
        SELECT id, 'notice/mijndomein', CASE WHEN state = 'done' THEN 'read' ELSE 'notify' END,
               CASE WHEN state = 'done' THEN 'mijndomein' ELSE 'kennisgeving' END,
               CASE WHEN state = 'done' OR k %% 4 = 0 THEN 'waiting' ELSE 'ready' END,
               at + CASE WHEN state = 'done' THEN interval '41 days' ELSE interval '10 hours' END,
               at + interval '48 hours', 0
        FROM new WHERE state = 'under_way' OR (state = 'done' AND k %% 5 = 0)),
     bounced AS (
        INSERT INTO hard_bounce (message_id, channel, organisation, provider, reason, bounced_at)
        SELECT id, 'mijndomein', organisation, (ARRAY['gmail', 'outlook', 'kpn', 'ziggo'])[1 + k / 100 %% 4],
               (ARRAY['user_unknown', 'mailbox_full', 'spam', 'dns'])[1 + k / 400 %% 4], at
        FROM new WHERE k %% 100 = 3),
     told AS (
        INSERT INTO event (message_id, seq, name, part, at, recorded_at, envelope, hash)
        SELECT id, 1, 'ContentConsignment', 'notice/mijndomein', at, at, %(envelope)s, event_hash FROM new, source)
INSERT INTO delivery (message_id, organisation, state, outcome, notice_deadline_at, document, event_seq, event_hash,
                      updated_at, accepted_at, box, bounce, letter, letter_at)
SELECT id, organisation, state,
       CASE WHEN state <> 'done' THEN 'placed' WHEN k %% 20 = 3 THEN 'notice_by_letter' ELSE 'noticed' END,
       CASE WHEN state IN ('under_way', 'needs_person') THEN at + interval '48 hours' END,
       document, 3, event_hash, at, at, 'mijndomein',
       CASE WHEN k %% 100 = 3 THEN 'hard' WHEN k %% 100 = 4 THEN 'soft' END,
       CASE WHEN state = 'done' AND k %% 20 = 3 THEN 'posted' WHEN k %% 5000 = 7 THEN 'returned' END,
       CASE WHEN state = 'done' AND k %% 20 = 3 THEN at + interval '12 hours' END
FROM new, source
"""
_BESIDES = (
    """
INSERT INTO mail_count (hour, organisation, provider, sent)
SELECT hour, organisation, provider, 300
FROM generate_series(date_trunc('hour', now()) - interval '40 days', now(), interval '1 hour') AS hour,
     unnest(ARRAY[%(one)s, %(two)s, %(three)s]) AS organisation,
     unnest(ARRAY['gmail', 'outlook', 'kpn', 'ziggo', '-']) AS provider
""",
    """
INSERT INTO staff_act (at, who, act, subject, organisation, message_id)
SELECT m.accepted_at, (ARRAY['a.jansen', 'p.bakker', 'l.dejong'])[1 + n %% 3],
       (ARRAY['personal_data', 'letter_shown', 'search', 'notice_again'])[1 + n %% 4], 'data', m.organisation, m.id
FROM (SELECT row_number() OVER (ORDER BY accepted_at) AS n, * FROM message) AS m WHERE n %% 5 = 0
""",
    """
INSERT INTO inbound (key, route, state, note, message_id, received_at, sealed)
SELECT 'm' || n, 'smtp', CASE WHEN n %% 5000 = 0 THEN 'unmatched' ELSE 'matched' END, 'x', m.id, m.accepted_at, ''
FROM (SELECT row_number() OVER (ORDER BY accepted_at) AS n, * FROM message) AS m WHERE n %% 50 = 0
""",
    """
WITH jobs AS (
        INSERT INTO staff_job (id, act, who, organisations, chosen, state, total, fit, made_at, confirmed_by, ended_at)
        SELECT gen_random_uuid(), 'notice_again', 'a.jansen', %(one)s, '?beeld=wacht', 'done', 5000, 5000,
               now() - n * interval '1 day', 'p.bakker', now() - n * interval '1 day'
        FROM generate_series(1, 40) AS n RETURNING id)
INSERT INTO staff_job_row (job_id, number, message_id, state)
SELECT id, n, gen_random_uuid(), CASE WHEN n %% 50 = 0 THEN 'skipped' ELSE 'done' END
FROM jobs, generate_series(1, 5000) AS n
""",
)


@dataclass
class Waits:
    """How long each kind of page took, in milliseconds."""

    times: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def table(self) -> dict[str, str]:
        return {
            name: f"{statistics.median(times):,.0f} ms, {_p95(times):,.0f} ms at the 95th percentile"
            for name, times in self.times.items()
        }

    def slow(self) -> list[str]:
        return [name for name, times in self.times.items() if _p95(times) >= MOST_MS]


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


async def run(stage: Stage, count: int, rounds: int) -> dict[str, str]:
    """Run it; gives the table. Raises `BenchError` when a page takes too long, after it was printed."""
    async with stage.installation(extra=_EXTRA) as bode:
        started = time.perf_counter()
        await fill(stage, bode, count)
        made = time.perf_counter() - started
        size = await bode.bytes()
        waits = await measure(bode, count, rounds)
    slow = waits.slow()
    table = {
        "messages": f"{count:,}, made in {made:,.0f} s; the database is {size / 2**30:.1f} GiB",
        "load of the machine meanwhile (5 minutes)": f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} cores",
        **waits.table(),
    }
    if slow:
        sys.stdout.write("".join(f"  {name}: {value}\n" for name, value in table.items()))
        raise BenchError(f"over {MOST_MS} ms: {', '.join(slow)}")
    return table


async def fill(stage: Stage, bode: Installation, total: int) -> None:
    """Put the messages there: some that were really handed in, in several states, and copies of them."""
    real = await bode.store(stage.numbers(_REAL))
    await bode.place(real)
    lanes = Lanes(bode.app.parts, _no_ring)
    now, gone = bode.app.clock.now(), ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "user-1", 550, "5.1.1")
    for item in real[: _REAL // 2]:
        await lanes.apply([(item.id, ev.NoticeSent(_BOX, now))])
    for item in real[: _REAL // 4]:
        await lanes.apply([(item.id, ev.NoticeBounced(_BOX, gone))])
    values: dict[str, Any] = {"total": total, "one": MAASVELD, "two": ZANDWIJK, "three": BOSRIJK}
    values["envelope"] = b"x" * 1000
    url = bode.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        # Without the triggers that put events in line for the log: nobody sequences here.
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for first in range(total - 1, -1, -_AT_ONCE):
            connection.execute(_MESSAGES, {**values, "first": first, "last": max(first - _AT_ONCE + 1, 0)})
        for statement in _BESIDES:
            connection.execute(statement, values)
        connection.execute("VACUUM ANALYZE")  # as autovacuum would have, by the time so many are there
        connection.execute("CHECKPOINT")


async def _no_ring(_lanes: Any) -> None:
    """Nobody works on them."""


async def measure(bode: Installation, total: int, rounds: int) -> Waits:
    """Ask every page, as a browser does."""
    waits, app = Waits(), assembly.build(bode.settings)
    try:
        async with serve(web.build(app)) as url, httpx.AsyncClient(base_url=url, timeout=120) as client:
            await client.post("/inloggen", data={"wie": "b.elamrani"})
            async with app.database.read() as connection:
                found = await connection.exec_driver_sql(
                    "SELECT m.id, m.reference FROM message m JOIN delivery d ON d.message_id = m.id "
                    "JOIN content c ON c.message_id = m.id ORDER BY reference"
                )
                real = found.all()
                job = (await connection.exec_driver_sql("SELECT id FROM staff_job LIMIT 1")).scalar_one()
            first = (await client.get("/berichten")).text
            token = re.search(r'name="csrf" value="([0-9a-f]+)"', first)[1]
            deep = await _deep(client, "/berichten", 40)
            pages = {
                "overview": "/overzicht",
                "overview of one body": f"/overzicht?organisatie={ZANDWIJK}",
                "newest": "/berichten",
                "newest, 40 pages further": deep,
                "newest of one body": f"/berichten?organisatie={BOSRIJK}",
                "by reference": f"/berichten?kenmerk={real[2].reference}",
                "by reference, none": "/berichten?kenmerk=bestaat-niet",
                "by case": f"/berichten?zaak=Z-{total // 10}",
                "by a case of one of fifty": "/berichten?zaak=WOZ-2026",
                **{f"view: {name}": f"/berichten?beeld={name}" for name in VIEWS},
                "message": f"/berichten/{real[-1].id}",
                "message, notice bounced": f"/berichten/{real[0].id}",
                "preview of an act": f"/berichten/{real[0].id}/handelingen/letter",
                "what came back": "/teruggekomen",
                "jobs": "/opdrachten",
                "a job of 5,000": f"/opdrachten/{job}",
                "audit": "/controle",
                "audit of one person": "/controle?wie=a.jansen",
                "audit of one message": f"/controle?bericht={real[0].id}",
                "audit of nobody": "/controle?wie=niemand",
                "audit, what was refused": "/controle?geweigerd=ja",
                "audit of one kind, months ago": "/controle?wat=extract&tot=2020-01-01",
            }
            for name, path in pages.items():
                times = waits.times.setdefault(name, [])
                for _ in range(rounds):
                    if path.startswith("/overzicht"):
                        await asyncio.sleep(_FRESH_SECONDS)
                    times.append(await _get(client, path))
            await _persons(client, waits, token, rounds)
            await _pairs(client, waits)
    finally:
        await app.close()
    return waits


_FRESH_SECONDS = 2.2
"""What the overview counted is shown again for a shorter time: each of its pages here is counted anew."""


async def _get(client: httpx.AsyncClient, path: str) -> float:
    started = time.perf_counter()
    answer = await client.get(path, follow_redirects=True)
    took = (time.perf_counter() - started) * 1000
    if answer.status_code != 200:
        raise BenchError(f"{path}: {answer.status_code}")
    return took


async def _deep(client: httpx.AsyncClient, path: str, pages: int) -> str:
    for _ in range(pages):
        found = re.search(r'<a[^>]* href="([^"]+)"[^>]* rel="next"', (await client.get(path)).text)
        if found is None:
            break
        path = found[1].replace("&amp;", "&")
        path = path if path.startswith("/") else f"/berichten{path}"
    return path


async def _persons(client: httpx.AsyncClient, waits: Waits, token: str, rounds: int) -> None:
    """Look for people: with a few messages, with none, and a company that gets one of a hundred."""
    for name, numbers in {
        "a person": BSNS[1 : rounds + 1],
        "a person, none": BSNS[-rounds:],
        "an addressee with very many": [BSNS[0]] * rounds,
    }.items():
        times = waits.times.setdefault(name, [])
        for number in numbers:
            started = time.perf_counter()
            fields = {"csrf": token, "soort": "BSN", "waarde": number}
            answer = await client.post("/berichten/persoon", data=fields, follow_redirects=True)
            times.append((time.perf_counter() - started) * 1000)
            if answer.status_code != 200 or (" none" not in name) is not ('name="bericht"' in answer.text):
                raise BenchError(f"{name}: {answer.status_code}")
    times = waits.times.setdefault("a person and any other filter", [])
    await client.post("/berichten/persoon", data={"csrf": token, "soort": "BSN", "waarde": BSNS[0]})
    for name, value in _filters():
        times.append(await _get(client, f"/berichten?persoon=ja&{name}={value}"))


async def _pairs(client: httpx.AsyncClient, waits: Waits) -> None:
    """Ask for every two filters together, and again for the two that took longest."""
    times: dict[str, float] = {}
    for one, two in itertools.combinations(_filters(), 2):
        if one[0] != two[0]:
            path = f"/berichten?{one[0]}={one[1]}&{two[0]}={two[1]}"
            times[path] = await _get(client, path)
    waits.times["any two filters"] = list(times.values())
    slowest = max(times, key=times.__getitem__)
    waits.times[f"of {len(times)} the slowest: {slowest.partition('?')[2]}"] = [
        await _get(client, slowest) for _ in "12345"
    ]


def _filters() -> list[tuple[str, str]]:
    values = {
        "organisatie": [MAASVELD, BOSRIJK],
        "status": ["ingepland", "onderweg", "wacht_op_medewerker", "afgerond", "geannuleerd"],
        "box": [_BOX],
        "terug": CAME_BACK,
        "brief": LETTERS,
        "termijn": DEADLINES,
        "beeld": VIEWS,
    }
    return [(name, str(value)) for name, some in values.items() for value in some]
