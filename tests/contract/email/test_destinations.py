"""Limits per mail provider: how many at a time, how many a minute."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from bode_adapters.contract import MailRefused, Placed, Unavailable
from bode_adapters.email import call
from bode_adapters.email.destinations import Destinations, Group
from bode_adapters.email.mock import MockMailServer
from bode_adapters.email.mock_session import Session
from bode_adapters.email.settings import Destination
from bode_adapters.testing.notifier import notice

from .parts import all_timeouts, opened

MICROSOFT = {"domains": ["outlook.example", "hotmail.example"]}


class Watching(MockMailServer):
    """Counts how many mails to each domain are on their way at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def at_rcpt(self, session: Session, recipient: str) -> str:
        domain = recipient.rpartition("@")[2]
        self.under_way[domain] += 1
        self.most[domain] = max(self.most[domain], self.under_way[domain])
        return super().at_rcpt(session, recipient)

    def at_dot(self, session: Session, data: bytes) -> tuple[str | None, float]:
        for recipient in session.recipients:
            asyncio.get_running_loop().call_later(0.01, self.under_way.subtract, [recipient.rpartition("@")[2]])
        reply, _ = super().at_dot(session, data)
        return reply, 0.01


async def test_a_provider_gets_no_more_at_a_time_than_allowed_and_the_others_are_not_held_up() -> None:
    mails = [notice(f"jan{at}@{domain}") for at in range(6) for domain in ("outlook.example", "ziggo.example")]
    async with (
        Watching() as server,
        opened(server, connections=4, destinations=[{"domains": ["outlook.example"], "concurrency": 1}]) as notifier,
    ):
        answers = await notifier.notify(notices=mails)
    assert all(isinstance(answer, Placed) for answer in answers)
    assert server.most["outlook.example"] == 1
    assert server.most["ziggo.example"] > 1


async def test_a_limit_holds_over_calls_at_the_same_time() -> None:
    limits = [MICROSOFT | {"concurrency": 2}]
    async with Watching() as server, opened(server, connections=4, destinations=limits) as notifier:
        calls = [[notice(f"jan{at}@outlook.example") for at in range(4)] for _ in range(3)]
        given = await asyncio.gather(*(notifier.notify(notices=mails) for mails in calls))
    assert all(isinstance(answer, Placed) for answers in given for answer in answers)
    assert server.most["outlook.example"] <= 2


@pytest.mark.parametrize("word", ["unknown", "soft-9", "spam", "drop", "drop-rcpt"])
async def test_a_mail_that_failed_makes_room_for_the_next(word: str) -> None:
    limits = [{"domains": ["*"], "concurrency": 1}]
    async with MockMailServer() as server, opened(server, connections=2, destinations=limits) as notifier:
        answers = await notifier.notify(notices=[notice(f"{who}@mail.example") for who in (word, "jan", word, "jan")])
    assert [isinstance(answer, Placed) for answer in answers] == [False, True, False, True]


async def test_what_a_relay_in_trouble_left_makes_room_again() -> None:
    limits = [{"domains": ["*"], "concurrency": 1}]
    async with MockMailServer() as server, opened(server, destinations=limits) as notifier:
        server.replies["connect"] = "450 4.3.2 no"
        away = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(3)])
        assert all(isinstance(answer, MailRefused) for answer in away)
        server.replies.clear()
        back = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(3)])
        assert all(isinstance(answer, Placed) for answer in back)


async def test_what_is_over_the_rate_for_longer_than_a_call_waits_is_told_when_to_come_back(
    server: MockMailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "PATIENCE_SECONDS", 0.2)
    limits = [MICROSOFT | {"per_minute": 6}]
    mails = [notice("a@hotmail.example"), notice("b@outlook.example"), notice("c@ziggo.example")]
    async with opened(server, destinations=limits) as notifier:
        first, second, other = await notifier.notify(notices=mails)
    assert isinstance(first, Placed)
    assert isinstance(other, Placed)
    assert isinstance(second, Unavailable)
    assert second.code == "destination_limit"
    assert second.retry_after == pytest.approx(10, abs=1)


async def test_what_is_a_little_over_the_rate_waits_and_goes(server: MockMailServer) -> None:
    limits = [{"domains": ["*"], "per_minute": 1200}]
    async with opened(server, destinations=limits, timeouts=all_timeouts(5)) as notifier:
        started = asyncio.get_running_loop().time()
        answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(24)])
        took = asyncio.get_running_loop().time() - started
    assert all(isinstance(answer, Placed) for answer in answers)
    assert took >= 0.15  # twenty at once, and four a twentieth of a second apart


def test_the_pace_of_a_rate_is_even_after_one_seconds_worth() -> None:
    group = Group(Destination(("a.example",), per_minute=120))
    sent = [0.0]
    now = 0.0
    group.leave(now)
    while now < 10:
        wait = group.wait(now)
        assert wait is not None
        now += wait
        group.leave(now)
        sent.append(now)
    assert sent[:2] == [0.0, 0.0]
    assert {round(later - one, 6) for one, later in itertools.pairwise(sent[1:])} == {0.5}


def test_a_rate_that_was_not_used_is_not_saved_up() -> None:
    group = Group(Destination(("a.example",), per_minute=60))
    group.leave(0)
    assert group.wait(1000) == 0
    group.leave(1000)
    assert group.wait(1000) == pytest.approx(1)


def test_domains_are_told_apart_whatever_their_letter_case_and_final_dot() -> None:
    named, others = Destination(("a.example", "b.example"), concurrency=1), Destination(("*",), concurrency=1)
    destinations = Destinations([others, named])
    assert destinations.group("A.Example.") is destinations.group("b.example")
    assert destinations.group("c.example") is destinations.group("C.EXAMPLE")
    assert destinations.group("c.example") is not destinations.group("d.example")
    assert Destinations([named]).group("c.example") is None


def test_domains_at_rest_are_forgotten_and_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bode_adapters.email.destinations.MOST_OTHERS", 3)
    now = 0.0
    destinations = Destinations([Destination(("*",), concurrency=1, per_minute=60)], monotonic=lambda: now)
    busy, sent = destinations.group("busy.example"), destinations.group("sent.example")
    assert busy is not None
    assert sent is not None
    busy.leave(0)
    sent.leave(0)
    sent.arrive()
    now = 5.0
    for at in range(5):
        destinations.group(f"{at}.example")
    assert destinations.group("busy.example") is busy
    assert destinations.group("sent.example") is not sent
