"""What is sent through the REST gateway v1.0, and each status of a call."""

import base64
import json
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import httpx
import pytest
from mijnoverheid_sides import (
    API_KEY,
    NOW,
    SENDER,
    SETTINGS,
    STATUS_ID,
    always,
    answering,
    failing,
    gateway,
    place_one,
    report,
    settled,
)

from bode_adapters.contract import (
    Answer,
    Pending,
    Placed,
    RefusalKind,
    Refused,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid import MijnOverheidBox, MijnOverheidSettings
from bode_adapters.testing.box import (
    new_document,
    new_message,
    utc_now,
)


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


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusalKind.DEFECT),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (404, RefusalKind.CONFIGURATION),
        (405, RefusalKind.CONFIGURATION),
        (413, RefusalKind.CONFIGURATION),
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
