"""Sessions of the console: who is logged in, and what that person has opened. A session is found by a hash alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import tables

_session, _login = tables.console_session.c, tables.console_login.c
_MOST_OPENED = 20
LOGIN_WITHIN = timedelta(minutes=10)
"""How long somebody may take at the identity provider."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as stored. Times are on the wall, not on a demonstration's clock."""

    hash: bytes
    who: str
    name: str
    role: str
    organisations: frozenset[str]
    made_at: datetime
    seen_at: datetime
    opened: Mapping[UUID, datetime]
    """The messages whose personal data were asked for, each with the end of that."""
    sought: bytes | None
    """The keyed hash of the person or address that was searched for last."""


async def start(connection: AsyncConnection, session: Session) -> None:
    """Keep a new session."""
    await connection.execute(
        sa.insert(tables.console_session),
        [
            {
                "hash": session.hash,
                "who": session.who,
                "name": session.name,
                "role": session.role,
                "organisations": " ".join(sorted(session.organisations)),
                "made_at": session.made_at,
                "seen_at": session.seen_at,
                "opened": _written(session.opened),
                "sought": session.sought,
            }
        ],
    )


async def find(connection: AsyncConnection, hashed: bytes) -> Session | None:
    """Give a session by the hash of its secret; nothing for one that is unknown or ended."""
    row = (await connection.execute(sa.select(tables.console_session).where(_session.hash == hashed))).one_or_none()
    if row is None:
        return None
    return Session(
        bytes(row.hash),
        row.who,
        row.name,
        row.role,
        frozenset(row.organisations.split()),
        row.made_at,
        row.seen_at,
        {UUID(key): datetime.fromisoformat(until) for key, until in json.loads(row.opened).items()},
        bytes(row.sought) if row.sought is not None else None,
    )


async def seen(connection: AsyncConnection, hashed: bytes, now: datetime) -> None:
    """Say that somebody is still at work."""
    await connection.execute(sa.update(tables.console_session).where(_session.hash == hashed).values(seen_at=now))


async def end(connection: AsyncConnection, hashed: bytes) -> None:
    """End a session."""
    await connection.execute(sa.delete(tables.console_session).where(_session.hash == hashed))


async def forget(connection: AsyncConnection, *, seen_before: datetime, now: datetime) -> None:
    """Delete the sessions nobody used since then, and log-ins that were never finished."""
    await connection.execute(sa.delete(tables.console_session).where(_session.seen_at < seen_before))
    await connection.execute(sa.delete(tables.console_login).where(_login.made_at < now - LOGIN_WITHIN))


async def open_for(
    connection: AsyncConnection, session: Session, message_id: UUID, *, until: datetime, now: datetime
) -> None:
    """Open personal data of a message to a session, until then; only the latest few stay open."""
    kept = {key: end for key, end in session.opened.items() if end > now and key != message_id}
    latest = dict(sorted(kept.items(), key=lambda item: item[1])[-(_MOST_OPENED - 1) :])
    await connection.execute(
        sa.update(tables.console_session)
        .where(_session.hash == session.hash)
        .values(opened=_written({**latest, message_id: until}))
    )


async def seek(connection: AsyncConnection, hashed: bytes, sought: bytes | None) -> None:
    """Keep what a session searches for, as its keyed hash."""
    await connection.execute(sa.update(tables.console_session).where(_session.hash == hashed).values(sought=sought))


def _written(opened: Mapping[UUID, datetime]) -> str:
    return json.dumps({str(key): until.isoformat() for key, until in opened.items()})


@dataclass(frozen=True, slots=True)
class Login:
    """A log-in that is under way at the identity provider, bound to one browser by the hash of its cookie."""

    hash: bytes
    state: str
    nonce: str
    verifier: str
    back_to: str
    made_at: datetime


async def keep_login(connection: AsyncConnection, login: Login) -> None:
    """Keep a log-in that began."""
    values = {name: getattr(login, name) for name in Login.__dataclass_fields__}
    await connection.execute(sa.insert(tables.console_login), [values])


async def take_login(connection: AsyncConnection, hashed: bytes, now: datetime) -> Login | None:
    """Give a log-in that began, once; nothing for one that is unknown, used or too old."""
    row = (await connection.execute(sa.select(tables.console_login).where(_login.hash == hashed))).one_or_none()
    await connection.execute(sa.delete(tables.console_login).where(_login.hash == hashed))
    if row is None or row.made_at < now - LOGIN_WITHIN:
        return None
    return Login(bytes(row.hash), row.state, row.nonce, row.verifier, row.back_to, row.made_at)
