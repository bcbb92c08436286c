"""`bode config show`: every setting in force, and where it comes from; secrets are masked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from bode import settings as configuration
from bode.settings import PREFIX
from bode_ops.commands.base import Config, console, load

MASK = "***"
_SECRET = re.compile(r"(secret|password|passphrase|token|credential|authorization|apikey|(^|[_.-])key)$", re.IGNORECASE)
"""How the name of a secret ends. Settings of adapters are theirs: what one calls otherwise belongs in a file of
secrets, and what comes from there or from the environment is masked whatever its name."""
_ADDRESS = re.compile(r"^[a-z+]+://[^/\s]*@")


def config_show(*, config: Config = None) -> None:
    """Print every setting in force with where it comes from: the file, the environment, a file of secrets, a default.

    Secrets are masked: what is named as one, and whatever an adapter's settings got from elsewhere than the file.
    """
    found = load(config)
    file = configuration.named(config)
    origins = _Origins(file)
    for path, value in _leaves(found.model_dump(mode="json"), ()):
        origin = origins.of(path)
        apart = "settings" in path and not origin.startswith(("default", str(file)))
        shown = json.dumps(MASK if apart or _is_secret(path, value) else _without_password(value), ensure_ascii=False)
        console.print(f"{'.'.join(path)} = {shown}  # {origin}", markup=False)


class _Origins:
    """Tells where a setting comes from, in the order in which the sources go before each other."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._table = configuration.read_file(file)
        self._secrets = {name.lower(): str(path) for name, path in configuration.secret_files().items()}
        self._variables = {name.lower(): name for name in os.environ}

    def of(self, path: Sequence[str]) -> str:
        # A variable may hold a whole section, as JSON: the longest name that is set is the one.
        names = [PREFIX.lower() + "__".join(path[:length]).lower() for length in range(len(path), 0, -1)]
        for name in names:
            if name in self._variables:
                return f"environment {self._variables[name]}"
        for name in names:
            if name in self._secrets:
                return f"file {self._secrets[name]}"
        return str(self._file) if _is_in(self._table, path) else "default"


def _is_in(table: Any, path: Sequence[str]) -> bool:
    for key in path:
        if isinstance(table, Mapping):
            table = cast("Mapping[str, Any]", table).get(key)
        elif isinstance(table, Sequence) and key.isdecimal():
            items = list(cast("Iterable[Any]", table))
            table = items[int(key)] if int(key) < len(items) else None
        else:
            return False
        if table is None:
            return False
    return True


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, item in cast("dict[str, Any]", value).items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in cast("Sequence[Any]", value)):
        for number, item in enumerate(cast("Sequence[Any]", value)):
            yield from _leaves(item, (*path, str(number)))
    else:
        yield path, value


def _is_secret(path: Sequence[str], value: Any) -> bool:
    """Tell whether a setting is a secret. Headers can hold anything, and a file's path is none."""
    if value is None or "headers" in path:
        return value is not None
    if "secrets" in path:  # of a relay they are the secrets, of a webhook they are files
        return path[0] != "webhooks"
    return bool(_SECRET.search(path[-1])) and path[-1] not in {"client_key", "host_key"}


def _without_password(value: Any) -> Any:
    if isinstance(value, str) and _ADDRESS.match(value):
        parts = urlsplit(value)
        user, _, place = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        return parts._replace(netloc=f"{name}{colon}{MASK if colon else ''}@{place}").geturl()
    return value
