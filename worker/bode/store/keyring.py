"""The keys of an installation: what is sealed under which, and how one takes another's place in the middle of traffic.

Key-encryption keys come from the configuration: the first seals, the others open. The secrets that must outlive them
stand here, wrapped: at first those derived from the key that the installation began with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.message import Message
from bode.store import bulk, messages, retention, tables
from bode.store.database import Database
from bode.store.vault import KeyFileError, Purpose, Vault

BATCH = 500
REFRESH_SECONDS = 10.0
"""How often a process reads the secrets again."""
_content, _inbound, _secret = tables.content.c, tables.inbound.c, tables.vault_secret.c
Progress = Callable[[int], None]
"""Told how many were done, after each batch."""


async def open_vault(database: Database, vault: Vault, now: datetime) -> None:
    """Give a vault the installation's secrets; the first time, put them down.

    Raises `KeyFileError` where something stands under a key that the vault does not have. Nothing is written then.
    """
    async with database.read() as connection:
        used = await _used(connection)
        if unknown := used - vault.key_ids:
            raise KeyFileError(
                f"the key {vault.key_id} is not the one that this database's messages are sealed under: that is "
                f"{', '.join(sorted(unknown))}. Name it in [keys], or among keys.others while it is replaced"
            )
        if await _adopt(connection, vault):
            return
    first = min(used, default=vault.key_id)
    rows = [
        {
            "purpose": str(purpose),
            "generation": 1,
            "key_id": vault.key_id,
            "wrapped": vault.wrap_secret(purpose, 1, secret),
            "made_at": now,
        }
        for purpose, secret in vault.first_secrets(first).items()
    ]
    try:
        async with database.write() as connection:
            await connection.execute(sa.insert(tables.vault_secret), rows)
    except IntegrityError:
        pass  # Another process put down the same ones.
    await refresh(database, vault)


async def refresh(database: Database, vault: Vault) -> None:
    """Read the secrets again: another process may have changed one."""
    async with database.read() as connection:
        await _adopt(connection, vault)


async def _adopt(connection: AsyncConnection, vault: Vault) -> bool:
    secrets: dict[tuple[Purpose, int], bytes] = {}
    for row in await connection.execute(sa.select(tables.vault_secret)):
        purpose = Purpose(row.purpose)
        secrets[purpose, row.generation] = vault.unwrap_secret(purpose, row.generation, row.wrapped)
    if secrets:
        vault.adopt(secrets)
    return bool(secrets)


async def _used(connection: AsyncConnection) -> set[str]:
    """Give the ids of the keys that something is sealed under. Steps from id to id in an index."""
    used: set[str] = set()
    for column, where in (
        (_content.key_id, _content.wrapped_key.is_not(None)),
        (_inbound.key_id, sa.true()),
        (_secret.key_id, sa.true()),
    ):
        last = ""
        while last is not None:
            found = await connection.execute(sa.select(sa.func.min(column)).where(column > last, where))
            last = found.scalar_one()
            used |= {last} if last is not None else set()
    return used


@dataclass(frozen=True, slots=True)
class Use:
    """How much is sealed under one key."""

    messages: int
    received: int
    secrets: int


async def uses(connection: AsyncConnection) -> dict[str, Use]:
    """Count what is sealed under each key; reads whole indexes."""
    counts: dict[str, list[int]] = {}
    for place, (column, where) in enumerate(
        (
            (_content.key_id, _content.wrapped_key.is_not(None)),
            (_inbound.key_id, sa.true()),
            (_secret.key_id, sa.true()),
        )
    ):
        rows = await connection.execute(sa.select(column, sa.func.count()).where(where).group_by(column))
        for key_id, count in rows:
            counts.setdefault(key_id or "", [0, 0, 0])[place] += count
    return {key_id: Use(*found) for key_id, found in counts.items()}


# ---- key-encryption keys ---------------------------------------------------------------------------------------------


async def rotate(database: Database, vault: Vault, progress: Progress = lambda _: None, *, batch: int = BATCH) -> int:
    """Seal everything that stands under an older key under the one that seals now; gives how much that was.

    In small transactions, each of which can be the last: what was done stays done, and running it again goes on. Each
    row is replaced only as it was read, so that one erased or replaced meanwhile is left as it is. Raises `VaultError`
    for a row that cannot be opened.
    """
    total = 0
    for work in (_rewrap_messages, _reseal_inbound, _rewrap_secrets):
        while done := await work(database, vault, batch):
            total += done
            progress(done)
    return total


async def _rewrap_messages(database: Database, vault: Vault, batch: int) -> int:
    older = _older(_content.key_id, vault) & _content.wrapped_key.is_not(None)
    async with database.read() as connection:
        rows = list(
            await connection.execute(sa.select(_content.message_id, _content.wrapped_key).where(older).limit(batch))
        )
    changes = [
        {
            "of": row.message_id,
            "was": row.wrapped_key,
            "wrapped_key": vault.rewrap(row.message_id, row.wrapped_key).wrapped,
            "key_id": vault.key_id,
        }
        for row in sorted(rows, key=lambda row: row.message_id)
    ]
    return await _replace(database, _content.message_id, _content.wrapped_key, changes)


async def _reseal_inbound(database: Database, vault: Vault, batch: int) -> int:
    older = _older(_inbound.key_id, vault)
    async with database.read() as connection:
        rows = list(
            await connection.execute(sa.select(_inbound.key, _inbound.sealed).where(older).limit(batch // 10 or 1))
        )
    changes = [
        {
            "of": row.key,
            "was": row.sealed,
            # Of one that was erased nothing is left to seal.
            "sealed": vault.seal_inbound(row.key, vault.open_inbound(row.key, row.sealed)) if row.sealed else b"",
            "key_id": vault.key_id,
        }
        for row in sorted(rows, key=lambda row: row.key)
    ]
    return await _replace(database, _inbound.key, _inbound.sealed, changes)


async def _rewrap_secrets(database: Database, vault: Vault, batch: int) -> int:
    del batch  # There are a handful.
    done = 0
    async with database.write() as connection:
        for row in list(await connection.execute(sa.select(tables.vault_secret).where(_secret.key_id != vault.key_id))):
            purpose = Purpose(row.purpose)
            secret = vault.unwrap_secret(purpose, row.generation, row.wrapped)
            await connection.execute(
                sa.update(tables.vault_secret)
                .where(_secret.purpose == row.purpose, _secret.generation == row.generation)
                .values(wrapped=vault.wrap_secret(purpose, row.generation, secret), key_id=vault.key_id)
            )
            done += 1
    return done


def _older(column: sa.Column[Any], vault: Vault) -> sa.ColumnElement[bool]:
    # Written as two ranges, which an index has; none: from before rows named their key.
    return sa.or_(column < vault.key_id, column > vault.key_id, column.is_(None))


async def _replace(
    database: Database, identity: sa.Column[Any], sealed: sa.Column[Any], changes: list[dict[str, Any]]
) -> int:
    """Write what is sealed anew, where it is still as it was read."""
    if changes:
        statement = (
            sa.update(identity.table)
            .where(identity == sa.bindparam("of"), sealed == sa.bindparam("was"))
            .values({column: sa.bindparam(column) for column in (sealed.name, "key_id")})
        )
        async with database.write() as connection:
            await connection.execute(statement, changes)
    return len(changes)


# ---- the secret of keyed hashes --------------------------------------------------------------------------------------


async def new_lookup_secret(database: Database, vault: Vault, now: datetime) -> int:
    """Make a new secret for keyed hashes, or go on with one whose change did not end; gives its generation.

    Other processes make hashes with it as soon as they read it (`refresh`); both are looked for meanwhile.
    """
    async with database.write() as connection:
        found = await connection.execute(
            sa.select(_secret.generation).where(_secret.purpose == str(Purpose.LOOKUP)).order_by(_secret.generation)
        )
        known = list(found.scalars())
        if len(known) == 1:
            generation = known[0] + 1
            wrapped = vault.wrap_secret(Purpose.LOOKUP, generation, os.urandom(32))
            row = {"purpose": str(Purpose.LOOKUP), "generation": generation, "wrapped": wrapped}
            await connection.execute(sa.insert(tables.vault_secret), [row | {"key_id": vault.key_id, "made_at": now}])
    await refresh(database, vault)
    return vault.lookup_generation


async def rehash(database: Database, vault: Vault, progress: Progress = lambda _: None, *, batch: int = BATCH) -> int:
    """Make every keyed hash of an older secret anew; gives how many. Running it again goes on where it ended.

    A failing address whose mail cannot be opened any more is forgotten: it is tried again.
    """
    return await _rehash_messages(database, vault, progress, batch) + await _rehash_addresses(database, vault)


async def drop_older_lookup_secrets(database: Database, vault: Vault) -> None:
    """Remove the secrets of keyed hashes but the newest: what they made can be found no more."""
    async with database.write() as connection:
        await connection.execute(
            sa.delete(tables.vault_secret).where(
                _secret.purpose == str(Purpose.LOOKUP), _secret.generation < vault.lookup_generation
            )
        )
    await refresh(database, vault)


async def _rehash_messages(database: Database, vault: Vault, progress: Progress, batch: int) -> int:
    message, total, last = tables.message.c, 0, UUID(int=0)
    while True:
        async with database.read() as connection:
            older = (message.id > last) & (message.lookup_generation < vault.lookup_generation)
            found = await connection.execute(sa.select(message.id).where(older).order_by(message.id).limit(batch))
            ids = list(found.scalars())
            opened = await _addressees(connection, ids, vault)
        if not ids:
            return total
        changes = [
            {
                "of": one,
                # Of what was erased nothing is to be found: its hash is none, and stays so.
                "addressee_hash": vault.lookup_hash(opened[one].addressee.kind, opened[one].addressee.number)
                if one in opened
                else bytes(32),
                "email_hash": _hash_of_email(opened.get(one), vault),
                "lookup_generation": vault.lookup_generation,
            }
            for one in ids
        ]
        found_hashes = [
            {"message_id": one, "email_hash": _hash_of_email(opened[one], vault)} for one in ids if one in opened
        ]
        statement = (
            sa.update(tables.message)
            .where(message.id == sa.bindparam("of"))
            .values({name: sa.bindparam(name) for name in ("addressee_hash", "email_hash", "lookup_generation")})
        )
        async with database.write() as connection:
            await connection.execute(statement, changes)
            # One that was erased between reading and writing: what was read of it goes, too.
            gone = sa.select(_content.message_id).where(_content.message_id.in_(ids), _content.wrapped_key.is_(None))
            await connection.execute(
                sa.update(tables.message).where(message.id.in_(gone)).values(addressee_hash=bytes(32), email_hash=None)
            )
            # The address that was found beside a message is the one that it is opened with.
            await bulk.update(connection, tables.found_address, "message_id", found_hashes)
        total, last = total + len(ids), ids[-1]
        progress(len(ids))


def _hash_of_email(message: Message | None, vault: Vault) -> bytes | None:
    return vault.email_hash(message.notice.email) if message is not None and message.notice.email else None


async def _addressees(connection: AsyncConnection, ids: Sequence[UUID], vault: Vault) -> dict[UUID, Message]:
    """Open messages, or what is left of them, for whom they are to."""
    if not ids:
        return {}
    whole = await messages.load(connection, ids, vault, with_documents=False)
    return whole | await retention.load_persons(connection, ids, vault)


async def _rehash_addresses(database: Database, vault: Vault) -> int:
    failing, done = tables.failing_address.c, 0
    async with database.read() as connection:
        rows = list(await connection.execute(sa.select(tables.failing_address)))
    for row in rows:
        async with database.write() as connection:
            opened = await _addressees(connection, [row.message_id], vault)
            email = opened[row.message_id].notice.email if row.message_id in opened else None
            hashes = vault.email_hashes(email) if email is not None else (b"",)
            if bytes(row.address_hash) == hashes[0]:
                continue
            mine = (failing.organisation == row.organisation) & (failing.address_hash == row.address_hash)
            known = (failing.organisation == row.organisation) & (failing.address_hash == hashes[0])
            there = (await connection.execute(sa.select(sa.exists().where(known)))).scalar_one()
            if bytes(row.address_hash) in hashes and not there:
                await connection.execute(sa.update(tables.failing_address).where(mine).values(address_hash=hashes[0]))
            else:
                await connection.execute(sa.delete(tables.failing_address).where(mine))
            done += 1
    return done
