"""The yardstick N: a bare dramatiq no-op on Redis, at dramatiq's defaults. Prints jobs per second.

With `pickup`: how long one message waits before an idle worker takes it up, the median in seconds.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=sys.argv[1])
dramatiq.set_broker(broker)
JOBS = int(sys.argv[2])
done = threading.Event()
lock = threading.Lock()
count = 0


@dramatiq.actor
def noop() -> None:
    global count  # noqa: PLW0603 - the smallest thing that counts
    with lock:
        count += 1
        if count == JOBS:
            done.set()


@dramatiq.actor
def heard() -> None:
    done.set()


def throughput() -> float:
    for _ in range(JOBS):
        noop.send()
    started = time.perf_counter()
    worker.start()
    done.wait()
    return JOBS / (time.perf_counter() - started)


def pickup() -> float:
    worker.start()
    times: list[float] = []
    for number in range(JOBS):
        time.sleep(3 + number * 0.37 % 1)  # idle for so long that it asks Redis as seldom as it ever does
        done.clear()
        started = time.perf_counter()
        heard.send()
        done.wait()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


worker = dramatiq.Worker(broker)
sys.stdout.write(f"{pickup() if sys.argv[3:] == ['pickup'] else throughput()}\n")
worker.stop()
