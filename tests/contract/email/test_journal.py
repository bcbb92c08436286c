"""What the mail adapters tell a journal: each mail right before its final dot, and what became of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import pytest

from bode_adapters.contract import Answer, MailRefused, Placed, Unavailable, Unknown
from bode_adapters.email import SmtpCarrier, SmtpNotifier
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import notice

from .parts import Dialogue, all_timeouts, clock, message, opened, played, settings


class Told:
    """A journal that keeps what it is told, in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, UUID]] = []
        self.full = False

    def leaves(self, item: UUID) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines.append(("leaves", item))

    def ended(self, item: UUID, answer: Answer) -> None:
        self.lines.append((type(answer).__name__, item))


async def test_each_mail_is_told_of_before_its_dot_and_after_the_reply(either: MockMailServer) -> None:
    told, notices = Told(), [notice(f"jan{number}@mail.example") for number in range(20)]
    async with opened(either) as notifier:
        notifier.keep_journal(told)
        answers = await notifier.notify(notices=notices)
    assert all(isinstance(answer, Placed) for answer in answers)
    for one in notices:
        assert [what for what, item in told.lines if item == one.id] == ["leaves", "Placed"]


async def test_a_mail_whose_recipient_is_refused_never_left(either: MockMailServer) -> None:
    told, refused = Told(), notice("unknown@mail.example")
    async with opened(either) as notifier:
        notifier.keep_journal(told)
        (answer,) = await notifier.notify(notices=[refused])
    assert isinstance(answer, MailRefused)
    assert told.lines == [("MailRefused", refused.id)]


@pytest.mark.parametrize("pipelining", [True, False])
async def test_nothing_is_told_before_the_relay_asked_for_the_text_and_what_was_cut_off_has_no_end(
    pipelining: bool,
) -> None:
    told, heard = Told(), asyncio.Event()

    async def relay(relay: Dialogue) -> None:
        await relay.greet(*(["PIPELINING"] if pipelining else ["8BITMIME"]))
        for verbs in [("MAIL", "RCPT", "DATA")] if pipelining else [("MAIL",), ("RCPT",), ("DATA",)]:
            await relay.hear(*verbs)
            assert told.lines == []
            await relay.say(*("354 go" if verb == "DATA" else "250 ok" for verb in verbs))
        await relay.text()
        heard.set()
        await asyncio.Event().wait()

    sent = notice("jan@mail.example")
    async with played(relay) as port, opened(port, connections=1, timeouts=all_timeouts(30)) as notifier:
        notifier.keep_journal(told)
        sending = asyncio.create_task(notifier.notify(notices=[sent]))
        await asyncio.wait_for(heard.wait(), 10)
        assert told.lines == [("leaves", sent.id)]
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    assert told.lines == [("leaves", sent.id)]


async def test_a_lost_line_after_the_dot_is_told_as_unknown(either: MockMailServer) -> None:
    told, dropped = Told(), notice("drop.jan@mail.example")
    async with opened(either) as notifier:
        notifier.keep_journal(told)
        (answer,) = await notifier.notify(notices=[dropped])
    assert isinstance(answer, Unknown)
    assert told.lines == [("leaves", dropped.id), ("Unknown", dropped.id)]


async def test_a_mail_that_cannot_be_noted_does_not_leave(either: MockMailServer) -> None:
    told = Told()
    told.full = True
    async with opened(either, connections=1) as notifier:
        notifier.keep_journal(told)
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
    assert isinstance(answer, Unavailable)
    assert not either.accepted


async def test_a_carrier_tells_of_its_messages_too(server: MockMailServer) -> None:
    told, sent = Told(), message()
    carrier = SmtpCarrier.from_settings(settings(server.port), clock=clock)
    await carrier.open()
    carrier.keep_journal(told)
    try:
        (answer,) = await carrier.place(messages=[sent])
    finally:
        await carrier.close()
    assert isinstance(answer, Placed)
    assert told.lines == [("leaves", sent.id), ("Placed", sent.id)]


def test_both_keep_journals() -> None:
    from bode_adapters.contract import KeepsJournal

    assert issubclass(SmtpNotifier, KeepsJournal)
    assert issubclass(SmtpCarrier, KeepsJournal)
