"""PIPELINING (RFC 2920): what is said ahead, what is not, and what is known of each mail when something goes wrong.

The relay is played by the test, line by line: what comes in one write is what the test waits for in one go.
"""

from __future__ import annotations

import asyncio

import pytest

from bode_adapters.contract import Document, MailRefused, Placed, RefusalKind, Refused, Unavailable, Unknown
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import notice

from .parts import Dialogue, all_timeouts, carry, message, one, opened, played

ONE_LINE = {"connections": 1, "timeouts": all_timeouts(5)}
ENVELOPE = ("MAIL", "RCPT", "DATA")


def of_domain(*names: str) -> list:
    return [notice(f"{name}@mail.example") for name in names]


async def accept(relay: Dialogue, *verbs: str) -> list[str]:
    """Hear commands in one go, and say yes to all."""
    heard = await relay.hear(*verbs)
    await relay.say(*("354 go" if verb == "DATA" else "250 ok" for verb in verbs))
    return heard


async def test_the_commands_of_a_mail_come_together_and_its_text_when_it_is_asked_for() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        await relay.silence()
        await relay.say("250 ok", "250 ok", "354 go")
        assert b"\r\nSubject: " in await relay.text()
        await relay.say("250 taken")

    async with played(relay) as port:
        assert isinstance(await one(port, **ONE_LINE), Placed)


async def test_without_pipelining_each_command_waits_for_its_reply() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("8BITMIME")
        for verb in (*ENVELOPE, None, "MAIL", "RCPT", "DATA", None):
            if verb is None:
                await relay.text()
                await relay.silence()
                await relay.say("250 taken")
            else:
                await relay.hear(verb)
                await relay.silence()
                await relay.say("354 go" if verb == "DATA" else "250 ok")

    async with played(relay) as port, opened(port, **ONE_LINE) as notifier:
        answers = await notifier.notify(notices=of_domain("a", "b"))
    assert all(isinstance(answer, Placed) for answer in answers)


async def test_the_next_mail_is_announced_behind_the_text_of_the_one_before() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        heard = await relay.hear(*ENVELOPE)
        assert heard[1] == "RCPT TO:<b@mail.example>"
        await relay.silence()
        await relay.say("250 taken", "250 ok", "250 ok", "354 go")
        await relay.text()
        await relay.silence()
        await relay.say("250 taken")

    async with played(relay) as port, opened(port, **ONE_LINE) as notifier:
        answers = await notifier.notify(notices=of_domain("a", "b"))
    assert all(isinstance(answer, Placed) for answer in answers)


async def test_a_relay_that_asks_for_the_text_of_a_mail_without_recipients_gets_a_lone_dot() -> None:
    """RFC 2920 section 3.1: it may answer 354 to DATA though it refused the recipient."""

    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        await relay.say("250 ok", "550 5.1.1 no such user", "354 go")
        assert await relay.reader.readexactly(3) == b".\r\n"
        await relay.silence()
        await relay.say("554 5.5.1 no valid recipients")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.say("250 taken")

    async with played(relay) as port, opened(port, **ONE_LINE) as notifier:
        refused, placed = await notifier.notify(notices=of_domain("a", "b"))
    assert refused == MailRefused("rcpt_to", 550, "5.1.1 no such user", "relay.test")
    assert isinstance(placed, Placed)


async def test_a_refused_mail_is_reset_together_with_the_next_and_keeps_its_own_refusal() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        await relay.say("250 ok", "550 5.1.1 no such user", "503 5.5.1 no recipients")
        await accept(relay, "RSET", *ENVELOPE)
        await relay.text()
        await relay.say("250 taken")

    async with played(relay) as port, opened(port, **ONE_LINE) as notifier:
        refused, placed = await notifier.notify(notices=of_domain("a", "b"))
    assert refused == MailRefused("rcpt_to", 550, "5.1.1 no such user", "relay.test")
    assert isinstance(placed, Placed)


async def test_a_refusal_at_mail_is_told_as_such_whatever_is_said_behind_it() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        await relay.say("550 5.1.8 bad sender", "503 5.5.1 MAIL first", "503 5.5.1 RCPT first")

    async with played(relay) as port:
        assert await one(port, **ONE_LINE) == MailRefused("mail_from", 550, "5.1.8 bad sender", "relay.test")


