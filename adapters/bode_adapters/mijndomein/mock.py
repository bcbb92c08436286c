"""A mock of the FBS message store (Berichtenmagazijn 0.2.0): strict about the contract, and wrong on command.

It has models of its own, apart from the adapter's, so that a mistake in one shows in the other. Fields outside the
contract are refused, which the real one need not do.

`POST /_mock/gedrag` commands it, `GET /_mock/plaatsingen` tells what was really placed, `DELETE /_mock/gedrag` lets it
behave again. What can be commanded, besides `http-NNN` (answers with that status, stores nothing) and `vraag-http-NNN`
(the same for reading):

- `ontvanger-onbekend`: the portal does not know the addressee;
- `onbekende-code`: refuses with the problem type in `code`;
- `timeout-na-acceptatie`, `verbreek`, `onleesbaar`, `fout-na-acceptatie`: the message is stored, and then there is no
  answer, half an answer, an answer that cannot be read, or status 500;
- `lijst-verschuift`: a list changes between two of its pages.
"""

import base64
import binascii
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4, uuid5

import msgspec
from litestar import Litestar, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from bode_adapters.contract import Clock, IdentifierKind
from bode_adapters.serving import AFTER_TAKING, Misbehaviour, Order, wrong_answer

_VERSION: Final = "0.2.0"
_MOST_TEXT_BYTES: Final = 1_048_576
_ONTVANGER: Final = re.compile(r"BSN:[0-9]{9}|RSIN:[0-9]{9}|KVK:[0-9]{8}|OIN:[0-9]{20}")
_LENGTHS: Final = {"BSN": 9, "RSIN": 9, "KVK": 8, "OIN": 20}
_REFERENCE: Final = re.compile(r"Kenmerk: (.*)\Z")
_TYPES: Final = "https://mock.invalid/problemen/"

_BEFORE_STORING: Final = ("ontvanger-onbekend", "onbekende-code")
_ON_A_LIST: Final = ("lijst-verschuift",)


class Identificatienummer(msgspec.Struct, forbid_unknown_fields=True):
    """Schema Identificatienummer."""

    type: Literal["BSN", "RSIN", "KVK", "OIN"]
    waarde: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,20}$", min_length=8, max_length=20)]

    def __str__(self) -> str:
        """Write it as the header X-Ontvanger does."""
        return f"{self.type}:{self.waarde}"


class BijlageAanleverenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Schema BijlageAanleverenRequest."""

    naam: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    mimeType: Annotated[str, msgspec.Meta(min_length=1, max_length=127)]  # noqa: N815  the contract's
    inhoud: Annotated[str, msgspec.Meta(min_length=1)]


class BerichtAanleverenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Schema BerichtAanleverenRequest."""

    afzender: Annotated[str, msgspec.Meta(pattern="^[0-9]{20}$")]
    ontvanger: Identificatienummer
    onderwerp: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    inhoud: Annotated[str, msgspec.Meta(min_length=1, max_length=_MOST_TEXT_BYTES)]
    publicatietijdstip: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    bijlagen: list[BijlageAanleverenRequest] = []


class BerichtStatusPatch(msgspec.Struct, forbid_unknown_fields=True):
    """Schema BerichtStatusPatch; by the contract null and absent are the same."""

    gelezen: bool | None = None
    map: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


@dataclass(slots=True)
class Bericht:
    """A stored message."""

    id: str
    request: BerichtAanleverenRequest
    received: datetime
    deleted: bool = False
    read: bool = False
    folder: str | None = None
    changed: datetime | None = None
    """When the addressee last did something with it; there is no status before that."""

    @property
    def status(self) -> dict[str, object]:
        """What the addressee did, as the field that the contract leaves out when there is nothing."""
        if self.changed is None:
            return {}
        folder = {"map": self.folder} if self.folder is not None else {}
        return {"status": {"gelezen": self.read, **folder, "gewijzigdOp": _time(self.changed)}}

    @property
    def published(self) -> datetime:
        """The moment of publication: the request's, or that of receipt."""
        return self.request.publicatietijdstip or self.received

    @property
    def bijlagen(self) -> dict[str, BijlageAanleverenRequest]:
        """The attachments by their bijlageId."""
        return {str(uuid5(UUID(self.id), str(place))): bijlage for place, bijlage in enumerate(self.request.bijlagen)}

    @property
    def reference(self) -> str:
        """The reference in the last line, if there is one."""
        found = _REFERENCE.search(self.request.inhoud)
        return found[1] if found else ""


