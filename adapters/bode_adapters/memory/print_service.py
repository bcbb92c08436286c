"""A print service in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from itertools import count
from typing import Self
from uuid import UUID

from bode_adapters.contract import (
    Absent,
    Answer,
    Capabilities,
    Clock,
    LetterReport,
    LetterStatus,
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    ReturnReason,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.memory.script import Rule, Script, no_settings


class MemoryPrintService:
    """Keeps the letters it was given, and reports what it is told to. `down = True` makes it unreachable."""

    def __init__(self, *, clock: Clock, rule: Rule[PrintLetter] | None = None, bulk: int = 1000) -> None:
        """Start empty."""
        self._clock = clock
        self._bulk = bulk
        self.script = Script(rule)
        self.printed: Counter[UUID] = Counter()
        """How often each letter was really taken in: more than one is what must not happen."""
        self.letters: dict[UUID, PrintLetter] = {}
        """The letters taken in, as first given."""
        self.down = False
        self._taken: dict[UUID, Placed] = {}
        self._reports: dict[str, LetterReport] = {}
        self._numbers = count(1)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one; there are no settings."""
        no_settings(settings)
        return cls(clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """What a print service can do: know a letter again, and be asked for it."""
        return Capabilities(bulk=self._bulk, repeat_is_recognised=True, can_lookup=True)

    async def open(self) -> None:
        """Nothing to make ready."""

    async def close(self) -> None:
        """Nothing to release."""

    async def submit(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Take letters in, or answer as the script says."""
        return [self._submit(letter) for letter in letters]

    async def lookup(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Tell what became of letters; while it is down nothing is known."""
        return [self._find(letter) for letter in letters]

    async def reports(self) -> Sequence[LetterReport]:
        """Give the reports not yet confirmed, oldest first."""
        return [] if self.down else list(self._reports.values())

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Drop reports."""
        for key in keys:
            self._reports.pop(key, None)

    def report(
        self,
        letter: UUID,
        status: LetterStatus,
        *,
        at: datetime | None = None,
        reason: str = "",
        why: ReturnReason | None = None,
    ) -> str:
        """Let the print service report something about a letter; gives the report's key."""
        key = f"memory:{next(self._numbers)}"
        when = at or self._clock()
        self._reports[key] = LetterReport(key, letter, status, when, TimeSource.OTHER_SIDE, status.value, reason, why)
        return key

    def _submit(self, letter: PrintLetter) -> Answer:
        if self.down:
            return Unavailable("down")
        staged = self.script.take(letter)
        if staged is not None:
            if staged.happened:
                self._take(letter)
            return staged.answer
        if sha256(letter.pdf).hexdigest() != letter.sha256:
            return Refused("sha256", RefusalKind.DEFECT)
        return self._take(letter)

    def _take(self, letter: PrintLetter) -> Placed:
        known = self._taken.get(letter.id)
        if known is not None:
            return replace(known, already=True)
        self.printed[letter.id] += 1
        self.letters[letter.id] = letter
        placed = self._taken[letter.id] = Placed(self._clock(), TimeSource.OTHER_SIDE, receipt=str(letter.batch))
        return placed

    def _find(self, letter: PrintLetter) -> Answer:
        if self.down:
            return Unknown("down")
        known = self._taken.get(letter.id)
        return Absent() if known is None else replace(known, already=True)
