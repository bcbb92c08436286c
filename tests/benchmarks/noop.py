"""The yardstick N: a bare dramatiq no-op on Redis, at dramatiq's defaults. Prints jobs per second."""

from __future__ import annotations

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


for _ in range(JOBS):
    noop.send()
worker = dramatiq.Worker(broker)
started = time.perf_counter()
worker.start()
done.wait()
sys.stdout.write(f"{JOBS / (time.perf_counter() - started)}\n")
worker.stop()
