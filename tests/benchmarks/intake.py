"""Intake over HTTP, through real servers: one request over the same framework's handler (goal 4), in bulk (goal 5)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import sqlalchemy as sa
from tests.benchmarks.processes import Meter, Served
from tests.benchmarks.report import Cpu, Row
from tests.benchmarks.stage import BenchError, Installation, Stage, message

from bode.store import tables

_CONNECTIONS = 4


async def _post(port: int, path: str, bodies: Iterator[bytes]) -> None:
    """Post bodies over one connection, one after the other. A client of a library would take longer than the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line)
        content = await reader.readexactly(int(fields[b"content-length"]))
        if b" 202 " not in answer.split(b"\r\n")[0]:
            raise BenchError(f"intake: {answer[:40]!r} {content[:300]!r}")
    writer.close()
    await writer.wait_closed()


async def _single(port: int, path: str, numbers: range) -> float:
    """Give requests a second over a few connections."""
    bodies = iter([message(number) for number in numbers])
    started = time.perf_counter()
    await asyncio.gather(*(_post(port, path, bodies) for _ in range(_CONNECTIONS)))
    return len(numbers) / (time.perf_counter() - started)


async def bulk(bode: Installation, rows: list[bytes]) -> float:
    """Hand in many in one request; gives rows a second. Every row must be accepted."""
    async with httpx.AsyncClient(timeout=600) as client:
        started = time.perf_counter()
        answer = await client.post(
            f"{bode.url}/v1/berichten/bulk", content=b"\n".join(rows), headers={"Content-Type": "application/jsonl"}
        )
        took = time.perf_counter() - started
    answers: list[dict[str, Any]] = [json.loads(line) for line in answer.text.splitlines()]
    if len(answers) != len(rows) or not all(item.get("status") == 202 for item in answers):
        raise BenchError(f"bulk: {answer.status_code} {[item for item in answers if item.get('status') != 202][:2]}")
    return len(rows) / took


async def measure(stage: Stage, runs: int, count: int) -> list[Row]:
    """Measure goals 4 and 5."""
    single = Row("4", "intake, one HTTP request, over a bare handler with one commit", "/s", 0.6, 0.8)
    many = Row("5", "intake in bulk, over one request each", "/s", 10, 30)
    with stage.empty_database() as database, Served("bare", database) as bare:
        async with stage.installation() as bode:
            await bode.start("api").started()
            port = bode.settings.api.port
            await _single(port, "/v1/berichten", stage.numbers(50))
            await _single(bare.port, "/", stage.numbers(50))
            total = 50
            for _ in range(runs):
                cpu: dict[str, Cpu] = {}
                meter = Meter(stage.pids | {"api": bode.running["api"].pid})
                ours = await _single(port, "/v1/berichten", stage.numbers(count))
                cpu["Bode, one request"] = _each(meter, count)
                meter = Meter(stage.pids | {"bare handler": bare.pid})
                theirs = await _single(bare.port, "/", stage.numbers(count))
                cpu["a bare handler"] = _each(meter, count)
                meter = Meter(stage.pids | {"api": bode.running["api"].pid})
                in_bulk = await bulk(bode, [message(number) for number in stage.numbers(count * 5)])
                cpu["Bode, in bulk"] = _each(meter, count * 5)
                single.ours.append(ours)
                single.theirs.append(theirs)
                many.ours.append(in_bulk)
                many.theirs.append(ours)
                single.cpu = {name: cpu[name] for name in ("Bode, one request", "a bare handler")}
                many.cpu = {"Bode, in bulk": cpu["Bode, in bulk"]}
                total += count * 6
            async with bode.database.read() as connection:
                stored = await connection.execute(
                    sa.select(sa.func.count(), sa.func.count(sa.distinct(tables.message.c.reference))).select_from(
                        tables.message
                    )
                )
                if tuple(stored.one()) != (total, total):
                    raise BenchError(f"intake: not all of {total} messages are stored once")
            await bode.audit()
    single.note = (
        f"both over {_CONNECTIONS} connections that are kept, uvicorn in front, a client that is no part of the CPU"
    )
    return [single, many]


def _each(meter: Meter, count: int) -> Cpu:
    _, cpu = meter.read()
    return {name: used / count * 1e6 for name, used in cpu.items() if name not in {"mail server", "box"}}
