"""Requests that come at the same time are stored together, and answered as if they had come alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from bode.intake.accept import Accepted, Caller, Route
from bode.intake.faults import Fault, Refused
from bode.intake.together import Together

ONE, OTHER = Caller("one"), Caller("other")


def accepted(raw: bytes) -> Accepted:
    return Accepted(UUID(int=int(raw[:6])), "oin", raw[:6].decode(), datetime(2026, 3, 2, tzinfo=UTC))


class Slow:
    """An intake that answers when the test lets it, and keeps what it was asked."""

    def __init__(self):
        self.asked, self.gate, self.breaks = [], asyncio.Event(), {}

    async def accept(self, raw, *, route, caller, also=None):
        self.asked.append([raw])
        await self.gate.wait()
        if raw in self.breaks:
            raise self.breaks[raw]
        return accepted(raw)

    async def accept_many(self, raws, *, route, caller):
        self.asked.append(list(raws))
        await self.gate.wait()
        for raw in raws:
            if raw in self.breaks and not isinstance(self.breaks[raw], Refused):
                raise self.breaks[raw]
        return [self.breaks.get(raw) or accepted(raw) for raw in raws]


async def ask(together, raws, caller=ONE):
    tasks = [asyncio.create_task(together.accept(raw, route=Route.HTTP, caller=caller)) for raw in raws]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_who_comes_at_once_goes_at_once_and_the_next_gather_behind():
    slow = Slow()
    together = Together(slow)
    tasks = await ask(together, [b"000001", b"000002", b"000003"])
    assert slow.asked == [[b"000001", b"000002", b"000003"]]
    more = await ask(together, [b"000004", b"000005"])
    slow.gate.set()
    answers = await asyncio.gather(*tasks, *more)
    assert [answer.reference for answer in answers] == ["000001", "000002", "000003", "000004", "000005"]
    assert len(slow.asked) == 2, "who came meanwhile went together"
    assert sorted(raw for raws in slow.asked for raw in raws) == [f"00000{n}".encode() for n in range(1, 6)]


async def test_a_refusal_is_of_one_alone():
    slow = Slow()
    slow.breaks[b"000003"] = Refused([Fault("#", "x", "y")])
    together = Together(slow)
    first = await ask(together, [b"000001"])
    tasks = await ask(together, [b"000002", b"000003", b"000004"])
    slow.gate.set()
    await first[0]
    two, three, four = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(two, Accepted)
    assert isinstance(four, Accepted)
    assert isinstance(three, Refused)


async def test_the_defect_of_one_is_not_the_answer_of_the_others():
    slow = Slow()
    slow.breaks[b"000003"] = RuntimeError("a defect")
    together = Together(slow)
    first = await ask(together, [b"000001"])
    tasks = await ask(together, [b"000002", b"000003"])
    slow.gate.set()
    await first[0]
    two, three = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(two, Accepted)
    assert isinstance(three, RuntimeError)
    assert slow.asked == [[b"000001"], [b"000002", b"000003"], [b"000002"], [b"000003"]]


async def test_a_database_that_is_away_is_told_to_all_and_not_asked_again():
    slow = Slow()
    slow.breaks[b"000002"] = OperationalError("", {}, Exception())
    together = Together(slow)
    first = await ask(together, [b"000001"])
    tasks = await ask(together, [b"000002", b"000003"])
    slow.gate.set()
    await first[0]
    assert [type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == [OperationalError] * 2
    assert len(slow.asked) == 2


async def test_who_goes_away_does_not_take_the_others_along():
    slow = Slow()
    together = Together(slow)
    first = await ask(together, [b"000001"])
    tasks = await ask(together, [b"000002", b"000003"])
    tasks[0].cancel()
    first[0].cancel()
    with suppress(asyncio.CancelledError):
        await first[0]
    slow.gate.set()
    assert (await tasks[1]).reference == "000003"
    assert slow.asked == [[b"000001"], [b"000002", b"000003"]], "it is stored all the same"


async def test_callers_do_not_mix_and_large_ones_go_alone():
    slow = Slow()
    together = Together(slow)
    large = b"000009" + b" " * 40_000
    mine = await ask(together, [b"000001"])
    theirs = await ask(together, [b"000002"], OTHER)
    big = await ask(together, [large])
    assert slow.asked == [[b"000001"], [b"000002"], [large]]
    slow.gate.set()
    await asyncio.gather(*mine, *theirs, *big)


@pytest.mark.parametrize("count", [1, 7, 200])
async def test_all_are_answered_whatever_their_number(count):
    slow = Slow()
    slow.gate.set()
    together = Together(slow)
    raws = [f"{number:06d}".encode() for number in range(1, count + 1)]
    answers = await asyncio.gather(*(together.accept(raw, route=Route.HTTP, caller=ONE) for raw in raws))
    assert [answer.reference for answer in answers] == [raw.decode() for raw in raws]
    assert max(map(len, slow.asked)) <= 50
    assert not together._lines
