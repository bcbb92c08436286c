"""The MijnOverheid adapter against the suite of all boxes, and against each word of the REST gateway v1.0."""

import base64
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bode_adapters.contract import (
    Absent,
    Answer,
    Box,
    BoxMessage,
    Identifier,
    IdentifierKind,
    Pending,
    Placed,
    RefusalKind,
    Refused,
    Sender,
    SettingError,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid import MijnOverheidBox, MijnOverheidSettings
from bode_adapters.mijnoverheid.results import RESULTS
from bode_adapters.mijnoverheid.mock import MockMijnOverheid, create_mock
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

API_KEY = "sleutel-van-de-proef"
SENDER = Sender(
    oin="00000001003214345000",
    name="Gemeente Voorbeeld",
    email="post@voorbeeld.example",
    box_types={"mijnoverheid": "BESLUIT"},
)
SETTINGS: dict[str, object] = {
    "base_url": "http://127.0.0.1:1",
    "allow_plain_http": True,
    "api_key": API_KEY,
    "leverancier_oin": "00000003564624920000",
    "timeout_seconds": 0.3,
}
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
STATUS_ID = "8c33fde4-cd2f-45ef-b2ba-24a4a46ba92a"

Handler = Callable[[httpx.Request], httpx.Response]


def new_box(url: str) -> MijnOverheidBox:
    return MijnOverheidBox.from_settings(SETTINGS | {"base_url": url}, clock=utc_now)


@asynccontextmanager
async def gateway(**options: Any) -> AsyncGenerator[tuple[MockedSide, MockMijnOverheid]]:
    """Serve the mock, and give it with its state."""
    app = create_mock(clock=utc_now, api_key=API_KEY, **options)
    mock: MockMijnOverheid = app.state.mock
    async with mocked_side(app, box=new_box, sender=SENDER, unreachable="NietActiefOfGeabonneerd") as side:
        yield side, mock


@asynccontextmanager
async def answering(handler: Handler) -> AsyncGenerator[MijnOverheidBox]:
    """Give a box whose other side is a function: for answers that no mock server would give."""
    box = MijnOverheidBox(
        MijnOverheidSettings.read(SETTINGS), clock=lambda: NOW, transport=httpx.MockTransport(handler)
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


async def ask_one(handler: Handler, message: BoxMessage | None = None) -> Answer:
    message = replace(message or new_message(SENDER), receipt=STATUS_ID)
    async with answering(handler) as box:
        (answer,) = await box.lookup(messages=[message])
        return answer


def report(
    message: BoxMessage, *codes: str, at: str | None = "2026-03-02T09:00:00.170Z", status: str = "REPORT"
) -> Any:
    results = [{"BerichtID": str(message.id), "VerwerkingsCode": code} for code in codes]
    return {"id": STATUS_ID, "status": status, "context": {"Verwerkt": {"DatumVerwerkt": at, "Berichten": results}}}


class TestAsABox(BoxSuite):
    lacks = frozenset({Lacks.CHECK})

    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        app = create_mock(clock=utc_now, api_key=API_KEY, result_delay_seconds=0.03)
        return mocked_side(app, box=new_box, sender=SENDER, unreachable="NietActiefOfGeabonneerd")


# ------------------------------------------------------------------------------------------------------------ settings


def test_it_is_a_box() -> None:
    assert isinstance(new_box("http://127.0.0.1:1"), Box)


@pytest.mark.parametrize("missing", ["base_url", "api_key", "leverancier_oin"])
def test_a_required_setting_is_named(missing: str) -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read({key: value for key, value in SETTINGS.items() if key != missing})
    assert error.value.key == missing


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_url", "http://gateway.example"),
        ("base_url", "ftp://127.0.0.1"),
        ("base_url", "https://"),
        ("base_url", "https://gateway.example/?x=1"),
        ("base_url", "https://[::1"),
        ("base_url", 8080),
        ("leverancier_oin", "123"),
        ("leverancier_oin", 12345678901234567890),
        ("timeout_seconds", 0),
        ("timeout_seconds", 301),
        ("timeout_seconds", True),
        ("timeout_seconds", "30"),
        ("concurrency", 0),
        ("concurrency", 101),
        ("concurrency", 1.5),
        ("concurrency", True),
        ("allow_plain_http", "ja"),
    ],
)
def test_a_setting_out_of_bounds_is_named(key: str, value: object) -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read(SETTINGS | {key: value})
    assert error.value.key == key


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plain_http_is_for_this_machine_and_only_when_allowed(host: str) -> None:
    plain = SETTINGS | {"base_url": f"http://{host}:8080"}
    MijnOverheidSettings.read(plain)
    with pytest.raises(SettingError, match="https"):
        MijnOverheidSettings.read(plain | {"allow_plain_http": False})


