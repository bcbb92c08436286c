"""What `bode doctor` looks at: every part that Bode needs, each by itself, with what is wrong and what to do about it.

It changes nothing and sends nothing: adapters are asked by `probe`, which is about nobody. What one part says does not
keep the others from being looked at; only without a configuration there is nothing to look at.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from bode import settings as configuration
from bode.clock import Clock
from bode.settings import ConfigError, Settings
from bode.store import tables
from bode.store.database import Database, SchemaError
from bode.store.documents import DocumentsAwayError
from bode.store.evidence_keys import read_keyring
from bode.store.vault import KeyFileError
from bode_adapters.connection import certificate_not_after
from bode_adapters.contract import Box, Notifier, PrintService, Probed, ProfileService, Trouble
from bode_ops import assembly
from bode_ops.document_store import build_documents
from bode_ops.watched import certificates, disks

PATIENCE_SECONDS = 10.0
"""How long one part may take to answer."""
_CLOCK_WRONG = timedelta(seconds=10)
_CERTIFICATE_SOON = timedelta(days=21)
_DISK_LOW = 0.1
_DISK_FULL = 0.02


class Verdict(StrEnum):
    """How a part is."""

    WELL = "well"
    WARNING = "warning"
    """It works, and will not for long, or somebody stopped it."""
    FAULT = "fault"
    NOT_ASKED = "not_asked"
    """It cannot be looked at, and why stands beside it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a part: which, how it is, what is wrong, and what to do."""

    part: str
    verdict: Verdict
    what: str = ""
    do: str = ""


def _fault(part: str, what: str, do: str) -> Finding:
    return Finding(part, Verdict.FAULT, what, do)


def _well(part: str, what: str = "") -> Finding:
    return Finding(part, Verdict.WELL, what)


async def examine(config: Path | None) -> list[Finding]:
    """Look at every part of an installation, as this process sees it."""
    try:
        found = configuration.load(config)
    except ConfigError as error:
        told = str(error).removeprefix("configuration ")
        return [_fault("configuration", told, "mend what is named; config/examples has one that is whole")]
    if not found.channels:
        return [_fault("configuration", "has no channels", "name a file with --config, or in BODE_CONFIG")]
    findings = [_well("configuration", f"environment {found.environment}"), _key(found), *_evidence(found)]
    findings += [*_limits(found), *_certificates(found), *_disks(found), _journal(found)]
    looked = await asyncio.gather(_database(found), _broker(found), _documents(found), _adapters(found))
    return findings + [finding for each in looked for finding in each]


async def _patiently(part: str, look: Callable[[], Awaitable[Sequence[Finding]]], do: str) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await look()
    except TimeoutError:
        return [_fault(part, f"gives no answer within {PATIENCE_SECONDS:g} seconds", do)]


# ----------------------------------------------------------------------------------------------------- files and disks


def _key(found: Settings) -> Finding:
    try:
        assembly.build_vault(found)
    except KeyFileError as error:
        return _fault(
            "keys.file",
            str(error).removesuffix("; make one with 'bode keys init'"),
            "put it back from its copy, readable by Bode's user alone. A new one ('bode keys init') opens nothing that "
            "is stored: make that only where nothing was ever handed in",
        )
    return _well("keys.file")


def _limits(found: Settings) -> list[Finding]:
    """Tell of bodies that may send without end: a stolen key would be seen by nobody."""
    if found.environment != "production":
        return []
    return [
        Finding(
            f"organisations.{oin}.limits",
            Verdict.WARNING,
            "no limit: a stolen key could send messages and letters without end",
            "set messages_per_day and letters_per_day: see 'Limits on what is sent' in docs/operations.md",
        )
        for oin, organisation in found.organisations.items()
        if organisation.limits.messages_per_day is None or organisation.limits.letters_per_day is None
    ]


def _evidence(found: Settings) -> list[Finding]:
    kept = found.evidence
    if kept is None:
        return [Finding("evidence", Verdict.WARNING, "no evidence is kept", "add [evidence]: see config/examples")]
    if not kept.key_file.exists():
        return [
            Finding(
                "evidence.key_file",
                Verdict.NOT_ASKED,
                f"there is no {kept.key_file} on this machine",
                "nothing, where neither the sweeper nor the API runs; else put it back, or: bode keys evidence init",
            )
        ]
    try:
        read_keyring(kept.key_file, kept.origin)
    except KeyFileError as error:
        return [_fault("evidence.key_file", str(error), "put the file back from its copy")]
    findings = [_well("evidence.key_file")]
    if kept.folder.exists() and not os.access(kept.folder, os.W_OK | os.X_OK):
        findings.append(_fault("evidence.folder", f"{kept.folder} cannot be written to", "give it to Bode's user"))
    return findings


def _certificates(found: Settings) -> list[Finding]:
    findings: list[Finding] = []
    for place, path in certificates(found).items():
        part = f"certificate {place}"
        try:
            left = certificate_not_after(path) - Clock().real()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no certificate in PEM"
            findings.append(_fault(part, f"{path}: {why}", "put the certificate there"))
            continue
        when = f"runs out in {left.days} days" if left > timedelta(0) else f"ran out {-left.days} days ago"
        what = f"{path} {when}"
        renew = "renew it, put it in the same place, and start Bode again: docs/runbooks/BodeCertificateRunsOut.md"
        if left <= timedelta(0):
            findings.append(_fault(part, what, renew))
        else:
            findings.append(Finding(part, Verdict.WARNING, what, renew) if left < _CERTIFICATE_SOON else _well(part))
    return findings


def _disks(found: Settings) -> list[Finding]:
    findings: list[Finding] = []
    for holds, folder in disks(found).items():
        part = f"disk {holds}"
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            why = f"there is no {folder} yet" if missing else f"{folder}: {error.strerror}"
            findings.append(Finding(part, Verdict.NOT_ASKED, why))
            continue
        free = usage.free / usage.total
        what = f"{free:.1%} of the disk under {folder} is free ({usage.free / 1e9:.1f} GB)"
        do = "make room: docs/runbooks/BodeDiskFillsUp.md"
        verdict = Verdict.WELL if free >= _DISK_LOW else Verdict.WARNING if free >= _DISK_FULL else Verdict.FAULT
        findings.append(Finding(part, verdict, what, do if verdict is not Verdict.WELL else ""))
    return findings


def _journal(found: Settings) -> Finding:
    part, folder = "engine.journal_folder", found.engine.journal_folder
    if folder is None:
        what = "no journal is kept: all that a worker has in hand is in doubt when it is killed"
        return Finding(part, Verdict.WARNING, what, "name a folder on this machine's disk")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return _fault(part, f"{there} cannot be written to", "give it to Bode's user, where a worker runs")
    return _well(part)


# ------------------------------------------------------------------------------------------------- database and broker


async def _database(found: Settings) -> Sequence[Finding]:
    database = assembly.build_database(found)
    do = "look whether it runs and whether this machine may reach it: docs/runbooks/BodeDatabaseAway.md"
    path = database.path
    if path is not None and not path.exists():
        return [_fault("database.url", f"there is no {path}", "run 'bode db upgrade', or put it back from its backup")]
    try:
        return await _patiently("database.url", lambda: _look_at_database(found, database), do)
    except (SQLAlchemyError, OSError) as error:
        return [_away(error, do)]
    finally:
        await database.close()


def _away(error: SQLAlchemyError | OSError, do: str) -> Finding:
    """Say why the database cannot be used; what it says of a login is its own, and names no secret."""
    raised: object = getattr(error, "orig", None) or error
    said = str(raised).strip().splitlines()[-1:] if getattr(error, "statement", None) is None else []
    text = said[0] if said else type(raised).__name__
    if "authentication failed" in text or "no password supplied" in text:
        do = "give Bode the password that the database knows: PGPASSWORD, or BODE__DATABASE__URL in BODE_SECRETS"
    return _fault("database.url", f"cannot be used: {text}", do)


async def _look_at_database(found: Settings, database: Database) -> Sequence[Finding]:
    findings = [_well("database.url")]
    ahead = await Clock(found.clock.factor, found.clock.origin).agree(database.time)
    if abs(ahead) > _CLOCK_WRONG:
        way = "ahead of" if ahead > timedelta(0) else "behind"
        what = f"this machine's clock is {abs(ahead).total_seconds():.0f} s {way} the database's"
        findings.append(
            _fault("clock", what, "mend time synchronisation (NTP) on whichever is wrong: Bode goes by the database's")
        )
    else:
        findings.append(_well("clock"))
    try:
        await database.check_schema()
    except SchemaError as error:
        what = f"the database has {error.found or 'none'}, this version of Bode works with {error.wanted}"
        do = "the older one is behind. The database: run 'bode db upgrade'. This Bode: install the newer version"
        return [*findings, _fault("database schema", what, f"{do} (docs/operations.md, Upgrade)")]
    findings.append(_well("database schema"))
    async with database.read() as connection:
        if not database.is_sqlite:
            encoding = (await connection.execute(sa.text("SHOW server_encoding"))).scalar_one()
            if encoding != "UTF8":
                do = "make it anew with ENCODING 'UTF8', and restore into it"
                findings.append(_fault("database encoding", f"is {encoding}", do))
        lane = tables.lane.c
        stopped = await connection.execute(
            sa.select(lane.name, lane.reason).where(lane.stopped_at.is_not(None)).order_by(lane.name)
        )
        findings += [
            Finding(
                f"lane {row.name}",
                Verdict.WARNING,
                f"is stopped, and sends nothing: {row.reason}",
                f"when that is mended: bode lane start {row.name}",
            )
            for row in stopped
        ]
        sealed = (await connection.execute(sa.select(tables.content.c.key_id).limit(1))).scalar_one_or_none()
        elsewhere = sa.select(tables.document.c.number).where(tables.document.c.object.is_not(None)).limit(1)
        if found.documents is None and (await connection.execute(elsewhere)).first() is not None:
            what = "documents are kept in a store that this configuration does not name"
            findings.append(_fault("documents", what, "put [documents] back: their messages cannot be sent"))
    findings += _same_key(found, sealed)
    return findings


def _same_key(found: Settings, sealed: bytes | str | None) -> list[Finding]:
    try:
        vault = assembly.build_vault(found)
    except KeyFileError:
        return []  # told by the check of the file
    if sealed is None or sealed in vault.key_ids:
        return []
    what = f"{found.keys.source} is not the key that this database's messages are sealed under"
    return [_fault("keys.file", what, "put the right key file back")]


async def _documents(found: Settings) -> Sequence[Finding]:
    if found.documents is None:
        return []
    do = "look at the folder, or at the bucket, its endpoint and its keys; until then large documents are not taken in"

    async def look() -> Sequence[Finding]:
        try:
            await build_documents(found).documents.probe()
        except (DocumentsAwayError, ConfigError) as error:
            return [_fault("documents", str(error), do)]
        return [_well("documents")]

    return await _patiently("documents", look, do)


async def _broker(found: Settings) -> Sequence[Finding]:
    url = found.broker.url
    if url is None:
        return [_well("broker.url", "inside the process")]
    do = "look whether Redis runs and whether this machine may reach it; until then work goes on, slower"
    where = _place(url)

    async def look() -> Sequence[Finding]:
        maker: Any = redis.Redis  # its options have no types
        async with maker.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            await client.ping()
        return [_well("broker.url")]

    try:
        return await _patiently("broker.url", look, do)
    except redis.AuthenticationError:
        what = f"Redis at {where} refuses the user or the password"
        return [_fault("broker.url", what, "give Bode those that Redis knows: BODE__BROKER__URL in BODE_SECRETS")]
    except (redis.RedisError, OSError, ValueError) as error:
        return [_fault("broker.url", f"Redis at {where} cannot be reached ({type(error).__name__})", do)]


def _place(url: str) -> str:
    """Give the host and port, or the socket, of an address: never its user and password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


