"""The ZIP file of an extract: written in one way only, so that none of its bytes is free. Standard library only.

Nothing in it is compressed: what is read is never larger than the file, and no bomb can be one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
_ZIP_2 = 20
_FIRST_OF_1980 = 0x21
_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_DESCRIPTOR_FLAG = 0x08
_MOST_FILES = 50_000


class BundleError(Exception):
    """The file is no ZIP that can be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files in a ZIP, and in what it is not written as an extract is."""

    files: Mapping[str, bytes]
    faults: tuple[str, ...] = field(default=())


def pack(files: Mapping[str, bytes]) -> bytes:
    """Write files as a ZIP, in the order of their names: the same files give the same bytes."""
    body, directory = bytearray(), bytearray()
    for name, content in sorted(files.items()):
        path, crc = name.encode("ascii"), crc32(content)
        about = (0, 0, 0, _FIRST_OF_1980, crc, len(content), len(content), len(path), 0)
        directory += _CENTRAL.pack(b"PK\x01\x02", _ZIP_2, _ZIP_2, *about, 0, 0, 0, 0, len(body)) + path
        body += _LOCAL.pack(b"PK\x03\x04", _ZIP_2, *about) + path + content
    end = _END.pack(b"PK\x05\x06", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return bytes(body + directory + end)


class _Local(NamedTuple):
    """The header before a file in a ZIP."""

    signature: bytes
    version: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    size: int
    full_size: int
    name_size: int
    extra_size: int


def unpack(data: bytes) -> Bundle:
    """Read the files of a ZIP from its start, unpacking nothing. Raises `BundleError` where it cannot be followed."""
    files: dict[str, bytes] = {}
    faults: list[str] = []
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        if len(files) + len(faults) == _MOST_FILES:
            raise BundleError("the ZIP has more files than any extract")
        name, is_compressed, start, at = _entry(data, at)
        if _NAME.fullmatch(name) is None or ".." in name.split("/"):
            faults.append("the ZIP has a file whose name leads outside, or is none of an extract")
        elif name in files:
            faults.append(f"the ZIP has two files with the name {name}")
        elif is_compressed:
            faults.append(f"{name} is compressed, and is not unpacked: nothing in an extract is")
        else:
            files[name] = data[start:at]
    if not at:
        raise BundleError("this is not a ZIP file")
    if data[at : at + 4] != b"PK\x01\x02":
        raise BundleError("the ZIP ends too early")
    if not faults and pack(files) != data:
        faults.append("the ZIP itself (its times, links, comments, checksums, end) is not as it was packed")
    return Bundle(files, tuple(faults))


def _entry(data: bytes, at: int) -> tuple[str, bool, int, int]:
    """Read the header of a file: its name, whether it is compressed, where its content begins and ends."""
    if len(data) < at + _LOCAL.size:
        raise BundleError("the ZIP ends too early")
    header = _Local(*_LOCAL.unpack_from(data, at))
    named = at + _LOCAL.size
    start = named + header.name_size + header.extra_size
    if header.flags & _DESCRIPTOR_FLAG:
        raise BundleError("the ZIP was packed again, in another way than an extract is")
    name = data[named : named + header.name_size].decode("ascii", "replace")
    return name, header.method != 0, start, start + header.size
