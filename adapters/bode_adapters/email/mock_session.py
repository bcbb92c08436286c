"""One connection to the mock mail server: the SMTP of RFC 5321 with STARTTLS, AUTH and PIPELINING, strictly.

It refuses what a real server refuses: a parameter of an extension that is not offered, commands in one go without
PIPELINING, text before it was asked for, a password over an open line.
"""

from __future__ import annotations

import asyncio
import binascii
import re
import ssl
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from typing import ClassVar

_PATH = re.compile(r'(?:FROM|TO):\s*<((?:"[^"]*"|[^>"])*)>\s*(.*)', re.IGNORECASE)
_ENVELOPE_ID = re.compile(r"\bENVID=(\S+)", re.IGNORECASE)
_DELIVER_BY = re.compile(r"BY=-?\d{1,9};[NR]T?", re.IGNORECASE)
_END = b"\r\n.\r\n"
_LONGEST_LINE = 8192
_REMEMBERED = 10_000
_EXTENSION_OF = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "BY": "DELIVERBY",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}
"""Parameters of MAIL and RCPT, with the extension each belongs to."""


class SessionOwner:
    """What a session asks its server. The server overrides the two decisions."""

    def __init__(
        self,
        *,
        name: str,
        tls: ssl.SSLContext | None,
        login: tuple[str, str] | None,
        extensions: tuple[str, ...],
    ) -> None:
        """Keep what every session needs to know."""
        self.name = name
        self.tls = tls
        self.login = login
        self.logins = "PLAIN LOGIN"
        """The methods of AUTH that are offered."""
        self.extensions = extensions
        self.replies: dict[str, str | None] = {}
        """Scripted reply by phase, for every mail."""
        self.sessions: set[Session] = set()
        self.connections = 0
        """How many connections were made in all."""
        self.most_sessions: int | None = None
        """How many connections at a time are welcome; the next gets `421 4.7.0`."""
        self.heard: deque[str] = deque(maxlen=_REMEMBERED)
        """The commands of all connections, as they came."""
        self.improper = 0
        """How often something was said that had to wait for a reply."""
        self.tarpit_seconds = 0.0
        """What every reply takes."""
        self.injected = b""
        """Said in the clear behind the reply to STARTTLS, as somebody in between would."""
        self.login_in_the_clear = False
        """Offers AUTH before TLS, as a careless server or somebody in between would."""

    def at_rcpt(self, session: Session, recipient: str) -> str:
        """Give the reply to RCPT."""
        raise NotImplementedError

    def breaks_off(self, session: Session, phase: str) -> bool:
        """Tell whether the connection is to be lost now: at `data`, or at `body`, in the middle of the text."""
        raise NotImplementedError

    def at_dot(self, session: Session, data: bytes) -> tuple[str | None, float]:
        """Give the reply after the final dot and its delay in seconds."""
        raise NotImplementedError

    def close_sessions(self) -> None:
        """Close every connection at once."""
        for session in list(self.sessions):
            session.close()