@pytest.mark.parametrize("settings", [{"api_key": "GEHEIM met blanco"}, {"api_kye": "GEHEIM"}, {"api_key": ["GEHEIM"]}])
def test_no_secret_is_in_an_error(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read(SETTINGS | settings)
    assert "GEHEIM" not in str(error.value)
    assert "GEHEIM" not in repr(error.value.value)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError) as error:
        MijnOverheidSettings.read(SETTINGS | {"base_url": "https://iemand:GEHEIM@gateway.example"})
    assert "GEHEIM" not in str(error.value)


def test_the_key_is_in_no_repr() -> None:
    settings = MijnOverheidSettings.read(SETTINGS)
    assert API_KEY not in repr(settings)
    assert API_KEY not in repr(MijnOverheidBox(settings, clock=utc_now))


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
        return httpx.Response(201, json={"statusID": STATUS_ID, "statusURI": "/"})

    publish_at = datetime(2026, 3, 5, 8, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    message = new_message(
        SENDER,
        text="een\ntwee\r\ndrie\rvier",
        publish_at=publish_at,
        documents=(new_document(20, "eerste.pdf"), new_document(30, "tweede.pdf")),
    )
    async with answering(take) as box:
        assert await box.place(messages=[message]) == [Pending(receipt=STATUS_ID)]
    (request,) = sent
    assert request.method == "POST"
    assert request.url.path == "/api/berichtenbox/v1/berichten"
    assert request.headers["X-API-Key"] == API_KEY
    assert request.headers["X-Message-ID"] == str(message.batch)
    assert request.headers["Content-Type"] == "application/json"
    body = json.loads(request.content)
    assert body == {
        "BerichtLeverancierID": SETTINGS["leverancier_oin"],
        "Berichten": [
            {
                "BerichtID": str(message.id),
                "BerichtType": "BESLUIT",
                "Onderwerp": message.subject,
                "Berichttekst": "een\r\ntwee\r\ndrie\r\nvier",
                "GebruikerID": message.addressee.number,
                "PublicatieDatum": "2026-03-05T07:00:01Z",
                "Referentie": message.reference,
                "Bijlagen": [
                    {
                        "Inhoud": base64.b64encode(message.documents[0].content).decode(),
                        "Omschrijving": "eerste.pdf",
                        "Volgorde": "2",
                    },
                    {
                        "Inhoud": base64.b64encode(message.documents[1].content).decode(),
                        "Omschrijving": "tweede.pdf",
                        "Volgorde": "1",
                    },
                ],
            }
        ],
    }


async def test_a_repeat_is_the_same_to_the_byte() -> None:
    sent: list[bytes] = []

    def take(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(500)

    message = new_message(SENDER, publish_at=NOW, documents=(new_document(20),))
    async with answering(take) as box:
        await box.place(messages=[message])
        await box.place(messages=[message])
    assert sent[0] == sent[1]


async def test_a_path_in_the_base_address_is_kept() -> None:
    box = MijnOverheidBox(
        MijnOverheidSettings.read(SETTINGS | {"base_url": "https://gateway.example/demo"}),
        clock=utc_now,
        transport=httpx.MockTransport(
            lambda request: (
                httpx.Response(201, json={"statusID": STATUS_ID})
                if request.url.path == "/demo/api/berichtenbox/v1/berichten"
                else httpx.Response(404)
            )
        ),
    )
    await box.open()
    assert await box.place(messages=[new_message(SENDER)]) == [Pending(receipt=STATUS_ID)]
    await box.close()


async def test_one_call_per_batch_in_any_order_of_messages() -> None:
    async with gateway() as (side, mock):
        first, second = uuid4(), uuid4()
        messages = [new_message(SENDER, batch=batch) for batch in (first, second, first, second, first)]
        answers = await side.box.place(messages=messages)
        assert set(mock.calls) == {str(first), str(second)}
        receipts = [answer.receipt for answer in answers if isinstance(answer, Pending)]
        assert receipts == [mock.calls[str(message.batch)].receipt for message in messages]


async def test_one_question_per_receipt() -> None:
    asked: list[str] = []
    messages = [new_message(SENDER, receipt=STATUS_ID), new_message(SENDER, receipt=STATUS_ID)]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=report(messages[1], "Verwerkt"))

    async with answering(answer) as box:
        first, second = await box.lookup(messages=messages)
    assert asked == [f"/api/berichtenbox/v1/status/{STATUS_ID}"]
    assert first == Unknown("not_in_result")
    assert isinstance(second, Placed)


async def test_a_batch_over_ten_is_our_fault_and_is_not_sent() -> None:
    async with gateway() as (side, mock):
        batch = uuid4()
        other = new_message(SENDER)
        answers = await side.box.place(messages=[*(new_message(SENDER, batch=batch) for _ in range(11)), other])
        assert [type(answer) for answer in answers] == [Refused] * 11 + [Pending]
        assert isinstance(answers[0], Refused)
        assert (answers[0].code, answers[0].kind) == ("limiet:batch", RefusalKind.DEFECT)
        assert set(mock.calls) == {str(other.batch)}


# -------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "o"},
        {"subject": "o" * 50},
        {"text": ""},
        {"text": "t" * 4000},
        {"text": "t\n" * 1333 + "t"},
        {"reference": ""},
        {"reference": "r" * 25},
        {"sender": replace(SENDER, box_types={"mijnoverheid": "12345678"})},
        {"documents": (new_document(250_000, "n" * 128), new_document(250_000, "n"))},
    ],
    ids=str,
)
async def test_just_within_a_limit_is_placed(changes: dict[str, Any]) -> None:
    async with gateway() as (side, _):
        message = new_message(SENDER, **changes)
        (answer,) = await side.box.place(messages=[message])
        assert isinstance(answer, Pending)
        (answer,) = await side.box.lookup(messages=[replace(message, receipt=answer.receipt)])
        assert isinstance(answer, Placed)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("subject", {"subject": ""}),
        ("subject", {"subject": "o" * 51}),
        ("text", {"text": "t" * 4001}),
        ("text", {"text": "t\n" * 1333 + "tt"}),
        ("reference", {"reference": "r" * 26}),
        ("addressee", {"addressee": Identifier(IdentifierKind.BSN, "12345678")}),
        ("addressee", {"addressee": Identifier(IdentifierKind.BSN, "1234567890")}),
        ("documents", {"documents": (new_document(9),) * 3}),
        ("documents_bytes", {"documents": (new_document(250_000), new_document(250_001))}),
        ("media_type", {"documents": (replace(new_document(9), media_type="image/png"),)}),
        ("description", {"documents": (new_document(9, "n" * 129),)}),
        ("description", {"documents": (new_document(9, ""),)}),
        ("characters", {"text": "een\x0btwee"}),
        ("characters", {"subject": "half \ud83d"}),
    ],
)
async def test_over_a_limit_is_refused_for_its_content_without_a_call(field: str, changes: dict[str, Any]) -> None:
    answer = await place_one(always(500), **changes)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == (f"limiet:{field}", RefusalKind.CONTENT)


