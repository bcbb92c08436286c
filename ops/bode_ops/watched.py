"""Files and folders of this machine that metrics and `bode doctor` watch, found in the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from sqlalchemy.engine import make_url

from bode.settings import Settings


def certificates(settings: Settings) -> dict[str, Path]:
    """Give our client certificates, by their place in the configuration, as `channels.mijnoverheid`."""
    services = {"notices": settings.notices, "print": settings.print, "profile": settings.profile}
    kept = settings.evidence
    attestors = {"tsa": kept.tsa, "witness": kept.witness} if kept is not None else {}
    places: dict[str, Mapping[str, Any]] = {
        **{f"channels.{name}": channel.settings for name, channel in settings.channels.items()},
        **{name: service.settings for name, service in services.items() if service is not None},
        **{f"webhooks.{name}": hook.settings for name, hook in settings.webhooks.items()},
        **{f"evidence.{name}": one.settings for name, one in attestors.items() if one is not None},
    }
    return dict(found for place, table in places.items() for found in _certificates(place, table))


def _certificates(place: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for key, value in table.items():
        if key in {"client_certificate", "client_certificate_file"}:
            yield place, Path(str(value))
        elif isinstance(value, Mapping):
            yield from _certificates(f"{place}.{key}", cast("Mapping[str, Any]", value))
        elif isinstance(value, list):
            for number, item in enumerate(cast("Sequence[Any]", value)):
                if isinstance(item, Mapping):
                    yield from _certificates(f"{place}.{key}.{number}", cast("Mapping[str, Any]", item))


def disks(settings: Settings) -> dict[str, Path]:
    """Give the folders that must not fill up: of an SQLite database, and of the published log."""
    found: dict[str, Path] = {}
    database = make_url(settings.database.url)
    if database.get_backend_name() == "sqlite" and database.database:
        found["database"] = Path(database.database).parent
    if settings.evidence is not None:
        found["evidence"] = settings.evidence.folder
    if settings.documents is not None and settings.documents.folder is not None:
        found["documents"] = settings.documents.folder
    return found
