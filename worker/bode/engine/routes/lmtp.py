"""Bounces by LMTP (RFC 2033) from a mail server on this machine: an answer for each recipient, after each is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from weakref import WeakSet

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import Envelope, Session

from bode.engine.routes.keeping import Kept, Store, keep, raw_mail
from bode.engine.routes.loopback import is_loopback

log = structlog.get_logger()

ROUTE = "lmtp"
_MOST_RECIPIENTS = 100
_NOT_NOW = "451 4.3.0 not stored now, try again"


class _Session(LMTP):
    """One connection. aiosmtpd gives one answer after the data; LMTP owes one for every recipient it took."""

    # A bounce that quotes a long line is a bounce all the same: the standard's 1000 is for who sends.
    line_length_limit = 200_000
    _owed = 0

    async def push(self, status: Any) -> None:
        """Send an answer, once for each recipient where LMTP asks that."""
        if isinstance(status, str):
            if status.startswith("354"):
                self._owed = len(self.envelope.rcpt_tos) if self.envelope is not None else 0
            elif self._owed:
                owed, self._owed = self._owed, 0
                if status.count("\r\n") + 1 != owed:
                    status = "\r\n".join([status] * owed)
        await super().push(status)


class LmtpListener:
    """The LMTP listener that bounces come to."""

    def __init__(self, store: Store, *, domain: str, now: Callable[[], datetime]) -> None:
        """Take the domain of our return paths; mail for any other is refused."""
        self._store = store
        self._domain = domain.lower()
        self._now = now
        self._server: asyncio.Server | None = None
        self._socket: Path | None = None
        self._sessions: WeakSet[_Session] = WeakSet()

    async def start(self, host: str, port: int, *, max_bytes: int) -> int:
        """Listen on a TCP port; gives the port (a free one when asked for 0). Raises `ValueError` beyond loopback.

        LMTP knows no sender and no secret: whoever reaches it is believed.
        """
        if not is_loopback(host):
            raise ValueError(f"LMTP listens on loopback or on a socket, not on {host}")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._factory(max_bytes), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def start_socket(self, path: Path, *, max_bytes: int, mode: int = 0o660) -> None:
        """Listen on a Unix socket with this mode; one that an earlier process left is replaced."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._factory(max_bytes), path)
        self._socket = path
        await asyncio.to_thread(path.chmod, mode)

    async def stop(self) -> None:
        """Listen no more. A mail that is being sent now gets no answer: its sender keeps it, and sends it again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for session in list(self._sessions):
            if session.transport is not None:
                session.transport.close()
        await server.wait_closed()
        if self._socket is not None:
            await asyncio.to_thread(self._socket.unlink, missing_ok=True)

    def _factory(self, max_bytes: int) -> Callable[[], _Session]:
        loop = asyncio.get_running_loop()

        def session() -> _Session:
            made = _Session(
                self,
                data_size_limit=max_bytes,
                enable_SMTPUTF8=True,
                hostname=self._domain,
                ident="Bode",
                loop=loop,
            )
            self._sessions.add(made)
            return made

        return session

    async def handle_RCPT(  # noqa: N802 - the hook's name is aiosmtpd's
        self, server: LMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take mail for our own return paths only."""
        del server, session, options
        if address.rpartition("@")[2].lower() != self._domain:
            return "550 5.1.2 not a return path of ours"
        if len(envelope.rcpt_tos) >= _MOST_RECIPIENTS:
            return "452 4.5.3 too many recipients, send the rest later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, server: LMTP, session: Session, envelope: Envelope
    ) -> str:
        """Store for each recipient, then answer for each: what was answered with 250 is never lost."""
        del server, session
        content = envelope.content or b""
        mail = content if isinstance(content, bytes) else content.encode()
        answers: list[str] = []
        for recipient in envelope.rcpt_tos:
            kept = await keep(self._store, raw_mail(ROUTE, recipient, mail, self._now()))
            # What cannot be stored at all stays with the sender too, where a person sees it in the queue.
            answers.append("250 2.0.0 stored" if kept is Kept.STORED else _NOT_NOW)
        return "\r\n".join(answers)

    async def handle_exception(self, error: Exception) -> str:
        """Answer our own defect so that the sender keeps the mail; aiosmtpd's 500 would make it bounce."""
        log.error("inbound.lmtp_defect", error=type(error).__name__)
        return _NOT_NOW
