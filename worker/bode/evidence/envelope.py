"""An evidence event as bytes: canonical JSON (RFC 8785), chained per message, personal details only committed to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import rfc8785

from bode.domain.decision import DetailValue, Fact
from bode.evidence.chain import chain_hash, commit
from bode.evidence.merkle import leaf_hash

_SALT_BYTES = 32
_NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event with its bytes. `details` is what `detail_commit` commits to, to be stored apart and encrypted.

    `hash` is its leaf in the log; `chain` is what the message's next event states as `previous`.
    """

    message_id: UUID
    seq: int
    name: str
    part: str | None
    at: datetime
    recorded_at: datetime
    envelope: bytes
    hash: bytes
    chain: bytes
    salt: bytes | None = field(default=None, repr=False)
    details: bytes | None = field(default=None, repr=False)


def canonical(value: Mapping[str, object]) -> bytes:
    """Write a JSON object in its one canonical form (RFC 8785).

    Of what has only ASCII text and small whole numbers, the standard library's compact, sorted JSON *is* that form, at
    a fifth of the cost; everything else goes the library's way, which also refuses what has no such form.
    """
    if _is_simple(value):
        return _compact(value).encode()
    return rfc8785.dumps(value)  # type: ignore[arg-type]  # its type is recursive and closed; the values here are JSON


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_SAFE_INTEGER = 2**53 - 1


def _is_simple(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if type(value) is str:
        return value.isascii()
    if type(value) is int:
        return -_SAFE_INTEGER <= value <= _SAFE_INTEGER
    if isinstance(value, dict):
        plain = cast("dict[object, object]", value)
        return all(type(key) is str and key.isascii() and _is_simple(item) for key, item in plain.items())
    return isinstance(value, (list, tuple)) and all(map(_is_simple, cast("Sequence[object]", value)))


def timestamp(moment: datetime) -> str:
    """Write a moment as RFC 3339 in UTC with microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seal(
    fact: Fact, *, message_id: UUID, organisation: str, seq: int, previous: bytes, recorded_at: datetime
) -> Sealed:
    """Make the event of a fact: the `seq`-th of its message (from 1), after events with chain `previous`.

    The nonce keeps an event closed: without it, its hash would tell who guesses its times right what it says.
    """
    at = fact.at or recorded_at
    envelope: dict[str, object] = {
        "version": 1,
        "nonce": os.urandom(_NONCE_BYTES).hex(),
        "message": str(message_id),
        "organisation": organisation,
        "seq": seq,
        "previous": previous.hex(),
        "event": fact.name,
        "law": list(fact.law),
        "at": timestamp(at),
        "source": str(fact.source),
        "recorded_at": timestamp(recorded_at),
        "detail": _plain(fact.detail),
    }
    if fact.part is not None:
        envelope["part"] = fact.part
    salt = details = None
    if fact.sealed:
        salt, details = os.urandom(_SALT_BYTES), canonical(_plain(fact.sealed))
        envelope["detail_commit"] = commit(salt, details).hex()
    # All but the detail is ours, and simple: only that is looked at.
    bytes_ = _compact(envelope).encode() if _is_simple(envelope["detail"]) else rfc8785.dumps(envelope)  # type: ignore[arg-type]
    leaf = leaf_hash(bytes_)
    chain = chain_hash(previous, leaf)
    return Sealed(message_id, seq, fact.name, fact.part, at, recorded_at, bytes_, leaf, chain, salt, details)


def _plain(detail: Mapping[str, DetailValue]) -> dict[str, object]:
    """Give plain values: an enumeration's member as its text."""
    return {key: str(value) if isinstance(value, str) else value for key, value in detail.items()}
