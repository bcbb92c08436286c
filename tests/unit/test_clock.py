"""The clock: a process goes by the database's time, whatever its own clock says or is set to."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bode.clock import Clock

TRUE = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Machine:
    """A machine with a clock that can be wrong and be set, and a timer that only runs."""

    def __init__(self, ahead=timedelta(0)):
        self.ahead, self.true, self.passed, self.answer_takes = ahead, TRUE, 50.0, 0.0

    def wall(self):
        return self.true + self.ahead

    def timer(self):
        return self.passed

    def wait(self, seconds):
        self.true += timedelta(seconds=seconds)
        self.passed += seconds

    async def database(self):
        self.wait(self.answer_takes / 2)
        told = self.true
        self.wait(self.answer_takes / 2)
        return told

    def clock(self, **options):
        return Clock(wall=self.wall, timer=self.timer, **options)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, timedelta(days=400), timedelta(0)])
async def test_a_wrong_clock_does_not_matter_once_the_database_was_asked(ahead):
    machine = Machine(ahead)
    clock = machine.clock()
    assert clock.real() == TRUE + ahead
    assert await clock.agree(machine.database) == ahead
    machine.wait(30)
    assert clock.real() == clock.now() == machine.true


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_clock_that_jumps_an_hour_moves_nothing(jump):
    machine = Machine()
    clock = machine.clock()
    await clock.agree(machine.database)
    machine.ahead = jump
    assert clock.real() == machine.true
    assert await clock.agree(machine.database) == jump
    assert clock.real() == machine.true


async def test_the_answer_is_taken_for_half_way_between_question_and_answer():
    machine = Machine()
    machine.answer_takes = 0.6
    clock = machine.clock()
    await clock.agree(machine.database)
    assert abs(clock.real() - machine.true) < timedelta(milliseconds=1)


async def test_a_slow_answer_is_used_only_when_there_is_no_other():
    machine = Machine()
    clock = machine.clock()
    machine.answer_takes = 30
    await clock.agree(machine.database)
    assert abs(clock.real() - machine.true) < timedelta(seconds=1)

    async def answers_late_and_wrong():
        machine.wait(30)
        return machine.true + HOUR

    await clock.agree(answers_late_and_wrong)
    assert abs(clock.real() - machine.true) < timedelta(seconds=1)


async def test_a_fast_clock_of_a_demonstration_runs_on_the_agreed_time():
    machine = Machine(HOUR)
    clock = machine.clock(factor=3600, origin=TRUE)
    await clock.agree(machine.database)
    machine.wait(1)
    assert clock.now() == TRUE + HOUR


async def test_a_database_that_is_away_leaves_the_timer_counting():
    machine = Machine(HOUR)
    clock, asked = machine.clock(), []
    await clock.agree(machine.database)

    async def away():
        asked.append(1)
        machine.wait(1)
        raise OSError("away")

    keeping = asyncio.create_task(clock.keep_agreeing(away, 0))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(asked) > 2
    assert not keeping.done()
    keeping.cancel()
    assert clock.real() == machine.true
