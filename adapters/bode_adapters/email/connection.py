"""One kept line to a relay, and one mail over it.

aiosmtplib makes the line (connecting, EHLO, STARTTLS, AUTH); the transaction itself is here, because its own methods do
not tell a refusal of DATA from a refusal after the final dot, which is the difference that matters most.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from bode_adapters.email.address import Mailbox, xtext
from bode_adapters.email.answers import LocalRefusalError, Phase, ReplyError
from bode_adapters.email.settings import SmtpSettings, Tls

BLOCK = 64 * 1024
"""A mail up to this size goes out in one write; a larger one in blocks, so that it is known what was not sent."""
SLOWEST = 32 * 1024
"""Bytes a second: what a large mail gets on top of the time-out, as RFC 5321 4.5.3.2 gives each block its own."""
LONGEST_DELIVER_BY = 999_999_999
"""RFC 2852 section 4: at most nine digits."""
LONGEST_ENVELOPE_ID = 100
"""RFC 3461 section 4.4."""

_UNKNOWN_COMMAND = range(500, 505)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to go: envelope and bytes."""

    id: str
    message_id: str
    return_path: Mailbox
    recipient: Mailbox
    data: bytes = field(repr=False)
    deadline: datetime | None = None


class Connection:
    """A line to the relay. Not for two mails at a time; the pool sees to that."""

    def __init__(self, settings: SmtpSettings, *, tls: ssl.SSLContext | None, helo: str) -> None:
        """Prepare a line; `open` makes it."""
        self._settings = settings
        self._tls = tls
        self._client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            local_hostname=helo,
            timeout=settings.timeout_seconds,
            use_tls=settings.tls is Tls.IMPLICIT,
            start_tls=False,
            tls_context=tls,
        )
        self.phase = Phase.CONNECT
        self.mta = settings.host
        """The relay's name for itself once it said so."""
        self.idle_since = 0.0
        self._writer: asyncio.StreamWriter | None = None
        """Only for its `drain`, which aiosmtplib's protocol supports."""
        self._settled = False
        """Every command got its reply: only then may the line be kept."""
        self._clean = True
        """No transaction is half open; if one is, RSET comes first."""

    @property
    def keepable(self) -> bool:
        """Whether another mail may go over this line."""
        return self._settled and self._client.is_connected

    async def open(self) -> None:
        """Connect, greet, secure and log in; `phase` tells how far it came when this raises."""
        await self._client.connect()
        self.phase = Phase.EHLO
        await self._greet()
        if self._settings.tls in (Tls.STARTTLS, Tls.OPPORTUNISTIC):
            await self._secure()
        if self._settings.username is not None and self._settings.password is not None:
            self.phase = Phase.AUTH
            if not self._client.supports_extension("auth"):
                raise LocalRefusalError("auth:not_offered")
            await self._client.login(self._settings.username, self._settings.password)
        if isinstance(self._client.transport, asyncio.WriteTransport) and self._client.protocol is not None:
            # Kept as long as the line: a StreamWriter closes its transport when it is let go.
            loop = asyncio.get_running_loop()
            self._writer = asyncio.StreamWriter(self._client.transport, self._client.protocol, None, loop)
        self._settled = True

    async def _greet(self) -> None:
        try:
            reply = await self._client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code not in _UNKNOWN_COMMAND or not self._client.is_connected:
                raise
            reply = await self._client.helo()
        self.mta = (reply.message.split(maxsplit=1) or [self._settings.host])[0]

    async def _secure(self) -> None:
        if self._client.supports_extension("starttls"):
            self.phase = Phase.STARTTLS
            await self._client.starttls(tls_context=self._tls)
            self.phase = Phase.EHLO
            await self._greet()
        elif self._settings.tls is Tls.STARTTLS:
            raise LocalRefusalError("tls:not_offered")

    async def reset(self) -> None:
        """Make a kept line ready again (RSET), or raise: it was closed on the other side meanwhile."""
        self.phase = Phase.MAIL_FROM
        self._settled = False
        await self._client.rset()
        self._settled = self._clean = True

    @property
    def half_open(self) -> bool:
        """Whether a refused transaction must be reset before the next."""
        return not self._clean

    async def send(self, mail: Mail, *, now: datetime) -> tuple[int, str]:
        """Do one transaction; gives the reply after the dot. Raises one of `FAILURES`, with `phase` where it was."""
        self.phase = Phase.MAIL_FROM
        options, recipient_options = self._options(mail, now)
        self._clean = False
        await self._command(b"MAIL", b"FROM:<%b>" % str(mail.return_path).encode("ascii"), *options)
        self.phase = Phase.RCPT_TO
        await self._command(b"RCPT", b"TO:<%b>" % str(mail.recipient).encode(), *recipient_options)
        self.phase = Phase.DATA
        await self._command(b"DATA", success=range(300, 400))
        self._settled = False
        reply = await self._transfer(mail.data)
        self._settled = True
        if reply.code == aiosmtplib.SMTPStatus.domain_unavailable:  # 421: the relay closes, and so do we
            self.abort()
        if reply.code not in range(200, 300):
            raise ReplyError(reply.code, reply.message)
        self._clean = True
        return reply.code, reply.message

    def _options(self, mail: Mail, now: datetime) -> tuple[list[bytes], list[bytes]]:
        """Give the parameters of MAIL and RCPT for what this relay offers (RFC 1870, 2852, 3461, 6531)."""
        offered = self._client.esmtp_extensions
        options: list[bytes] = []
        recipient_options: list[bytes] = []
        if "size" in offered:
            limit = offered["size"].strip()
            if limit.isdecimal() and 0 < int(limit) < len(mail.data):
                raise LocalRefusalError("size")
            options.append(b"SIZE=%d" % len(mail.data))
        if mail.recipient.needs_utf8:
            if "smtputf8" not in offered:
                raise LocalRefusalError("smtputf8")
            options += (b"SMTPUTF8", b"BODY=8BITMIME")
        if "dsn" in offered:
            options.append(b"RET=HDRS")
            # What makes the return path ours travels a second time: a report that lost the one may keep the other.
            envelope_id = xtext(f"{mail.id}.{mail.return_path.local}").encode("ascii")
            if len(envelope_id) <= LONGEST_ENVELOPE_ID:
                options.append(b"ENVID=%b" % envelope_id)
            recipient_options.append(b"NOTIFY=FAILURE,DELAY")
            if not mail.recipient.needs_utf8:  # the original recipient of RFC 6533 has a type of its own
                recipient_options.append(b"ORCPT=rfc822;%b" % xtext(str(mail.recipient)).encode("ascii"))
        if "deliverby" in offered and mail.deadline is not None:
            seconds = int((mail.deadline - now).total_seconds())
            least = offered["deliverby"].strip()
            # R: returned to us when the time has passed. A time below what the relay can do it would refuse outright.
            if max(1, int(least) if least.isdecimal() else 1) <= seconds <= LONGEST_DELIVER_BY:
                options.append(b"BY=%d;R" % seconds)
        return options, recipient_options

    async def _command(self, *words: bytes, success: range = range(200, 300)) -> None:
        self._settled = False
        reply = await self._client.execute_command(*words)
        self._settled = True
        if reply.code not in success:
            raise ReplyError(reply.code, reply.message)

    async def _transfer(self, data: bytes) -> aiosmtplib.SMTPResponse:
        """Write the mail with its final dot and read the reply.

        The phase becomes `AFTER_DOT` with the write that holds the dot. In a large mail the relay may speak
        earlier (too large, say): that reply is read, and belongs to `DATA`.
        """
        protocol = self._client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        data = data.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        if len(data) <= BLOCK:
            protocol.write(data)  # raises where the line is gone already: then nothing was sent
            self.phase = Phase.AFTER_DOT
            return await protocol.read_response(timeout=self._settings.timeout_seconds)
        async with asyncio.timeout(self._settings.timeout_seconds + len(data) / SLOWEST):
            return await self._transfer_in_blocks(protocol, data)

    async def _transfer_in_blocks(self, protocol: SMTPProtocol, data: bytes) -> aiosmtplib.SMTPResponse:
        if self._writer is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        reply = asyncio.ensure_future(protocol.read_response())
        waiting: set[asyncio.Future[Any]] = {reply}
        try:
            last = (len(data) - 1) // BLOCK * BLOCK
            for start in range(0, last, BLOCK):
                protocol.write(data[start : start + BLOCK])
                drained = asyncio.ensure_future(self._writer.drain())
                waiting.add(drained)
                await asyncio.wait((reply, drained), return_when=asyncio.FIRST_COMPLETED)
                if reply.done():
                    return reply.result()
                waiting.discard(drained)
                drained.result()
            protocol.write(data[last:])
            self.phase = Phase.AFTER_DOT
            return await reply
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def close(self) -> None:
        """Say QUIT if the line is in a state to, and close it; what the relay says to that does not matter."""
        if self.keepable:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await self._client.quit(timeout=min(1.0, self._settings.timeout_seconds))
        self._client.close()

    def abort(self) -> None:
        """Close the line at once."""
        self._client.close()
