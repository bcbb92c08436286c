"""A box, or a carrier, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self
from uuid import UUID

from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Capabilities,
    Clock,
    Identifier,
    Pending,
    Placed,
    Reachability,
    RefusalKind,
    Refused,
    Sender,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.memory.script import Rule, Script, no_settings

DEFAULT_CAPABILITIES = Capabilities(bulk=1000, repeat_is_recognised=True, can_lookup=True, can_check=True)


class MemoryBox:
    """A box that keeps what it was given. `down = True` makes it unreachable."""

    def __init__(
        self,
        *,
        clock: Clock,
        capabilities: Capabilities = DEFAULT_CAPABILITIES,
        rule: Rule[BoxMessage] | None = None,
        reachable: Callable[[Identifier], bool | None] = lambda _: True,
    ) -> None:
        """Start empty. With other `capabilities` it behaves as a box that has no more than those."""
        self._clock = clock
        self._capabilities = capabilities
        self._reachable = reachable
        self.script = Script(rule)
        self.placements: Counter[UUID] = Counter()
        """How often each message was really placed: more than one is what must not happen."""
        self.messages: dict[UUID, BoxMessage] = {}
        """The messages placed, as last given."""
        self.down = False
        self._placed: dict[UUID, Placed] = {}
        self._pending: dict[UUID, Pending] = {}
        self._settled: dict[UUID, Answer] = {}

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one; there are no settings."""
        no_settings(settings)
        return cls(clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """What it was made with."""
        return self._capabilities

    async def open(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Nothing to release."""

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Tell who is reachable, as `reachable` says; nobody knows while it is down."""
        del sender
        now = self._clock()
        if self.down or not self._capabilities.can_check:
            return [Reachability(None, now, "down" if self.down else "no_check") for _ in addressees]
        return [Reachability(self._reachable(addressee), now) for addressee in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Place messages, or answer as the script says."""
        return [self._place(message) for message in messages]

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Tell what became of messages; while it is down nothing is known, least of all that they are absent."""
        return [self._find(message) for message in messages]

    def settle(self, message: UUID, answer: Answer | None = None) -> None:
        """Decide what became of a message that was answered `Pending`: placed now, or this answer."""
        pending = self._pending.pop(message)
        if answer is None or isinstance(answer, Placed):
            self.placements[message] += 1
            self._placed[message] = answer or replace(self._now(self.messages[message]), receipt=pending.receipt)
        else:
            self._settled[message] = answer

    def _place(self, message: BoxMessage) -> Answer:
        if self.down:
            return Unavailable("down")
        staged = self.script.take(message)
        if staged is not None:
            if staged.happened:
                self._record(message, staged.answer)
            return staged.answer
        addressee = message.addressee
        if addressee.kind not in self._capabilities.addressees or self._reachable(addressee) is False:
            return Refused("unreachable", RefusalKind.ADDRESSEE)
        known = self._placed.get(message.id)
        if known is not None and self._capabilities.repeat_is_recognised:
            return replace(known, already=True)
        too_much = self._too_much(message)
        if too_much is not None:
            return Refused(too_much, RefusalKind.CONTENT)
        placed = self._now(message)
        self._record(message, placed)
        return placed

    def _record(self, message: BoxMessage, answer: Answer) -> None:
        self.messages[message.id] = message
        if isinstance(answer, Pending):
            self._pending[message.id] = answer
            return
        if message.id not in self._placed or not self._capabilities.repeat_is_recognised:
            self.placements[message.id] += 1
            self._placed[message.id] = answer if isinstance(answer, Placed) else self._now(message)

    def _find(self, message: BoxMessage) -> Answer:
        if self.down:
            return Unknown("down")
        known = self._placed.get(message.id)
        if known is not None:
            return replace(known, already=True)
        return self._pending.get(message.id) or self._settled.get(message.id) or Absent()

    def _too_much(self, message: BoxMessage) -> str | None:
        can = self._capabilities
        size = sum(len(document.content) for document in message.documents)
        limits = (
            ("subject_too_long", len(message.subject), can.max_subject),
            ("text_too_long", len(message.text), can.max_text),
            ("too_many_documents", len(message.documents), can.max_documents),
            ("documents_too_large", size, can.max_documents_bytes),
        )
        return next((code for code, has, most in limits if most is not None and has > most), None)

    def _now(self, message: BoxMessage) -> Placed:
        now = self._clock()
        at = now if message.publish_at is None else max(now, message.publish_at)
        return Placed(at, TimeSource.OTHER_SIDE, receipt=str(message.id))
