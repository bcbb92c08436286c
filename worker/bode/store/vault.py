"""Encryption at rest: a key per message, wrapped by a key-encryption key; and keyed hashes to look people up by.

AES-256-GCM throughout. What a ciphertext belongs to (message and purpose) is bound into it, so that rows cannot be
swapped. Erasing a message is deleting its wrapped key.

A vault has one key that seals and may have others that only open, while one takes the other's place. What must outlive
a key-encryption key (keyed hashes, the signatures of return paths, intake by queue) has secrets of its own, which the
database keeps wrapped: see `keyring`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from hmac import digest
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12


class VaultError(Exception):
    """Something sealed cannot be opened: another key, or changed bytes. Names the message and purpose, no content."""

    def __init__(self, message_id: UUID | None, purpose: str) -> None:
        """Keep the parts as attributes."""
        super().__init__(f"cannot open {purpose} of message {message_id}: wrong key, or the stored bytes were changed")
        self.message_id = message_id
        self.purpose = purpose


class OtherKeyError(VaultError):
    """Something was sealed under another key than this process has: it was started with the wrong key file."""


class KeyFileError(Exception):
    """A key that cannot be used: missing, too open, or not a key. Says which one and what to do."""


class Purpose(StrEnum):
    """What has a secret of its own, that outlives key-encryption keys."""

    LOOKUP = "lookup"
    """Keyed hashes of people and addresses. Changed by `bode keys rotate-lookup`."""
    RETURN_PATH = "return path"
    """Signatures of return paths; has generations of its own (`bode keys return-path`)."""
    INTAKE = "intake queue"
    """The key pair that zaaksystemen seal messages to on the queue."""
    STAFF = "staff"
    """What people typed about acts that are about no message: rows of which nobody may change a thing."""


@dataclass(frozen=True, slots=True)
class MessageKey:
    """The key of one message, in the clear only in memory, and as it is stored."""

    clear: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)


class _Kek:
    """A key-encryption key: wraps message keys, and seals what came in and belongs to no message yet."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _KEY_BYTES:
            raise KeyFileError(f"a key has {_KEY_BYTES} bytes, this one {len(secret)}")
        self.wrap = AESGCM(_derive(secret, b"bode wrap"))
        self.inbound = AESGCM(_derive(secret, b"bode inbound"))
        self.first_secrets = {purpose: _derive(secret, f"bode {purpose}".encode()) for purpose in Purpose}
        self.id = sha256(b"bode key id" + secret).hexdigest()[:16]


