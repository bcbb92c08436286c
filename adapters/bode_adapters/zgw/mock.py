"""Mock registers of a zaaksysteem, and its Notificaties API: strict about the contract, and wrong on command.

One server has all four. A call needs a token (HS256) of the known client, made less than an hour ago; the Zaken API
wants `Accept-Crs`; a verzending needs what the contract requires. `POST /_mock/gedrag` commands it: `http-NNN` for
reading, `schrijf-http-NNN` for writing, each with `keer`; `DELETE /_mock/gedrag` lets it behave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from litestar import Litestar, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from bode_adapters.contract import Clock

BASES: Final = {
    "besluiten": "/besluiten/api/v1",
    "zaken": "/zaken/api/v1",
    "documenten": "/documenten/api/v1",
}
_OLDEST_TOKEN_SECONDS: Final = 3600
_PAGE: Final = 100
_VERZENDING: Final = frozenset({"informatieobject", "betrokkene", "contactPersoon", "aardRelatie"})
_BESLUIT: Final = frozenset({"verzenddatum", "toelichting", "publicatiedatum", "uiterlijkeReactiedatum"})


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """A command: what to do wrong, how often, and from when on."""

    gedrag: str
    keer: int = 1
    na: int = 0
    """How many calls go well first."""


class MockZgw:
    """What the registers hold. `address` is the server's own, known once it is served."""

    def __init__(self, *, clock: Clock, client_id: str, secret: str) -> None:
        """Start empty."""
        self.clock = clock
        self.client_id = client_id
        self.secret = OctKey.import_key(secret)
        self.address = ""
        self.things: dict[str, dict[str, Any]] = {}
        """Everything by its address."""
        self.contents: dict[str, bytes] = {}
        self.links: list[dict[str, Any]] = []
        self.rollen: list[dict[str, Any]] = []
        self.verzendingen: list[dict[str, Any]] = []
        self.orders: list[Order] = []
        self.calls: list[tuple[str, str]] = []

    def url(self, register: str, kind: str, name: str = "") -> str:
        """Give the address of a thing, a new one without a name."""
        return f"{self.address}{BASES[register]}/{kind}/{name or uuid4()}"

    def add_case(self, *, betrokkene: Mapping[str, Any], email: str = "", kind: str = "natuurlijk_persoon") -> str:
        """Have a case with an initiator; gives its address."""
        zaak = self.url("zaken", "zaken")
        self.things[zaak] = {
            "url": zaak,
            "uuid": zaak.rpartition("/")[2],
            "identificatie": "ZAAK-2026-0000000001",
            "omschrijving": "Aanvraag dakkapel",
        }
        self.add_role(zaak, betrokkene=betrokkene, email=email, kind=kind)
        return zaak

    def add_role(
        self,
        zaak: str,
        *,
        betrokkene: Mapping[str, Any],
        email: str = "",
        kind: str = "natuurlijk_persoon",
        role: str = "initiator",
    ) -> str:
        """Have somebody take part in a case; gives the role's address."""
        url = self.url("zaken", "rollen")
        rol = {
            "url": url,
            "zaak": zaak,
            "betrokkene": "",
            "betrokkeneType": kind,
            "omschrijvingGeneriek": role,
            "contactpersoonRol": {"emailadres": email, "functie": "", "telefoonnummer": "", "naam": ""},
            "betrokkeneIdentificatie": dict(betrokkene),
        }
        self.rollen.append(rol)
        return url

    def add_decision(
        self, zaak: str, *, rsin: str, besluittype: str, datum: date, identificatie: str = "", **more: Any
    ) -> str:
        """Have a decision; gives its address."""
        url = self.url("besluiten", "besluiten")
        self.things[url] = {
            "url": url,
            "identificatie": identificatie or f"BESLUIT-2026-{len(self.things):06d}",
            "verantwoordelijkeOrganisatie": rsin,
            "besluittype": besluittype,
            "zaak": zaak,
            "datum": datum.isoformat(),
            "toelichting": "",
            "ingangsdatum": datum.isoformat(),
            "verzenddatum": None,
            "uiterlijkeReactiedatum": None,
            "vervalredenWeergave": "",
        } | more
        return url

    def add_document(self, content: bytes, **more: Any) -> str:
        """Have a document; gives its address."""
        url = self.url("documenten", "enkelvoudiginformatieobjecten")
        self.contents[url] = content
        self.things[url] = {
            "url": url,
            "titel": "Besluit",
            "versie": 1,
            "status": "definitief",
            "formaat": "application/pdf",
            "bestandsnaam": "besluit.pdf",
            "vertrouwelijkheidaanduiding": "zaakvertrouwelijk",
            "inhoud": f"{url}/download?versie=1",
            "bestandsomvang": len(content),
        } | more
        return url

    def link(self, besluit: str, document: str) -> dict[str, Any]:
        """Link a document to a decision; gives the notification that the Besluiten API sends of it."""
        url = self.url("besluiten", "besluitinformatieobjecten")
        self.links.append({"url": url, "informatieobject": document, "besluit": besluit})
        return {
            "kanaal": "besluiten",
            "hoofdObject": besluit,
            "resource": "besluitinformatieobject",
            "resourceUrl": url,
            "actie": "create",
            "aanmaakdatum": self.clock().isoformat(),
            "kenmerken": {"verantwoordelijkeOrganisatie": self.things[besluit]["verantwoordelijkeOrganisatie"]},
        }

    async def notify(self, notification: Mapping[str, Any], *, to: str, token: str) -> int:
        """Send a notification as the Notificaties API does; gives the status of the answer."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(to, json=dict(notification), headers={"Authorization": token})
        return answer.status_code

    def check(self, request: Request[Any, Any, Any]) -> None:
        """Refuse a call without a good token, and do what was ordered."""
        path, write = request.url.path, request.method != "GET"
        self.calls.append((request.method, path))
        kind = "schrijf-http-" if write else "http-"
        for order in self.orders:
            if order.gedrag.startswith(kind):
                order.na -= 1
                if order.na >= 0:
                    continue
                order.keer -= 1
                if order.keer == 0:
                    self.orders.remove(order)
                raise HTTPException(status_code=int(order.gedrag.removeprefix(kind)), detail="op bevel")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, self.secret, algorithms=["HS256"]).claims
        except (JoseError, ValueError):
            raise HTTPException(status_code=403, detail="jwt-invalid") from None
        missing = {"iss", "iat", "client_id", "user_id", "user_representation"} - claims.keys()
        age = self.clock().timestamp() - claims.get("iat", 0)
        if missing or claims["client_id"] != self.client_id or not -60 <= age <= _OLDEST_TOKEN_SECONDS:  # noqa: PLR2004
            raise HTTPException(status_code=403, detail="jwt-claims")
        if path.startswith(BASES["zaken"]) and "Accept-Crs" not in request.headers:
            raise HTTPException(status_code=406, detail="Accept-Crs")

    def page(self, register: str, kind: str, found: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
        """Give a page of things, as the registers do: a hundred, and where the next one is."""
        number = int(query.get("page", "1"))
        start = (number - 1) * _PAGE
        more = len(found) > start + _PAGE
        params = urlencode({**query, "page": str(number + 1)})
        following = f"{self.address}{BASES[register]}/{kind}?{params}" if more else None
        return {"count": len(found), "next": following, "previous": None, "results": found[start : start + _PAGE]}


@get(f"{BASES['besluiten']}/besluiten")
async def besluiten(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    wanted = request.query_params.get("verantwoordelijkeOrganisatie")
    found = [
        thing
        for thing in mock.things.values()
        if "besluittype" in thing and wanted in {None, thing["verantwoordelijkeOrganisatie"]}
    ]
    return mock.page("besluiten", "besluiten", found, _query(request))


@get(f"{BASES['besluiten']}/besluitinformatieobjecten")
async def links(request: Request[Any, Any, Any], state: State) -> list[dict[str, Any]]:
    mock: MockZgw = state.mock
    mock.check(request)
    return [link for link in mock.links if link["besluit"] == request.query_params.get("besluit", link["besluit"])]


@patch(f"{BASES['besluiten']}/besluiten/{{name:str}}", status_code=200)
async def change(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    thing = _known(mock, f"{mock.address}{request.url.path}")
    changes = json.loads(await request.body())
    if not changes or changes.keys() - _BESLUIT:
        raise HTTPException(status_code=400, detail="invalid")
    if "verzenddatum" in changes:
        date.fromisoformat(changes["verzenddatum"])
    thing.update(changes)
    return thing


@get([f"{BASES['besluiten']}/besluiten/{{name:str}}", f"{BASES['zaken']}/zaken/{{name:str}}"])
async def one(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    return _known(mock, f"{mock.address}{request.url.path}")


@get(f"{BASES['documenten']}/enkelvoudiginformatieobjecten/{{name:str}}")
async def document(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    return _known(mock, f"{mock.address}{request.url.path}")


@get(f"{BASES['documenten']}/enkelvoudiginformatieobjecten/{{name:str}}/download")
async def content(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock: MockZgw = state.mock
    mock.check(request)
    url = f"{mock.address}{request.url.path.removesuffix('/download')}"
    _known(mock, url)
    return Response(mock.contents[url], media_type="application/octet-stream")


@get(f"{BASES['zaken']}/rollen")
async def rollen(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    found = [rol for rol in mock.rollen if rol["zaak"] == request.query_params.get("zaak", rol["zaak"])]
    return mock.page("zaken", "rollen", found, _query(request))


@get(f"{BASES['documenten']}/verzendingen")
async def verzendingen(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    query = {name: value for name, value in _query(request).items() if name not in {"page", "pageSize"}}
    found = [item for item in mock.verzendingen if all(item.get(name) == value for name, value in query.items())]
    return mock.page("documenten", "verzendingen", found, _query(request))


@post(f"{BASES['documenten']}/verzendingen", status_code=201)
async def send(request: Request[Any, Any, Any], state: State) -> dict[str, Any]:
    mock: MockZgw = state.mock
    mock.check(request)
    body: dict[str, Any] = json.loads(await request.body())
    _known(mock, body.get("informatieobject", ""), status=400)
    if _VERZENDING - body.keys() or len(body["betrokkene"]) > 200:  # noqa: PLR2004 - as the contract has it
        raise HTTPException(status_code=400, detail="required")
    if body["aardRelatie"] == "geadresseerde" and not body.get("verzenddatum"):
        raise HTTPException(status_code=400, detail="verzenddatum")
    body["url"] = mock.url("documenten", "verzendingen")
    mock.verzendingen.append(body)
    return body


@post("/_mock/gedrag", status_code=204)
async def misbehave(request: Request[Any, Any, Any], state: State) -> None:
    mock: MockZgw = state.mock
    mock.orders.append(msgspec.json.decode(await request.body(), type=Order))


@delete("/_mock/gedrag")
async def behave(state: State) -> None:
    mock: MockZgw = state.mock
    mock.orders.clear()


def create_mock(*, clock: Clock, client_id: str, secret: str) -> Litestar:
    """Give the mock as an ASGI app; its `MockZgw` is `app.state.mock`."""
    mock = MockZgw(clock=clock, client_id=client_id, secret=secret)
    return Litestar(
        [besluiten, links, change, one, document, content, rollen, verzendingen, send, misbehave, behave],
        state=State({"mock": mock}),
        openapi_config=None,
        logging_config=None,
    )


def _query(request: Request[Any, Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in request.query_params.items()}


def _known(mock: MockZgw, url: str, status: int = 404) -> dict[str, Any]:
    if url not in mock.things:
        raise HTTPException(status_code=status, detail="not found")
    return mock.things[url]
