"""What every route does with a mail: find whom it was sent to, make it a raw thing, store it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DataError, SQLAlchemyError

from bode.domain.bounces.delivery_status import addresses_in
from bode.domain.bounces.mime import split_headers, take_apart
from bode.engine.inbound import Raw

log = structlog.get_logger()

APART = Counter("bode_inbound_apart_total", "Mails set apart by a route, for a person to look at.", ["route"])
TROUBLE = Counter("bode_inbound_trouble_total", "Times a route could not be reached, or could not store.", ["route"])

IsOurs = Callable[[str], bool]
"""Tells whether an address has the shape of a return path of ours: `ReturnPath.is_ours`. What it is worth is decided
later, so that a forged or an expired one is recorded as what it is."""

_ADDRESSED: Final = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to")
_RETURNED: Final = {
    "message/rfc822",
    "message/global",
    "message/global-headers",
    "message/rfc822-headers",
    "text/rfc822-headers",
    "text/rfc822-header",
}


class Store(Protocol):
    """Where raw things are kept: `Inbound`."""

    async def store(self, raw: Raw) -> bool:
        """Store a raw thing; false when it was there already, which is a success too."""
        ...


class Kept(StrEnum):
    """What became of storing."""

    STORED = "stored"
    """It is in the database, now or since an earlier time."""
    LATER = "later"
    """The database is away. The route keeps the mail and comes again."""
    NEVER = "never"
    """This mail cannot be stored, whenever it is tried. It is set apart, so that it does not hold up the others."""


async def keep(store: Store, raw: Raw) -> Kept:
    """Store a raw thing, and tell what became of it. Never raises for a mail or a database."""
    try:
        await store.store(raw)
    except DataError as error:
        log.error("inbound.never_stored", route=raw.route, error=type(error).__name__)
        return Kept.NEVER
    except (SQLAlchemyError, OSError) as error:
        TROUBLE.labels(raw.route).inc()
        log.error("inbound.not_stored", route=raw.route, error=type(error).__name__)
        return Kept.LATER
    except Exception as error:  # noqa: BLE001 - a mail on which something breaks must not hold up those behind it
        log.error("inbound.never_stored", route=raw.route, error=type(error).__name__)
        return Kept.NEVER
    return Kept.STORED


def raw_mail(route: str, recipient: str, mail: bytes, received_at: datetime) -> Raw:
    """Give a mail as it is stored: the recipient on a line, then the mail; the key is the hash of both."""
    content = recipient.encode("ascii", "replace") + b"\n" + mail
    return Raw(sha256(content).hexdigest(), route, received_at, content)


def recipient_of(mail: bytes, is_ours: IsOurs) -> str:
    """Give the return path a mail from a mailbox was sent to; nothing when no address in it is one of ours.

    A mailbox keeps no envelope: what the server wrote on top of the mail is asked first, then To, then the Return-Path
    of the mail that came back. Takes bounded time, whatever the mail (see `bode.domain.bounces.mime`).
    """
    apart = take_apart(mail)
    values = [value for name in _ADDRESSED for value in apart.headers.all(name)]
    for part in apart.parts:
        if part.kind in _RETURNED:
            returned, _ = split_headers(part.text().lstrip("\n").encode())
            values += returned.all("return-path")
    candidates = (address for value in values for address in addresses_in(value))
    return next((address for address in candidates if is_ours(address)), "")