@pytest.mark.parametrize("types", [{}, {"mijnoverheid": ""}, {"mijnoverheid": "123456789"}])
async def test_a_message_type_that_is_not_registered_is_configuration(types: dict[str, str]) -> None:
    answer = await place_one(always(500), sender=replace(SENDER, box_types=types))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("limiet:box_type", RefusalKind.CONFIGURATION)


async def test_the_rest_of_a_batch_goes_on_and_a_repeat_has_the_same_members() -> None:
    async with gateway() as (side, mock):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch, subject=subject) for subject in ("een", "x" * 51, "drie")]
        first = await side.box.place(messages=messages)
        assert [type(answer) for answer in first] == [Pending, Refused, Pending]
        again = await side.box.place(messages=messages)
        assert again[0] == replace(_pending(first[0]), code="http_409")
        assert again[1] == first[1]
        assert [bericht.Onderwerp for bericht in mock.received] == ["een", "drie"]


# ------------------------------------------------------------------------------------------------- statuses of a call


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusalKind.DEFECT),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (404, RefusalKind.CONFIGURATION),
        (405, RefusalKind.CONFIGURATION),
        (413, RefusalKind.CONFIGURATION),
        (302, RefusalKind.UNRECOGNISED),
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
async def test_every_status_of_a_call(status: int, expected: RefusalKind | type[Answer]) -> None:
    answer = await place_one(always(status, {"error": "met persoonsgegevens"}))
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
        assert "persoonsgegevens" not in answer.text
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Refused | Unavailable | Unknown)
    assert answer.code == f"http_{status}"


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"statusID": "../x"}', b'{"statusID": 7}'])
async def test_a_success_that_cannot_be_read_is_unknown(status: int, body: bytes) -> None:
    assert await place_one(always(status, body)) == Unknown("unreadable_answer")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_message_goes_nowhere_but_to_the_address_in_the_settings(status: int) -> None:
    asked: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(status, headers={"Location": "https://elders.example/"})

    assert isinstance(await place_one(redirect), Refused)
    assert asked == ["127.0.0.1"]