@pytest.mark.parametrize("behind", ["421 4.3.2 closing", "what?", ""])
async def test_a_refusal_stands_when_the_line_is_lost_behind_it(behind: str) -> None:
    async def first(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        await relay.say("250 ok", "550 5.1.1 no such user", *([behind] if behind else []))

    async def second(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.say("250 taken")

    async with played(first, second) as port, opened(port, **ONE_LINE) as notifier:
        refused, placed = await notifier.notify(notices=of_domain("a", "b"))
    assert refused == MailRefused("rcpt_to", 550, "5.1.1 no such user", "relay.test")
    assert isinstance(placed, Placed)


async def test_a_mail_announced_behind_a_text_whose_answer_is_lost_was_not_sent_and_goes_over_a_new_line() -> None:
    async def first(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.hear(*ENVELOPE)

    async def second(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        heard = await accept(relay, *ENVELOPE)
        assert heard[1] == "RCPT TO:<b@mail.example>"
        await relay.text()
        await relay.say("250 taken")

    async with played(first, second) as port, opened(port, **ONE_LINE) as notifier:
        lost, placed = await notifier.notify(notices=of_domain("a", "b"))
    assert lost == Unknown("lost_after_dot")
    assert isinstance(placed, Placed)


async def test_an_acceptance_counts_also_when_the_line_is_lost_right_behind_it() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.say("250 taken", "what?")

    async def again(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        await relay.say("250 ok", "550 5.1.1 no", "503 no")

    async with played(relay, again) as port, opened(port, **ONE_LINE) as notifier:
        placed, refused = await notifier.notify(notices=of_domain("a", "b"))
    assert isinstance(placed, Placed)
    assert isinstance(refused, MailRefused)


async def test_a_relay_that_takes_leave_between_two_mails_gets_the_second_over_a_new_line() -> None:
    async def first(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.hear(*ENVELOPE)
        await relay.say("250 taken", "421 4.7.0 one mail is enough")

    async def second(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.say("250 taken")

    async with played(first, second) as port, opened(port, **ONE_LINE) as notifier:
        answers = await notifier.notify(notices=of_domain("a", "b"))
    assert all(isinstance(answer, Placed) for answer in answers)


async def test_leave_taken_after_the_dot_is_a_refusal_of_that_mail_alone() -> None:
    async def first(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.say("421 4.3.2 closing")

    async def second(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.say("250 taken")

    async with played(first, second) as port, opened(port, **ONE_LINE) as notifier:
        refused, placed = await notifier.notify(notices=of_domain("a", "b"))
    assert refused == MailRefused("after_dot", 421, "4.3.2 closing", "relay.test")
    assert isinstance(placed, Placed)


async def test_silence_after_a_dot_is_unknown_and_what_was_announced_behind_it_was_not_tried() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.reader.read()

    async with played(relay) as port, opened(port, connections=1, timeouts={"final": 0.1}) as notifier:
        answers = await notifier.notify(notices=of_domain("a", "b"))
    assert answers == [Unknown("lost_after_dot"), Unavailable("not_tried:timeout")]


async def test_a_text_refused_after_its_dot_leaves_the_mail_behind_it_alone() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        await relay.text()
        await relay.hear(*ENVELOPE)
        await relay.say("554 5.7.1 spam", "250 ok", "250 ok", "354 go")
        await relay.text()
        await relay.say("250 taken")

    async with played(relay) as port, opened(port, **ONE_LINE) as notifier:
        refused, placed = await notifier.notify(notices=of_domain("a", "b"))
    assert refused == MailRefused("after_dot", 554, "5.7.1 spam", "relay.test")
    assert isinstance(placed, Placed)


async def test_replies_in_pieces_are_the_same_replies() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await relay.hear(*ENVELOPE)
        for byte in b"250-ok\r\n250 ok\r\n250 2.1.5 ok\r\n354 go\r\n":
            relay.writer.write(bytes([byte]))
            await relay.writer.drain()
            await asyncio.sleep(0)
        await relay.text()
        await relay.say("250 taken")

    async with played(relay) as port:
        assert isinstance(await one(port, **ONE_LINE), Placed)


async def test_a_large_message_goes_whole_with_the_next_one_announced_behind_it() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("PIPELINING")
        await accept(relay, *ENVELOPE)
        assert len(await relay.text()) > 1_000_000
        await relay.hear(*ENVELOPE)
        await relay.say("250 taken", "250 ok", "250 ok", "354 go")
        await relay.text()
        await relay.say("250 taken")

    large = message(documents=(Document("a.bin", "a/b", b"x" * 1_000_000),))
    async with played(relay) as port:
        assert isinstance(await carry(port, large, message(), **ONE_LINE), Placed)


async def test_a_mail_that_a_relay_cannot_take_is_skipped_in_the_row(server: MockMailServer) -> None:
    server.extensions = ("PIPELINING", "SIZE 1500")
    mails = [
        notice("a@mail.example"),
        notice("jürgen@mail.example"),
        notice("b@mail.example", text="x" * 2000),
        notice("c@mail.example"),
    ]
    async with opened(server, **ONE_LINE) as notifier:
        answers = await notifier.notify(notices=mails)
    assert isinstance(answers[0], Placed)
    assert answers[1] == Refused("smtputf8", RefusalKind.ADDRESSEE)
    assert answers[2] == Refused("size", RefusalKind.CONTENT)
    assert isinstance(answers[3], Placed)
    assert server.connections == 1
    assert server.improper == 0
