"""The frame of every page: templates, headers, and pages for what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Request, Response, Router, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from bode.clock import Clock
from bode.compose.plain import one_line
from bode.domain.message import Nature
from bode.domain.parts import DeliveryState
from bode.intake.status import STATES as STATE_NAMES
from bode_ops.console.access import AnyRequest, Person, Role
from bode_ops.story import OUTCOMES, STATES, Kind, article, length, when

log = structlog.get_logger()

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

STATE_KINDS: Mapping[DeliveryState, Kind] = {
    DeliveryState.SCHEDULED: Kind.NEUTRAL,
    DeliveryState.UNDER_WAY: Kind.NEUTRAL,
    DeliveryState.NEEDS_PERSON: Kind.PERSON,
    DeliveryState.DONE: Kind.GOOD,
    DeliveryState.CANCELLED: Kind.NEUTRAL,
}
_SUPERSEDED: Mapping[str, str] = {Nature.WIJZIGING: "gewijzigd", Nature.INTREKKING: "ingetrokken"}

_ERRORS: Mapping[int, tuple[str, str]] = {
    403: ("Dit mag u niet", "Uw rol is hiervoor niet genoeg. Vraag een collega die dit wel mag, of uw beheerder."),
    404: (
        "Niet gevonden",
        "Deze pagina of dit bericht bestaat niet. Misschien is een brief gewist na de bewaartermijn.",
    ),
    405: ("Dit kan hier niet", "Op dit adres kan dit niet. Ga terug en probeer het daar."),
}
_FORM_TOO_OLD = (
    "Dit formulier is verlopen",
    "Er is niets gedaan. Ga terug, laad de pagina opnieuw en probeer het nog eens.",
)


class Frame:
    """Makes pages for the people of one console."""

    def __init__(self, clock: Clock, organisations: Mapping[str, str]) -> None:
        """Take the clock that counts, and the name of each body by its OIN."""
        self.clock = clock
        self.organisations = organisations

    def page(self, person: Person | None, template: str, *, status: int = 200, **words: Any) -> Response[Any]:
        """Write a page; `person` sees the menu that their role has."""
        mine = {oin: name for oin, name in self.organisations.items() if person and oin in person.organisations}
        return _html(template, status, person=person, now=self.clock.now(), organisations=mine, **words)


def files() -> Router:
    """Give the style, the scripts and the sign: open to all, and the same for everybody."""
    found = {
        str(path.relative_to(_HERE / "static")): path.read_bytes()
        for path in (_HERE / "static").rglob("*")
        if path.suffix in _TYPES
    }

    def answer(name: str, request: AnyRequest) -> Response[bytes]:
        if name not in found:
            raise NotFoundException
        tag = f'"{sha256(found[name]).hexdigest()[:16]}"'
        kept = {"Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return Response(b"", status_code=304, headers=kept)
        return Response(found[name], media_type=_TYPES[Path(name).suffix], headers=kept)

    @get("/{bestand:str}")
    async def own(bestand: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
        return answer(bestand, request)

    @get("/vendor/{bestand:str}")
    async def others(bestand: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
        return answer(f"vendor/{bestand}", request)

    return Router("/static", route_handlers=[own, others], after_request=secured, include_in_schema=False)


def secured(response: Response[Any]) -> Response[Any]:
    """Give an answer the headers that every answer has, where it has no stricter ones."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer what cannot be found or done with a page in Dutch. Fit for a whole application's unknown addresses."""
    del request
    extra: Mapping[str, Any] = error.extra if isinstance(error.extra, dict) else {}
    if extra.get("why") == "csrf":
        return secured(_error_page(error.status_code, *_FORM_TOO_OLD))
    title, text = _ERRORS.get(error.status_code, ("Er ging iets mis", "Probeer het later nog eens."))
    if 400 <= error.status_code < 500 and error.status_code not in _ERRORS:  # noqa: PLR2004 - the family of the caller's faults
        title, text = "Dit verzoek klopt niet", "Ga terug naar het overzicht en probeer het daar."
    return secured(_error_page(error.status_code, title, text))


def on_defect(request: AnyRequest, error: Exception) -> Response[Any]:
    """Answer our own defect with a page. The log names the error's type only: its text can hold personal data."""
    log.error("console.defect", path=request.scope["path_template"], error=type(error).__name__)
    title, text = "Er ging iets mis", "Probeer het later nog eens, of vraag de beheerder."
    return secured(_error_page(500, title, text))


def _error_page(status_code: int, title: str, text: str) -> Response[Any]:
    return _html("fout.html.j2", status_code, person=None, title=title, text=text)


def _html(name: str, status_code: int, **words: Any) -> Response[bytes]:
    body = templates().get_template(name).render(words)
    return Response(body.encode(), status_code=status_code, media_type="text/html")


def thousands(number: int) -> str:
    """Write a number as Dutch does: 12.345."""
    return f"{number:,}".replace(",", ".")


@cache
def templates() -> Environment:
    """Give the templates, compiled once."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(when=when, lasts=length, article=article, clean=one_line, thousands=thousands)
    words: dict[str, Any] = {
        "Role": Role,
        "states": STATES,
        "state_names": STATE_NAMES,
        "state_kinds": STATE_KINDS,
        "outcomes": OUTCOMES,
        "superseded": _SUPERSEDED,
    }
    environment.globals |= words
    return environment
