"""A socket to a relay that is written in bytes and read in replies.

An `asyncio.Protocol`, because asyncio's streams keep what was read where nobody may look: whether anything came before
the handshake of TLS is exactly what must be known (RFC 3207 section 6).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Final

from bode_adapters.email.replies import NotSmtpError, Reply, ReplyReader

BLOCK: Final = 64 * 1024
"""What is written at once. A larger mail goes in blocks, so that it is known what was not sent."""
HAPPY_EYEBALLS: Final = 0.25
"""Seconds after which the relay's next address is tried beside the first (RFC 8305)."""


class LostError(ConnectionError):
    """The line is gone: closed on the other side, or broken."""


class SpokeTooSoonError(Exception):
    """Something came before the handshake of TLS that was not asked for: it can be from anybody in between."""


class Wire(asyncio.Protocol):
    """One socket. `reply` gives what the relay said, in the order it was said."""

    def __init__(self) -> None:
        """Start without a socket; `connect` makes one with it."""
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._broken: type[Exception] | None = None
        self._cause: Exception | None = None
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.secured = False
        """Whether TLS protects what is said."""

    @classmethod
    async def connect(cls, host: str, port: int, *, tls: ssl.SSLContext | None, seconds: float) -> Wire:
        """Make a socket, with TLS from the first byte where there is a context; raises `OSError`, `TimeoutError`."""
        async with asyncio.timeout(seconds):
            _, wire = await asyncio.get_running_loop().create_connection(
                cls, host, port, ssl=tls, happy_eyeballs_delay=HAPPY_EYEBALLS
            )
        return wire

    async def secure(self, tls: ssl.SSLContext, *, host: str, seconds: float) -> None:
        """Do the handshake of TLS; raises `SpokeTooSoonError`, `ssl.SSLError`, `OSError`, `TimeoutError`."""
        transport = self._open_transport()
        if self._replies or self._reader.in_between:
            raise SpokeTooSoonError
        async with asyncio.timeout(seconds):
            secured = await self._loop.start_tls(transport, self, tls, server_hostname=host)
        if secured is None:
            raise LostError
        self.connection_made(secured)

    # ---------------------------------------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream is needed")
        self._transport = transport
        self.secured = transport.get_extra_info("sslcontext") is not None

    def data_received(self, data: bytes) -> None:
        """Read replies, and wake who waits for one."""
        if self._broken is not None:
            return
        try:
            self._replies.extend(self._reader.feed(data))
        except NotSmtpError:
            self._break(NotSmtpError)
        if self._replies:
            self._wake()

    def eof_received(self) -> bool:
        """Close as well."""
        self._break(LostError)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        self._cause = exc
        self._break(LostError)
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Let `drained` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let `drained` go on."""
        self._writable.set()

    # ------------------------------------------------------------------------------------------------ for its user

    @property
    def is_open(self) -> bool:
        """Whether more can be said, and all that was said by the relay is read."""
        transport = self._transport
        at_rest = self._broken is None and not self._replies and not self._reader.in_between
        return at_rest and transport is not None and not transport.is_closing()

    def write(self, data: bytes) -> None:
        """Say something; raises `LostError` where nobody can hear it: then nothing of it was sent."""
        self._open_transport().write(data)

    async def drained(self, seconds: float) -> None:
        """Wait until more may be written, or the relay says something meanwhile; raises `LostError`, `TimeoutError`."""
        if self._writable.is_set() or self._replies:
            return
        self._until = self._loop.time() + seconds
        async with asyncio.timeout(seconds):
            done = asyncio.ensure_future(self._writable.wait())
            heard = asyncio.ensure_future(self._heard())
            try:
                await asyncio.wait((done, heard), return_when=asyncio.FIRST_COMPLETED)
            finally:
                done.cancel()
                heard.cancel()
                await asyncio.gather(done, heard, return_exceptions=True)
        if self._broken is not None and not self._replies:
            raise self._broken from self._cause

    @property
    def said_something(self) -> bool:
        """Whether a reply can be read at once."""
        return bool(self._replies)

    async def reply(self, seconds: float) -> Reply:
        """Give the next reply; raises `TimeoutError`, `LostError`, `NotSmtpError`.

        One timer serves all replies of the line, and is moved only when it goes off: setting and cancelling one for
        every reply costs as much as the reply.
        """
        if not self._replies:
            self._until = self._loop.time() + seconds
            if self._timer is None or self._timer.when() > self._until:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(self._until, self._tick)
            await self._heard()
        return self._replies.popleft()

    def close(self) -> None:
        """Close the socket with what was written, TLS with its farewell."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the socket at once."""
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------------------------------------------- inside

    async def _heard(self) -> None:
        if self._replies:
            return
        if self._broken is not None:
            raise self._broken from self._cause
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if not self._replies and self._broken is not None:
            raise self._broken from self._cause

    def _open_transport(self) -> asyncio.Transport:
        transport = self._transport
        if self._broken is not None or transport is None or transport.is_closing():
            raise LostError from self._cause
        return transport

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._tick)
        else:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, error: type[Exception]) -> None:
        """Let no reply follow on those that were read: the first reason stands."""
        if self._broken is None:
            self._broken = error
        self._wake()
