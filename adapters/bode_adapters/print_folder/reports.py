"""What the print service says about letters: files in `reports/`.

A file is JSON Lines (an object per line, each line ended), or one such object, or a JSON array of them:

    {"letter": "<our id>", "status": "DISPATCHED", "at": "2026-03-02T16:00:00+01:00",
     "reason_code": "R01", "reason_text": "Addressee gone away"}

`at` needs its offset; the reason is optional. A name ends in `.json` or `.jsonl`; a file that is still being written is
called otherwise (`.part`) or has no end yet, and is left alone. The print service renames a file into place.

What is confirmed is kept per file in `.confirmed/`, before the file moves to `done/` when all of it is: a crash in
between is finished by the next reading.
"""

from __future__ import annotations

import contextlib
import json
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeGuard
from uuid import UUID

import structlog

from bode_adapters.contract import LetterReport, LetterStatus, TimeSource
from bode_adapters.print_folder import disk

STATUSES = {
    "PENDING": LetterStatus.ACCEPTED,  # known to the print service, not looked at yet: no more than we know ourselves
    "ACCEPTED": LetterStatus.ACCEPTED,
    "REJECTED": LetterStatus.REJECTED,
    "PRINTED": LetterStatus.PRINTED,
    "ENCLOSED": LetterStatus.PRINTED,  # in its envelope and still in the house
    # Ours can only be cancelled by agreement with the print service, outside Bode. It was not posted: as rejected.
    "CANCELLED": LetterStatus.REJECTED,
    "DISPATCHED": LetterStatus.POSTED,
    "DELIVERED": LetterStatus.DELIVERED,
    "FAILED": LetterStatus.REJECTED,  # something broke after acceptance; not posted, so as rejected
    "RETURNED": LetterStatus.RETURNED,
    # FORWARDED is not here on purpose: sent on by the post to a new address (then it is underway, as posted), or passed
    # on to another print site (then it is not posted at all). The vocabulary does not say which, and the time of
    # posting counts in law. A person looks, and agrees with the print service on what it means.
}
"""The words of a published print-supplier vocabulary. Any other word is `UNRECOGNISED` and kept."""

SUFFIXES = frozenset({".json", ".jsonl"})
LONGEST_CODE = 100
LONGEST_REASON = 500
_KEY_HASH = 16

_log = structlog.get_logger(__name__)


class UnreadableError(ValueError):
    """A file or a line that is finished and is not what it should be; the message holds none of its content."""


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A finished file: what was understood of it, and whether there was more."""

    path: Path
    reports: tuple[LetterReport, ...]
    bad_lines: tuple[int, ...]

    @property
    def keys(self) -> set[str]:
        """The keys of all that was understood."""
        return {report.key for report in self.reports}


class Reports:
    """The folder `reports/`. Called under the ledger's lock."""

    def __init__(self, folder: Path) -> None:
        """Name the places; nothing is made or read yet."""
        self._folder = folder / "reports"
        self._done = self._folder / "done"
        self._unreadable = self._folder / "unreadable"
        self._confirmed = self._folder / ".confirmed"
        self._told: set[str] = set()

    def read(self) -> list[LetterReport]:
        """Give what is not confirmed, in the order of the files' names. Raises `OSError`."""
        found: list[LetterReport] = []
        if not self._folder.is_dir():
            return found
        for path in sorted(self._folder.iterdir()):
            if path.suffix not in SUFFIXES or path.is_symlink() or not path.is_file():
                continue
            try:
                found += self._unconfirmed(path)
            except UnreadableError as error:
                self._tell("print_report_unreadable", path, reason=str(error))
                disk.move_aside(path, self._unreadable)
            except OSError as error:  # this file alone: a right that is missing, or moved while we looked
                self._tell("print_report_unavailable", path, reason=type(error).__name__)
        for report in found:
            if report.status is LetterStatus.UNRECOGNISED:
                self._tell("print_status_unrecognised", Path(report.key), word=report.code)
        return found

    def confirm(self, keys: Sequence[str]) -> None:
        """Keep that these are stored, and put away the files that are through. Raises `OSError`."""
        by_file: defaultdict[str, set[str]] = defaultdict(set)
        for key in keys:
            by_file[key.rsplit(":", 2)[0]].add(key)
        for name, told in by_file.items():
            path = self._folder / name
            if Path(name).name != name or path.suffix not in SUFFIXES or not path.is_file():
                continue  # put away before, or never one of ours
            try:
                file = read_file(path)
            except UnreadableError:
                continue  # changed since; the next reading sets it aside
            if file is None:
                continue
            known = self._confirmed_of(name)
            new = (told & file.keys) - known
            if new:
                self._confirmed.mkdir(exist_ok=True)
                disk.append(self._confirmed / name, "".join(f"{key}\n" for key in sorted(new)).encode())
                disk.settle(self._confirmed)
            if file.keys <= known | new:
                self._finish(file)

    def _unconfirmed(self, path: Path) -> list[LetterReport]:
        file = read_file(path)
        if file is None:
            return []
        if file.bad_lines:
            self._tell("print_report_lines_unreadable", path, lines=list(file.bad_lines))
        confirmed = self._confirmed_of(path.name)
        if file.keys <= confirmed:
            self._finish(file)
        return [report for report in file.reports if report.key not in confirmed]

    def _finish(self, file: ReportFile) -> None:
        disk.move_aside(file.path, self._unreadable if file.bad_lines else self._done)
        disk.settle(self._folder)
        (self._confirmed / file.path.name).unlink(missing_ok=True)

    def _confirmed_of(self, name: str) -> set[str]:
        try:
            lines = (self._confirmed / name).read_text("utf-8").split("\n")
        except FileNotFoundError:
            return set()
        return set(lines[:-1])  # a last line without its end was cut off by a crash and confirms nothing

    def _tell(self, event: str, path: Path, **fields: object) -> None:
        """Log once per file: the file comes by at every reading."""
        if (mark := f"{event} {path.name}") not in self._told:
            self._told.add(mark)
            _log.warning(event, file=path.name.rsplit(":", 2)[0], **fields)


