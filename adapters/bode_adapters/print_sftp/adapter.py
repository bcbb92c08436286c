"""A print service behind an SFTP server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final, Self, cast
from uuid import UUID

import asyncssh
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
    TimeSource,
    Trouble,
    Unavailable,
    Unknown,
)
from bode_adapters.print_sftp.connection import BROKEN, Connection
from bode_adapters.print_sftp.ledger import Entry, FolderAwayError, Ledger, LedgerLostError, NotKnownError
from bode_adapters.print_sftp.reports import Reports
from bode_adapters.print_sftp.settings import SftpSettings
from bode_adapters.rest import trouble

BULK: Final = 500

REFUSALS: Final[Mapping[str, RefusalKind]] = {
    "sha256": RefusalKind.DEFECT,  # the PDF is not the one that was made for this letter
    # No repeat would be recognised: going on could print letters twice.
    "ledger_lost": RefusalKind.CONFIGURATION,
    # Another server than the one in the settings, or the same one with a new key: letters hold what is nobody else's.
    "host_key": RefusalKind.CONFIGURATION,
    "login": RefusalKind.CONFIGURATION,
    "key_exchange": RefusalKind.CONFIGURATION,  # the two sides have no method of encryption in common
}
OTHER_CONTENT: Final = "other_content"
"""Code of a letter that was handed over before with another PDF: the first one counts."""

FAILURES: Final = (OSError, asyncssh.Error, LedgerLostError, FolderAwayError, ExceptionGroup)

_log = structlog.get_logger(__name__)


class PrintSftp:
    """Hands letters over on an SFTP server and reads reports from it."""

    def __init__(self, settings: SftpSettings, *, clock: Clock) -> None:
        """Keep the settings; the connection is made by the first call."""
        self._settings = settings
        self._clock = clock
        self._connection = Connection(settings)
        self._reports = Reports(settings)
        self._left_behind: set[str] = set()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(SftpSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """What an SFTP drop can do: the ledger knows every letter again."""
        return Capabilities(bulk=BULK, repeat_is_recognised=True, can_lookup=True)

    async def open(self) -> None:
        """Nothing to make ready: a server that is away now may be there at the first letter."""

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def probe(self) -> Sequence[Trouble]:
        """Log in, and look whether the ledger is there."""
        try:
            await self._ledger()
        except FAILURES as error:
            return [trouble(await self._of_failure(error))]
        return []

    async def submit(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Hand letters over, a batch at a time, each batch wholly or not at all."""
        answers: dict[UUID, Answer] = {}
        batches: dict[UUID, dict[UUID, PrintLetter]] = {}
        for letter in letters:
            batches.setdefault(letter.batch, {}).setdefault(letter.id, letter)
        try:
            for batch, members in batches.items():
                answers |= await self._hand_over(await self._ledger(), batch, members)
        except FAILURES as error:
            answer = await self._of_failure(error)
            return [answers.get(letter.id, answer) for letter in letters]
        return [answers[letter.id] for letter in letters]

    async def lookup(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Tell which letters were handed over. What became of them the print service reports by itself."""
        if not letters:
            return []
        try:
            ledger = await self._ledger()
            found = [(letter, await ledger.find(letter.id)) for letter in letters]
        except FAILURES as error:
            # A question that fails says nothing about the letter: not even that it is not there.
            answer = await self._of_failure(error)
            return [Unknown(answer.code) if isinstance(answer, Unavailable) else answer] * len(letters)
        return [Absent() if entry is None else _placed(entry, letter, already=True) for letter, entry in found]

    async def reports(self) -> Sequence[LetterReport]:
        """Give the reports not yet confirmed; none while the server is away."""
        try:
            return await self._reports.read(await self._connection.client())
        except FAILURES as error:
            _log.warning("print_reports_unavailable", code=(await self._of_failure(error)).code)
            return []

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Put away what is stored. Where the server refuses, the reports come again."""
        try:
            await self._reports.confirm(await self._connection.client(), keys)
        except FAILURES as error:
            _log.warning("print_reports_unavailable", code=(await self._of_failure(error)).code)

    async def _ledger(self) -> Ledger:
        ledger = Ledger(await self._connection.client(), self._settings, clock=self._clock)
        await ledger.check()
        return ledger

    async def _hand_over(self, ledger: Ledger, batch: UUID, letters: dict[UUID, PrintLetter]) -> dict[UUID, Answer]:
        answers: dict[UUID, Answer] = {}
        new: list[PrintLetter] = []
        for letter in letters.values():
            if sha256(letter.pdf).hexdigest() != letter.sha256:
                answers[letter.id] = _refused("sha256")
            elif (entry := await ledger.find(letter.id)) is not None:
                answers[letter.id] = _placed(entry, letter, already=True)
            else:
                new.append(letter)
        if not new:
            return answers
        name = await ledger.free_name(batch)
        for left in self._left_behind - {name}:
            with suppress(asyncssh.SFTPError):  # it has no manifest: nobody prints it
                await ledger.undo(left)
            self._left_behind.discard(left)
        self._left_behind.add(name)
        try:
            entry = await ledger.upload(name, new)
            await ledger.hand_over(name)
        except NotKnownError as error:
            self._left_behind.discard(name)
            await self._connection.drop()
            _log.warning("print_hand_over_unknown", error=type(error.__cause__).__name__)
            return answers | dict.fromkeys((letter.id for letter in new), Unknown("connection_lost"))
        except FAILURES as error:
            failed = await self._of_failure(error)
            return answers | dict.fromkeys((letter.id for letter in new), failed)
        self._left_behind.discard(name)
        return answers | {letter.id: _placed(entry, letter, already=False) for letter in new}

    async def _of_failure(self, error: Exception) -> Unavailable | Refused:
        """Translate what went wrong, and drop a connection that is of no use any more."""
        while isinstance(error, ExceptionGroup):  # uploads side by side: the first failure speaks for all
            error = cast("ExceptionGroup[Exception]", error).exceptions[0]
        if isinstance(error, BROKEN):
            await self._connection.drop()
        for kinds, answer in _ANSWERS:
            if isinstance(error, kinds):
                return answer
        return Unavailable(f"sftp:{type(error).__name__.removeprefix('SFTP')}")


def _refused(code: str) -> Refused:
    return Refused(code, REFUSALS[code])


_ANSWERS: Final[Sequence[tuple[type[Exception] | tuple[type[Exception], ...], Unavailable | Refused]]] = (
    (LedgerLostError, _refused("ledger_lost")),
    (FolderAwayError, Unavailable("folder:away")),
    (asyncssh.HostKeyNotVerifiable, _refused("host_key")),
    (asyncssh.PermissionDenied, _refused("login")),
    (asyncssh.KeyExchangeFailed, _refused("key_exchange")),
    (TimeoutError, Unavailable("timeout")),
    (BROKEN, Unavailable("connection_lost")),
)
"""What each failure means, the first that fits. Any other is the server's answer about a file: it passes, as a full
disk does, or a person sees that letters keep waiting."""


def _placed(entry: Entry, letter: PrintLetter, *, already: bool) -> Placed:
    same = entry.hashes.get(str(letter.id)) == letter.sha256
    code = None if same else OTHER_CONTENT
    return Placed(entry.at, TimeSource.OUR_CLOCK, receipt=entry.name, code=code, already=already)
