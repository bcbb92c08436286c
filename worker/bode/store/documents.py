"""Where large documents are kept, outside the database: sealed before they come here, under names that tell nothing.

An object is written before the transaction that names it commits, and never changed. One that no row names (a
transaction that did not commit, a purge that could not reach the store) is swept away after a grace: see
`bode.engine.documents`. The folder or the bucket with its prefix is Bode's alone.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

_T = TypeVar("_T")
NAME = re.compile(r"[0-9a-f]{32}")
"""What our objects are called: whatever else lies there is not ours, and stays."""
_AT_ONCE = 1000


class DocumentsAwayError(OSError):
    """The store of documents does not answer, or refuses us. As for a database that is away: try again later."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there."""

    name: str
    modified_at: datetime


class Documents(Protocol):
    """A store of sealed documents. Every method raises `DocumentsAwayError`."""

    async def put(self, name: str, sealed: bytes) -> None:
        """Keep an object; it outlives a power cut when this returns."""
        ...

    async def get(self, name: str) -> bytes | None:
        """Give an object; none where there is none."""
        ...

    async def remove(self, names: Collection[str]) -> None:
        """Remove objects; those that are not there are fine."""
        ...

    def listed(self) -> AsyncIterator[Sequence[Stored]]:
        """Give all objects of ours, some at a time."""
        ...

    async def probe(self) -> None:
        """Find out whether it can be used, and change nothing."""
        ...


class NoDocuments:
    """No store: nothing is put there, and what a database says to be in one cannot be had."""

    async def put(self, name: str, sealed: bytes) -> None:
        """Refuse."""
        del name, sealed
        raise DocumentsAwayError(_NOT_CONFIGURED)

    async def get(self, name: str) -> bytes | None:
        """Refuse: it is not known to be gone."""
        del name
        raise DocumentsAwayError(_NOT_CONFIGURED)

    async def remove(self, names: Collection[str]) -> None:
        """Refuse."""
        del names
        raise DocumentsAwayError(_NOT_CONFIGURED)

    async def listed(self) -> AsyncIterator[Sequence[Stored]]:
        """Give nothing."""
        for some in tuple[Sequence[Stored], ...]():
            yield some

    async def probe(self) -> None:
        """Nothing can be wrong with what is not there."""


_NOT_CONFIGURED = "no store of documents is configured: [documents]"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The store of documents, and above how many bytes one goes there."""

    documents: Documents = field(default_factory=NoDocuments)
    above_bytes: int = sys.maxsize


def new_name() -> str:
    """Make a name for an object: random, so that it tells nothing, and is never used twice."""
    return uuid4().hex


class FolderDocuments:
    """A folder of this machine, or one that all machines mount."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when the first object comes."""
        self.folder = folder

    async def put(self, name: str, sealed: bytes) -> None:
        """Keep an object, on the disk before this returns."""
        await _answered(partial(self._put, name, sealed))

    async def get(self, name: str) -> bytes | None:
        """Give an object."""
        return await _answered(partial(self._get, name))

    async def remove(self, names: Collection[str]) -> None:
        """Remove objects."""
        await _answered(partial(self._remove, names))

    async def listed(self) -> AsyncIterator[Sequence[Stored]]:
        """Give all objects; a file half-written, which a process left that died, is among them as its own name."""
        for folder in await _answered(lambda: sorted(self.folder.glob("[0-9a-f][0-9a-f]"))):
            yield await _answered(partial(self._listed, folder))

    async def probe(self) -> None:
        """Find out whether the folder can be written to."""

        def look() -> None:
            there = self.folder if self.folder.exists() else self.folder.parent
            if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(f"{there} cannot be written to, or is not there")

        await _answered(look)

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an object")
        return self.folder / name[:2] / name

    def _put(self, name: str, sealed: bytes) -> None:
        path = self._path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Under its own name at once: nobody knows it before it is whole, for its row is not committed.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        for folder in (path.parent, self.folder, self.folder.parent):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _remove(self, names: Collection[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def _get(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            if self.folder.is_dir():
                return None
            raise DocumentsAwayError("the folder of documents is not there") from None

    def _listed(self, folder: Path) -> list[Stored]:
        with os.scandir(folder) as entries:
            return [
                Stored(entry.name, datetime.fromtimestamp(entry.stat().st_mtime, UTC))
                for entry in entries
                if NAME.fullmatch(entry.name)
            ]


class BucketDocuments:
    """A bucket of an S3-compatible store, by obstore (`bode[objects]`).

    Its calls are made in threads: obstore's own coroutines abort a process that ends soon after (ADR 33).
    """

    def __init__(self, store: Any, prefix: str = "") -> None:
        """Take an `obstore` store, and what stands before the names in it."""
        self._store = store
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    async def put(self, name: str, sealed: bytes) -> None:
        """Keep an object."""
        await _answered(partial(self._store.put, self._path(name), sealed, mode="create"))

    async def get(self, name: str) -> bytes | None:
        """Give an object."""
        path = self._path(name)
        try:
            return await _answered(lambda: bytes(self._store.get(path).bytes()))
        except FileNotFoundError:
            return None

    async def remove(self, names: Collection[str]) -> None:
        """Remove objects, one call for many."""
        paths = [self._path(name) for name in names]
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            try:
                await _answered(partial(self._store.delete, some))
            except FileNotFoundError:
                # Stores that are not S3 stop at the first that is not there.
                for path in some:
                    with suppress(FileNotFoundError):
                        await _answered(partial(self._store.delete, path))

    async def listed(self) -> AsyncIterator[Sequence[Stored]]:
        """Give all objects of ours."""
        listing = await _answered(lambda: iter(self._store.list(prefix=self._prefix or None, chunk_size=_AT_ONCE)))
        while (some := await _answered(lambda: next(listing, None))) is not None:
            yield [
                Stored(name, item["last_modified"])
                for item in some
                if NAME.fullmatch(name := item["path"].removeprefix(self._prefix))
            ]

    async def probe(self) -> None:
        """Find out whether the bucket can be listed."""
        async for _ in self.listed():
            return

    def _path(self, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an object")
        return self._prefix + name


async def _answered(call: Callable[[], _T]) -> _T:
    """Make a call in a thread. What went wrong is told without the store's own text: addresses stand in it."""
    try:
        return await asyncio.to_thread(call)
    except (FileNotFoundError, DocumentsAwayError):
        raise
    except Exception as error:  # noqa: BLE001 - obstore raises errors of many kinds, and a thread any
        raise DocumentsAwayError(f"the store of documents: {type(error).__name__}") from None
