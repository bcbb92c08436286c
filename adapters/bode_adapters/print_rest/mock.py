"""A mock of a print service's REST API: strict about docs/adapters/print.md, and wrong on command.

It has models of its own, apart from the adapter's, so that a mistake in one shows in the other. Fields outside the
contract are refused, which a real one need not do.

`POST /_mock/gedrag` commands it (in the field `ontvanger` the id of a letter), `DELETE /_mock/gedrag` lets it behave
again, `POST /_mock/meldingen` reports something about a letter, `GET /_mock/brieven` tells which letters it took, and
how often. What can be commanded, besides `http-NNN` (answers a `PUT` with that status, takes nothing) and
`vraag-http-NNN` (the same for reading):

- `onbekende-code`: refuses with the error code in `code`;
- `timeout-na-acceptatie`, `verbreek`, `onleesbaar`, `fout-na-acceptatie`: the letter is taken, and then there is no
  answer, half an answer, an answer that cannot be read, or status 500;
- `bevestiging-kwijt`: says that it confirmed updates, and forgets it.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import count
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import Litestar, Request, Response, delete, get, post, put
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from bode_adapters.contract import Clock
from bode_adapters.serving import AFTER_TAKING, Misbehaviour, Order, wrong_answer

_MEDIA: Final = "application/vnd.api+json"
_WORD: Final = ("onbekende-code",)
_ON_CONFIRMING: Final = ("bevestiging-kwijt",)
_PDF: Final = b"%PDF-"


class Attributes(msgspec.Struct, forbid_unknown_fields=True):
    """Attributes of a letter that is handed over."""

    specificationId: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]  # noqa: N815  the contract's
    groupId: UUID  # noqa: N815
    senderId: Annotated[str, msgspec.Meta(pattern="^[0-9]{20}$")]  # noqa: N815
    kind: Literal["message", "notice"]
    pages: Annotated[int, msgspec.Meta(ge=1)]
    sheets: Annotated[int, msgspec.Meta(ge=1)]
    grams: Annotated[int, msgspec.Meta(ge=1)]
    sha256Hash: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]  # noqa: N815
    pdf: str


class Resource(msgspec.Struct, forbid_unknown_fields=True):
    """A letter."""

    type: Literal["Letter"]
    id: UUID
    attributes: Attributes


class Document(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a `PUT`."""

    data: Resource


