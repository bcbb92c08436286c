"""Holds letters above the budget of their organisation: see `bode.domain.volume`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain import events as ev
from bode.domain.parts import LetterState
from bode.domain.terms import legal_day
from bode.domain.volume import VolumeLimits, VolumeRule, letters_left
from bode.engine.calls import Work
from bode.store import volume as store
from bode.store.steps import Leased


def limits_any(work: Sequence[Work], limits_of: Mapping[str, VolumeLimits]) -> bool:
    """Tell whether a letter of these has a budget."""
    return any(item.message.sender in limits_of and _is_new(item) for item in work)


async def hold_above(
    connection: AsyncConnection, work: Sequence[Work], limits_of: Mapping[str, VolumeLimits], now: datetime
) -> tuple[dict[Leased, ev.LetterHeld], list[tuple[str, int]]]:
    """Count the letters that go, before they do, and give those that do not; and whose began to be held, at how many.

    A letter counts once, however often it is tried, and not when a person let it go.
    """
    held: dict[Leased, ev.LetterHeld] = {}
    began: list[tuple[str, int]] = []
    day = legal_day(now)
    for organisation in sorted({item.message.sender for item in work if item.message.sender in limits_of}):
        limits = limits_of[organisation]
        new = [item for item in work if item.message.sender == organisation and _is_new(item)]
        if not new or limits.letters_per_day is None:
            continue
        volume = await store.letters_volume(connection, organisation, day)
        may = letters_left(limits, volume, len(new))
        await store.add_letters(connection, organisation, day, may)
        held |= {item.leased: ev.LetterHeld(_number(item)) for item in new[may:]}
        if may < len(new) and await store.open_hold(connection, organisation, VolumeRule.LETTERS, now):
            began.append((organisation, volume.since(VolumeRule.LETTERS) + may))
    return held, began


def _is_new(work: Work) -> bool:
    letter = work.delivery.letters[_number(work)]
    return letter.state is LetterState.PLANNED and not letter.attempts and not letter.let_go


def _number(work: Work) -> int:
    return int(work.leased.part.removeprefix("letter/"))
