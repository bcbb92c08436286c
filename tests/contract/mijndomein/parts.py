"""What the tests of the FBS message store share: a portal, and a box whose other side is a function."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from bode_adapters.contract import (
    Answer,
    BoxMessage,
    Placed,
    Sender,
)
from bode_adapters.mijndomein import MijnDomeinBox, MijnDomeinSettings
from bode_adapters.mijndomein.limits import text_as_sent
from bode_adapters.mijndomein.mock import MockMijnDomein, create_mock
from bode_adapters.testing.box import (
    MockedSide,
    mocked_side,
    new_message,
    utc_now,
)

TOKEN = "bewijs-van-de-proef"
SENDER = Sender(oin="00000001003214345000", name="Gemeente Voorbeeld", email="post@voorbeeld.example")
SETTINGS: dict[str, object] = {
    "base_url": "http://127.0.0.1:1/api/v1",
    "token": TOKEN,
    "timeout_seconds": 1.0,
}
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
RECEIVED = datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)
BERICHT_ID = "3f0a5b4e-2a55-4d7e-9a39-5a1f7f4d2a11"

Handler = Callable[[httpx.Request], httpx.Response]


def new_box(url: str) -> MijnDomeinBox:
    return MijnDomeinBox.from_settings(SETTINGS | {"base_url": f"{url}/api/v1"}, clock=utc_now)


@asynccontextmanager
async def portal(*, timeout_seconds: float = 0.3, **options: Any) -> AsyncGenerator[tuple[MockedSide, MockMijnDomein]]:
    """Serve the mock, and give it with its state."""

    def box_at(url: str) -> MijnDomeinBox:
        settings = SETTINGS | {"base_url": f"{url}/api/v1", "timeout_seconds": timeout_seconds}
        return MijnDomeinBox.from_settings(settings, clock=utc_now)

    app = create_mock(clock=utc_now, token=TOKEN, **options)
    mock: MockMijnDomein = app.state.mock
    async with mocked_side(app, box=box_at, sender=SENDER, unreachable="ontvanger-onbekend") as side:
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


def receipt_of(answer: Answer) -> str | None:
    assert isinstance(answer, Placed)
    return answer.receipt


async def open_as_addressee(store: httpx.AsyncClient, message: BoxMessage, receipt: str) -> None:
    """Open a message as the portal does for its addressee."""
    headers = {
        "X-Ontvanger": f"{message.addressee.kind}:{message.addressee.number}",
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/merge-patch+json",
    }
    answer = await store.patch(f"/api/v1/berichten/{receipt}", content=b'{"gelezen": true}', headers=headers)
    answer.raise_for_status()
