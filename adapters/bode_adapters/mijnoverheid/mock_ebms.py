"""A mock of an ebMS adapter (ebms-core, REST API v19) and the Berichtenbox of `mock_berichtenbox` at its other end.

It keeps to what ebms-core does: a message id that it stored before gives status 500, documents that came in are listed
until they are marked as processed, and nothing is known of a message it does not have (404). The document inside is
held against Logius' schemas by the Berichtenbox, which answers one that is not valid with
`XmlValidatieTegenXsdValtNegatiefUit` for each message in it.

What it can be commanded besides what the Berichtenbox can: `http-NNN` (answers a hand-over with that status, takes
nothing in), `vraag-http-NNN` (the same for every question), and

- `timeout-na-acceptatie`, `verbreek`, `fout-na-acceptatie`: the batch is taken in, and then there is no answer, half an
  answer, or status 500;
- `mislukt`, `verlopen`: the batch never gets there, and the ebMS adapter says FAILED, or EXPIRED;
- `dubbel-document`: the report comes as two documents; `onleesbaar-resultaat`: the report is not XML;
- `andersom`: documents are listed newest first.
"""

import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, get, patch, post
from litestar.datastructures import State

from bode_adapters.contract import Clock
from bode_adapters.mijnoverheid.markup import UnreadableError
from bode_adapters.mijnoverheid.mock_berichtenbox import COMMANDS, Batch, Berichtenbox, Received, Report
from bode_adapters.mijnoverheid.mock_globe import identities, read_request, write_report
from bode_adapters.mijnoverheid.mock_subscriptions import check_subscriptions
from bode_adapters.serving import wrong_answer

_ROOT: Final = "/service/rest/v19/ebms"
_AFTER_ACCEPTING: Final = ("timeout-na-acceptatie", "verbreek", "fout-na-acceptatie")
_ON_THE_WAY: Final = {"mislukt": "FAILED", "verlopen": "EXPIRED"}
_ON_THE_DOCUMENT: Final = ("dubbel-document", "onleesbaar-resultaat")
_MOST_BYTES: Final = 100_000_000
_OLDEST: Final = timedelta(days=13)


