"""Stop a letter that was not handed over yet, for a person."""

from __future__ import annotations

from uuid import UUID

from bode.domain import events as ev
from bode.domain.parts import Delivery, LetterState, letter_part
from bode.engine.parts import Parts
from bode.store import messages
from bode.store.record import lock, write


class CannotStopError(Exception):
    """The letter cannot be stopped; the message says why, and what can be done."""


async def stop_letter(parts: Parts, message_id: UUID, number: int | None, *, by: str, reason: str) -> int:
    """Stop a letter of a message, the only one that can be stopped unless a number is given; gives its number.

    Its steps are locked meanwhile, so that no worker hands it over. Raises `CannotStopError`.
    """
    now = parts.clock.now()
    async with parts.database.write() as connection:
        ledgers = await lock(connection, [message_id], parts.vault)
        ledger = ledgers[message_id]
        chosen = _choose(ledger.delivery, number)
        if await messages.in_hand(connection, message_id, part=letter_part(chosen)):
            raise CannotStopError(f"letter {chosen} is being handed over to the print service at this moment")
        ledger.apply(ev.LetterStopped(chosen, by, reason), parts.policy, now)
        await write(connection, ledgers, policy=parts.policy, vault=parts.vault, now=now)
    return chosen


def _choose(delivery: Delivery, number: int | None) -> int:
    can = [
        index
        for index, letter in enumerate(delivery.letters)
        if letter.state in (LetterState.PLANNED, LetterState.BLOCKED)
    ]
    if number is None:
        if len(can) == 1:
            return can[0]
        if can:
            raise CannotStopError(
                f"there are {len(can)} letters to stop: add --number, one of {', '.join(map(str, can))}"
            )
        raise CannotStopError("there is no letter that was not handed over yet")
    if number in can:
        return number
    if not 0 <= number < len(delivery.letters):
        raise CannotStopError(f"there is no letter {number}; this message has {len(delivery.letters)}, counted from 0")
    state = delivery.letters[number].state
    raise CannotStopError(f"letter {number} is {state}: only a letter that was not handed over yet can be stopped")
