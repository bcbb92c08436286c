"""`make bench`: what Bode does, as ratios to yardsticks measured in the same run. Absolute numbers say little.

Real PostgreSQL and Redis, a mail server and a box in processes of their own, Bode's own processes with evidence, logs,
metrics, encryption and fencing on. Every measurement ends with a check that all was delivered once, and with an audit
of the evidence; what does not pass is an error, not a number.

    make bench                                       all goals, five runs
    make bench ARGS="--only notices --runs 1"        some of them; the others keep the numbers they had in the JSON
    make bench ARGS="--only morning --messages 300000"
    make bench ARGS="--only console --messages 1000000"
    python -m tests.benchmarks.report                docs/performance.md and its chart, from the JSON
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
from tests.benchmarks import claim, console, evidence, failures, intake, latency, morning, notices, report, whole
from tests.benchmarks.report import Row
from tests.benchmarks.stage import Stage

Measured = tuple[list[Row], dict[str, Any]]
"""Rows of the table, and other parts of the document."""


async def _rows(rows: Awaitable[list[Row]]) -> Measured:
    return await rows, {}


async def _whole(stage: Stage, args: argparse.Namespace) -> Measured:
    row, sizing = await whole.measure(stage, args.runs, args.count or 3000, sqlite=False)
    return [row], {"taken": sizing}


async def _embedded(stage: Stage, args: argparse.Namespace) -> Measured:
    row, _ = await whole.measure(stage, args.runs, args.count or 2000, sqlite=True)
    return [row], {}


async def _large_log(stage: Stage, args: argparse.Namespace) -> Measured:
    async with stage.installation() as bode:
        return [], {"large_log": await evidence.large(bode.database, stage.folder, args.events)}


async def _morning(stage: Stage, args: argparse.Namespace) -> Measured:
    return [], {"morning": await morning.run(stage, args.messages or 300_000)}


async def _console(stage: Stage, args: argparse.Namespace) -> Measured:
    return [], {"console": await console.run(stage, args.messages or 1_000_000, args.rounds)}


WORK: dict[str, Callable[[Stage, argparse.Namespace], Awaitable[Measured]]] = {
    "notices": lambda stage, args: _rows(notices.measure(stage, args.runs, args.count or 3000)),
    "whole": _whole,
    "intake": lambda stage, args: _rows(intake.measure(stage, args.runs, args.count or 500)),
    "latency": lambda stage, args: _rows(latency.measure(stage, args.runs, args.count or 100)),
    "claim": lambda stage, args: _rows(claim.measure(stage, args.runs, args.waiting)),
    "kill": lambda stage, args: _rows(failures.killed(stage, min(args.runs, 3), args.count or 3000)),
    "wiped": lambda stage, args: _rows(failures.wiped(stage, min(args.runs, 3), args.count or 500)),
    "embedded": _embedded,
    # Not among the goals, and not part of a run that names nothing.
    "large-log": _large_log,
    "morning": _morning,
    "console": _console,
}
ALWAYS = [name for name in WORK if name not in {"large-log", "morning", "console"}]


async def measure(stage: Stage, args: argparse.Namespace, told: dict[str, Any]) -> Measured:
    """Measure what is asked, and write down each as it is there: a failure after it leaves it as it is."""
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=Path(os.devnull).open("w")))  # noqa: SIM115
    rows: list[Row] = []
    parts: dict[str, Any] = {}
    for name in args.only or ALWAYS:
        started = time.perf_counter()
        measured, more = await WORK[name](stage, args)
        rows += measured
        parts |= more
        _write(args.json, measured, {"machine": told if measured else None, **more})
        sys.stderr.write(f"{name}: {time.perf_counter() - started:.0f} s\n")
    return rows, parts


def _write(file: Path, rows: list[Row], parts: dict[str, Any]) -> None:
    document = report.merged(report.read(file), rows, parts)
    document["sizing"] = report.sizing(document)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def machine(stage: Stage, runs: int, count: int | None) -> dict[str, Any]:
    """Tell where and on what it was measured, and whether it was but a trial."""
    trial = f"; a trial: with {count} messages a measurement the numbers say little" if count is not None else ""
    model = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    server = stage.server()
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {runs} runs{trial}",
        "cores": os.cpu_count(),
        "processor": model[0] if model else platform.machine(),
        "load before it began (1, 5, 15 minutes)": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "Python": platform.python_version(),
        "PostgreSQL": ", ".join(f"{name.removeprefix('server_')} {value}" for name, value in server.items()),
        "Redis": str(stage.redis.info("server")["redis_version"]),
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("dramatiq", "sqlalchemy", "httpx", "aiosmtplib")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=WORK, help="measure these alone")
    parser.add_argument("--runs", type=int, default=5, help="the table shows the median and the spread of so many")
    parser.add_argument("--count", type=int, help="how many messages a measurement has; without it each has its own")
    parser.add_argument("--waiting", type=int, default=1_000_000, help="how many steps wait in 'claim'")
    parser.add_argument("--messages", type=int, help="how many the morning (300,000) or the console (1,000,000) has")
    parser.add_argument("--rounds", type=int, default=20, help="how often each page of the console is asked for")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events the large log has")
    parser.add_argument("--json", type=Path, default=report.JSON)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bode-bench-") as name, Stage(Path(name)) as stage:
        told = machine(stage, args.runs, args.count)
        rows, parts = asyncio.run(measure(stage, args, told))
    if rows:
        sys.stdout.write(report.table(rows))
    for part, values in parts.items():
        sys.stdout.write(f"\n{part}\n" + "".join(f"  {name}: {value}\n" for name, value in values.items()))


if __name__ == "__main__":
    main()
