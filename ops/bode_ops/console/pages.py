"""The pages: an overview, a page per message, the letters as PDF. Read only; every act is the command line's.

No personal data stands on a page: no name, number, address, e-mail, subject or text. A letter's PDF is the exception,
and the link says so. Pages work without JavaScript; with it they refresh themselves from the fragments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import sqlalchemy as sa
import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response, Router, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.clock import Clock
from bode.compose.plain import one_line
from bode.compose.wording import weekday_words
from bode.domain.message import Nature
from bode.domain.parts import DeliveryState, Outcome
from bode.domain.policy import Policy
from bode.domain.terms import legal_day
from bode.intake.status import STATES as STATE_NAMES
from bode.intake.status import StatusReader
from bode.store import events, messages, tables
from bode.store.database import Database
from bode.store.vault import Vault
from bode_ops.story import OUTCOMES, STATES, Kind, Line, article, labels, length, summary, timeline, when

log = structlog.get_logger()

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_HERE = Path(__file__).parent
_LETTER_FILE = re.compile(r"([0-9]{1,4})\.pdf")
_STATIC_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MOST_ROWS = 50
_MOST_COUNTED = 10_000
_MOST_EVENTS = 2_000
"""How many of the newest events the overview looks at to find the messages that moved last."""
_MOST_LINES = 500
_LONGEST_REFERENCE = 64

_STATE_KINDS: Mapping[DeliveryState, Kind] = {
    DeliveryState.SCHEDULED: Kind.NEUTRAL,
    DeliveryState.UNDER_WAY: Kind.NEUTRAL,
    DeliveryState.NEEDS_PERSON: Kind.PERSON,
    DeliveryState.DONE: Kind.GOOD,
    DeliveryState.CANCELLED: Kind.NEUTRAL,
}
_ORDER = (
    DeliveryState.NEEDS_PERSON,
    DeliveryState.UNDER_WAY,
    DeliveryState.SCHEDULED,
    DeliveryState.DONE,
    DeliveryState.CANCELLED,
)


_SUPERSEDED: Mapping[str, str] = {Nature.WIJZIGING: "gewijzigd", Nature.INTREKKING: "ingetrokken"}


@dataclass(frozen=True, slots=True)
class _Row:
    """A message in the overview."""

    id: UUID
    reference: str
    organisation: str
    nature: str
    state: DeliveryState
    outcome: Outcome
    notice_deadline_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class _Filter:
    """What the overview is limited to; anything unknown in a query string is no limit."""

    state: DeliveryState | None = None
    organisation: str | None = None

    @classmethod
    def read(cls, query: Mapping[str, Any], organisations: Mapping[str, str]) -> _Filter:
        states = {name: state for state, name in STATE_NAMES.items()}
        organisation = str(query.get("organisatie", ""))
        state = states.get(str(query.get("status", "")))
        return cls(state, organisation if organisation in organisations else None)

    def query(self, **changes: str | None) -> str:
        """Write it as a query string, with changes."""
        now = {"status": STATE_NAMES[self.state] if self.state else None, "organisatie": self.organisation}
        kept = {key: value for key, value in {**now, **changes}.items() if value}
        return f"?{urlencode(kept)}" if kept else ""


def routes(
    *,
    database: Database,
    vault: Vault,
    policy: Policy,
    status: StatusReader,
    clock: Clock,
    organisations: Mapping[str, str],
) -> Router:
    """Give the pages, to be mounted in an application. `organisations` gives the name of each OIN."""
    console = _Console(database, vault, policy, status, clock, organisations)
    files = {path.name: path.read_bytes() for path in (_HERE / "static").iterdir() if path.suffix in _STATIC_TYPES}

    @get("/")
    async def overview(request: Request[Any, Any, Any]) -> Response[Any]:
        if sought := one_line(str(request.query_params.get("kenmerk", "")))[:_LONGEST_REFERENCE]:
            return await console.search(sought)
        return await console.overview("overzicht.html.j2", request.query_params)

    @get("/overzicht")
    async def overview_fragment(request: Request[Any, Any, Any]) -> Response[Any]:
        return await console.overview("_overzicht.html.j2", request.query_params)

    @get("/berichten/{bericht:str}")
    async def message(bericht: FromPath[str]) -> Response[Any]:
        return await console.message("bericht.html.j2", _an_id(bericht))

    @get("/berichten/{bericht:str}/stand")
    async def message_fragment(bericht: FromPath[str]) -> Response[Any]:
        return await console.message("_bericht.html.j2", _an_id(bericht))

    @get("/berichten/{bericht:str}/brieven/{bestand:str}")
    async def letter(bericht: FromPath[str], bestand: FromPath[str]) -> Response[Any]:
        return await console.letter(_an_id(bericht), _a_number(bestand))

    @get("/static/{bestand:str}")
    async def static(bestand: FromPath[str]) -> Response[Any]:
        if bestand not in files:
            raise NotFoundException
        return Response(files[bestand], media_type=_STATIC_TYPES[Path(bestand).suffix])

    return Router(
        "/",
        route_handlers=[overview, overview_fragment, message, message_fragment, letter, static],
        after_request=_secured,
        exception_handlers={HTTPException: on_http_error, Exception: on_defect},
        include_in_schema=False,
    )


@dataclass(frozen=True, slots=True)
class _Console:
    """Reads what a page needs, and writes the page."""

    database: Database
    vault: Vault
    policy: Policy
    status: StatusReader
    clock: Clock
    organisations: Mapping[str, str]

    def _page(self, template: str, **words: Any) -> Response[Any]:
        return _html(template, 200, now=self.clock.now(), organisations=self.organisations, **words)

    async def overview(self, template: str, query: Mapping[str, Any]) -> Response[Any]:
        chosen = _Filter.read(query, self.organisations)
        async with self.database.read() as connection:
            counts = await _counts(connection, chosen.organisation)
            rows = await _rows(connection, chosen)
        more = len(rows) > _MOST_ROWS
        return self._page(template, chosen=chosen, counts=counts, rows=rows[:_MOST_ROWS], more=more)

    async def search(self, sought: str) -> Response[Any]:
        async with self.database.read() as connection:
            found = await _find(connection, sought, self.organisations)
        if len(found) == 1:
            return Redirect(f"/berichten/{found[0].id}", status_code=303)
        return self._page("zoeken.html.j2", sought=sought, found=found)

    async def message(self, template: str, message_id: UUID) -> Response[Any]:
        seen = await self.status.read(message_id)
        if seen is None:
            raise NotFoundException
        known, delivery, later = seen
        async with self.database.read() as connection:
            story = await events.of_message(connection, message_id, self.vault)
            pages = await _letter_pages(connection, message_id)
            earlier = await messages.get(connection, known.concerns) if known.concerns is not None else None
        return self._page(
            template,
            known=known,
            said=summary(known, delivery, self.policy, now=self.clock.now()),
            days=_by_day(timeline(story, channels=labels(self.policy))[-_MOST_LINES:]),
            story=story[-_MOST_LINES:],
            left_out=max(len(story) - _MOST_LINES, 0),
            pages=pages,
            earlier=earlier,
            later=later[:_MOST_ROWS],
        )

    async def letter(self, message_id: UUID, number: int) -> Response[Any]:
        """Give the PDF: the one answer with personal data. Who opens it is not known yet, and so not recorded."""
        async with self.database.read() as connection:
            pdf = await messages.load_letter(connection, message_id, number, self.vault)
        if pdf is None:
            raise NotFoundException
        name = f'inline; filename="brief-{number}-{message_id}.pdf"'
        return Response(pdf, media_type="application/pdf", headers={"Content-Disposition": name})


def _by_day(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """Put lines under the day they are about, in the order in which they were recorded."""
    days = groupby(lines, key=lambda line: legal_day(line.at))
    return [(weekday_words(day), list(of_day)) for day, of_day in days]


def _secured(response: Response[Any]) -> Response[Any]:
    response.headers.update(SECURITY_HEADERS)
    return response


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer what cannot be found or done with a page in Dutch. Fit for a whole application's unknown addresses."""
    del request
    return _error_page(error.status_code)


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer our own defect with a page. The log names the error's type only: its text can hold personal data."""
    log.error("console.defect", path=request.scope["path_template"], error=type(error).__name__)
    return _error_page(500)


