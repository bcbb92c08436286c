"""Signed notes and the checkpoints of a log in them, as C2SP signed-note, tlog-checkpoint and tlog-cosignature say.

A note is text with signature lines under it. A checkpoint is a note whose text states a log's name, its number of
leaves and the root over them; the log signs it, and a witness of another organisation can sign it too. Error messages
are constant: nothing of what came from outside is in them. Imports the standard library and `cryptography` only: the
verifier stands on it.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bode.evidence.merkle import HASH_SIZE, MAX_SIZE

MAX_NOTE_BYTES = 1 << 17
MAX_SIGNATURES = 100

_PRIVATE = "PRIVATE+KEY+"
_DASH = "— "
_ID_BYTES = 4
_KEY_BYTES = 32
_TIME_BYTES = 8
_KEY_PARTS = 3
_CHECKPOINT_LINES = 3


class NoteError(Exception):
    """A note, a checkpoint or a key is not written as it must be; the message says what is wrong."""


class UntrustedError(NoteError):
    """No key that is trusted for it signed the note: nothing can be said about its text."""


class SignatureError(NoteError):
    """A trusted key is named under the note, and its signature does not fit the text: one of them was altered."""


class KeyKind(IntEnum):
    """What a key signs: the signature type of signed-note, a byte in keys and in their ids."""

    LOG = 0x01
    """Ed25519 over the text: a log signs its checkpoints."""
    WITNESS = 0x04
    """Ed25519 over a time and the text (cosignature/v1): a witness states what it saw, and when."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name of who holds it. Rotated keys share their name and differ in their id."""

    name: str
    kind: KeyKind
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a key as it is published: `name+id+base64`."""
        key = cls(*_parse_key(text.strip()))
        if str(key) != text.strip():
            raise NoteError("the key's id does not fit its name and bytes: it was copied wrongly")
        return key

    @property
    def id(self) -> bytes:
        """Four bytes that name the key in signature lines."""
        return sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(bytes([self.kind]) + self.public)}"

    def is_signed(self, text: str, value: bytes) -> bool:
        """Say whether the value of a signature line is this key's signature under the text."""
        signed = text.encode()
        if self.kind is KeyKind.WITNESS:
            signed, value = _cosigned(text, signed_at(value)), value[_TIME_BYTES:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(value, signed)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with the name of who holds it."""

    name: str
    kind: KeyKind
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str, kind: KeyKind = KeyKind.LOG) -> SigningKey:
        """Make a new key."""
        _check_name(name)
        return cls(name, kind, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read a key as it is kept secret: `PRIVATE+KEY+name+id+base64`."""
        text = text.strip()
        if not text.startswith(_PRIVATE):
            raise NoteError("a private key begins with PRIVATE+KEY+")
        key = cls(*_parse_key(text.removeprefix(_PRIVATE)))
        if key.text() != text:
            raise NoteError("the key's id does not fit its name and bytes: it was copied wrongly")
        return key

    def text(self) -> str:
        """Write the key as it is kept secret."""
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{_base64(bytes([self.kind]) + self.seed)}"

    @property
    def verifier(self) -> VerifierKey:
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, self.kind, public)

    def sign(self, text: str, *, at: int = 0) -> Signature:
        """Sign a note's text. `at` is the second (POSIX) a witness states; a log's signature has none."""
        key, signed, prefix = Ed25519PrivateKey.from_private_bytes(self.seed), text.encode(), b""
        if self.kind is KeyKind.WITNESS:
            signed, prefix = _cosigned(text, at), at.to_bytes(_TIME_BYTES, "big")
        return Signature(self.name, self.verifier.id, prefix + key.sign(signed))


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature line: who says to have signed, with which key, and the value."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {_base64(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends in a newline, and the signature lines under it."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note; one writing only is taken, so that `encode` gives the same bytes."""
        if len(data) > MAX_NOTE_BYTES:
            raise NoteError("the note is longer than any note of ours")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise NoteError("the note is not UTF-8") from None
        text, empty, lines = whole.rpartition("\n\n")
        if not empty or not lines.endswith("\n"):
            raise NoteError("a note is text, an empty line and signature lines, each ended by a newline")
        signatures = [_parse_line(line) for line in lines[:-1].split("\n")]
        if len(signatures) > MAX_SIGNATURES:
            raise NoteError("the note has more signatures than any note of ours")
        return cls(_check_text(text + "\n"), tuple(signatures))

    def encode(self) -> bytes:
        return f"{self.text}\n{''.join(str(signature) for signature in self.signatures)}".encode()

    def verify(self, keys: Iterable[VerifierKey]) -> list[tuple[VerifierKey, Signature]]:
        """Give the signatures of known keys, all of which fit. Signatures of unknown keys are passed over."""
        known = {(key.name, key.id): key for key in keys}
        found: list[tuple[VerifierKey, Signature]] = []
        for signature in self.signatures:
            key = known.get((signature.name, signature.key_id))
            if key is None:
                continue
            if not key.is_signed(self.text, signature.value):
                raise SignatureError("a trusted key is named under the note, but its signature does not fit the text")
            found.append((key, signature))
        if not found:
            raise UntrustedError("no trusted key signed the note")
        return found


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log states: that its first `size` leaves have this root. `origin` is the log's name."""

    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note as a checkpoint. Ours has no extension lines; one with them is refused."""
        lines = text.split("\n")
        if len(lines) != _CHECKPOINT_LINES + 1 or lines.pop() != "":
            raise NoteError("a checkpoint has three lines: its log's name, its size, its root")
        origin, size, root = lines
        _check_name(origin)
        if not (size.isascii() and size.isdecimal()) or (size != "0" and size[0] == "0") or len(size) > len(_MOST):
            raise NoteError("the size of a checkpoint is a decimal number without leading zeros")
        if int(size) > MAX_SIZE:
            raise NoteError("the size of the checkpoint is larger than any log's")
        hash_ = _unbase64(root)
        if len(hash_) != HASH_SIZE:
            raise NoteError("the root of a checkpoint has 32 bytes")
        return cls(origin, int(size), hash_)

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    def sign(self, *keys: SigningKey) -> Note:
        """Make the note of this checkpoint, signed by its log: with the new key and the old one while rotating."""
        for key in keys:
            if key.name != self.origin or key.kind is not KeyKind.LOG:
                raise NoteError("a checkpoint is signed by a key that bears the log's name")
        text = str(self)
        return Note(text, tuple(key.sign(text) for key in keys))


_MOST = str(MAX_SIZE)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A witness's statement: at this second (POSIX) this was the largest tree of the log that it knew."""

    key: VerifierKey
    at: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint that its log's trusted keys signed, and which trusted witnesses did."""

    checkpoint: Checkpoint
    note: Note
    signed_by: Sequence[VerifierKey]
    witnesses: Sequence[Witnessed]


