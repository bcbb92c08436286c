"""One kept line to a relay, and mails over it, one behind the other.

Where the relay offers PIPELINING (RFC 2920) the commands of a mail go out in one write, together with the text of the
mail before it: a round trip per mail instead of four. Nothing of a mail's text leaves before the relay asked for it
(354), so what is known of each mail is as exact as without: lost before its dot, it was not handed over; after it,
that is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Generic, TypeVar

from bode_adapters.contract import Answer
from bode_adapters.email import answers
from bode_adapters.email.address import Mailbox, xtext
from bode_adapters.email.answers import CLOSING, FAILURES, LocalRefusalError, Phase, ReplyError
from bode_adapters.email.replies import NotSmtpError, Reply
from bode_adapters.email.settings import Relay, Tls
from bode_adapters.email.wire import BLOCK, LostError, Wire
from bode_adapters.oauth import SharedTokens, initial_response

LONGEST_DELIVER_BY = 999_999_999
"""RFC 2852 section 4: at most nine digits."""
LONGEST_ENVELOPE_ID = 100
"""RFC 3461 section 4.4."""
TRUSTED_IDLE_SECONDS = 3.0
"""A line idle for longer is asked with RSET before it gets a mail."""
LONGEST_FAREWELL = 1.0
"""Seconds for an answer to QUIT: it changes nothing."""

_SUCCESS = range(200, 300)
_GO_ON = range(300, 400)
_NEGATIVE = range(400, 600)
_UNKNOWN_COMMAND = range(500, 505)
_NOT_TAKEN = 535
_RESET = b"RSET\r\n"
_STEPS = ((Phase.MAIL_FROM, _SUCCESS), (Phase.RCPT_TO, _SUCCESS), (Phase.DATA, _GO_ON))


@dataclass(frozen=True, slots=True)
class Envelope:
    """Between whom a mail travels."""

    sender: Mailbox
    """The organisation's: header `From`."""
    return_path: Mailbox
    recipient: Mailbox


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to go: envelope and bytes, its lines ending in CRLF."""

    envelope: Envelope
    message_id: str
    envelope_id: str
    """For a relay that offers DSN: comes back in its reports (RFC 3461 section 4.4)."""
    data: bytes = field(repr=False)
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """The service extensions in an answer to EHLO that are of use here."""

    starttls: bool = False
    pipelining: bool = False
    dsn: bool = False
    deliver_by: bool = False
    smtputf8: bool = False
    size: bool = False
    largest: int = 0
    """RFC 1870: in octets; 0 is no limit."""
    logins: frozenset[str] = frozenset()

    @classmethod
    def read(cls, reply: Reply) -> Offer:
        """Read the lines after the first; letter case does not matter (RFC 5321 section 4.1.1.1)."""
        words = [line.upper().split() for line in reply.text.split("\n")[1:]]
        offered = {line[0]: line[1:] for line in words if line}
        largest = (offered.get("SIZE") or ["0"])[0]
        return cls(
            starttls="STARTTLS" in offered,
            pipelining="PIPELINING" in offered,
            dsn="DSN" in offered,
            deliver_by="DELIVERBY" in offered,
            smtputf8="SMTPUTF8" in offered and "8BITMIME" in offered,
            size="SIZE" in offered,
            largest=int(largest) if largest.isascii() and largest.isdecimal() else 0,
            logins=frozenset(offered.get("AUTH", ())),
        )


Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Work(Generic[Job]):
    """Where a line gets its mails from, and whom it tells what became of them."""

    take: Callable[[], Awaitable[tuple[Job, Mail] | None]]
    """Gives the next mail that may go now, if any."""
    placed: Callable[[Job, Mail, Reply], None]
    refused: Callable[[Job, Answer], None]
    leaves: Callable[[Job], None]
    """Told right before the final dot of a mail goes out."""
    put_back: Callable[[Job], None]
    """Takes back a mail of which nothing was handed over, and which another line may take."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[Job]):
    """A mail in hand, with its commands: MAIL, RCPT and DATA."""

    job: Job
    mail: Mail
    commands: tuple[bytes, bytes, bytes]


class Ended(Enum):
    """Why a line carries no more."""

    DRY = "dry"
    """There is no mail for it now, or it carried as many as a connection may."""
    CLOSED = "closed"
    """The relay ended it after it carried something."""
    LOST = "lost"
    """It broke over the first mail it was to carry."""
    SILENT = "silent"
    """The relay said nothing for too long."""