_ERRORS: Mapping[int, tuple[str, str]] = {
    404: (
        "Niet gevonden",
        "Deze pagina of dit bericht bestaat niet. Misschien is een brief gewist na de bewaartermijn.",
    ),
    405: ("Dit kan hier niet", "Op dit adres kan alleen worden gelezen."),
}


def _error_page(status_code: int) -> Response[Any]:
    title, text = _ERRORS.get(status_code, ("Er ging iets mis", "Probeer het later nog eens, of vraag de beheerder."))
    if 400 <= status_code < 500 and status_code not in _ERRORS:  # noqa: PLR2004 - the family of the caller's faults
        title, text = "Dit verzoek klopt niet", "Ga terug naar het overzicht en probeer het daar."
    return _secured(_html("fout.html.j2", status_code, title=title, text=text))


def _an_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFoundException from error


def _a_number(file: str) -> int:
    found = _LETTER_FILE.fullmatch(file)
    if found is None:
        raise NotFoundException
    return int(found[1])


def _html(name: str, status_code: int, **words: Any) -> Response[bytes]:
    body = _templates().get_template(name).render(words)
    return Response(body.encode(), status_code=status_code, media_type="text/html")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(when=when, lasts=length, article=article, clean=one_line)
    words: dict[str, Any] = {
        "states": STATES,
        "state_names": STATE_NAMES,
        "state_kinds": _STATE_KINDS,
        "outcomes": OUTCOMES,
        "most_counted": _MOST_COUNTED,
        "most_rows": _MOST_ROWS,
        "superseded": _SUPERSEDED,
    }
    environment.globals |= words
    return environment


