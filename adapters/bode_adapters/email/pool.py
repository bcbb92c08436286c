"""Kept lines to one relay, and many mails over them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from datetime import UTC, timedelta

import structlog

from bode_adapters.contract import Answer, Clock, Unavailable
from bode_adapters.email import answers
from bode_adapters.email.answers import FAILURES
from bode_adapters.email.call import Call, Item
from bode_adapters.email.connection import Connection, Ended
from bode_adapters.email.settings import Relay
from bode_adapters.oauth import AccessTokens, SharedTokens

_log = structlog.get_logger(__name__)


LOSSES = 3
"""New lines in a row that broke over their first mail: after so many a relay is left alone for this call."""
SHORTEST_REST = timedelta(seconds=30)
LONGEST_REST = timedelta(minutes=10)


class NoLineError(Exception):
    """No line could be made: the answer is the same for every mail that waits for one, and none was tried."""

    def __init__(self, answer: Answer) -> None:
        """Keep the answer."""
        super().__init__(type(answer).__name__)
        self.answer = answer


class Pool:
    """At most `connections` lines to a relay. A line is made when a mail needs it and kept while it is of use.

    A relay with which nothing goes rests for a while, longer each time: others go first until then.
    """

    def __init__(self, relay: Relay, *, clock: Clock) -> None:
        """Prepare; raises `SettingError` for a certificate file that cannot be used."""
        self.relay = relay
        self._clock = clock
        self._tls = relay.tls_context()
        self._tokens = (
            SharedTokens(AccessTokens(relay.oauth, timeout_seconds=relay.timeouts.command))
            if relay.oauth is not None
            else None
        )
        self._helo = relay.helo_name
        self._free = asyncio.Semaphore(relay.connections)
        self._idle: deque[Connection] = deque()
        self._reaper: asyncio.Task[None] | None = None
        self._rest = timedelta(0)
        self._rests_until = clock()

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

    # --------------------------------------------------------------------------------------------------- many mails

    @property
    def rests(self) -> bool:
        """Whether nothing went with this relay, not long ago."""
        return self._clock() < self._rests_until

    async def deliver(self, call: Call[Item]) -> Answer | None:
        """Send what waits in a call, over as many lines as allowed; gives why it did not get to all, if so.

        A line that cannot be made does not use up a mail: it waits for the lines that can. A line on which the relay
        fell silent is not replaced within the call: a relay that hangs costs one time-out, not one per mail.
        """
        trouble: list[Answer] = []
        if not await call.more():
            return None
        lanes = min(self.relay.connections, call.waiting)
        while lanes and await call.more():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._lane(call, trouble)) for _ in range(lanes)]
            lanes = sum(task.result() for task in tasks)
        if lanes or not trouble:
            self._well()
            return None
        self._had_trouble(trouble[-1])
        return trouble[-1]

    async def _lane(self, call: Call[Item], trouble: list[Answer]) -> bool:
        """Carry mails over one line, and another when it is used up; tells whether the relay is good for more."""
        losses = 0
        while await call.more():
            try:
                async with self._free:
                    ended = await self._over_a_line(call)
            except NoLineError as error:
                trouble.append(error.answer)
                return False
            if ended is Ended.SILENT:
                trouble.append(Unavailable("not_tried:timeout"))
                return False
            losses = losses + 1 if ended is Ended.LOST else 0
            if losses == LOSSES:
                trouble.append(Unavailable("not_tried:lost"))
                return False
        return True

    async def _over_a_line(self, call: Call[Item]) -> Ended:
        connection = self._kept() or await self._made()
        try:
            return await connection.carry(call.work)
        finally:
            if connection.keepable and self._reaper is not None:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)
            else:
                await connection.close()

    async def probe(self) -> Answer | None:
        """Make a new line, logged in where there is a login, and close it; gives why that did not go."""
        try:
            connection = await self._made()
        except NoLineError as error:
            return error.answer
        await connection.close()
        return None

    def _had_trouble(self, answer: Answer) -> None:
        if self.rests:
            return  # another call said so already
        self._rest = min(max(self._rest * 2, SHORTEST_REST), LONGEST_REST)
        self._rests_until = self._clock() + self._rest
        code = getattr(answer, "code", "")
        _log.warning("relay.rests", relay=self.relay.host, code=str(code), seconds=round(self._rest.total_seconds()))

    def _well(self) -> None:
        if self._rest:
            _log.info("relay.works_again", relay=self.relay.host)
        self._rest, self._rests_until = timedelta(0), self._clock()

    # -------------------------------------------------------------------------------------------------------- lines

    def _kept(self) -> Connection | None:
        """Give the idle line that was used last and is still there, or none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.keepable:
                return connection
            connection.abort()
        return None

    async def _made(self) -> Connection:
        now = self._clock
        connection = Connection(
            self.relay,
            tls=self._tls,
            helo=self._helo or "localhost",
            now=lambda: now().astimezone(UTC),
            tokens=self._tokens,
        )
        try:
            await connection.open()
        except FAILURES as error:
            raise NoLineError(answers.answer(error, phase=connection.phase, mta=connection.mta)) from None
        finally:
            if not connection.keepable:
                connection.abort()
        return connection

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(self.relay.idle_seconds / 2)
            oldest = asyncio.get_running_loop().time() - self.relay.idle_seconds
            while self._idle and self._idle[0].idle_since < oldest:
                await self._idle.popleft().close()
