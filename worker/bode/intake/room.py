"""Back-pressure: what there is no room for is turned away before memory or disk runs out, and may come again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
from litestar.exceptions import HTTPException

from bode.intake.problems import TURNED_AWAY

log = structlog.get_logger()

_LOOKED_FOR = 1.0
"""Seconds that the disk is taken to be as it was."""
_FEW_SECONDS, _A_WHILE = "5", "60"


class NoRoom(HTTPException):
    """There is no room now: 503, and when to come again."""

    def __init__(self, reason: str, retry_after: str) -> None:
        """Count it, and say what there is no room in."""
        TURNED_AWAY.labels(reason).inc()
        log.warning("api.no_room", reason=reason)
        super().__init__(status_code=503, headers={"Retry-After": retry_after})


class Room:
    """How many bytes of requests this process holds at once, and whether the disks have room for what they bring."""

    def __init__(
        self,
        *,
        max_held_bytes: int,
        folders: Sequence[Path] = (),
        min_free_bytes: int = 0,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the limits; `folders` are on the disks that are looked at."""
        self._most = max_held_bytes
        self._held = 0
        self._folders = folders
        self._least = min_free_bytes
        self._timer = timer
        self._looked = (float("-inf"), True)

    @property
    def disk_has_room(self) -> bool:
        """Tell whether every disk has more than the least that must stay free."""
        at, had = self._looked
        if self._timer() - at >= _LOOKED_FOR:
            had = all(shutil.disk_usage(folder).free >= self._least for folder in self._folders)
            self._looked = self._timer(), had
        return had

    def admit(self, size: int) -> None:
        """Let a request of so many bytes in. Raises `NoRoom`; a request alone always has room in memory."""
        if not self.disk_has_room:
            raise NoRoom("disk", _A_WHILE)
        if self._held and self._held + size > self._most:
            raise NoRoom("memory", _FEW_SECONDS)

    @contextmanager
    def held(self, size: int) -> Generator[None]:
        """Count a request of so many bytes that was let in."""
        self._held += size
        try:
            yield
        finally:
            self._held -= size
