"""Bounces from a maildir, where a mail server on this machine delivers them.

A mail moves from `new/` to `cur/` only after it is stored: after a crash in between it is stored again, which is a
success. The folder is Bode's alone; what cannot be read lies in `apart/` beside them, for a person.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from bode.engine.inbound import Raw
from bode.engine.routes.keeping import APART, TROUBLE, IsOurs, Kept, Store, keep, raw_mail, recipient_of

log = structlog.get_logger()

ROUTE = "maildir"
_NOT_ABOUT_THE_FILE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE}


class _Unreadable(Exception):  # noqa: N818 - it says what the file is
    """A file that will not become readable by waiting; the text says why, in one word."""


class MaildirRoute:
    """Brings in the mails of a maildir."""

    def __init__(
        self,
        store: Store,
        *,
        folder: Path,
        is_ours: IsOurs,
        now: Callable[[], datetime],
        max_bytes: int,
        poll_seconds: float = 5.0,
        batch: int = 100,
    ) -> None:
        """Take the maildir (made when it is not there), `ReturnPath.is_ours`, and the size of the largest mail."""
        self._store = store
        self._folder = folder
        self._is_ours = is_ours
        self._now = now
        self._max_bytes = max_bytes
        self._poll_seconds = poll_seconds
        self._batch = batch
        self._stored: set[str] = set()
        """Names that are stored and could not be moved."""
        self._stuck: set[str] = set()
        """Names that could not be moved to where they belong: they come last in each round."""

    async def run(self) -> None:
        """Bring mails in until cancelled. Trouble is logged, and the next round tries again."""
        while True:
            try:
                full = await self.bring_in() >= self._batch
            except OSError as error:
                TROUBLE.labels(ROUTE).inc()
                log.error("inbound.maildir_away", error=type(error).__name__, errno=error.errno)
                full = False
            if not full:
                await asyncio.sleep(self._poll_seconds)

    async def bring_in(self) -> int:
        """Take one batch of mails, the oldest first; gives how many are done with. Raises `OSError` without a folder.

        Ends early, and gives 0, when the database is away.
        """
        done = 0
        for name in await asyncio.to_thread(self._names):
            try:
                raw = None if name in self._stored else await asyncio.to_thread(self._read, name)
            except FileNotFoundError:
                continue
            except (_Unreadable, OSError) as error:
                if isinstance(error, OSError) and error.errno in _NOT_ABOUT_THE_FILE:
                    raise
                reason = str(error) if isinstance(error, _Unreadable) else type(error).__name__
                done += await asyncio.to_thread(self._set_apart, name, reason)
                continue
            match Kept.STORED if raw is None else await keep(self._store, raw):
                case Kept.STORED:
                    self._stored.add(name)
                    done += await asyncio.to_thread(self._let_go, name)
                case Kept.NEVER:
                    done += await asyncio.to_thread(self._set_apart, name, "not_storable")
                case Kept.LATER:
                    return 0
        return done

    def _names(self) -> list[str]:
        for name in ("new", "cur", "tmp", "apart"):
            (self._folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        found = [path.name for path in (self._folder / "new").iterdir() if not path.name.startswith(".")]
        self._stored.intersection_update(found)
        self._stuck.intersection_update(found)
        # A maildir's names start with the time of delivery.
        return sorted(found, key=lambda name: (name in self._stuck, name))[: self._batch]

    def _read(self, name: str) -> Raw:
        # Neither a link out of the maildir is followed, nor is a pipe waited for.
        descriptor = os.open(self._folder / "new" / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unreadable("no_file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                mail = file.read(self._max_bytes + 1)
        finally:
            os.close(descriptor)
        if len(mail) > self._max_bytes:
            raise _Unreadable("too_large")
        return raw_mail(ROUTE, recipient_of(mail, self._is_ours), mail, self._now())

    def _let_go(self, name: str) -> bool:
        return self._move(name, self._folder / "cur" / f"{name.partition(':')[0]}:2,S")

    def _set_apart(self, name: str, reason: str) -> bool:
        target = self._folder / "apart" / name
        number = 0
        while os.path.lexists(target):
            number += 1
            target = self._folder / "apart" / f"{name}.{number}"
        moved = self._move(name, target)
        if moved:
            APART.labels(ROUTE).inc()
            log.error("inbound.set_apart", route=ROUTE, name=name, reason=reason)
        return moved

    def _move(self, name: str, target: Path) -> bool:
        try:
            (self._folder / "new" / name).rename(target)
        except FileNotFoundError:
            # Another process took it; else the next round finds it again.
            return False
        except OSError as error:
            if name not in self._stuck:
                log.error("inbound.maildir_not_moved", name=name, to=target.parent.name, error=type(error).__name__)
            self._stuck.add(name)
            return False
        self._stuck.discard(name)
        self._stored.discard(name)
        return True
