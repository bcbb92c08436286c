"""The MijnDomein adapter against the suite of all boxes, and against each word of the FBS message store 0.2.0."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import assume, given, strategies

from bode_adapters.contract import (
    Absent,
    Answer,
    Box,
    BoxMessage,
    Document,
    Identifier,
    IdentifierKind,
    Placed,
    RefusalKind,
    Refused,
    Sender,
    SettingError,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijndomein import MijnDomeinBox, MijnDomeinSettings
from bode_adapters.mijndomein.limits import last_line, over_limit, reference_line, text_as_sent, valid_number
from bode_adapters.mijndomein.mock import MockMijnDomein, create_mock
from bode_adapters.serving import serve
from bode_adapters.testing.box import (
    BoxSuite,
    Lacks,
    MockedSide,
    OtherSide,
    mocked_side,
    new_document,
    new_identifier,
    new_message,
    utc_now,
)

TOKEN = "bewijs-van-de-proef"
SENDER = Sender(oin="00000001003214345000", name="Gemeente Voorbeeld", email="post@voorbeeld.example")
SETTINGS: dict[str, object] = {
    "base_url": "http://127.0.0.1:1/api/v1",
    "token": TOKEN,
    "timeout_seconds": 0.3,
}
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
RECEIVED = datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)
BERICHT_ID = "3f0a5b4e-2a55-4d7e-9a39-5a1f7f4d2a11"

Handler = Callable[[httpx.Request], httpx.Response]


def new_box(url: str) -> MijnDomeinBox:
    return MijnDomeinBox.from_settings(SETTINGS | {"base_url": f"{url}/api/v1"}, clock=utc_now)


@asynccontextmanager
async def portal(**options: Any) -> AsyncGenerator[tuple[MockedSide, MockMijnDomein]]:
    """Serve the mock, and give it with its state."""
    app = create_mock(clock=utc_now, token=TOKEN, **options)
    mock: MockMijnDomein = app.state.mock
    async with mocked_side(app, box=new_box, sender=SENDER, unreachable="ontvanger-onbekend") as side:
        yield side, mock


@asynccontextmanager
async def answering(handler: Handler, **settings: object) -> AsyncGenerator[MijnDomeinBox]:
    """Give a box whose other side is a function: for answers that no mock server would give."""
    box = MijnDomeinBox(
        MijnDomeinSettings.read(SETTINGS | settings), clock=lambda: NOW, transport=httpx.MockTransport(handler)
    )
    await box.open()
    try:
        yield box
    finally:
        await box.close()


def always(status: int, body: object = None, **headers: str) -> Handler:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _: httpx.Response(status, content=content, headers=headers)


def failing(error: Exception) -> Handler:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    return fail


async def place_one(handler: Handler, **changes: Any) -> Answer:
    async with answering(handler) as box:
        (answer,) = await box.place(messages=[new_message(SENDER, **changes)])
        return answer


async def find_one(handler: Handler, message: BoxMessage) -> Answer:
    async with answering(handler) as box:
        (answer,) = await box.lookup(messages=[message])
        return answer


def problem(status: int, kind: str) -> Handler:
    body = {"type": kind, "title": "GEHEIM", "status": status, "detail": "GEHEIM"}
    return always(status, body, **{"Content-Type": "application/problem+json", "API-Version": "0.2.0"})


def stored(message: BoxMessage, **changes: object) -> dict[str, object]:
    return {
        "berichtId": BERICHT_ID,
        "afzender": SENDER.oin,
        "onderwerp": message.subject,
        "inhoud": text_as_sent(message),
        "tijdstipOntvangst": "2026-03-02T09:29:58Z",
        "publicatietijdstip": "2026-03-02T09:29:58Z",
    } | changes


def shelf(*berichten: object, total: int | None = None, pages: int = 1) -> Any:
    return {"berichten": berichten, "totalElements": len(berichten) if total is None else total, "totalPages": pages}


LACKS = frozenset({Lacks.CHECK, Lacks.RECOGNISED_REPEATS, Lacks.ADDRESSEES_IT_REFUSES})


class TestAsABox(BoxSuite):
    lacks = LACKS

    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        app = create_mock(clock=utc_now, token=TOKEN)
        return mocked_side(app, box=new_box, sender=SENDER, unreachable="ontvanger-onbekend")


class TestAsABoxWithoutTextsInLists(BoxSuite):
    """The other reading of the contract's list."""

    lacks = LACKS

    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        app = create_mock(clock=utc_now, token=TOKEN, text_in_list=False)
        return mocked_side(app, box=new_box, sender=SENDER, unreachable="ontvanger-onbekend")


