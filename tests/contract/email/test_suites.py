"""The suites that every notifier and every carrier passes, over the mock mail server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from bode_adapters.contract import BoxMessage, Identifier, MailRefused, Placed
from bode_adapters.email import SmtpCarrier, SmtpNotifier
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.box import BoxSuite, Lacks, OtherSide
from bode_adapters.testing.notifier import SENDER, Behaviour, NotifierSuite

from .parts import PLAIN, all_timeouts, clock, opened, settings

WORDS = {
    Behaviour.ACCEPTS: "ontvanger",
    Behaviour.UNKNOWN_USER: "unknown",
    Behaviour.MAILBOX_FULL: "full",
    Behaviour.SOFT_ONCE: "soft-1",
    Behaviour.BLOCKED: "spam",
    Behaviour.LOST: "drop",
}


class SmtpStage:
    def __init__(self, notifier: SmtpNotifier, *servers: MockMailServer) -> None:
        self.notifier = notifier
        self.servers = servers

    def address(self, behaviour: Behaviour, name: str) -> str:
        return f"{WORDS[behaviour]}.{name}@mail.example"

    def arrived(self, sent: UUID) -> int:
        return sum(f"<{sent}@".encode() in mail.data for server in self.servers for mail in server.accepted)

    async def down(self) -> None:
        for server in self.servers:
            await server.stop()

    async def up(self) -> None:
        for server in self.servers:
            await server.start()


class TestNotifier(NotifierSuite):
    @pytest.fixture
    async def stage(self, server: MockMailServer) -> AsyncIterator[SmtpStage]:
        async with opened(server) as notifier:
            yield SmtpStage(notifier, server)


class TestNotifierOverOneLine(NotifierSuite):
    @pytest.fixture
    async def stage(self, server: MockMailServer) -> AsyncIterator[SmtpStage]:
        async with opened(server, connections=1) as notifier:
            yield SmtpStage(notifier, server)


class TestNotifierStepByStep(NotifierSuite):
    """A relay that offers nothing at all."""

    @pytest.fixture
    async def stage(self) -> AsyncIterator[SmtpStage]:
        async with MockMailServer(extensions=()) as server, opened(server, connections=2) as notifier:
            yield SmtpStage(notifier, server)


class TestNotifierOverTwoRelays(NotifierSuite):
    """Two relays that share the work, and limits that are never reached."""

    @pytest.fixture
    async def stage(self, server: MockMailServer) -> AsyncIterator[SmtpStage]:
        async with MockMailServer(extensions=("PIPELINING", *PLAIN)) as other:
            other.attempts = server.attempts
            relays = [{"host": "127.0.0.1", "port": one.port} for one in (server, other)]
            limits = [{"domains": ["*"], "concurrency": 500}]
            table = {"relays": relays, "tls": "none", "helo_name": "bode.example", "destinations": limits}
            notifier = SmtpNotifier.from_settings(table, clock=clock)
            await notifier.open()
            yield SmtpStage(notifier, server, other)
            await notifier.close()


class MailSide:
    """A mail server as the other side of a carrier: a box without lookup, check or words of its own."""

    def __init__(self, server: MockMailServer, box: SmtpCarrier) -> None:
        self.server = server
        self.box = box
        self.sender = SENDER

    async def make_unreachable(self, addressee: Identifier) -> None:
        self.server.rcpt_replies[address_of(addressee)] = "550 5.1.1 unknown"

    async def answer_about(self, addressee: Identifier, word: str) -> None:
        self.server.rcpt_replies[address_of(addressee)] = f"599 {word}"

    async def be_busy(self) -> None:
        self.server.replies["mail_from"] = "451 4.3.2 busy"

    async def behave(self) -> None:
        self.server.replies.clear()

    async def go_away(self) -> None:
        await self.server.stop()

    async def fall_silent(self) -> None:
        self.server.replies["after_dot"] = None

    async def times_placed(self, message: BoxMessage) -> int:
        mine = f"{message.id}."
        return sum((mail.envelope_id or "").startswith(mine) for mail in self.server.accepted)


def address_of(addressee: Identifier) -> str:
    return f"a{addressee.number}@mail.example"


class TestCarrier(BoxSuite):
    """What a mail server says about an addressee is a reply for Bode's bounce rules, not a refusal of a box."""

    lacks = frozenset(
        {
            Lacks.CHECK,
            Lacks.LOOKUP,
            Lacks.RECOGNISED_REPEATS,
            Lacks.FINDING_OUT,
            Lacks.ADDRESSEES_IT_REFUSES,
            Lacks.PUBLICATION,
        }
    )

    @asynccontextmanager
    async def other_side(self) -> AsyncIterator[MailSide]:
        async with MockMailServer() as server:
            carrier = SmtpCarrier.from_settings(
                settings(server.port, timeouts=all_timeouts(0.5) | {"final": 1.5}), clock=clock
            )
            await carrier.open()
            yield MailSide(server, carrier)
            await carrier.close()

    def _messages(self, side: OtherSide, number: int, **changes: object) -> list[BoxMessage]:
        made = super()._messages(side, number, **changes)
        return [
            replace(one, email=address_of(one.addressee), return_path="bounce+1@voorbeeldstad.example") for one in made
        ]

    async def test_an_unreachable_addressee_is_refused_and_the_others_are_placed(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 3)
            await side.make_unreachable(messages[1].addressee)
            first, refused, last = await side.box.place(messages=messages)
            assert isinstance(first, Placed)
            assert refused == MailRefused("rcpt_to", 550, "5.1.1 unknown", "mock.mail.test")
            assert isinstance(last, Placed)

    async def test_an_unknown_word_is_kept_and_not_guessed(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 1)
            await side.answer_about(messages[0].addressee, "wat")
            assert list(await side.box.place(messages=messages)) == [
                MailRefused("rcpt_to", 599, "wat", "mock.mail.test")
            ]

    async def test_a_busy_other_side_is_unavailable_and_the_next_try_places_once(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 1)
            await side.be_busy()
            (busy,) = await side.box.place(messages=messages)
            assert busy == MailRefused("mail_from", 451, "4.3.2 busy", "mock.mail.test")
            await side.behave()
            (answer,) = await side.box.place(messages=messages)
            assert isinstance(answer, Placed)
            assert await side.times_placed(messages[0]) == 1

    async def test_no_personal_data_in_answers_or_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.other_side() as side:
            messages = self._messages(side, 3)
            await side.make_unreachable(messages[0].addressee)
            answers = await side.box.place(messages=messages)
            messages = [replace(message, email="geen adres") for message in messages]
            answers = [*answers[1:], *await side.box.place(messages=messages)]
            for message in messages:
                for secret in (message.addressee.number, message.subject, message.text, "geen adres"):
                    assert secret not in repr(answers)
                    assert secret not in caplog.text
