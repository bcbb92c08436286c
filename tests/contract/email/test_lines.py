"""Lines to a relay: kept, replaced, and no more of them than allowed."""

from __future__ import annotations

import asyncio

import pytest

from bode_adapters.contract import MailRefused, Placed, Unavailable
from bode_adapters.email import call
from bode_adapters.email.mock import MockMailServer
from bode_adapters.email.wire import LostError, Wire
from bode_adapters.testing.notifier import notice

from .parts import all_timeouts, one, opened, until


def jans(number: int) -> list:
    return [notice("jan@mail.example") for _ in range(number)]


async def test_lines_are_kept_and_no_more_than_allowed(either: MockMailServer) -> None:
    async with opened(either, connections=3) as notifier:
        for _ in range(3):
            await notifier.notify(notices=[notice(f"full.{at % 2}@mail.example") for at in range(20)])
            await notifier.notify(notices=jans(20))
        assert either.connections == len(either.sessions) == 3
    assert len(either.accepted) == 60


async def test_a_line_carries_no_more_mails_than_a_connection_may(either: MockMailServer) -> None:
    async with opened(either, connections=1, mails_per_connection=3) as notifier:
        answers = await notifier.notify(notices=jans(8))
        assert all(isinstance(answer, Placed) for answer in answers)
        assert either.connections == 3
        await notifier.notify(notices=jans(1))
        assert either.connections == 3
        await notifier.notify(notices=jans(1))
        assert either.connections == 4
    assert list(either.heard).count("QUIT") == 4


async def test_leave_is_taken_of_the_relay(either: MockMailServer) -> None:
    await one(either)
    assert list(either.heard)[-1] == "QUIT"


async def test_a_kept_line_that_was_closed_is_replaced(either: MockMailServer) -> None:
    async with opened(either, connections=1) as notifier:
        await notifier.notify(notices=jans(1))
        either.close_sessions()
        (answer,) = await notifier.notify(notices=jans(1))
    assert isinstance(answer, Placed)
    assert either.connections == 2


async def test_a_kept_line_on_which_the_relay_takes_leave_is_replaced(either: MockMailServer) -> None:
    async with opened(either, connections=1) as notifier:
        await notifier.notify(notices=jans(1))
        either.replies["mail_from"] = "421 4.7.0 enough for one connection"
        (answer,) = await notifier.notify(notices=jans(1))
    assert isinstance(answer, MailRefused)
    assert answer.code == 421
    assert either.connections == 2


async def test_a_line_that_stays_idle_is_closed(either: MockMailServer) -> None:
    async with opened(either, idle_seconds=0.02) as notifier:
        await notifier.notify(notices=jans(8))
        await until(lambda: not either.sessions)
        (answer,) = await notifier.notify(notices=jans(1))
    assert isinstance(answer, Placed)


async def test_a_line_that_was_idle_for_a_while_is_asked_first(
    either: MockMailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bode_adapters.email.connection.TRUSTED_IDLE_SECONDS", -1.0)
    async with opened(either, connections=1, timeouts=all_timeouts(5)) as notifier:
        for _ in range(2):
            (answer,) = await notifier.notify(notices=jans(1))
            assert isinstance(answer, Placed)
        assert either.connections == 1
        either.replies["rset"] = "421 4.3.2 closing"
        (answer,) = await notifier.notify(notices=jans(1))
        assert isinstance(answer, Placed)
        assert either.connections == 2


async def test_a_line_on_which_something_was_said_meanwhile_is_not_used_again(either: MockMailServer) -> None:
    async with opened(either, connections=1) as notifier:
        await notifier.notify(notices=jans(1))
        (session,) = either.sessions
        session._write("250 what nobody asked")
        await asyncio.sleep(0.01)
        (answer,) = await notifier.notify(notices=jans(1))
    assert isinstance(answer, Placed)
    assert either.connections == 2


async def test_a_line_lost_at_the_moment_of_writing_has_sent_nothing(
    server: MockMailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise LostError

    write = Wire.write
    monkeypatch.setattr(Wire, "write", lambda self, data: (gone if data.startswith(b"From: ") else write)(self, data))
    assert await one(server) == Unavailable("data:lost")


async def test_a_relay_that_takes_fewer_lines_than_allowed_gets_everything_over_those(either: MockMailServer) -> None:
    either.most_sessions = 1
    async with opened(either, connections=4) as notifier:
        answers = await notifier.notify(notices=jans(20))
    assert all(isinstance(answer, Placed) for answer in answers)


async def test_a_cancelled_call_leaves_no_half_open_line_behind(either: MockMailServer) -> None:
    either.replies["data"] = None
    async with opened(either, connections=1) as notifier:
        sending = asyncio.create_task(notifier.notify(notices=jans(1)))
        await until(lambda: "DATA" in either.heard)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        either.replies.clear()
        (answer,) = await notifier.notify(notices=jans(1))
    assert isinstance(answer, Placed)
    assert either.connections == 2


async def test_a_call_that_lasts_long_hands_out_no_more_mail(
    either: MockMailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker lets a call take so long and no longer: then all of its mails would be unknown, and go out twice."""
    monkeypatch.setattr(call, "PATIENCE_SECONDS", 0.2)
    either.slow_seconds = 0.5
    mails = [notice(f"{word}@mail.example") for word in ("slow", "jan", "jan", "jan")]
    async with opened(either, connections=1) as notifier:
        first, *others, last = await notifier.notify(notices=mails)
    assert isinstance(first, Placed)
    assert last == Unavailable("not_tried")
    assert len(either.accepted) == 1 + sum(isinstance(one, Placed) for one in others)


async def test_calls_at_the_same_time_share_the_lines(either: MockMailServer) -> None:
    async with opened(either, connections=2) as notifier:
        calls = await asyncio.gather(*(notifier.notify(notices=jans(10)) for _ in range(5)))
    assert all(isinstance(answer, Placed) for answers in calls for answer in answers)
    assert either.connections == 2