# ------------------------------------------------------------------------------------------------------------ settings


def test_it_is_a_box() -> None:
    assert isinstance(new_box("http://127.0.0.1:1"), Box)


def test_only_the_address_is_required() -> None:
    settings = MijnDomeinSettings.read({"base_url": "https://mijn.example/api/v1"})
    connection = settings.connection
    assert (settings.token, connection.timeout_seconds, connection.concurrency, connection.headers) == (
        None,
        30,
        10,
        {},
    )


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("base_url", {"base_url": None}),
        ("base_url", {"base_url": "http://mijn.example"}),
        ("token", {"token": ""}),
        ("token", {"token": 7}),
        ("timeout_seconds", {"timeout_seconds": -1}),
        ("concurrency", {"concurrency": 0}),
        ("headers", {"headers": "X-Sleutel: GEHEIM"}),
        ("headers.X Sleutel", {"headers": {"X Sleutel": "GEHEIM"}}),
        ("headers.X-Sleutel", {"headers": {"X-Sleutel": "GEHEIM\n"}}),
        ("headers.X-Sleutel", {"headers": {"X-Sleutel": 7}}),
        ("headers.authorization", {"headers": {"authorization": "GEHEIM"}}),
        ("headers.X-Ontvanger", {"headers": {"X-Ontvanger": "GEHEIM"}}),
        ("tokn", {"tokn": "GEHEIM"}),
    ],
)
def test_a_wrong_setting_is_named_without_a_secret(key: str, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        MijnDomeinSettings.read(SETTINGS | settings)
    assert error.value.key == key
    assert "GEHEIM" not in str(error.value)


def test_no_secret_is_in_a_repr() -> None:
    settings = MijnDomeinSettings.read(SETTINGS | {"headers": {"X-Sleutel": "GEHEIM"}})
    assert TOKEN not in repr(settings)
    assert "GEHEIM" not in repr(settings)


async def test_it_must_be_opened_first() -> None:
    with pytest.raises(RuntimeError, match="open"):
        await new_box("http://127.0.0.1:1").place(messages=[new_message(SENDER)])


async def test_it_cannot_check_an_addressee_and_says_so() -> None:
    (answer,) = await new_box("http://127.0.0.1:1").check(addressees=[new_identifier()], sender=SENDER)
    assert answer.reachable is None


# -------------------------------------------------------------------------------------------------------- what is sent


async def test_what_is_sent_is_in_the_words_of_the_contract() -> None:
    sent: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(201, json=stored(message))

    message = new_message(
        SENDER,
        addressee=Identifier(IdentifierKind.KVK, "12345678"),
        text="een\ntwee",
        publish_at=NOW + timedelta(microseconds=1),
        documents=(Document("bijlage.pdf", "application/pdf", b"%PDF-1.7"),),
    )
    async with answering(take, headers={"X-Sleutel": "abc"}) as box:
        await box.place(messages=[message])
    (request,) = sent
    assert (request.method, request.url.path) == ("POST", "/api/v1/aanleveringen")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["X-Sleutel"] == "abc"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.content) == {
        "afzender": SENDER.oin,
        "ontvanger": {"type": "KVK", "waarde": "12345678"},
        "onderwerp": message.subject,
        "inhoud": f"een\ntwee\n\nKenmerk: {message.reference}",
        "publicatietijdstip": "2026-03-02T09:30:01Z",
        "bijlagen": [
            {
                "naam": "bijlage.pdf",
                "mimeType": "application/pdf",
                "inhoud": base64.b64encode(b"%PDF-1.7").decode(),
            }
        ],
    }


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("tekst", "tekst\n\nKenmerk: K-1"),
        ("tekst\n", "tekst\n\nKenmerk: K-1"),
        ("", "Kenmerk: K-1"),
        ("tekst\nKenmerk: K-1", "tekst\nKenmerk: K-1"),
        ("tekst\r\nKenmerk: K-1 \r\n", "tekst\r\nKenmerk: K-1"),
        ("Kenmerk: K-1\ntekst", "Kenmerk: K-1\ntekst\n\nKenmerk: K-1"),
        ("tekst\nKenmerk: K-10", "tekst\nKenmerk: K-10\n\nKenmerk: K-1"),
    ],
)
def test_the_reference_is_the_last_line_and_is_there_once(text: str, sent: str) -> None:
    assert text_as_sent(new_message(SENDER, text=text, reference="K-1")) == sent


