"""The HTTP API for zaaksystemen: Dutch field names, problem+json, every fault at once; never half stored.

Follows the Dutch API Design Rules: `/v1` in the path, the full version in `API-Version`, times named `...Tijdstip` in
UTC, no personal data in a URL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import structlog
from litestar import Request, Response, Router, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, Parameter
from litestar.response import Stream
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send

from bode.domain.message import Nature
from bode.intake import bulk
from bode.intake import cursor as cursors
from bode.intake.accept import Accepted, Caller, Intake, Route
from bode.intake.applications import Doorkeeper, caller_of
from bode.intake.bodies import Bodies
from bode.intake.body import read_reason
from bode.intake.openapi import ROWS
from bode.intake.problems import problem
from bode.intake.repeats import Repeats
from bode.intake.scopes import Scope
from bode.intake.status import StatusReader
from bode.intake.together import Together

log = structlog.get_logger()

_PAGE = 100
"""Messages on a page of a search."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class ForWhom(StrEnum):
    """Whom an extract of evidence is for (Awb 2:25)."""

    GEADRESSEERDE = "geadresseerde"
    """What was sent, noticed and came back."""
    AFZENDER = "afzender"
    """Everything."""


Extract = Callable[[UUID, ForWhom, str], Awaitable[bytes | None]]
"""Makes the ZIP of a message's evidence for somebody, by the name of who asks; nothing while it cannot be signed."""


def _cursor(after: tuple[datetime, UUID]) -> str:
    at, last = after
    return cursors.write("z1", str((at - _EPOCH) // _MICROSECOND), last.hex)


def _read_cursor(word: str) -> tuple[datetime, UUID]:
    at, *rest = cursors.read("z1", word, "cursor")
    try:
        (last,) = rest
        return _EPOCH + int(at) * _MICROSECOND, UUID(last)
    except (ValueError, OverflowError):
        raise cursors.not_ours("cursor") from None


class _Rows(ASGIStreamingResponse):
    """Sends while the request is still read: whoever listens for the end of the request here would eat its rows."""

    async def send_body(self, send: Send, receive: Receive) -> None:
        del receive
        await self._stream(send)


class _Answers(Stream):
    """Lines of answer, sent by `_Rows`."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        super().__init__(lines, media_type="application/x-ndjson", status_code=200)
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


async def _found(status: StatusReader, message_id: UUID, caller: Caller) -> dict[str, Any]:
    seen = await status.read(message_id)
    # Another organisation's message is as unknown as no message at all.
    if seen is None:
        raise NotFoundException
    if not caller.may(seen[0].organisation):
        log.warning("api.refused_tenant", caller=caller.name, message=str(message_id))
        raise NotFoundException
    return status.describe(*seen)


def _rows_route(intake: Intake, bodies: Bodies) -> HTTPRouteHandler:
    @post(
        "/berichten/bulk",
        opt={"scope": Scope.SEND},
        operation_id="berichtenAanleveren",
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
    )
    async def berichten_aanleveren(request: Request[Any, Any, Any]) -> Stream:
        if request.content_type[0].lower() not in ROWS or "Content-Encoding" in request.headers:
            raise HTTPException(status_code=415)
        bodies.room.admit(bodies.most)
        rows = bulk.answers(
            intake,
            bodies.pieces(request),
            caller=caller_of(request),
            longest=bodies.most,
            has_room=lambda: bodies.room.disk_has_room,
        )
        return _Answers(_held(bodies, bulk.spooled(rows)))

    return berichten_aanleveren


async def _held(bodies: Bodies, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the lines, and count what is held for them for as long as they come: a row of the longest."""
    with bodies.room.held(bodies.most):
        async for line in lines:
            yield line


def _search_route(status: StatusReader) -> HTTPRouteHandler:
    @get(
        "/berichten",
        opt={"scope": Scope.READ},
        operation_id="berichtenZoeken",
        summary="Zoek berichten op kenmerk of zaak",
        description="De nieuwste eerst, alleen van de afzenders waarvoor de sleutel geldt; verder met volgendeCursor.",
    )
    async def berichten_zoeken(
        request: Request[Any, Any, Any],
        kenmerk: Annotated[str | None, Parameter(max_length=25)] = None,
        zaakkenmerk: Annotated[str | None, Parameter(max_length=64)] = None,
        afzender: Annotated[str | None, Parameter(pattern=r"^[0-9]{20}$")] = None,
        cursor: Annotated[str | None, Parameter(max_length=200)] = None,
    ) -> Response[dict[str, Any]]:
        caller = caller_of(request)
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
        )

    return berichten_zoeken


def _withdrawal_route(intake: Intake, status: StatusReader, bodies: Bodies, repeats: Repeats) -> HTTPRouteHandler:
    @post(
        "/berichten/{bericht_id:uuid}/intrekking",
        opt={"scope": Scope.SEND},
        operation_id="berichtIntrekken",
        status_code=202,
        summary="Trek een verstuurd bericht in, met een nieuw bericht",
        description=(
            "Maakt een nieuw bericht met de aard intrekking, van dezelfde afzender, dat het eerdere noemt (Awb 2:12). "
            "Het eerdere bericht blijft staan. Stuur alles wat bij een bericht hoort, behalve afzender, aard en "
            "betreft. Een wijziging is een gewoon bericht met de aard wijziging."
        ),
    )
    async def bericht_intrekken(request: Request[Any, Any, Any], bericht_id: FromPath[UUID]) -> Response[Any]:
        caller = caller_of(request)
        earlier = await _found(status, bericht_id, caller)
        follows = {"afzender": earlier["afzender"], "aard": Nature.INTREKKING.value, "betreft": earlier["kenmerk"]}
        async with bodies.message(request) as raw:

            async def do() -> Response[Any]:
                return _accepted(await intake.accept(raw, route=Route.HTTP, caller=caller, also=follows))

            return await repeats.once(request, raw, do)

    return bericht_intrekken


def _accepted(accepted: Accepted) -> Response[Any]:
    return Response(bulk.described(accepted), status_code=202, headers={"Location": f"/v1/berichten/{accepted.id}"})


def _evidence_route(status: StatusReader, extract: Extract | None) -> HTTPRouteHandler:
    @get(
        "/berichten/{bericht_id:uuid}/bewijs",
        opt={"scope": Scope.EVIDENCE},
        operation_id="bewijsOpvragen",
        media_type="application/zip",
        summary="Haal een afschrift van het bewijs op",
        description=(
            "Een ZIP die iedereen kan nagaan zonder ons te vertrouwen (Awb 2:25). Dat het afschrift is gegeven, en "
            "voor wie, komt in het bewijs te staan; daarom is elk afschrift een ander. Kan tot 30 seconden duren."
        ),
    )
    async def bewijs_opvragen(
        request: Request[Any, Any, Any], bericht_id: FromPath[UUID], voor: FromQuery[ForWhom] = ForWhom.AFZENDER
    ) -> Response[Any]:
        caller = caller_of(request)
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
                "Content-Disposition": f'attachment; filename="afschrift-{bericht_id}.zip"',
            },
        )

    return bewijs_opvragen


