"""After a restore: what was done since the backup is not known here, and must be found out before it is done again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from bode.store import evidence_log, steps, tables
from bode.store.evidence_keys import read_keyring
from bode.store.log_folder import LogFolder
from bode.store.staff import StaffAct, record_act
from bode_ops.assembly import Application


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restored database is."""

    since: datetime | None
    """When its last event was recorded: what came after is not known here."""
    steps: int
    """How many steps may have been done since."""
    lost: int | None
    """How many events more the published log states; `None` where none is published on this machine."""


async def restored(application: Application, *, by: str, reason: str) -> Restored:
    """Treat what was due as begun, so that the sweeper has it found out, and write down that this was done.

    A box that can be asked is asked; one that knows a repeat, and the print service, get it again under the same ids;
    a notice goes out again; an e-mail that carries the message itself waits for a person.
    """
    clock = application.clock
    async with application.database.write() as connection:
        event = tables.event.c
        newest = await connection.execute(sa.select(event.recorded_at).order_by(event.id.desc()).limit(1))
        since = newest.scalar_one_or_none()
        doubted = await steps.doubt(connection, since=since or clock.now(), now=clock.now(), real_now=clock.real())
        act = StaffAct(clock.now(), by, "database_restored", "database", reason)
        await record_act(connection, application.parts.vault, act)
        here = await evidence_log.length(connection)
    published = await asyncio.to_thread(_published, application)
    return Restored(since, doubted, published - here if published is not None else None)


def _published(application: Application) -> int | None:
    """Give how many events the published log states."""
    kept = application.settings.evidence
    if kept is None or not kept.key_file.exists():
        return None
    folder = LogFolder(kept.folder, kept.origin, read_keyring(kept.key_file, kept.origin).verifiers)
    newest = folder.newest()
    return newest.checkpoint.size if newest is not None else None
