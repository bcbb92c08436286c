"""The HTTP API for zaaksystemen: Dutch field names, problem+json, every fault at once; never 422, never half stored.

Follows the Dutch API Design Rules: `/v1` in the path, the full version in `API-Version`, times named `...Tijdstip` in
UTC, no personal data in a URL.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated, Any
from uuid import UUID

import structlog
from litestar import Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, Parameter
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send

from bode.domain.message import Nature
from bode.domain.terms import utc
from bode.intake import bulk
from bode.intake.accept import Caller, Intake, Route
from bode.intake.body import AnnuleringIn, BerichtIn, read_reason
from bode.intake.faults import Fault, Refused
from bode.intake.status import StatusReader
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

VERSION = "1.0.0"
_PROBLEM = "application/problem+json"
_PAGE = 100
"""Messages on a page of a search."""


def problem(
    status: int, title: str, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response[Any]:
    """Give an answer that says what is wrong (RFC 9457), in the shape of the API Design Rules."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if faults:
        body["errors"] = bulk.faults_described(faults)
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
    408: ("Te langzaam", "Het verzoek kwam niet op tijd binnen; er is niets opgeslagen."),
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
    if isinstance(error, DATABASE_AWAY):
        cause = getattr(error, "orig", None) or error
        log.error("api.database_away", path_template=template, error=type(cause).__name__)
        text = "Het bericht kan nu niet worden opgeslagen. Stuur hetzelfde later nog eens: dat is veilig."
        return problem(503, "Even niet beschikbaar", text, headers={"Retry-After": "30"})
    log.error("api.defect", path_template=template, error=type(error).__name__)
    return problem(500, "Fout bij ons", "Er ging iets mis. Stuur hetzelfde bericht later nog eens: dat is veilig.")


class ForWhom(StrEnum):
    """Whom an extract of evidence is for (Awb 2:25)."""

    GEADRESSEERDE = "geadresseerde"
    """What was sent, noticed and came back."""
    AFZENDER = "afzender"
    """Everything."""


Extract = Callable[[UUID, ForWhom, str], Awaitable[bytes | None]]
"""Makes the ZIP of a message's evidence for somebody, by the name of who asks; nothing while it cannot be signed."""


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


def _cursor(after: tuple[datetime, UUID]) -> str:
    """Write where the next page starts, as one opaque word. It gives no right: the tenant is asked every time."""
    return urlsafe_b64encode(f"{after[0].isoformat()} {after[1]}".encode()).decode().rstrip("=")


def _read_cursor(word: str) -> tuple[datetime, UUID]:
    try:
        at, _, last = urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode().partition(" ")
        return utc(datetime.fromisoformat(at)), UUID(last)
    except ValueError:
        text = "Dit is geen cursor: neem die van het vorige antwoord over, of laat hem weg."
        raise Refused([Fault("#/cursor", "cursor", text)]) from None


class _Rows(ASGIStreamingResponse):
    """Sends while the request is still read: whoever listens for the end of the request here would eat its rows."""

    async def send_body(self, send: Send, receive: Receive) -> None:
        del receive
        await self._stream(send)


class _Answers(Stream):
    """Lines of answer, sent by `_Rows`."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__(lines, media_type="application/x-ndjson", headers={"API-Version": VERSION}, status_code=200)
        self._lines = lines

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **how: Any) -> ASGIResponse:
        del app, request
        return _Rows(
            iterator=self._lines,
            headers={**(how.get("headers") or {}), **self.headers},
            encoded_headers=how.get("encoded_headers"),
            media_type=self.media_type,
            status_code=200,
        )


async def _pieces(request: Request[Any, Any, Any], seconds: float) -> AsyncIterator[bytes]:
    """Give the body as it comes in. Raises `TimeoutError` when nothing comes for so long."""
    stream = request.stream()
    while True:
        async with asyncio.timeout(seconds):
            try:
                piece = await anext(stream)
            except StopAsyncIteration:
                return
        yield piece


async def _found(status: StatusReader, message_id: UUID, caller: Caller) -> dict[str, Any]:
    seen = await status.read(message_id)
    # Another organisation's message is as unknown as no message at all.
    if seen is None:
        raise NotFoundException
    if not caller.may(seen[0].organisation):
        log.warning("api.refused_tenant", caller=caller.name, message=str(message_id))
        raise NotFoundException
    return status.describe(*seen)


def _problem_spec(description: str) -> ResponseSpec:
    return ResponseSpec(dict[str, Any], description=description, media_type=_PROBLEM, generate_examples=False)


def openapi(schema: dict[str, Any]) -> dict[str, Any]:
    """Complete the framework's OpenAPI document: the body of a message is read by us, so that every fault is told."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for path, model in (
        ("/v1/berichten", BerichtIn),
        ("/v1/berichten/{bericht_id}/annulering", AnnuleringIn),
    ):
        described = model.model_json_schema(ref_template="#/components/schemas/{model}", by_alias=True)
        components.update({**described.pop("$defs", {}), model.__name__: described})
        schema["paths"][path]["post"]["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}},
        }
    withdrawal = dict(components["BerichtIn"])
    withdrawal["title"] = "IntrekkingIn"
    withdrawal["properties"] = {k: v for k, v in withdrawal["properties"].items() if k not in _FOLLOWS}
    withdrawal["required"] = [name for name in withdrawal["required"] if name not in _FOLLOWS]
    components["IntrekkingIn"] = withdrawal
    schema["paths"]["/v1/berichten/{bericht_id}/intrekking"]["post"]["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/IntrekkingIn"}}},
    }
    schema["paths"]["/v1/berichten/bulk"]["post"]["requestBody"] = {
        "required": True,
        "description": "Op elke regel een bericht, zoals bij POST /v1/berichten.",
        "content": {kind: {"schema": {"type": "string"}} for kind in sorted(_ROWS)},
    }
    return schema


