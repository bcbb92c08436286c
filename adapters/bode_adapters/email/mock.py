"""A mail server that behaves by the local part of the recipient: for tests, the demo, and trying out a zaaksysteem.

| local part        | behaviour                                                                                        |
|-------------------|--------------------------------------------------------------------------------------------------|
| `soft-N.*`        | `451 4.3.0` to the first N attempts of a mail, then accepted                                     |
| `full.*`          | `452 4.2.2` mailbox full, always                                                                 |
| `unknown.*`       | `550 5.1.1` user unknown                                                                         |
| `spam.*`          | `554 5.7.1` blocked, after the final dot                                                         |
| `drop.*`          | stored, and the connection closed after the final dot without a reply                            |
| `drop-rcpt.*`     | the connection closed at RCPT                                                                    |
| `drop-data.*`     | the connection closed at DATA                                                                    |
| `drop-body.*`     | the connection broken in the middle of the text                                                  |
| `slow.*`          | accepted, with the reply `slow_seconds` after the final dot                                      |
| `late-unknown.*`  | accepted; `dsn_delay_seconds` later a DSN `failed 5.1.1` to the envelope sender                  |
| `late-full.*`     | accepted; later a DSN `failed 5.2.2`                                                             |
| `delayed.*`       | accepted; later a DSN `delayed 4.4.1`, and then nothing                                          |
| `away.*`          | accepted; later an out-of-office reply to the envelope sender                                    |
| anything else     | accepted                                                                                         |

The dot may be left out: `full@example.nl` behaves as `full.jan@example.nl`. DSNs and replies go to `report_to`, a host
and port: Bode's own listener for bounces. They have the null sender (RFC 5321 section 4.5.5).

Attempts are counted by the envelope id (ENVID, RFC 3461: what precedes its first full stop is the same in each attempt)
or else the Message-ID, with the recipient. `soft-N` therefore answers at RCPT where there is an ENVID, and after the
final dot where only the Message-ID is known.

For all mail at once a running server takes orders as attributes: `replies` for a phase, `tarpit_seconds`,
`most_sessions`, `injected`, `login_in_the_clear`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Self

import aiosmtplib

from bode_adapters.email.mock_reports import DeliveryReport, away_reply, delivery_status
from bode_adapters.email.mock_session import Session, SessionOwner

CAPACITY = 100_000
REFUSED_AT_RCPT = {
    "full": "452 4.2.2 The email account that you tried to reach is over quota: mailbox full",
    "unknown": "550 5.1.1 <{recipient}>: Recipient address rejected: User unknown",
}
REFUSED_AFTER_DOT = {"spam": "554 5.7.1 Message blocked: content looks like spam"}
SOFT = "451 4.3.0 Temporary system problem, try again later"
LATE = {
    "late-unknown": DeliveryReport("", "failed", "5.1.1", "550 5.1.1 User unknown in virtual mailbox table"),
    "late-full": DeliveryReport("", "failed", "5.2.2", "552 5.2.2 Mailbox full: quota exceeded"),
    "delayed": DeliveryReport("", "delayed", "4.4.1", "connect to mx.example.test[192.0.2.25]:25: timed out"),
}

_SOFT = re.compile(r"soft-(\d+)")
_MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AcceptedMail:
    """A mail that the server took, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes = field(repr=False)
    at: datetime
    envelope_id: str | None
    parameters: str
    """Of MAIL and of each RCPT, as they came."""
    secured: bool


def behaviour(recipient: str) -> str:
    """Give the word that decides: the local part up to its first dot."""
    return recipient.rpartition("@")[0].partition(".")[0].lower()


@asynccontextmanager
async def serve(
    *,
    port: int = 0,
    report_to: tuple[str, int] | None = None,
    folder: Path | None = None,
    certificate_file: Path | None = None,
    login: tuple[str, str] | None = None,
) -> AsyncGenerator[str]:
    """Serve on 127.0.0.1 in the running loop and give the address; port 0 takes a free one.

    `certificate_file` holds a certificate and its key in PEM: with it STARTTLS is offered, and `login` after that.
    """
    tls = None
    if certificate_file is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate_file)
    async with MockMailServer(port=port, report_to=report_to, folder=folder, tls=tls, login=login) as server:
        yield f"smtp://{server.host}:{server.port}"