async def test_a_batch_that_was_sent_before_gives_the_first_receipt() -> None:
    answer = await place_one(always(409, {"error": "conflict", "statusID": STATUS_ID}))
    assert answer == Pending(receipt=STATUS_ID, code="http_409")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Mon, 02 Mar 2026 09:31:00 GMT", 60.0),
        ("Mon, 02 Mar 2026 09:00:00 GMT", 0.0),
        ("Mon, 02 Mar 2026 09:31:00 -0000", 60.0),
        ("straks", None),
        ("-5", None),
        ("", None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    answer = await place_one(always(503, **{"Retry-After": value}))
    assert answer == Unavailable("http_503", retry_after=seconds)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), Unavailable("connect_error")),
        (httpx.ConnectTimeout("x"), Unavailable("connect_error")),
        (httpx.ProxyError("x"), Unavailable("connect_error")),
        (httpx.ReadTimeout("x"), Unknown("timeout")),
        (httpx.WriteTimeout("x"), Unknown("timeout")),
        (httpx.ReadError("x"), Unknown("connection_lost")),
        (httpx.WriteError("x"), Unknown("connection_lost")),
        (httpx.RemoteProtocolError("x"), Unknown("connection_lost")),
        (httpx.DecodingError("x"), Unknown("connection_lost")),
    ],
    ids=repr,
)
async def test_nothing_sent_is_unavailable_and_anything_later_is_unknown(error: Exception, expected: Answer) -> None:
    assert await place_one(failing(error)) == expected


@pytest.mark.law("L6")
@pytest.mark.parametrize("gedrag", ["timeout-na-acceptatie", "verbreek", "onleesbaar", "fout-na-acceptatie"])
async def test_a_lost_answer_is_found_by_the_same_batch_and_placed_once(gedrag: str) -> None:
    async with gateway() as (side, _):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch), new_message(SENDER, batch=batch)]
        await side.order(gedrag, keer=1)
        assert {type(answer) for answer in await side.box.place(messages=messages)} == {Unknown}
        answers = await settled(side.box, messages)
        assert {type(answer) for answer in answers} == {Placed}
        assert [await side.times_placed(message) for message in messages] == [1, 1]


