"""Return paths: a signed address of ours per mail, so that a bounce says which mail it is about, unforgeably.

The same token travels as the envelope id (ENVID, RFC 3461) where the relay offers DSN: a report that lost the address
on its way still carries the proof. Keys have generations: the newest signs, older ones verify until they are removed.
A token tells the day it was made, and is not believed for ever: whoever reads the mail can read its return path.
"""

from __future__ import annotations

import re
from base64 import b32decode, b32encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import cache
from hashlib import sha256
from hmac import compare_digest, digest
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import return_path_keys

_SHAPE = re.compile(r"\bb-([a-z2-7]{32})-([a-z2-7]{16})\b")
_ID_BYTES = 16
_SIGNATURE_BYTES = 10
_EPOCH = date(2020, 1, 1)
_MOST_DAYS = 2**16 - 1
_MOST_PLACEMENT = 127
_GENERATIONS = 256
"""Generations travel in one byte: the 257th is written as the first, and the signature tells them apart."""

KeyOf = Callable[[int], bytes]
"""Gives the key of a generation: `Vault.return_path_key`."""


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


class Flaw(StrEnum):
    """Why a return path or an envelope id is not believed; the worst first."""

    FORGED = "forged"
    """It has the shape of ours and was not signed by us."""
    KEY_REMOVED = "key_removed"
    """Its key is one of ours no longer, or not yet."""
    EXPIRED = "expired"
    """Signed by us, longer ago than a bounce may come."""
    ABSENT = "no_return_path"
    """Nothing in it has the shape of ours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in an address or an envelope id. An expired token is given too, for people to see."""

    token: Token | None
    flaw: Flaw | None


class ReturnPath:
    """Makes return paths and reads them back. Short enough for any server: 51 characters before the @ (64 allowed)."""

    def __init__(self, key_of: KeyOf, domain: str, *, valid: timedelta, now: Callable[[], datetime]) -> None:
        """Take the keys, the domain whose mail comes to our listener, and how long a token is believed."""
        self._key_of = key_of
        self._domain = domain
        self._valid = valid
        self._now = now
        self._keys: Mapping[int, bytes] = {}
        self.use((return_path_keys.FIRST,))

    def use(self, generations: tuple[int, ...]) -> None:
        """Sign with the first of these generations of the key, and believe all of them."""
        self._keys = {generation: self._key_of(generation) for generation in generations}

    async def refresh(self, connection: AsyncConnection) -> None:
        """Use the generations that the database names now: another process may have rotated the key."""
        generations = await return_path_keys.valid(connection)
        if generations != tuple(self._keys):
            self.use(generations)

    def make(self, token: Token) -> str:
        """Give the address for a mail's envelope sender."""
        if not 0 <= token.placement <= _MOST_PLACEMENT:
            raise ValueError(f"placement {token.placement}: a return path names 0 to {_MOST_PLACEMENT}")
        generation, key = next(iter(self._keys.items()))
        day = min(max((self._now().date() - _EPOCH).days, 0), _MOST_DAYS)
        head = bytes([token.carries << 7 | token.placement, generation % _GENERATIONS])
        payload = token.message_id.bytes + head + day.to_bytes(2)
        return f"b-{_text(payload)}-{_text(_sign(key, payload))}@{self._domain}"

    def is_ours(self, address: str) -> bool:
        """Tell whether an address has the shape of a return path of ours; `look` tells whether it is to be believed."""
        local, _, domain = address.strip().strip("<>").lower().rpartition("@")
        return domain == self._domain.lower() and _SHAPE.fullmatch(local) is not None

    def look(self, address: str) -> Seen:
        """Give what an address names. Letter case does not matter."""
        if not self.is_ours(address):
            return Seen(None, Flaw.ABSENT)
        return self.look_at_envelope_id(address.rpartition("@")[0])

    def look_at_envelope_id(self, text: str) -> Seen:
        """Give what an envelope id names: some relays put words of their own around it."""
        found = _SHAPE.search(text.lower())
        if found is None:
            return Seen(None, Flaw.ABSENT)
        payload, signature = _bytes(found[1]), _bytes(found[2])
        head, generation = payload[_ID_BYTES], payload[_ID_BYTES + 1]
        keys = [key for known, key in self._keys.items() if known % _GENERATIONS == generation]
        if not keys:
            return Seen(None, Flaw.KEY_REMOVED)
        if not any(compare_digest(signature, _sign(key, payload)) for key in keys):
            return Seen(None, Flaw.FORGED)
        token = Token(UUID(bytes=payload[:_ID_BYTES]), head & _MOST_PLACEMENT, Carries(head >> 7))
        made = _EPOCH + timedelta(days=int.from_bytes(payload[_ID_BYTES + 2 :]))
        return Seen(token, Flaw.EXPIRED if self._now().date() - made > self._valid else None)


def notice_id(message_id: UUID, channel: str) -> UUID:
    """Give the id a notice has in its Message-ID: the same for every attempt, another one for each channel.

    It can be undone (`possible_messages`), so that a returned mail without a token can be shown beside its message.
    """
    return UUID(int=message_id.int ^ _mask(channel))


def possible_messages(item: UUID, channels: tuple[str, ...]) -> list[UUID]:
    """Give the messages that a mail with this id can be about: a hint for people, for anybody can write an id."""
    return [item, *(notice_id(item, channel) for channel in channels)]


@cache
def _mask(channel: str) -> int:
    """Give what sets a notice's id apart. What an id tells of itself (RFC 9562: version, variant) is left as it is."""
    mask = bytearray(sha256(f"notice/{channel}".encode()).digest()[:_ID_BYTES])
    mask[6] &= 0x0F
    mask[8] &= 0x3F
    return int.from_bytes(mask)


def _sign(key: bytes, payload: bytes) -> bytes:
    return digest(key, payload, "sha256")[:_SIGNATURE_BYTES]


def _text(value: bytes) -> str:
    return b32encode(value).decode().rstrip("=").lower()


def _bytes(text: str) -> bytes:
    return b32decode(text.upper())
