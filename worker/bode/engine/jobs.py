"""Acts on many messages: counted first, confirmed by a person, then done some at a time, each once.

Everything about a job is a row: who stops half-way is followed by whoever works next. A row is done in the transaction
that records its act, so that it is never done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.acts import Act, Choice, effect, possible
from bode.domain.parts import Delivery
from bode.engine.acts import Acts, By, CannotActError
from bode.engine.parts import Parts
from bode.store import tables
from bode.store.database import DATABASE_AWAY
from bode.store.record import lock, read_deliveries, write
from bode.store.staff import StaffAct, record_act

log = structlog.get_logger()

ON_MANY = (Act.NOTICE_AGAIN, Act.LETTER, Act.STOP_LETTER, Act.RETRY, Act.HANDLED)
"""Acts that make sense on many at once: nothing is asked about each."""
MOST = 50_000
"""The most messages of one job."""
_AT_ONCE = 100
_INSERTED_AT_ONCE = 1000
_IDLE_SECONDS = 1.0

_job, _row = tables.staff_job.c, tables.staff_job_row.c


class CannotConfirmError(Exception):
    """A job that this person cannot confirm now; `code`: `not_waiting`, `same_person`."""

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(f"the job cannot be confirmed: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands."""

    id: UUID
    act: Act
    who: str
    organisations: frozenset[str]
    state: str
    """`counting`: what it would do is looked at; `waiting`: for a person; `running`; `done`; `stopped`."""
    total: int
    fit: int
    """How many messages the act would do something to, as counted."""
    made_at: datetime
    confirmed_by: str | None
    ended_at: datetime | None
    counts: dict[tuple[str, str], int]
    """Rows by state and note."""

    def number(self, *states: str) -> int:
        """Give how many rows are in these states."""
        return sum(count for (state, _), count in self.counts.items() if state in states)

    def notes(self, state: str) -> dict[str, int]:
        """Give the rows of a state by their note."""
        return {note: count for (kind, note), count in sorted(self.counts.items()) if kind == state}


