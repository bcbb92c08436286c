"""The folder where the log is published: `checkpoint`, `checkpoint.SIZE` and the tiles, as C2SP tlog-tiles names them.

It lies outside the database on purpose: what was published there is what a restored database is held against. Every
file appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bode.evidence.merkle import HASH_SIZE, TILE_WIDTH, Tile
from bode.evidence.note import Checkpoint, NoteError, VerifierKey, open_checkpoint

_NEWEST = "checkpoint"


class FolderError(Exception):
    """What is published cannot be trusted or read; names the file."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint as it is published."""

    checkpoint: Checkpoint
    note: bytes


class LogFolder:
    """The published side of one log."""

    def __init__(self, path: Path, origin: str, keys: Sequence[VerifierKey]) -> None:
        """Take the folder, the name of the log in it, and the keys that sign or signed it."""
        self.path = path
        self.origin = origin
        self._keys = tuple(keys)

    # ---- reading ---------------------------------------------------------------------------------------------------

    def newest(self) -> Published | None:
        """Give the checkpoint that was published last; none where none was. Raises `FolderError`."""
        return self._read(_NEWEST)

    def of_size(self, size: int) -> Published | None:
        """Give the checkpoint of a size, if it is there. Raises `FolderError`."""
        return self._read(f"{_NEWEST}.{size}")

    def sizes(self) -> list[int]:
        """Give the sizes there are checkpoints of, in order."""
        if not self.path.is_dir():
            return []
        names = (entry.name.removeprefix(f"{_NEWEST}.") for entry in self.path.iterdir())
        return sorted(int(name) for name in names if name.isascii() and name.isdecimal())

    def tile(self, tile: Tile) -> bytes | None:
        """Give the hashes of a published tile, if it is there."""
        try:
            return (self.path / tile.path).read_bytes()
        except FileNotFoundError:
            return None

    def _read(self, name: str) -> Published | None:
        file = self.path / name
        try:
            note = file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            checkpoint = self.opened(note)
        except NoteError as error:
            raise FolderError(f"the published {file}: {error}") from error
        if checkpoint.origin != self.origin:
            raise FolderError(f"the published {file} is of the log {checkpoint.origin}")
        if name not in {_NEWEST, f"{_NEWEST}.{checkpoint.size}"}:
            raise FolderError(f"the published {file} states a log of {checkpoint.size} events")
        return Published(checkpoint, note)

    def opened(self, note: bytes) -> Checkpoint:
        """Read a checkpoint that one of our keys signed, for the log it bears the name of. Raises `NoteError`."""
        return open_checkpoint(note, self._keys).checkpoint

    # ---- publishing ------------------------------------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Generator[bool]:
        """Publish as the only process that does so in this folder; false where another does so now."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def put_tile(self, tile: Tile, hashes: bytes) -> None:
        """Publish a tile; a full one takes the place of its partial ones."""
        file = self.path / tile.path
        _put(file, hashes[: tile.width * HASH_SIZE])
        if tile.width == TILE_WIDTH:
            shutil.rmtree(file.with_name(file.name + ".p"), ignore_errors=True)

    def put_checkpoint(self, size: int, note: bytes, *, newest: bool) -> None:
        """Publish a checkpoint, by its size and, last of all, as the newest."""
        _put(self.path / f"{_NEWEST}.{size}", note)
        if newest:
            _put(self.path / _NEWEST, note)

    def put_beside(self, size: int, suffix: str, content: bytes) -> None:
        """Publish what belongs to a checkpoint, beside it."""
        _put(self.path / f"{_NEWEST}.{size}.{suffix}", content)

    def beside(self, size: int, suffix: str) -> bytes | None:
        """Give what was published beside a checkpoint, if it is there."""
        try:
            return (self.path / f"{_NEWEST}.{size}.{suffix}").read_bytes()
        except FileNotFoundError:
            return None


def changed_tiles(old: int, new: int) -> Generator[Tile]:
    """Name the tiles that a log has anew or fuller after growing from `old` to `new` events."""
    level = 0
    while count := new >> 8 * level:
        before = old >> 8 * level
        for number in range(before // TILE_WIDTH, count // TILE_WIDTH):
            yield Tile(level, number)
        if count % TILE_WIDTH and count != before:
            yield Tile(level, count // TILE_WIDTH, count % TILE_WIDTH)
        level += 1


def _put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.new")
    with beside.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())
    beside.replace(file)
