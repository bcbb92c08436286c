"""Where a key-encryption key comes from: a file, the environment, or a command that fetches it (a KMS, an HSM)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bode.store.vault import KeyFileError, read_key_file

_COMMAND_SECONDS = 30
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeySource:
    """One of three: the others are empty."""

    file: Path | None = None
    """64 hexadecimal digits, readable by the owner only."""
    environment: str | None = None
    """The name of a variable with 64 hexadecimal digits."""
    command: Sequence[str] = ()
    """Started without a shell; prints 64 hexadecimal digits and ends with 0 within 30 seconds."""

    def __str__(self) -> str:
        """Name it as the configuration does; of a command only the program."""
        if self.file is not None:
            return f"key file {self.file}"
        return f"key in variable {self.environment}" if self.environment else f"key of command {self.command[0]}"

    def read(self) -> bytes:
        """Give the 32 bytes. Raises `KeyFileError`, which never shows what was read."""
        if self.file is not None:
            return read_key_file(self.file)
        text = os.environ.get(self.environment, "") if self.environment else self._ask()
        try:
            key = bytes.fromhex(text.strip())
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise KeyFileError(f"{self} gives no key: {2 * _KEY_BYTES} hexadecimal digits")
        return key

    def _ask(self) -> str:
        try:
            done = subprocess.run(  # the operator's own command, from the configuration
                list(self.command), stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise KeyFileError(f"{self}: no answer within {_COMMAND_SECONDS} seconds") from None
        except OSError as error:
            raise KeyFileError(f"{self} cannot be started: {error.strerror}") from None
        if done.returncode:
            raise KeyFileError(f"{self} ended with {done.returncode}: run it by hand to see why")
        return done.stdout.decode("ascii", "replace")
