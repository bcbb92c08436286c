"""The doorbell: dramatiq carries only the names of lanes that have work.

The database is the truth: a ring that is lost, late or doubled changes nothing, and the sweeper rings again. There are
no delays and no retries in the broker.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

import dramatiq
import redis
import structlog
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerConnectionError, DecodeError
from prometheus_client import Counter

log = structlog.get_logger()

RINGS = Counter("bode_rings_total", "Rings sent to the broker, by lane.", ["lane"])
RINGS_FAILED = Counter(
    "bode_rings_failed_total", "Rings that the broker did not take; the sweeper rings again.", ["lane"]
)

LANES_QUEUE = "bode-lanes"
_MOST_RINGS = 16
"""Rings sent for one lane at a time: enough to wake every worker; each passes the bell on while there is more."""
_MOST_UNHEARD = 1000
"""Rings that may wait in the broker: while nobody hears them (no worker runs), the sweeper adds no more."""


class _ReadableOnly(dramatiq.Consumer):
    """Passes over what is no message: dramatiq's consumer would end, and strand the messages it fetched with it."""

    def __init__(self, consumer: dramatiq.Consumer, queue_name: str) -> None:
        self._consumer = consumer
        self._queue = queue_name

    def __next__(self) -> dramatiq.MessageProxy | None:
        while True:
            try:
                return next(self._consumer)
            except (DecodeError, TypeError, KeyError, AttributeError) as error:
                log.error("doorbell.no_message", queue=self._queue, error=type(error).__name__)

    def ack(self, message: dramatiq.MessageProxy) -> None:
        self._consumer.ack(message)

    def nack(self, message: dramatiq.MessageProxy) -> None:
        self._consumer.nack(message)

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        self._consumer.requeue(messages)

    def close(self) -> None:
        self._consumer.close()


class _Redis(RedisBroker):
    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> dramatiq.Consumer:
        return _ReadableOnly(super().consume(queue_name, prefetch, timeout), queue_name)


def build_broker(url: str | None, namespace: str) -> Broker:
    """Make the broker: Redis where there is a URL, otherwise one inside this process."""
    if url is None:
        return StubBroker(middleware=[])
    return _Redis(  # type: ignore[no-untyped-call]  # dramatiq types its core, not this class
        url=url,
        namespace=namespace,
        middleware=[],
        # Takeover after kill -9 within seconds; maintenance does little, so it can run at nearly every command.
        heartbeat_timeout=10_000,
        maintenance_chance=1_000_000,
    )


class Doorbell:
    """Rings for lanes, and answers rings in this process."""

    def __init__(self, broker: Broker, *, chunk: int) -> None:
        """Declare the actors. Nothing is consumed before `start`."""
        self._broker = broker
        self._chunk = chunk
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drain: Callable[[str], Coroutine[Any, Any, int]] | None = None
        self._worker: dramatiq.Worker | None = None
        self._answering: set[asyncio.Task[int]] = set()
        self._lane_actor = dramatiq.actor(broker=broker, actor_name="bode.ring", queue_name=LANES_QUEUE)(self._on_ring)

    async def ring(self, lanes: Mapping[str, int]) -> None:
        """Ring for lanes, given their numbers of ready steps. Never raises: the sweeper makes good what is lost.

        A process that answers rings does not wait for the broker to bring its own back: it begins at once.
        """
        if lanes:
            for lane in lanes:
                self._answer(lane)
            await asyncio.to_thread(self._send, lanes)

    def _send(self, lanes: Mapping[str, int]) -> None:
        for lane, ready in lanes.items():
            rings = min(math.ceil(ready / self._chunk), _MOST_RINGS)
            try:
                if self._unheard() >= _MOST_UNHEARD:
                    return
                for _ in range(rings):
                    self._lane_actor.send(lane)
            except (BrokerConnectionError, redis.RedisError, OSError) as error:
                RINGS_FAILED.labels(lane).inc()
                log.warning("doorbell.broker_down", lane=lane, error=type(error).__name__)
                return
            RINGS.labels(lane).inc(rings)

    def _unheard(self) -> int:
        in_redis = isinstance(self._broker, RedisBroker)
        broker: Any = self._broker  # the two kinds have no way of asking in common
        return int(broker.do_qsize(LANES_QUEUE) if in_redis else broker.queues[LANES_QUEUE].qsize())

    async def start(self, *, drain: Callable[[str], Coroutine[Any, Any, int]], threads: int) -> None:
        """Answer rings in this process: `drain` works a lane."""
        self._loop = asyncio.get_running_loop()
        self._drain = drain
        # Idle threads wake every 20 ms instead of every second: a ring is heard at once.
        self._worker = dramatiq.Worker(self._broker, worker_threads=threads, worker_timeout=20)
        await asyncio.to_thread(self._worker.start)

    async def stop(self, grace_seconds: float) -> None:
        """Hear no more rings; ones not answered stay in the broker for others."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await asyncio.to_thread(worker.stop, timeout=int(grace_seconds * 1000))

    async def close(self) -> None:
        """Close the connection to the broker."""
        await asyncio.to_thread(self._broker.close)

    def _on_ring(self, lane: object) -> None:
        """Answer a ring. The thread does not wait for the lane: slow lanes together would hold every thread."""
        if not isinstance(lane, str):  # Redis can hold what we did not put there.
            raise TypeError("a ring names a lane")
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer, lane)

    def _answer(self, lane: str) -> None:
        if self._drain is not None:
            task = asyncio.ensure_future(self._drain(lane))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
