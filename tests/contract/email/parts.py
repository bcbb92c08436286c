"""What the tests of the e-mail adapters share: a notifier or carrier over loopback, and mails read back."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from uuid import uuid4

from bode_adapters.contract import Answer, BoxMessage, Identifier, IdentifierKind, NoticeMail
from bode_adapters.email import SmtpCarrier, SmtpNotifier, mime
from bode_adapters.email.address import mailbox
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import SENDER, notice

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PLAIN = ("DSN", "SIZE 35882577", "8BITMIME", "SMTPUTF8")
"""The extensions of a relay without PIPELINING."""


def clock() -> datetime:
    return NOW


def settings(port: int, **changes: object) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "tls": "none", "connections": 4, "helo_name": "bode.example"} | changes


def all_timeouts(seconds: float) -> dict[str, float]:
    return dict.fromkeys(("connect", "command", "data", "final"), seconds)


@asynccontextmanager
async def opened(server: MockMailServer | int, **changes: object) -> AsyncGenerator[SmtpNotifier]:
    """Give a notifier for the length of an `async with`."""
    port = server if isinstance(server, int) else server.port
    notifier = SmtpNotifier.from_settings(settings(port, **changes), clock=clock)
    await notifier.open()
    try:
        yield notifier
    finally:
        await notifier.close()


async def one(server: MockMailServer | int, sent: NoticeMail | None = None, **changes: object) -> Answer:
    """Send one notice, and give the answer."""
    async with opened(server, **changes) as notifier:
        (answer,) = await notifier.notify(notices=[sent or notice("jan@mail.example")])
    return answer


async def carry(server: MockMailServer | int, *messages: BoxMessage, **changes: object) -> Answer:
    """Send messages, and give the first answer."""
    port = server if isinstance(server, int) else server.port
    carrier = SmtpCarrier.from_settings(settings(port, **changes), clock=clock)
    await carrier.open()
    answers = await carrier.place(messages=messages)
    await carrier.close()
    return answers[0]


def message(**changes: object) -> BoxMessage:
    values: dict[str, object] = {
        "id": uuid4(),
        "batch": uuid4(),
        "reference": "Z-1",
        "sender": SENDER,
        "addressee": Identifier(IdentifierKind.KVK, "12345678"),
        "subject": "Beschikking",
        "text": "Zie de bijlage.",
        "email": "jan@mail.example",
        "return_path": "bounce+1@voorbeeldstad.example",
    }
    return BoxMessage(**(values | changes))  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event: the mock is asked as a user would
            await asyncio.sleep(0.001)


# ------------------------------------------------------------------------------------------------- a scripted relay


class Dialogue:
    """One connection to a relay that a test plays itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *replies: str) -> None:
        self.writer.write("".join(f"{reply}\r\n" for reply in replies).encode())
        await self.writer.drain()

    async def hear(self, *verbs: str) -> list[str]:
        """Read commands, and see that they are these."""
        lines = [(await self.reader.readuntil(b"\r\n")).decode().rstrip() for _ in verbs]
        assert [line.split()[0] for line in lines] == list(verbs)
        return lines

    async def text(self) -> bytes:
        """Read a mail up to and with its final dot."""
        return await self.reader.readuntil(b"\r\n.\r\n")

    async def greet(self, *extensions: str) -> None:
        await self.say("220 relay.test")
        await self.hear("EHLO")
        lines = ["relay.test", *extensions]
        await self.say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    async def silence(self) -> None:
        """See that nothing more is said for now."""
        await asyncio.sleep(0.02)
        assert not self.reader._buffer  # type: ignore[attr-defined]


@asynccontextmanager
async def played(*plays: Callable[[Dialogue], Awaitable[None]]) -> AsyncGenerator[int]:
    """Play a relay: one connection after another, each closed at the end of its play. Gives the port.

    A failure in a play is raised when the `async with` ends, and so is a play that was not called for.
    """
    waiting = list(plays)
    failures: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await waiting.pop(0)(Dialogue(reader, writer))
        except Exception as failure:  # noqa: BLE001 - whatever it is, the test hears it
            failures.append(failure)
        finally:
            running.discard(task)
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, limit=10_000_000)
    try:
        yield listening.sockets[0].getsockname()[1]
        if running:
            await asyncio.wait(running, timeout=2)
    finally:
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        listening.close()
        await listening.wait_closed()
    assert not failures, failures
    assert not waiting, "a play was not called for"


# -------------------------------------------------------------------------------------------------- mails read back


def read(data: bytes, *, utf8: bool = False) -> EmailMessage:
    """Read a mail back with the standard library, and see that its lines are lines."""
    assert data.endswith(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert max(len(line) for line in data.split(b"\r\n")) <= 998
    assert utf8 or data.isascii()
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    for part in parsed.walk():
        assert part.defects == []
    return parsed


def written(sent: NoticeMail) -> bytes:
    own, to = mailbox(sent.sender.email), mailbox(sent.email)
    assert own is not None
    assert to is not None
    return mime.NoticeWriter().write(sent, sender=own, to=to, at=NOW)


def content(part: EmailMessage) -> str:
    text = part.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


def as_received(text: str) -> str:
    """Give a text as a mail carries it: line ends made one, what is no character replaced, a line end at the end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    return text if text.endswith("\n") else text + "\n"