@given(text=strategies.text(), reference=strategies.text(min_size=1, max_size=20))
def test_whatever_is_placed_can_be_found(text: str, reference: str) -> None:
    message = new_message(SENDER, text=text, reference=reference)
    assume(over_limit(message) is None)
    assert last_line(text_as_sent(message)) == reference_line(message)
    again = replace(message, text=text_as_sent(message))
    assert text_as_sent(again) == text_as_sent(message)


async def test_the_number_is_in_no_address() -> None:
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(str(request.url))
        assert request.headers["X-Ontvanger"] == f"BSN:{message.addressee.number}"
        return httpx.Response(200, json=shelf())

    message = new_message(SENDER)
    async with answering(answer) as box:
        await box.lookup(messages=[message, replace(message, receipt=BERICHT_ID)])
    assert len(paths) == 2
    assert not any(message.addressee.number in path for path in paths)


async def test_a_document_arrives_whole() -> None:
    async with portal() as (side, _):
        message = new_message(SENDER, documents=(new_document(70_000),))
        (answer,) = await side.box.place(messages=[message])
        assert isinstance(answer, Placed)
        headers = {"X-Ontvanger": f"BSN:{message.addressee.number}", "Authorization": f"Bearer {TOKEN}"}
        bericht = (await side.mock.get(f"/api/v1/berichten/{answer.receipt}", headers=headers)).json()
        (bijlage,) = bericht["bijlagen"]
        content = await side.mock.get(bijlage["_links"]["self"]["href"], headers=headers)
        assert content.content == message.documents[0].content


async def test_calls_run_side_by_side_and_no_more_than_allowed() -> None:
    running = 0
    most = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running, most
        if scope["type"] != "http":
            return
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serve(slow) as url, asyncio.timeout(5):
        settings = SETTINGS | {"base_url": url, "concurrency": 4}
        box = MijnDomeinBox.from_settings(settings, clock=utc_now)
        await box.open()
        answers = await box.place(messages=[new_message(SENDER) for _ in range(20)])
        await box.close()
    assert set(map(type, answers)) == {Unavailable}
    assert most == 4