async def test_a_call_that_fails_leaves_other_calls_alone() -> None:
    async with gateway() as (side, _):
        messages = [new_message(SENDER), new_message(SENDER)]
        await side.order("http-503", ontvanger=messages[0].addressee.number, code="7")
        first, second = await side.box.place(messages=messages)
        assert first == Unavailable("http_503", retry_after=7.0)
        assert isinstance(second, Pending)


# ----------------------------------------------------------------------------------------------- results of a message


RESULT_CODES = [
    ("Verwerkt", Placed),
    ("00", Placed),
    ("BerichtBestaatAl", Placed),
    ("TechnischProbleem", Unavailable),
    ("AanmaakDatumLigtTeVerInHetVerleden", Unavailable),
    ("NietActiefOfGeabonneerd", RefusalKind.ADDRESSEE),
    ("PublicatieDatumLigtTeVerInDeToekomst", RefusalKind.CONTENT),
    ("BijlageTeGroot", RefusalKind.CONTENT),
    ("BerichtTypeNietOndersteund", RefusalKind.CONFIGURATION),
    ("OinInCPAKomtNietOvereenMetOinInBericht", RefusalKind.CONFIGURATION),
    ("XmlValidatieTegenXsdValtNegatiefUit", RefusalKind.DEFECT),
    ("verwerkt", RefusalKind.UNRECOGNISED),
    ("Postvak vol", RefusalKind.UNRECOGNISED),
]


@pytest.mark.parametrize(("code", "expected"), RESULT_CODES)
async def test_every_result_code(code: str, expected: RefusalKind | type[Answer]) -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, code)), message)
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Placed | Refused | Unavailable)
    assert answer.code == code


def test_no_result_code_is_left_out() -> None:
    assert set(RESULTS) == {code for code, expected in RESULT_CODES if expected is not RefusalKind.UNRECOGNISED}


@pytest.mark.law("L10")
async def test_placed_at_the_moment_of_the_report() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt")), message)
    at = datetime(2026, 3, 2, 9, 0, 0, 170_000, tzinfo=UTC)
    assert answer == Placed(at=at, source=TimeSource.OTHER_SIDE, receipt=STATUS_ID, code="Verwerkt")


@pytest.mark.law("L10")
@pytest.mark.parametrize("at", [None, "", "gisteren", "2026-03-02T09:00:00"])
async def test_without_a_certain_moment_our_clock_counts(at: str | None) -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", at=at)), message)
    assert isinstance(answer, Placed)
    assert (answer.at, answer.source) == (NOW, TimeSource.OUR_CLOCK)


@pytest.mark.law("L10")
async def test_not_accessible_before_its_moment_of_publication() -> None:
    message = new_message(SENDER, publish_at=NOW + timedelta(days=3))
    answer = await ask_one(always(200, report(message, "Verwerkt")), message)
    assert isinstance(answer, Placed)
    assert answer.at == message.publish_at


async def test_a_message_that_was_there_already_is_placed_already() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "BerichtBestaatAl")), message)
    assert isinstance(answer, Placed)
    assert answer.already


async def test_an_id_in_capitals_is_the_same_id() -> None:
    message = new_message(SENDER)
    body = json.dumps(report(message, "Verwerkt")).replace(str(message.id), str(message.id).upper()).encode()
    assert isinstance(await ask_one(always(200, body), message), Placed)


async def test_the_same_result_twice_is_one_result() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", "Verwerkt")), message)
    assert isinstance(answer, Placed)
    assert not answer.already


async def test_placed_and_then_known_is_placed_by_this_call() -> None:
    message = new_message(SENDER)
    for codes in (("Verwerkt", "BerichtBestaatAl"), ("BerichtBestaatAl", "Verwerkt")):
        answer = await ask_one(always(200, report(message, *codes)), message)
        assert isinstance(answer, Placed)
        assert answer.code == "Verwerkt"