class Connection:
    """A line to the relay. Not for two users at a time; the pool sees to that."""

    def __init__(
        self,
        relay: Relay,
        *,
        tls: ssl.SSLContext | None,
        helo: str,
        now: Callable[[], datetime],
        tokens: SharedTokens | None = None,
    ) -> None:
        """Prepare a line; `open` makes it. `tokens` are of a relay that has `oauth`."""
        self._tokens = tokens
        self._relay = relay
        self._tls = tls
        self._helo = helo
        self._now = now
        self._seconds = relay.timeouts
        self._wire: Wire | None = None
        self._offer = Offer()
        self.phase = Phase.CONNECT
        self.mta = relay.host
        """The relay's name for itself once it said so."""
        self.idle_since = 0.0
        """By the clock of the event loop."""
        self._carried = 0
        self._awaited = 0
        """Replies that are still to come. A line is kept only when there are none."""
        self._takes_leave = False
        self._clean = True
        """No transaction is half open; if one is, RSET comes first (RFC 5321 section 4.1.1.5)."""
        self._text_expected = False
        """The relay answered DATA with 354."""

    @property
    def keepable(self) -> bool:
        """Whether more mail may go over this line."""
        return self._usable and self._carried < self._relay.mails_per_connection

    # ------------------------------------------------------------------------------------------------- making a line

    async def open(self) -> None:
        """Connect, greet, secure and log in; raises one of `FAILURES`, and `phase` tells how far it came."""
        first = self._tls if self._relay.tls is Tls.TLS else None
        self._wire = await Wire.connect(self._relay.host, self._relay.port, tls=first, seconds=self._seconds.connect)
        self._awaited = 1
        banner = await self._reply(self._seconds.connect)
        if banner.code not in _SUCCESS:
            raise ReplyError(banner)
        await self._greet()
        if self._relay.tls is Tls.STARTTLS:
            await self._secure()
        if self._relay.username is not None and self._relay.password is not None:
            await self._log_in(self._relay.username, self._relay.password)
        elif self._relay.username is not None and self._tokens is not None:
            await self._present_token(self._relay.username, self._tokens)

    async def _greet(self) -> None:
        self.phase = Phase.EHLO
        reply = await self._ask(f"EHLO {self._helo}")
        self._offer = Offer.read(reply)
        if reply.code in _UNKNOWN_COMMAND:
            reply = await self._ask(f"HELO {self._helo}")
            self._offer = Offer()
        if reply.code not in _SUCCESS:
            raise ReplyError(reply)
        self.mta = (reply.text.split(maxsplit=1) or [self._relay.host])[0]

    async def _secure(self) -> None:
        """Switch to TLS, and forget all that was said before it (RFC 3207 section 4.2)."""
        if not self._offer.starttls or self._tls is None:
            raise LocalRefusalError("tls:not_offered")
        self.phase = Phase.STARTTLS
        reply = await self._ask("STARTTLS")
        if reply.code not in _SUCCESS:
            raise ReplyError(reply)
        await self._line.secure(self._tls, host=self._relay.host, seconds=self._seconds.connect)
        await self._greet()

    async def _log_in(self, username: str, password: str) -> None:
        """Log in with PLAIN (RFC 4616), or else LOGIN, which some servers have alone; never over an open line."""
        self.phase = Phase.AUTH
        if not self._line.secured or not self._offer.logins & {"PLAIN", "LOGIN"}:
            raise LocalRefusalError("auth:not_offered")
        if "PLAIN" in self._offer.logins:
            reply = await self._ask(f"AUTH PLAIN {_base64(chr(0) + username + chr(0) + password)}")
        else:
            reply = await self._ask("AUTH LOGIN")
            for word in (username, password):
                if reply.code in _GO_ON:
                    reply = await self._ask(_base64(word))
        if reply.code not in _SUCCESS:
            raise ReplyError(reply)

    async def _present_token(self, username: str, tokens: SharedTokens) -> None:
        """Log in with an access token; one that is not taken may have been revoked: another is asked for, once."""
        self.phase = Phase.AUTH
        standard = "OAUTHBEARER" in self._offer.logins
        if not self._line.secured or not self._offer.logins & {"OAUTHBEARER", "XOAUTH2"}:
            raise LocalRefusalError("auth:not_offered")
        method, token = "OAUTHBEARER" if standard else "XOAUTH2", ""
        for last in (False, True):
            token = await tokens.give(instead_of=token)
            reply = await self._ask(f"AUTH {method} {_base64(initial_response(username, token, standard=standard))}")
            if reply.code in _GO_ON:
                # It says why in a challenge, and refuses after our answer to that (RFC 7628 section 3.2.3).
                reply = await self._ask(_base64("\1") if standard else "")
            if reply.code in _SUCCESS:
                return
            if last or reply.code != _NOT_TAKEN:
                raise ReplyError(reply)

    async def _ask(self, command: str) -> Reply:
        self._say(f"{command}\r\n".encode())
        return await self._reply(self._seconds.command)

    # ---------------------------------------------------------------------------------------------------- carrying

    async def carry(self, work: Work[Job]) -> Ended:
        """Send mails until there are none for this line, or it can take no more; tells what became of each."""
        first = self._carried == 0
        if asyncio.get_running_loop().time() - self.idle_since > TRUSTED_IDLE_SECONDS and not first:
            self._clean = False
        current, following = await self._next(work), None
        announced = False
        try:
            while current is not None:
                if not announced:
                    self._announce(current)
                refusal = await self._refusal_of(current)
                if refusal is not None:
                    work.refused(current.job, self._answer(ReplyError(refusal)))
                    current, announced = None, False
                    if self._text_expected:
                        await self._end_without_text()
                else:
                    following = await self._next(work) if self._offer.pipelining else None
                    reply = await self._transfer(work, current, following)
                    if reply.code in _SUCCESS:
                        work.placed(current.job, current.mail, reply)
                    else:
                        work.refused(current.job, self._answer(ReplyError(reply)))
                    current, announced = following, following is not None
                    following = None
                first = False
                if not announced:
                    if not self._usable:
                        return Ended.CLOSED
                    current = await self._next(work)
        except FAILURES as error:
            return self._broke(work, error, current, following, first=first)
        return Ended.DRY

    def _broke(
        self,
        work: Work[Job],
        error: Exception,
        current: _Item[Job] | None,
        following: _Item[Job] | None,
        *,
        first: bool,
    ) -> Ended:
        """Tell what became of the mails in hand. One announced behind another never left: its text was not sent."""
        silent = isinstance(error, TimeoutError)
        if following is not None:
            work.put_back(following.job)
        if current is not None:
            if not first and self.phase is Phase.MAIL_FROM and not silent:
                # The relay had enough of this line (RFC 5321 section 3.8), and took nothing of this mail.
                work.put_back(current.job)
                return Ended.CLOSED
            work.refused(current.job, self._answer(error))
        if silent:
            return Ended.SILENT
        return Ended.LOST if first else Ended.CLOSED

    async def _next(self, work: Work[Job]) -> _Item[Job] | None:
        """Take a mail that this relay can carry; one that it cannot is answered at once."""
        while self._carried < self._relay.mails_per_connection:
            taken = await work.take()
            if taken is None:
                return None
            job, mail = taken
            try:
                commands = self._commands(mail)
            except LocalRefusalError as error:
                work.refused(job, self._answer(error))
                continue
            self._carried += 1
            return _Item(job, mail, commands)
        return None

    def _commands(self, mail: Mail) -> tuple[bytes, bytes, bytes]:
        """Give MAIL, RCPT and DATA, with the parameters this relay offers (RFC 1870, 2852, 3461, 6531)."""
        offer, to = self._offer, mail.envelope.recipient
        sender, recipient = f"MAIL FROM:<{mail.envelope.return_path}>", f"RCPT TO:<{to}>"
        if offer.size:
            if 0 < offer.largest < len(mail.data):
                raise LocalRefusalError("size")
            sender += f" SIZE={len(mail.data)}"
        if to.needs_utf8:
            if not offer.smtputf8:
                raise LocalRefusalError("smtputf8")
            sender += " SMTPUTF8 BODY=8BITMIME"
        if offer.dsn:
            envelope_id = xtext(mail.envelope_id)
            sender += f" RET=HDRS ENVID={envelope_id}" if len(envelope_id) <= LONGEST_ENVELOPE_ID else " RET=HDRS"
            recipient += " NOTIFY=FAILURE,DELAY"
            if not to.needs_utf8:  # the original recipient of RFC 6533 has a type of its own
                recipient += f" ORCPT=rfc822;{xtext(str(to))}"
        if offer.deliver_by and mail.deadline is not None:
            seconds = int((mail.deadline - self._now()).total_seconds())
            # N, notify: with R a relay must return what the next server cannot promise (section 4.1.4), and hardly any
            # server on the internet can: nearly every notice would come back at once.
            if 0 < seconds <= LONGEST_DELIVER_BY:
                sender += f" BY={seconds};N"
        return f"{sender}\r\n".encode(), f"{recipient}\r\n".encode(), b"DATA\r\n"

    def _announce(self, item: _Item[Job]) -> None:
        """Say what may be said before a reply: all commands where the relay reads ahead, else nothing yet."""
        if self._offer.pipelining:
            reset = b"" if self._clean else _RESET
            self._say(reset + b"".join(item.commands), replies=len(_STEPS) + bool(reset))

    async def _refusal_of(self, item: _Item[Job]) -> Reply | None:
        """Give the first refusal of MAIL, RCPT and DATA, with `phase` where it was; none where the text is asked for.

        All replies are read, also those behind a refusal: the relay may ask for the text of a mail that has no
        recipients (RFC 2920 section 3.1).
        """
        self.phase, self._text_expected = Phase.MAIL_FROM, False
        await self._begin_clean()
        refusal: Reply | None = None
        for (phase, success), command in zip(_STEPS, item.commands, strict=True):
            if refusal is None:
                self.phase = phase
            elif not self._offer.pipelining:
                break
            try:
                reply = await self._reply_to(command)
                if reply.code not in success and reply.code not in _NEGATIVE:
                    raise NotSmtpError
            except FAILURES:
                if refusal is None:
                    raise
                break  # the line is of no use any more, and `_usable` says so; the refusal stands
            if reply.code in success:
                self._text_expected = phase is Phase.DATA
            elif refusal is None:
                refusal = reply
        return refusal

    async def _begin_clean(self) -> None:
        """End what is half open, if anything; the next command opens a transaction."""
        if not self._clean:
            reply = await self._reply_to(_RESET)
            if reply.code not in _SUCCESS:
                raise ReplyError(reply)
        self._clean = False

    async def _end_without_text(self) -> None:
        """End a mail without recipients with a lone dot (RFC 2920 section 3.1); what the relay says changes nothing."""
        self._say(b".\r\n")
        await self._reply(self._seconds.final)
        self._clean = True

    async def _transfer(self, work: Work[Job], item: _Item[Job], following: _Item[Job] | None) -> Reply:
        """Write the mail with its final dot, and the commands of the next one behind it; gives the reply to the dot.

        The phase becomes `AFTER_DOT` with the write that holds the dot. In a large mail the relay may speak earlier
        (too large, say): that reply belongs to `DATA`, and the line to nothing any more.
        """
        self._awaited += 1
        data = item.mail.data.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        last = (len(data) - 1) // BLOCK * BLOCK
        for start in range(0, last, BLOCK):
            self._line.write(data[start : start + BLOCK])
            await self._line.drained(self._seconds.data)
            if self._line.said_something:
                reply = await self._line.reply(0)
                raise ReplyError(reply) if reply.code in _NEGATIVE else NotSmtpError
        work.leaves(item.job)
        if following is None:
            self._line.write(data[last:])
        else:
            self._say(data[last:] + b"".join(following.commands), replies=len(_STEPS))
        self.phase = Phase.AFTER_DOT
        reply = await self._reply(self._seconds.final)
        if reply.code in _GO_ON:
            raise NotSmtpError
        self._clean = True
        return reply

    # ----------------------------------------------------------------------------------------------- saying, hearing

    @property
    def _line(self) -> Wire:
        if self._wire is None:
            raise LostError
        return self._wire

    @property
    def _usable(self) -> bool:
        return self._wire is not None and self._wire.is_open and not self._awaited and not self._takes_leave

    def _say(self, words: bytes, *, replies: int = 1) -> None:
        self._line.write(words)
        self._awaited += replies

    async def _reply(self, seconds: float) -> Reply:
        reply = await self._line.reply(seconds)
        self._awaited -= 1
        if reply.code == CLOSING:
            self._takes_leave = True
            raise ReplyError(reply)
        return reply

    async def _reply_to(self, command: bytes) -> Reply:
        """Give the reply to a command that was said ahead, or say it now."""
        if not self._offer.pipelining:
            self._say(command)
        return await self._reply(self._seconds.command)

    def _answer(self, error: Exception) -> Answer:
        return answers.answer(error, phase=self.phase, mta=self.mta)

    async def close(self) -> None:
        """Say QUIT if the line is in a state to, and close it; what the relay says to that does not matter."""
        if self._usable:
            with contextlib.suppress(*FAILURES):
                self._say(b"QUIT\r\n")
                await self._reply(min(LONGEST_FAREWELL, self._seconds.command))
            self._line.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Close the line at once."""
        if self._wire is not None:
            self._wire.abort()


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")
