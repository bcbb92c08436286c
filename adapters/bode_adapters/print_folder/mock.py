"""A print service that watches a hot folder: for tests, the demo, and trying out a zaaksysteem.

It takes each batch from `in/`, checks it against its manifest, moves it to `printed/`, and reports in `reports/`:
ACCEPTED at once, PRINTED after `print_delay`, DISPATCHED after `post_delay` more. A letter can be given another fate:

| word                             | when, and instead of what                                       |
|----------------------------------|-----------------------------------------------------------------|
| REJECTED                         | at once, instead of ACCEPTED and all that follows               |
| FAILED, CANCELLED                | after `print_delay`, instead of PRINTED and what follows        |
| RETURNED, DELIVERED, any other   | `late_delay` after DISPATCHED                                   |

A letter that is not what the manifest says is REJECTED by itself. A directory without a manifest is not finished (over
SFTP the manifest comes last) and is left alone; one whose manifest cannot be read goes to `refused/`.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from bode_adapters.contract import Clock

AT_ONCE = frozenset({"REJECTED"})
AT_PRINTING = frozenset({"FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Fate:
    """What the print service will say about a letter besides the ordinary, in its own words."""

    status: str
    reason_code: str = ""
    reason_text: str = ""


@dataclass(frozen=True, slots=True)
class _Due:
    at: datetime
    letter: str
    fate: Fate


class MockPrintService:
    """The print service. Nothing happens by itself: `step` does what is due by the clock, `run` repeats it."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock,
        print_delay: timedelta = timedelta(hours=2),
        post_delay: timedelta = timedelta(hours=16),
        late_delay: timedelta = timedelta(days=5),
        rule: Callable[[UUID], Fate | None] = lambda _: None,
    ) -> None:
        """Make the folders `in` and `reports`, and start with nothing in hand."""
        self.folder = folder
        self.copies: Counter[UUID] = Counter()
        """How often each letter was taken to be printed: more than one is what must not happen."""
        self.problems: list[str] = []
        """What was wrong with batches, in words."""
        self._clock = clock
        self._print_delay = print_delay
        self._post_delay = post_delay
        self._late_delay = late_delay
        self._rule = rule
        self._fates: dict[UUID, Fate] = {}
        self._due: list[_Due] = []
        self._numbers = count(1)
        for name in ("in", "reports", "printed"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def will(self, letter: UUID, status: str, reason_code: str = "", reason_text: str = "") -> None:
        """Give a letter a fate, before it is taken in."""
        self._fates[letter] = Fate(status, reason_code, reason_text)

    async def run(self, *, every: float = 1.0) -> None:
        """Repeat `step` every so many seconds, until cancelled."""
        while True:
            await asyncio.to_thread(self.step)
            await asyncio.sleep(every)

    def step(self) -> int:
        """Take in what is there, and report what is due; gives how many letters were taken in."""
        taken = sum(self._take_in(batch) for batch in sorted((self.folder / "in").iterdir()))
        now = self._clock()
        due = sorted((one for one in self._due if one.at <= now), key=lambda one: one.at)
        self._due = [one for one in self._due if one.at > now]
        if due:
            self._report(due)
        return taken

    def say(self, letter: UUID, status: str, reason_code: str = "", reason_text: str = "") -> None:
        """Report something about a letter now."""
        self._report([_Due(self._clock(), str(letter), Fate(status, reason_code, reason_text))])

    def _take_in(self, batch: Path) -> int:
        if not (batch / "manifest.json").exists():
            return 0
        try:
            manifest: Any = json.loads((batch / "manifest.json").read_bytes())
            letters: list[dict[str, str]] = manifest["letters"]
        except (OSError, ValueError, KeyError, TypeError):
            self.problems.append(f"{batch.name}: its manifest cannot be read")
            self._move(batch, "refused")
            return 0
        extra = {path.name for path in batch.iterdir()} - {letter["file"] for letter in letters} - {"manifest.json"}
        if extra:
            self.problems.append(f"{batch.name}: {len(extra)} files that the manifest does not name")
        for letter in letters:
            self._plan(batch, letter)
        self._move(batch, "printed")
        return len(letters)

    def _plan(self, batch: Path, letter: dict[str, str]) -> None:
        now, number = self._clock(), letter["id"]
        try:
            whole = sha256((batch / letter["file"]).read_bytes()).hexdigest() == letter["sha256"]
        except OSError:
            whole = False
        if not whole:
            self.problems.append(f"{batch.name}: {number} is not what the manifest says")
            self._due.append(_Due(now, number, Fate("REJECTED", "hash", "File and manifest differ")))
            return
        self.copies[UUID(number)] += 1
        fate = self._fates.get(UUID(number)) or self._rule(UUID(number))
        printed = now + self._print_delay
        posted = printed + self._post_delay
        plan = [(now, Fate("ACCEPTED")), (printed, Fate("PRINTED")), (posted, Fate("DISPATCHED"))]
        if fate is not None:
            if fate.status in AT_ONCE:
                plan = [(now, fate)]
            elif fate.status in AT_PRINTING:
                plan = [plan[0], (printed, fate)]
            else:
                plan.append((posted + self._late_delay, fate))
        self._due += [_Due(at, number, step) for at, step in plan]

    def _report(self, due: Sequence[_Due]) -> None:
        lines = [
            json.dumps(
                {
                    "letter": one.letter,
                    "status": one.fate.status,
                    "at": one.at.isoformat(),
                    "reason_code": one.fate.reason_code or None,
                    "reason_text": one.fate.reason_text or None,
                }
            )
            for one in due
        ]
        name = f"{self._clock():%Y%m%dT%H%M%S%f}-{next(self._numbers):06}.json"
        part = self.folder / "reports" / f"{name}.part"
        part.write_text("\n".join([*lines, ""]), "utf-8")
        part.rename(part.with_suffix(""))

    def _move(self, batch: Path, where: str) -> None:
        target = self.folder / where / batch.name
        target.parent.mkdir(exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{batch.name}~{number}")
        batch.rename(target)
