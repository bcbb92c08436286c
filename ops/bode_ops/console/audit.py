"""Who did what: searchable, to be exported, and never changed. For those who manage."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Mapping
from datetime import date, datetime, time, timedelta
from io import StringIO
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response, get
from litestar.response import Stream

from bode.domain.acts import Act
from bode.domain.terms import AMSTERDAM
from bode.store.staff import REFUSED, ActFilter, StaffAct, read_acts
from bode_ops.console.access import Person, Role, person_of
from bode_ops.console.desk import Desk
from bode_ops.story import labels
from bode_ops.story.effects import ACTS
from bode_ops.story.words import lowered

PAGE = 100
_AT_ONCE = 1000
_MOST_EXPORTED = 100_000

WORDS: Mapping[str, str] = {
    "login": "logt in",
    "logout": "logt uit",
    "search": "zoekt een persoon",
    "personal_data": "bekijkt persoonsgegevens",
    "letter_shown": "bekijkt een brief",
    "extract": "geeft een afschrift",
    "bounce_matched": "koppelt een teruggekomen e-mail",
    "burst_confirmed": "bevestigt dat adressen niet werken",
    "burst_rejected": "laat kennisgevingen opnieuw versturen",
    "lane_stopped": "zet een kanaal stil",
    "lane_started": "start een kanaal",
    "job_made": "maakt een opdracht voor veel berichten",
    "job_confirmed": "bevestigt een opdracht",
    "job_stopped": "stopt een opdracht",
    "audit_exported": "haalt dit overzicht op",
    "message": "opent een bericht",
    "csrf": "stuurt een formulier van elders",
    "audit": "opent Wie deed wat",
    "bounces": "opent Teruggekomen",
    "burst": "opent een besluit over teruggekomen e-mails",
    "jobs": "opent Opdrachten",
    "job": "opent een opdracht",
    "lane": "opent een kanaal",
    **{act: lowered(ACTS[act]) for act in Act},
}


def handlers(desk: Desk) -> list[Any]:
    """Give the pages of the audit."""
    boxes = labels(desk.parts.policy)

    @get("/controle")
    async def acts(request: Request[Any, Any, Any]) -> Response[Any]:
        person = person_of(request)
        await desk.access.need(person, Role.BEHEREN, "audit")
        query = _query(request.query_params)
        before = request.query_params.get("voor", "")
        async with desk.database.read() as connection:
            rows = await read_acts(
                connection,
                desk.parts.vault,
                most=PAGE + 1,
                chosen=_chosen(query, person),
                before=int(before) if before.isdecimal() and len(before) < 19 else None,  # noqa: PLR2004 - fits 64 bits
            )
        more = f"?{urlencode({**query, 'voor': str(rows[PAGE - 1].id)})}" if len(rows) > PAGE else None
        return desk.frame.page(
            person,
            "controle.html.j2",
            rows=[(row, _about(row.subject, boxes)) for row in rows[:PAGE]],
            query=query,
            asked=urlencode(query),
            words=WORDS,
            more=more,
        )

    @get("/controle.csv")
    async def exported(request: Request[Any, Any, Any]) -> Response[Any]:
        person = person_of(request)
        await desk.access.need(person, Role.BEHEREN, "audit_exported")
        await desk.access.note(person, "audit_exported", "csv")
        chosen = _chosen(_query(request.query_params), person)
        headers = {"Content-Disposition": 'attachment; filename="controle.csv"'}
        return Stream(_lines(desk, chosen), media_type="text/csv; charset=utf-8", headers=headers)

    return [acts, exported]


def _query(params: Mapping[str, Any]) -> dict[str, str]:
    names = ("wie", "wat", "bericht", "van", "tot", "geweigerd")
    return {name: str(params[name]).strip()[:64] for name in names if str(params.get(name, "")).strip()}


def _chosen(query: Mapping[str, str], person: Person) -> ActFilter:
    return ActFilter(
        who=query.get("wie"),
        act=query.get("wat"),
        outcome=REFUSED if query.get("geweigerd") == "ja" else None,
        message_id=_id(query.get("bericht", "")),
        since=_day(query.get("van", ""), 0),
        until=_day(query.get("tot", ""), 1),
        organisations=person.organisations,
    )


def _about(subject: str, boxes: Mapping[str, str]) -> str:
    """Say what it was done to: a part of a message in words, anything else as it is."""
    kind, _, which = subject.partition("/")
    match kind:
        case "notice" | "placement" if which in boxes:
            return f"{'kennisgeving' if kind == 'notice' else 'plaatsing'}, {boxes[which]}"
        case "letter" if which.isdecimal():
            return f"brief {int(which) + 1}"
        case _:
            return subject


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _day(text: str, later: int) -> datetime | None:
    try:
        day = date.fromisoformat(text) + timedelta(days=later)
    except (ValueError, OverflowError):
        return None
    return datetime.combine(day, time(), AMSTERDAM)


async def _lines(desk: Desk, chosen: ActFilter) -> AsyncIterator[str]:
    """Give the rows as CSV, newest first, a part at a time."""
    yield _line(["tijdstip", "wie", "wat", "onderdeel", "organisatie", "bericht", "uitkomst", "reden"])
    before: int | None = None
    for _ in range(_MOST_EXPORTED // _AT_ONCE):
        async with desk.database.read() as connection:
            rows = await read_acts(connection, desk.parts.vault, most=_AT_ONCE, chosen=chosen, before=before)
        for row in rows:
            yield _line(_cells(row))
        if len(rows) < _AT_ONCE:
            return
        before = rows[-1].id


def _cells(row: StaffAct) -> list[str]:
    return [
        row.at.isoformat(),
        row.who,
        row.act,
        row.subject,
        row.organisation or "",
        str(row.message_id or ""),
        "geweigerd" if row.outcome == REFUSED else "gedaan",
        row.reason or "",
    ]


def _line(cells: list[str]) -> str:
    out = StringIO()
    # A cell that a spreadsheet would read as a formula is text.
    csv.writer(out, delimiter=";").writerow([f"'{cell}" if cell[:1] in "=+-@\t\r" and cell else cell for cell in cells])
    return out.getvalue()
