"""A journal around the calls of a chunk: what was about to leave, and what was taken.

Between a call and the commit that records it a worker alone knows what happened. When it dies there, its journal tells
the next one on that machine: what was taken is recorded, what never left is to be done, and in doubt is only what was
on its way at that moment (decision 35). Without the journal all of the chunk is.

A file a chunk, of lines of JSON, written before what it tells of happens; nothing personal is in it. The operating
system keeps it when a process is killed, not when the machine stops: of before the last start none is believed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog

from bode.domain import events as ev
from bode_adapters import contract

log = structlog.get_logger()

Taken = ev.Placed | ev.PlacementPending | ev.NoticeSent
"""What is told by a journal alone: the other side has it. Everything else is asked, or tried, again."""

_TAKEN: dict[str, type[Taken]] = {kind.__name__: kind for kind in (ev.Placed, ev.PlacementPending, ev.NoticeSent)}
_SUFFIX = ".journal"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_YOUNG_SECONDS = 60.0
"""A journal without a first line is being begun, unless it is older than this."""
_encode = msgspec.json.Encoder().encode

EventOf = Callable[[contract.Answer], ev.Event]


class ChunkJournal:
    """The journal of one chunk. Without a file to write in, it keeps nothing."""

    def __init__(self, name: str, path: Path | None = None, file: int | None = None) -> None:
        """Take the name that the chunk's leases are under, and the locked file."""
        self.name = name
        self._path = path
        self._file = file

    def leaves(self, step: int) -> None:
        """Note that what a step sends is about to leave. Raises `OSError` when that can be neither noted nor undone."""
        self._write(["leaves", step])

    def ended(self, step: int, answer: contract.Answer, event_of: EventOf) -> None:
        """Note what became of it. An unknown outcome is none, and what cannot be read is left in doubt."""
        match answer:
            case contract.Unknown():
                return
            case contract.Placed() | contract.Pending():
                # Other people's words: what cannot be read here cannot be read where it is recorded, and is told there.
                with suppress(Exception):
                    event = event_of(answer)
                    if isinstance(event, Taken):
                        self._write(["taken", step, type(event).__name__, event])
            case _:
                self._write(["not", step])

    def _write(self, line: Any) -> None:
        if self._file is None:
            return
        try:
            os.write(self._file, _encode(line) + b"\n")
        except OSError as error:
            log.error("journal.not_written", error=type(error).__name__)
            self.close(recorded=True)  # Half a journal would say that what left did not.

    def close(self, *, recorded: bool) -> None:
        """End it: what is recorded needs no journal; what is not is left for whoever looks."""
        if self._file is None:
            return
        if recorded and self._path is not None:
            self._path.unlink(missing_ok=True)
        file, self._file = self._file, None
        os.close(file)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What the journal of a chunk says whose worker is gone, or could not record."""

    name: str
    """What the leases of its steps are under."""
    lane: str
    doubtful: frozenset[int] = frozenset()
    """Steps that were on their way: nobody here knows."""
    taken: Mapping[int, Taken] = field(default_factory=dict[int, Taken])
    """Steps that the other side took."""


class _Begun(msgspec.Struct):
    """The first line of a journal."""

    boot: str
    lane: str


class Journal:
    """The journals of one process, in a folder that it shares with others on the same machine."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when the first chunk is begun."""
        self._folder = folder
        self._boot = _boot()
        self._items: dict[tuple[str, UUID], tuple[ChunkJournal, int, EventOf]] = {}

    def begin(self, lane: str, name: str) -> ChunkJournal:
        """Begin the journal of a chunk, before anything is claimed under its name."""
        path = self._folder / f"{name}{_SUFFIX}"
        file: int | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, _encode(_Begun(self._boot, lane)) + b"\n")
        except OSError as error:
            log.error("journal.not_written", error=type(error).__name__)
            if file is not None:  # A full disk lets a file be made: one left open for each chunk would be too many.
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                os.close(file)
            return ChunkJournal(name)
        return ChunkJournal(name, path, file)

    def of(self, lane: str) -> contract.Journal:
        """Give the journal of a lane's adapter, for one that notes its items itself."""
        return _LaneJournal(self._items, lane)

    @contextmanager
    def expecting(
        self, chunk: ChunkJournal, lane: str, items: Sequence[tuple[UUID, int, EventOf]]
    ) -> Generator[contract.Journal]:
        """Know the items of a call while it lasts: the step each is of, and what an answer about it means."""
        for item, step, event_of in items:
            self._items[lane, item] = chunk, step, event_of
        try:
            yield self.of(lane)
        finally:
            for item, *_ in items:
                self._items.pop((lane, item), None)

    def left_behind(self) -> Iterator[tuple[LeftBehind, Callable[[], None]]]:
        """Give what the journals of dead workers say, each with what removes it once that is recorded."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                file = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Who writes it holds this for as long as he lives.
                said = self._read(path)
                if said is not None:
                    yield said, partial(path.unlink, missing_ok=True)
                elif time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                    path.unlink(missing_ok=True)
            except (BlockingIOError, FileNotFoundError):
                continue
            finally:
                os.close(file)

    def _read(self, path: Path) -> LeftBehind | None:
        """Read a journal; none where it cannot be believed: what it is about is then in doubt, when its leases end."""
        first, *lines = path.read_bytes().split(b"\n")[:-1] or [b""]
        doubtful: set[int] = set()
        taken: dict[int, Taken] = {}
        try:
            begun = msgspec.json.decode(first, type=_Begun)
            for line in lines:
                what, step, *event = msgspec.json.decode(line)
                doubtful.discard(step)
                taken.pop(step, None)
                if what == "leaves":
                    doubtful.add(step)
                elif what == "taken":
                    taken[step] = msgspec.convert(event[1], _TAKEN[event[0]])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("journal.not_believed", journal=path.stem, error=type(error).__name__)
            return None
        if begun.boot != self._boot:
            log.warning("journal.not_believed", journal=path.stem, error="of before the machine was started")
            return None
        return LeftBehind(path.stem, begun.lane, frozenset(doubtful), taken)


class _LaneJournal:
    """What an adapter that notes its items itself writes to: it knows them by their ids alone."""

    def __init__(self, items: Mapping[tuple[str, UUID], tuple[ChunkJournal, int, EventOf]], lane: str) -> None:
        self._items = items
        self._lane = lane

    def leaves(self, item: UUID) -> None:
        if (known := self._items.get((self._lane, item))) is not None:
            chunk, step, _ = known
            chunk.leaves(step)

    def ended(self, item: UUID, answer: contract.Answer) -> None:
        if (known := self._items.get((self._lane, item))) is not None:
            chunk, step, event_of = known
            chunk.ended(step, answer, event_of)


def _boot() -> str:
    """Name the time since the machine was started; where it has no name every journal is of another time."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return str(uuid4())