class Vault:
    """Seals under one key-encryption key, and opens under that one and the others it was given."""

    def __init__(self, secret: bytes, *others: bytes) -> None:
        """Take the 32-byte secret that seals, and those that only open."""
        self._seals = _Kek(secret)
        self._opens = {kek.id: kek for kek in (self._seals, *map(_Kek, others))}
        self.key_id = self._seals.id
        self.key_ids = frozenset(self._opens)
        self._secrets: dict[Purpose, dict[int, bytes]] = {}
        self.adopt({(purpose, 1): secret for purpose, secret in self._seals.first_secrets.items()})

    def new_key(self, message_id: UUID) -> MessageKey:
        """Make a key for a message."""
        return self._wrapped(message_id, AESGCM.generate_key(bit_length=256))

    def unwrap(self, message_id: UUID, wrapped: bytes) -> MessageKey:
        """Get a message's key back, under whichever key it was wrapped. Raises `VaultError`."""
        return MessageKey(self._open_any("wrap", wrapped, message_id.bytes, message_id, "key"), wrapped)

    def rewrap(self, message_id: UUID, wrapped: bytes) -> MessageKey:
        """Wrap a message's key anew, under the key that seals. Raises `VaultError`."""
        return self._wrapped(message_id, self.unwrap(message_id, wrapped).clear)

    def seal(self, key: MessageKey, message_id: UUID, purpose: str, clear: bytes) -> bytes:
        """Encrypt under the message's key, bound to the message and the purpose."""
        return _seal(AESGCM(key.clear), clear, message_id.bytes + purpose.encode())

    def open(self, key: MessageKey, message_id: UUID, purpose: str, sealed: bytes) -> bytes:
        """Decrypt. Raises `VaultError`."""
        return _open(AESGCM(key.clear), sealed, message_id.bytes + purpose.encode(), message_id, purpose)

    def seal_inbound(self, key: str, raw: bytes) -> bytes:
        """Encrypt something that came in and belongs to no message yet."""
        return _seal(self._seals.inbound, raw, key.encode())

    def open_inbound(self, key: str, sealed: bytes) -> bytes:
        """Decrypt something that came in. Raises `VaultError`."""
        return self._open_any("inbound", sealed, key.encode(), None, "inbound")

    # ---- secrets that outlive a key --------------------------------------------------------------------------------

    def first_secrets(self, key_id: str) -> Mapping[Purpose, bytes]:
        """Give the secrets that an installation begins with: derived from the key it begins with."""
        return self._opens[key_id].first_secrets

    def wrap_secret(self, purpose: Purpose, generation: int, secret: bytes) -> bytes:
        """Wrap a secret under the key that seals."""
        return _seal(self._seals.wrap, secret, _bound(purpose, generation))

    def unwrap_secret(self, purpose: Purpose, generation: int, wrapped: bytes) -> bytes:
        """Get a secret back. Raises `VaultError`."""
        return self._open_any("wrap", wrapped, _bound(purpose, generation), None, f"secret {purpose} {generation}")

    def adopt(self, secrets: Mapping[tuple[Purpose, int], bytes]) -> None:
        """Use these secrets from now on, by purpose and generation: the newest makes, all are looked for."""
        by_purpose: dict[Purpose, dict[int, bytes]] = {}
        for (purpose, generation), secret in sorted(secrets.items(), reverse=True):
            by_purpose.setdefault(purpose, {})[generation] = secret
        if by_purpose.keys() != set(Purpose):
            raise ValueError("a vault has a secret for each purpose")
        self._secrets = by_purpose

    @property
    def intake_seed(self) -> bytes:
        """What the key pair of the intake queue is made of."""
        secret = next(iter(self._secrets[Purpose.INTAKE].values()))
        return _derive(secret, b"1") + _derive(secret, b"2")

    def seal_staff(self, act: str, clear: bytes) -> bytes:
        """Encrypt what somebody typed about an act."""
        return _seal(AESGCM(next(iter(self._secrets[Purpose.STAFF].values()))), clear, act.encode())

    def open_staff(self, act: str, sealed: bytes) -> bytes:
        """Decrypt it. Raises `VaultError`."""
        *first, last = self._secrets[Purpose.STAFF].values()
        for secret in first:
            try:
                return _open(AESGCM(secret), sealed, act.encode(), None, "staff act")
            except VaultError:
                continue
        return _open(AESGCM(last), sealed, act.encode(), None, "staff act")

    def return_path_key(self, generation: int) -> bytes:
        """Give a generation of the key that signs return paths; one tells nothing of another."""
        return _derive(next(iter(self._secrets[Purpose.RETURN_PATH].values())), str(generation).encode())

    @property
    def lookup_generation(self) -> int:
        """The generation of the secret that keyed hashes are made with now."""
        return next(iter(self._secrets[Purpose.LOOKUP]))

    def lookup_hash(self, kind: str, value: str) -> bytes:
        """Give the keyed hash to find a person or address by, without storing it."""
        return self.lookup_hashes(kind, value)[0]

    def lookup_hashes(self, kind: str, value: str) -> tuple[bytes, ...]:
        """Give every hash that may be stored for a value, the newest first: two while one secret succeeds another."""
        named = f"{kind}:{value}".encode()
        return tuple(digest(secret, named, "sha256") for secret in self._secrets[Purpose.LOOKUP].values())

    def pseudonyms(self, kind: str, value: str) -> tuple[str, ...]:
        """Give what stands for a person outside Bode, the newest first. It is none of the hashes that are stored."""
        return tuple(found.hex() for found in self.lookup_hashes(f"logboek {kind}", value))

    def email_hash(self, email: str) -> bytes:
        """Give the keyed hash of an e-mail address, written as it may be."""
        return self.email_hashes(email)[0]

    def email_hashes(self, email: str) -> tuple[bytes, ...]:
        """Give every hash that may be stored for an e-mail address, written as it may be; the newest first."""
        return self.lookup_hashes("email", email.strip().lower())

    def _wrapped(self, message_id: UUID, clear: bytes) -> MessageKey:
        return MessageKey(clear, _seal(self._seals.wrap, clear, message_id.bytes))

    def _open_any(self, cipher: str, sealed: bytes, bound: bytes, message_id: UUID | None, purpose: str) -> bytes:
        *first, last = self._opens.values()
        for kek in first:
            try:
                return _open(getattr(kek, cipher), sealed, bound, message_id, purpose)
            except VaultError:
                continue
        return _open(getattr(last, cipher), sealed, bound, message_id, purpose)


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return digest(secret, purpose, "sha256")


def _bound(purpose: Purpose, generation: int) -> bytes:
    return f"bode secret {purpose} {generation}".encode()


def _seal(cipher: AESGCM, clear: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, clear, bound)


def _open(cipher: AESGCM, sealed: bytes, bound: bytes, message_id: UUID | None, purpose: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError) as error:
        raise VaultError(message_id, purpose) from error


def read_key_file(path: Path) -> bytes:
    """Read a 32-byte key from a file only its owner may read. Raises `KeyFileError`."""
    try:
        mode = path.stat().st_mode
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}; make one with 'bode keys init'") from error
    except ValueError as error:
        raise KeyFileError(f"key file {path} does not hold a key: 64 hexadecimal digits") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"key file {path} can be read by others: chmod 600 {path}")
    if len(key) != _KEY_BYTES:
        raise KeyFileError(f"key file {path} holds {len(key)} bytes, a key has {_KEY_BYTES}")
    return key


def write_key_file(path: Path) -> None:
    """Make a new key in a file only its owner may read. Raises `KeyFileError` where one exists already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"key file {path} exists: a new key would make everything sealed unreadable") from error
    with os.fdopen(handle, "w") as file:
        file.write(os.urandom(_KEY_BYTES).hex() + "\n")
