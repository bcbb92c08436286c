"""What is lost when a worker is killed in full flight (goal 9), and when Redis is wiped (goal 10)."""

from __future__ import annotations

import asyncio
import statistics
from uuid import UUID

import sqlalchemy as sa
from tests.benchmarks.report import Row
from tests.benchmarks.stage import BenchError, Installation, Stage, address

from bode.engine.doorbell import LANES_QUEUE
from bode.store import steps, tables
from bode.store.database import Database

_QUICK = """
[policy]
placement_retries = ["1s"]
notice_unknown_wait = "1s"
"""
"""After a kill the answer to what became of a call is waited for minutes to an hour; here a second."""


async def killed(stage: Stage, runs: int, count: int) -> list[Row]:
    """Measure goal 9: kill -9 while placements and notices are under way, start anew, wait until all is done."""
    wrong = Row("9a", "kill -9 in full flight: lost, or issued twice and not known", "messages", 0, 0, lower=True)
    unknown = Row("9b", "kill -9: calls with an unknown outcome, over open connections", "calls", 1, 0.5, lower=True)
    twice: list[int] = []
    for _ in range(runs):
        numbers = stage.numbers(count)
        async with stage.installation(engine="heartbeat_seconds = 5", extra=_QUICK) as bode:
            for one in [bode.start("worker"), bode.start("sweeper")]:
                await one.started()
            stored = await bode.store(numbers)
            references = {item.id: number for item, number in zip(stored, numbers, strict=True)}
            await bode.ring("mijndomein", count)
            got: dict[str, list[float]] = {}
            while len(got) < count // 4:
                more, mail_open = await stage.mailed()
                for email, times in more.items():
                    got.setdefault(email, []).extend(times)
                await asyncio.sleep(0.01)
            placed, box_open = stage.placed()
            bode.running["worker"].process.kill()
            bode.running["worker"].process.wait()
            await bode.start("worker").started()
            await bode.done()
            after, _ = await stage.mailed()
            placed_after, _ = stage.placed()
            known = {references[found] for found in await _unknown(bode.database, part="notice/mijndomein")}
            left = await _unknown(bode.database, code="worker_lost")
            await bode.audit()
        mails = {number: len(got.get(address(number), [])) + len(after.get(address(number), [])) for number in numbers}
        boxed = {
            number: placed.get(f"B-{number:08d}", 0) + placed_after.get(f"B-{number:08d}", 0) for number in numbers
        }
        lost = [number for number in numbers if not mails[number] or not boxed[number]]
        again = [number for number in numbers if mails[number] > 1]
        unseen = [number for number in again if number not in known]
        wrong.ours.append(len(lost) + len(unseen) + sum(times > 1 for times in boxed.values()))
        twice.append(len(again))
        unknown.ours.append(len(left))
        unknown.theirs.append(mail_open + box_open)
    wrong.note = (
        f"{statistics.median(twice):.0f} notices (the median) went twice and the evidence says so, placements may not; "
        f"{count:,} messages, killed when a quarter of the notices was out"
    )
    return [wrong, unknown]


async def _unknown(database: Database, *, part: str = "", code: str = "") -> list[UUID]:
    """Give the messages with a call of which the evidence says that its outcome is unknown: once for each call."""
    event = tables.event.c
    async with database.read() as connection:
        rows = await connection.execute(
            sa.select(event.message_id, event.part, event.envelope).where(event.name == "outcome.unknown")
        )
        return [row.message_id for row in rows if part in row.part and code.encode() in row.envelope]


async def wiped(stage: Stage, runs: int, count: int) -> list[Row]:
    """Measure goal 10: FLUSHALL while work is due; sweep until every lane with work is rung, then see it done."""
    row = Row("10", "Redis wiped: all due work is rung again after", "sweeps", 2, 1, lower=True)
    for _ in range(runs):
        numbers = stage.numbers(count)
        async with stage.installation() as bode:
            placing, noticing = numbers[: count // 2], numbers[count // 2 :]
            await bode.store(placing)
            await bode.place(await bode.store(noticing))
            await bode.ring("mijndomein", count)
            stage.redis.flushall()
            sweeps = 0
            while not await _all_rung(bode, stage):
                if sweeps == 20:
                    raise BenchError("20 sweeps, and not all is rung again")
                await bode.app.sweeper.sweep()
                sweeps += 1
            row.ours.append(sweeps)
            await bode.start("worker").started()
            await bode.done()
            got, _ = await stage.mailed()
            if sorted(got) != sorted(map(address, numbers)) or any(len(times) > 1 for times in got.values()):
                raise BenchError("not all got one notice after Redis was wiped")
            placed, _ = stage.placed()
            if sorted(placed.values()) != [1] * len(placing):
                raise BenchError("not all were placed once after Redis was wiped")
            await bode.audit()
    return [row]


async def _all_rung(bode: Installation, stage: Stage) -> bool:
    """Tell whether Redis holds a ring for every lane with ready work."""
    app = bode.app
    async with app.database.read() as connection:
        ready = set(await steps.ready_lanes(connection, cap=1))
    namespace = app.settings.broker.namespace
    held = stage.redis.hvals(f"{namespace}:{LANES_QUEUE}.msgs")
    return all(any(f'"{lane}"'.encode() in ring for ring in held) for lane in ready)
