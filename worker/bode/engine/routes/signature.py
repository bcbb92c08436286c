"""Signatures on what a relay posts: HMAC-SHA256 over the time and the content, under a secret of that relay.

The header holds `sha256=` and the signature in hexadecimal; a relay that changes its secret may send several, with
commas between. What is signed is the time in seconds since 1970 in ASCII, a full stop, and the content.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hmac import compare_digest, new
from typing import Final

WINDOW: Final = timedelta(minutes=5)
_MOST_SIGNATURES: Final = 4
_LONGEST_TIMESTAMP: Final = 12


class Flaw(StrEnum):
    """Why a signature is not believed."""

    MISSING = "missing"
    TIMESTAMP = "timestamp"
    """No number of seconds."""
    WINDOW = "window"
    """Signed too long ago, or in the future."""
    SIGNATURE = "signature"


def sign(secret: bytes, timestamp: str, content: bytes) -> str:
    """Give the header's value for a content."""
    return "sha256=" + new(secret, timestamp.encode() + b"." + content, "sha256").hexdigest()


def flaw_in_time(timestamp: str, now: datetime) -> Flaw | None:
    """Give what is wrong with the time of a signature; nothing when it lies within five minutes of now."""
    if not timestamp:
        return Flaw.MISSING
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= _LONGEST_TIMESTAMP):
        return Flaw.TIMESTAMP
    return Flaw.WINDOW if abs(now.timestamp() - int(timestamp)) > WINDOW.total_seconds() else None


def flaw(secrets: Sequence[bytes], *, timestamp: str, header: str, content: bytes, now: datetime) -> Flaw | None:
    """Give what is wrong with a signature; nothing when it is that of one of the secrets, made just now."""
    if not header:
        return Flaw.MISSING
    wrong = flaw_in_time(timestamp, now)
    if wrong is not None:
        return wrong
    given = [item.strip().lower() for item in header.split(",", _MOST_SIGNATURES)[:_MOST_SIGNATURES]]
    good = [sign(secret, timestamp, content) for secret in secrets]
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    matches = [compare_digest(one.encode(), other.encode()) for one in given for other in good]
    return None if any(matches) else Flaw.SIGNATURE