class Properties(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """MessageRequestProperties of ebms-core."""

    cpa_id: str
    from_party_id: str
    from_role: str
    to_party_id: str
    to_role: str
    service: str
    action: str
    conversation_id: str
    message_id: str
    ref_to_message_id: str | None = None


class DataSource(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """DataSource of ebms-core; `content` is base64."""

    content: bytes
    content_type: str
    name: str | None = None
    content_id: str | None = None


class MessageRequest(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """MessageRequest of ebms-core."""

    properties: Properties
    data_sources: list[DataSource]


@dataclass(frozen=True, slots=True)
class Document:
    """What a batch says."""

    batch: str
    supplier: str
    created: datetime
    messages: list[Received]

    @property
    def numbers(self) -> set[str]:
        """Whom it is for."""
        return {message.user for message in self.messages}


@dataclass(slots=True)
class Sent:
    """A message that was handed over, and what became of its hand-over."""

    request: MessageRequest
    event: str = "DELIVERED"
    batch: Batch | None = None


@dataclass(slots=True)
class Came:
    """A result document that came in."""

    id: str
    at: datetime
    conversation: str
    content: bytes
    processed: bool = False


class MockEbms:
    """The state of the mock: what it sent and what came in."""

    def __init__(self, *, box: Berichtenbox, cpa_id: str, oin: str, login: tuple[str, str] | None) -> None:
        self.box = box
        self.cpa_id = cpa_id
        self.oin = oin
        self.login = login
        self.sent: dict[str, Sent] = {}
        """By ebMS message id."""
        self.came: dict[str, Came] = {}
        """By ebMS message id."""
        self._reported: set[int] = set()

    def read(self, request: MessageRequest) -> Document:
        """Read the document inside a message, as far as it can be read."""
        content = request.data_sources[0].content
        try:
            return Document(*read_request(content))
        except UnreadableError:
            batch, messages = identities(content)
            return Document(batch or request.properties.conversation_id, self.oin, self.box.clock(), messages)

    def take_in(self, request: MessageRequest, document: Document) -> None:
        """Store a message, and deliver it at once."""
        sent = self.sent[request.properties.message_id] = Sent(request)
        numbers, messages = document.numbers, document.messages
        for gedrag, event in _ON_THE_WAY.items():
            if self.box.misbehaviour.take(ontvangers=numbers, prefixes=(gedrag,)) is not None:
                sent.event = event
                return
        fault = None
        if document.supplier != self.oin:
            fault = "OinInCPAKomtNietOvereenMetOinInBericht"
        elif self.box.clock() - document.created > _OLDEST:
            fault = "AanmaakDatumLigtTeVerInHetVerleden"
        if fault is not None:
            messages = [Received(one.id, one.type, one.user, None, 0, fault) for one in messages]
        sent.batch = self.box.take_in(document.batch, document.supplier, messages)

    def advance(self) -> None:
        """Let the reports come in whose time has come."""
        self.box.advance()
        for sent in self.sent.values():
            for report in sent.batch.reports if sent.batch is not None else ():
                if report.outcomes is not None and id(report) not in self._reported:
                    self._reported.add(id(report))
                    self._come_in(sent, report)

    def _come_in(self, sent: Sent, report: Report) -> None:
        assert sent.batch is not None
        numbers = {message.user for message in report.messages}
        order = self.box.misbehaviour.take(ontvangers=numbers, prefixes=_ON_THE_DOCUMENT)
        content = write_report(sent.batch, report.outcomes or [], report.due)
        if order is not None and order.gedrag == "onleesbaar-resultaat":
            content = b"<html>"
        for _ in range(2 if order is not None and order.gedrag == "dubbel-document" else 1):
            key = f"result-{len(self.came) + 1}@logius.mock"
            self.came[key] = Came(key, report.due, sent.request.properties.conversation_id, content)

    def waiting(self) -> list[str]:
        """Give the ids of the documents that were not marked as processed."""
        self.advance()
        found = sorted((one for one in self.came.values() if not one.processed), key=lambda one: one.at)
        if self.box.misbehaviour.take(ontvangers=(), prefixes=("andersom",)) is not None:
            found.reverse()
        return [one.id for one in found]


def create_mock(
    *,
    clock: Clock,
    cpa_id: str = "mock-cpa",
    oin: str = "00000001999000090000",
    login: tuple[str, str] | None = None,
    result_delay: timedelta = timedelta(0),
    berichttypes: frozenset[str] | None = None,
) -> Litestar:
    """Give the mock as an ASGI app; its `MockEbms` is `app.state.mock`.

    `oin` is the supplier's in the CPA; `login` a user and password to ask for. `result_delay` lies between a hand-over
    and its results, by the clock. `berichttypes` are the registered message types; without them every type is.
    """
    more = (*_AFTER_ACCEPTING, *_ON_THE_WAY, *_ON_THE_DOCUMENT, "andersom")
    box = Berichtenbox(clock=clock, result_delay=result_delay, berichttypes=berichttypes, more=more)
    return Litestar(
        [_send, _unprocessed, _message, _process, _events, check_subscriptions, *COMMANDS],
        state=State({"mock": MockEbms(box=box, cpa_id=cpa_id, oin=oin, login=login)}, deep_copy=False),
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


# ---------------------------------------------------------------------------------------------------------- operations


@post(f"{_ROOT}/messages", status_code=200)
async def _send(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    if (refused := _unauthorised(request, mock)) is not None:
        return refused
    try:
        asked = msgspec.json.decode(await request.body(), type=MessageRequest)
    except (msgspec.MsgspecError, binascii.Error) as fault:
        return _text(str(fault), HTTPStatus.BAD_REQUEST)
    if asked.properties.cpa_id != mock.cpa_id or len(asked.data_sources) != 1:
        return _text("no CPA fits this message", HTTPStatus.BAD_REQUEST)
    content = asked.data_sources[0].content
    document = mock.read(asked)
    if (order := mock.box.misbehaviour.take(ontvangers=document.numbers, prefixes=("http-",))) is not None:
        return _text("as commanded", order.status, order.headers)
    if len(content) > _MOST_BYTES:
        return _text("more than 100 MB", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if asked.properties.message_id in mock.sent:
        return _text("unique constraint violation: ebms_message", HTTPStatus.INTERNAL_SERVER_ERROR)
    order = mock.box.misbehaviour.take(ontvangers=document.numbers, prefixes=_AFTER_ACCEPTING)
    mock.take_in(asked, document)
    if order is not None and order.gedrag == "fout-na-acceptatie":
        return _text("it was taken in, but the answer could not be made", HTTPStatus.INTERNAL_SERVER_ERROR)
    wrong = await wrong_answer(request, order, status=HTTPStatus.OK)
    return wrong or _text(asked.properties.message_id)


@get(f"{_ROOT}/messages/unprocessed")
async def _unprocessed(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    if (refused := _busy(request, mock)) is not None:
        return refused
    most = int(request.query_params.get("maxNr", "0")) or None
    return _json(mock.waiting()[:most])


@get(f"{_ROOT}/messages/{{message_id:str}}")
async def _message(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    if (refused := _busy(request, mock)) is not None:
        return refused
    key = str(request.path_params["message_id"])
    if (came := mock.came.get(key)) is not None:
        status = "PROCESSED" if came.processed else "RECEIVED"
        about = {"messageId": key, "conversationId": came.conversation, "action": "GLOBE-R-BV-Response"}
        return _as_message(mock, about | {"messageStatus": status}, came.content)
    if (sent := mock.sent.get(key)) is not None:
        properties = sent.request.properties
        about = {"messageId": key, "conversationId": properties.conversation_id, "action": properties.action}
        return _as_message(mock, about | {"messageStatus": "DELIVERED"}, sent.request.data_sources[0].content)
    return _text("no such message", HTTPStatus.NOT_FOUND)


@patch(f"{_ROOT}/messages/{{message_id:str}}", status_code=200)
async def _process(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    if (refused := _busy(request, mock)) is not None:
        return refused
    came = mock.came.get(str(request.path_params["message_id"]))
    if came is None:
        return _text("no such message", HTTPStatus.NOT_FOUND)
    came.processed = True
    return Response(b"", status_code=204)


@get(f"{_ROOT}/events/unprocessed")
async def _events(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    mock = _mock(state)
    if (refused := _busy(request, mock)) is not None:
        return refused
    wanted = request.query_params.get("messageId")
    return _json([
        {"messageId": key, "type": sent.event} for key, sent in mock.sent.items() if wanted in (None, key)
    ])  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- parts


def _mock(state: State) -> MockEbms:
    mock = state.mock
    assert isinstance(mock, MockEbms)
    return mock


def _unauthorised(request: Request[Any, Any, Any], mock: MockEbms) -> Response[bytes] | None:
    if mock.login is None:
        return None
    wanted = "Basic " + binascii.b2a_base64(":".join(mock.login).encode(), newline=False).decode()
    if request.headers.get("Authorization") == wanted:
        return None
    return _text("who are you", HTTPStatus.UNAUTHORIZED)


def _busy(request: Request[Any, Any, Any], mock: MockEbms) -> Response[bytes] | None:
    if (order := mock.box.misbehaviour.take(ontvangers=(), prefixes=("vraag-http-",))) is not None:
        return _text("as commanded", order.status, order.headers)
    return _unauthorised(request, mock)


def _as_message(mock: MockEbms, about: dict[str, str], content: bytes) -> Response[bytes]:
    properties = {
        **about,
        "cpaId": mock.cpa_id,
        "fromParty": {"partyId": "urn:osb:oin:00000004003214345001", "role": "SP"},
        "toParty": {"partyId": f"urn:osb:oin:{mock.oin}", "role": "SR"},
        "service": "urn:osb:services:MIJNOVERHEID.ebMS.BB.2.0",
        "timestamp": mock.box.clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    source = {"name": "bericht.xml", "contentId": "1", "contentType": "text/xml", "content": content}
    return _json({"properties": properties, "dataSources": [source]})


def _json(body: object) -> Response[bytes]:
    return Response(msgspec.json.encode(body), media_type="application/json")


def _text(words: str, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(words.encode(), media_type="text/plain", status_code=status, headers=headers)