async def test_results_that_contradict_each_other_are_for_a_person() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", "TechnischProbleem")), message)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("Verwerkt+TechnischProbleem", RefusalKind.UNRECOGNISED)


@pytest.mark.law("L10")
@pytest.mark.parametrize("status", ["RECEIVED", "IN_PROGRESS", "DELIVERED"])
async def test_a_call_under_way_is_pending(status: str) -> None:
    answer = await ask_one(always(200, {"id": STATUS_ID, "status": status}))
    assert answer == Pending(receipt=STATUS_ID, code=status)


@pytest.mark.parametrize("status", ["RECEIVED", "IN_PROGRESS", "DELIVERED", "FAILED", "REPORT", "NIEUW", None])
async def test_a_result_counts_whatever_the_status_beside_it(status: str) -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", status=status)), message)
    assert isinstance(answer, Placed)


async def test_a_report_without_the_message_is_unknown() -> None:
    assert await ask_one(always(200, report(new_message(SENDER), "Verwerkt"))) == Unknown("not_in_result")
    assert await ask_one(always(200, {"id": STATUS_ID, "status": "REPORT"})) == Unknown("not_in_result")


@pytest.mark.parametrize("stage", ["IN_PROGRESS", "DELIVERED", "REPORT", "FAILED"])
async def test_a_message_that_was_not_in_the_call_is_absent(stage: str) -> None:
    message, other = new_message(SENDER), new_message(SENDER)
    body = report(other, "Verwerkt", status=stage)
    body["context"]["Aangeleverd"] = {"Berichten": [{"BerichtID": str(other.id)}]}
    assert await ask_one(always(200, body), message) == Absent("not_in_call")
    body["context"]["Aangeleverd"] = {"Berichten": []}
    assert await ask_one(always(200, body), message) == Unknown("not_in_result")


@pytest.mark.law("L6")
async def test_a_batch_repeated_in_parts_is_settled_and_placed_once() -> None:
    async with gateway() as (side, _):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch), new_message(SENDER, batch=batch)]
        # The first call never arrived; its repeat comes in two parts.
        (first,) = await settled(side.box, messages[:1])
        assert isinstance(first, Placed)
        assert await settled(side.box, messages[1:]) == [Absent("not_in_call")]
        (second,) = await settled(side.box, [replace(messages[1], batch=uuid4())])
        assert isinstance(second, Placed)
        assert [await side.times_placed(message) for message in messages] == [1, 1]


async def test_a_failed_call_without_results_was_not_placed() -> None:
    assert await ask_one(always(200, {"id": STATUS_ID, "status": "FAILED"})) == Unavailable("FAILED")


@pytest.mark.parametrize("status", ["NIEUW", "", None])
async def test_a_status_that_is_not_known_is_for_a_person(status: str | None) -> None:
    answer = await ask_one(always(200, {"id": STATUS_ID, "status": status}))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == (f"status:{status or ''}", RefusalKind.UNRECOGNISED)


async def test_an_unknown_word_is_kept_short_and_without_numbers() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "x" * 100)), message)
    assert isinstance(answer, Refused)
    assert answer.code == "x" * 60
    answer = await ask_one(always(200, report(message, "Fout bij 999990019\n")), message)
    assert isinstance(answer, Refused)
    assert answer.code == "Fout bij ***?"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusalKind.DEFECT),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (404, Absent),
        (418, Pending),
        (429, Pending),
        (500, Pending),
        (502, Pending),
        (503, Pending),
    ],
)
async def test_every_status_of_a_question(status: int, expected: RefusalKind | type[Answer]) -> None:
    answer = await ask_one(always(status, {"error": "x"}))
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Refused | Absent | Pending)
    assert answer.code == f"http_{status}"


async def test_a_page_of_something_in_between_is_not_absent() -> None:
    assert await ask_one(always(404, b"<html>")) == Pending(receipt=STATUS_ID, code="http_404")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status": 7}'])
