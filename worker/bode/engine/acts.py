"""Acts of people on one message: checked, done and written down in one transaction.

Whoever acts has seen what would follow. When the message moved meanwhile so that something else would follow, nothing
is done and the new effect is to be shown first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.acts import Act, Choice, Effect, effect, found_at, moves
from bode.domain.decision import staff_action
from bode.engine.parts import Parts
from bode.store import messages
from bode.store.record import Ledger, Written, lock, write
from bode.store.staff import StaffAct, record_act

Announce = Callable[[Written], Awaitable[None]]
"""Told after a commit what to ring for and to alarm about."""

_TAKES_HAND = frozenset({Act.STOP_LETTER, Act.CANCEL})
"""Acts that cannot be done while a worker has the work in hand: it may be going out at this moment."""


class CannotActError(Exception):
    """An act that cannot be done now; `code` says why: `not_possible`, `in_hand`, `moved`, `erased`."""

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(f"the act cannot be done: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class By:
    """Who acts and why, as evidence and audit keep it."""

    who: str
    reason: str


class Acts:
    """Does what people decide, one message at a time."""

    def __init__(self, parts: Parts, announce: Announce) -> None:
        """Take the parts."""
        self._parts = parts
        self._announce = announce

    async def do(
        self,
        message_id: UUID,
        choice: Choice,
        by: By,
        *,
        shown: Effect | None = None,
        email: str | None = None,
        at: datetime | None = None,
    ) -> Effect:
        """Do an act, and give what followed. `shown` is the effect that was seen, `email` the new address.

        Raises `CannotActError`; then nothing was done.
        """
        async with self._parts.database.write() as connection:
            ledgers = await lock(connection, [message_id], self._parts.vault)
            if message_id not in ledgers:
                raise CannotActError("not_possible")
            followed = await self.apply(
                connection, ledgers[message_id], message_id, choice, by, shown=shown, email=email, at=at
            )
            written = await self._write(connection, {message_id: ledgers[message_id]})
        await self._announce(written)
        return followed

    async def apply(
        self,
        connection: AsyncConnection,
        ledger: Ledger,
        message_id: UUID,
        choice: Choice,
        by: By,
        *,
        shown: Effect | None = None,
        email: str | None = None,
        at: datetime | None = None,
    ) -> Effect:
        """Do an act in the caller's transaction, its message locked. Raises `CannotActError`."""
        policy, now = self._parts.policy, self._parts.clock.now()
        if not moves(ledger.delivery, choice, policy, now):
            raise CannotActError("not_possible")
        follows = effect(ledger.delivery, choice, policy, now)
        if shown is not None and not same(shown, follows):
            raise CannotActError("moved")
        if choice.act in _TAKES_HAND and await messages.in_hand(connection, message_id, part=choice.part):
            raise CannotActError("in_hand")
        if choice.act is Act.NOTICE_NEW_ADDRESS:
            await self._keep_address(connection, ledger, message_id, email, now)
        event = choice.event(by=by.who, reason=by.reason, now=now)
        ledger.apply(found_at(choice, event, at) if at is not None else event, policy, now)
        subject = choice.part or ""
        act = StaffAct(now, by.who, choice.act, subject, organisation=ledger.organisation, message_id=message_id)
        await record_act(connection, self._parts.vault, act)
        return follows

    async def look(self, message_id: UUID, by: By) -> None:
        """Write down, in evidence and audit, that somebody looks at the personal data of a message, and why.

        Raises `CannotActError` where there is nothing personal left, or no such message.
        """
        now = self._parts.clock.now()
        async with self._parts.database.write() as connection:
            ledger = (await lock(connection, [message_id], self._parts.vault)).get(message_id)
            if ledger is None or ledger.key is None:
                raise CannotActError("erased")
            ledger.facts.append(staff_action("L12", act="personal_data", by=by.who, reason=by.reason))
            act = StaffAct(now, by.who, "personal_data", "", organisation=ledger.organisation, message_id=message_id)
            await record_act(connection, self._parts.vault, act)
            await self._write(connection, {message_id: ledger})

    async def _keep_address(
        self, connection: AsyncConnection, ledger: Ledger, message_id: UUID, email: str | None, now: datetime
    ) -> None:
        if email is None or ledger.key is None:
            raise CannotActError("erased" if email is not None else "not_possible")
        vault = self._parts.vault
        await messages.store_address(connection, message_id, email, key=ledger.key, vault=vault, now=now)

    async def _write(self, connection: AsyncConnection, ledgers: dict[UUID, Ledger]) -> Written:
        parts = self._parts
        return await write(connection, ledgers, policy=parts.policy, vault=parts.vault, now=parts.clock.now())


def same(shown: Effect, follows: Effect) -> bool:
    """Tell whether an effect is the one that was seen; the moments at which work is due go on with the clock."""
    return _still(shown) == _still(follows)


def _still(seen: Effect) -> tuple[object, ...]:
    return (
        seen.state,
        seen.outcome,
        seen.legal,
        seen.legal_rule_then,
        seen.last_day_moves,
        seen.work,
        tuple((letter.kind, letter.reason) for letter in seen.letters),
        seen.stopped,
        seen.asked,
        seen.other_letters,
    )
