"""The HTTP server: uvicorn, with an end to the patience that slow clients may ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bode.settings import ApiSettings


def server_config(app: Any, settings: ApiSettings, *, grace_seconds: float = 1) -> uvicorn.Config:
    """Give how an application is served.

    Who calls is who is connected: what a proxy says of addresses behind it is not believed, as the address decides
    whether its word on client certificates is.
    """
    return uvicorn.Config(
        app,
        http=_patient(settings.client_timeout_seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=int(grace_seconds) or 1,
    )


def _patient(seconds: float) -> type[asyncio.Protocol]:
    class Patient(_Patient):
        patience = seconds

    return Patient


class _Patient(H11Protocol):
    """Ends a connection whose headers do not come whole in time, or whose answer nobody takes.

    Who is still sending need not take yet: many clients send all of a large request before they read a word.
    How fast a body must come is the application's to say: it can still answer.
    """

    patience: float
    _overdue: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _heard_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._overdue = self._later()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        super().data_received(data)
        answered: bool = getattr(self.cycle, "response_complete", False)  # before the first request there is none
        if self.conn.their_state is not h11.IDLE and not answered:
            _cancel(self._overdue)
            self._overdue = None
        elif self._overdue is None:
            # A part of the next request's headers, or of a body that was answered before it was whole.
            self._overdue = self._later()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stuck is None:
            self._heard_at = self.loop.time()
            self._end_if_silent()

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._stuck)
        self._stuck = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        _cancel(self._overdue)
        _cancel(self._stuck)

    def _end_if_silent(self) -> None:
        now = self.loop.time()
        if self.flow.read_paused and self.conn.their_state is h11.SEND_BODY:
            self._heard_at = now  # It is we who do not listen (rows are being stored): of the client nothing is known.
        left = self._heard_at + self.patience - now
        if left > 0:
            self._stuck = self.loop.call_later(min(left, self.patience / 4), self._end_if_silent)
        else:
            self.transport.abort()

    def _later(self) -> asyncio.TimerHandle:
        end: Callable[[], None] = self.transport.abort
        return self.loop.call_later(self.patience, end)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
