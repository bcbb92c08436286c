"""Messages and their content: stored once, encrypted, never changed (law L9)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.message import Message
from bode.store import bulk, tables
from bode.store.documents import Documents, DocumentsAwayError, Elsewhere, new_name
from bode.store.vault import MessageKey, OtherKeyError, Vault, VaultError

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be stored."""

    message: Message
    body_hash: bytes
    key: MessageKey
    concerns: UUID | None
    accepted_at: datetime
    application: str | None = None
    """Which handed it in."""
    objects: Mapping[int, str] = field(default_factory=dict[int, str])
    """What documents are called that stand in the store of documents already, by number."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a message without opening anything."""

    id: UUID
    organisation: str
    reference: str
    body_hash: bytes
    accepted_at: datetime
    nature: str
    case_reference: str | None
    concerns: UUID | None
    publish_at: datetime | None


async def insert(connection: AsyncConnection, new: Sequence[NewMessage], vault: Vault) -> None:
    """Store messages with their content sealed. Raises SQLAlchemy's `IntegrityError` for a reference in use."""
    await bulk.insert(
        connection,
        tables.message,
        [
            {
                "id": item.message.id,
                "organisation": item.message.sender,
                "reference": item.message.reference,
                "body_hash": item.body_hash,
                "nature": str(item.message.nature),
                "case_reference": item.message.case,
                "concerns": item.concerns,
                "addressee_hash": vault.lookup_hash(item.message.addressee.kind, item.message.addressee.number),
                "lookup_generation": vault.lookup_generation,
                "email_hash": vault.email_hash(item.message.notice.email) if item.message.notice.email else None,
                "application": item.application[:64] if item.application is not None else None,
                "accepted_at": item.accepted_at,
                "publish_at": item.message.publish_at,
            }
            for item in new
        ],
    )
    await bulk.insert(
        connection,
        tables.content,
        [
            {
                "message_id": item.message.id,
                "key_id": vault.key_id,
                "wrapped_key": item.key.wrapped,
                "sealed": vault.seal(item.key, item.message.id, "content", _encode(_without_bytes(item.message))),
            }
            for item in new
        ],
    )
    documents = [
        {
            "message_id": item.message.id,
            "number": number,
            "sealed": b""
            if number in item.objects
            else vault.seal(item.key, item.message.id, f"document {number}", document.content),
            "object": item.objects.get(number),
        }
        for item in new
        for number, document in enumerate(item.message.documents)
    ]
    if documents:
        # Row by row: together they can be larger than anything should hold at once.
        await connection.execute(sa.insert(tables.document), documents)


def _without_bytes(message: Message) -> Message:
    """Leave the documents' bytes out: they have rows of their own, read only where they are needed."""
    return replace(message, documents=tuple(replace(document, content=b"") for document in message.documents))


async def put_large(message: Message, key: MessageKey, vault: Vault, elsewhere: Elsewhere) -> dict[int, str]:
    """Seal large documents and put them in their store, before anything names them; gives their names by number."""
    objects: dict[int, str] = {}
    for number, document in enumerate(message.documents):
        if len(document.content) > elsewhere.above_bytes:
            sealed = await asyncio.to_thread(vault.seal, key, message.id, f"document {number}", document.content)
            objects[number] = new_name()
            await elsewhere.documents.put(objects[number], sealed)
    return objects


@dataclass(frozen=True, slots=True)
class ToFetch:
    """A document of an opened message that stands in the store of documents."""

    message_id: UUID
    number: int
    name: str
    key: MessageKey = field(repr=False)


async def fetch(
    messages: dict[UUID, Message], to_fetch: Sequence[ToFetch], documents: Documents, vault: Vault
) -> set[UUID]:
    """Put documents in their messages, with no transaction open. Gives the messages whose documents are away for now.

    A message of which one is gone, or was changed, is taken out: without it, it is another message.
    """
    away: set[UUID] = set()
    for item in to_fetch:
        if item.message_id in away or item.message_id not in messages:
            continue
        try:
            clear = await _fetched(item, documents, vault)
        except DocumentsAwayError as error:
            away.add(item.message_id)
            log.error("document.away", message=str(item.message_id), number=item.number, error=str(error))
        except VaultError:
            log.error("content.cannot_be_opened", message=str(item.message_id), purpose=f"document {item.number}")
            del messages[item.message_id]
        else:
            message = messages[item.message_id]
            whole = [
                replace(document, content=clear) if number == item.number else document
                for number, document in enumerate(message.documents)
            ]
            messages[item.message_id] = replace(message, documents=tuple(whole))
    return away


async def _fetched(item: ToFetch, documents: Documents, vault: Vault) -> bytes:
    """Fetch and open one. Raises `VaultError` where it is gone, or was changed."""
    purpose = f"document {item.number}"
    sealed = await documents.get(item.name)
    if sealed is None:
        raise VaultError(item.message_id, purpose)
    return await asyncio.to_thread(vault.open, item.key, item.message_id, purpose, sealed)


