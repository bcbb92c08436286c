"""A mock of the profile service (profiel-service API 1.0.0): strict about the contract, and wrong on command.

It has models of its own, apart from the adapter's. It offers what a sender asks (`POST .../partij`), and what an
addressee does to have something found: `POST .../voorkeur`, and `POST /_mock/partijen` for a whole profile.

`POST /_mock/gedrag` commands it, `DELETE /_mock/gedrag` lets it behave again, `GET /_mock/vragen` tells how many
questions it got. What can be commanded, besides `http-NNN`:

- `verkeerd-pad`: answers as a service of others would, with a bare 404;
- `niemand-bekend`: knows nobody, with the contract's own 404;
- `onbekende-waarde`: gives the preference the value in `code`;
- `ander`: gives the profile of somebody else;
- `timeout`, `verbreek`, `onleesbaar`: no answer, half an answer, one that cannot be read.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

import msgspec
from litestar import Litestar, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from bode_adapters.contract import Clock
from bode_adapters.serving import Misbehaviour, Order, wrong_answer

_BASE: Final = "/api/profielservice/v1"
_Text = Annotated[str, msgspec.Meta(pattern=r"\S")]
_Kind = Literal["BSN", "KVK", "RSIN"]
_LENGTHS: Final = {"BSN": 9, "KVK": 8, "RSIN": 9}
_GEDRAG: Final = ("verkeerd-pad", "niemand-bekend", "onbekende-waarde", "ander", "timeout", "verbreek", "onleesbaar")
_NOTHING_HERE: Final = 404


class PartijRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Schema PartijRequest."""

    identificatie_type: _Kind
    identificatie_nummer: _Text
    dienstverlener: str | None = None
    dienst_naam: str | None = None


class ScopeRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Schema ScopeRequest."""

    dienstverlener_naam: str | None = None
    dienst_naam: str | None = None


class VoorkeurRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Schema VoorkeurRequest."""

    identificatie_type: _Kind
    identificatie_nummer: _Text
    voorkeur_type: Literal["WebsiteTaal", "MagGebeldWorden", "WebsiteThema", "Aanhef", "OntvangViaBerichtenbox"]
    waarde: str
    scope: ScopeRequest | None = None
    te_verwijderen_op: datetime | None = None


