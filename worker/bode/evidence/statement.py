"""What is written in an extract: the names of its files, and its JSON, read strictly. Needs only `rfc8785`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import rfc8785

from bode.evidence.merkle import HASH_SIZE

FORMAT = "bode extract 1"

STATEMENT = "extract.json"
PROOF = "proof.json"
CHECKPOINT = "checkpoint"
COSIGNATURES = "cosignatures"
TIMESTAMP = "timestamp.tsr"

ISSUED = "copy.issued"
"""The event that an extract was issued. It ends the extract, and states the hash of `extract.json`."""


def envelope_name(seq: int) -> str:
    return f"events/{seq:06d}.json"


def details_name(seq: int) -> str:
    return f"details/{seq:06d}.json"


class MalformedError(Exception):
    """JSON is not what it must be; the message says which part."""


class OtherVersionError(Exception):
    """This was written by a version that this one does not know."""


def read_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object written canonically (RFC 8785): no name twice, one writing for each value.

    Raises `MalformedError`.
    """
    try:
        value = json.loads(data)
        written = rfc8785.dumps(value)
    except (ValueError, RecursionError):
        raise MalformedError("it is not a canonical JSON object") from None
    if written != data or not isinstance(value, dict):
        raise MalformedError("it is not a canonical JSON object")
    return cast("dict[str, Any]", value)


def text(of: Mapping[str, Any], name: str) -> str:
    """Take text that can be shown. This and what follows raise `MalformedError`."""
    value = of.get(name)
    if not isinstance(value, str) or not value.isprintable():
        raise MalformedError(f"{name} is not there, or not text")
    return value


def number(of: Mapping[str, Any], name: str) -> int:
    value = of.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedError(f"{name} is not there, or not a number")
    return value


def hash_of(value: object) -> bytes:
    """Take 32 bytes, written as 64 digits."""
    try:
        found = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        found = b""
    if len(found) != HASH_SIZE or found.hex() != value:
        raise MalformedError("a hash or a salt is not 64 digits")
    return found


def objects(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = array(of, name)
    if not all(isinstance(one, dict) for one in found):
        raise MalformedError(f"{name} is not a list of objects")
    return found


def array(of: Mapping[str, Any], name: str) -> list[Any]:
    value = of.get(name)
    if not isinstance(value, list):
        raise MalformedError(f"{name} is not there, or not a list")
    return cast("list[object]", value)


def only(of: Mapping[str, Any], *names: str) -> None:
    """See that there are no other fields: what is not known cannot be vouched for."""
    if not of.keys() <= set(names):
        raise MalformedError("it has fields that are not known")


@dataclass(frozen=True, slots=True)
class StatedEvent:
    """An event as an extract states it."""

    hash: bytes
    is_open: bool
    salt: bytes | None
    """Of its details, where they are in the extract."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What `extract.json` states."""

    log: str
    message: str
    organisation: str
    events: Sequence[StatedEvent]
    """All events of the message before the copy was issued, from the first."""
    files: Mapping[str, bytes]
    """SHA-256 of what is enclosed: the PDF, the README."""

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read it. Raises `MalformedError` and `OtherVersionError`."""
        found = read_object(data)
        if text(found, "format") != FORMAT:
            raise OtherVersionError
        only(found, "format", "log", "message", "organisation", "events", "files")
        events = [_event(seq, entry) for seq, entry in enumerate(objects(found, "events"), start=1)]
        files = found.get("files")
        if not isinstance(files, dict) or not all(name.isprintable() for name in cast("dict[str, Any]", files)):
            raise MalformedError("files is not there, or has a name that cannot be one")
        enclosed = {name: hash_of(value) for name, value in cast("dict[str, Any]", files).items()}
        return cls(text(found, "log"), text(found, "message"), text(found, "organisation"), events, enclosed)


def _event(seq: int, entry: Mapping[str, Any]) -> StatedEvent:
    only(entry, "seq", "hash", "open", "salt")
    is_open, salt = entry.get("open"), entry.get("salt")
    if number(entry, "seq") != seq or not isinstance(is_open, bool) or (salt is not None and not is_open):
        raise MalformedError(f"event {seq} is not stated as it must be")
    return StatedEvent(hash_of(entry.get("hash")), is_open, None if salt is None else hash_of(salt))


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where an event of a message stands in the log, and the proof of it against a checkpoint."""

    seq: int
    position: int
    proof: Sequence[bytes]

    @classmethod
    def parse_all(cls, data: bytes) -> list[Inclusion]:
        """Read `proof.json`. Raises `MalformedError`."""
        found = read_object(data)
        only(found, "inclusions")
        inclusions: list[Inclusion] = []
        for one in objects(found, "inclusions"):
            only(one, "seq", "position", "proof")
            proof = [hash_of(hash_) for hash_ in array(one, "proof")]
            inclusions.append(cls(number(one, "seq"), number(one, "position"), proof))
        return inclusions

    def plain(self) -> dict[str, object]:
        """Give it as JSON has it."""
        return {"seq": self.seq, "position": self.position, "proof": [hash_.hex() for hash_ in self.proof]}
