"""The whole path, from accepted to placed, noticed and in the log of evidence, over T (goals 3 and 12)."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import httpx
from tests.benchmarks.processes import Contender, Meter
from tests.benchmarks.report import Cpu, Row
from tests.benchmarks.stage import Installation, Stage, message

from bode.store import steps


async def production(stage: Stage, count: int) -> tuple[float, Cpu, dict[str, Any]]:
    """Give messages a second through a worker and a sweeper over Redis and PostgreSQL, the CPU, and what it took."""
    numbers = stage.numbers(count)
    async with stage.installation() as bode:
        empty = await bode.bytes()
        running = [bode.start("worker"), bode.start("sweeper")]
        for one in running:
            await one.started()
        async with bode.database.write() as connection:
            # The sweeper would find the work while it is being stored.
            await steps.stop_lane(connection, "mijndomein", reason="bench", by="bench", now=bode.app.clock.now())
        await bode.store(numbers)
        stage.settle()
        async with bode.database.write() as connection:
            await steps.start_lane(connection, "mijndomein", by="bench")
        meter = Meter(bode.pids)
        await bode.ring("mijndomein", count)
        await bode.done(sequenced=True)
        took, cpu = meter.read()
        await bode.check(numbers, placed=True)
        sizing = {
            "bytes": (await bode.bytes() - empty) / count,
            "events": await bode.audit() / count,
            "redis": int(stage.redis.info("memory")["used_memory_peak"]),
        }
    return count / took, {name: used / count * 1e6 for name, used in cpu.items()}, sizing


async def embedded(stage: Stage, count: int) -> tuple[float, Cpu]:
    """Give messages a second through one process on SQLite. The last message, over HTTP, rings for all."""
    *numbers, last = stage.numbers(count)
    async with stage.installation(sqlite=True, engine="sweep_seconds = 60") as bode:
        await bode.start("all", "bode").started()
        await bode.store(numbers)
        meter = Meter({name: pid for name, pid in bode.pids.items() if name not in {"postgresql", "redis"}})
        await _hand_in(bode, last)
        await bode.done(sequenced=True)
        took, cpu = meter.read()
        await bode.check([*numbers, last], placed=True)
    return count / took, {name: used / count * 1e6 for name, used in cpu.items()}


async def _hand_in(bode: Installation, number: int) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{bode.url}/v1/berichten", content=message(number), headers={"Content-Type": "application/json"}
        )
    answer.raise_for_status()


async def textbook(stage: Stage, count: int, *, sqlite: bool = False) -> tuple[float, Cpu]:
    """Give messages a second through T, and the CPU."""
    numbers = stage.numbers(count)
    file = f"sqlite:///{stage.folder / f'textbook{numbers.start}.db'}"
    broker = "" if sqlite else stage.broker
    box = f"http://127.0.0.1:{stage.box.port}/api/v1"
    with (
        nullcontext(file) if sqlite else stage.empty_database() as database,
        Contender("textbook", database, broker, box, stage.smtp.port, count, numbers.start) as worker,
    ):
        stage.settle()
        unused = {"postgresql", "redis"} if sqlite else set()
        meter = Meter({name: pid for name, pid in stage.pids.items() if name not in unused} | {"textbook": worker.pid})
        took = worker.run()
        _, cpu = meter.read()
    got, _ = await stage.mailed()
    placed, _ = stage.placed()
    if len(got) != count or len(placed) != count:
        raise SystemExit(f"textbook: {len(placed)} placed and {len(got)} noticed of {count}")
    return count / took, {name: used / count * 1e6 for name, used in cpu.items()}


async def measure(stage: Stage, runs: int, count: int, *, sqlite: bool) -> tuple[Row, dict[str, Any]]:
    """Measure goal 3, or goal 12 on SQLite; gives the row, and on PostgreSQL what a message takes."""
    row = (
        Row("12", "whole path, one process on SQLite, over T on SQLite", "/s", 5, 10)
        if sqlite
        else Row("3", "whole path, over T (textbook worker)", "/s", 15, 25)
    )
    sizing: dict[str, Any] = {}
    for _ in range(runs):
        theirs, their_cpu = await textbook(stage, max(count // 5, 50), sqlite=sqlite)
        if sqlite:
            ours, cpu = await embedded(stage, count)
        else:
            ours, cpu, sizing = await production(stage, count)
        row.ours.append(ours)
        row.theirs.append(theirs)
        where = ", SQLite" if sqlite else ""
        row.cpu = {f"Bode, whole path{where}": cpu, f"T, the textbook worker{where}": their_cpu}
    used = [sum(cpu.values()) for cpu in row.cpu.values()]
    row.note = f"in CPU a message T uses {used[1] / used[0]:.1f} times as much"
    return row, sizing
