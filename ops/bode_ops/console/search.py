"""Finding messages. Filters that are not personal stand in the address; a person or e-mail address is posted.

What is posted is turned into its keyed hash at once; only that is kept, with the session, to read a list on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from litestar import Request, Response, get, post
from litestar.response import Redirect

from bode.compose.plain import one_line
from bode.domain.message import AddresseeKind
from bode.domain.parts import CameBack, DeliveryState, LetterState
from bode.domain.terms import AMSTERDAM
from bode.intake.status import STATES as STATE_NAMES
from bode.store import console as store
from bode.store import search
from bode.store.search import Order, Place, Row, Sought
from bode_ops.console.access import Person, Role, person_of
from bode_ops.console.desk import Desk
from bode_ops.story import labels

PAGE = 50
_LONGEST = 64
_BY_NAME = {name: state for state, name in STATE_NAMES.items()}

VIEWS: Mapping[str, str] = {
    "bijna-48-uur": "Dicht bij de 48 uur",
    "te-laat": "48 uur voorbij",
    "wacht": "Wacht op een medewerker",
    "teruggekomen": "E-mail kwam voorgoed terug",
    "brieven-vandaag": "Brieven van vandaag",
}
CAME_BACK: Mapping[str, str] = {CameBack.HARD: "Voorgoed teruggekomen", CameBack.SOFT: "Tijdelijk teruggekomen"}
LETTERS: Mapping[str, str] = {
    LetterState.PLANNED: "Wordt gemaakt",
    LetterState.SUBMITTED: "Bij de drukker",
    LetterState.PRINTED: "Gedrukt",
    LetterState.POSTED: "Op de post",
    LetterState.RETURNED: "Teruggekomen",
    LetterState.REFUSED: "Geweigerd door de drukker",
    LetterState.BLOCKED: "Kan niet weg",
    LetterState.UNKNOWN: "Niet bekend",
    LetterState.CANCELLED: "Tegengehouden",
    LetterState.HANDLED: "Zelf afgehandeld",
}
DEADLINES: Mapping[str, str] = {"0": "voorbij", "4": "binnen 4 uur", "12": "binnen 12 uur", "24": "binnen 24 uur"}
KINDS: Mapping[str, str] = {
    "BSN": "BSN",
    "KVK": "KVK-nummer",
    "RSIN": "RSIN",
    "EMAIL": "E-mailadres",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the form says; anything unknown in an address is no limit."""

    kenmerk: str = ""
    zaak: str = ""
    organisatie: str = ""
    status: str = ""
    box: str = ""
    terug: str = ""
    brief: str = ""
    termijn: str = ""
    beeld: str = ""
    persoon: str = ""

    @classmethod
    def read(cls, query: Mapping[str, Any], person: Person, boxes: Mapping[str, str]) -> Chosen:
        """Read it from a query string."""

        def one_of(name: str, known: Mapping[str, Any] | frozenset[str]) -> str:
            found = str(query.get(name, ""))
            return found if found in known else ""

        return cls(
            kenmerk=one_line(str(query.get("kenmerk", ""))).strip()[:_LONGEST],
            zaak=one_line(str(query.get("zaak", ""))).strip()[:_LONGEST],
            organisatie=one_of("organisatie", person.organisations),
            status=one_of("status", _BY_NAME),
            box=one_of("box", boxes),
            terug=one_of("terug", CAME_BACK),
            brief=one_of("brief", LETTERS),
            termijn=one_of("termijn", DEADLINES),
            beeld=one_of("beeld", VIEWS),
            persoon="ja" if query.get("persoon") == "ja" and person.session.sought is not None else "",
        )

    def query(self, **changes: str) -> str:
        """Write it as a query string, with changes."""
        now = {name: getattr(self, name) for name in Chosen.__dataclass_fields__} | changes
        kept = {key: value for key, value in now.items() if value}
        return f"?{urlencode(kept)}" if kept else ""

    def sought(self, person: Person, now: datetime) -> Sought:
        """Give what to look for."""
        organisations = {self.organisatie} if self.organisatie else person.organisations
        looked = Sought(
            organisations,
            case=self.zaak or None,
            hash=person.session.sought if self.persoon else None,
            state=_BY_NAME.get(self.status),
            box=self.box or None,
            bounce=self.terug or None,
            letter=self.brief or None,
            deadline_before=now + timedelta(hours=int(self.termijn)) if self.termijn else None,
            order=Order.DEADLINE if self.termijn else Order.NEWEST,
        )
        if self.kenmerk:
            looked = replace(looked, reference=self.kenmerk)
            with suppress(ValueError):
                looked = replace(looked, reference=None, id=UUID(self.kenmerk))
        return _viewed(looked, self.beeld, now)


