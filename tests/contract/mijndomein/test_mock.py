"""The mock message store is as strict as the contract, and stricter."""

import json
from typing import Any

import httpx
import pytest

from bode_adapters.mijndomein.mock import create_mock
from bode_adapters.testing.box import (
    utc_now,
)

from .parts import TOKEN


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
