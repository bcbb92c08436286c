"""A mock of the REST gateway v1.0 and the Berichtenbox behind it: strict about the contract, and wrong on command.

It has models of its own, apart from the adapter's, so that a mistake in one shows in the other. Fields outside the
contract are refused, which the real one need not do.

`POST /_mock/gedrag` commands it, `GET /_mock/plaatsingen` tells what was really placed, `DELETE /_mock/gedrag` lets it
behave again. What can be commanded, besides `http-NNN` (answers with that status, takes nothing in) and
`vraag-http-NNN` (the same for a question about the status):

- any result code of the contract: the message gets that result;
- `onbekende-code`: the message gets the result in `code`;
- `timeout-na-acceptatie`, `verbreek`, `onleesbaar`, `fout-na-acceptatie`: the call is taken in, and then there is no
  answer, half an answer, an answer that cannot be read, or status 500;
- `nooit-resultaat`: the call stays IN_PROGRESS; `mislukt`: it ends as FAILED without results;
- `dubbel-resultaat`, `ontbreekt-in-resultaat`: the message is in the report twice, or not at all.
"""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

import msgspec
from litestar import Litestar, Request, Response, delete, get, post
from litestar.datastructures import State

from bode_adapters.contract import Clock
from bode_adapters.serving import Misbehaviour, Order, broken_off, keep_silent

_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_MOST_DOCUMENTS_BYTES: Final = 500_000
_MOST_AHEAD: Final = timedelta(days=13)

_CODES: Final = frozenset({
    "Verwerkt",
    "TechnischProbleem",
    "NietActiefOfGeabonneerd",
    "BerichtTypeNietOndersteund",
    "AanmaakDatumLigtTeVerInHetVerleden",
    "PublicatieDatumLigtTeVerInDeToekomst",
    "BerichtBestaatAl",
    "BijlageTeGroot",
    "OinInCPAKomtNietOvereenMetOinInBericht",
    "XmlValidatieTegenXsdValtNegatiefUit",
})  # fmt: skip
_STAGES: Final = {
    "Verwerkt": "NA",
    "BerichtTypeNietOndersteund": "ValidatieBerichtType",
    "NietActiefOfGeabonneerd": "ValidatieGebruiker",
    "TechnischProbleem": "StoreMessage",
    "BerichtBestaatAl": "StoreMessage",
}
_AFTER_ACCEPTING: Final = ("timeout-na-acceptatie", "verbreek", "onleesbaar", "fout-na-acceptatie")
_ON_THE_CALL: Final = ("nooit-resultaat", "mislukt")
_ON_THE_RESULT: Final = ("onbekende-code", "dubbel-resultaat", "ontbreekt-in-resultaat", *sorted(_CODES))


class Bijlage(msgspec.Struct, forbid_unknown_fields=True):
    """Schema Bijlage."""

    Inhoud: str
    Omschrijving: Annotated[str, msgspec.Meta(max_length=128)]
    Volgorde: Literal["1", "2"] | None = None


class Bericht(msgspec.Struct, forbid_unknown_fields=True):
    """Schema Bericht."""

    BerichtID: Annotated[str, msgspec.Meta(pattern=_UUID)]
    BerichtType: Annotated[str, msgspec.Meta(min_length=1, max_length=8)]
    Onderwerp: Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
    Berichttekst: Annotated[str, msgspec.Meta(max_length=4000)]
    GebruikerID: Annotated[str, msgspec.Meta(pattern="^[0-9]{9}$")]
    PublicatieDatum: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    Referentie: Annotated[str, msgspec.Meta(max_length=25)] | None = None
    Bijlagen: Annotated[list[Bijlage], msgspec.Meta(max_length=2)] = []


class Berichten(msgspec.Struct, forbid_unknown_fields=True):
    """Schema BerichtenboxBerichten."""

    BerichtLeverancierID: Annotated[str, msgspec.Meta(pattern="^[0-9]{20}$")]
    Berichten: Annotated[list[Bericht], msgspec.Meta(min_length=1, max_length=10)]


@dataclass(slots=True)
class Placement:
    """A message that is in a box. `count` is how often it was placed: more than once is what must never be."""

    id: str
    batch: str
    receipt: str
    ontvanger: str
    """The last two digits only."""
    at: datetime
    count: int = 1


@dataclass(slots=True)
class Call:
    """A call that was taken in."""

    batch: str
    receipt: str
    leverancier: str
    berichten: Sequence[Bericht]
    created: datetime
    results: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    """BerichtID, type and result code."""
    processed: datetime | None = None
    order: str | None = None


