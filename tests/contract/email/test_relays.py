"""Several relays: who goes first, who takes over what, and who is left alone for a while."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bode_adapters.contract import MailRefused, Placed, RefusalKind, Refused, Unavailable, Unknown
from bode_adapters.email import SmtpNotifier
from bode_adapters.email.mock import MockMailServer
from bode_adapters.email.relays import Relays
from bode_adapters.email.settings import SmtpSettings
from bode_adapters.testing.notifier import notice

from .parts import NOW, all_timeouts


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def first() -> AsyncIterator[MockMailServer]:
    async with MockMailServer() as server:
        yield server


@pytest.fixture
async def second() -> AsyncIterator[MockMailServer]:
    async with MockMailServer() as server:
        yield server


@asynccontextmanager
async def over(*servers: MockMailServer, time: Time, **changes: object) -> AsyncGenerator[SmtpNotifier]:
    """Give a notifier over relays, in the order given."""
    names = ("127.0.0.1", "localhost")
    relays = [
        {"host": name, "port": server.port, "priority": at}
        for at, (name, server) in enumerate(zip(names, servers, strict=False))
    ]
    table = {"relays": relays, "tls": "none", "helo_name": "bode.example", "connections": 2} | changes
    notifier = SmtpNotifier.from_settings(table, clock=time)
    await notifier.open()
    try:
        yield notifier
    finally:
        await notifier.close()


async def send(notifier: SmtpNotifier, *words: str) -> list:
    return list(await notifier.notify(notices=[notice(f"{word}@mail.example") for word in words or ("jan",)]))


async def test_the_first_relay_gets_all_and_the_answer_tells_who_took_it(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    async with over(first, second, time=time) as notifier:
        answers = await send(notifier, *["jan"] * 10)
    assert [answer.by for answer in answers] == ["127.0.0.1"] * 10
    assert (len(first.accepted), second.connections) == (10, 0)


@pytest.mark.parametrize("phase", ["connect", "ehlo", "mail_from", "rcpt_to", "data"])
@pytest.mark.parametrize("reply", ["", "421 4.3.2 closing", None, "what?"])
async def test_what_a_relay_in_trouble_did_not_take_goes_to_the_next(
    first: MockMailServer, second: MockMailServer, time: Time, phase: str, reply: str | None
) -> None:
    first.replies[phase] = reply
    async with over(first, second, time=time, timeouts=all_timeouts(0.2)) as notifier:
        answers = await send(notifier, "a", "b", "c")
    assert [answer.by for answer in answers] == ["localhost"] * 3
    assert (len(first.accepted), len(second.accepted)) == (0, 3)


@pytest.mark.parametrize("reply", ["451 4.3.2 busy", "452 4.3.1 no room"])
async def test_a_relay_that_is_busy_at_mail_passes_it_on(
    first: MockMailServer, second: MockMailServer, time: Time, reply: str
) -> None:
    first.replies["mail_from"] = reply
    async with over(first, second, time=time) as notifier:
        assert [answer.by for answer in await send(notifier, "a", "b")] == ["localhost"] * 2


@pytest.mark.parametrize(
    ("phase", "reply"),
    [
        ("mail_from", "550 5.1.8 bad sender"),
        ("rcpt_to", "550 5.1.1 unknown"),
        ("rcpt_to", "451 4.7.1 greylisted"),
        ("data", "554 5.5.1 no"),
        ("after_dot", "554 5.7.1 spam"),
        ("after_dot", "451 4.3.0 later"),
        ("after_dot", "421 4.3.2 closing"),
    ],
)
async def test_what_is_said_of_a_mail_is_its_answer_and_no_other_relay_is_asked(
    first: MockMailServer, second: MockMailServer, time: Time, phase: str, reply: str
) -> None:
    first.replies[phase] = reply
    async with over(first, second, time=time) as notifier:
        (answer,) = await send(notifier)
    assert answer == MailRefused(phase, int(reply[:3]), reply[4:], "mock.mail.test")
    assert second.connections == 0


@pytest.mark.parametrize("reply", ["", None, "what?"])
async def test_after_the_dot_nothing_goes_to_another_relay(
    first: MockMailServer, second: MockMailServer, time: Time, reply: str | None
) -> None:
    first.replies["after_dot"] = reply
    async with over(first, second, time=time, timeouts=all_timeouts(0.2)) as notifier:
        (answer,) = await send(notifier)
    assert answer == Unknown("lost_after_dot")
    assert not second.accepted


async def test_one_call_has_answers_of_both_relays(first: MockMailServer, second: MockMailServer, time: Time) -> None:
    async with over(first, second, time=time, connections=1) as notifier:
        answers = await send(notifier, "jan", "drop-rcpt", "unknown", "drop", "jan")
    assert [type(answer) for answer in answers] == [Placed, Unavailable, MailRefused, Unknown, Placed]
    assert second.accepted.maxlen
    assert next(line for line in second.heard if line.startswith("RCPT")).startswith("RCPT TO:<drop-rcpt@")


async def test_what_one_relay_does_not_offer_another_may(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    first.extensions = ("SIZE 300",)
    async with over(first, second, time=time) as notifier:
        assert [answer.by for answer in await send(notifier, "jürgen", "jan")] == ["localhost"] * 2
        await second.stop()
        assert await send(notifier, "jürgen") == [Unavailable("connect:ECONNREFUSED")]
        await second.start()
        second.extensions = ()
        time.passes(3600)
        assert await send(notifier, "jürgen") == [Refused("smtputf8", RefusalKind.ADDRESSEE)]


async def test_a_relay_with_a_wrong_certificate_is_passed_by_and_told_of(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    """Its own rules hold for each relay: the second here is one on this machine."""
    relays = [
        {"host": "127.0.0.1", "port": first.port, "tls": "starttls"},
        {"host": "localhost", "port": second.port, "tls": "none", "priority": 20},
    ]
    notifier = SmtpNotifier.from_settings({"relays": relays, "helo_name": "bode.example"}, clock=time)
    with capture_logs() as logs:
        (answer,) = await send(notifier)
    await notifier.close()
    assert answer.by == "localhost"
    (event,) = logs
    assert event == {
        "event": "relay.rests",
        "log_level": "warning",
        "relay": "127.0.0.1",
        "code": "tls:not_offered",
        "seconds": 30,
    }


async def test_when_no_relay_works_each_mail_has_the_answer_of_one_that_may_work_later(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    await first.stop()
    second.replies["ehlo"] = "450 4.3.2 not now"
    async with over(first, second, time=time) as notifier:
        assert await send(notifier, "a", "b") == [Unavailable("connect:ECONNREFUSED")] * 2


async def test_a_relay_that_is_down_is_left_alone_for_a_while_longer_each_time(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    async with over(first, second, time=time) as notifier:
        first.replies["connect"] = "421 4.3.2 down"
        await send(notifier)
        assert first.connections == 1
        for rest in (30, 60, 120, 240, 480, 600, 600):
            tried = first.connections
            time.passes(rest - 1)
            await send(notifier)
            assert first.connections == tried
            time.passes(1)
            await send(notifier)
            assert first.connections == tried + 1
        first.replies.clear()
        time.passes(600)
        with capture_logs() as logs:
            (answer,) = await send(notifier)
        assert answer.by == "127.0.0.1"
        assert [event["event"] for event in logs] == ["relay.works_again"]
        first.replies["connect"] = "421 4.3.2 down"
        first.close_sessions()
        await send(notifier)
        time.passes(30)
        first.replies.clear()
        (answer,) = await send(notifier)
        assert answer.by == "127.0.0.1"


async def test_calls_at_the_same_time_that_find_a_relay_down_count_once(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    first.replies["connect"] = "421 4.3.2 down"
    async with over(first, second, time=time, connections=1) as notifier:
        await asyncio.gather(*(send(notifier) for _ in range(5)))
        tried = first.connections
        assert tried > 1
        time.passes(30)
        await send(notifier)
        assert first.connections == tried + 1


async def test_a_relay_at_rest_is_tried_all_the_same_when_no_other_works(
    first: MockMailServer, second: MockMailServer, time: Time
) -> None:
    async with over(first, second, time=time) as notifier:
        first.replies["connect"] = "421 4.3.2 down"
        await send(notifier)
        first.replies.clear()
        await second.stop()
        (answer,) = await send(notifier)
    assert answer.by == "127.0.0.1"


async def test_a_relay_alone_is_always_tried(first: MockMailServer, time: Time) -> None:
    async with over(first, time=time) as notifier:
        first.replies["connect"] = "421 4.3.2 down"
        await send(notifier)
        first.replies.clear()
        (answer,) = await send(notifier)
    assert isinstance(answer, Placed)


async def test_relays_of_one_priority_share_by_weight_and_a_lower_one_waits() -> None:
    table = {
        "relays": [
            {"host": "a.example", "weight": 3},
            {"host": "b.example"},
            {"host": "c.example", "weight": 2},
            {"host": "reserve.example", "priority": 20, "weight": 1000},
        ]
    }
    relays = Relays(SmtpSettings.read(table), clock=Time())
    orders = [[pool.relay.host[0] for pool in relays.order()] for _ in range(60)]
    assert Counter(order[0] for order in orders) == {"a": 30, "c": 20, "b": 10}
    assert {order[3] for order in orders} == {"r"}
    assert all(sorted(order) == ["a", "b", "c", "r"] for order in orders)
    assert all(one[0] != "b" or other[0] != "b" for one, other in itertools.pairwise(orders))
