"""Files in which a print service reports about letters.

A file is JSON Lines (an object per line, each line ended), or one such object, or a JSON array of them:

    {"letter": "<our id>", "status": "DISPATCHED", "at": "2026-03-02T16:00:00+01:00",
     "reason_code": "R01", "reason_text": "Addressee gone away"}

`at` needs its offset; the reason is optional. A name ends in `.json` or `.jsonl`; a file that is still being written is
called otherwise (`.part`) or has no end yet, and is left alone. The print service renames a file into place.
"""

from __future__ import annotations

import contextlib
import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, Final, TypeGuard
from uuid import UUID

import structlog

from bode_adapters.contract import LetterReport, LetterStatus, ReturnReason
from bode_adapters.printing.words import report_of

_SUFFIXES: Final = frozenset({".json", ".jsonl"})
_KEY_HASH: Final = 16

_log = structlog.get_logger(__name__)


class UnreadableError(ValueError):
    """A file or a line that is finished and is not what it should be; the message holds none of its content."""


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A finished file: what was understood of it, and whether there was more."""

    name: str
    reports: tuple[LetterReport, ...]
    bad_lines: tuple[int, ...]

    @property
    def keys(self) -> set[str]:
        """The keys of all that was understood."""
        return {report.key for report in self.reports}


class Teller:
    """Logs what is wrong with report files, once each: a file comes by at every reading."""

    def __init__(self) -> None:
        """Start with nothing told."""
        self._told: set[str] = set()

    def tell(self, event: str, name: str, **fields: object) -> None:
        """Log this about a file, or about a report in it, unless it was logged before."""
        if (mark := f"{event} {name}") not in self._told:
            self._told.add(mark)
            _log.warning(event, file=file_of(name), **fields)

    def tell_unrecognised(self, reports: list[LetterReport]) -> None:
        """Log the words that are in no table."""
        for report in reports:
            if report.status is LetterStatus.UNRECOGNISED:
                self.tell("print_status_unrecognised", report.key, word=report.code)
            elif report.why is ReturnReason.UNRECOGNISED:
                self.tell("print_reason_unrecognised", report.key, word=report.reason.partition(" ")[0])


def is_report(name: str) -> bool:
    """Tell whether a file of this name can be a report."""
    return PurePosixPath(name).suffix in _SUFFIXES and PurePosixPath(name).name == name


def file_of(key: str) -> str:
    """Give the name of the file that a report's key came from; a file's own name as it is."""
    return key.rsplit(":", 2)[0]


def read_content(name: str, content: bytes) -> ReportFile | None:
    """Read a file; `None` while it is being written. Raises `UnreadableError`."""
    content = content.removeprefix(BOM_UTF8)
    lines = _array(content) if content.lstrip()[:1] == b"[" else _lines(content)
    if lines is None:
        return None
    reports: list[LetterReport] = []
    bad: list[int] = []
    for number, line in lines:
        digest = sha256(line).hexdigest()[:_KEY_HASH]
        try:
            reports.append(_report(f"{name}:{number}:{digest}", line))
        except UnreadableError:
            bad.append(number)
    if bad and not reports:
        raise UnreadableError("no line is a report")
    return ReportFile(name, tuple(reports), tuple(bad))


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
    return report_of(
        key=key,
        letter=letter,
        word=word,
        at=at,
        reason_code=_text(said, "reason_code"),
        reason_text=_text(said, "reason_text"),
    )


def _text(said: Mapping[str, object], key: str) -> str:
    value = said.get(key)
    return str(value) if value else ""


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)
