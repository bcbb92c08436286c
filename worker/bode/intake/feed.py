"""The status feed: what became of messages since a cursor, for senders that ask instead of being called.

Nothing is missed and nothing comes twice as long as each answer's `volgende` is the next request's `na`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import FromQuery, Parameter

from bode.intake import cursor as cursors
from bode.intake.applications import Doorkeeper, caller_of
from bode.intake.problems import problem
from bode.intake.scopes import Scope
from bode.intake.status import describe_change
from bode.store import changes
from bode.store.database import Database

MOST = 1000
_POSITION = re.compile(r"[0-9]{1,18}")


def write_cursor(position: int) -> str:
    """Give the cursor of a position."""
    return cursors.write("s1", str(position))


def read_cursor(text: str) -> int:
    """Give the position of a cursor. Raises `BadQuery` for what we never gave."""
    place = cursors.read("s1", text, "na")
    if len(place) != 1 or not _POSITION.fullmatch(place[0]):
        raise cursors.not_ours("na")
    return int(place[0])


class Feed:
    """Reads the feed of one database."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    async def page(self, after: int, limit: int, organisations: Collection[str] | None) -> changes.Page:
        """Give a page of the feed of these organisations; None: of all."""
        async with self._database.read() as connection:
            return await changes.read(connection, after=after, limit=limit, organisations=organisations)


def routes(feed: Feed, doors: Doorkeeper) -> Router:
    """Give the routes of the feed, to be mounted beside those of the API."""

    @get(
        "/statuswijzigingen",
        opt={"scope": Scope.CHANGES},
        operation_id="statuswijzigingenOpvragen",
        summary="Vraag op wat er sinds een cursor met berichten is gebeurd",
        description=(
            "Oudste eerst. Bewaar `volgende` en geef die de volgende keer mee als `na`: zo wordt niets gemist. "
            "Zonder `na` begint de lijst bij het oudste dat bewaard is. Wijzigingen blijven 90 dagen bewaard; een "
            "cursor van langer geleden krijgt 410."
        ),
    )
    async def statuswijzigingen(
        request: Request[Any, Any, Any], na: FromQuery[str] = "", aantal: Annotated[int, Parameter(ge=1, le=MOST)] = 100
    ) -> Response[dict[str, Any]]:
        after = read_cursor(na) if na else 0
        found = await feed.page(after, aantal, caller_of(request).organisations)
        if found.missed:
            detail = "Er zijn wijzigingen van na deze cursor die niet meer bewaard zijn. Begin opnieuw, zonder 'na'."
            return problem(410, "Te lang geleden", detail)
        body = {
            "statuswijzigingen": [{"id": str(change.id), **describe_change(change)} for change in found.changes],
            "volgende": write_cursor(found.next),
            "meer": found.more,
        }
        return Response(body)

    return Router("/v1", route_handlers=[statuswijzigingen], guards=[doors.guard], tags=["statuswijzigingen"])
