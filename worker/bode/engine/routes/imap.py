"""Bounces from an IMAP mailbox: brought in, stored, then marked or moved.

The library blocks, so each of its calls runs in a thread of its own; see `imap_mailbox` for what is said to the server.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from threading import Event, Thread
from typing import Any, Final, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from bode.engine.inbound import Raw
from bode.engine.routes.imap_mailbox import ImapAccount, ImapMailbox, Lost, Refused
from bode.engine.routes.keeping import APART, TROUBLE, IsOurs, Kept, Store, keep, raw_mail, recipient_of
from bode_adapters.oauth import AccessTokens

log = structlog.get_logger()

ROUTE = "imap"
_MOST_LOSSES: Final = 3
"""A mail at which the connection was lost so often is set apart unread: some servers break on a mail."""
_LONG_ENOUGH_SECONDS: Final = 60.0
"""A session that lasted so long was a good one: after it, the waits between attempts start small again."""
_LEAVE_SECONDS: Final = 0.8
_BETWEEN_SECONDS: Final = 1.0
_DATABASE_SECONDS: Final = 5.0

_T = TypeVar("_T")


class ImapRoute:
    """Brings in the mails of an IMAP folder."""

    def __init__(
        self,
        store: Store,
        account: ImapAccount,
        *,
        is_ours: IsOurs,
        now: Callable[[], datetime],
        max_bytes: int,
        poll_seconds: float = 60.0,
        wait_seconds: float = 300.0,
        batch: int = 50,
        longest_backoff_seconds: float = 120.0,
    ) -> None:
        """Take the account, and `ReturnPath.is_ours`.

        `wait_seconds` (less than 29 minutes) is how long one IDLE lasts; `poll_seconds` is the time between looks at a
        server that has no IDLE; `batch` is how many mails are taken before looking again.
        """
        self._store = store
        self._account = account
        self._is_ours = is_ours
        self._now = now
        self._max_bytes = max_bytes
        self._poll_seconds = poll_seconds
        self._wait_seconds = wait_seconds
        self._batch = batch
        self._longest_backoff = longest_backoff_seconds
        self._backoff = wait_random_exponential(multiplier=1, max=longest_backoff_seconds)
        self._losses: Counter[tuple[int, int]] = Counter()
        self._left: set[tuple[int, int]] = set()
        """Mails that are done with, but that the server would not let us mark."""
        self._taken = 0
        # Kept over connections: a token is good for an hour or so, whatever the network does.
        oauth = account.oauth
        self._tokens = AccessTokens(oauth, timeout_seconds=account.timeout_seconds) if oauth is not None else None

    async def run(self) -> None:
        """Bring mails in until cancelled; then ends within two seconds, whatever the server does."""
        while True:
            attempts = AsyncRetrying(
                retry=retry_if_exception_type(Lost), wait=self._backoff, before_sleep=self._tell_of_trouble
            )
            async for attempt in attempts:
                with attempt:
                    await self._session()
            await asyncio.sleep(min(_BETWEEN_SECONDS, self._longest_backoff))

    async def _session(self) -> None:
        """Work one connection to its end. Raises `Lost` when it was of no use: the next one comes later then."""
        stop, threads = Event(), _Threads()
        mailbox = ImapMailbox(self._account, stop, self._tokens)
        began, taken, cancelled = time.monotonic(), self._taken, True
        try:
            await threads.call(mailbox.open)
            log.info("inbound.imap_connected", host=self._account.host, waits=mailbox.can_wait)
            while True:
                if await self._bring_in(mailbox, threads):
                    continue
                if mailbox.can_wait:
                    await threads.call(lambda: mailbox.wait(self._wait_seconds))
                else:
                    await asyncio.sleep(self._poll_seconds)
        except Lost as lost:
            cancelled = False
            if self._taken == taken and time.monotonic() - began < _LONG_ENOUGH_SECONDS:
                raise
            self._tell(str(lost))
        finally:
            stop.set()
            try:
                await _leave(mailbox, threads, politely=cancelled)
            except asyncio.CancelledError:
                # Stopped in the middle of leaving a connection that was lost.
                mailbox.break_off()
                if not threads.busy:
                    mailbox.close()
                raise

    async def _bring_in(self, mailbox: ImapMailbox, threads: _Threads) -> bool:
        """Take one batch; tells whether there may be more."""
        uids = await threads.call(lambda: mailbox.unseen(self._batch, but=self._left))
        for uid in uids:
            if not await self._take(mailbox, threads, uid):
                # The database is away. The mails stay where they are.
                await asyncio.sleep(min(_DATABASE_SECONDS, self._poll_seconds))
                return True
        return len(uids) >= self._batch

    async def _take(self, mailbox: ImapMailbox, threads: _Threads, uid: int) -> bool:
        """Bring in one mail, or set it apart; tells whether it is done with."""
        this = (mailbox.validity, uid)
        if self._losses[this] >= _MOST_LOSSES:
            return await self._set_apart(mailbox, threads, uid, "connection_lost")
        try:
            raw = await threads.call(lambda: self._fetch(mailbox, uid))
        except Refused as refused:
            return await self._set_apart(mailbox, threads, uid, str(refused))
        except Lost:
            self._losses[this] += 1
            raise
        kept = Kept.STORED if raw is None else await keep(self._store, raw)
        if kept is Kept.NEVER:
            return await self._set_apart(mailbox, threads, uid, "not_storable")
        if kept is Kept.STORED and raw is not None:
            await self._mark(mailbox, threads, uid, mailbox.done)
        return kept is Kept.STORED

    def _fetch(self, mailbox: ImapMailbox, uid: int) -> Raw | None:
        mail = mailbox.fetch(uid, max_bytes=self._max_bytes)
        if mail is None:
            return None
        return raw_mail(ROUTE, recipient_of(mail, self._is_ours), mail, self._now())

    async def _set_apart(self, mailbox: ImapMailbox, threads: _Threads, uid: int, reason: str) -> bool:
        APART.labels(ROUTE).inc()
        log.error("inbound.set_apart", route=ROUTE, name=f"{mailbox.validity}/{uid}", reason=reason)
        await self._mark(mailbox, threads, uid, mailbox.apart)
        return True

    async def _mark(self, mailbox: ImapMailbox, threads: _Threads, uid: int, how: Callable[[int], None]) -> None:
        try:
            await threads.call(lambda: how(uid))
        except Refused as refused:
            log.error("inbound.imap_not_marked", name=f"{mailbox.validity}/{uid}", reason=str(refused))
            self._left.add((mailbox.validity, uid))
        self._losses.pop((mailbox.validity, uid), None)
        self._taken += 1

    def _tell_of_trouble(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self._tell(str(error))

    def _tell(self, error: str) -> None:
        TROUBLE.labels(ROUTE).inc()
        log.warning("inbound.imap_away", host=self._account.host, error=error)


class _Threads:
    """Runs one blocking call at a time, in a daemon thread: a server that hangs does not hold up our end."""

    def __init__(self) -> None:
        self._latest: Future[Any] | None = None

    async def call(self, function: Callable[[], _T]) -> _T:
        """Give what the function gives. When cancelled, the function goes on; see `idle`."""
        outcome: Future[_T] = Future()
        outcome.set_running_or_notify_cancel()

        def work() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                outcome.set_exception(error)

        self._latest = outcome
        Thread(target=work, name="bode-imap", daemon=True).start()
        return await asyncio.wrap_future(outcome)

    @property
    def busy(self) -> bool:
        """Whether a call has not ended yet."""
        return self._latest is not None and not self._latest.done()

    async def idle(self, seconds: float) -> bool:
        """Wait for the latest call to end, this long at most; tells whether it did."""
        if self._latest is None:
            return True
        waiting = asyncio.wrap_future(self._latest)
        # How it ended was told to who called it, or nobody asks any more.
        waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait([waiting], timeout=seconds)
        return self._latest.done()


async def _leave(mailbox: ImapMailbox, threads: _Threads, *, politely: bool) -> None:
    """Close the connection: with a goodbye where there is time for one."""
    if await threads.idle(_LEAVE_SECONDS if politely else 0.0) and politely:
        goodbye = asyncio.ensure_future(threads.call(mailbox.leave))
        await asyncio.wait([goodbye], timeout=_LEAVE_SECONDS)
        if goodbye.done():
            return
        goodbye.cancel()
    mailbox.break_off()
    if await threads.idle(_LEAVE_SECONDS / 2):
        mailbox.close()
