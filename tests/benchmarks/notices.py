"""Notices by real workers: over a no-op (goal 1), over the raw floor (2), by two (8), with sequencing beside (11)."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from tests.benchmarks.processes import Contender, Meter, output
from tests.benchmarks.report import Cpu, Row
from tests.benchmarks.stage import Stage

from bode.engine.sequencer import Sequencer


@dataclass(frozen=True, slots=True)
class Drained:
    """What it took to give so many notices."""

    a_second: float
    cpu: Cpu
    cores: float
    """How many cores all processes together kept busy."""


async def drain(stage: Stage, count: int, *, workers: int = 1, sequencer: bool = False) -> Drained:
    """Placed messages wait; ring once, and measure until the last notice is recorded. Each is out once, or it fails."""
    numbers = stage.numbers(count)
    async with stage.installation() as bode:
        names = ["worker", "second worker"][:workers]
        running = [bode.start("worker", name) for name in names]
        await bode.place(await bode.store(numbers))
        for one in running:
            await one.started()
        while await Sequencer(bode.database).work():
            pass
        beside = (
            await _sequencer(bode.app.database.engine.url.render_as_string(hide_password=False)) if sequencer else None
        )
        stage.settle()
        try:
            meter = Meter(bode.pids | ({"sequencer": beside.pid} if beside is not None else {}))
            await bode.ring(bode.app.parts.policy.notice_lane, count)
            await bode.done()
            took, cpu = meter.read()
        finally:
            if beside is not None:
                beside.kill()
                beside.wait()
        await bode.check(numbers, placed=False)
    return Drained(count / took, {name: used / count * 1e6 for name, used in cpu.items()}, sum(cpu.values()) / took)


async def _sequencer(url: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.evidence", url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


async def floor(stage: Stage, count: int) -> Drained:
    """Measure R, with the CPU of everything it uses."""
    numbers = stage.numbers(count)
    with (
        stage.empty_database() as database,
        Contender("floor", database, stage.smtp.port, count, numbers.start) as raw,
    ):
        stage.settle()
        meter = Meter(stage.pids | {"floor": raw.pid})
        took = raw.run()
        _, cpu = meter.read()
    got, _ = await stage.mailed()
    if len(got) != count or any(len(times) > 1 for times in got.values()):
        raise SystemExit(f"floor: {len(got)} of {count} got mail")
    return Drained(count / took, {name: used / count * 1e6 for name, used in cpu.items()}, sum(cpu.values()) / took)


async def measure(stage: Stage, runs: int, count: int) -> list[Row]:
    """Measure goals 1, 2, 8 and 11, interleaved."""
    throughput = Row("1", "notices a second, over N (bare dramatiq no-op)", "/s", 2.5, 5)
    cost = Row("2", "notices: CPU a delivery, over R (raw floor)", "us", 2, 1.5, lower=True)
    growth = Row("8", "notices a second with two workers, over one", "/s", 1.7, 1.9)
    beside = Row("11", "notices a second with sequencing beside, over without", "/s", 0.95, 0.98)
    bound: list[float] = []
    for run in range(runs):
        noop = float(output("noop", stage.broker, 3000))
        raw = await floor(stage, count * 2)
        # What a machine does to itself (its clock, its neighbours) goes up and down: change the order with every run.
        measured: dict[str, Drained] = {}
        for name in ("one", "two", "beside") if run % 2 else ("beside", "two", "one"):
            measured[name] = await drain(stage, count, workers=2 if name == "two" else 1, sequencer=name == "beside")
        one = measured["one"]
        for row, ours, theirs in (
            (throughput, one.a_second, noop),
            (cost, sum(one.cpu.values()), sum(raw.cpu.values())),
            (growth, measured["two"].a_second, one.a_second),
            (beside, measured["beside"].a_second, one.a_second),
        ):
            row.ours.append(ours)
            row.theirs.append(theirs)
        bound.append((os.cpu_count() or 1) / one.cores)
        cost.cpu = {"Bode, notices": one.cpu, "R, the raw floor": raw.cpu}
        beside.cpu = {"Bode, notices, sequencing beside": measured["beside"].cpu}
    cores = os.cpu_count()
    growth.note = (
        f"this machine has {cores} cores for workers, database and mail server together: what one worker and all it "
        f"uses leave is room for {min(bound):.2f} to {max(bound):.2f} times as much"
    )
    return [throughput, cost, growth, beside]
