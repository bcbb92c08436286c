"""A morning: so many messages handed in, 10 % soft and 2 % hard bounces, and a box that is away for a while.

Nothing may be lost or given twice; notices go out in the order of their deadlines; the evidence is clean; the worker's
memory stays flat.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from tests.benchmarks.intake import bulk
from tests.benchmarks.processes import Meter, memory_bytes
from tests.benchmarks.stage import BenchError, Installation, Stage, message

from bode.store import tables

_BULK = 5000
_SAMPLE_SECONDS = 2.0
_POLICY = """
[policy]
notice_retries = ["1m", "5m", "15m"]
placement_retries = ["5s", "10s", "20s"]
"""
"""A soft bounce is tried again after a minute instead of a quarter of an hour: else the morning ends with waiting."""

PLACED, NOTICED = "ContentConsignment", "ConsignmentNotification"


def _email(number: int) -> str:
    match number % 50:
        case 7:
            return f"hard-{number}@post.example.nl"
        case 3 | 13 | 23 | 33 | 43:
            return f"soft-{number}@post.example.nl"
        case _:
            return f"b{number}@post.example.nl"


async def run(stage: Stage, count: int) -> dict[str, Any]:
    """Run it; gives the report. Raises `BenchError` for anything lost, doubled, or not proven."""
    numbers = stage.numbers(count)
    emails = {number: _email(number) for number in numbers}
    hard = sum(email.startswith("hard-") for email in emails.values())
    samples: list[tuple[float, int]] = []
    away = (0.0, 0.0)
    async with stage.installation(extra=_POLICY) as bode:
        for one in [bode.start("api"), bode.start("worker"), bode.start("sweeper")]:
            await one.started()
        empty = await bode.bytes()
        meter = Meter(bode.pids)
        watching = asyncio.create_task(_watch(bode, samples))
        started = time.monotonic()
        for start in range(0, count, _BULK):
            if start <= count // 3 < start + _BULK:
                stage.box_is("away")
                away = (time.monotonic(), 0.0)
            await bulk(bode, [message(number, emails[number]) for number in numbers[start : start + _BULK]])
            if away[0] and not away[1] and (start >= count // 2 or start + _BULK >= count):
                stage.box_is("back")
                away = (away[0], time.monotonic())
        handed_in = time.monotonic() - started
        await bode.done(sequenced=True, patience=3600)
        took, cpu = meter.read()
        watching.cancel()
        await _check(bode, stage, numbers, emails, hard)
        order = await _order(bode)
        size = await bode.bytes()
        events = await bode.audit()
    flat = [memory for at, memory in samples if at > samples[-1][0] * 0.2]
    return {
        "messages": f"{count:,}, of which {count // 10:,} with a full mailbox at first and {hard:,} without a mailbox",
        "handed in (bulk, over HTTP)": f"in {handed_in:,.0f} s",
        "the box was away": f"for {away[1] - away[0]:,.0f} s",
        "all placed, noticed or written to, and in the log": f"after {took:,.0f} s ({count / took:,.0f} a second)",
        "lost, placed twice, noticed twice": "0, 0, 0",
        "letters printed": f"{hard:,}",
        "events in the log, audited": f"{events:,}",
        "order of their deadlines": (
            f"of {order[1]:,} notices that did not bounce, none went out more than {order[0]:,} places before its turn"
        ),
        "memory of the worker": (
            f"{flat[0] / 2**20:,.0f} MiB after a fifth of the time, {flat[-1] / 2**20:,.0f} at the end, "
            f"{max(flat) / 2**20:,.0f} at most"
        ),
        "database": f"{(size - empty) / count:,.0f} bytes a message",
        "CPU a message": ", ".join(f"{name} {used / count * 1e6:,.0f} us" for name, used in cpu.items()),
    }


async def _watch(bode: Installation, samples: list[tuple[float, int]]) -> None:
    started = time.monotonic()
    while True:
        samples.append((time.monotonic() - started, memory_bytes(bode.running["worker"].pid)))
        await asyncio.sleep(_SAMPLE_SECONDS)


async def _check(bode: Installation, stage: Stage, numbers: range, emails: dict[int, str], hard: int) -> None:
    got, _ = await stage.mailed()
    placed, _ = stage.placed()
    twice = [email for email, times in got.items() if len(times) > 1]
    wanted = {email for email in emails.values() if not email.startswith("hard-")}
    if twice or got.keys() != wanted:
        raise BenchError(f"morning: {len(wanted - got.keys())} notices never, {len(twice)} twice")
    if placed != {f"B-{number:08d}": 1 for number in numbers}:
        raise BenchError(f"morning: {len(placed)} of {len(numbers)} placed, {sum(placed.values())} placements")
    async with bode.database.read() as connection:
        letters = await connection.execute(sa.select(sa.func.count()).select_from(tables.letter))
        if letters.scalar_one() != hard:
            raise BenchError(f"morning: not {hard} letters")


async def _order(bode: Installation) -> tuple[int, int]:
    """Give how far, in places, the notice was that went out furthest before its turn; and how many were looked at.

    Its turn is its deadline, which follows from the moment of its placement. What bounced has other turns, and is left
    out. Two chunks in each worker's hands at a time make a few hundred places by themselves.
    """
    event = tables.event.c
    bounced = sa.select(event.message_id).where(event.name == "ConsignmentNotificationFailure")
    moments = (
        sa.select(event.name, event.message_id, event.at)
        .where(event.name.in_((PLACED, NOTICED)), event.message_id.not_in(bounced))
        .order_by(event.at, event.id)
    )
    turns: dict[UUID, int] = {}
    furthest = out = 0
    async with bode.database.read() as connection:
        for name, message_id, _ in await connection.execute(moments):
            if name == PLACED:
                turns[message_id] = len(turns)
            else:
                furthest = max(furthest, turns[message_id] - out)
                out += 1
    return furthest, out