class Jobs:
    """Makes and works the jobs of one installation."""

    def __init__(self, parts: Parts, acts: Acts, announce: Any, *, confirm_above: int = 25) -> None:
        """Take the parts; a job on more than `confirm_above` messages is confirmed by a second person."""
        self._parts = parts
        self._acts = acts
        self._announce = announce
        self.confirm_above = confirm_above

    # ---- what people do -------------------------------------------------------------------------------------------

    async def make(
        self, act: Act, message_ids: Sequence[UUID], by: By, *, organisations: Collection[str], chosen: str
    ) -> UUID:
        """Make a job; nothing is done before it is confirmed. `chosen` says which messages were meant."""
        job_id, now = uuid4(), self._parts.clock.now()
        wanted = list(dict.fromkeys(message_ids))[:MOST]
        async with self._parts.database.write() as connection:
            row = {
                "id": job_id,
                "act": str(act),
                "who": by.who[:64],
                "organisations": " ".join(sorted(organisations)),
                "chosen": chosen,
                "sealed": self._parts.vault.seal_staff(_purpose(job_id), by.reason.encode()),
                "state": "counting",
                "total": len(wanted),
                "fit": 0,
                "made_at": now,
            }
            await connection.execute(sa.insert(tables.staff_job), [row])
            for start in range(0, len(wanted), _INSERTED_AT_ONCE):
                rows = [
                    {"job_id": job_id, "number": start + index, "message_id": message_id, "state": "new"}
                    for index, message_id in enumerate(wanted[start : start + _INSERTED_AT_ONCE])
                ]
                await connection.execute(sa.insert(tables.staff_job_row), rows)
            await record_act(connection, self._parts.vault, StaffAct(now, by.who, "job_made", str(job_id)))
        return job_id

    async def confirm(self, job_id: UUID, who: str) -> None:
        """Let a job be done. Raises `CannotConfirmError`; then nothing changed."""
        now = self._parts.clock.now()
        async with self._parts.database.write() as connection:
            row = (
                await connection.execute(
                    sa.select(_job.who, _job.state, _job.fit).where(_job.id == job_id).with_for_update()
                )
            ).one_or_none()
            if row is None or row.state != "waiting":
                raise CannotConfirmError("not_waiting")
            if row.fit > self.confirm_above and row.who == who:
                raise CannotConfirmError("same_person")
            await connection.execute(
                sa.update(tables.staff_job)
                .where(_job.id == job_id)
                .values(state="running", confirmed_by=who[:64], confirmed_at=now)
            )
            await record_act(connection, self._parts.vault, StaffAct(now, who, "job_confirmed", str(job_id)))

    async def stop(self, job_id: UUID, who: str) -> bool:
        """Stop a job; what it did stays done. False when it had ended."""
        now = self._parts.clock.now()
        async with self._parts.database.write() as connection:
            stopped = await connection.execute(
                sa.update(tables.staff_job)
                .where(_job.id == job_id, _job.state.in_(("counting", "waiting", "running")))
                .values(state="stopped", ended_at=now, sealed=None)
            )
            if stopped.rowcount:
                await record_act(connection, self._parts.vault, StaffAct(now, who, "job_stopped", str(job_id)))
        return stopped.rowcount > 0

    async def read(self, job_id: UUID) -> Job | None:
        """Give a job with its counts."""
        async with self._parts.database.read() as connection:
            row = (await connection.execute(sa.select(tables.staff_job).where(_job.id == job_id))).one_or_none()
            if row is None:
                return None
            counts = await connection.execute(
                sa.select(_row.state, _row.note, sa.func.count())
                .where(_row.job_id == job_id)
                .group_by(_row.state, _row.note)
            )
            return _read(row, {(state, note or ""): count for state, note, count in counts})

    async def latest(self, organisations: Collection[str], *, most: int) -> list[Job]:
        """Give the latest jobs on messages of these bodies alone, newest first; without counts."""
        async with self._parts.database.read() as connection:
            rows = await connection.execute(sa.select(tables.staff_job).order_by(_job.made_at.desc()).limit(most * 4))
            jobs = [_read(row, {}) for row in rows]
        return [job for job in jobs if job.organisations <= set(organisations)][:most]

    # ---- the work -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                done = await self.work()
            except DATABASE_AWAY as error:
                log.warning("job.waits", error=type(error).__name__)
                done = 0
            if not done:
                await asyncio.sleep(_IDLE_SECONDS)

    async def work(self, limit: int = _AT_ONCE) -> int:
        """Do some rows of the oldest job; gives how many."""
        async with self._parts.database.read() as connection:
            row = (
                await connection.execute(
                    sa.select(_job.id, _job.state)
                    .where(_job.state.in_(("counting", "running")))
                    .order_by(_job.made_at)
                    .limit(1)
                )
            ).one_or_none()
        if row is None:
            return 0
        if row.state == "counting":
            return await self._count(row.id)
        try:
            return await self._do(row.id, limit)
        except DATABASE_AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - one message that cannot be done must not hold up the others
            log.error("job.row_failed", job=str(row.id), error=type(error).__name__)
            return await self._do_alone(row.id)

    async def _count(self, job_id: UUID) -> int:
        """Look at what the act would do to some messages: the dry run."""
        policy, now = self._parts.policy, self._parts.clock.now()
        async with self._parts.database.write() as connection:
            job = await self._held(connection, job_id, "counting")
            if job is None:
                return 0
            rows = await self._take(connection, job_id, "new", _AT_ONCE)
            deliveries = await read_deliveries(connection, [row.message_id for row in rows])
            seen: dict[int, tuple[str, str]] = {}
            for row in rows:
                delivery = deliveries.get(row.message_id)
                choices = _fitting(delivery, Act(job.act), self._parts) if delivery is not None else []
                follows = [effect(delivery, choice, policy, now) for choice in choices] if delivery is not None else []
                moves = any(item.legal_moved or item.legal_rule_then is not None for item in follows)
                fits = "fit", "moves_legal_time" if moves else "same_legal_time"
                seen[row.number] = fits if choices else ("unfit", "not_possible")
            await self._set(connection, job_id, seen)
            if len(rows) < _AT_ONCE:
                fit = await connection.scalar(
                    sa.select(sa.func.count()).where(_row.job_id == job_id, _row.state == "fit")
                )
                state = (
                    {"state": "waiting", "fit": fit or 0} if fit else {"state": "done", "ended_at": now, "sealed": None}
                )
                await connection.execute(sa.update(tables.staff_job).where(_job.id == job_id).values(**state))
        return len(rows) or 1

    async def _do(self, job_id: UUID, limit: int) -> int:
        """Do the act to some messages, in one transaction with their rows."""
        parts = self._parts
        async with parts.database.write() as connection:
            job = await self._held(connection, job_id, "running")
            if job is None:
                return 0
            rows = await self._take(connection, job_id, "fit", limit)
            if not rows:
                await connection.execute(
                    sa.update(tables.staff_job)
                    .where(_job.id == job_id)
                    .values(state="done", ended_at=parts.clock.now(), sealed=None)
                )
                return 1
            by = By(job.who, parts.vault.open_staff(_purpose(job_id), job.sealed).decode())
            ledgers = await lock(connection, [row.message_id for row in rows], parts.vault)
            ended: dict[int, tuple[str, str]] = {}
            for row in rows:
                state, note = "skipped", "not_possible"
                ledger = ledgers.get(row.message_id)
                for choice in _fitting(ledger.delivery, Act(job.act), parts) if ledger is not None else []:
                    assert ledger is not None
                    try:
                        await self._acts.apply(connection, ledger, row.message_id, choice, by)
                    except CannotActError as error:
                        note = error.code
                    else:
                        state, note = "done", ""
                ended[row.number] = state, note
            await self._set(connection, job_id, ended)
            moved = {row.message_id: ledgers[row.message_id] for row in rows if row.message_id in ledgers}
            changed = {message_id: ledger for message_id, ledger in moved.items() if ledger.facts}
            written = await write(connection, changed, policy=parts.policy, vault=parts.vault, now=parts.clock.now())
        await self._announce(written)
        return len(rows)

    async def _do_alone(self, job_id: UUID) -> int:
        """Do one row; when it cannot be done, say so and go on."""
        try:
            return await self._do(job_id, 1)
        except DATABASE_AWAY:
            raise
        except Exception as error:  # noqa: BLE001 - it is shown in the job, with its kind
            async with self._parts.database.write() as connection:
                rows = await self._take(connection, job_id, "fit", 1)
                await self._set(connection, job_id, {row.number: ("skipped", type(error).__name__) for row in rows})
            return 1

    async def _held(self, connection: AsyncConnection, job_id: UUID, state: str) -> Any:
        """Lock a job that is in this state still; two that work at once take turns."""
        return (
            await connection.execute(
                sa.select(tables.staff_job).where(_job.id == job_id, _job.state == state).with_for_update()
            )
        ).one_or_none()

    async def _take(self, connection: AsyncConnection, job_id: UUID, state: str, limit: int) -> Sequence[Any]:
        return (
            await connection.execute(
                sa.select(_row.number, _row.message_id)
                .where(_row.job_id == job_id, _row.state == state)
                .order_by(_row.number)
                .limit(limit)
            )
        ).all()

    async def _set(self, connection: AsyncConnection, job_id: UUID, ended: Mapping[int, tuple[str, str]]) -> None:
        """Write down how rows ended, by their number: state and note."""
        alike: dict[tuple[str, str], list[int]] = {}
        for number, how in ended.items():
            alike.setdefault(how, []).append(number)
        for (state, note), numbers in alike.items():
            await connection.execute(
                sa.update(tables.staff_job_row)
                .where(_row.job_id == job_id, _row.number.in_(numbers))
                .values(state=state, note=note[:40] or None)
            )


def _fitting(delivery: Delivery, act: Act, parts: Parts) -> list[Choice]:
    """Give the choices of this act that would do something to a message."""
    return [choice for choice in possible(delivery, parts.policy, parts.clock.now()) if choice.act is act]


def _purpose(job_id: UUID) -> str:
    return f"job {job_id}"


def _read(row: Any, counts: dict[tuple[str, str], int]) -> Job:
    return Job(
        row.id,
        Act(row.act),
        row.who,
        frozenset(row.organisations.split()),
        row.state,
        row.total,
        row.fit,
        row.made_at,
        row.confirmed_by,
        row.ended_at,
        counts,
    )
