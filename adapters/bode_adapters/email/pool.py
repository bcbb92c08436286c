"""Kept lines to one relay, and many mails over them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import NamedTuple, TypeVar

from bode_adapters.contract import Answer, Clock, Placed, Refused, TimeSource, Unavailable
from bode_adapters.email import answers
from bode_adapters.email.answers import FAILURES, Phase
from bode_adapters.email.connection import Connection, Mail
from bode_adapters.email.settings import SmtpSettings

Item = TypeVar("Item")

IDLE_SECONDS = 30.0
"""An idle line is closed after this; Postfix under stress closes after 10, and a closed line costs one reconnect."""
TRUSTED_IDLE_SECONDS = 3.0
"""A line idle for longer is asked with RSET before it gets a mail."""


class NoLineError(Exception):
    """No line could be made: the answer is the same for every mail that waits for one, and none was tried."""

    def __init__(self, answer: Answer) -> None:
        """Keep the answer."""
        super().__init__(type(answer).__name__)
        self.answer = answer


class Outcome(NamedTuple):
    """What became of one mail, and whether the relay fell silent over it."""

    answer: Answer
    silent: bool


class Pool:
    """At most `connections` lines to a relay. A line is made when a mail needs it and kept while it is of use."""

    def __init__(self, settings: SmtpSettings, *, clock: Clock) -> None:
        """Prepare; raises `SettingError` for a `ca_file` that cannot be read."""
        self._settings = settings
        self._clock = clock
        self._tls = settings.tls_context()
        self._helo = settings.helo_name
        self._free = asyncio.Semaphore(settings.connections)
        self._idle: deque[Connection] = deque()
        self._reaper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start closing what stays idle."""
        if self._reaper is not None:
            return
        if self._helo is None:
            self._helo = await asyncio.to_thread(socket.getfqdn)
        self._reaper = asyncio.create_task(self._reap(), name="bode-smtp-idle")

    async def close(self) -> None:
        """Take leave of the relay on every idle line."""
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
            self._reaper = None
        idle, self._idle = self._idle, deque()
        await asyncio.gather(*(connection.close() for connection in idle))

    async def deliver_all(
        self, items: Sequence[Item], prepare: Callable[[Item], Awaitable[Mail | Refused]]
    ) -> list[Answer]:
        """Send many, over as many lines as allowed; an answer per item, in the order given.

        A line that cannot be made does not use up an item: it waits for the lines that can. Only when none can is the
        failure the answer for what is left. A line on which the relay fell silent is not replaced within the call: a
        relay that hangs costs one time-out, not one per mail.
        """
        found: list[Answer | None] = [None] * len(items)
        todo = deque(range(len(items)))
        rest: Answer = Unavailable("not_tried")

        async def lane() -> bool:
            nonlocal rest
            worked = False
            while todo:
                at = todo.popleft()
                mail = await prepare(items[at])
                if isinstance(mail, Refused):
                    found[at] = mail
                    continue
                try:
                    found[at], silent = await self.deliver(mail)
                except NoLineError as error:
                    todo.appendleft(at)
                    rest = error.answer
                    return worked
                if silent:
                    rest = Unavailable("not_tried:timeout")
                    return False
                worked = True
            return worked

        lanes = min(self._settings.connections, len(items))
        while todo and lanes:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(lane()) for _ in range(lanes)]
            lanes = sum(task.result() for task in tasks)
        return [rest if answer is None else answer for answer in found]

    async def deliver(self, mail: Mail) -> Outcome:
        """Send one mail; raises `NoLineError` where no line could be made.

        A kept line that turns out to be closed before it took the sender is replaced once: nothing was handed over.
        """
        async with self._free:
            kept = await self._kept()
            if kept is not None:
                outcome = await self._use(kept, mail)
                if kept.keepable or outcome.silent or kept.phase is not Phase.MAIL_FROM:
                    return outcome
            return await self._use(await self._made(), mail)

    async def _kept(self) -> Connection | None:
        """Give an idle line that is still there, or none."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.keepable:
                connection.abort()
                continue
            if connection.half_open or now - connection.idle_since > TRUSTED_IDLE_SECONDS:
                try:
                    await connection.reset()
                except FAILURES:
                    connection.abort()
                    continue
                except asyncio.CancelledError:
                    connection.abort()
                    raise
            return connection
        return None

    async def _made(self) -> Connection:
        connection = Connection(self._settings, tls=self._tls, helo=self._helo or "localhost")
        try:
            await connection.open()
        except FAILURES as error:
            raise NoLineError(answers.answer(error, phase=connection.phase, mta=connection.mta)) from None
        finally:
            if not connection.keepable:
                connection.abort()
        return connection

    async def _use(self, connection: Connection, mail: Mail) -> Outcome:
        try:
            code, text = await connection.send(mail, now=self._clock().astimezone(UTC))
            receipt_code = answers.receipt_code(code, text, mail.recipient)
            placed = Placed(self._clock(), TimeSource.OUR_CLOCK, receipt=mail.message_id, code=receipt_code)
            return Outcome(placed, silent=False)
        except FAILURES as error:
            answer = answers.answer(error, phase=connection.phase, mta=connection.mta)
            return Outcome(answer, silent=isinstance(error, TimeoutError))
        finally:
            if connection.keepable and self._reaper is not None:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
            else:
                connection.abort()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(IDLE_SECONDS / 2)
            oldest = asyncio.get_running_loop().time() - IDLE_SECONDS
            while self._idle and self._idle[0].idle_since < oldest:
                await self._idle.popleft().close()