async def test_a_status_that_cannot_be_read_changes_nothing(body: bytes) -> None:
    assert await ask_one(always(200, body)) == Pending(receipt=STATUS_ID, code="unreadable_answer")


@pytest.mark.parametrize(
    ("error", "code"), [(httpx.ConnectError("x"), "connect_error"), (httpx.ReadTimeout("x"), "timeout")]
)
async def test_a_question_without_an_answer_changes_nothing(error: Exception, code: str) -> None:
    assert await ask_one(failing(error)) == Pending(receipt=STATUS_ID, code=code)


async def test_without_a_receipt_the_same_batch_is_to_be_placed_again() -> None:
    async with answering(always(500)) as box:
        assert await box.lookup(messages=[new_message(SENDER)]) == [Unknown("no_receipt")]


# --------------------------------------------------------------------------------------------------- the mock gateway


async def settled(box: Box, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
    answers = await box.place(messages=messages)
    asked = [
        replace(message, receipt=_pending(answer).receipt) for message, answer in zip(messages, answers, strict=True)
    ]
    return await box.lookup(messages=asked)


def _pending(answer: Answer) -> Pending:
    assert isinstance(answer, Pending)
    return answer


@pytest.mark.parametrize(("code", "expected"), [row for row in RESULT_CODES if row[0] in RESULTS and row[0] != "00"])
async def test_the_mock_gives_any_result(code: str, expected: RefusalKind | type[Answer]) -> None:
    async with gateway() as (side, _):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch), new_message(SENDER, batch=batch)]
        await side.order(code, ontvanger=messages[0].addressee.number)
        first, second = await settled(side.box, messages)
        assert first.kind is expected if isinstance(first, Refused) else isinstance(first, expected)  # type: ignore[arg-type]
        assert isinstance(second, Placed)


@pytest.mark.parametrize(
    ("gedrag", "expected"),
    [
        ("nooit-resultaat", Pending),
        ("mislukt", Unavailable),
        ("dubbel-resultaat", Placed),
        ("ontbreekt-in-resultaat", Unknown),
        ("vraag-http-500", Pending),
        ("vraag-http-401", Refused),
    ],
)
async def test_the_mock_misbehaves_in_its_results(gedrag: str, expected: type[Answer]) -> None:
    async with gateway() as (side, _):
        messages = [new_message(SENDER)]
        await side.order(gedrag, keer=1)
        (answer,) = await settled(side.box, messages)
        assert isinstance(answer, expected)


@pytest.mark.law("L6")
async def test_after_a_technical_problem_a_new_batch_places_the_message_once() -> None:
    async with gateway() as (side, _):
        message = new_message(SENDER)
        await side.order("TechnischProbleem", keer=1)
        assert await settled(side.box, [message]) == [Unavailable("TechnischProbleem")]
        # The same batch gives the old result for ever.
        assert await settled(side.box, [message]) == [Unavailable("TechnischProbleem")]
        (answer,) = await settled(side.box, [replace(message, batch=uuid4())])
        assert isinstance(answer, Placed)
        assert await side.times_placed(message) == 1


async def test_the_mock_finds_what_a_box_would() -> None:
    async with gateway(berichttypes=frozenset({"BESLUIT"})) as (side, _):
        messages = [
            new_message(SENDER, sender=replace(SENDER, box_types={"mijnoverheid": "ANDERS"})),
            new_message(SENDER, publish_at=utc_now() + timedelta(days=14)),
            new_message(SENDER, publish_at=utc_now() + timedelta(days=12)),
        ]
        answers = await settled(side.box, messages)
        assert isinstance(answers[0], Refused)
        assert answers[0].code == "BerichtTypeNietOndersteund"
        assert isinstance(answers[1], Refused)
        assert answers[1].code == "PublicatieDatumLigtTeVerInDeToekomst"
        assert isinstance(answers[2], Placed)


def sample(**changes: Any) -> dict[str, Any]:
    return {
        "BerichtID": str(uuid4()),
        "BerichtType": "BESLUIT",
        "Onderwerp": "o",
        "Berichttekst": "t",
        "GebruikerID": "999990019",
    } | changes


