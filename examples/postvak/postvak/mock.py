"""A mock of Postvak: strict about its contract, and wrong on command.

It has models of its own, apart from the adapter's, so that a mistake in one shows in the other. `POST /_mock/gedrag`
commands it, `DELETE /_mock/gedrag` lets it behave again, `GET /_mock/plaatsingen` tells what was really placed. What
can be commanded, besides `http-NNN` (answers a placement with that status, stores nothing) and `vraag-http-NNN` (the
same for a question): `GEEN_POSTVAK`, `onbekende-code` (refuses with the word in `code`), and `timeout-na-acceptatie`,
`verbreek`, `onleesbaar` (it is stored, and then there is no answer, half an answer, or one that cannot be read).
"""

import base64
import binascii
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Litestar, Request, Response, delete, get, post, put
from litestar.datastructures import State

from bode_adapters.contract import Clock
from bode_adapters.serving import Misbehaviour, Order, wrong_answer

_AFTER_STORING = ("timeout-na-acceptatie", "verbreek", "onleesbaar")
_REFUSALS = ("GEEN_POSTVAK", "onbekende-code")


class Bijlage(msgspec.Struct, forbid_unknown_fields=True):
    """A document; `inhoud` is base64."""

    naam: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    type: str
    inhoud: str


class Bericht(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a placement."""

    afzender: Annotated[str, msgspec.Meta(pattern="^[0-9]{20}$")]
    ontvanger: Annotated[str, msgspec.Meta(pattern="^[0-9]{9}$")]
    onderwerp: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    tekst: Annotated[str, msgspec.Meta(max_length=10_000)]
    bijlagen: Annotated[list[Bijlage], msgspec.Meta(max_length=5)]
    publicatie: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class MockPostvak:
    """The state of the mock."""

    def __init__(self, *, clock: Clock, token: str) -> None:
        self.clock = clock
        self.token = token
        self.misbehaviour = Misbehaviour([*_AFTER_STORING, *_REFUSALS])
        self.stored: dict[str, tuple[Bericht, datetime]] = {}
        self.counts: Counter[str] = Counter()

    def store(self, key: str, bericht: Bericht) -> None:
        """Store a message; it can be read from its moment of publication."""
        now = self.clock()
        self.stored[key] = bericht, max(now, bericht.publicatie or now)
        self.counts[key] += 1


def create_mock(*, clock: Clock, token: str) -> Litestar:
    """Give the mock as an ASGI app; its `MockPostvak` is `app.state.mock`."""
    return Litestar(
        [_place, _find, _command, _behave, _placements],
        state=State({"mock": MockPostvak(clock=clock, token=token)}, deep_copy=False),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


@put("/berichten/{key:uuid}")
async def _place(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock: MockPostvak = state.mock
    key = str(request.path_params["key"])
    if request.headers.get("Authorization") != f"Bearer {mock.token}":
        return _problem(401, "TOKEN_ONBEKEND")
    try:
        bericht = msgspec.json.decode(await request.body(), type=Bericht)
        for bijlage in bericht.bijlagen:
            base64.b64decode(bijlage.inhoud, validate=True)
    except (msgspec.MsgspecError, binascii.Error):
        return _problem(400, "VELD_ONGELDIG")
    who = {bericht.ontvanger}
    if (order := mock.misbehaviour.take(ontvangers=who, prefixes=("http-",))) is not None:
        return Response(b"", status_code=order.status, headers=order.headers)
    if (order := mock.misbehaviour.take(ontvangers=who, prefixes=_REFUSALS)) is not None:
        return _problem(422, order.code or order.gedrag)
    known = mock.stored.get(key)
    if known is not None and known[0] != bericht:
        return _problem(409, "ID_BEZET")
    if known is None:
        mock.store(key, bericht)
    order = mock.misbehaviour.take(ontvangers=who, prefixes=_AFTER_STORING)
    wrong = await wrong_answer(request, order, status=201)
    return wrong or _bericht(mock, key, status=201 if known is None else 200)


@get("/berichten/{key:uuid}")
async def _find(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock: MockPostvak = state.mock
    key = str(request.path_params["key"])
    if request.headers.get("Authorization") != f"Bearer {mock.token}":
        return _problem(401, "TOKEN_ONBEKEND")
    if (order := mock.misbehaviour.take(ontvangers=(), prefixes=("vraag-http-",))) is not None:
        return Response(b"", status_code=order.status, headers=order.headers)
    if key not in mock.stored:
        return _problem(404, "NIET_GEVONDEN")
    return _bericht(mock, key, status=200)


@post("/_mock/gedrag", status_code=204)
async def _command(request: Request[Any, Any, Any], state: State) -> Response[None]:
    try:
        state.mock.misbehaviour.give(msgspec.json.decode(await request.body(), type=Order))
    except (msgspec.MsgspecError, ValueError) as fault:
        return Response(None, status_code=400, headers={"X-Fout": str(fault)})
    return Response(None, status_code=204)


@delete("/_mock/gedrag")
async def _behave(state: State) -> None:
    state.mock.misbehaviour.clear()


@get("/_mock/plaatsingen")
async def _placements(state: State) -> list[dict[str, Any]]:
    return [{"id": key, "count": count} for key, count in state.mock.counts.items()]


def _bericht(mock: MockPostvak, key: str, *, status: int) -> Response[bytes]:
    at = mock.stored[key][1].astimezone(UTC).isoformat()
    body = msgspec.json.encode({"id": key, "geplaatst": at})
    return Response(body, status_code=status, media_type="application/json")


def _problem(status: int, code: str) -> Response[bytes]:
    return Response(msgspec.json.encode({"code": code}), status_code=status, media_type="application/json")