_FOLLOWS = ("afzender", "aard", "betreft")
"""What a withdrawal has from the message that it withdraws."""
_ROWS = frozenset({"application/jsonl", "application/x-ndjson"})


async def _json(request: Request[Any, Any, Any], seconds: float) -> bytes:
    """Give the body of a request that says it is JSON, or answer 415; 408 where it stops coming."""
    if request.content_type[0].lower() not in {"application/json", ""} or "Content-Encoding" in request.headers:
        raise HTTPException(status_code=415)
    try:
        return b"".join([piece async for piece in _pieces(request, seconds)])
    except TimeoutError:
        raise HTTPException(status_code=408) from None


def _rows_route(intake: Intake, keys: Keys, *, max_body_bytes: int, client_timeout: float) -> HTTPRouteHandler:
    @post(
        "/berichten/bulk",
        status_code=200,
        media_type="application/x-ndjson",
        request_max_body_size=None,
        summary="Lever veel berichten aan, één per regel",
        description=(
            "JSON Lines, zo lang als nodig. Het antwoord heeft per rij een regel, in dezelfde volgorde, met het nummer "
            "van de regel (rij) en de status die het bericht alleen ook had gehad (202, 400 of 409). Een rij met "
            "fouten raakt de andere niet. Het hele bestand nog eens sturen is veilig. Een rij met status 500, 503 of "
            "408, of zonder regel, stuurt u opnieuw."
        ),
        responses={
            401: _problem_spec("Geen geldige sleutel"),
            415: _problem_spec("Geen JSON Lines"),
        },
    )
    async def berichten_aanleveren(request: Request[Any, Any, Any]) -> Stream:
        caller = keys.of(request)
        if request.content_type[0].lower() not in _ROWS or "Content-Encoding" in request.headers:
            raise HTTPException(status_code=415)
        rows = bulk.answers(intake, _pieces(request, client_timeout), caller=caller, longest=max_body_bytes)
        return _Answers(bulk.spooled(rows))

    return berichten_aanleveren


def _search_route(status: StatusReader, keys: Keys) -> HTTPRouteHandler:
    @get(
        "/berichten",
        summary="Zoek berichten op kenmerk of zaak",
        description="De nieuwste eerst, alleen van de afzenders waarvoor de sleutel geldt; verder met volgendeCursor.",
        responses={
            400: _problem_spec("Een zoekwaarde klopt niet"),
            401: _problem_spec("Geen geldige sleutel"),
        },
    )
    async def berichten_zoeken(
        request: Request[Any, Any, Any],
        kenmerk: Annotated[str | None, Parameter(max_length=25)] = None,
        zaakkenmerk: Annotated[str | None, Parameter(max_length=64)] = None,
        afzender: Annotated[str | None, Parameter(pattern=r"^[0-9]{20}$")] = None,
        cursor: Annotated[str | None, Parameter(max_length=200)] = None,
    ) -> Response[dict[str, Any]]:
        caller = keys.of(request)
        if afzender is None:
            organisations = caller.organisations
        elif caller.may(afzender):
            organisations = frozenset({afzender})
        else:
            log.warning("api.refused_tenant", caller=caller.name, organisation=afzender)
            organisations = frozenset[str]()
        listed, following = await status.search(
            organisations=organisations,
            reference=kenmerk,
            case=zaakkenmerk,
            after=_read_cursor(cursor) if cursor is not None else None,
            limit=_PAGE,
        )
        return Response(
            {"berichten": listed, "volgendeCursor": _cursor(following) if following is not None else None},
            headers={"API-Version": VERSION},
        )

    return berichten_zoeken