class NewParty(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A whole profile for the mock to have: whom it is of, and the lists of the contract's PartijResponse."""

    identificatie_type: _Kind
    identificatie_nummer: _Text
    voorkeuren: list[dict[str, Any]] = []
    contactgegevens: list[dict[str, Any]] = []


class MockProfielservice:
    """The state of the mock: the profiles it has, and what it was told to do wrong."""

    def __init__(self, *, clock: Clock, token: str | None) -> None:
        self.clock = clock
        self.token = token
        self.parties: dict[tuple[str, str], NewParty] = {}
        self.misbehaviour = Misbehaviour(_GEDRAG)
        self.questions = 0

    def knows(
        self,
        kind: str,
        number: str,
        *,
        receives: str | None = None,
        email: str | None = None,
        verified: bool = True,
    ) -> None:
        """Have a profile with one preference and one address, said in general."""
        now = _time(self.clock())
        times: dict[str, Any] = {"createdAt": now, "lastUpdated": now, "scopes": []}
        wish: dict[str, Any] = {
            "id": str(uuid4()),
            "voorkeurType": "OntvangViaBerichtenbox",
            "waarde": receives,
        } | times
        contact: dict[str, Any] = {
            "id": str(uuid4()),
            "type": "Email",
            "waarde": email,
            "isGeverifieerd": verified,
        } | times
        self.parties[kind, number] = msgspec.convert(
            {
                "identificatieType": kind,
                "identificatieNummer": number,
                "voorkeuren": [wish] if receives is not None else [],
                "contactgegevens": [contact | {"isDefault": True}] if email is not None else [],
            },
            NewParty,
        )


def create_mock(*, clock: Clock, token: str | None = None) -> Litestar:
    """Give the mock as an ASGI app; its `MockProfielservice` is `app.state.mock`. With a `token` calls need it."""
    mock = MockProfielservice(clock=clock, token=token)
    return Litestar(
        [_partij, _voorkeur, _new_party, _command, _behave, _questions],
        state=State({"mock": mock}, deep_copy=False),
        exception_handlers={HTTPException: _bare},
        openapi_config=None,
        logging_config=None,
    )


@post(f"{_BASE}/partij", status_code=200)
async def _partij(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    mock.questions += 1
    if (refused := _admit(request, mock)) is not None:
        return refused
    try:
        question = msgspec.json.decode(await request.body(), type=PartijRequest)
    except msgspec.MsgspecError as fault:
        return _problem(400, str(fault))
    if not _valid(question.identificatie_type, question.identificatie_nummer):
        return _problem(400, f"identificatieNummer is not a {question.identificatie_type}")
    order = mock.misbehaviour.take(ontvangers={question.identificatie_nummer}, prefixes=("http-", *_GEDRAG))
    if order is not None and (wrong := await _wrong(request, order)) is not None:
        return wrong
    gedrag = order.gedrag if order is not None else ""
    party = mock.parties.get((question.identificatie_type, question.identificatie_nummer))
    if party is None or gedrag == "niemand-bekend":
        return _problem(_NOTHING_HERE, "Partij niet gevonden of is verwijderd")
    wishes = party.voorkeuren
    if order is not None and gedrag == "onbekende-waarde":
        wishes = [wish | {"waarde": order.code or "misschien"} for wish in wishes]
    number = "123456782" if gedrag == "ander" else question.identificatie_nummer
    return _json({
        "partijId": str(uuid4()),
        "identificaties": [{"identificatieType": question.identificatie_type, "identificatieNummer": number}],
        "voorkeuren": wishes,
        "contactgegevens": party.contactgegevens,
    })  # fmt: skip


async def _wrong(request: Request[Any, Any, Any], order: Order) -> Response[bytes] | None:
    """Give the answer that is wrong as a whole; nothing where only what is in it is to be wrong."""
    match order.gedrag:
        case "verkeerd-pad":
            return Response(b"not found", media_type="text/plain", status_code=_NOTHING_HERE)
        case gedrag if gedrag.startswith("http-"):
            return _problem(order.status, "as commanded", headers=order.headers)
        case _:
            return await wrong_answer(request, order, status=200)


@post(f"{_BASE}/voorkeur", status_code=201)
async def _voorkeur(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    if (refused := _admit(request, mock)) is not None:
        return refused
    try:
        wish = msgspec.json.decode(await request.body(), type=VoorkeurRequest)
    except msgspec.MsgspecError as fault:
        return _problem(400, str(fault))
    party = mock.parties.setdefault(
        (wish.identificatie_type, wish.identificatie_nummer),
        NewParty(identificatie_type=wish.identificatie_type, identificatie_nummer=wish.identificatie_nummer),
    )
    now = _time(mock.clock())
    made: dict[str, Any] = {
        "id": str(uuid4()),
        "voorkeurType": wish.voorkeur_type,
        "waarde": wish.waarde,
        "createdAt": now,
        "lastUpdated": now,
        "scopes": [msgspec.to_builtins(wish.scope)] if wish.scope is not None else [],
    }
    party.voorkeuren.append(made)
    return _json(made, status=201)


@post("/_mock/partijen", status_code=204)
async def _new_party(request: Request[Any, Any, Any], state: State) -> None:
    try:
        party = msgspec.json.decode(await request.body(), type=NewParty)
    except msgspec.MsgspecError as fault:
        raise HTTPException(str(fault), status_code=400) from None
    _mock(state).parties[party.identificatie_type, party.identificatie_nummer] = party


@post("/_mock/gedrag", status_code=204)
async def _command(request: Request[Any, Any, Any], state: State) -> None:
    try:
        _mock(state).misbehaviour.give(msgspec.json.decode(await request.body(), type=Order))
    except (msgspec.MsgspecError, ValueError) as fault:
        raise HTTPException(str(fault), status_code=400) from None


@delete("/_mock/gedrag")
async def _behave(state: State) -> None:
    _mock(state).misbehaviour.clear()


@get("/_mock/vragen")
async def _questions(state: State) -> Response[bytes]:
    return _json({"aantal": _mock(state).questions})


# --------------------------------------------------------------------------------------------------------------- parts


def _mock(state: State) -> MockProfielservice:
    mock = state.mock
    assert isinstance(mock, MockProfielservice)
    return mock


def _admit(request: Request[Any, Any, Any], mock: MockProfielservice) -> Response[bytes] | None:
    if mock.token is not None and request.headers.get("Authorization") != f"Bearer {mock.token}":
        return _problem(401, "the token is not known")
    if request.content_type[0] != "application/json":
        return _problem(415, "Content-Type is not application/json")
    return None


def _valid(kind: str, number: str) -> bool:
    if not re.fullmatch(rf"[0-9]{{{_LENGTHS[kind]}}}", number) or not int(number):
        return False
    digits = [int(digit) for digit in number]
    return kind == "KVK" or (sum((9 - n) * digit for n, digit in enumerate(digits[:8])) - digits[8]) % 11 == 0


def _bare(_: Request[Any, Any, Any], fault: HTTPException) -> Response[bytes]:
    """Answer as what stands at another address does: a path that is not there is no problem document."""
    return Response(fault.detail.encode(), media_type="text/plain", status_code=fault.status_code)


def _problem(status: int, title: str, *, headers: dict[str, str] | None = None) -> Response[bytes]:
    body = {"type": "about:blank", "title": title, "status": status, "instance": f"urn:uuid:{uuid4()}"}
    content = msgspec.json.encode(body)
    return Response(content, status_code=status, headers=headers or {}, media_type="application/problem+json")


def _json(body: object, *, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
