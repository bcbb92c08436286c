"""What was set apart on the queue: to be seen, put back or dropped by a person. The messages stay sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from bode.intake.queue import MESSAGE, Streams


@dataclass(frozen=True, slots=True)
class SetApart:
    """A message that was not stored."""

    sender: str
    id: str
    """Where it stands among what was set apart."""
    asked: str
    """The id the sender was given when it was added."""
    why: str
    """`onleesbaar`, `geweigerd` or `defect`."""
    answer: str
    """What the sender was answered, as JSON: every fault, and no value of the message."""
    size: int
    at: datetime


class Poison:
    """Messages set apart, of one sender."""

    def __init__(self, broker: Redis, streams: Streams) -> None:
        """Take the broker and the sender's streams."""
        self._broker: Any = broker
        self._streams = streams

    async def read(self, *, most: int) -> list[SetApart]:
        """Give the oldest."""
        return [self._of(*entry) for entry in await self._broker.xrange(self._streams.apart, count=most)]

    async def get(self, entry_id: str) -> SetApart | None:
        """Give one."""
        found = await self._broker.xrange(self._streams.apart, min=entry_id, max=entry_id)
        return self._of(*found[0]) if found else None

    async def retry(self, entry_id: str) -> bool:
        """Put one back at the end of the queue, after what was wrong was mended; false when it is not there."""
        found = await self._broker.xrange(self._streams.apart, min=entry_id, max=entry_id)
        if not found:
            return False
        async with self._broker.pipeline(transaction=True) as both:
            both.xadd(self._streams.intake, {MESSAGE: found[0][1][MESSAGE.encode()]})
            both.xdel(self._streams.apart, entry_id)
            await both.execute()
        return True

    async def drop(self, entry_id: str) -> bool:
        """Take one away for good; false when it is not there."""
        return bool(await self._broker.xdel(self._streams.apart, entry_id))

    def _of(self, entry_id: bytes, fields: dict[bytes, bytes]) -> SetApart:
        def text(name: str) -> str:
            return fields.get(name.encode(), b"").decode("utf-8", "replace")

        milliseconds = int(entry_id.split(b"-")[0])
        return SetApart(
            sender=self._streams.sender,
            id=entry_id.decode(),
            asked=text("vraag"),
            why=text("reden"),
            answer=text("antwoord"),
            size=len(fields.get(MESSAGE.encode(), b"")),
            at=datetime.fromtimestamp(milliseconds / 1000, UTC),
        )
