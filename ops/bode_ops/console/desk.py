"""What all pages work with, and what they ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from litestar.exceptions import NotFoundException

from bode.clock import Clock
from bode.compose.plain import one_line
from bode.domain.parts import Delivery
from bode.engine.acts import Acts
from bode.engine.copies import Audience
from bode.engine.inbound import Inbound
from bode.engine.jobs import Jobs
from bode.engine.lanes import Lanes
from bode.engine.parts import Parts
from bode.intake.status import StatusReader
from bode.settings import ConsoleSettings
from bode.store.database import Database
from bode.store.messages import Known
from bode_ops.console.access import Access, Person
from bode_ops.console.frame import Frame

Extract = Callable[[UUID, Audience, str], Awaitable[bytes | None]]
"""Makes an extract for an audience, by somebody; nothing when it is recorded and not signed yet."""

LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of one console."""

    settings: ConsoleSettings
    access: Access
    frame: Frame
    parts: Parts
    status: StatusReader
    acts: Acts
    jobs: Jobs
    lanes: Lanes
    inbound: Inbound
    extract: Extract | None
    origin: str | None
    """The name of the log of evidence, where one is kept."""

    @property
    def database(self) -> Database:
        return self.parts.database

    @property
    def clock(self) -> Clock:
        return self.parts.clock

    async def message(self, person: Person, message: str, act: str) -> tuple[Known, Delivery, list[Known]]:
        """Give a message of one of the bodies that somebody works for; as if there were none otherwise."""
        seen = await self.status.read(an_id(message))
        known = await self.access.need_organisation(person, seen[0] if seen is not None else None, act)
        if seen is None:
            raise NotFoundException
        return known, seen[1], [item for item in seen[2] if item.organisation in person.organisations]


def an_id(text: str) -> UUID:
    """Read the id of a message in an address; anything else is not found."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFoundException from error


def a_reason(given: object) -> str | None:
    """Give the reason that somebody typed, on one line; nothing when it is none or too long."""
    text = one_line(given).strip() if isinstance(given, str) else ""
    return text if 0 < len(text) <= LONGEST_REASON else None