def read_file(path: Path) -> ReportFile | None:
    """Read a file; `None` while it is being written. Raises `UnreadableError`, or `OSError`."""
    content = path.read_bytes().removeprefix(BOM_UTF8)
    lines = _array(content) if content.lstrip()[:1] == b"[" else _lines(content)
    if lines is None:
        return None
    reports: list[LetterReport] = []
    bad: list[int] = []
    for number, line in lines:
        digest = sha256(line).hexdigest()[:_KEY_HASH]
        try:
            reports.append(_report(f"{path.name}:{number}:{digest}", line))
        except UnreadableError:
            bad.append(number)
    if bad and not reports:
        raise UnreadableError("no line is a report")
    return ReportFile(path, tuple(reports), tuple(bad))


def _lines(content: bytes) -> list[tuple[int, bytes]] | None:
    """Give the lines of a JSON Lines file, or `None` where the last one has no end yet."""
    if not content.endswith(b"\n"):
        return None
    if content.count(b"\n") > 1:
        with contextlib.suppress(ValueError, RecursionError):
            return [(1, json.dumps(json.loads(content), sort_keys=True).encode())]  # one object over several lines
    return [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def _array(content: bytes) -> list[tuple[int, bytes]] | None:
    """Give the elements of an array, or `None` where it has not ended yet."""
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        if content.rstrip()[-1:] == b"]":
            raise UnreadableError("not JSON") from error
        return None
    return [(number, json.dumps(element, sort_keys=True).encode()) for number, element in enumerate(found, start=1)]


def _report(key: str, line: bytes) -> LetterReport:
    try:
        said: Any = json.loads(line)
        if not _is_object(said):
            raise UnreadableError("not an object")
        letter = UUID(str(said.get("letter")))
        at = datetime.fromisoformat(str(said.get("at")))
    except (ValueError, RecursionError) as error:  # json's own, UUID's, and bytes that are no UTF-8
        raise UnreadableError("no report") from error
    word = said.get("status")
    if not isinstance(word, str) or not word or at.utcoffset() is None:
        raise UnreadableError("no status, or a time without its offset")
    reason = " ".join(str(part) for part in (said.get("reason_code"), said.get("reason_text")) if part)
    return LetterReport(
        key=key,
        letter=letter,
        status=STATUSES.get(word, LetterStatus.UNRECOGNISED),
        at=at,
        source=TimeSource.OTHER_SIDE,
        code=_storable(word)[:LONGEST_CODE],
        reason=_storable(reason)[:LONGEST_REASON],
    )


def _storable(text: str) -> str:
    """Replace what JSON can say and UTF-8 cannot: half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
