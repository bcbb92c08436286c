"""Answers that say what is wrong (RFC 9457), in the shape of the Dutch API Design Rules: every fault, in Dutch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from prometheus_client import Counter

from bode.intake.faults import Fault, Refused
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

TURNED_AWAY = Counter(
    "bode_api_turned_away_total", "Requests of the API that were turned away before they were read, by why.", ["reason"]
)
VERSION = "1.0.0"
MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, title: str, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response[Any]:
    """Give an answer that says what is wrong."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if faults:
        body["errors"] = described(faults)
    return Response(
        body,
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"API-Version": VERSION, **(headers or {})},
    )


def described(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Give faults as problems list them."""
    return [
        {
            "in": fault.place,
            "location": {"pointer": fault.pointer} if fault.place == "body" else {"name": fault.pointer},
            "code": fault.code,
            "detail": fault.detail,
        }
        for fault in faults
    ]


def on_refused(request: Request[Any, Any, Any], refused: Refused) -> Response[Any]:
    """Answer a refusal: 400, or 409 for a conflict, with every fault."""
    del request
    count = len(refused.faults)
    detail = refused.faults[0].detail if count == 1 else f"Er zijn {count} fouten gevonden; niets is opgeslagen."
    headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after is not None else {}
    return problem(refused.status, refused.title, detail, refused.faults, headers)


_TITLES = {
    400: ("Het verzoek klopt niet", "Het verzoek kan niet gelezen worden."),
    401: ("Geen toegang", "Stuur een geldige sleutel of een geldig token mee: 'Authorization: Bearer ...'."),
    403: ("Niet toegestaan", "Deze applicatie mag dit niet: vraag de beheerder om de scope die hierbij hoort."),
    404: ("Niet gevonden", "Er is niets op dit adres, of niet voor deze afzender."),
    405: ("Dit kan hier niet", "Deze methode bestaat niet op dit adres."),
    408: ("Te langzaam", "Het verzoek kwam niet op tijd binnen; er is niets opgeslagen."),
    406: ("Niet beschikbaar", "Deze vorm van antwoord bestaat niet."),
    413: ("Te groot", "Het verzoek is te groot."),
    415: ("Verkeerde vorm", "Stuur een vorm die bij dit adres hoort, niet ingepakt."),
    429: ("Te veel verzoeken", "Deze applicatie stuurt te veel verzoeken. Wacht zo lang als Retry-After zegt."),
    503: ("Even niet beschikbaar", "Dit kan nu niet. Stuur hetzelfde later nog eens: dat is veilig."),
}
_KEPT = frozenset({"allow", "www-authenticate", "retry-after"})


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer every other refusal in the same shape. The framework's own text may quote the request: it is not used."""
    del request
    title, detail = _TITLES.get(error.status_code, ("Er ging iets mis", "Het verzoek is niet uitgevoerd."))
    given: Mapping[str, str] = dict(error.headers or {})
    keep = {key: value for key, value in given.items() if key.lower() in _KEPT}
    return problem(error.status_code, title, detail, _parameters(error), headers=keep)


def _parameters(error: HTTPException) -> list[Fault]:
    """Give the parameters of the query that have no good shape; only names that the address knows are in it."""
    if not isinstance(error, ValidationException) or not isinstance(error.extra, list):
        return []
    text = "Deze waarde klopt niet: kijk bij dit adres in /openapi.json welke vorm hij heeft."
    names = [item["key"] for item in error.extra if item.get("source") == "query" and "key" in item]
    return [Fault(str(name), "ongeldig", text, "query") for name in dict.fromkeys(names)]


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer our own defect: the sender may repeat the same request safely. The log names the error's type only."""
    template: str = dict[str, Any](request.scope).get("path_template", "")
    if isinstance(error, DATABASE_AWAY):
        cause = getattr(error, "orig", None) or error
        log.error("api.database_away", path_template=template, error=type(cause).__name__)
        text = "Het bericht kan nu niet worden opgeslagen. Stuur hetzelfde later nog eens: dat is veilig."
        return problem(503, "Even niet beschikbaar", text, headers={"Retry-After": "30"})
    log.error("api.defect", path_template=template, error=type(error).__name__)
    return problem(500, "Fout bij ons", "Er ging iets mis. Stuur hetzelfde bericht later nog eens: dat is veilig.")
