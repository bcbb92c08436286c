"""Many messages in one request: JSON Lines in, a line of answer per row out, in bounded memory whatever the size.

Rows are read while they come in and accepted a chunk at a time. The answers wait in a spool, not in the connection: a
client that sends its whole file before it reads anything would otherwise wait for us while we wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from bode.evidence.envelope import timestamp
from bode.intake import problems
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.intake.faults import Fault, Refused
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

_CHUNK_ROWS = 100
_CHUNK_BYTES = 4_000_000
_SPOOL_BYTES = 1_000_000
_PIECE_BYTES = 64_000

Row = tuple[int, bytes | None]
"""The number of a line from 1, and its bytes; None for a line longer than a message may be."""

_STALLED = "Er kwam te lang niets meer: deze rij en wat erna kwam, zijn niet gelezen"

_encode = msgspec.json.Encoder().encode


def described(accepted: Accepted) -> dict[str, Any]:
    """Give an accepted message as the API answers it."""
    return {
        "id": str(accepted.id),
        "afzender": accepted.organisation,
        "kenmerk": accepted.reference,
        "aangenomenTijdstip": timestamp(accepted.accepted_at),
    }


class Lines:
    """Cuts a stream into lines without ever holding more than one line of the longest allowed length."""

    def __init__(self, longest: int) -> None:
        """Take the most bytes a line may have."""
        self._longest = longest
        self._held = bytearray()
        self._too_long = False
        self._number = 0

    @property
    def number(self) -> int:
        """How many lines have ended."""
        return self._number

    def feed(self, piece: bytes) -> Iterator[Row]:
        """Give the lines that this piece ends."""
        *whole, rest = piece.split(b"\n")
        for part in whole:
            self._hold(part)
            yield from self._line()
        self._hold(rest)

    def end(self) -> Iterator[Row]:
        """Give the last line, where the stream did not end with a line end."""
        if self._held or self._too_long:
            yield from self._line()

    def _hold(self, part: bytes) -> None:
        if self._too_long or len(self._held) + len(part) > self._longest:
            self._too_long = True
            self._held.clear()
        else:
            self._held += part

    def _line(self) -> Iterator[Row]:
        self._number += 1
        line = None if self._too_long else bytes(self._held)
        self._held.clear()
        self._too_long = False
        if line is None or line.strip():
            yield self._number, line


async def answers(
    intake: Intake,
    stream: AsyncIterator[bytes],
    *,
    caller: Caller,
    longest: int,
    has_room: Callable[[], bool] = lambda: True,
) -> AsyncIterator[bytes]:
    """Accept the rows of a stream, and give the lines of answer, some rows at a time, in the order of the rows.

    While `has_room` says that there is none, rows are answered with 503 and not stored.
    """
    lines = Lines(longest)
    rows: list[Row] = []
    size = 0
    stalled = False
    try:
        async for piece in stream:
            for row in lines.feed(piece):
                rows.append(row)
                size += len(row[1] or b"")
                if len(rows) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
                    yield await _answer(intake, rows, caller, has_room=has_room())
                    rows, size = [], 0
    except TimeoutError:
        # What came whole is accepted; the line that it stopped in is not.
        stalled = True
    else:
        rows += lines.end()
    if rows:
        yield await _answer(intake, rows, caller, has_room=has_room())
    if stalled:
        yield _encode({"rij": lines.number + 1, "status": 408, "title": _STALLED, "errors": []}) + b"\n"


async def _answer(intake: Intake, rows: Sequence[Row], caller: Caller, *, has_room: bool) -> bytes:
    if not has_room:
        return b"".join(_encode(_away(number)) + b"\n" for number, _ in rows)
    raws = [raw for _, raw in rows if raw is not None]
    try:
        told: Sequence[Accepted | Refused | Exception] = await intake.accept_many(raws, route=Route.HTTP, caller=caller)
    except Exception as error:  # noqa: BLE001 - one row's defect is not the answer of the others: they go alone
        log.error("api.rows_defect", error=type(error).__name__, rows=len(raws))
        told = [await _alone(intake, raw, caller) for raw in raws]
    given = iter(told)
    too_long = Refused([Fault("#", "regel_te_lang", "Deze regel is langer dan een bericht mag zijn.")])
    out = bytearray()
    for number, raw in rows:
        out += _encode(_line_of(number, next(given) if raw is not None else too_long))
        out += b"\n"
    return bytes(out)


async def _alone(intake: Intake, raw: bytes, caller: Caller) -> Accepted | Refused | Exception:
    try:
        return await intake.accept(raw, route=Route.HTTP, caller=caller)
    except Refused as refused:
        return refused
    except (*DATABASE_AWAY, SQLAlchemyError) as error:
        return error
    except Exception as error:  # noqa: BLE001 - told to the sender as ours, and logged by its type
        log.error("api.defect", path_template="/v1/berichten/bulk", error=type(error).__name__)
        return error


def _line_of(number: int, told: Accepted | Refused | Exception) -> dict[str, Any]:
    if isinstance(told, Accepted):
        return {"rij": number, "status": 202, **described(told)}
    if isinstance(told, Refused):
        return {"rij": number, "status": told.status, "title": told.title, "errors": problems.described(told.faults)}
    if isinstance(told, DATABASE_AWAY):
        return _away(number)
    return {"rij": number, "status": 500, "title": "Fout bij ons", "errors": []}


def _away(number: int) -> dict[str, Any]:
    return {"rij": number, "status": 503, "title": "Even niet beschikbaar", "errors": []}


async def spooled(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give what a source gives, and let the source go on while nobody takes it: what waits is kept in a file."""
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        written = 0
        grown = asyncio.Event()

        async def fill() -> None:
            nonlocal written
            try:
                async for piece in source:
                    spool.seek(written)
                    spool.write(piece)
                    written += len(piece)
                    grown.set()
            finally:
                grown.set()

        filling = asyncio.create_task(fill())
        taken = 0
        try:
            while taken < written or not filling.done():
                if taken == written:
                    await _either(grown, filling)
                    grown.clear()
                    continue
                spool.seek(taken)
                piece = spool.read(min(_PIECE_BYTES, written - taken))
                taken += len(piece)
                yield piece
            await filling
        finally:
            filling.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await filling


async def _either(grown: asyncio.Event, filling: asyncio.Task[None]) -> None:
    """Wait until there is more, or there will be no more."""
    waiting = asyncio.create_task(grown.wait())
    try:
        await asyncio.wait({waiting, filling}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
