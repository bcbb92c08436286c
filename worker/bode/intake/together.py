"""Requests that come at the same time are stored together: a commit costs more than what one message adds to it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

import structlog

from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

_MOST = 50
_SMALL_BYTES = 32 * 1024
"""What is larger has documents, whose reading would hold up the others: it goes alone."""

_Waiting = tuple[bytes, "asyncio.Future[Accepted]"]


@dataclass(slots=True)
class _Line:
    waiting: deque[_Waiting] = field(default_factory=deque[_Waiting])
    work: asyncio.Task[None] | None = None


class Together:
    """Accepts single requests. Nobody waits for company: those gather that come while another is being stored.

    Each has the answer that it would have had alone. A request whose client went away is stored all the same, as one
    is whose answer got lost: the sender asks again, and gets the same answer.
    """

    def __init__(self, intake: Intake) -> None:
        """Take who accepts."""
        self._intake = intake
        self._lines: dict[tuple[Caller, Route], _Line] = {}

    async def accept(self, raw: bytes, *, route: Route, caller: Caller) -> Accepted:
        """Accept a message. Raises `Refused` or `Conflict`, or what the database raises."""
        if len(raw) > _SMALL_BYTES:
            return await self._intake.accept(raw, route=route, caller=caller)
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault((caller, route), _Line())
        line.waiting.append((raw, answer))
        if line.work is None:
            line.work = asyncio.create_task(self._work(line, caller, route))
        return await answer

    async def _work(self, line: _Line, caller: Caller, route: Route) -> None:
        """Store what waits until nothing does."""
        try:
            while line.waiting:
                taken = [line.waiting.popleft() for _ in range(min(_MOST, len(line.waiting)))]
                raws = [raw for raw, _ in taken]
                for (_, answer), told in zip(taken, await self._answers(raws, caller, route), strict=True):
                    if answer.done():
                        continue  # Who asked went away.
                    if isinstance(told, Accepted):
                        answer.set_result(told)
                    else:
                        answer.set_exception(told)
        finally:
            del self._lines[caller, route]
            for _, answer in line.waiting:
                answer.cancel()

    async def _answers(self, raws: list[bytes], caller: Caller, route: Route) -> list[Accepted | Exception]:
        if len(raws) == 1:
            return [await self._alone(raws[0], caller, route)]
        try:
            return [*await self._intake.accept_many(raws, route=route, caller=caller)]
        except DATABASE_AWAY as error:
            return [error] * len(raws)
        except Exception as error:  # noqa: BLE001 - the defect of one is not the answer of the others: they go alone
            log.error("api.together_defect", error=type(error).__name__, messages=len(raws))
            return [await self._alone(raw, caller, route) for raw in raws]

    async def _alone(self, raw: bytes, caller: Caller, route: Route) -> Accepted | Exception:
        try:
            return await self._intake.accept(raw, route=route, caller=caller)
        except Exception as error:  # noqa: BLE001 - raised again where it was asked
            return error