# -------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "o"},
        {"subject": "o" * 255},
        {"text": ""},
        {"text": "😀" * 262_000, "reference": "😀" * 100},
        {"reference": "r" * 100},
        {"documents": (new_document(9, "n" * 255),)},
        {"documents": (replace(new_document(9), media_type="a" * 127),)},
        {"addressee": Identifier(IdentifierKind.RSIN, "002564440")},
        {"addressee": Identifier(IdentifierKind.BSN, "123456782")},
    ],
    ids=",".join,
)
async def test_just_within_a_limit_is_placed(changes: dict[str, Any]) -> None:
    async with portal() as (side, _):
        (answer,) = await side.box.place(messages=[new_message(SENDER, **changes)])
        assert isinstance(answer, Placed)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("subject", {"subject": ""}),
        ("subject", {"subject": "o" * 256}),
        ("text", {"text": "t" * 262_001}),
        ("reference", {"reference": ""}),
        ("reference", {"reference": " "}),
        ("reference", {"reference": "r" * 101}),
        ("reference", {"reference": "een\ntwee"}),
        ("reference", {"reference": "een\u2028twee"}),
        ("characters", {"text": "half \ud83d"}),
        ("description", {"documents": (new_document(9, ""),)}),
        ("description", {"documents": (new_document(9, "n" * 256),)}),
        ("media_type", {"documents": (replace(new_document(9), media_type=""),)}),
        ("media_type", {"documents": (replace(new_document(9), media_type="a" * 128),)}),
        ("documents_bytes", {"documents": (Document("n", "application/pdf", b""),)}),
        ("addressee", {"addressee": Identifier(IdentifierKind.BSN, "123456789")}),
        ("addressee", {"addressee": Identifier(IdentifierKind.BSN, "000000000")}),
        ("addressee", {"addressee": Identifier(IdentifierKind.RSIN, "12345678")}),
        ("addressee", {"addressee": Identifier(IdentifierKind.KVK, "123456789")}),
        ("addressee", {"addressee": Identifier(IdentifierKind.KVK, "00000000")}),
        ("addressee", {"addressee": Identifier(IdentifierKind.KVK, "1234567é")}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_over_a_limit_is_refused_for_its_content_without_a_call(field: str, changes: dict[str, Any]) -> None:
    async with answering(failing(AssertionError("no call should be made"))) as box:
        message = new_message(SENDER, **changes)
        (placed,) = await box.place(messages=[message])
        (found,) = await box.lookup(messages=[message])
    assert placed == found
    assert isinstance(placed, Refused)
    assert (placed.code, placed.kind) == (f"limiet:{field}", RefusalKind.CONTENT)


async def test_a_sender_without_a_proper_oin_is_configuration() -> None:
    answer = await place_one(always(500), sender=replace(SENDER, oin="123"))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("limiet:oin", RefusalKind.CONFIGURATION)


@pytest.mark.parametrize("kind", list(IdentifierKind))
def test_numbers_of_every_kind_are_known_as_valid(kind: IdentifierKind) -> None:
    assert valid_number(new_identifier(kind))


# ------------------------------------------------------------------------------------------------- statuses of a call


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusalKind.DEFECT),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (404, RefusalKind.CONFIGURATION),
        (405, RefusalKind.CONFIGURATION),
        (406, RefusalKind.DEFECT),
        (413, RefusalKind.CONTENT),
        (415, RefusalKind.DEFECT),
        (302, RefusalKind.CONFIGURATION),
        (418, RefusalKind.UNRECOGNISED),
        (408, Unavailable),
        (429, Unavailable),
        (503, Unavailable),
        (409, Unknown),
        (500, Unknown),
        (502, Unknown),
        (504, Unknown),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type": "about:blank", "title": "GEHEIM"}'])
async def test_every_status_of_a_call(status: int, expected: RefusalKind | type[Answer], body: bytes) -> None:
    answer = await place_one(always(status, body))
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Refused | Unavailable | Unknown)
    assert answer.code == f"http_{status}"
    assert "GEHEIM" not in repr(answer)


@pytest.mark.parametrize(
    "kind",
    [
        "ontvanger-onbekend",
        "https://mijn.example/problemen/ontvanger-onbekend",
        "https://mijn.example/problemen/ontvanger-onbekend/",
        "urn:problem:ontvanger-onbekend",
    ],
)
@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_an_unknown_addressee_is_refused_whatever_the_status(status: int, kind: str) -> None:
    answer = await place_one(problem(status, kind))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("ontvanger-onbekend", RefusalKind.ADDRESSEE)
    assert "GEHEIM" not in repr(answer)


@pytest.mark.parametrize("status", [400, 418, 422])
async def test_a_reason_that_is_not_known_is_kept(status: int) -> None:
    answer = await place_one(problem(status, "https://mijn.example/problemen/postbus-vol"))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("postbus-vol", RefusalKind.UNRECOGNISED)


@pytest.mark.parametrize(
    ("status", "expected"), [(401, Refused), (403, Refused), (409, Unknown), (500, Unknown), (503, Unavailable)]
)
async def test_a_reason_adds_nothing_to_a_status_that_is_clear(status: int, expected: type[Answer]) -> None:
    answer = await place_one(problem(status, "https://mijn.example/problemen/iets"))
    assert isinstance(answer, expected)
    assert isinstance(answer, Refused | Unknown | Unavailable)
    assert answer.code == f"http_{status}"


async def test_retry_after_is_passed_on() -> None:
    assert await place_one(always(503, **{"Retry-After": "30"})) == Unavailable("http_503", retry_after=30.0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"berichtId": 7}'])