async def load(
    connection: AsyncConnection,
    message_ids: Sequence[UUID],
    vault: Vault,
    *,
    with_documents: bool,
    to_fetch: list[ToFetch] | None = None,
) -> dict[UUID, Message]:
    """Open messages; ones whose content was purged, or whose stored bytes were changed, are left out.

    `to_fetch` is told of documents that stand elsewhere, for `fetch`; without it their messages are left out.

    Raises `OtherKeyError` where one was sealed under a key that this vault does not have: nothing is wrong with it.
    """
    content, found_address = tables.content.c, tables.found_address.c
    rows = await connection.execute(
        sa.select(
            content.message_id,
            content.key_id,
            content.wrapped_key,
            content.sealed,
            found_address.sealed.label("address"),
        )
        .join_from(tables.content, tables.found_address, content.message_id == found_address.message_id, isouter=True)
        .where(
            bulk.among(connection, content.message_id, set(message_ids)),
            content.sealed.is_not(None),
            content.purged_at.is_(None),
        )
    )
    keys: dict[UUID, MessageKey] = {}
    messages: dict[UUID, Message] = {}
    opened = rows.all()
    for row in opened:
        try:
            key = vault.unwrap(row.message_id, row.wrapped_key)
            messages[row.message_id] = _decode(vault.open(key, row.message_id, "content", row.sealed))
        except VaultError as error:
            if row.key_id not in vault.key_ids:
                raise OtherKeyError(row.message_id, "content") from error
            log.error("content.cannot_be_opened", message=str(row.message_id), purpose=error.purpose)
        else:
            keys[row.message_id] = key
    if found_addresses := [row for row in opened if row.address is not None and row.message_id in messages]:
        for message_id, email in _found_addresses(found_addresses, keys, vault).items():
            message = messages[message_id]
            messages[message_id] = replace(message, notice=replace(message.notice, email=email))
    having: list[UUID] = [item.id for item in messages.values() if with_documents and item.documents]
    if having:
        found = await _open_documents(connection, having, keys, vault, to_fetch)
        for message_id in having:
            message, contents = messages[message_id], found.get(message_id, {})
            if contents.keys() != set(range(len(message.documents))):
                # A message without one of its documents is another message: it is not sent at all.
                del messages[message_id]
                continue
            whole = [replace(document, content=contents[n]) for n, document in enumerate(message.documents)]
            messages[message_id] = replace(message, documents=tuple(whole))
    return messages


async def store_address(
    connection: AsyncConnection, message_id: UUID, email: str, *, key: MessageKey, vault: Vault, now: datetime
) -> None:
    """Keep an address that was found for the notice, beside the message, which never changes (law L9).

    The profile service gave it, or a person was told it; the latest one counts.
    """
    table = tables.found_address
    await connection.execute(sa.delete(table).where(table.c.message_id == message_id))
    sealed = vault.seal(key, message_id, "address", email.encode())
    row = {"message_id": message_id, "sealed": sealed, "email_hash": vault.email_hash(email), "found_at": now}
    await connection.execute(sa.insert(table), [row])


def _found_addresses(
    rows: Sequence[sa.Row[*tuple[Any, ...]]], keys: dict[UUID, MessageKey], vault: Vault
) -> dict[UUID, str]:
    """Open the addresses that were found; one whose stored bytes were changed is left out."""
    found: dict[UUID, str] = {}
    for row in rows:
        try:
            found[row.message_id] = vault.open(keys[row.message_id], row.message_id, "address", row.address).decode()
        except VaultError as error:
            log.error("content.cannot_be_opened", message=str(row.message_id), purpose=error.purpose)
    return found


async def _open_documents(
    connection: AsyncConnection,
    message_ids: Sequence[UUID],
    keys: dict[UUID, MessageKey],
    vault: Vault,
    to_fetch: list[ToFetch] | None,
) -> dict[UUID, dict[int, bytes]]:
    """Open the documents of messages, by number; ones whose stored bytes were changed are left out."""
    table = tables.document.c
    rows = await connection.execute(
        sa.select(table.message_id, table.number, table.sealed, table.object).where(
            bulk.among(connection, table.message_id, message_ids)
        )
    )
    opened: dict[UUID, dict[int, bytes]] = {}
    for message_id, number, sealed, name in rows:
        if name is not None:
            if to_fetch is not None:
                to_fetch.append(ToFetch(message_id, number, name, keys[message_id]))
                opened.setdefault(message_id, {})[number] = b""
            continue
        try:
            clear = vault.open(keys[message_id], message_id, f"document {number}", sealed)
        except VaultError as error:
            log.error("content.cannot_be_opened", message=str(message_id), purpose=error.purpose)
            continue
        opened.setdefault(message_id, {})[number] = clear
    return opened


async def find(connection: AsyncConnection, *, reference: str, organisation: str | None = None) -> list[Known]:
    """Find messages by reference, of one organisation or of all."""
    table = tables.message.c
    query = _known().where(table.reference == reference)
    if organisation is not None:
        query = query.where(table.organisation == organisation)
    return [_to_known(row) for row in await connection.execute(query.order_by(table.accepted_at))]