def routes(
    intake: Intake,
    status: StatusReader,
    doors: Doorkeeper,
    bodies: Bodies,
    repeats: Repeats,
    *,
    extract: Extract | None = None,
) -> Router:
    """Give the routes of the API, to be mounted in an application."""
    together = Together(intake)

    @post(
        "/berichten",
        opt={"scope": Scope.SEND},
        operation_id="berichtAanleveren",
        status_code=202,
        summary="Lever een bericht aan om te bezorgen",
        description=(
            "Neemt een bericht aan. 202 betekent: opgeslagen, en het wordt bezorgd, op papier gestuurd of aan een "
            "medewerker getoond. Hetzelfde bericht nog eens sturen geeft hetzelfde antwoord; een ander bericht met "
            "hetzelfde kenmerk geeft 409. Documenten gaan mee in het bericht, als onderdelen van multipart/form-data, "
            "of als adres bij een bron die voor de afzender is ingericht."
        ),
    )
    async def bericht_aanleveren(request: Request[Any, Any, Any]) -> Response[Any]:
        async with bodies.message(request) as raw:

            async def do() -> Response[Any]:
                return _accepted(await together.accept(raw, route=Route.HTTP, caller=caller_of(request)))

            return await repeats.once(request, raw, do)

    @get(
        "/berichten/{bericht_id:uuid}",
        opt={"scope": Scope.READ},
        operation_id="berichtOpvragen",
        summary="Vraag op hoe het met een bericht staat",
    )
    async def bericht_opvragen(request: Request[Any, Any, Any], bericht_id: FromPath[UUID]) -> dict[str, Any]:
        return await _found(status, bericht_id, caller_of(request))

    @post(
        "/berichten/{bericht_id:uuid}/annulering",
        opt={"scope": Scope.SEND},
        operation_id="berichtAnnuleren",
        status_code=200,
        summary="Haal een bericht terug dat nog niet is verstuurd",
        description="Kan alleen zolang het bericht aan geen enkel kanaal is gegeven (Awb 2:12); daarna 409.",
    )
    async def bericht_annuleren(request: Request[Any, Any, Any], bericht_id: FromPath[UUID]) -> Response[Any]:
        caller = caller_of(request)
        await _found(status, bericht_id, caller)
        async with bodies.json(request) as raw:

            async def do() -> Response[Any]:
                await intake.cancel(bericht_id, by=caller.name, reason=read_reason(raw))
                return Response(await _found(status, bericht_id, caller), status_code=200)

            return await repeats.once(request, raw, do)

    return Router(
        "/v1",
        route_handlers=[
            bericht_aanleveren,
            _rows_route(intake, bodies),
            _search_route(status),
            bericht_opvragen,
            bericht_annuleren,
            _evidence_route(status, extract),
            _withdrawal_route(intake, status, bodies, repeats),
        ],
        guards=[doors.guard],
        request_max_body_size=bodies.most,
        tags=["berichten"],
    )