def _withdrawal_route(intake: Intake, status: StatusReader, keys: Keys, *, client_timeout: float) -> HTTPRouteHandler:
    @post(
        "/berichten/{bericht_id:uuid}/intrekking",
        status_code=202,
        summary="Trek een verstuurd bericht in, met een nieuw bericht",
        description=(
            "Maakt een nieuw bericht met de aard intrekking, van dezelfde afzender, dat het eerdere noemt (Awb 2:12). "
            "Het eerdere bericht blijft staan. Stuur alles wat bij een bericht hoort, behalve afzender, aard en "
            "betreft. Een wijziging is een gewoon bericht met de aard wijziging."
        ),
        responses={
            400: _problem_spec("Het bericht klopt niet: alle fouten tegelijk"),
            401: _problem_spec("Geen geldige sleutel"),
            404: _problem_spec("Er is geen bericht met dit id"),
            409: _problem_spec("Het kenmerk is in gebruik voor een ander bericht"),
        },
    )
    async def bericht_intrekken(
        request: Request[Any, Any, Any], bericht_id: FromPath[UUID]
    ) -> Response[dict[str, Any]]:
        caller = keys.of(request)
        earlier = await _found(status, bericht_id, caller)
        accepted = await intake.accept(
            await _json(request, client_timeout),
            route=Route.HTTP,
            caller=caller,
            also={"afzender": earlier["afzender"], "aard": Nature.INTREKKING.value, "betreft": earlier["kenmerk"]},
        )
        return Response(
            bulk.described(accepted),
            status_code=202,
            headers={"Location": f"/v1/berichten/{accepted.id}", "API-Version": VERSION},
        )

    return bericht_intrekken


def _evidence_route(status: StatusReader, keys: Keys, extract: Extract | None) -> HTTPRouteHandler:
    @get(
        "/berichten/{bericht_id:uuid}/bewijs",
        media_type="application/zip",
        summary="Haal een afschrift van het bewijs op",
        description=(
            "Een ZIP die iedereen kan nagaan zonder ons te vertrouwen (Awb 2:25). Dat het afschrift is gegeven, en "
            "voor wie, komt in het bewijs te staan; daarom is elk afschrift een ander. Kan tot 30 seconden duren."
        ),
        responses={
            400: _problem_spec("voor is geadresseerde of afzender"),
            401: _problem_spec("Geen geldige sleutel"),
            404: _problem_spec("Er is geen bericht met dit id, of hier wordt geen bewijs bewaard"),
            503: _problem_spec("Het afschrift is nog niet ondertekend: vraag het later nog eens"),
        },
    )
    async def bewijs_opvragen(
        request: Request[Any, Any, Any], bericht_id: FromPath[UUID], voor: FromQuery[ForWhom] = ForWhom.AFZENDER
    ) -> Response[Any]:
        caller = keys.of(request)
        await _found(status, bericht_id, caller)
        if extract is None:
            raise NotFoundException
        made = await extract(bericht_id, voor, caller.name)
        if made is None:
            text = "Het afschrift is nog niet ondertekend. Vraag het later nog eens."
            return problem(503, "Even niet beschikbaar", text, headers={"Retry-After": "30"})
        return Response(
            made,
            media_type="application/zip",
            headers={
                "API-Version": VERSION,
                "Content-Disposition": f'attachment; filename="afschrift-{bericht_id}.zip"',
            },
        )

    return bewijs_opvragen


def routes(
    intake: Intake,
    status: StatusReader,
    keys: Keys,
    *,
    max_body_bytes: int,
    client_timeout: float = 30.0,
    extract: Extract | None = None,
) -> Router:
    """Give the routes of the API, to be mounted in an application. `client_timeout` is in seconds."""

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
        accepted = await intake.accept(await _json(request, client_timeout), route=Route.HTTP, caller=keys.of(request))
        return Response(
            bulk.described(accepted),
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
        reason = read_reason(await _json(request, client_timeout))
        await intake.cancel(bericht_id, by=caller.name, reason=reason)
        return Response(await _found(status, bericht_id, caller), headers={"API-Version": VERSION})

    return Router(
        "/v1",
        route_handlers=[
            bericht_aanleveren,
            _rows_route(intake, keys, max_body_bytes=max_body_bytes, client_timeout=client_timeout),
            _search_route(status, keys),
            bericht_opvragen,
            bericht_annuleren,
            _evidence_route(status, keys, extract),
            _withdrawal_route(intake, status, keys, client_timeout=client_timeout),
        ],
        guards=[keys.guard],
        request_max_body_size=max_body_bytes,
        tags=["berichten"],
    )
