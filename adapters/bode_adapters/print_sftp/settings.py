"""The settings of the SFTP drop, checked whole at start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import asyncssh

from bode_adapters.contract import SettingError
from bode_adapters.rest import HIDDEN, SettingsTable

_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_USER: Final = re.compile(r"[!-~]{1,64}")
_PATH: Final = re.compile(r"[^\x00-\x1f]{1,400}")
_ANYTHING: Final = re.compile(r".+", re.DOTALL)
_AFTERWARDS: Final = re.compile(r"move|delete")


@dataclass(frozen=True, slots=True)
class SftpSettings:
    """Where the server is, how to know it, how to log in, and where things go."""

    host: str
    port: int
    user: str
    host_keys: tuple[asyncssh.SSHKey, ...]
    """The only keys the server may have. There is no setting to trust whoever answers."""
    password: str | None = field(repr=False)
    key: asyncssh.SSHKey | None = field(repr=False)
    folder: str
    """Holds `in` and `reports`."""
    ledger: str
    """Bode's own directory, beside the print service's."""
    keep_reports: bool
    """Whether a report that is stored is moved to `reports/done`, or deleted."""
    timeout_seconds: float
    concurrency: int

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Read the table; raises `SettingError`."""
        table = SettingsTable(settings)
        folder = table.text("folder", needs="a path on the server", pattern=_PATH) if "folder" in settings else "."
        afterwards = "move"
        if "after_report" in settings:
            afterwards = table.text("after_report", needs="'move' or 'delete'", pattern=_AFTERWARDS)
        found = cls(
            host=table.text("host", needs="a host name or address", pattern=_HOST),
            port=table.count("port", default=22, at_most=65535),
            user=table.text("user", needs="a user name", pattern=_USER),
            host_keys=_host_keys(table),
            password=table.optional_secret("password"),
            key=_key(table) if "key_file" in settings else None,
            folder=folder,
            ledger=table.text("ledger", needs="a path on the server", pattern=_PATH)
            if "ledger" in settings
            else f"{folder}/.bode",
            keep_reports=afterwards == "move",
            timeout_seconds=table.seconds("timeout_seconds", default=20.0, at_most=300.0),
            concurrency=table.count("concurrency", default=8, at_most=64),
        )
        table.finish()
        if (found.password is None) == (found.key is None):
            raise SettingError(
                "key_file", None if found.key is None else HIDDEN, "key_file or password, one of the two"
            )
        return found


def _host_keys(table: SettingsTable) -> tuple[asyncssh.SSHKey, ...]:
    needs = "the server's public key, as in 'ssh-ed25519 AAAA...'; several on lines of their own while it changes"
    text = table.text("host_key", needs=needs, pattern=_ANYTHING)
    try:
        keys = tuple(asyncssh.import_public_key(line) for line in text.splitlines() if line.strip())
    except asyncssh.KeyImportError:
        raise SettingError("host_key", text, needs) from None
    if not keys:
        raise SettingError("host_key", text, needs)
    return keys


def _key(table: SettingsTable) -> asyncssh.SSHKey:
    needs = "the path of a private key that can be read, with key_passphrase where it has one"
    path = table.text("key_file", needs=needs, pattern=_PATH)
    passphrase = table.optional_secret("key_passphrase")
    try:
        return asyncssh.read_private_key(Path(path), passphrase)
    except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        raise SettingError("key_file", path, needs) from None
