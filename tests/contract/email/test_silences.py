"""What a reply, a silence or a lost line in each phase is answered as, with and without reading ahead."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from bode_adapters.contract import Document, MailRefused, Placed, TimeSource, Unavailable, Unknown
from bode_adapters.email.address import Mailbox, without_addresses
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import notice

from .parts import NOW, Dialogue, all_timeouts, carry, message, one, opened, played, read

BEFORE_DOT = ("connect", "ehlo", "mail_from", "rcpt_to", "data")


@pytest.mark.parametrize("phase", [*BEFORE_DOT, "after_dot"])
@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "450 4.7.1 later", "550-5.7.1 no\r\n550 5.7.1 never"])
async def test_a_negative_reply_keeps_its_phase(either: MockMailServer, phase: str, reply: str) -> None:
    either.replies[phase] = reply
    answer = await one(either)
    assert isinstance(answer, MailRefused)
    assert (answer.phase, answer.code) == (phase, int(reply[:3]))
    assert answer.text == "\n".join(line[4:] for line in reply.split("\r\n"))
    assert answer.mta == ("127.0.0.1" if phase in {"connect", "ehlo"} else "mock.mail.test")
    assert not either.accepted


@pytest.mark.parametrize("phase", BEFORE_DOT)
async def test_a_line_lost_before_the_dot_is_unavailable(either: MockMailServer, phase: str) -> None:
    either.replies[phase] = ""
    assert await one(either) == Unavailable(f"{phase}:lost")


@pytest.mark.parametrize("phase", BEFORE_DOT)
async def test_silence_before_the_dot_is_unavailable(either: MockMailServer, phase: str) -> None:
    either.replies[phase] = None
    assert await one(either, timeouts=all_timeouts(0.1)) == Unavailable(f"timeout:{phase}")


@pytest.mark.parametrize("phase", ["connect", "ehlo", "mail_from", "rcpt_to", "data"])
async def test_what_is_no_smtp_before_the_dot_is_unavailable(either: MockMailServer, phase: str) -> None:
    either.replies[phase] = "what?"
    assert await one(either) == Unavailable(f"{phase}:malformed_reply")


@pytest.mark.parametrize("phase", ["mail_from", "rcpt_to"])
async def test_go_on_where_it_makes_no_sense_is_no_smtp(either: MockMailServer, phase: str) -> None:
    either.replies[phase] = "354 go on"
    assert await one(either) == Unavailable(f"{phase}:malformed_reply")


@pytest.mark.parametrize("word", ["drop-rcpt", "drop-data"])
async def test_a_line_dropped_at_one_recipient_is_about_that_mail(either: MockMailServer, word: str) -> None:
    async with opened(either, connections=1) as notifier:
        answers = await notifier.notify(notices=[notice(f"{who}.jan@mail.example") for who in ("a", word, "b")])
    phase = {"drop-rcpt": "rcpt_to", "drop-data": "data"}[word]
    assert answers[1] == Unavailable(f"{phase}:lost")
    assert [isinstance(answer, Placed) for answer in answers] == [True, False, True]
    assert len(either.accepted) == 2


@pytest.mark.parametrize("reply", ["", None, "what?", "354 go on"])
async def test_no_word_after_the_dot_is_unknown(either: MockMailServer, reply: str | None) -> None:
    either.replies["after_dot"] = reply
    assert await one(either, timeouts=all_timeouts(0.1)) == Unknown("lost_after_dot")


async def test_a_small_mail_of_which_the_line_broke_in_the_middle_is_unknown(either: MockMailServer) -> None:
    """It left us whole: how much of it arrived, only the other side knows."""
    assert await one(either, notice("drop-body@mail.example")) == Unknown("lost_after_dot")
    assert not either.accepted


async def test_a_slow_acceptance_is_unknown_when_it_takes_too_long(either: MockMailServer) -> None:
    assert await one(either, notice("slow@mail.example"), timeouts={"final": 0.1}) == Unknown("lost_after_dot")
    assert len(either.accepted) == 1


async def test_each_phase_has_its_own_time_out(either: MockMailServer) -> None:
    either.slow_seconds = 0.3
    short = {"connect": 0.1, "command": 0.1, "data": 0.1, "final": 10}
    assert isinstance(await one(either, notice("slow@mail.example"), timeouts=short), Placed)
    either.tarpit_seconds = 0.15
    assert await one(either, timeouts=short | {"connect": 10}) == Unavailable("timeout:ehlo")


async def test_a_tarpit_slows_down_and_loses_nothing(either: MockMailServer) -> None:
    either.tarpit_seconds = 0.01
    async with opened(either, connections=2) as notifier:
        answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(4)])
    assert all(isinstance(answer, Placed) for answer in answers)


async def test_nobody_listening_is_unavailable(server: MockMailServer) -> None:
    await server.stop()
    assert await one(server) == Unavailable("connect:ECONNREFUSED")


async def test_a_name_that_is_not_known_is_unavailable(server: MockMailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    assert await one(server, host="localhost") == Unavailable("connect:name_resolution")


async def test_a_relay_that_falls_silent_costs_one_time_out_and_not_one_per_mail(either: MockMailServer) -> None:
    either.replies["mail_from"] = None
    started = time.monotonic()
    async with opened(either, connections=2, timeouts=all_timeouts(0.2)) as notifier:
        answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(40)])
    assert time.monotonic() - started < 2
    assert answers.count(Unavailable("timeout:mail_from")) == 2
    assert answers.count(Unavailable("not_tried:timeout")) == 38


async def test_a_relay_that_hangs_up_on_every_mail_is_left_alone_after_a_few(either: MockMailServer) -> None:
    either.replies["rcpt_to"] = ""
    async with opened(either, connections=1) as notifier:
        answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(40)])
    assert answers.count(Unavailable("rcpt_to:lost")) == 3
    assert answers.count(Unavailable("not_tried:lost")) == 37
    assert either.connections == 3


async def test_a_mail_that_breaks_lines_does_not_hold_up_the_others(either: MockMailServer) -> None:
    words = ["drop-rcpt", "drop-rcpt", "jan", "drop-data", "drop-rcpt", "jan", "drop", "jan"]
    async with opened(either, connections=1) as notifier:
        answers = await notifier.notify(notices=[notice(f"{word}@mail.example") for word in words])
    assert [isinstance(answer, Placed) for answer in answers] == [word == "jan" for word in words]


async def test_an_old_server_without_ehlo_is_greeted_with_helo() -> None:
    async def old(relay: Dialogue) -> None:
        await relay.say("220 old")
        await relay.hear("EHLO")
        await relay.say("502 no")
        assert await relay.hear("HELO") == ["HELO bode.example"]
        await relay.say("250 old")
        await relay.hear("MAIL")
        await relay.say("250 ok")
        assert await relay.hear("RCPT") == ["RCPT TO:<jan@mail.example>"]
        await relay.say("250 ok")
        await relay.hear("DATA")
        await relay.say("354 go")
        await relay.text()
        await relay.say("250 taken")

    async with played(old) as port:
        assert isinstance(await one(port), Placed)


async def test_an_acceptance_is_sent_at_our_time_under_our_message_id(server: MockMailServer) -> None:
    sent = notice("jan@mail.example")
    answer = await one(server, sent)
    receipt = f"<{sent.id}@voorbeeldstad.example>"
    code = "250 2.0.0 Ok: queued as 00000001"
    assert answer == Placed(NOW, TimeSource.OUR_CLOCK, receipt=receipt, code=code, by="127.0.0.1")
    assert read(server.accepted[0].data)["Message-ID"] == receipt


def test_addresses_are_left_out_of_a_reply() -> None:
    to = Mailbox("jan.jansen", "mail.example", needs_utf8=False)
    reply = "2.1.5 <jan.jansen@mail.example> and Jan.Jansen, x@y.nl ok"
    assert without_addresses(reply, to) == "2.1.5 <...> and <...>, <...> ok"


# ------------------------------------------------------------------------------------------------- large mails


@pytest.mark.parametrize("reply", ["552 5.3.4 too large", "421 4.3.2 closing", "250 what?", "", None])
async def test_a_relay_that_stops_in_the_middle_has_not_taken_a_large_message(reply: str | None) -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("8BITMIME")
        for verb, answer in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
            await relay.hear(verb)
            await relay.say(answer)
        await relay.reader.readexactly(1000)
        relay.reader._transport.pause_reading()  # type: ignore[attr-defined]
        if reply is None:
            await asyncio.Event().wait()
        if reply:
            await relay.say(reply)
        await asyncio.sleep(0.05)
        relay.writer.transport.abort()

    sent = message(documents=(Document("a.bin", "a/b", b"x" * 7_000_000),))
    async with played(relay) as port:
        answer = await carry(port, sent, timeouts=all_timeouts(0.3))
    if reply and not reply.startswith("250"):
        assert isinstance(answer, MailRefused)
        assert (answer.phase, answer.code) == ("data", int(reply[:3]))
    elif reply:
        assert answer == Unavailable("data:malformed_reply")
    else:
        assert isinstance(answer, Unavailable)
        assert answer.code in (["timeout:data"] if reply is None else ["data:lost", "data:ECONNRESET"])
