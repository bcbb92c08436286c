"""A print service behind a hot folder."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Self
from uuid import UUID

import structlog

from bode_adapters.contract import (
    Absent,
    Answer,
    Capabilities,
    Clock,
    LetterReport,
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    SettingError,
    TimeSource,
    Trouble,
    Unavailable,
    Unknown,
)
from bode_adapters.print_folder.ledger import Entry, FolderAwayError, Ledger, LedgerLostError
from bode_adapters.print_folder.reports import Reports

BULK = 500

REFUSALS = {
    "sha256": RefusalKind.DEFECT,  # the PDF is not the one that was made for this letter
    # The ledger is gone, broken, or another's. Going on could print letters twice.
    "ledger_lost": RefusalKind.CONFIGURATION,
    "folder": RefusalKind.CONFIGURATION,  # with the system's word after it: one of `NEVER`
}
OTHER_CONTENT = "other_content"
"""Code of a letter that was handed over before with another PDF: the first one counts."""

NEVER = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK})
"""What no waiting repairs: `.tmp` and `in` on two file systems, or a ledger where there are no hard links."""

FAILURES = (OSError, LedgerLostError)

_log = structlog.get_logger(__name__)


class PrintFolder:
    """Hands letters over in a directory and reads reports from it.

    `folder` holds `in/` (a directory per batch, with a PDF per letter and `manifest.json`), which must be there before,
    and `reports/`. `ledger` is the record of what was handed over; it needs a file system with hard links, and is
    `folder/.ledger` unless set. `folder/.tmp` must be on the file system of `in/`.
    """

    def __init__(self, folder: Path, *, clock: Clock, ledger: Path | None = None) -> None:
        """Name the places; nothing is made or read yet."""
        self._ledger = Ledger(folder, ledger or folder / ".ledger", clock=clock)
        self._reports = Reports(folder)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table: `folder`, and `ledger` where it is elsewhere; raises `SettingError`."""
        table = dict(settings)
        folder = _directory(table, "folder")
        ledger = _directory(table, "ledger") if "ledger" in table else None
        if table:
            raise SettingError(min(table), "given", "a key that this adapter knows, or nothing")
        if not (folder / "in").is_dir():
            raise SettingError("folder", str(folder), "a directory that holds a directory 'in', watched by the printer")
        if (folder / "in").stat().st_dev != folder.stat().st_dev:
            raise SettingError("folder", str(folder), "on one file system with its directory 'in'")
        return cls(folder, clock=clock, ledger=ledger)

    @property
    def capabilities(self) -> Capabilities:
        """What a hot folder can do: the ledger knows every letter again."""
        return Capabilities(bulk=BULK, repeat_is_recognised=True, can_lookup=True)

    async def open(self) -> None:
        """Nothing to make ready: a folder that is away now may be there at the first letter."""

    async def close(self) -> None:
        """Nothing to release."""

    async def probe(self) -> Sequence[Trouble]:
        """Look whether letters can be put in the folder."""
        if await asyncio.to_thread(os.access, self._ledger.incoming, os.W_OK | os.X_OK):
            return []
        return [Trouble("not_writable", "letters cannot be put in the folder's directory 'in'")]

    async def submit(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Hand letters over, a batch at a time, each batch wholly or not at all."""
        return await asyncio.to_thread(self._submit, letters) if letters else []

    async def lookup(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Tell which letters were handed over. What became of them the print service reports by itself."""
        return await asyncio.to_thread(self._lookup, letters) if letters else []

    async def reports(self) -> Sequence[LetterReport]:
        """Give the reports not yet confirmed; none while the folder is away."""
        return await asyncio.to_thread(self._read_reports)

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Put away what is stored. Where the disk refuses, the reports come again."""
        await asyncio.to_thread(self._confirm, keys)

    def _submit(self, letters: Sequence[PrintLetter]) -> list[Answer]:
        answers: dict[UUID, Answer] = {}
        batches: dict[UUID, dict[UUID, PrintLetter]] = {}
        for letter in letters:
            batches.setdefault(letter.batch, {}).setdefault(letter.id, letter)
        try:
            with self._ledger.locked():
                self._ledger.undo_unfinished()
                for batch, members in batches.items():
                    answers |= self._hand_over(batch, members)
        except FAILURES as error:
            answer = _of_failure(error)
            return [answers.get(letter.id, answer) for letter in letters]
        return [answers[letter.id] for letter in letters]

    def _hand_over(self, batch: UUID, letters: dict[UUID, PrintLetter]) -> dict[UUID, Answer]:
        answers: dict[UUID, Answer] = {}
        new: list[PrintLetter] = []
        for letter in letters.values():
            if sha256(letter.pdf).hexdigest() != letter.sha256:
                answers[letter.id] = _refused("sha256")
            elif (entry := self._ledger.find(letter.id)) is not None:
                answers[letter.id] = _placed(entry, letter, already=True)
            else:
                new.append(letter)
        if not new:
            return answers
        try:
            entry = self._ledger.hand_over(self._ledger.free_name(batch), new)
        except FAILURES as error:
            return answers | dict.fromkeys((letter.id for letter in new), _of_failure(error))
        return answers | {letter.id: _placed(entry, letter, already=False) for letter in new}

    def _lookup(self, letters: Sequence[PrintLetter]) -> list[Answer]:
        try:
            with self._ledger.locked():
                found = [(letter, self._ledger.find(letter.id)) for letter in letters]
        except FAILURES as error:
            # A question that fails says nothing about the letter: not even that it is not there.
            answer = _of_failure(error)
            return [Unknown(answer.code) if isinstance(answer, Unavailable) else answer] * len(letters)
        return [Absent() if entry is None else _placed(entry, letter, already=True) for letter, entry in found]

    def _read_reports(self) -> list[LetterReport]:
        try:
            with self._ledger.locked():
                return self._reports.read()
        except FAILURES as error:
            _log.warning("print_reports_unavailable", code=_of_failure(error).code)
            return []

    def _confirm(self, keys: Sequence[str]) -> None:
        try:
            with self._ledger.locked():
                self._reports.confirm(keys)
        except FAILURES as error:
            _log.warning("print_reports_unavailable", code=_of_failure(error).code)


def _of_failure(error: Exception) -> Unavailable | Refused:
    """Translate what the disk says. Nearly all of it passes: a full disk, a share that is away, rights to be given."""
    match error:
        case LedgerLostError():
            return _refused("ledger_lost")
        case FolderAwayError():
            return Unavailable("folder:away")
        case OSError(errno=int() as number):
            code = f"folder:{errno.errorcode.get(number, number)}"
            return _refused(code) if number in NEVER else Unavailable(code)
        case _:
            return Unavailable("folder:unknown")


def _refused(code: str) -> Refused:
    return Refused(code, REFUSALS[code.partition(":")[0]])


def _placed(entry: Entry, letter: PrintLetter, *, already: bool) -> Placed:
    same = entry.hashes.get(str(letter.id)) == letter.sha256
    code = None if same else OTHER_CONTENT
    return Placed(entry.at, TimeSource.OUR_CLOCK, receipt=entry.name, code=code, already=already)


def _directory(table: dict[str, object], key: str) -> Path:
    value = table.pop(key, None)
    if not isinstance(value, str) or not value or not Path(value).is_dir():
        raise SettingError(key, value, "the path of a directory that is there")
    return Path(value)