async def test_a_success_that_cannot_be_read_is_unknown(body: bytes) -> None:
    assert await place_one(always(201, body)) == Unknown("unreadable_answer")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), Unavailable("connect_error")),
        (httpx.ReadTimeout("x"), Unknown("timeout")),
        (httpx.RemoteProtocolError("x"), Unknown("connection_lost")),
    ],
    ids=repr,
)
async def test_nothing_sent_is_unavailable_and_anything_later_is_unknown(error: Exception, expected: Answer) -> None:
    assert await place_one(failing(error)) == expected


# ---------------------------------------------------------------------------------------------------------- the moment


@pytest.mark.law("L10")
@pytest.mark.parametrize(
    ("times", "at", "source"),
    [
        ({}, RECEIVED, TimeSource.OTHER_SIDE),
        (
            {"publicatietijdstip": "2026-03-05T08:00:00+01:00"},
            datetime(2026, 3, 5, 7, tzinfo=UTC),
            TimeSource.OTHER_SIDE,
        ),
        ({"publicatietijdstip": "2026-03-01T08:00:00Z"}, RECEIVED, TimeSource.OTHER_SIDE),
        ({"publicatietijdstip": None}, RECEIVED, TimeSource.OTHER_SIDE),
        ({"tijdstipOntvangst": "x", "publicatietijdstip": "2026-03-02T09:00:00"}, NOW, TimeSource.OUR_CLOCK),
    ],
)
async def test_accessible_when_received_and_published(times: dict[str, Any], at: datetime, source: TimeSource) -> None:
    message = new_message(SENDER)
    answer = await place_one(always(201, stored(message, **times)))
    assert answer == Placed(at=at, source=source, receipt=BERICHT_ID)


# -------------------------------------------------------------------------------------------------------------- lookup


@pytest.mark.law("L6")
@pytest.mark.parametrize("gedrag", ["timeout-na-acceptatie", "verbreek", "onleesbaar", "fout-na-acceptatie"])
@pytest.mark.parametrize("text_in_list", [True, False])
async def test_a_lost_answer_is_found_by_the_reference(gedrag: str, text_in_list: bool) -> None:
    async with portal(text_in_list=text_in_list) as (side, _):
        message = new_message(SENDER)
        await side.order(gedrag, keer=1)
        (answer,) = await side.box.place(messages=[message])
        assert isinstance(answer, Unknown)
        (answer,) = await side.box.lookup(messages=[message])
        assert isinstance(answer, Placed)
        assert answer.already
        assert await side.times_placed(message) == 1


async def test_a_message_is_found_on_a_later_page_among_others() -> None:
    async with portal() as (side, mock):
        addressee = new_identifier()
        messages = [new_message(SENDER, addressee=addressee) for _ in range(205)]
        placed = await side.box.place(messages=messages)
        elsewhere = new_message(SENDER, addressee=addressee)
        found = await side.box.lookup(messages=[*messages, elsewhere])
        assert [_receipt(answer) for answer in found[:-1]] == [_receipt(answer) for answer in placed]
        assert found[-1] == Absent()
        assert len(mock.berichten) == 205


def _receipt(answer: Answer) -> str | None:
    assert isinstance(answer, Placed)
    return answer.receipt


async def test_one_search_serves_all_messages_of_an_addressee() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["X-Ontvanger"])
        return httpx.Response(200, json=shelf())

    one, two = new_identifier(), new_identifier()
    async with answering(answer) as box:
        messages = [new_message(SENDER, addressee=addressee) for addressee in (one, two, one)]
        assert await box.lookup(messages=messages) == [Absent()] * 3
    assert sorted(asked) == sorted([f"BSN:{one.number}", f"BSN:{two.number}"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Placed),
        ({"onderwerp": "door de portal aangepast"}, Placed),
        ({"tijdstipOntvangst": "2026-03-02T09:15:00Z"}, Placed),
        ({"tijdstipOntvangst": "2026-03-02T09:14:59Z"}, Absent),
        ({"tijdstipOntvangst": "onleesbaar"}, Placed),
        ({"inhoud": "iets anders"}, Absent),
        ({"inhoud": ""}, Absent),
        ({"afzender": "0" * 20}, Absent),
        ({"afzender": None}, Placed),
    ],
)
async def test_found_by_sender_reference_and_time(changes: dict[str, Any], expected: type[Answer]) -> None:
    message = new_message(SENDER, since=NOW)
    assert isinstance(await find_one(always(200, shelf(stored(message, **changes))), message), expected)