@dataclass(slots=True)
class Placement:
    """A message that is in the store. `count` is how often it was stored: more than once is what must never be."""

    id: str
    """The reference: the contract has no id of the sender's."""
    batch: None
    receipt: str
    ontvanger: str
    """The last two digits only."""
    at: datetime
    count: int = 1


class Refusal(Exception):  # noqa: N818  it is an answer, not a fault
    """An answer of the store that is not a success."""

    def __init__(
        self, status: int, title: str, *, kind: str = "about:blank", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.kind = kind
        self.headers = headers or {}


class MockMijnDomein:
    """The state of the mock: what it stored, and what it was told to do wrong."""

    def __init__(
        self, *, clock: Clock, token: str | None, text_in_list: bool, addressees: Collection[IdentifierKind]
    ) -> None:
        self.clock = clock
        self.addressees = addressees
        self.token = token
        self.text_in_list = text_in_list
        self.berichten: dict[str, Bericht] = {}
        """By berichtId, in order of receipt; deleted ones stay."""
        self.misbehaviour = Misbehaviour([*AFTER_TAKING, *_BEFORE_STORING, *_ON_A_LIST])

    def store(self, request: BerichtAanleverenRequest) -> Bericht:
        """Store a message; the same one twice is two messages, as in the real store."""
        bericht = Bericht(id=str(uuid4()), request=request, received=self.clock())
        self.berichten[bericht.id] = bericht
        return bericht

    def placements(self) -> list[Placement]:
        """Tell what was stored: messages that are equal in everything are one placement, counted."""
        placements: dict[bytes, Placement] = {}
        for bericht in self.berichten.values():
            key = msgspec.json.encode(bericht.request)
            if (known := placements.get(key)) is not None:
                known.count += 1
                continue
            number = bericht.request.ontvanger.waarde
            placements[key] = Placement(
                id=bericht.reference,
                batch=None,
                receipt=bericht.id,
                ontvanger=f"{'*' * (len(number) - 2)}{number[-2:]}",
                at=bericht.received,
            )
        return list(placements.values())


def create_mock(
    *,
    clock: Clock,
    token: str | None = None,
    text_in_list: bool = True,
    addressees: Collection[IdentifierKind] = frozenset(IdentifierKind),
) -> Litestar:
    """Give the mock as an ASGI app; its `MockMijnDomein` is `app.state.mock`, its base address ends in `/api/v1`.

    With a `token` calls need it as bearer. The contract says both that a list holds the texts and that it does not:
    `text_in_list` chooses. A message for a kind of number outside `addressees` is refused as `ontvanger-onbekend`.
    """
    mock = MockMijnDomein(clock=clock, token=token, text_in_list=text_in_list, addressees=addressees)
    return Litestar(
        [_deliver, _list, _one, _change, _remove, _attachment, _command, _behave, _placements],
        state=State({"mock": mock}, deep_copy=False),
        exception_handlers={Refusal: _refuse, HTTPException: _refuse_path},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


# ---------------------------------------------------------------------------------------------------------- operations


@post("/api/v1/aanleveringen", status_code=201)
async def _deliver(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock)
    if request.content_type[0] != "application/json":
        raise Refusal(415, "Content-Type is not application/json")
    try:
        delivery = msgspec.json.decode(await request.body(), type=BerichtAanleverenRequest)
        _check(delivery)
    except (msgspec.MsgspecError, ValueError) as fault:
        raise Refusal(400, str(fault)) from None
    numbers = {delivery.ontvanger.waarde}
    if (order := mock.misbehaviour.take(ontvangers=numbers, prefixes=("http-",))) is not None:
        raise Refusal(order.status, "as commanded", headers=order.headers)
    if (order := mock.misbehaviour.take(ontvangers=numbers, prefixes=_BEFORE_STORING)) is not None:
        kind = order.code or "onbekende-reden" if order.gedrag == "onbekende-code" else order.gedrag
        raise Refusal(422, "as commanded", kind=_TYPES + kind)
    if delivery.ontvanger.type not in {*mock.addressees, "OIN"}:
        raise Refusal(422, "this portal has no such accounts", kind=_TYPES + "ontvanger-onbekend")
    bericht = mock.store(delivery)
    order = mock.misbehaviour.take(ontvangers=numbers, prefixes=AFTER_TAKING)
    if order is not None and order.gedrag == "fout-na-acceptatie":
        raise Refusal(500, "the message was stored, but its answer could not be made")
    return await wrong_answer(request, order, status=201) or _json(_head(bericht), status=201)


@get("/api/v1/berichten")
async def _list(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock)
    ontvanger = _ontvanger(request)
    _misread(mock, ontvanger)
    afzender = request.query_params.get("afzender")
    if afzender is not None and not re.fullmatch("[0-9]{20}", afzender):
        raise Refusal(400, "afzender is not an OIN")
    page = _whole_number(request, "page", default=0, at_least=0, at_most=10**9)
    size = _whole_number(request, "pageSize", default=20, at_least=1, at_most=100)
    shelf = [
        bericht
        for bericht in reversed(mock.berichten.values())
        if str(bericht.request.ontvanger) == ontvanger
        and afzender in {None, bericht.request.afzender}
        and not bericht.deleted
    ]
    pages = math.ceil(len(shelf) / size)
    part = shelf[page * size : (page + 1) * size]
    if page > 0 and mock.misbehaviour.take(ontvangers={ontvanger.partition(":")[2]}, prefixes=_ON_A_LIST):
        shelf = shelf[1:]
    return _json({
        "berichten": [_summary(bericht, with_text=mock.text_in_list) for bericht in part],
        "page": page,
        "pageSize": size,
        "totalElements": len(shelf),
        "totalPages": pages,
        "_links": {"self": {"href": f"/api/v1/berichten?page={page}&pageSize={size}"}},
    })  # fmt: skip


@get("/api/v1/berichten/{bericht_id:str}")
async def _one(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock)
    return _json(_whole(_of_ontvanger(request, mock)))


@patch("/api/v1/berichten/{bericht_id:str}")
async def _change(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock)
    bericht = _of_ontvanger(request, mock)
    if request.content_type[0] != "application/merge-patch+json":
        raise Refusal(415, "Content-Type is not application/merge-patch+json")
    try:
        change = msgspec.json.decode(await request.body(), type=BerichtStatusPatch)
    except msgspec.MsgspecError as fault:
        raise Refusal(400, str(fault)) from None
    bericht.read = bericht.read if change.gelezen is None else change.gelezen
    bericht.folder = change.map or bericht.folder
    bericht.changed = mock.clock()
    return _json(_whole(bericht))


def _whole(bericht: Bericht) -> dict[str, object]:
    """Write a message with its text, the names of its attachments, and what the addressee did."""
    attachments = [
        {
            "bijlageId": identity,
            "naam": bijlage.naam,
            "mimeType": bijlage.mimeType,
            "_links": {"self": {"href": f"/api/v1/berichten/{bericht.id}/bijlagen/{identity}"}},
        }
        for identity, bijlage in bericht.bijlagen.items()
    ]
    return _head(bericht) | {"inhoud": bericht.request.inhoud, "bijlagen": attachments} | bericht.status


@delete("/api/v1/berichten/{bericht_id:str}")
async def _remove(request: Request[Any, Any, Any], state: State) -> None:
    mock = _mock(state)
    _admit(request, mock)
    _of_ontvanger(request, mock).deleted = True


@get("/api/v1/berichten/{bericht_id:str}/bijlagen/{bijlage_id:str}")
async def _attachment(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock, accept="*/*")
    bericht = _of_ontvanger(request, mock)
    bijlage = bericht.bijlagen.get(str(request.path_params["bijlage_id"]))
    if bijlage is None:
        raise Refusal(404, "there is no such attachment")
    return Response(
        base64.b64decode(bijlage.inhoud),
        media_type=bijlage.mimeType,
        headers={"API-Version": _VERSION, "Content-Disposition": "attachment"},
    )


@post("/_mock/gedrag", status_code=204)
async def _command(request: Request[Any, Any, Any], state: State) -> None:
    try:
        _mock(state).misbehaviour.give(msgspec.json.decode(await request.body(), type=Order))
    except (msgspec.MsgspecError, ValueError) as fault:
        raise Refusal(400, str(fault)) from None


@delete("/_mock/gedrag")
async def _behave(state: State) -> None:
    _mock(state).misbehaviour.clear()


@get("/_mock/plaatsingen")
async def _placements(state: State) -> Response[bytes]:
    return _json(_mock(state).placements())


# --------------------------------------------------------------------------------------------------------------- parts


def _mock(state: State) -> MockMijnDomein:
    mock = state.mock
    assert isinstance(mock, MockMijnDomein)
    return mock


def _admit(request: Request[Any, Any, Any], mock: MockMijnDomein, *, accept: str = "application/json") -> None:
    if mock.token is not None and request.headers.get("Authorization") != f"Bearer {mock.token}":
        raise Refusal(401, "the token is not known")
    accepted = request.headers.get("Accept", "*/*")
    if not any(kind in accepted for kind in (accept, "application/*", "*/*")):
        raise Refusal(406, "Accept does not allow application/json")


def _ontvanger(request: Request[Any, Any, Any]) -> str:
    ontvanger = request.headers.get("X-Ontvanger", "")
    if not _ONTVANGER.fullmatch(ontvanger):
        raise Refusal(400, "X-Ontvanger is missing or not <TYPE>:<WAARDE>")
    kind, _, number = ontvanger.partition(":")
    if not _valid(kind, number):
        raise Refusal(400, f"X-Ontvanger is not a {kind}")
    return ontvanger


def _of_ontvanger(request: Request[Any, Any, Any], mock: MockMijnDomein) -> Bericht:
    ontvanger = _ontvanger(request)
    _misread(mock, ontvanger)
    bericht = mock.berichten.get(str(request.path_params["bericht_id"]))
    if bericht is None or bericht.deleted:
        raise Refusal(404, "there is no such message")
    if str(bericht.request.ontvanger) != ontvanger:
        raise Refusal(403, "X-Ontvanger is not the addressee of the message")
    return bericht


def _misread(mock: MockMijnDomein, ontvanger: str) -> None:
    numbers = {ontvanger.partition(":")[2]}
    if (order := mock.misbehaviour.take(ontvangers=numbers, prefixes=("vraag-http-",))) is not None:
        raise Refusal(order.status, "as commanded", headers=order.headers)


def _whole_number(request: Request[Any, Any, Any], name: str, *, default: int, at_least: int, at_most: int) -> int:
    value = request.query_params.get(name, str(default))
    if not value.isdecimal() or not at_least <= int(value) <= at_most:
        raise Refusal(400, f"{name} is not a whole number from {at_least} to {at_most}")
    return int(value)


def _check(delivery: BerichtAanleverenRequest) -> None:
    if not _valid(delivery.ontvanger.type, delivery.ontvanger.waarde):
        raise ValueError(f"ontvanger is not a {delivery.ontvanger.type}")
    if len(delivery.inhoud.encode()) > _MOST_TEXT_BYTES:
        raise ValueError("inhoud is over 1 MiB of UTF-8")
    for bijlage in delivery.bijlagen:
        try:
            base64.b64decode(bijlage.inhoud, validate=True)
        except binascii.Error:
            raise ValueError("inhoud of a bijlage is not base64") from None


def _valid(kind: str, number: str) -> bool:
    if len(number) != _LENGTHS[kind] or not int(number):
        return False
    if kind in {"KVK", "OIN"}:
        return True
    digits = [int(digit) for digit in number]
    return (sum((9 - place) * digit for place, digit in enumerate(digits[:8])) - digits[8]) % 11 == 0


def _refuse(_: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    body = {"type": refusal.kind, "title": refusal.title, "status": refusal.status, "instance": f"urn:uuid:{uuid4()}"}
    return _json(body, status=refusal.status, headers=refusal.headers, media_type="application/problem+json")


def _refuse_path(request: Request[Any, Any, Any], fault: HTTPException) -> Response[bytes]:
    return _refuse(request, Refusal(fault.status_code, "there is nothing here"))


def _json(
    body: object, *, status: int = 200, headers: dict[str, str] | None = None, media_type: str = "application/json"
) -> Response[bytes]:
    headers = {"API-Version": _VERSION} | (headers or {})
    return Response(msgspec.json.encode(body), status_code=status, headers=headers, media_type=media_type)


def _head(bericht: Bericht) -> dict[str, object]:
    return {
        "berichtId": bericht.id,
        "afzender": bericht.request.afzender,
        "ontvanger": bericht.request.ontvanger,
        "onderwerp": bericht.request.onderwerp,
        "tijdstipOntvangst": _time(bericht.received),
        "publicatietijdstip": _time(bericht.published),
        "_links": {"self": {"href": f"/api/v1/berichten/{bericht.id}"}},
    }


def _summary(bericht: Bericht, *, with_text: bool) -> dict[str, object]:
    names = [{"bijlageId": identity, "naam": bijlage.naam} for identity, bijlage in bericht.bijlagen.items()]
    text: dict[str, object] = {"inhoud": bericht.request.inhoud} if with_text else {}
    return _head(bericht) | text | {"aantalBijlagen": len(names), "bijlagen": names} | bericht.status


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
