"""The HTTP API for zaaksystemen: Dutch field names, problem+json, every fault at once; never 422, never half stored.

Follows the Dutch API Design Rules: `/v1` in the path, the full version in `API-Version`, times named `...Tijdstip` in
UTC, no personal data in a URL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Any
from uuid import UUID

import structlog
from litestar import Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from sqlalchemy.exc import OperationalError

from bode.evidence.envelope import timestamp
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.intake.body import AnnuleringIn, BerichtIn, read_reason
from bode.intake.faults import Fault, Refused
from bode.intake.status import StatusReader

log = structlog.get_logger()

VERSION = "1.0.0"
_PROBLEM = "application/problem+json"


def problem(
    status: int, title: str, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response[Any]:
    """Give an answer that says what is wrong (RFC 9457), in the shape of the API Design Rules."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if faults:
        body["errors"] = [
            {"in": "body", "location": {"pointer": fault.pointer}, "code": fault.code, "detail": fault.detail}
            for fault in faults
        ]
    return Response(
        body,
        status_code=status,
        media_type=_PROBLEM,
        headers={"API-Version": VERSION, **(headers or {})},
    )


def on_refused(request: Request[Any, Any, Any], refused: Refused) -> Response[Any]:
    """Answer a refusal: 400, or 409 for a conflict, with every fault."""
    del request
    count = len(refused.faults)
    detail = refused.faults[0].detail if count == 1 else f"Er zijn {count} fouten gevonden; niets is opgeslagen."
    return problem(refused.status, refused.title, detail, refused.faults)


_TITLES = {
    400: ("Het verzoek klopt niet", "Het verzoek kan niet gelezen worden."),
    401: ("Geen toegang", "Stuur een geldige sleutel mee: 'Authorization: Bearer ...'."),
    404: ("Niet gevonden", "Er is niets op dit adres, of niet voor deze afzender."),
    405: ("Dit kan hier niet", "Deze methode bestaat niet op dit adres."),
    406: ("Niet beschikbaar", "Deze vorm van antwoord bestaat niet."),
    413: ("Te groot", "Het verzoek is te groot."),
    415: ("Verkeerde vorm", "Stuur application/json, niet ingepakt."),
}


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer every other refusal in the same shape. The framework's own text may quote the request: it is not used."""
    del request
    title, detail = _TITLES.get(error.status_code, ("Er ging iets mis", "Het verzoek is niet uitgevoerd."))
    given: Mapping[str, str] = dict(error.headers or {})
    keep = {key: value for key, value in given.items() if key.lower() in {"allow", "www-authenticate"}}
    return problem(error.status_code, title, detail, headers=keep)


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer our own defect: the sender may repeat the same request safely. The log names the error's type only."""
    template: str = dict[str, Any](request.scope).get("path_template", "")
    if isinstance(error, OperationalError):
        log.error("api.database_away", path_template=template, error=type(error.orig).__name__)
        text = "Het bericht kan nu niet worden opgeslagen. Stuur hetzelfde later nog eens: dat is veilig."
        return problem(503, "Even niet beschikbaar", text, headers={"Retry-After": "30"})
    log.error("api.defect", path_template=template, error=type(error).__name__)
    return problem(500, "Fout bij ons", "Er ging iets mis. Stuur hetzelfde bericht later nog eens: dat is veilig.")


