"""A mock of the REST gateway v1.0, strict about the contract, with the Berichtenbox of `mock_berichtenbox` behind it.

It has models of its own, apart from the adapter's, so that a mistake in one shows in the other. Fields outside the
contract are refused, which the real one need not do.

What it can be commanded besides what the Berichtenbox can: `http-NNN` (answers with that status, takes nothing in),
`vraag-http-NNN` (the same for a question about the status), and

- `timeout-na-acceptatie`, `verbreek`, `onleesbaar`, `fout-na-acceptatie`: the call is taken in, and then there is no
  answer, half an answer, an answer that cannot be read, or status 500;
- `mislukt`: the call ends as FAILED without results.
"""

import base64
import binascii
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State

from bode_adapters.contract import Clock
from bode_adapters.mijnoverheid import mock_ebms
from bode_adapters.mijnoverheid.mock_berichtenbox import COMMANDS, Batch, Berichtenbox, Received
from bode_adapters.mijnoverheid.mock_subscriptions import check_subscriptions
from bode_adapters.mijnoverheid.settings import TransportKind
from bode_adapters.serving import AFTER_TAKING, serve, wrong_answer

_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


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
class Call:
    """A call that was taken in."""

    receipt: str
    batch: Batch
    failed: bool = False


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
    """The state of the mock: what it took in."""

    def __init__(self, *, box: Berichtenbox, api_key: str) -> None:
        self.box = box
        self.api_key = api_key
        self.calls: dict[str, Call] = {}
        """By X-Message-ID."""
        self.received: list[Bericht] = []
        """Every message of every call taken in, as it came."""
        self._by_receipt: dict[str, Call] = {}

    def take_in(self, batch: str, berichten: Berichten) -> Call:
        """Take a call in; its results follow after the delay."""
        if (known := self.calls.get(batch)) is not None:
            raise Refusal(409, "X-Message-ID was used before", call=known)
        numbers = {bericht.GebruikerID for bericht in berichten.Berichten}
        self.received.extend(berichten.Berichten)
        failed = self.box.misbehaviour.take(ontvangers=numbers, prefixes=("mislukt",)) is not None
        messages = [] if failed else [_received(bericht) for bericht in berichten.Berichten]
        taken = self.box.take_in(batch, berichten.BerichtLeverancierID, messages)
        call = Call(str(uuid4()), taken, failed)
        self.calls[batch] = self._by_receipt[call.receipt] = call
        return call

    def call_of(self, receipt: str) -> Call:
        """Give the call a statusID was given for."""
        if (call := self._by_receipt.get(receipt)) is None:
            raise Refusal(404, "statusID is not known")
        self.box.advance()
        return call


def create_mock(
    *,
    clock: Clock,
    api_key: str = "mock",
    result_delay: timedelta = timedelta(0),
    berichttypes: frozenset[str] | None = None,
) -> Litestar:
    """Give the mock as an ASGI app; its `MockMijnOverheid` is `app.state.mock`.

    `result_delay` lies between taking a call in and its results, by the clock. `berichttypes` are the registered
    message types; without them every type is.
    """
    box = Berichtenbox(
        clock=clock, result_delay=result_delay, berichttypes=berichttypes, more=(*AFTER_TAKING, "mislukt")
    )
    return Litestar(
        [_post_messages, _get_status, check_subscriptions, *COMMANDS],
        state=State({"mock": MockMijnOverheid(box=box, api_key=api_key)}, deep_copy=False),
        exception_handlers={Refusal: _refuse},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


def serve_mock(
    *, port: int, clock: Clock, transport: TransportKind = TransportKind.REST, result_delay: timedelta = timedelta(0)
) -> AbstractAsyncContextManager[str]:
    """Serve the mock of a transport on a port of this machine (0: a free one), and give its address."""
    create = create_mock if transport is TransportKind.REST else mock_ebms.create_mock
    return serve(create(clock=clock, result_delay=result_delay), port=port)


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
    if (order := mock.box.misbehaviour.take(ontvangers=numbers, prefixes=("http-",))) is not None:
        raise Refusal(order.status, "as commanded", headers=order.headers)
    call = mock.take_in(batch, berichten)
    order = mock.box.misbehaviour.take(ontvangers=numbers, prefixes=AFTER_TAKING)
    if order is not None and order.gedrag == "fout-na-acceptatie":
        raise Refusal(500, "the call was taken in, but its answer could not be made")
    wrong = await wrong_answer(request, order, status=201)
    return wrong or _json({"statusID": call.receipt, "statusURI": _status_uri(call)}, status=201)


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
    numbers = {message.user for message in call.batch.messages}
    if (order := mock.box.misbehaviour.take(ontvangers=numbers, prefixes=("vraag-http-",))) is not None:
        raise Refusal(order.status, "as commanded", headers=order.headers)
    return _json(_status(call))


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
    batch, outcomes = call.batch, call.batch.outcomes
    status: dict[str, object] = {"id": call.receipt, "created": _time(batch.created), "status": "RECEIVED"}
    context: dict[str, object] = {
        "Aangeleverd": {
            "BatchID": batch.id,
            "AanmaakDatum": _time(batch.created),
            "BerichtLeverancierCode": batch.supplier,
            "TotaalAantalAangeleverdeBerichten": len(batch.messages),
            "Berichten": [{"BerichtID": message.id} for message in batch.messages],
        }
    }
    if call.failed:
        return status | {"status": "FAILED", "context": context}
    made = [report.due for report in batch.reports if report.outcomes is not None]
    if not made:
        return status if batch.reports else status | {"status": "IN_PROGRESS", "context": context}
    codes = [outcome.code for outcome in outcomes]
    context["Verwerkt"] = {
        "BerichtLeverancierCode": batch.supplier,
        "BatchID": batch.id,
        "TotaalAantalOntvangenBerichten": str(len(batch.messages)),
        "AantalBerichtenSuccesvolVerwerkt": str(codes.count("Verwerkt")),
        "AantalBerichtenGeenActieveBoxOfGeabonneertOpLeverancier": str(codes.count("NietActiefOfGeabonneerd")),
        "AantalBerichtenMetTechnischProbleem": str(codes.count("TechnischProbleem")),
        "DatumOntvangen": _time(batch.created),
        "DatumVerwerkt": _time(min(made)),
        "Berichten": [
            {"BerichtID": one.id, "BerichtType": one.type, "VerwerkingsCode": one.code, "Stadium": one.stage}
            for one in outcomes
        ],
    }
    return status | {"status": "REPORT", "context": context}


def _received(bericht: Bericht) -> Received:
    size = sum(len(base64.b64decode(bijlage.Inhoud)) for bijlage in bericht.Bijlagen)
    return Received(bericht.BerichtID, bericht.BerichtType, bericht.GebruikerID, bericht.PublicatieDatum, size)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
