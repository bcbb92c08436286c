"""`make bench`: what Bode does, as ratios to a yardstick measured in the same run. Absolute numbers say little.

Today: notices against a bare dramatiq no-op, and intake against the same framework's handler with one commit. Every run
ends with a check that everything was delivered once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from litestar import Litestar, post
from litestar.testing import AsyncTestClient
from tests.benchmarks import evidence

from bode.domain import events as ev
from bode.engine.lanes import Lanes
from bode.intake.accept import Caller, Route
from bode.settings import Settings
from bode.store import tables
from bode.store.vault import write_key_file
from bode_ops import assembly, web
from bode_ops.assembly import Application
from bode_ops.demo.production_parts import ProductionParts
from bode_ops.demo.scenarios import MAASVELD

HERE = Path(__file__).parent


def message(number: int) -> bytes:
    return json.dumps(
        {
            "afzender": MAASVELD,
            "kenmerk": f"B-{number:08d}",
            "aard": "beschikking",
            "rechtsgevolgen": "U kunt bezwaar maken.",
            "termijn": {"duur": "P6W"},
            "geadresseerde": {"soort": "BSN", "nummer": "999990019", "naam": "Sanne de Vries"},
            "kanalen": [{"kanaal": "mijndomein"}],
            "kennisgeving": {"email": f"b{number}@post.example.nl"},
            "onderwerp": "Besluit op uw aanvraag",
            "tekst": "Beste mevrouw, meneer, wij hebben een besluit genomen.",
        }
    ).encode()


def settings(folder: Path, database: str, broker: str, smtp_port: int) -> Settings:
    mail = {"host": "127.0.0.1", "port": smtp_port, "tls": "none", "connections": 16}
    (folder / "print" / "in").mkdir(parents=True, exist_ok=True)
    return Settings(
        database={"url": database},
        broker={"url": broker, "namespace": "bench"},
        keys={"file": folder / "key"},
        channels={
            "mijndomein": {
                "adapter": "mijndomein",
                "kind": "box",
                "label": "Mijn Gemeente",
                "url": "https://mijn.gemeente.example",
                "ceiling": "hoog",
                "settings": {"base_url": "http://127.0.0.1:9/api/v1"},
            }
        },
        notices={"adapter": "smtp-notifier", "settings": mail},
        print={"adapter": "print-folder", "settings": {"folder": str(folder / "print")}},
        organisations={
            MAASVELD: {
                "name": "Gemeente Maasveld",
                "email": "noreply@maasveld.example.nl",
                "contact": "telefoon 14 0999",
                "address": ["Postbus 100", "1200 AA  MAASVELD"],
            }
        },
    )


async def accept(app: Application, first: int, count: int) -> list[Any]:
    limit = asyncio.Semaphore(8)

    async def one(number: int) -> Any:
        async with limit:
            return await app.intake.accept(message(number), route=Route.COMMAND, caller=Caller("bench"))

    return await asyncio.gather(*(one(number) for number in range(first, first + count)))


async def notices(app: Application, count: int) -> float:
    """Give notices per second: placed messages wait; drain the lane with two workers' concurrency; all are out once."""
    accepted = await accept(app, time.time_ns() % 10**8, count)
    now = datetime.now(UTC)
    lanes = Lanes(replace(app.parts, lane_concurrency=2), _no_ring)
    for start in range(0, count, 200):
        chunk = accepted[start : start + 200]
        await lanes.apply([(item.id, ev.Placed("mijndomein", now, ev.TimeSource.OUR_CLOCK)) for item in chunk])
    lane = app.parts.policy.notice_lane
    started = time.perf_counter()
    await asyncio.gather(lanes.drain(lane), lanes.drain(lane))
    took = time.perf_counter() - started
    async with app.database.read() as connection:
        event = tables.event.c
        ids = [item.id for item in accepted]
        sent = await connection.execute(
            sa.select(sa.func.count(), sa.func.count(event.message_id.distinct())).where(
                event.name == "ConsignmentNotification", event.message_id.in_(ids)
            )
        )
        total, distinct = sent.one()
    if (total, distinct) != (count, count):
        raise SystemExit(f"notices: {total} sent for {distinct} of {count} messages")
    return count / took


