"""What all commands share: the application, who works here, and errors a user can mend."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import redis
import sqlalchemy as sa
from cyclopts import Parameter
from rich.console import Console

from bode import settings as configuration
from bode.intake.body import read_reason
from bode.intake.faults import Refused
from bode.settings import ConfigError, Settings
from bode.store import keyring, messages
from bode.store.messages import Known
from bode_ops import assembly, logs
from bode_ops.assembly import Application

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

Config = Annotated[Path | None, Parameter(name=["--config", "-c"], help="TOML file; default: $BODE_CONFIG.")]
By = Annotated[str, Parameter(help="Who does this; recorded in evidence.")]
Reason = Annotated[str, Parameter(help="Why; recorded in evidence.")]


def load(config: Path | None) -> Settings:
    found = configuration.load(config)
    logs.configure(found.log_format)
    return found


@contextmanager
def naming(config: Path | None) -> Generator[None]:
    """Name the file in what is wrong with an adapter's settings, too."""
    try:
        yield
    except ConfigError as error:
        where = f"configuration {configuration.named(config) or '(environment)'}: "
        raise ConfigError(str(error).replace("configuration: ", where, 1)) from error


def build(config: Path | None) -> Application:
    with naming(config):
        return assembly.build(load(config))


_T = TypeVar("_T")


def with_application(config: Path | None, work: Callable[[Application], Awaitable[_T]]) -> _T:
    """Make the application, check the schema, and do one piece of work with it."""

    async def do() -> _T:
        application = build(config)
        check_database(application.settings)
        try:
            await application.database.check_schema()
            await application.clock.agree(application.database.time)
            await keyring.open_vault(application.database, application.parts.vault, application.clock.real())
            return await work(application)
        finally:
            await application.close()

    return asyncio.run(do())


async def find(application: Application, reference: str, organisation: str | None) -> Known:
    """Find one message by its reference or id; says what to add when there are more."""
    async with application.database.read() as connection:
        found = await messages.find(connection, reference=reference, organisation=organisation)
        if not found and (by_id := _uuid(reference)) is not None:
            one = await messages.get(connection, by_id)
            found = [one] if one is not None else []
    if not found:
        raise UsageError(f"there is no message with reference {reference!r}")
    if len(found) > 1:
        whose = ", ".join(known.organisation for known in found)
        raise UsageError(f"{len(found)} messages have reference {reference!r}: add --organisation, one of {whose}")
    return found[0]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class UsageError(Exception):
    """A command that cannot be carried out as it was given; the message says what to do."""


def me() -> str:
    """Give who works at this terminal, as evidence names them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def a_reason(text: str) -> str:
    """Check a reason as the API does: evidence keeps it for years."""
    try:
        return read_reason(json.dumps({"reden": text}).encode())
    except Refused:
        raise UsageError("--reason is one line of 1 to 200 characters") from None


class AwayError(Exception):
    """Something outside that Bode needs is not there; the message says what, and where it is named."""


def check_database(found: Settings) -> None:
    """Open an SQLite file that is there: it says which file cannot be used, and why."""
    url = sa.make_url(found.database.url)
    if url.get_backend_name() != "sqlite" or url.database is None or not Path(url.database).exists():
        return
    try:
        with closing(sqlite3.connect(url.database)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise AwayError(f"the database {url.database} (database.url) cannot be used: {error}") from None


def check_broker(found: Settings) -> None:
    """Refuse to start without the broker: later it may go and come back, but a wrong address must not go unseen."""
    if found.broker.url is None:
        return
    maker: Any = redis.Redis  # its options have no types
    try:
        with maker.from_url(found.broker.url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise AwayError(f"the broker at broker.url cannot be reached ({type(error).__name__})") from None
