"""What ties the events of one message together, and an event to its details. Imports the standard library only."""

from __future__ import annotations

from hashlib import sha256
from hmac import digest

GENESIS = bytes(32)
"""The chain before a message's first event."""


def chain_hash(chain: bytes, leaf: bytes) -> bytes:
    """Give the chain after one more event, from the chain before it and the event's leaf hash.

    It needs hashes alone: whoever sees some events of a message and the hashes of the others can follow it all through.
    """
    return sha256(b"\x02" + chain + leaf).digest()


def commit(salt: bytes, details: bytes) -> bytes:
    """Commit to details: HMAC-SHA-256 under a salt, so that a BSN cannot be found by trying them all."""
    return digest(salt, details, "sha256")