async def test_the_first_of_two_is_the_moment_that_counts() -> None:
    message = new_message(SENDER, since=NOW)
    later = stored(message, berichtId=str(uuid4()), tijdstipOntvangst="2026-03-02T09:29:59Z", publicatietijdstip=None)
    answer = await find_one(always(200, shelf(later, stored(message))), message)
    assert answer == Placed(at=RECEIVED, source=TimeSource.OTHER_SIDE, receipt=BERICHT_ID, already=True)


async def test_without_a_first_moment_every_message_is_looked_at() -> None:
    message = new_message(SENDER, since=None)
    assert isinstance(await find_one(always(200, shelf(stored(message))), message), Placed)


@pytest.mark.parametrize("body", [shelf(total=1), shelf(total=3, pages=2), shelf(total=1, pages=0)])
async def test_a_list_that_is_not_whole_proves_nothing(body: object) -> None:
    assert await find_one(always(200, body), new_message(SENDER)) == Unknown("list_changed")


async def test_a_list_that_changes_while_it_is_read_proves_nothing() -> None:
    async with portal() as (side, _):
        addressee = new_identifier()
        await side.box.place(messages=[new_message(SENDER, addressee=addressee) for _ in range(101)])
        await side.order("lijst-verschuift", keer=1)
        message = new_message(SENDER, addressee=addressee)
        assert await side.box.lookup(messages=[message]) == [Unknown("list_changed")]
        assert await side.box.lookup(messages=[message]) == [Absent()]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 406, 429, 500, 503])
@pytest.mark.parametrize("receipt", [None, BERICHT_ID])
async def test_a_question_that_fails_is_unknown(status: int, receipt: str | None) -> None:
    assert await find_one(always(status), new_message(SENDER, receipt=receipt)) == Unknown(f"http_{status}")


@pytest.mark.parametrize("receipt", [None, BERICHT_ID])
async def test_a_question_without_a_readable_answer_is_unknown(receipt: str | None) -> None:
    message = new_message(SENDER, receipt=receipt)
    assert await find_one(always(200, b"<html>"), message) == Unknown("unreadable_answer")
    assert await find_one(failing(httpx.ConnectError("x")), message) == Unknown("connect_error")
    assert await find_one(failing(httpx.ReadTimeout("x")), message) == Unknown("timeout")


async def test_a_text_that_cannot_be_fetched_is_unknown() -> None:
    async with portal(text_in_list=False) as (side, mock):
        message = new_message(SENDER)
        await side.box.place(messages=[message])
        (bericht,) = mock.berichten.values()

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/api/v1/berichten":
                return httpx.Response(200, json=shelf({"berichtId": bericht.id}))
            return httpx.Response(404)

        assert await find_one(answer, message) == Unknown("http_404")


async def test_by_receipt_a_placed_message_is_found_and_a_deleted_one_is_not_absent() -> None:
    async with portal() as (side, _):
        message = new_message(SENDER)
        (answer,) = await side.box.place(messages=[message])
        asked = replace(message, receipt=_receipt(answer))
        (found,) = await side.box.lookup(messages=[asked])
        assert found == replace(answer, already=True)
        headers = {"X-Ontvanger": f"BSN:{message.addressee.number}", "Authorization": f"Bearer {TOKEN}"}
        await side.mock.delete(f"/api/v1/berichten/{asked.receipt}", headers=headers)
        assert await side.box.lookup(messages=[asked]) == [Unknown("http_404")]


# ---------------------------------------------------------------------------------------------------- the mock store


def sample(**changes: Any) -> dict[str, Any]:
    return {
        "afzender": "00000001003214345000",
        "ontvanger": {"type": "BSN", "waarde": "123456782"},
        "onderwerp": "o",
        "inhoud": "i",
    } | changes


