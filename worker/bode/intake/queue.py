"""Intake by queue, for zaaksystemen that share the broker: a Redis stream per sender. docs/queue.md is the contract.

At least once, and idempotent as every intake: an entry goes away only when its message is stored or it is set apart.
What was taken and not finished (a process that was killed) is taken again after a minute. Whose stream it is says who
sends: the broker's own rights (ACL) keep senders to their streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import structlog
from joserfc.jwk import ECKey
from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bode.intake import problems
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.intake.bulk import described
from bode.intake.faults import Refused
from bode.intake.sealed import UnreadableError, unseal
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

WAITING = Gauge("bode_queue_waiting", "Messages on the intake queue that are not stored yet, by sender.", ["sender"])
POISON = Gauge("bode_queue_poison", "Messages set apart on the intake queue: bode queue poison list.", ["sender"])
SET_APART = Counter("bode_queue_set_apart_total", "Messages set apart, by sender and why.", ["sender", "why"])

GROUP = "bode"
MESSAGE = "bericht"
"""The field of an entry that holds the sealed message."""
_MOST_ANSWERS = 100_000
_AT_ONCE = 10
_LEFT_MS = 60_000
"""What was taken so long ago and is still there was left by a process that ended."""
_BLOCK_MS = 1_000
_LONGEST_WAIT = 30.0

Fields = Mapping[bytes, bytes]
Entry = tuple[bytes, Fields | None]
"""An entry of a stream: its id and fields; none when it went away meanwhile."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The names of one sender's streams."""

    namespace: str
    sender: str

    @property
    def intake(self) -> str:
        """Where the sender adds messages."""
        return f"{self.namespace}:intake:{self.sender}"

    @property
    def answers(self) -> str:
        """Where the sender reads what became of them."""
        return f"{self.intake}:antwoorden"

    @property
    def apart(self) -> str:
        """Where messages are that were not stored."""
        return f"{self.intake}:apart"


def connect(url: str) -> Redis:
    """Make a client for the broker; it connects when it is used."""
    maker: Any = Redis  # its options have no types
    return cast("Redis", maker.from_url(url, socket_connect_timeout=5, socket_timeout=10))