# ----------------------------------------------------------------------------------------------------------- adapters


async def _adapters(found: Settings) -> Sequence[Finding]:
    places: list[tuple[str, Any, Any]] = [(f"channels.{n}", item, Box) for n, item in found.channels.items()]
    services = (("notices", found.notices, Notifier), ("print", found.print, PrintService))
    places += [(name, service, kind) for name, service, kind in services]
    places += [("profile", found.profile, ProfileService)] if found.profile is not None else []
    each = await asyncio.gather(*(_adapter(found, *place) for place in places))
    return [finding for findings in each for finding in findings]


async def _adapter(found: Settings, part: str, service: Any, kind: Any) -> Sequence[Finding]:
    if service is None:
        return [_fault(part, "is not configured", f"add [{part}]: see config/examples")]
    clock = Clock(found.clock.factor, found.clock.origin)
    try:
        adapter = assembly.build_adapter(part, service.adapter, service.settings, kind, clock)
    except ConfigError as error:
        return [_fault(part, str(error).removeprefix("configuration: "), "mend the setting that is named")]
    if not isinstance(adapter, Probed):
        return [Finding(part, Verdict.NOT_ASKED, f"adapter {service.adapter!r} cannot be asked whether it is reached")]

    async def look() -> Sequence[Finding]:
        async with _opened(adapter):
            troubles = await adapter.probe()
        return [_of_trouble(part, trouble) for trouble in troubles] or [_well(part)]

    do = f"look at {part}.settings, and whether this machine may reach the other side"
    try:
        return await _patiently(part, look, do)
    except Exception as error:  # noqa: BLE001 - an adapter is other people's code, and the other parts are looked at too
        return [_fault(part, f"its adapter raised {type(error).__name__}", do)]


@asynccontextmanager
async def _opened(adapter: Any) -> AsyncGenerator[None]:
    await adapter.open()
    try:
        yield
    finally:
        await adapter.close()


def _of_trouble(part: str, trouble: Trouble) -> Finding:
    which = f"{trouble.where}: " if trouble.where else ""
    text = f": {trouble.text}" if trouble.text else ""
    do = f"mend {part}.settings (docs/adapters), or ask whose the other side is; until then what is to be sent waits"
    return _fault(part, f"{which}{trouble.code}{text}", do)