async def get(connection: AsyncConnection, message_id: UUID) -> Known | None:
    """Give what is known of one message."""
    row = (await connection.execute(_known().where(tables.message.c.id == message_id))).one_or_none()
    return _to_known(row) if row is not None else None


async def concerning(connection: AsyncConnection, message_id: UUID) -> list[Known]:
    """Give the later messages that change or withdraw this one (law L9)."""
    query = _known().where(tables.message.c.concerns == message_id).order_by(tables.message.c.accepted_at)
    return [_to_known(row) for row in await connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Found:
    """A message in a list, with how it stands."""

    known: Known
    state: str
    outcome: str


async def search(
    connection: AsyncConnection,
    *,
    organisations: Collection[str] | None,
    reference: str | None = None,
    case: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int,
) -> list[Found]:
    """Give messages of these organisations (None: of all), the latest first.

    `after` is the time of acceptance and the id of the last one already seen.
    """
    table, delivery = tables.message.c, tables.delivery.c
    query = (
        _known()
        .add_columns(delivery.state, delivery.outcome)
        .join_from(tables.message, tables.delivery, table.id == delivery.message_id)
        .order_by(table.accepted_at.desc(), table.id.desc())
        .limit(limit)
    )
    if organisations is not None:
        query = query.where(table.organisation.in_(set(organisations)))
    if reference is not None:
        query = query.where(table.reference == reference)
    if case is not None:
        query = query.where(table.case_reference == case)
    if after is not None:
        at, last = after
        query = query.where((table.accepted_at < at) | ((table.accepted_at == at) & (table.id < last)))
    return [Found(_to_known(row), row.state, row.outcome) for row in await connection.execute(query)]


async def existing(connection: AsyncConnection, organisation: str, references: Sequence[str]) -> dict[str, Known]:
    """Give the messages of an organisation that have these references."""
    table = tables.message.c
    rows = await connection.execute(
        _known().where(table.organisation == organisation, bulk.among(connection, table.reference, set(references)))
    )
    return {known.reference: known for known in map(_to_known, rows)}


def _known() -> sa.Select[*tuple[Any, ...]]:
    table = tables.message.c
    return sa.select(
        table.id,
        table.organisation,
        table.reference,
        table.body_hash,
        table.accepted_at,
        table.nature,
        table.case_reference,
        table.concerns,
        table.publish_at,
    )


def _to_known(row: sa.Row[*tuple[Any, ...]]) -> Known:
    return Known(
        row.id,
        row.organisation,
        row.reference,
        bytes(row.body_hash),
        row.accepted_at,
        row.nature,
        row.case_reference,
        row.concerns,
        row.publish_at,
    )


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A letter as it was set, for its row."""

    message_id: UUID
    number: int
    pdf: bytes
    pages: int
    template: str


async def store_letters(
    connection: AsyncConnection,
    letters: Sequence[StoredLetter],
    keys: dict[UUID, MessageKey],
    vault: Vault,
    now: datetime,
) -> None:
    """Keep letters as they were handed to the print service; a letter set again takes the place of its earlier one."""
    rows = [
        {
            "message_id": item.message_id,
            "number": item.number,
            "sealed": vault.seal(keys[item.message_id], item.message_id, f"letter {item.number}", item.pdf),
            "sha256": sha256(item.pdf).digest(),
            "pages": item.pages,
            "template": item.template,
            "created_at": now,
        }
        for item in letters
        if item.message_id in keys
    ]
    table = tables.letter
    for row in rows:
        await connection.execute(
            sa.delete(table).where(table.c.message_id == row["message_id"], table.c.number == row["number"])
        )
    if rows:
        await connection.execute(sa.insert(table), rows)


async def load_letter(connection: AsyncConnection, message_id: UUID, number: int, vault: Vault) -> bytes | None:
    """Open a letter's PDF; nothing when there is none or it was erased."""
    table = tables.letter.c
    row = (
        await connection.execute(
            sa.select(table.sealed, tables.content.c.wrapped_key)
            .join_from(tables.letter, tables.content, table.message_id == tables.content.c.message_id)
            .where(table.message_id == message_id, table.number == number)
        )
    ).one_or_none()
    if row is None or row.wrapped_key is None:
        return None
    return vault.open(vault.unwrap(message_id, row.wrapped_key), message_id, f"letter {number}", row.sealed)


async def by_letter(connection: AsyncConnection, letter: UUID) -> tuple[UUID, int] | None:
    """Give the message and number of a letter by the id it has at the print service."""
    table = tables.letter_name.c
    found = await connection.execute(sa.select(table.message_id, table.number).where(table.letter_id == letter))
    row = found.one_or_none()
    return (row.message_id, row.number) if row is not None else None


async def in_hand(connection: AsyncConnection, message_id: UUID, *, part: str | None = None) -> bool:
    """Lock the steps of a message, or of a part, so that no worker can take one; tells whether one has already."""
    step = tables.step.c
    query = sa.select(step.state).where(step.message_id == message_id).order_by(step.id).with_for_update()
    if part is not None:
        query = query.where(step.part == part)
    return any(row.state == "leased" for row in await connection.execute(query))
