"""Secrets that stand in files of their own, as systemd credentials and mounted secrets do."""

from __future__ import annotations

from pathlib import Path


class SecretFileError(ValueError):
    """A file that holds no secret we can use; the text says why, and nothing of what is in it."""


def read_secret(path: Path) -> str:
    """Give the one line of a file, without the line's end. Raises `SecretFileError`."""
    try:
        secret = path.read_text("utf-8").strip()
    except OSError as error:
        raise SecretFileError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretFileError("is no text") from None
    if not secret or not secret.isprintable():
        raise SecretFileError("does not hold a secret on one line")
    return secret