async def _no_ring(_lanes: Any) -> None:
    return None


async def intake(app: Application, count: int) -> tuple[float, float]:
    """Give requests per second of intake, and of a bare handler of the same framework with one commit."""

    @post("/", status_code=202)
    async def bare(data: dict[str, Any]) -> dict[str, str]:
        async with app.database.write() as connection:
            await connection.execute(sa.insert(tables.lane).values(name=f"x{time.perf_counter_ns()}"[:32]))
        return {"id": str(len(data))}

    rates: list[float] = []
    first = time.time_ns() % 10**8
    for client_app, path in ((web.build(app), "/v1/berichten"), (Litestar([bare]), "/")):
        async with AsyncTestClient(client_app) as client:
            started = time.perf_counter()
            for number in range(count):
                answer = await client.post(
                    path, content=message(first + number), headers={"Content-Type": "application/json"}
                )
                if answer.status_code != 202:
                    raise SystemExit(f"intake: {answer.status_code} {answer.text}")
            rates.append(count / (time.perf_counter() - started))
    return rates[0], rates[1]


async def measure(only: str | None, runs: int, events: int) -> list[dict[str, Any]]:
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=Path("/dev/null").open("w")))  # noqa: SIM115, ASYNC230
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = ProductionParts(folder)
        database, broker = parts.start()
        sink = subprocess.Popen(  # noqa: ASYNC220 - started once, before anything is measured
            [sys.executable, str(HERE / "sink.py")], stdout=subprocess.PIPE, text=True
        )
        assert sink.stdout is not None
        port = int(sink.stdout.readline())
        write_key_file(folder / "key")
        app = assembly.build(settings(folder, database, broker, port))
        try:
            await app.database.upgrade()
            await app.open_adapters()
            if only in (None, "notices"):
                ratios = []
                for _ in range(runs):
                    noop = subprocess.run(  # noqa: ASYNC221 - the yardstick runs alone, nothing else may run beside it
                        [sys.executable, str(HERE / "noop.py"), broker, "3000"],
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    ratios.append((await notices(app, 2000), float(noop.stdout)))
                rows.append(_row("1", "notices a second over N (bare dramatiq no-op)", ratios, 2.5, 5))
            if only in (None, "intake"):
                rates = [await intake(app, 500) for _ in range(runs)]
                rows.append(_row("4", "intake, one request, over a bare handler with one commit", rates, 0.6, 0.8))
            if only in (None, "evidence"):
                pairs = await evidence.cost(app, notices, runs)
                rows.append(_row("11", "notices with sequencing beside it, over without", pairs, 0.95, 0.98))
                large = await evidence.large(app.database, folder, events)
                rows.append({"goal": "-", "what": "a large log of evidence", **large})
        finally:
            await app.close()
            sink.kill()
            parts.stop()
    return rows


def _row(number: str, goal: str, pairs: list[tuple[float, float]], must: float, stretch: float) -> dict[str, Any]:
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    return {
        "goal": number,
        "what": goal,
        "ours": round(statistics.median(ours for ours, _ in pairs)),
        "theirs": round(statistics.median(theirs for _, theirs in pairs)),
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(ratios[0], 2), round(ratios[-1], 2)],
        "must": must,
        "stretch": stretch,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", choices=("notices", "intake", "evidence"))
    parser.add_argument("--events", type=int, default=1_000_000, help="how many the large log of evidence has")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"))
    args = parser.parse_args()
    rows = asyncio.run(measure(args.only, args.runs, args.events))
    for row in rows:
        if "ratio" not in row:
            numbers = [f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float)]
            sys.stdout.write(f"{row['goal']:>2}  {row['what']}: {', '.join(numbers)}\n")
            continue
        low, high = row["spread"]
        sys.stdout.write(
            f"{row['goal']:>2}  {row['what']}: {row['ours']}/s over {row['theirs']}/s = {row['ratio']} "
            f"({low} to {high}); must {row['must']}, stretch {row['stretch']}\n"
        )
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