class Keys:
    """Who calls, by the API key in `Authorization: Bearer`. Without keys (one machine, loopback) everybody may send."""

    def __init__(self, keys: Mapping[str, tuple[str, frozenset[str]]]) -> None:
        """Take the callers: the SHA-256 of each key in hexadecimal, with its name and organisations."""
        self._keys = keys

    def caller(self, header: str | None) -> Caller | None:
        """Give who calls; nothing for a missing or unknown key."""
        if not self._keys:
            return Caller("lokaal")
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        found = sha256(key.strip().encode()).hexdigest()
        matches = [who for known, who in self._keys.items() if compare_digest(known, found)]
        return Caller(matches[0][0], matches[0][1]) if matches else None

    def of(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Give who calls, or answer 401."""
        caller = self.caller(connection.headers.get("Authorization"))
        if caller is None:
            raise HTTPException(status_code=401, headers={"WWW-Authenticate": 'Bearer realm="bode"'})
        return caller

    async def guard(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let only known callers through, before anything of the request is read."""
        del handler
        self.of(connection)


def _described(accepted: Accepted) -> dict[str, Any]:
    return {
        "id": str(accepted.id),
        "afzender": accepted.organisation,
        "kenmerk": accepted.reference,
        "aangenomenTijdstip": timestamp(accepted.accepted_at),
    }


async def _found(status: StatusReader, message_id: UUID, caller: Caller) -> dict[str, Any]:
    seen = await status.read(message_id)
    # Another organisation's message is as unknown as no message at all.
    if seen is None or not caller.may(seen[0].organisation):
        raise NotFoundException
    return status.describe(*seen)


def _problem_spec(description: str) -> ResponseSpec:
    return ResponseSpec(dict[str, Any], description=description, media_type=_PROBLEM, generate_examples=False)


def openapi(schema: dict[str, Any]) -> dict[str, Any]:
    """Complete the framework's OpenAPI document: the body of a message is read by us, so that every fault is told."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for path, model in (("/v1/berichten", BerichtIn), ("/v1/berichten/{bericht_id}/annulering", AnnuleringIn)):
        described = model.model_json_schema(ref_template="#/components/schemas/{model}", by_alias=True)
        components.update({**described.pop("$defs", {}), model.__name__: described})
        schema["paths"][path]["post"]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}},
        }
    return schema


async def _json(request: Request[Any, Any, Any]) -> bytes:
    """Give the body of a request that says it is JSON, or answer 415."""
    if request.content_type[0].lower() not in {"application/json", ""} or "Content-Encoding" in request.headers:
        raise HTTPException(status_code=415)
    return await request.body()


def routes(intake: Intake, status: StatusReader, keys: Keys, *, max_body_bytes: int) -> Router:
    """Give the routes of the API, to be mounted in an application."""

    @post(
        "/berichten",
        status_code=202,
        summary="Lever een bericht aan om te bezorgen",
        description=(
            "Neemt een bericht aan. 202 betekent: opgeslagen, en het wordt bezorgd, op papier gestuurd of aan een "
            "medewerker getoond. Hetzelfde bericht nog eens sturen geeft hetzelfde antwoord; een ander bericht met "
            "hetzelfde kenmerk geeft 409."
        ),
        responses={
            400: _problem_spec("Het bericht klopt niet: alle fouten tegelijk"),
            401: _problem_spec("Geen geldige sleutel"),
            409: _problem_spec("Het kenmerk is in gebruik voor een ander bericht"),
        },
    )
    async def bericht_aanleveren(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        accepted = await intake.accept(await _json(request), route=Route.HTTP, caller=keys.of(request))
        return Response(
            _described(accepted),
            status_code=202,
            headers={"Location": f"/v1/berichten/{accepted.id}", "API-Version": VERSION},
        )

    @get("/berichten/{bericht_id:uuid}", summary="Vraag op hoe het met een bericht staat")
    async def bericht_opvragen(request: Request[Any, Any, Any], bericht_id: FromPath[UUID]) -> Response[dict[str, Any]]:
        return Response(await _found(status, bericht_id, keys.of(request)), headers={"API-Version": VERSION})

    @post(
        "/berichten/{bericht_id:uuid}/annulering",
        status_code=200,
        summary="Haal een bericht terug dat nog niet is verstuurd",
        description="Kan alleen zolang het bericht aan geen enkel kanaal is gegeven (Awb 2:12); daarna 409.",
    )
    async def bericht_annuleren(
        request: Request[Any, Any, Any], bericht_id: FromPath[UUID]
    ) -> Response[dict[str, Any]]:
        caller = keys.of(request)
        await _found(status, bericht_id, caller)
        reason = read_reason(await _json(request))
        await intake.cancel(bericht_id, by=caller.name, reason=reason)
        return Response(await _found(status, bericht_id, caller), headers={"API-Version": VERSION})

    return Router(
        "/v1",
        route_handlers=[bericht_aanleveren, bericht_opvragen, bericht_annuleren],
        guards=[keys.guard],
        request_max_body_size=max_body_bytes,
        tags=["berichten"],
    )