def open_checkpoint(data: bytes, keys: Iterable[VerifierKey]) -> Opened:
    """Read a checkpoint and check its signatures: a trusted key with its log's name, and any trusted witnesses.

    Raises `UntrustedError` where no key given is the log's, `SignatureError` where a signature does not fit.
    """
    note = Note.parse(data)
    checkpoint = Checkpoint.parse(note.text)
    trusted = [key for key in keys if key.kind is KeyKind.WITNESS or key.name == checkpoint.origin]
    found = note.verify(trusted)
    signed_by = [key for key, _ in found if key.kind is KeyKind.LOG]
    if not signed_by:
        raise UntrustedError("no trusted key of the log signed the checkpoint")
    witnesses = [Witnessed(key, signed_at(line.value)) for key, line in found if key.kind is KeyKind.WITNESS]
    return Opened(checkpoint, note, signed_by, witnesses)


def signed_at(value: bytes) -> int:
    """Read the second (POSIX) that a witness's signature value begins with."""
    return int.from_bytes(value[:_TIME_BYTES], "big")


def cosign(note: Note, key: SigningKey, *, at: int) -> Note:
    """Add a witness's signature. The witness has checked before that the log only grew since what it signed last."""
    if key.kind is not KeyKind.WITNESS:
        raise NoteError("a witness signs with a key of its own kind")
    return Note(note.text, (*note.signatures, key.sign(note.text, at=at)))


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _parse_line(line: str) -> Signature:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != len(("name", "value")):
        raise NoteError("a signature line is a dash, a key's name and base64, with one space between them")
    name, encoded = parts
    _check_name(name)
    value = _unbase64(encoded)
    if len(value) <= _ID_BYTES:
        raise NoteError("a signature line holds a key's id and a signature")
    return Signature(name, value[:_ID_BYTES], value[_ID_BYTES:])


def _parse_key(text: str) -> tuple[str, KeyKind, bytes]:
    parts = text.split("+", _KEY_PARTS - 1)  # the base64 at the end can have a plus of its own
    if len(parts) != _KEY_PARTS:
        raise NoteError("a key is name+id+base64")
    name, _, encoded = parts
    if name == "PRIVATE":
        raise NoteError("this is a private key: keep it secret, and give the public one")
    _check_name(name)
    material = _unbase64(encoded)
    if len(material) != 1 + _KEY_BYTES:
        raise NoteError("a key is 32 bytes after the byte of its kind")
    try:
        kind = KeyKind(material[0])
    except ValueError:
        raise NoteError("the key is of a kind that is not used here") from None
    return name, kind, material[1:]


def _check_name(name: str) -> None:
    if not name or "+" in name or " " in name or not name.isprintable():
        raise NoteError("the name of a key or a log has no spaces, no plus and nothing that cannot be printed")


def _check_text(text: str) -> str:
    if any(character < " " and character != "\n" for character in text):
        raise NoteError("the note has control characters")
    return text


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _unbase64(text: str) -> bytes:
    """Read base64 in its one canonical writing."""
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("this is not base64") from None
    if _base64(data) != text:
        raise NoteError("this is base64 in another writing than its own")
    return data
