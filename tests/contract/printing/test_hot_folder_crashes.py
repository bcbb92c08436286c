"""A crash of the worker, or an error of the disk, at every step of handing letters over and of confirming reports."""

from __future__ import annotations

import errno
import json
import os
from typing import Any
from uuid import uuid4

import pytest

from bode_adapters.contract import Absent, Placed, PrintLetter, Unavailable
from bode_adapters.testing.print_service import letter, letters


class Crash(BaseException):
    """The process is gone."""


async def crashing(house: Any, disk: Any, at: int, *, after: bool, given: list[PrintLetter]) -> bool:
    """Submit and crash at a step; tells whether there was such a step."""
    disk.left, disk.after, disk.error = at, after, Crash()
    try:
        await house.service.submit(letters=given)
    except Crash:
        await house.restart()
        return True
    finally:
        disk.left = -1
    return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("taken_away", [False, True])
async def test_a_crash_at_any_step_loses_nothing_and_prints_nothing_twice(
    house: Any, watched: Any, after: bool, taken_away: bool
) -> None:
    step, crashed = 0, True
    while crashed:
        step += 1
        given = letters(3)
        crashed = await crashing(house, watched, step, after=after, given=given)
        if taken_away:
            house.printer.step()
        before = {one.id: house.taken(one.id) for one in given}
        for one, found in zip(given, await house.service.lookup(letters=given), strict=True):
            assert isinstance(found, Placed if before[one.id] else Absent)
        for _ in range(2):
            answers = await house.service.submit(letters=given)
            assert all(isinstance(answer, Placed) for answer in answers)
            if taken_away:
                house.printer.step()
        assert [house.taken(one.id) for one in given] == [1, 1, 1]
        house.printer.step()
    assert step > 15
    assert house.printer.problems == []
    assert house.names(".tmp") == []


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_during_the_repair_of_a_crash_loses_nothing_either(house: Any, watched: Any, after: bool) -> None:
    await house.service.submit(letters=[letter()])  # the folders are there: their making has been crashed before
    first, crashed = 0, True
    while crashed:
        first += 1
        second, again = 0, True
        while again:
            second += 1
            given = [letter()]
            crashed = await crashing(house, watched, first, after=after, given=given)
            again = await crashing(house, watched, second, after=after, given=given)
            await house.service.submit(letters=given)
            assert house.taken(given[0].id) == 1
            house.printer.step()
    assert first > 10
    assert house.names(".tmp") == []


async def test_a_letter_left_behind_by_a_crash_is_not_handed_over_by_a_call_that_does_not_name_it(
    house: Any, watched: Any
) -> None:
    for step in range(1, 25):
        for after in (False, True):
            given = letters(2)
            await crashing(house, watched, step, after=after, given=given)
            before = house.taken(given[0].id)
            await house.service.submit(letters=[given[1]])
            assert house.taken(given[0].id) == before
            (found,) = await house.service.lookup(letters=given[:1])
            assert isinstance(found, Placed if before else Absent)
            await house.service.submit(letters=given)
            assert [house.taken(one.id) for one in given] == [1, 1]
            house.printer.step()


async def test_a_letter_of_a_half_undone_batch_does_not_pass_for_one_of_its_successor(house: Any, watched: Any) -> None:
    await house.service.submit(letters=[letter()])  # the folders are there
    for first in range(5, 14):
        for second in range(1, 6):
            gone, stays = letters(2)
            await crashing(house, watched, first, after=True, given=[gone, stays])
            await crashing(house, watched, second, after=True, given=[stays])
            before = house.taken(gone.id)
            await house.service.submit(letters=[stays])
            (found,) = await house.service.lookup(letters=[gone])
            assert isinstance(found, Placed if before else Absent)
            await house.service.submit(letters=[gone])
            assert [house.taken(one.id) for one in (gone, stays)] == [1, 1]
            house.printer.step()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
async def test_a_disk_that_fails_at_any_step_is_unavailable_or_placed_and_nothing_in_between(
    house: Any, watched: Any, number: int
) -> None:
    await house.service.submit(letters=[letter()])
    for step in range(1, 30):
        for after in (False, True):
            given = letters(2)
            watched.left, watched.after, watched.error = step, after, OSError(number, os.strerror(number))
            answers = await house.service.submit(letters=given)
            failed = watched.left <= 0
            watched.left = -1
            code = f"folder:{errno.errorcode[number]}"
            for one, answer in zip(given, answers, strict=True):
                assert isinstance(answer, Placed) or answer == Unavailable(code)
                assert house.taken(one.id) == isinstance(answer, Placed)
            again = await house.service.submit(letters=given)
            assert all(isinstance(answer, Placed) for answer in again)
            assert [house.taken(one.id) for one in given] == [1, 1]
            house.printer.step()
            if not failed:
                return


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_while_confirming_brings_reports_again_or_not_and_never_loses_one(
    house: Any, watched: Any, after: bool
) -> None:
    for step in range(1, 12):
        name = f"{step}.json"
        lines = [json.dumps({"letter": str(uuid4()), "status": "RETURNED", "at": "2026-03-02T16:00:00Z"}) for _ in "ab"]
        house.write_report(name, "".join(f"{said}\n" for said in lines))
        keys = [report.key for report in await house.service.reports()]
        watched.left, watched.after, watched.error = step, after, Crash()
        try:
            await house.service.confirm(keys=keys)
        except Crash:
            await house.restart()
        finally:
            watched.left = -1
        again = [report.key for report in await house.service.reports()]
        assert again in ([], keys)
        await house.service.confirm(keys=again)
        assert await house.service.reports() == []
        assert name in house.names("reports/done")
    assert not [name for name in house.names("reports") if name.endswith(".json")]