class UpdateReference(msgspec.Struct, forbid_unknown_fields=True):
    """An update by its id."""

    type: Literal["LetterUpdate"]
    id: str


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a confirmation."""

    data: Annotated[list[UpdateReference], msgspec.Meta(min_length=1, max_length=500)]


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /_mock/meldingen`."""

    letter: UUID
    status: str
    reasonCode: str | None = None  # noqa: N815
    reasonText: str | None = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that was taken in."""

    attributes: Attributes
    received: datetime


@dataclass(slots=True)
class MockPrintApi:
    """The state of the mock: the letters it took, and what it was told to do wrong."""

    clock: Clock
    token: str
    specifications: frozenset[str]
    letters: dict[UUID, Letter] = field(default_factory=dict[UUID, Letter])
    statuses: dict[UUID, str] = field(default_factory=dict[UUID, str])
    copies: Counter[UUID] = field(default_factory=Counter[UUID])
    """How often each letter was taken to be printed: more than one is what must not happen."""
    updates: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    misbehaviour: Misbehaviour = field(default_factory=lambda: Misbehaviour([*AFTER_TAKING, *_WORD, *_ON_CONFIRMING]))
    numbers: count[int] = field(default_factory=lambda: count(1))

    def take(self, letter: UUID, attributes: Attributes) -> Letter:
        """Take a letter in."""
        self.copies[letter] += 1
        self.statuses[letter] = "PENDING"
        taken = self.letters[letter] = Letter(attributes, self.clock())
        return taken

    def say(self, letter: UUID, status: str, reason_code: str | None = None, reason_text: str | None = None) -> None:
        """Report something about a letter."""
        key = f"update-{next(self.numbers):06}"
        said = {"letterId": str(letter), "status": status, "at": self.clock().isoformat()}
        reasons = {"reasonCode": reason_code, "reasonText": reason_text}
        said |= {name: value for name, value in reasons.items() if value is not None}
        self.statuses[letter] = status
        self.updates[key] = {"type": "LetterUpdate", "id": key, "attributes": said}


class Refusal(Exception):  # noqa: N818  it is an answer, not a fault
    """An answer that is not a success."""

    def __init__(self, status: int, code: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def create_mock(*, clock: Clock, token: str, specifications: frozenset[str] = frozenset({"c5-venster"})) -> Litestar:
    """Give the mock as an ASGI app; its `MockPrintApi` is `app.state.mock`."""
    mock = MockPrintApi(clock=clock, token=token, specifications=specifications)
    return Litestar(
        [_take, _one, _updates, _confirm, _command, _behave, _report, _taken],
        state=State({"mock": mock}, deep_copy=False),
        exception_handlers={Refusal: _refuse, HTTPException: _refuse_path},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


# ---------------------------------------------------------------------------------------------------------- operations


@put("/letters/{letter:uuid}")
async def _take(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock, has_body=True)
    letter = request.path_params["letter"]
    document = _read(await request.body(), Document).data
    who = {str(letter)}
    if (order := mock.misbehaviour.take(ontvangers=who, prefixes=("http-",))) is not None:
        raise Refusal(order.status, "NOTIFY_INTERNAL_SERVER_ERROR", headers=order.headers)
    if (order := mock.misbehaviour.take(ontvangers=who, prefixes=_WORD)) is not None:
        raise Refusal(422, order.code or "ONBEKEND")
    _check(document, letter, mock)
    known = mock.letters.get(letter)
    if known is not None and known.attributes.sha256Hash != document.attributes.sha256Hash:
        raise Refusal(409, "NOTIFY_INVALID_REQUEST")
    taken = known or mock.take(letter, document.attributes)
    order = mock.misbehaviour.take(ontvangers=who, prefixes=AFTER_TAKING)
    if order is not None and order.gedrag == "fout-na-acceptatie":
        raise Refusal(500, "NOTIFY_INTERNAL_SERVER_ERROR")
    wrong = await wrong_answer(request, order, status=201)
    return wrong or _json(_as_resource(mock, letter, taken), status=200 if known else 201)


@get("/letters/{letter:uuid}")
async def _one(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock)
    letter = request.path_params["letter"]
    _misread(mock, str(letter))
    known = mock.letters.get(letter)
    if known is None:
        raise Refusal(404, "NOTIFY_NOT_FOUND")
    return _json(_as_resource(mock, letter, known))


@get("/letter-updates")
async def _updates(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _admit(request, mock)
    _misread(mock, "")
    limit = request.query_params.get("limit", "500")
    if not limit.isdecimal() or not 1 <= int(limit) <= 500:  # noqa: PLR2004
        raise Refusal(400, "NOTIFY_INVALID_REQUEST")
    return _json({"data": list(mock.updates.values())[: int(limit)]})


@post("/letter-updates/confirmations", status_code=204)
async def _confirm(request: Request[Any, Any, Any], state: State) -> None:
    mock = _mock(state)
    _admit(request, mock, has_body=True)
    confirmed = _read(await request.body(), Confirmation)
    if mock.misbehaviour.take(ontvangers={""}, prefixes=_ON_CONFIRMING):
        return
    for reference in confirmed.data:
        mock.updates.pop(reference.id, None)


@post("/_mock/gedrag", status_code=204)
async def _command(request: Request[Any, Any, Any], state: State) -> None:
    try:
        _mock(state).misbehaviour.give(msgspec.json.decode(await request.body(), type=Order))
    except (msgspec.MsgspecError, ValueError) as fault:
        raise Refusal(400, str(fault)) from None


@delete("/_mock/gedrag")
async def _behave(state: State) -> None:
    _mock(state).misbehaviour.clear()


@post("/_mock/meldingen", status_code=204)
async def _report(request: Request[Any, Any, Any], state: State) -> None:
    said = _read(await request.body(), Report)
    _mock(state).say(said.letter, said.status, said.reasonCode, said.reasonText)


@get("/_mock/brieven")
async def _taken(state: State) -> Response[bytes]:
    mock = _mock(state)
    return _json(
        [{"id": str(letter), "status": mock.statuses[letter], "copies": times} for letter, times in mock.copies.items()]
    )


# --------------------------------------------------------------------------------------------------------------- parts


def _mock(state: State) -> MockPrintApi:
    mock = state.mock
    assert isinstance(mock, MockPrintApi)
    return mock


def _admit(request: Request[Any, Any, Any], mock: MockPrintApi, *, has_body: bool = False) -> None:
    if request.headers.get("Authorization") != f"Bearer {mock.token}":
        raise Refusal(401, "NOTIFY_INVALID_REQUEST")
    try:
        UUID(request.headers.get("X-Request-ID", ""))
    except ValueError:
        raise Refusal(400, "NOTIFY_INVALID_REQUEST") from None
    if has_body and request.headers.get("Content-Type") not in {_MEDIA, f"{_MEDIA}; charset=utf-8"}:
        raise Refusal(415, "NOTIFY_INVALID_REQUEST")
    if _MEDIA not in request.headers.get("Accept", "*/*"):
        raise Refusal(406, "NOTIFY_INVALID_REQUEST")


def _misread(mock: MockPrintApi, letter: str) -> None:
    if (order := mock.misbehaviour.take(ontvangers={letter}, prefixes=("vraag-http-",))) is not None:
        raise Refusal(order.status, "NOTIFY_INTERNAL_SERVER_ERROR", headers=order.headers)


def _check(document: Resource, letter: UUID, mock: MockPrintApi) -> None:
    attributes = document.attributes
    try:
        pdf = base64.b64decode(attributes.pdf, validate=True)
    except binascii.Error:
        raise Refusal(400, "NOTIFY_INVALID_REQUEST") from None
    if document.id != letter or sha256(pdf).hexdigest() != attributes.sha256Hash or not pdf.startswith(_PDF):
        raise Refusal(400, "NOTIFY_INVALID_REQUEST")
    if attributes.specificationId not in mock.specifications:
        raise Refusal(422, "SPECIFICATION_UNKNOWN")


def _read(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError:
        raise Refusal(400, "NOTIFY_INVALID_REQUEST") from None


def _as_resource(mock: MockPrintApi, letter: UUID, known: Letter) -> dict[str, Any]:
    return {
        "data": {
            "type": "Letter",
            "id": str(letter),
            "attributes": {
                "specificationId": known.attributes.specificationId,
                "groupId": str(known.attributes.groupId),
                "status": mock.statuses[letter],
                "sha256Hash": known.attributes.sha256Hash,
                "receivedAt": known.received.isoformat(),
            },
        }
    }


def _json(content: Any, *, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(content), media_type=_MEDIA, status_code=status)


def _refuse(_: Request[Any, Any, Any], refusal: Exception) -> Response[bytes]:
    assert isinstance(refusal, Refusal)
    errors = {"errors": [{"code": refusal.code, "status": str(refusal.status)}]}
    answer = _json(errors, status=refusal.status)
    answer.headers.update(refusal.headers)
    return answer


def _refuse_path(_: Request[Any, Any, Any], fault: HTTPException) -> Response[bytes]:
    return Response(b"", status_code=fault.status_code)