class QueueIntake:
    """Takes in what senders put on their streams."""

    def __init__(
        self,
        intake: Intake,
        key: Callable[[], ECKey],
        broker: Redis,
        *,
        namespace: str,
        senders: Mapping[str, frozenset[str]],
        most_bytes: int,
    ) -> None:
        """Take the broker, and the senders with the bodies (OIN) each may send for. Nothing is read yet."""
        self._intake = intake
        self._key = key
        self._broker: Any = broker
        self._senders = {
            name: (Streams(namespace, name), Caller(f"queue:{name}", oins)) for name, oins in senders.items()
        }
        # Base64 makes four of three, twice; the rest is for the header and the tag.
        self._most_sealed = most_bytes * 2
        self.left_ms = _LEFT_MS

    async def run(self) -> None:
        """Take in until cancelled, from every sender beside the others."""
        await asyncio.gather(*(self._run(sender) for sender in self._senders))

    async def close(self) -> None:
        """Close the connections."""
        await self._broker.aclose()

    async def _run(self, sender: str) -> None:
        wait = 0.0
        while True:
            try:
                await self.work(sender, block_ms=_BLOCK_MS)
            except (RedisError, OSError, *DATABASE_AWAY) as error:
                # What was taken stays on the stream, and is taken again.
                wait = min(max(wait * 2, 0.5), _LONGEST_WAIT)
                log.warning("queue.waits", sender=sender, error=type(error).__name__)
                await asyncio.sleep(wait)
            else:
                wait = 0.0
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The broker's client can swallow it when we are told to stop while it reads.
                raise asyncio.CancelledError

    async def work(self, sender: str, *, block_ms: int | None = None) -> int:
        """Take in what waits, a handful; gives how many entries. Raises what the broker or the database raises."""
        streams, caller = self._senders[sender]
        taken = await self._left(streams) or await self._new(streams, block_ms)
        if taken:
            await self._take(streams, caller, taken)
        WAITING.labels(sender).set(await self._broker.xlen(streams.intake))
        POISON.labels(sender).set(await self._broker.xlen(streams.apart))
        return len(taken)

    async def _left(self, streams: Streams) -> list[Entry]:
        """Take over what somebody took, and did not finish."""
        try:
            found = await self._broker.xautoclaim(
                streams.intake, GROUP, GROUP, min_idle_time=self.left_ms, count=_AT_ONCE
            )
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # From its beginning: what was added before anybody looked counts, too.
            await self._broker.xgroup_create(streams.intake, GROUP, id="0", mkstream=True)
            return []
        return cast("list[Entry]", found[1])

    async def _new(self, streams: Streams, block_ms: int | None) -> list[Entry]:
        found = await self._broker.xreadgroup(GROUP, GROUP, {streams.intake: ">"}, count=_AT_ONCE, block=block_ms)
        return [entry for _, entries in found for entry in cast("list[Entry]", entries)]

    async def _take(self, streams: Streams, caller: Caller, taken: Sequence[Entry]) -> None:
        readable: list[tuple[bytes, Fields, bytes]] = []
        for entry_id, fields in taken:
            if fields is None:
                await self._broker.xack(streams.intake, GROUP, entry_id)
                continue
            try:
                readable.append((entry_id, fields, await asyncio.to_thread(self._open, fields)))
            except UnreadableError as error:
                log.error("queue.unreadable", sender=streams.sender, error=str(error))
                await self._finish(streams, entry_id, fields, _UNREADABLE, why="onleesbaar")
        answers = await self._accept([body for *_, body in readable], caller, streams.sender)
        for (entry_id, fields, _), answer in zip(readable, answers, strict=True):
            said, why = _told(answer)
            await self._finish(streams, entry_id, fields, said, why)

    async def _accept(
        self, bodies: Sequence[bytes], caller: Caller, sender: str
    ) -> Sequence[Accepted | Refused | None]:
        """Accept messages together; when that cannot be done one by one, so that one is set apart and not all."""
        if not bodies:
            return []
        try:
            return await self._intake.accept_many(bodies, route=Route.QUEUE, caller=caller)
        except DATABASE_AWAY:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it is found again for the one that it is about
            return [await self._alone(body, caller, sender) for body in bodies]

    def _open(self, fields: Fields) -> bytes:
        sealed = fields.get(MESSAGE.encode(), b"")
        if len(sealed) > self._most_sealed:
            raise UnreadableError("too_long")
        try:
            return unseal(sealed.decode("ascii"), self._key())
        except UnicodeDecodeError:
            raise UnreadableError("no_ascii") from None

    async def _alone(self, body: bytes, caller: Caller, sender: str) -> Accepted | Refused | None:
        """Accept one; none for what our own defect keeps from being decided."""
        try:
            return await self._intake.accept(body, route=Route.QUEUE, caller=caller)
        except Refused as refused:
            return refused
        except DATABASE_AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is kept for a person, and the others go on
            log.error("queue.defect", sender=sender, error=type(error).__name__)
            return None

    async def _finish(
        self, streams: Streams, entry_id: bytes, fields: Fields, said: Mapping[str, Any], why: str | None = None
    ) -> None:
        """Answer, set apart what was not stored, and take the entry off: all of it or nothing."""
        answer = msgspec.json.encode(said)
        async with self._broker.pipeline(transaction=True) as all_of_it:
            all_of_it.xadd(
                streams.answers,
                {"vraag": entry_id, "status": said["status"], "antwoord": answer},
                maxlen=_MOST_ANSWERS,
                approximate=True,
            )
            if why is not None:
                kept = {MESSAGE: fields.get(MESSAGE.encode(), b""), "vraag": entry_id, "reden": why, "antwoord": answer}
                all_of_it.xadd(streams.apart, kept)
            all_of_it.xack(streams.intake, GROUP, entry_id)
            all_of_it.xdel(streams.intake, entry_id)
            await all_of_it.execute()
        if why is not None:
            SET_APART.labels(streams.sender, why).inc()
            log.error("queue.set_apart", sender=streams.sender, entry=entry_id.decode(), why=why)


_UNREADABLE: Mapping[str, Any] = {"status": 400, "titel": "Het bericht kan niet geopend worden", "fouten": []}
_DEFECT: Mapping[str, Any] = {"status": 500, "titel": "Fout bij ons: een beheerder kijkt ernaar", "fouten": []}


def _told(answer: Accepted | Refused | None) -> tuple[Mapping[str, Any], str | None]:
    """Give what the sender is told, and why the message is set apart, if it is."""
    match answer:
        case Accepted():
            return {"status": 202, **described(answer)}, None
        case Refused():
            fouten = problems.described(answer.faults)
            return {"status": answer.status, "titel": answer.title, "fouten": fouten}, "geweigerd"
        case None:
            return _DEFECT, "defect"