def _viewed(looked: Sought, view: str, now: datetime) -> Sought:
    """Limit it to a saved view."""
    match view:
        case "bijna-48-uur":
            return replace(looked, deadline_before=now + timedelta(hours=12), order=Order.DEADLINE)
        case "te-laat":
            return replace(looked, deadline_before=now, order=Order.DEADLINE)
        case "wacht":
            return replace(looked, state=DeliveryState.NEEDS_PERSON)
        case "teruggekomen":
            return replace(looked, bounce=CameBack.HARD)
        case "brieven-vandaag":
            today = now.astimezone(AMSTERDAM).replace(hour=0, minute=0, second=0, microsecond=0)
            return replace(looked, letter_since=today)
        case _:
            return looked


def handlers(desk: Desk) -> list[Any]:
    """Give the search pages."""
    boxes = labels(desk.parts.policy)

    @get("/berichten")
    async def found(request: Request[Any, Any, Any]) -> Response[Any]:
        person = person_of(request)
        chosen = Chosen.read(request.query_params, person, boxes)
        after = _place(str(request.query_params.get("na", "")))
        looked = chosen.sought(person, desk.clock.now())
        async with desk.database.read() as connection:
            rows = await search.find(connection, looked, after=after, limit=PAGE + 1)
        if chosen.kenmerk and len(rows) == 1 and after is None:
            return Redirect(f"/berichten/{rows[0].id}", status_code=303)
        last = search.place(rows[PAGE - 1], looked.order) if len(rows) > PAGE else None
        return desk.frame.page(
            person,
            "zoeken.html.j2",
            chosen=chosen,
            rows=rows[:PAGE],
            first=after is None,
            next=chosen.query(na=f"{last[0].isoformat()}~{last[1]}") if last is not None else None,
            boxes=boxes,
            views=VIEWS,
            came_back=CAME_BACK,
            letters=LETTERS,
            deadlines=DEADLINES,
            kinds=KINDS,
            can_act=person.may(Role.BEHANDELEN),
        )

    @post("/berichten/persoon", status_code=303)
    async def of_person(request: Request[Any, Any, Any]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        kind, value = str(form.get("soort", "")), str(form.get("waarde", "")).strip()
        hashed = _hash(desk, kind, value)
        async with desk.database.write() as connection:
            await store.seek(connection, person.session.hash, hashed)
        await desk.access.note(person, "search", KINDS.get(kind, "-") if hashed else "not readable")
        return Redirect("/berichten?persoon=ja" if hashed is not None else "/berichten?fout=waarde", status_code=303)

    return [found, of_person]


def _hash(desk: Desk, kind: str, value: str) -> bytes | None:
    """Give the keyed hashes of what somebody typed, one behind the other; nothing where it cannot be what it is said.

    There are two while one secret succeeds another.
    """
    if kind == "EMAIL":
        try:
            validate_email(value, check_deliverability=False)
        except EmailNotValidError:
            return None
        return b"".join(desk.parts.vault.email_hashes(value))
    digits = "".join(value.split()).replace(".", "").replace("-", "")
    if kind not in {item.value for item in AddresseeKind} or not digits.isdecimal() or not 8 <= len(digits) <= 12:  # noqa: PLR2004 - a KVK number has 8 digits, a BSN 9
        return None
    return b"".join(desk.parts.vault.lookup_hashes(AddresseeKind(kind), digits))


def _place(text: str) -> Place | None:
    at, _, last = text.partition("~")
    try:
        moment = datetime.fromisoformat(at)
        return (moment, UUID(last)) if moment.tzinfo is not None else None
    except ValueError:
        return None


__all__ = ["Chosen", "Row", "handlers"]