PDF = base64.b64encode(b"%PDF-1.7").decode()


@pytest.mark.parametrize(
    ("status", "headers", "berichten"),
    [
        (201, {}, [sample()]),
        (201, {}, [sample(Bijlagen=[{"Inhoud": PDF, "Omschrijving": "a"}])]),
        (401, {"X-API-Key": "verkeerd"}, [sample()]),
        (400, {"X-Message-ID": ""}, [sample()]),
        (400, {"X-Message-ID": "A" * 36}, [sample()]),
        (400, {"Content-Type": "text/plain"}, [sample()]),
        (400, {}, []),
        (400, {}, [sample()] * 11),
        (400, {}, [sample(Onderwerp="o" * 51)]),
        (400, {}, [sample(Onderwerp="")]),
        (400, {}, [sample(Berichttekst="t" * 4001)]),
        (400, {}, [sample(Referentie="r" * 26)]),
        (400, {}, [sample(BerichtType="123456789")]),
        (400, {}, [sample(GebruikerID="12345678")]),
        (400, {}, [sample(BerichtID="x")]),
        (400, {}, [sample(PublicatieDatum="2026-01-01T00:00:00")]),
        (400, {}, [sample(Onbekend="x")]),
        (400, {}, [sample(Bijlagen=[{"Inhoud": PDF, "Omschrijving": "a"}] * 3)]),
        (400, {}, [sample(Bijlagen=[{"Inhoud": "%%%", "Omschrijving": "a"}])]),
        (400, {}, [sample(Bijlagen=[{"Inhoud": "aGFsbG8=", "Omschrijving": "a"}])]),
        (400, {}, [sample(Bijlagen=[{"Inhoud": PDF, "Omschrijving": "a" * 129}])]),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value),
)
async def test_the_mock_is_strict(status: int, headers: dict[str, str], berichten: list[object]) -> None:
    transport = httpx.ASGITransport(create_mock(clock=utc_now, api_key=API_KEY))
    sent = {"X-API-Key": API_KEY, "X-Message-ID": str(uuid4()), "Content-Type": "application/json"} | headers
    async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
        body = json.dumps({"BerichtLeverancierID": "0" * 20, "Berichten": berichten})
        response = await client.post("/api/berichtenbox/v1/berichten", content=body, headers=sent)
        assert response.status_code == status
        assert set(response.json()) == ({"statusID", "statusURI"} if status == 201 else {"error"})


async def test_the_mock_answers_a_batch_it_knows_with_its_status() -> None:
    transport = httpx.ASGITransport(create_mock(clock=utc_now))
    async with httpx.AsyncClient(transport=transport, base_url="http://mock", headers={"X-API-Key": "mock"}) as client:
        call = {"json": {"BerichtLeverancierID": "0" * 20, "Berichten": [sample()]}}
        headers = {"X-Message-ID": str(uuid4())}
        first = await client.post("/api/berichtenbox/v1/berichten", headers=headers, **call)
        again = await client.post("/api/berichtenbox/v1/berichten", headers=headers, **call)
        assert again.status_code == 409
        assert again.json()["statusID"] == first.json()["statusID"]
        status = await client.get(first.json()["statusURI"])
        assert status.json()["status"] == "REPORT"
        assert (await client.get(f"/api/berichtenbox/v1/status/{uuid4()}")).status_code == 404
        assert (await client.get("/api/berichtenbox/v1/status/x")).status_code == 400
        assert (await client.get(first.json()["statusURI"], headers={"X-API-Key": "x"})).status_code == 401
        assert (await client.post("/_mock/gedrag", json={"gedrag": "iets"})).status_code == 400
        assert (await client.post("/_mock/gedrag", json={"gedrag": "http-500", "keer": 0})).status_code == 400
        (placement,) = (await client.get("/_mock/plaatsingen")).json()
        assert placement["ontvanger"] == "*******19"
        assert placement["count"] == 1
