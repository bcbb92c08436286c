"""The status feed: what became of messages since a cursor, for senders that ask instead of being called.

Nothing is missed and nothing comes twice as long as each answer's `volgende` is the next request's `na`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from typing import Any

from litestar import Request, Response, Router, get
from litestar.params import FromQuery

from bode.intake.api import VERSION, Keys, problem
from bode.intake.status import describe_change
from bode.store import changes
from bode.store.database import Database

MOST = 1000
_CURSOR = re.compile(r"s1\.([0-9]{1,18})")


def write_cursor(position: int) -> str:
    """Give the cursor of a position. What is in it is nobody's business but ours, and may change."""
    return base64.urlsafe_b64encode(f"s1.{position}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> int | None:
    """Give the position of a cursor; nothing for what we never gave."""
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    found = _CURSOR.fullmatch(plain)
    return int(found[1]) if found else None


class Feed:
    """Reads the feed of one database."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    async def page(self, after: int, limit: int, organisations: Collection[str] | None) -> changes.Page:
        """Give a page of the feed of these organisations; None: of all."""
        async with self._database.read() as connection:
            return await changes.read(connection, after=after, limit=limit, organisations=organisations)


def _bad(name: str, detail: str) -> Response[Any]:
    answer = problem(400, "Het verzoek klopt niet", detail)
    answer.content["errors"] = [{"in": "query", "location": {"name": name}, "code": "ongeldig", "detail": detail}]
    return answer


def routes(feed: Feed, keys: Keys) -> Router:
    """Give the routes of the feed, to be mounted beside those of the API."""

    @get(
        "/statuswijzigingen",
        summary="Vraag op wat er sinds een cursor met berichten is gebeurd",
        description=(
            "Oudste eerst. Bewaar `volgende` en geef die de volgende keer mee als `na`: zo wordt niets gemist. "
            "Zonder `na` begint de lijst bij het oudste dat bewaard is. Wijzigingen blijven 90 dagen bewaard; een "
            "cursor van langer geleden krijgt 410."
        ),
    )
    async def statuswijzigingen(
        request: Request[Any, Any, Any], na: FromQuery[str] = "", aantal: FromQuery[str] = "100"
    ) -> Response[dict[str, Any]]:
        after = read_cursor(na) if na else 0
        if after is None:
            return _bad("na", "Deze cursor is niet door ons gegeven. Laat 'na' weg om bij het begin te beginnen.")
        if not re.fullmatch(r"[1-9][0-9]{0,3}", aantal) or int(aantal) > MOST:
            return _bad("aantal", f"Vraag om 1 tot {MOST} wijzigingen.")
        found = await feed.page(after, int(aantal), keys.of(request).organisations)
        if found.missed:
            detail = "Er zijn wijzigingen van na deze cursor die niet meer bewaard zijn. Begin opnieuw, zonder 'na'."
            return problem(410, "Te lang geleden", detail)
        body = {
            "statuswijzigingen": [{"id": str(change.id), **describe_change(change)} for change in found.changes],
            "volgende": write_cursor(found.next),
            "meer": found.more,
        }
        return Response(body, headers={"API-Version": VERSION, "Cache-Control": "no-store"})

    return Router("/v1", route_handlers=[statuswijzigingen], guards=[keys.guard], tags=["statuswijzigingen"])
