"""The other sides that the tests of the MijnOverheid adapter have in front of it, and what they say."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from bode_adapters.contract import Answer, Box, BoxMessage, Pending, Placed, RefusalKind, Sender, Unavailable
from bode_adapters.mijnoverheid import MijnOverheidBox, MijnOverheidSettings
from bode_adapters.mijnoverheid import mock_ebms as ebms_mock
from bode_adapters.mijnoverheid.mock import MockMijnOverheid, create_mock
from bode_adapters.mijnoverheid.mock_ebms import MockEbms
from bode_adapters.mijnoverheid.mock_subscriptions import PATH
from bode_adapters.testing.box import MockedSide, mocked_side, new_message, utc_now

API_KEY = "sleutel-van-de-proef"
SENDER = Sender(
    oin="00000001003214345000",
    name="Gemeente Voorbeeld",
    email="post@voorbeeld.example",
    box_types={"mijnoverheid": "BESLUIT"},
)
SETTINGS: dict[str, object] = {
    "base_url": "http://127.0.0.1:1",
    "api_key": API_KEY,
    "leverancier_oin": "00000003564624920000",
    "timeout_seconds": 0.3,
}
EBMS_SETTINGS: dict[str, object] = {
    "transport": "ebms",
    "base_url": "http://127.0.0.1:1",
    "username": "bode",
    "password": API_KEY,
    "cpa_id": "mock-cpa",
    "from_party_id": "urn:osb:oin:00000001999000090000",
    "to_party_id": "urn:osb:oin:00000004003214345001",
    "leverancier_oin": "00000001999000090000",
    "timeout_seconds": 2,
}
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
"""Every result code, and two that are none, with what each means for us."""
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
STATUS_ID = "8c33fde4-cd2f-45ef-b2ba-24a4a46ba92a"

Handler = Callable[[httpx.Request], httpx.Response]


def new_box(url: str, **changes: object) -> MijnOverheidBox:
    checks = {"subscriptions": {"base_url": f"{url}{PATH}"}}
    return MijnOverheidBox.from_settings(SETTINGS | checks | {"base_url": url} | changes, clock=utc_now)


def new_ebms_box(url: str, **changes: object) -> MijnOverheidBox:
    checks = {"subscriptions": {"base_url": f"{url}{PATH}"}}
    return MijnOverheidBox.from_settings(EBMS_SETTINGS | checks | {"base_url": url} | changes, clock=utc_now)


@asynccontextmanager
async def gateway(**options: Any) -> AsyncGenerator[tuple[MockedSide, MockMijnOverheid]]:
    """Serve the mock gateway, and give it with its state."""
    app = create_mock(**({"clock": utc_now, "api_key": API_KEY} | options))
    mock: MockMijnOverheid = app.state.mock
    async with mocked_side(app, box=new_box, sender=SENDER, unreachable="NietActiefOfGeabonneerd") as side:
        yield side, mock


@asynccontextmanager
async def ebms(
    settings: Mapping[str, object] | None = None, **options: Any
) -> AsyncGenerator[tuple[MockedSide, MockEbms]]:
    """Serve the mock ebMS adapter, and give it with its state; `settings` are the box's own."""
    app = ebms_mock.create_mock(**({"clock": utc_now, "login": ("bode", API_KEY)} | options))
    mock: MockEbms = app.state.mock

    def box(url: str) -> MijnOverheidBox:
        return new_ebms_box(url, **(settings or {}))

    async with mocked_side(app, box=box, sender=SENDER, unreachable="NietActiefOfGeabonneerd") as side:
        yield side, mock


@asynccontextmanager
async def answering(handler: Handler, settings: dict[str, object] = SETTINGS) -> AsyncGenerator[MijnOverheidBox]:
    """Give a box whose other side is a function: for answers that no mock server would give."""
    box = MijnOverheidBox(
        MijnOverheidSettings.read(settings), clock=lambda: NOW, transport=httpx.MockTransport(handler)
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


async def place_one(handler: Handler, settings: dict[str, object] = SETTINGS, **changes: Any) -> Answer:
    async with answering(handler, settings) as box:
        (answer,) = await box.place(messages=[new_message(SENDER, **changes)])
        return answer


async def ask_one(handler: Handler, message: BoxMessage | None = None, receipt: str = STATUS_ID, **more: Any) -> Answer:
    message = replace(message or new_message(SENDER), receipt=receipt)
    async with answering(handler, **more) as box:
        (answer,) = await box.lookup(messages=[message])
        return answer


def report(
    message: BoxMessage, *codes: str, at: str | None = "2026-03-02T09:00:00.170Z", status: str = "REPORT"
) -> Any:
    results = [{"BerichtID": str(message.id), "VerwerkingsCode": code, "Stadium": "NA"} for code in codes]
    return {"id": STATUS_ID, "status": status, "context": {"Verwerkt": {"DatumVerwerkt": at, "Berichten": results}}}


async def settled(box: Box, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
    answers = await box.place(messages=messages)
    asked = [
        replace(message, receipt=pending(answer).receipt) for message, answer in zip(messages, answers, strict=True)
    ]
    return await box.lookup(messages=asked)


def pending(answer: Answer) -> Pending:
    assert isinstance(answer, Pending)
    return answer