class MockMailServer(SessionOwner):
    """The server. `async with MockMailServer() as server:` starts and stops it; `server.port` is where it listens.

    `replies` scripts whole phases, for every mail: `server.replies["data"] = "421 4.3.2 closing"`; the phases are those
    of `MailRefused`, `starttls` and `rset`. An empty reply closes the connection; `None` never answers.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        report_to: tuple[str, int] | None = None,
        dsn_delay_seconds: float = 0.2,
        slow_seconds: float = 5.0,
        capacity: int = CAPACITY,
        folder: Path | None = None,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
        extensions: tuple[str, ...] = ("PIPELINING", "SIZE 35882577", "8BITMIME", "DSN", "SMTPUTF8", "DELIVERBY"),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare. `folder` receives every mail as a file, in the way of a maildir; `login` asks for AUTH."""
        super().__init__(name="mock.mail.test", tls=None if implicit_tls else tls, login=login, extensions=extensions)
        self.host = host
        self.port = port
        self.report_to = report_to
        self.dsn_delay_seconds = dsn_delay_seconds
        self.slow_seconds = slow_seconds
        self.accepted: deque[AcceptedMail] = deque(maxlen=capacity)
        """The mails taken, oldest first; the oldest go when `capacity` is reached."""
        self.rcpt_replies: dict[str, str] = {}
        """Scripted reply to RCPT by whole address, before what its local part says."""
        self.attempts: Counter[tuple[str, str]] = Counter()
        """By envelope id or Message-ID, and recipient."""
        self.unreported: list[str] = []
        """Why a DSN or reply could not be handed to `report_to`."""
        self._clock = clock
        self._folder = folder
        self._implicit = tls if implicit_tls else None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = count(1)

    async def start(self) -> Self:
        """Listen; with port 0 the system chooses one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Session(self), self.host, self.port, ssl=self._implicit)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Close every connection and drop what is still to be reported."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.close_sessions()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        """Start."""
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    def at_rcpt(self, session: Session, recipient: str) -> str:
        """Give the reply to RCPT; an empty one closes."""
        word = behaviour(recipient)
        if session.envelope_id is not None:
            mail = session.envelope_id.partition(".")[0]
            self.attempts[mail, recipient] += 1
            if self._too_soon(word, mail, recipient):
                return SOFT
        if recipient in self.rcpt_replies:
            return self.rcpt_replies[recipient]
        if word == "drop-rcpt":
            return ""
        if word in REFUSED_AT_RCPT:
            return REFUSED_AT_RCPT[word].format(recipient=recipient)
        return "250 2.1.5 Ok"

    def breaks_off(self, session: Session, phase: str) -> bool:
        """Tell whether the connection is to be lost in this phase."""
        return any(behaviour(recipient) == f"drop-{phase}" for recipient in session.recipients)

    def at_dot(self, session: Session, data: bytes) -> tuple[str | None, float]:
        """Give the reply after the final dot, and after how many seconds; an empty one closes, `None` is silence."""
        words = {behaviour(recipient) for recipient in session.recipients}
        if session.envelope_id is None:
            found = _MESSAGE_ID.search(data.partition(b"\r\n\r\n")[0])
            mail = found[1].decode("ascii", "replace") if found else ""
            for recipient in session.recipients:
                self.attempts[mail, recipient] += 1
                if self._too_soon(behaviour(recipient), mail, recipient):
                    return SOFT, 0.0
        for word in words & REFUSED_AFTER_DOT.keys():
            return REFUSED_AFTER_DOT[word], 0.0
        if "after_dot" in self.replies:
            return self.replies["after_dot"], 0.0
        self._keep(session, data)
        if "drop" in words:
            return "", 0.0
        return f"250 2.0.0 Ok: queued as {next(self._numbers):08X}", self.slow_seconds if "slow" in words else 0.0

    def _too_soon(self, word: str, mail: str, recipient: str) -> bool:
        soft = _SOFT.fullmatch(word)
        return soft is not None and self.attempts[mail, recipient] <= int(soft[1])

    def _keep(self, session: Session, data: bytes) -> None:
        mail = AcceptedMail(
            sender=session.sender,
            recipients=tuple(session.recipients),
            data=data,
            at=self._clock(),
            envelope_id=session.envelope_id,
            parameters=" ".join(session.parameters),
            secured=session.secured,
        )
        self.accepted.append(mail)
        if self._folder is not None:
            self._write(self._folder, data)
        for recipient in mail.recipients:
            word = behaviour(recipient)
            if not mail.sender:
                continue  # a null sender gets no reports (RFC 3464, section 2)
            if word in LATE:
                report = LATE[word].returned(
                    recipient=recipient, envelope_id=mail.envelope_id, arrived=mail.at, mail=mail.data
                )
                self._later(self.send_dsn(mail.sender, report))
            elif word == "away":
                reply = away_reply(mail.sender, sender=recipient, about=mail.data, at=self._clock())
                self._later(self._hand_in(mail.sender, reply))

    def _write(self, folder: Path, data: bytes) -> None:
        name = f"{self._clock().timestamp():.6f}.{len(self.attempts)}_{id(data):x}.mail"
        for part in ("tmp", "new", "cur"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "tmp" / name).write_bytes(data)
        (folder / "tmp" / name).rename(folder / "new" / name)

    def _later(self, report: Coroutine[None, None, None]) -> None:
        async def wait() -> None:
            try:
                await asyncio.sleep(self.dsn_delay_seconds)
            except asyncio.CancelledError:
                report.close()
                raise
            await report

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send_dsn(self, to: str, report: DeliveryReport) -> None:
        """Send a DSN to an address, real or forged: `to` carries whatever token the test wants to try."""
        dsn = delivery_status(to, report, reporting_mta=self.name, at=self._clock())
        await self._hand_in(to, dsn)

    async def _hand_in(self, to: str, mail: bytes) -> None:
        if self.report_to is None:
            self.unreported.append("no report_to")
            return
        host, port = self.report_to
        client = aiosmtplib.SMTP(hostname=host, port=port, local_hostname=self.name, start_tls=False, timeout=10)
        try:
            await client.connect()
            await client.mail("")
            await client.rcpt(to)
            await client.data(mail)
            with contextlib.suppress(aiosmtplib.SMTPException):
                await client.quit()
        except (aiosmtplib.SMTPException, OSError) as error:
            self.unreported.append(f"{type(error).__name__}: {error}")
        finally:
            client.close()
