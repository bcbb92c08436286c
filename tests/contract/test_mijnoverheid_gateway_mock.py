"""The mock gateway: strict about its contract, wrong on command."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from mijnoverheid_sides import (
    API_KEY,
    RESULT_CODES,
    SENDER,
    gateway,
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
from bode_adapters.mijnoverheid.mock import create_mock, serve_mock
from bode_adapters.mijnoverheid.results import RESULTS
from bode_adapters.mijnoverheid.settings import TransportKind
from bode_adapters.testing.box import (
    new_message,
    utc_now,
)


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
        assert await settled(side.box, [message]) == [Unavailable("TechnischProbleem", stage="StoreMessage")]
        # The same batch gives the old result for ever.
        assert await settled(side.box, [message]) == [Unavailable("TechnischProbleem", stage="StoreMessage")]
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
        side.box._clock = lambda: utc_now() + timedelta(days=2)  # Else the box itself refuses the second.
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


@pytest.mark.parametrize("transport", TransportKind)
async def test_either_mock_can_be_served_for_others_to_test_against(transport: TransportKind) -> None:
    async with serve_mock(port=0, clock=utc_now, transport=transport) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/_mock/plaatsingen")).json() == []