class Session(asyncio.Protocol):
    """Reads commands, in any number at once, and answers in order."""

    def __init__(self, owner: SessionOwner) -> None:
        """Start with nothing known."""
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._searched = 0
        """How far no end of a text was found."""
        self._in_data = False
        self._paused = False
        self._upgrade: asyncio.Task[None] | None = None
        self._logged_in = owner.login is None
        self._logging_in: list[str] = []
        """The question and answers of AUTH LOGIN so far; empty when none is under way."""
        self._refusing = ""
        """What is said after the client's answer to the challenge that tells why its token is not taken."""
        self._waited = False
        self.secured = False
        self._forget()

    def _forget(self) -> None:
        self.sender = ""
        self.recipients: list[str] = []
        self.envelope_id: str | None = None
        self.parameters: list[str] = []
        self._utf8 = False

    # ---------------------------------------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream is needed")
        upgraded = self._transport is not None
        self._transport = transport
        self.secured = transport.get_extra_info("sslcontext") is not None
        if not upgraded:
            self._owner.sessions.add(self)
            self._owner.connections += 1
            if self._owner.most_sessions is not None and len(self._owner.sessions) > self._owner.most_sessions:
                self._answer("421 4.7.0 Too many connections")
            else:
                self._say("connect", f"220 {self._owner.name} ESMTP mock")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget."""
        del exc
        self._owner.sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        """Take what came, and answer what is complete."""
        self._buffer += data
        self._go_on()

    def close(self) -> None:
        """Close the connection, with what was said before."""
        if self._transport is not None:
            self._transport.close()

    # ------------------------------------------------------------------------------------------------------ commands

    def _go_on(self) -> None:
        while self._buffer and not self._paused and self._transport is not None and not self._transport.is_closing():
            if self._in_data:
                if self._owner.breaks_off(self, "body"):
                    self._transport.abort()
                    return
                if not self._text_is_whole():
                    return
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                if len(line) > _LONGEST_LINE:
                    self._write("500 5.5.2 Line too long")
                    self.close()
                return
            if self._owner.tarpit_seconds and not self._waited:
                self._waited = self._paused = True
                asyncio.get_running_loop().call_later(self._owner.tarpit_seconds, self._go_on_after_a_while)
                return
            self._buffer, self._waited = rest, False
            self._line(line.decode("utf-8", "replace"))

    def _text_is_whole(self) -> bool:
        """Take the text up to its final dot, if that is there."""
        first = self._buffer.startswith(_END[2:])  # the CRLF before the dot is then that of the DATA command
        end = 0 if first else self._buffer.find(_END, max(0, self._searched - len(_END))) + 2
        if not first and end < 2:  # noqa: PLR2004
            self._searched = len(self._buffer)
            return False
        text = b"\r\n" + bytes(self._buffer[:end])
        del self._buffer[: end + len(_END) - 2]
        self._in_data, self._searched = False, 0
        self._take(text.replace(b"\r\n.", b"\r\n")[2:])
        return True

    def _go_on_after_a_while(self) -> None:
        self._paused = False
        self._go_on()

    def _line(self, line: str) -> None:
        if self._logging_in:
            self._say("auth", self._login_further(line))
            return
        if self._refusing:
            refusing, self._refusing = self._refusing, ""
            self._say("auth", refusing if line in ("", "AQ==") else "501 5.5.2 Cannot decode")
            return
        self._owner.heard.append(line)
        verb, _, argument = line.partition(" ")
        if self._buffer and (verb.upper() in ("DATA", "EHLO", "STARTTLS") or not self._offers("PIPELINING")):
            # RFC 2920 section 3.1. What follows STARTTLS in the clear is never read as a command.
            self._owner.improper += 1
            self._buffer.clear()
            self._write("503 5.5.0 Improper command pipelining")
            return
        self._command(verb.upper(), argument)

    def _offers(self, extension: str) -> bool:
        return any(offered.split()[0].upper() == extension for offered in self._owner.extensions)

    def _command(self, verb: str, argument: str) -> None:
        if verb == "STARTTLS" and self._owner.tls is not None and not self.secured:
            self._secure(self._owner.tls)
            return
        handler = self._COMMANDS.get(verb)
        if handler is None:
            self._write("502 5.5.2 Command not recognised")
        else:
            handler(self, argument)

    def _ehlo(self, _: str) -> None:
        self._forget()
        self._say("ehlo", self._hello())

    def _helo(self, _: str) -> None:
        self._forget()
        self._say("ehlo", f"250 {self._owner.name}")

    def _auth(self, argument: str) -> None:
        self._say("auth", self._login(argument))

    def _data(self, _: str) -> None:
        if not self.recipients:
            self._write("503 5.5.1 RCPT first")
        elif self._owner.breaks_off(self, "data"):
            self.close()
        else:
            self._in_data = self._say("data", "354 End data with <CR><LF>.<CR><LF>")

    def _rset(self, _: str) -> None:
        self._forget()
        self._say("rset", "250 2.0.0 Ok")

    def _noop(self, _: str) -> None:
        self._write("250 2.0.0 Ok")

    def _quit(self, _: str) -> None:
        self._write("221 2.0.0 Bye")
        self.close()

    def _hello(self) -> str:
        lines = [self._owner.name, *self._owner.extensions, "ENHANCEDSTATUSCODES"]
        if self._owner.tls is not None and not self.secured:
            lines.append("STARTTLS")
        if self._may_log_in:
            lines.append(f"AUTH {self._owner.logins}")
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    @property
    def _may_log_in(self) -> bool:
        return self._owner.login is not None and (self.secured or self._owner.login_in_the_clear)

    def _login(self, argument: str) -> str:
        method, _, initial = argument.partition(" ")
        if not self._may_log_in:
            return "538 5.7.11 Encryption required" if self._owner.login else "502 5.5.1 Not offered"
        match method.upper():
            case "PLAIN":
                words = _decoded(initial)
                return self._judge(words.split("\0")[1:]) if words is not None else "501 5.5.2 Cannot decode"
            case "LOGIN":
                self._logging_in = ["Username:"]
                return f"334 {b64encode(b'Username:').decode()}"
            case "XOAUTH2" | "OAUTHBEARER":
                return self._bear(_decoded(initial) or "")
            case _:
                return "504 5.5.4 Unrecognised authentication type"

    def _bear(self, words: str) -> str:
        """Judge an access token (the login's second word); why it is not taken is a challenge to be answered first."""
        head, _, rest = words.partition("\1auth=Bearer ")
        user = head.removeprefix("user=").removeprefix("n,a=").removesuffix(",")
        judged = self._judge([user, rest.removesuffix("\1\1")])
        if self._logged_in:
            return judged
        self._refusing = judged
        challenge = b64encode(b'{"status": "401"}').decode()
        return f"334 {challenge}"

    def _login_further(self, line: str) -> str:
        word = _decoded(line)
        if word is None:
            self._logging_in = []
            return "501 5.5.2 Cannot decode"
        self._logging_in.append(word)
        if len(self._logging_in) == 2:  # noqa: PLR2004
            return f"334 {b64encode(b'Password:').decode()}"
        words, self._logging_in = self._logging_in[1:], []
        return self._judge(words)

    def _judge(self, words: list[str]) -> str:
        self._logged_in = tuple(words) == self._owner.login
        return "235 2.7.0 Authentication successful" if self._logged_in else "535 5.7.8 Authentication failed"

    def _unknown_parameter(self, path: re.Match[str]) -> str | None:
        """Give the reply to what no client may say here: RFC 5321 section 4.1.1.11, 1870, 2852, 6531."""
        for parameter in path[2].split():
            keyword = parameter.partition("=")[0].upper()
            if not self._offers(_EXTENSION_OF.get(keyword, keyword)):
                return "555 5.5.4 Unsupported option"
            if keyword == "BY" and _DELIVER_BY.fullmatch(parameter) is None:
                return "501 5.5.4 Bad BY parameter"
            if keyword == "SIZE" and 0 < self._largest < int(parameter.partition("=")[2] or 0):
                return "552 5.3.4 Message size exceeds fixed limit"
        if not path[1].isascii() and not (self._utf8 or "SMTPUTF8" in path[2].upper().split()):
            return "553 5.6.7 Non-ASCII addresses not permitted"
        return None

    @property
    def _largest(self) -> int:
        sizes = [offered.split()[1:] for offered in self._owner.extensions if offered.upper().startswith("SIZE")]
        return int(sizes[0][0]) if sizes and sizes[0] else 0

    def _mail(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if not self._logged_in:
            self._write("530 5.7.0 Authentication required")
        elif path is None:
            self._write("501 5.1.7 Bad sender address syntax")
        elif self.parameters:
            self._write("503 5.5.1 Nested MAIL command")
        elif refusal := self._unknown_parameter(path):
            self._write(refusal)
        elif self._say("mail_from", "250 2.1.0 Ok"):
            self.sender = path[1]
            self.parameters.append(path[2])
            self._utf8 = "SMTPUTF8" in path[2].upper().split()
            found = _ENVELOPE_ID.search(path[2])
            self.envelope_id = found[1] if found else None

    def _rcpt(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if not self.parameters:
            self._write("503 5.5.1 MAIL first")
        elif path is None:
            self._write("501 5.1.3 Bad recipient address syntax")
        elif refusal := self._unknown_parameter(path):
            self._write(refusal)
        else:
            reply = self._owner.at_rcpt(self, path[1])
            if not reply:
                self.close()
            elif self._say("rcpt_to", reply) and reply.startswith("2"):
                self.recipients.append(path[1])
                self.parameters.append(path[2])

    _COMMANDS: ClassVar[dict[str, Callable[[Session, str], None]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "AUTH": _auth,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _data,
        "RSET": _rset,
        "NOOP": _noop,
        "QUIT": _quit,
    }

    def _take(self, data: bytes) -> None:
        if 0 < self._largest < len(data):
            self._forget()
            self._write("552 5.3.4 Message size exceeds fixed limit")
            return
        reply, delay = self._owner.at_dot(self, data)
        self._forget()
        if delay:
            self._paused = True
            asyncio.get_running_loop().call_later(delay, self._resume, reply)
        else:
            self._answer(reply)

    def _resume(self, reply: str | None) -> None:
        self._paused = False
        self._answer(reply)
        self._go_on()

    def _secure(self, context: ssl.SSLContext) -> None:
        if not self._say("starttls", "220 2.0.0 Ready to start TLS"):
            return
        transport = self._transport
        if transport is None:
            return
        if self._owner.injected:
            transport.write(self._owner.injected)
        self._paused = True

        async def upgrade() -> None:
            loop = asyncio.get_running_loop()
            try:
                secured = await loop.start_tls(transport, self, context, server_side=True)
            except OSError:
                transport.close()
                return
            if secured is not None:
                self.connection_made(secured)
                self._forget()
                self._paused = False
                self._go_on()

        self._upgrade = asyncio.get_running_loop().create_task(upgrade())

    # ------------------------------------------------------------------------------------------------------- replies

    def _say(self, phase: str, reply: str) -> bool:
        """Answer, in the scripted way where there is one; tells whether the command succeeded."""
        if phase in self._owner.replies:
            self._answer(self._owner.replies[phase])
            return False
        self._write(reply)
        return True

    def _answer(self, reply: str | None) -> None:
        if reply is None:
            self._paused = True  # for good: nothing that was said behind it is answered either
            return
        if reply == "":
            self.close()
            return
        self._write(reply)
        if reply.startswith("421"):
            self.close()

    def _write(self, reply: str) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(reply.encode() + b"\r\n")


def _decoded(word: str) -> str | None:
    try:
        return b64decode(word, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