# ---- what is read -------------------------------------------------------------------------------------------------


async def _counts(connection: AsyncConnection, organisation: str | None) -> list[tuple[DeliveryState, int]]:
    """Count the messages per state, each up to a bound: more than that is read as 'many'."""
    table = tables.delivery.c
    counts: list[tuple[DeliveryState, int]] = []
    for state in _ORDER:
        some = sa.select(sa.literal(1)).where(_in_state(state))
        if organisation is not None:
            some = some.where(table.organisation == organisation)
        found = await connection.scalar(
            sa.select(sa.func.count()).select_from(some.limit(_MOST_COUNTED + 1).subquery())
        )
        counts.append((state, found or 0))
    return counts


def _in_state(state: DeliveryState) -> sa.ColumnElement[bool]:
    """Compare with the state as it stands in the statement: only then does the index of open deliveries apply."""
    return tables.delivery.c.state == sa.literal(str(state), literal_execute=True)


async def _rows(connection: AsyncConnection, chosen: _Filter) -> Sequence[_Row]:
    """Give the messages of the overview, one more than are shown.

    Messages that are not done have an index by state and deadline, so the most urgent come first. The others are found
    by the newest events, whose ids are the order in which things happened: no index on a time that changes is needed.
    """
    message, delivery = tables.message.c, tables.delivery.c
    query = sa.select(
        message.id,
        message.reference,
        message.organisation,
        message.nature,
        delivery.state,
        delivery.outcome,
        delivery.notice_deadline_at,
        delivery.updated_at,
    ).join_from(tables.delivery, tables.message, delivery.message_id == message.id)
    if chosen.organisation is not None:
        query = query.where(delivery.organisation == chosen.organisation)
    if chosen.state is not None:
        query = query.where(_in_state(chosen.state))
    if chosen.state in (None, DeliveryState.DONE):
        newest = sa.select(tables.event.c.id, tables.event.c.message_id).order_by(tables.event.c.id.desc())
        some = newest.limit(_MOST_EVENTS).subquery()
        moved = (
            sa.select(some.c.message_id, sa.func.max(some.c.id).label("last")).group_by(some.c.message_id).subquery()
        )
        query = query.join(moved, moved.c.message_id == delivery.message_id).order_by(moved.c.last.desc())
    else:
        query = query.order_by(delivery.notice_deadline_at.asc().nulls_last())
    rows = await connection.execute(query.limit(_MOST_ROWS + 1))
    return [
        _Row(
            row.id,
            row.reference,
            row.organisation,
            row.nature,
            DeliveryState(row.state),
            Outcome(row.outcome),
            row.notice_deadline_at,
            row.updated_at,
        )
        for row in rows
    ]


async def _find(connection: AsyncConnection, sought: str, organisations: Mapping[str, str]) -> Sequence[Any]:
    """Find messages by reference, or the one with this id. The organisations are named because the index has them."""
    table = tables.message.c
    wanted = sa.and_(table.organisation.in_(organisations), table.reference == sought)
    with suppress(ValueError):
        wanted = sa.or_(wanted, table.id == UUID(sought))
    query = sa.select(table.id, table.reference, table.organisation, table.nature, table.accepted_at).where(wanted)
    return (await connection.execute(query.order_by(table.accepted_at.desc()).limit(_MOST_ROWS))).all()


async def _letter_pages(connection: AsyncConnection, message_id: UUID) -> dict[int, int]:
    """Give how many pages each letter has whose PDF can still be opened."""
    letter, content = tables.letter.c, tables.content.c
    rows = await connection.execute(
        sa.select(letter.number, letter.pages)
        .join_from(tables.letter, tables.content, letter.message_id == content.message_id)
        .where(letter.message_id == message_id, content.wrapped_key.is_not(None))
        .order_by(letter.number)
        .limit(_MOST_ROWS)
    )
    return {row.number: row.pages for row in rows}
