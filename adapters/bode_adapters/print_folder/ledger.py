"""What was handed over, and how that is known after a crash at any point.

A batch travels in five steps, one process at a time (a lock that the system releases when a process dies):

1. `.tmp/<name>/` is written whole and is on the disk, its name included;
2. `batches/<name>.json` is written: the intent, with the letters in it;
3. `letters/<id>` becomes a second name (hard link) of that file, for each letter;
4. `.tmp/<name>/` is renamed to `in/<name>/`: the one moment in which the print service gets the batch;
5. `handed_over/<name>` is written: the time.

Only the rename takes `.tmp/<name>/` away while the intent stands, so:

    handed over  =  the intent is there, and `.tmp/<name>/` is not

whatever the print service did with `in/<name>/` since, and whether or not step 5 was reached. The lock is held from
before step 1 until after step 4, so whoever holds it and sees a `.tmp/<name>/` sees what a crash left behind, and
undoes it: nothing is ever handed over but by a call that names the letter. Undoing removes the intent *before* the
directory (and waits for the disk in between): in the other order a crash would leave a batch that looks handed over
and is not. A crash after the intent is gone leaves names in `letters/` that stand for nothing: a name counts only as
far as the intent it points to is there and holds the letter.

Step 5 is not needed to know *that*. Where it is missing, the time of finding out is written: later than the real one,
and harmless, for what counts of a letter is the time of posting, which the print service reports.

The ledger is made before `.tmp/`: a `.tmp/` without a ledger means that the ledger was lost or is not mounted, and then
nothing is handed over, for no repeat could be recognised.

Files here hold ids, hashes and times, no personal data, and are kept: they are what recognises a letter years later.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from bode_adapters.contract import Clock, PrintLetter
from bode_adapters.print_folder import disk
from bode_adapters.printing.batches import MANIFEST, as_json, file_name, manifest


class FolderAwayError(OSError):
    """The hot folder is not there, or is not the one the print service watches (a share that is not mounted)."""


class LedgerLostError(Exception):
    """The ledger is not there, is broken, or does not know a batch that was handed over: no repeat is recognised."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch that was handed over."""

    name: str
    at: datetime
    hashes: dict[str, str]
    """SHA-256 by letter id."""


class Ledger:
    """The hot folder and the record beside it. Every method but `locked` is called under the lock."""

    def __init__(self, folder: Path, ledger: Path, *, clock: Clock) -> None:
        """Name the places; nothing is made or read yet."""
        self.incoming = folder / "in"
        self._tmp = folder / ".tmp"
        self._root = ledger
        self._batches = ledger / "batches"
        self._letters = ledger / "letters"
        self._handed_over = ledger / "handed_over"
        self._clock = clock

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock; raises `OSError` where the folder is away, `LedgerLostError` where the ledger is.

        `in` must be there beforehand: made by us, it would be a folder that nobody watches when the share of the print
        service is not mounted, and every letter would vanish in it.
        """
        if not self.incoming.is_dir():
            raise FolderAwayError("the folder 'in' is not there")
        if not self._handed_over.is_dir():
            if self._tmp.exists():
                raise LedgerLostError("no ledger")
            for folder in (self._root, self._batches, self._letters, self._handed_over):
                folder.mkdir(exist_ok=True)
            disk.settle(self._root)
        self._tmp.mkdir(exist_ok=True)
        return disk.locked(self._root / "lock")

    def find(self, letter: UUID) -> Entry | None:
        """Give the batch in which a letter was handed over, or none."""
        link = _read(self._letters / str(letter))
        if link is None or not self._is_handed_over(name := str(link["batch"])):
            return None
        intent = _read(self._intent(name))
        if intent is None or str(letter) not in intent["letters"]:
            return None
        return Entry(name, self._time(name), intent["letters"])

    def free_name(self, batch: UUID) -> str:
        """Give the name for letters of a batch: that of the batch, with a number if others of it went before."""
        name = str(batch)
        number = 1
        while self._intent(name).exists():
            number += 1
            name = f"{batch}.{number}"
        return name

    def undo_unfinished(self) -> None:
        """Take back what a crash left half done."""
        for left in sorted(self._tmp.iterdir()):
            if left.is_dir():
                self._undo(left.name)

    def hand_over(self, name: str, letters: Sequence[PrintLetter]) -> Entry:
        """Take the five steps. Raises `OSError` with nothing handed over, or returns with the batch handed over."""
        now = self._clock()
        if (self.incoming / name).exists():
            raise LedgerLostError(name)
        hashes = {str(letter.id): letter.sha256 for letter in letters}
        try:
            self._write(name, letters, now)
            self._intend(name, hashes, now)
            (self._tmp / name).rename(self.incoming / name)
            disk.settle(self.incoming)
            disk.settle(self._tmp)
        except OSError:
            # A rename over a network can be done and yet reported as failed: the rule above decides, not the error.
            if not self._is_handed_over(name):
                self._undo(name)
                raise
        return Entry(name, self._time(name), hashes)

    def _write(self, name: str, letters: Sequence[PrintLetter], now: datetime) -> None:
        batch = self._tmp / name
        batch.mkdir()
        for letter in letters:
            disk.write(batch / file_name(letter.id), letter.pdf)
        disk.write(batch / MANIFEST, manifest(name, letters, now))
        disk.settle(batch)
        disk.settle(self._tmp)

    def _intend(self, name: str, hashes: dict[str, str], now: datetime) -> None:
        intent = self._intent(name)
        disk.write_whole(intent, as_json({"batch": name, "created": now.isoformat(), "letters": hashes}))
        for letter in hashes:
            link = self._letters / letter
            link.unlink(missing_ok=True)  # left by a batch that was undone: `find` gave none for this letter
            link.hardlink_to(intent)
        disk.settle(self._letters)

    def _intent(self, name: str) -> Path:
        return self._batches / f"{name}.json"

    def _is_handed_over(self, name: str) -> bool:
        return self._intent(name).exists() and not (self._tmp / name).exists()

    def _undo(self, name: str) -> None:
        intent = self._intent(name)
        known = _read(intent)
        if known is not None:
            links = [self._letters / letter for letter in known["letters"]]
            ours = [link for link in links if link.exists() and link.samefile(intent)]
            intent.unlink()
            disk.settle(self._batches)
            for link in ours:
                link.unlink()
        if (self._tmp / name).exists():
            shutil.rmtree(self._tmp / name)

    def _time(self, name: str) -> datetime:
        mark = self._handed_over / name
        try:
            return datetime.fromisoformat(mark.read_text("ascii"))
        except FileNotFoundError:
            now = self._clock()
        with contextlib.suppress(OSError):  # the batch is handed over, whether or not the disk takes its time
            disk.write_whole(mark, now.isoformat().encode("ascii"))
        return now


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise LedgerLostError(path.name) from error
    return found
