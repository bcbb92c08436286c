"""Idle latency (goal 6): from the 202 to the notice at the mail server, one message at a time through all processes."""

from __future__ import annotations

import asyncio
import statistics
import time

import httpx
from tests.benchmarks.processes import output
from tests.benchmarks.report import Row
from tests.benchmarks.stage import Stage, address, message


async def measure(stage: Stage, runs: int, count: int) -> list[Row]:
    """Measure goal 6. A message passes two lanes on its way: it is placed, then noticed."""
    row = Row("6", "idle: 202 to notice, p99, over dramatiq's default pick-up, p50", "ms", 0.25, 0.06, lower=True)
    pickup = float(output("noop", stage.broker, 11, "pickup")) * 1000
    middle: list[float] = []
    for _ in range(runs):
        numbers = stage.numbers(count)
        async with stage.installation() as bode:
            for one in [bode.start("api"), bode.start("worker"), bode.start("sweeper")]:
                await one.started()
            accepted: dict[str, float] = {}
            async with httpx.AsyncClient() as client:
                for number in numbers:
                    answer = await client.post(
                        f"{bode.url}/v1/berichten",
                        content=message(number),
                        headers={"Content-Type": "application/json"},
                    )
                    accepted[address(number)] = time.monotonic()
                    answer.raise_for_status()
                    await bode.done()
                    await asyncio.sleep(0.02 + number % 17 / 250)  # idle, and not in step with anybody's timers
            got = await bode.check(numbers, placed=True)
        times = sorted((got[email][0] - at) * 1000 for email, at in accepted.items())
        row.ours.append(times[min(int(len(times) * 0.99), len(times) - 1)])
        row.theirs.append(pickup)
        middle.append(statistics.median(times))
    row.note = (
        f"{count} messages a run; the median is {statistics.median(middle):.0f} ms; "
        "a message passes two lanes on its way: it is placed, then noticed"
    )
    return [row]
