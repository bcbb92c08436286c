"""What was handed over, as the server remembers it, and how that is known after a crash at any point.

A batch travels in these steps, each whole before the next:

1. `in/<name>/` is made, and the PDFs are uploaded in it: each to `<id>.pdf.part`, then renamed to `<id>.pdf`;
2. `in/<name>/manifest.json.part` is written;
3. `<ledger>/letters/<id>` is written for each letter: the name of its batch;
4. `<ledger>/batches/<name>.json` is written: the intent, with the letters in it;
5. `manifest.json.part` is renamed to `manifest.json`: the one moment in which the print service gets the batch.

Only the rename takes `manifest.json.part` away while the intent stands (it is written over, never removed), so:

    handed over  =  the intent is there, and `in/<name>/manifest.json.part` is not

whatever the print service did with `in/<name>/` since. A batch that a crash left behind has no manifest, and the print
service leaves it alone; the same call again writes it anew, under the same name. A worker that was thought dead and
goes on beside its successor works in the same directory: one of the two renames, and the other finds that it was done,
or finds the directory taken away.

There is no lock on a server: that a letter is in two *different* calls at once is what the worker's leases prevent.

The ledger's directory is made by whoever sets up the account. It is missing: then no repeat can be recognised, and
nothing is handed over. Files here hold ids, hashes and times, no personal data, and are kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncssh

from bode_adapters.contract import Clock, PrintLetter
from bode_adapters.print_sftp.connection import read_file
from bode_adapters.print_sftp.settings import SftpSettings
from bode_adapters.printing.batches import MANIFEST, as_json, file_name, manifest

_T = TypeVar("_T")


class FolderAwayError(Exception):
    """The directory `in` is not on the server."""


class LedgerLostError(Exception):
    """The ledger is not on the server, or is broken: no repeat is recognised."""


class NotKnownError(Exception):
    """The rename was asked for, and its outcome is not known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch that was handed over."""

    name: str
    at: datetime
    hashes: dict[str, str]
    """SHA-256 by letter id."""


class Ledger:
    """The directories of one account, through one client."""

    def __init__(self, client: asyncssh.SFTPClient, settings: SftpSettings, *, clock: Clock) -> None:
        """Name the places; nothing is made or read yet."""
        self._client = client
        self._incoming = f"{settings.folder}/in"
        self._root = settings.ledger
        self._batches = f"{settings.ledger}/batches"
        self._letters = f"{settings.ledger}/letters"
        self._side_by_side = asyncio.Semaphore(settings.concurrency)
        self._clock = clock

    async def check(self) -> None:
        """See that everything is there. Raises `FolderAwayError` or `LedgerLostError`.

        `in` and the ledger are not made: what is made by mistake is a directory that nobody watches.
        """
        if not await self._client.isdir(self._incoming):
            raise FolderAwayError(self._incoming)
        if not await self._client.isdir(self._root):
            raise LedgerLostError("no ledger")
        for folder in (self._batches, self._letters):
            await self._make(folder)

    async def find(self, letter: UUID) -> Entry | None:
        """Give the batch in which a letter was handed over, or none."""
        link = await self._read(f"{self._letters}/{letter}")
        entry = await self.entry(str(link["batch"])) if link is not None else None
        return entry if entry is not None and str(letter) in entry.hashes else None

    async def entry(self, name: str) -> Entry | None:
        """Give a batch if it was handed over."""
        intent = await self._read(self._intent(name))
        if await self._client.exists(self._part(name)) or intent is None:
            return None
        try:
            return Entry(name, datetime.fromisoformat(intent["created"]), dict(intent["letters"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerLostError(name) from error

    async def free_name(self, batch: UUID) -> str:
        """Give the name for letters of a batch: that of the batch, with a number if others of it went before."""
        name, number = str(batch), 1
        while await self.entry(name) is not None:
            number += 1
            name = f"{batch}.{number}"
        return name

    async def upload(self, name: str, letters: Sequence[PrintLetter]) -> Entry:
        """Take all steps but the last: whatever happens here, nothing is handed over."""
        folder, now = f"{self._incoming}/{name}", self._clock()
        await self._make(folder)
        await self._all(self._put(f"{folder}/{file_name(letter.id)}", letter.pdf) for letter in letters)
        wanted = {file_name(letter.id) for letter in letters} | {f"{MANIFEST}.part"}
        for left in await self._names(folder):
            if left not in wanted:  # of an earlier attempt with more letters, or half of one
                await self._client.remove(f"{folder}/{left}")
        await self._write(self._part(name), manifest(name, letters, now))
        link = as_json({"batch": name})
        await self._all(self._write(f"{self._letters}/{letter.id}", link) for letter in letters)
        entry = Entry(name, now, {str(letter.id): letter.sha256 for letter in letters})
        intent = {"batch": name, "created": now.isoformat(), "letters": entry.hashes}
        await self._write(self._intent(name), as_json(intent))
        return entry

    async def hand_over(self, name: str) -> None:
        """Take the last step. Raises `NotKnownError` where the connection broke meanwhile."""
        try:
            await self._client.rename(self._part(name), f"{self._incoming}/{name}/{MANIFEST}")
        except (OSError, asyncssh.Error) as error:
            # An answer of the server can be about a rename that was done all the same: the rule above decides.
            try:
                done = await self.entry(name) is not None
            except (OSError, asyncssh.Error):
                raise NotKnownError(name) from error
            if not done:
                raise

    async def undo(self, name: str) -> None:
        """Take away what an attempt left, if it was not handed over; the intent first (see the rule above)."""
        if await self.entry(name) is not None:
            return
        if await self._client.exists(self._intent(name)):
            await self._client.remove(self._intent(name))
        folder = f"{self._incoming}/{name}"
        for left in await self._names(folder):
            await self._client.remove(f"{folder}/{left}")
        if await self._client.isdir(folder):
            await self._client.rmdir(folder)

    def _intent(self, name: str) -> str:
        return f"{self._batches}/{name}.json"

    def _part(self, name: str) -> str:
        return f"{self._incoming}/{name}/{MANIFEST}.part"

    async def _put(self, path: str, content: bytes) -> None:
        """Upload a file that nobody sees half under its own name."""
        part = f"{path}.part"
        await self._write(part, content)
        try:
            await self._client.posix_rename(part, path)
        except asyncssh.SFTPOpUnsupported:
            if await self._client.exists(path):
                await self._client.remove(path)
            await self._client.rename(part, path)

    async def _write(self, path: str, content: bytes) -> None:
        async with self._client.open(path, "wb") as file:
            await file.write(content)

    async def _read(self, path: str) -> dict[str, Any] | None:
        """Read a file of the ledger. One that a crash left half written says nothing: what it announces never began."""
        try:
            content = await read_file(self._client, path)
        except asyncssh.SFTPNoSuchFile:
            return None
        try:
            found: dict[str, Any] = json.loads(content)
        except ValueError:
            return None
        return found

    async def _make(self, folder: str) -> None:
        if not await self._client.isdir(folder):
            try:
                await self._client.mkdir(folder)
            except asyncssh.SFTPError:
                if not await self._client.isdir(folder):  # else another worker was first
                    raise

    async def _names(self, folder: str) -> list[str]:
        try:
            names = await self._client.listdir(folder)
        except asyncssh.SFTPNoSuchFile:
            return []
        return sorted(name for name in names if name not in {".", ".."})

    async def _all(self, works: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
        async def one(work: Coroutine[Any, Any, _T]) -> _T:
            async with self._side_by_side:
                return await work

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(work)) for work in works]
        return [task.result() for task in tasks]
