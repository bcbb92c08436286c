"""Writing so that a power cut finds either nothing or everything (POSIX; see fsync(2) and rename(2))."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it. Its name is only safe after `settle` of its folder."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def append(path: Path, content: bytes) -> None:
    """Add to a file and wait until the disk has it."""
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that nobody ever sees half, and wait until the disk has it under its name."""
    part = path.with_name(f".{path.name}.part")
    write(part, content)
    part.rename(path)
    settle(path.parent)


def settle(folder: Path) -> None:
    """Wait until the disk has what was created, renamed or removed in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Be the only one, of all processes on this machine, for as long as this lasts; a crash lets go."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def move_aside(path: Path, folder: Path) -> Path:
    """Move a file into a folder; what is there under that name already stays, and this one gets a number."""
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{path.name}.{number}"
    path.rename(target)
    return target
