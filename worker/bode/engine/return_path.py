"""Return paths: a signed address of ours per mail, so that a bounce says which mail it is about, unforgeably."""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from dataclasses import dataclass
from enum import IntEnum
from hmac import compare_digest, digest
from uuid import UUID

_SHAPE = re.compile(r"b-([a-z2-7]{29})-([a-z2-7]{16})")
_ID_BYTES = 16
_SIGNATURE_BYTES = 10


class Carries(IntEnum):
    """What the mail was."""

    NOTICE = 0
    MESSAGE = 1


@dataclass(frozen=True, slots=True)
class Token:
    """What a return path names: a message, the index of its placement, and what the mail was."""

    message_id: UUID
    placement: int
    carries: Carries


class ReturnPath:
    """Makes return paths and reads them back. Short enough for any server: 49 characters before the @ (64 allowed)."""

    def __init__(self, key: bytes, domain: str) -> None:
        """Take the key that signs, and the domain whose mail comes to our listener."""
        self._key = key
        self._domain = domain

    def make(self, token: Token) -> str:
        """Give the address for a mail's envelope sender."""
        payload = token.message_id.bytes + bytes([token.placement, token.carries])
        return f"b-{_text(payload)}-{_text(self._sign(payload))}@{self._domain}"

    def read(self, address: str) -> Token | None:
        """Give what an address names; nothing for one that is not ours, or forged. Letter case does not matter."""
        local, _, domain = address.strip().strip("<>").lower().rpartition("@")
        found = _SHAPE.fullmatch(local)
        if found is None or domain != self._domain.lower():
            return None
        try:
            payload, signature = _bytes(found[1]), _bytes(found[2])
            carries = Carries(payload[_ID_BYTES + 1])
        except ValueError:
            return None
        if not compare_digest(signature, self._sign(payload)):
            return None
        return Token(UUID(bytes=payload[:_ID_BYTES]), payload[_ID_BYTES], carries)

    def _sign(self, payload: bytes) -> bytes:
        return digest(self._key, payload, "sha256")[:_SIGNATURE_BYTES]


def _text(value: bytes) -> str:
    return b32encode(value).decode().rstrip("=").lower()


def _bytes(text: str) -> bytes:
    return b32decode(text.upper() + "=" * (-len(text) % 8))
