"""A notifier in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self
from uuid import UUID

from bode_adapters.contract import (
    Answer,
    Capabilities,
    Clock,
    NoticeMail,
    Placed,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
)
from bode_adapters.email.address import mailbox
from bode_adapters.memory.script import Rule, Script, no_settings


class MemoryNotifier:
    """Keeps the notices it was given. `down = True` makes it unreachable. A notice sent twice is two notices."""

    def __init__(self, *, clock: Clock, rule: Rule[NoticeMail] | None = None, bulk: int = 1000) -> None:
        """Start empty."""
        self._clock = clock
        self._bulk = bulk
        self.script = Script(rule)
        self.sent: Counter[UUID] = Counter()
        """How often each notice really left."""
        self.notices: dict[UUID, NoticeMail] = {}
        """The notices that left, as last given."""
        self.down = False

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one; there are no settings."""
        no_settings(settings)
        return cls(clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """What mail can do: no repeat is recognised."""
        return Capabilities(bulk=self._bulk, repeat_is_recognised=False)

    async def open(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Nothing to release."""

    async def notify(self, *, notices: Sequence[NoticeMail]) -> Sequence[Answer]:
        """Take notices, or answer as the script says."""
        return [self._notify(notice) for notice in notices]

    def _notify(self, notice: NoticeMail) -> Answer:
        if self.down:
            return Unavailable("down")
        if mailbox(notice.email) is None:
            return Refused("address_syntax", RefusalKind.ADDRESSEE)
        staged = self.script.take(notice)
        if staged is None or staged.happened:
            self.sent[notice.id] += 1
            self.notices[notice.id] = notice
        if staged is not None:
            return staged.answer
        return Placed(self._clock(), TimeSource.OUR_CLOCK, receipt=str(notice.id), code="250")