def attachment(**changes: Any) -> dict[str, Any]:
    return {"naam": "n", "mimeType": "application/pdf", "inhoud": "aGFsbG8="} | changes


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (201, {}, sample()),
        (201, {"Accept": "*/*"}, sample(publicatietijdstip="2026-05-13T08:00:00Z")),
        (201, {}, sample(ontvanger={"type": "RSIN", "waarde": "002564440"}, bijlagen=[attachment()])),
        (201, {}, sample(ontvanger={"type": "KVK", "waarde": "12345678"})),
        (201, {}, sample(ontvanger={"type": "OIN", "waarde": "00000001003214345000"})),
        (401, {"Authorization": "Bearer anders"}, sample()),
        (406, {"Accept": "text/html"}, sample()),
        (415, {"Content-Type": "text/plain"}, sample()),
        (400, {}, []),
        (400, {}, {}),
        (400, {}, sample(afzender="123")),
        (400, {}, sample(onderwerp="")),
        (400, {}, sample(onderwerp="o" * 256)),
        (400, {}, sample(inhoud="")),
        (400, {}, sample(inhoud="é" * 524_289)),
        (400, {}, sample(ontvanger={"type": "BSN", "waarde": "123456789"})),
        (400, {}, sample(ontvanger={"type": "BSN", "waarde": "000000000"})),
        (400, {}, sample(ontvanger={"type": "KVK", "waarde": "123456789"})),
        (400, {}, sample(ontvanger={"type": "X", "waarde": "12345678"})),
        (400, {}, sample(publicatietijdstip="2026-05-13T08:00:00")),
        (400, {}, sample(onbekend="x")),
        (400, {}, sample(bijlagen=[attachment(naam="")])),
        (400, {}, sample(bijlagen=[attachment(mimeType="m" * 128)])),
        (400, {}, sample(bijlagen=[attachment(inhoud="%%")])),
    ],
    ids=lambda value: None if isinstance(value, dict | list) and value else str(value),
)
async def test_the_mock_is_strict(status: int, headers: dict[str, str], body: object) -> None:
    transport = httpx.ASGITransport(create_mock(clock=utc_now, token=TOKEN))
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"} | headers
    async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
        response = await client.post("/api/v1/aanleveringen", content=json.dumps(body), headers=sent)
    assert response.status_code == status
    assert response.headers["API-Version"] == "0.2.0"
    if status != 201:
        assert response.headers["Content-Type"].startswith("application/problem+json")
        assert {"type", "title", "status"} <= set(response.json())


@pytest.mark.parametrize(
    ("status", "path", "ontvanger"),
    [
        (200, "/berichten", "BSN:123456782"),
        (200, "/berichten?afzender=00000001003214345000&page=0&pageSize=100", "BSN:123456782"),
        (400, "/berichten", ""),
        (400, "/berichten", "123456782"),
        (400, "/berichten", "BSN:123456789"),
        (400, "/berichten?afzender=1", "BSN:123456782"),
        (400, "/berichten?page=-1", "BSN:123456782"),
        (400, "/berichten?pageSize=101", "BSN:123456782"),
        (400, "/berichten?pageSize=x", "BSN:123456782"),
        (200, "/berichten/{id}", "BSN:123456782"),
        (403, "/berichten/{id}", "KVK:12345678"),
        (404, "/berichten/onbekend", "BSN:123456782"),
        (404, "/berichten/{id}/bijlagen/0", "BSN:123456782"),
        (404, "/elders", "BSN:123456782"),
    ],
)
async def test_the_mock_is_strict_about_reading(status: int, path: str, ontvanger: str) -> None:
    transport = httpx.ASGITransport(create_mock(clock=utc_now))
    async with httpx.AsyncClient(transport=transport, base_url="http://mock/api/v1") as client:
        bericht = (await client.post("/aanleveringen", json=sample())).json()
        response = await client.get(path.format(id=bericht["berichtId"]), headers={"X-Ontvanger": ontvanger})
        assert response.status_code == status
        assert response.headers["API-Version"] == "0.2.0"


async def test_the_mock_counts_the_same_message_twice() -> None:
    transport = httpx.ASGITransport(create_mock(clock=utc_now))
    async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
        for _ in range(2):
            await client.post("/api/v1/aanleveringen", json=sample(inhoud="i\n\nKenmerk: K-1"))
        (placement,) = (await client.get("/_mock/plaatsingen")).json()
        assert (placement["id"], placement["count"], placement["ontvanger"]) == ("K-1", 2, "*******82")
        assert (await client.post("/_mock/gedrag", json={"gedrag": "iets"})).status_code == 400
