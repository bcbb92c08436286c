"""What MijnDomein sends, and what it refuses to send: FBS message store 0.2.0."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import assume, given, strategies

from bode_adapters.contract import (
    Answer,
    Document,
    Identifier,
    IdentifierKind,
    Placed,
    RefusalKind,
    Refused,
    Unavailable,
)
from bode_adapters.mijndomein import MijnDomeinBox
from bode_adapters.mijndomein.limits import last_line, over_limit, reference_line, text_as_sent, valid_number
from bode_adapters.serving import serve
from bode_adapters.testing.box import (
    new_document,
    new_identifier,
    new_message,
    utc_now,
)

from .parts import (
    BERICHT_ID,
    NOW,
    SENDER,
    SETTINGS,
    TOKEN,
    always,
    answering,
    failing,
    place_one,
    portal,
    shelf,
    stored,
)


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
        await asyncio.sleep(0.1)
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


# ---------------------------------------------------------------------------------------------------- limits


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


async def test_a_journal_is_told_of_each_message_and_of_no_more_than_go_at_once() -> None:
    open_now: set[UUID] = set()
    told: list[tuple[str, UUID]] = []
    most = 0

    class Told:
        def leaves(self, item: UUID) -> None:
            nonlocal most
            open_now.add(item)
            most = max(most, len(open_now))
            told.append(("leaves", item))

        def ended(self, item: UUID, answer: Answer) -> None:
            open_now.discard(item)
            told.append((type(answer).__name__, item))

    async def take(request: httpx.Request) -> httpx.Response:
        assert request.method == "POST"
        assert open_now, "it is told before the call"
        await asyncio.sleep(0.01)
        return httpx.Response(503)

    messages = [new_message(SENDER) for _ in range(12)]
    async with answering(take, concurrency=3) as box:
        box.keep_journal(Told())
        answers = await box.place(messages=messages)
    assert most == 3
    assert len(answers) == 12
    for message, answer in zip(messages, answers, strict=True):
        assert [what for what, item in told if item == message.id] == ["leaves", type(answer).__name__]
