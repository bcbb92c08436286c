"""Claiming a chunk while a million retries wait, over while none does (goal 7)."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime, timedelta

import psycopg
import sqlalchemy as sa
from tests.benchmarks.report import Row
from tests.benchmarks.stage import Installation, Stage

from bode.store import steps, tables

_LANE, _CHUNK, _CLAIMS = "kennisgeving", 100, 50
_INSERT = """
INSERT INTO step (message_id, part, action, lane, state, due_at, deadline_at, fence)
SELECT gen_random_uuid(), 'notice/mijndomein', 'notify', %s, %s, now() + interval '1 day' + n * interval '10 ms',
    now() + %s * interval '1 hour' + n * interval '10 ms', 0
FROM generate_series(1, %s) AS n
"""


async def measure(stage: Stage, runs: int, waiting: int) -> list[Row]:
    """Measure goal 7, and beside it the same with that many more ready in the lane."""
    row = Row("7", f"claim of {_CHUNK} with {waiting:,} waiting, over with none", "ms", 2, 1.2, lower=True)
    async with stage.installation() as empty, stage.installation() as full, stage.installation() as crowded:
        _insert(full, "waiting", waiting, hours=1)
        _insert(crowded, "ready", waiting, hours=40)
        ready: list[float] = []
        for _ in range(runs):
            row.theirs.append(await _claims(empty))
            row.ours.append(await _claims(full))
            ready.append(await _claims(crowded))
    row.note = (
        f"the median of {_CLAIMS} claims, each committed; with {waiting:,} more of them ready instead of waiting: "
        f"{statistics.median(ready):.2f} ms"
    )
    return [row]


def _insert(bode: Installation, state: str, count: int, *, hours: int) -> None:
    url = bode.app.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_INSERT, (_LANE, state, hours, count))
        connection.execute("VACUUM ANALYZE step")  # as autovacuum would have, by the time so many are there


async def _claims(bode: Installation) -> float:
    """Give the median milliseconds of a claim; what was claimed is taken off again."""
    _insert(bode, "ready", _CHUNK * _CLAIMS, hours=2)
    times: list[float] = []
    for _ in range(_CLAIMS):
        now = datetime.now(UTC)
        started = time.perf_counter()
        async with bode.database.write() as connection:
            leased = await steps.claim(
                connection, lane=_LANE, limit=_CHUNK, owner="bench", lease_until=now + timedelta(minutes=2), now=now
            )
        times.append((time.perf_counter() - started) * 1000)
        if len(leased) != _CHUNK or len({item.id for item in leased}) != _CHUNK:
            raise SystemExit(f"claim: {len(leased)} steps instead of {_CHUNK}")
    async with bode.database.write() as connection:
        await connection.execute(sa.delete(tables.step).where(tables.step.c.state == "leased"))
    return statistics.median(times)
