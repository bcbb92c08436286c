"""The keys that sign checkpoints, in a file of their own: one that signs now, and those that signed before.

Of a key that was replaced only the public part is kept: what it signed keeps verifying, and nobody can sign with it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from bode.evidence.note import NoteError, SigningKey, VerifierKey
from bode.store.vault import KeyFileError

_HEAD = "# The keys of the log of evidence. The line PRIVATE+KEY signs: keep it secret, with a copy in a safe place.\n"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that signs, and the public keys of all that ever did."""

    signing: SigningKey
    retired: tuple[VerifierKey, ...] = ()

    @property
    def verifiers(self) -> tuple[VerifierKey, ...]:
        """All public keys, the one that signs now last."""
        return (*self.retired, self.signing.verifier)


def read_keyring(path: Path, origin: str) -> Keyring:
    """Read the keys of a log from a file only its owner may read. Raises `KeyFileError`."""
    ring = _read(path)
    if ring.signing.name != origin:
        raise KeyFileError(
            f"evidence key file {path} signs for {ring.signing.name!r}, and evidence.origin is {origin!r}: "
            "a new log has a new key, made with 'bode keys evidence rotate'"
        )
    return ring


def make_keyring(path: Path, origin: str) -> Keyring:
    """Make the first key of a log in a new file. Raises `KeyFileError` where there is one."""
    ring = Keyring(SigningKey.generate(origin))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(path, ring)
    except FileExistsError as error:
        raise KeyFileError(f"evidence key file {path} exists: 'bode keys evidence rotate' replaces its key") from error
    return ring


def rotate_keyring(path: Path, origin: str) -> Keyring:
    """Replace the key that signs by a new one; the old one keeps verifying. Raises `KeyFileError`."""
    old = _read(path)
    ring = Keyring(SigningKey.generate(origin), old.verifiers)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    _write(beside, ring)
    beside.replace(path)
    return ring


def _write(path: Path, ring: Keyring) -> None:
    lines = [*(str(key) for key in ring.retired), ring.signing.text()]
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(_HEAD + "".join(f"{line}\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> Keyring:
    try:
        mode = path.stat().st_mode
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "is no text"
        raise KeyFileError(f"evidence key file {path}: {what}; make one with 'bode keys evidence init'") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"evidence key file {path} can be read by others: chmod 600 {path}")
    if not lines:
        raise KeyFileError(f"evidence key file {path} is empty: put its copy back")
    try:
        return Keyring(SigningKey.parse(lines[-1]), tuple(VerifierKey.parse(line) for line in lines[:-1]))
    except NoteError as error:
        raise KeyFileError(f"evidence key file {path} does not hold keys: {error}") from error
