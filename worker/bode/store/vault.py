"""Encryption at rest: a key per message, wrapped by a key-encryption key; and keyed hashes to look people up by.

AES-256-GCM throughout. What a ciphertext belongs to (message and purpose) is bound into it, so that rows cannot be
swapped. Erasing a message is deleting its wrapped key.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
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
    """A key file that cannot be used: missing, too open, or not a key. Says which file and what to do."""


@dataclass(frozen=True, slots=True)
class MessageKey:
    """The key of one message, in the clear only in memory, and as it is stored."""

    clear: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)


class Vault:
    """Seals and opens under one key-encryption key; all other keys derive from it."""

    def __init__(self, secret: bytes) -> None:
        """Take the 32-byte secret; keys for wrapping, looking up, addressing and inbound mail are derived from it."""
        if len(secret) != _KEY_BYTES:
            raise KeyFileError(f"a key has {_KEY_BYTES} bytes, this one {len(secret)}")
        self._wrap = AESGCM(_derive(secret, b"bode wrap"))
        self._inbound = AESGCM(_derive(secret, b"bode inbound"))
        self._lookup = _derive(secret, b"bode lookup")
        self._return_path = _derive(secret, b"bode return path")
        self.intake_seed = _derive(secret, b"bode intake queue 1") + _derive(secret, b"bode intake queue 2")
        self.key_id = sha256(b"bode key id" + secret).hexdigest()[:16]

    def new_key(self, message_id: UUID) -> MessageKey:
        """Make a key for a message."""
        clear = AESGCM.generate_key(bit_length=256)
        nonce = os.urandom(_NONCE_BYTES)
        return MessageKey(clear, nonce + self._wrap.encrypt(nonce, clear, message_id.bytes))

    def unwrap(self, message_id: UUID, wrapped: bytes) -> MessageKey:
        """Get a message's key back. Raises `VaultError`."""
        clear = _open(self._wrap, wrapped, message_id.bytes, message_id, "key")
        return MessageKey(clear, wrapped)

    def seal(self, key: MessageKey, message_id: UUID, purpose: str, clear: bytes) -> bytes:
        """Encrypt under the message's key, bound to the message and the purpose."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(key.clear).encrypt(nonce, clear, message_id.bytes + purpose.encode())

    def open(self, key: MessageKey, message_id: UUID, purpose: str, sealed: bytes) -> bytes:
        """Decrypt. Raises `VaultError`."""
        return _open(AESGCM(key.clear), sealed, message_id.bytes + purpose.encode(), message_id, purpose)

    def seal_inbound(self, key: str, raw: bytes) -> bytes:
        """Encrypt something that came in and belongs to no message yet."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._inbound.encrypt(nonce, raw, key.encode())

    def open_inbound(self, key: str, sealed: bytes) -> bytes:
        """Decrypt something that came in. Raises `VaultError`."""
        return _open(self._inbound, sealed, key.encode(), None, "inbound")

    def return_path_key(self, generation: int) -> bytes:
        """Give a generation of the key that signs return paths; one tells nothing of another."""
        return _derive(self._return_path, str(generation).encode())

    def email_hash(self, email: str) -> bytes:
        """Give the keyed hash of an e-mail address, written as it may be."""
        return self.lookup_hash("email", email.strip().lower())

    def lookup_hash(self, kind: str, value: str) -> bytes:
        """Give the keyed hash to find a person or address by, without storing it."""
        return digest(self._lookup, f"{kind}:{value}".encode(), "sha256")


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return digest(secret, purpose, "sha256")


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