class Refusal(Exception):  # noqa: N818  it is an answer, not a fault
    """An answer of the gateway that is not a success."""

    def __init__(
        self, status: int, error: str, *, call: Call | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.call = call
        self.headers = headers or {}


class MockMijnOverheid:
    """The state of the mock: what it took in, what it placed, and what it was told to do wrong."""

    def __init__(
        self, *, clock: Clock, api_key: str, result_delay_seconds: float, berichttypes: frozenset[str] | None
    ) -> None:
        self.clock = clock
        self.api_key = api_key
        self.result_delay_seconds = result_delay_seconds
        self.berichttypes = berichttypes
        self.calls: dict[str, Call] = {}
        """By X-Message-ID."""
        self.placements: dict[str, Placement] = {}
        """By BerichtID."""
        self.received: list[Bericht] = []
        """Every message of every call taken in, as it came."""
        self.misbehaviour = Misbehaviour([*_AFTER_ACCEPTING, *_ON_THE_CALL, *_ON_THE_RESULT])
        self._by_receipt: dict[str, Call] = {}

    def take_in(self, batch: str, berichten: Berichten) -> Call:
        """Take a call in; its results follow after the delay, which is real time."""
        if (known := self.calls.get(batch)) is not None:
            raise Refusal(409, "X-Message-ID was used before", call=known)
        numbers = {bericht.GebruikerID for bericht in berichten.Berichten}
        call = Call(
            batch=batch,
            receipt=str(uuid4()),
            leverancier=berichten.BerichtLeverancierID,
            berichten=berichten.Berichten,
            created=self.clock(),
        )
        self.calls[batch] = self._by_receipt[call.receipt] = call
        self.received.extend(berichten.Berichten)
        if (order := self.misbehaviour.take(ontvangers=numbers, prefixes=_ON_THE_CALL)) is not None:
            call.order = order.gedrag
        elif self.result_delay_seconds > 0:
            asyncio.get_running_loop().call_later(self.result_delay_seconds, self._process, call)
        else:
            self._process(call)
        return call

    def call_of(self, receipt: str) -> Call:
        """Give the call a statusID was given for."""
        if (call := self._by_receipt.get(receipt)) is None:
            raise Refusal(404, "statusID is not known")
        return call

    def _process(self, call: Call) -> None:
        call.processed = self.clock()
        for bericht in call.berichten:
            order = self.misbehaviour.take(ontvangers={bericht.GebruikerID}, prefixes=_ON_THE_RESULT)
            code = self._own_code(bericht, call.processed)
            times = 1
            if order is not None and order.gedrag == "ontbreekt-in-resultaat":
                times = 0
            elif order is not None and order.gedrag == "dubbel-resultaat":
                times = 2
            elif order is not None:
                code = order.code or "OnbekendeCode" if order.gedrag == "onbekende-code" else order.gedrag
            if code == "Verwerkt":
                self._place(bericht, call)
            call.results.extend([(bericht.BerichtID, bericht.BerichtType, code)] * times)

    def _own_code(self, bericht: Bericht, now: datetime) -> str:
        if bericht.BerichtID in self.placements:
            return "BerichtBestaatAl"
        if self.berichttypes is not None and bericht.BerichtType not in self.berichttypes:
            return "BerichtTypeNietOndersteund"
        if bericht.PublicatieDatum is not None and bericht.PublicatieDatum > now + _MOST_AHEAD:
            return "PublicatieDatumLigtTeVerInDeToekomst"
        if sum(len(base64.b64decode(bijlage.Inhoud)) for bijlage in bericht.Bijlagen) > _MOST_DOCUMENTS_BYTES:
            return "BijlageTeGroot"
        return "Verwerkt"

    def _place(self, bericht: Bericht, call: Call) -> None:
        if (known := self.placements.get(bericht.BerichtID)) is not None:
            known.count += 1
            return
        self.placements[bericht.BerichtID] = Placement(
            id=bericht.BerichtID,
            batch=call.batch,
            receipt=call.receipt,
            ontvanger=f"{'*' * 7}{bericht.GebruikerID[-2:]}",
            at=call.processed or self.clock(),
        )


def create_mock(
    *,
    clock: Clock,
    api_key: str = "mock",
    result_delay_seconds: float = 0.0,
    berichttypes: frozenset[str] | None = None,
) -> Litestar:
    """Give the mock as an ASGI app; its `MockMijnOverheid` is `app.state.mock`.

    `result_delay_seconds` is real time, between taking a call in and its results; the times it reports are the clock's.
    `berichttypes` are the registered message types; without them every type is.
    """
    mock = MockMijnOverheid(
        clock=clock, api_key=api_key, result_delay_seconds=result_delay_seconds, berichttypes=berichttypes
    )
    return Litestar(
        [_post_messages, _get_status, _command, _behave, _placements],
        state=State({"mock": mock}, deep_copy=False),
        exception_handlers={Refusal: _refuse},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


# ---------------------------------------------------------------------------------------------------------- operations


@post("/api/berichtenbox/v1/berichten", status_code=201)
async def _post_messages(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _authorised(request, mock)
    batch = request.headers.get("X-Message-ID", "")
    try:
        msgspec.convert(batch, Annotated[str, msgspec.Meta(pattern=_UUID)])
    except msgspec.ValidationError:
        raise Refusal(400, "X-Message-ID is not a UUID") from None
    if request.content_type[0] != "application/json":
        raise Refusal(400, "the body is not application/json")
    try:
        berichten = msgspec.json.decode(await request.body(), type=Berichten)
        _check_documents(berichten)
    except (msgspec.MsgspecError, ValueError) as fault:
        raise Refusal(400, str(fault)) from None
    numbers = {bericht.GebruikerID for bericht in berichten.Berichten}
    if (order := mock.misbehaviour.take(ontvangers=numbers, prefixes=("http-",))) is not None:
        raise Refusal(order.status, "as commanded", headers=order.headers)
    call = mock.take_in(batch, berichten)
    order = mock.misbehaviour.take(ontvangers=numbers, prefixes=_AFTER_ACCEPTING)
    match order.gedrag if order is not None else None:
        case "timeout-na-acceptatie":
            return await keep_silent(request)
        case "verbreek":
            return broken_off()
        case "onleesbaar":
            return Response(b"<html>", media_type="text/html", status_code=201)
        case "fout-na-acceptatie":
            raise Refusal(500, "the call was taken in, but its answer could not be made")
        case _:
            return _json({"statusID": call.receipt, "statusURI": _status_uri(call)}, status=201)


@get("/api/berichtenbox/v1/status/{status_id:str}")
async def _get_status(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    _authorised(request, mock)
    status_id = str(request.path_params["status_id"])
    try:
        msgspec.convert(status_id, Annotated[str, msgspec.Meta(pattern=_UUID)])
    except msgspec.ValidationError:
        raise Refusal(400, "statusID is not a UUID") from None
    call = mock.call_of(status_id)
    numbers = {bericht.GebruikerID for bericht in call.berichten}
    if (order := mock.misbehaviour.take(ontvangers=numbers, prefixes=("vraag-http-",))) is not None:
        raise Refusal(order.status, "as commanded", headers=order.headers)
    return _json(_status(call))


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
    return _json(list(_mock(state).placements.values()))


# --------------------------------------------------------------------------------------------------------------- parts


def _mock(state: State) -> MockMijnOverheid:
    mock = state.mock
    assert isinstance(mock, MockMijnOverheid)
    return mock


def _authorised(request: Request[Any, Any, Any], mock: MockMijnOverheid) -> None:
    if request.headers.get("X-API-Key") != mock.api_key:
        raise Refusal(401, "X-API-Key is not known")


def _check_documents(berichten: Berichten) -> None:
    for bericht in berichten.Berichten:
        for bijlage in bericht.Bijlagen:
            try:
                content = base64.b64decode(bijlage.Inhoud, validate=True)
            except binascii.Error:
                raise ValueError("Inhoud is not base64") from None
            if not content.startswith(b"%PDF-"):
                raise ValueError("Inhoud is not a PDF")


def _refuse(_: Request[Any, Any, Any], refusal: Refusal) -> Response[bytes]:
    body = {"error": refusal.error}
    if refusal.call is not None:
        body |= {"statusID": refusal.call.receipt, "statusURI": _status_uri(refusal.call)}
    return _json(body, status=refusal.status, headers=refusal.headers)


def _json(body: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status, headers=headers, media_type="application/json")


def _status_uri(call: Call) -> str:
    return f"/api/berichtenbox/v1/status/{call.receipt}"


def _status(call: Call) -> dict[str, object]:
    status: dict[str, object] = {"id": call.receipt, "created": _time(call.created), "status": "RECEIVED"}
    context: dict[str, object] = {
        "Aangeleverd": {
            "BatchID": call.batch,
            "AanmaakDatum": _time(call.created),
            "BerichtLeverancierCode": call.leverancier,
            "TotaalAantalAangeleverdeBerichten": len(call.berichten),
            "Berichten": [{"BerichtID": bericht.BerichtID} for bericht in call.berichten],
        }
    }
    if call.order == "mislukt":
        return status | {"status": "FAILED", "context": context}
    if call.order == "nooit-resultaat":
        return status | {"status": "IN_PROGRESS", "context": context}
    if call.processed is None:
        return status
    codes = [code for _, _, code in call.results]
    context["Verwerkt"] = {
        "BerichtLeverancierCode": call.leverancier,
        "BatchID": call.batch,
        "TotaalAantalOntvangenBerichten": str(len(call.berichten)),
        "AantalBerichtenSuccesvolVerwerkt": str(codes.count("Verwerkt")),
        "AantalBerichtenGeenActieveBoxOfGeabonneertOpLeverancier": str(codes.count("NietActiefOfGeabonneerd")),
        "AantalBerichtenMetTechnischProbleem": str(codes.count("TechnischProbleem")),
        "DatumOntvangen": _time(call.created),
        "DatumVerwerkt": _time(call.processed),
        "Berichten": [
            {"BerichtID": identity, "BerichtType": kind, "VerwerkingsCode": code, "Stadium": _STAGES.get(code, "NA")}
            for identity, kind, code in call.results
        ],
    }
    return status | {"status": "REPORT", "context": context}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
