"""One connection to the mock mail server: the SMTP of RFC 5321 with STARTTLS, AUTH PLAIN and PIPELINING."""

from __future__ import annotations

import asyncio
import binascii
import re
import ssl
from base64 import b64decode
from collections.abc import Callable
from typing import ClassVar

_PATH = re.compile(r'(?:FROM|TO):\s*<((?:"[^"]*"|[^>"])*)>\s*(.*)', re.IGNORECASE)
_ENVELOPE_ID = re.compile(r"\bENVID=(\S+)", re.IGNORECASE)
_END = b"\r\n.\r\n"
_LONGEST_LINE = 8192


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
        self.extensions = extensions
        self.replies: dict[str, str | None] = {}
        """Scripted reply by phase, for every mail."""
        self.sessions: set[Session] = set()
        self.connections = 0
        """How many connections were made in all."""
        self.most_sessions: int | None = None
        """How many connections at a time are welcome; the next gets `421 4.7.0`."""

    def at_rcpt(self, session: Session, recipient: str) -> str:
        """Give the reply to RCPT."""
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
        self._buffer = b""
        self._in_data = False
        self._paused = False
        self._upgrade: asyncio.Task[None] | None = None
        self._logged_in = owner.login is None
        self.secured = False
        self._forget()

    def _forget(self) -> None:
        self.sender = ""
        self.recipients: list[str] = []
        self.envelope_id: str | None = None
        self.parameters: list[str] = []

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
                # The dot may be the first line: the CRLF before it is then that of the DATA command.
                mail, end, rest = (b"\r\n" + self._buffer).partition(_END)
                if not end:
                    return
                self._buffer, self._in_data = rest, False
                self._take((mail + b"\r\n").replace(b"\r\n.", b"\r\n")[2:])
                continue
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                if len(line) > _LONGEST_LINE:
                    self._write("500 5.5.2 Line too long")
                    self.close()
                return
            self._buffer = rest
            verb, _, argument = line.decode("utf-8", "replace").partition(" ")
            self._command(verb.upper(), argument)

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
        if self._owner.login is not None:
            lines.append("AUTH PLAIN")
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _login(self, argument: str) -> str:
        method, _, initial = argument.partition(" ")
        if method.upper() != "PLAIN" or self._owner.login is None:
            return "504 5.5.4 Unrecognised authentication type"
        try:
            name, password = b64decode(initial, validate=True).decode().split("\0")[1:]
        except (binascii.Error, ValueError):
            return "501 5.5.2 Cannot decode"
        self._logged_in = (name, password) == self._owner.login
        return "235 2.7.0 Authentication successful" if self._logged_in else "535 5.7.8 Authentication failed"

    def _mail(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if not self._logged_in:
            self._write("530 5.7.0 Authentication required")
        elif path is None:
            self._write("501 5.1.7 Bad sender address syntax")
        elif self.parameters:
            self._write("503 5.5.1 Nested MAIL command")
        elif self._say("mail_from", "250 2.1.0 Ok"):
            self.sender = path[1]
            self.parameters.append(path[2])
            found = _ENVELOPE_ID.search(path[2])
            self.envelope_id = found[1] if found else None

    def _rcpt(self, argument: str) -> None:
        path = _PATH.fullmatch(argument)
        if not self.parameters:
            self._write("503 5.5.1 MAIL first")
        elif path is None:
            self._write("501 5.1.3 Bad recipient address syntax")
        else:
            reply = self._owner.at_rcpt(self, path[1])
            if self._say("rcpt_to", reply) and reply.startswith("2"):
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
        self._buffer = b""  # what came before the handshake is not to be trusted (RFC 3207, section 6)
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
