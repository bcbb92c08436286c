"""The profile service's adapter against each word of profiel-service API 1.0.0, and its mock against the contract."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from bode_adapters.contract import (
    Identifier,
    IdentifierKind,
    NoProfile,
    Profile,
    ProfileService,
    RefusalKind,
    Refused,
    Sender,
    SettingError,
    Unavailable,
    Unknown,
)
from bode_adapters.profielservice import Profielservice, ProfielserviceSettings
from bode_adapters.profielservice.mock import create_mock
from bode_adapters.serving import serve

OIN = "00000001003214345000"
SENDER = Sender(oin=OIN, name="Gemeente Voorbeeld", email="post@voorbeeld.example")
WHO = Identifier(IdentifierKind.BSN, "999990019")
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SETTINGS: dict[str, object] = {"base_url": "http://127.0.0.1:1", "timeout_seconds": 0.5}
GENERAL: dict[str, Any] = {"createdAt": "2025-01-01T00:00:00Z", "lastUpdated": "2025-02-01T00:00:00Z"}
EMAIL = "sanne@post.example.nl"

Handler = Callable[[httpx.Request], httpx.Response]


@asynccontextmanager
async def answering(handler: Handler, **settings: object) -> AsyncGenerator[Profielservice]:
    service = Profielservice(
        ProfielserviceSettings.read(SETTINGS | settings), clock=lambda: NOW, transport=httpx.MockTransport(handler)
    )
    await service.open()
    try:
        yield service
    finally:
        await service.close()


async def ask(handler: Handler, **settings: object) -> Any:
    async with answering(handler, **settings) as service:
        (answer,) = await service.profiles(addressees=[WHO], sender=SENDER)
        return answer


def party(**parts: Any) -> Handler:
    return lambda _: httpx.Response(200, json=parts)


def wish(value: str | None, **more: Any) -> dict[str, Any]:
    return GENERAL | {"id": "v-1", "voorkeurType": "OntvangViaBerichtenbox", "waarde": value} | more


def address(value: str = EMAIL, **more: Any) -> dict[str, Any]:
    return GENERAL | {"type": "Email", "waarde": value, "isGeverifieerd": True} | more


def scope(name: str | None, service: str | None = None) -> dict[str, Any]:
    return {"scopes": [{"dienstverlenerNaam": name, "dienstNaam": service}]}


# ------------------------------------------------------------------------------------------------- statuses of a call


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, RefusalKind.CONFIGURATION),
        (400, RefusalKind.DEFECT),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (405, RefusalKind.CONFIGURATION),
        (408, Unavailable),
        (409, RefusalKind.UNRECOGNISED),
        (415, RefusalKind.DEFECT),
        (418, RefusalKind.UNRECOGNISED),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unknown),
        (503, Unavailable),
        (504, Unknown),
    ],
)
async def test_each_status_has_its_meaning_and_none_of_them_is_a_no(status: int, expected: Any) -> None:
    answer = await ask(lambda _: httpx.Response(status, json={"detail": "GEHEIM"}))
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert answer.code == f"http_{status}"
    assert "GEHEIM" not in repr(answer)


@pytest.mark.parametrize("kind", ["application/problem+json", "application/problem+json;charset=UTF-8"])
async def test_only_the_services_own_404_means_that_there_is_no_profile(kind: str) -> None:
    own = await ask(lambda _: httpx.Response(404, content=b"{}", headers={"Content-Type": kind}))
    assert own == NoProfile(NOW, "http_404")


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/json", ""])
async def test_a_bare_404_is_configuration(kind: str) -> None:
    bare = await ask(lambda _: httpx.Response(404, content=b"{}", headers={"Content-Type": kind}))
    assert isinstance(bare, Refused)
    assert (bare.code, bare.kind) == ("http_404_bare", RefusalKind.CONFIGURATION)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"voorkeuren": "ja"}'])
async def test_an_answer_that_cannot_be_read_is_no_answer(body: bytes) -> None:
    assert await ask(lambda _: httpx.Response(200, content=body)) == Unknown("unreadable_answer")


# ----------------------------------------------------------------------------------------------------- what it may say


@pytest.mark.parametrize(
    ("wishes", "receives"),
    [
        (None, None),
        ([], None),
        ([wish("true")], True),
        ([wish(" True ")], True),
        ([wish("false")], False),
        ([wish("true", voorkeurType="WebsiteTaal")], None),
        ([wish("true", teVerwijderenOp="2026-03-02T09:30:00Z")], None),
        ([wish("true", teVerwijderenOp="2026-03-03T09:30:00Z")], True),
        # Said to this sender goes before said in general; said to another, or for one service, does not count.
        ([wish("true"), wish("false", **scope("Gemeente Voorbeeld"))], False),
        ([wish("false"), wish("true", **scope("Gemeente Elders"))], False),
        ([wish("true", **scope("Gemeente Voorbeeld", "Parkeren"))], None),
        # Of two that fit as well, the latest.
        ([wish("true", lastUpdated="2025-03-01T00:00:00Z"), wish("false")], True),
    ],
    ids=str,
)
@pytest.mark.law("L1")
async def test_consent_is_what_was_said_last_and_to_this_sender(wishes: Any, receives: bool | None) -> None:
    answer = await ask(party(voorkeuren=wishes))
    assert isinstance(answer, Profile)
    assert answer.receives is receives


@pytest.mark.parametrize("value", ["ja", "1", "misschien", "", None])
async def test_a_value_that_is_not_known_is_kept_and_never_a_yes_or_a_no(value: str | None) -> None:
    answer = await ask(party(voorkeuren=[wish(value)]))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == (f"waarde:{value or ''}", RefusalKind.UNRECOGNISED)


@pytest.mark.parametrize(
    ("contacts", "email"),
    [
        ([], None),
        ([address()], EMAIL),
        ([address(isGeverifieerd=False)], None),
        ([address(isGeverifieerd=None)], None),
        ([address(type="Telefoonnummer")], None),
        ([address("geen adres")], None),
        ([address("een@twee\r\nBcc: x@y")], None),
        ([address("a" * 65 + "@post.example")], None),
        ([address("ander@post.example"), address(isDefault=True)], EMAIL),
        ([address("ander@post.example", isDefault=True), address(**scope("Gemeente Voorbeeld"))], EMAIL),
        ([address("ander@post.example", **scope("Gemeente Elders"))], None),
        ([address("oud@post.example", lastUpdated="2024-01-01T00:00:00Z"), address()], EMAIL),
        ([address(teVerwijderenOp="2026-01-01T00:00:00Z")], None),
    ],
    ids=str,
)
async def test_the_address_is_a_verified_one_that_holds_for_this_sender(contacts: Any, email: str | None) -> None:
    answer = await ask(party(contactgegevens=contacts))
    assert isinstance(answer, Profile)
    assert answer.email == email
    assert EMAIL not in repr(answer)


async def test_where_it_rests_on_and_since_when_is_told() -> None:
    answer = await ask(party(voorkeuren=[wish("true")], contactgegevens=[address(lastUpdated=None)]))
    assert (answer.consent, answer.receives_since) == ("v-1", datetime(2025, 2, 1, tzinfo=UTC))
    assert answer.email_since == datetime(2025, 1, 1, tzinfo=UTC)


async def test_an_answer_about_somebody_else_is_never_used() -> None:
    other = {"identificatieType": "BSN", "identificatieNummer": "123456782"}
    answer = await ask(party(identificaties=[other], contactgegevens=[address()]))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("another_party", RefusalKind.UNRECOGNISED)


# -------------------------------------------------------------------------------------------------------- how it asks


async def test_the_number_is_in_the_body_and_in_no_address() -> None:
    asked: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    await ask(take, token="bewijs")
    (request,) = asked
    assert (request.method, request.url.path) == ("POST", "/api/profielservice/v1/partij")
    assert json.loads(request.content) == {"identificatieType": "BSN", "identificatieNummer": WHO.number}
    assert request.headers["Authorization"] == "Bearer bewijs"
    assert WHO.number not in str(request.url)


async def test_what_was_found_is_asked_once_and_what_was_not_is_asked_again() -> None:
    asked = 0
    now = NOW

    def take(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            return httpx.Response(404, headers={"Content-Type": "application/problem+json"})
        return httpx.Response(200, json={"voorkeuren": [wish("true")]})

    settings = ProfielserviceSettings.read(SETTINGS | {"cache_seconds": 60})
    service = Profielservice(settings, clock=lambda: now, transport=httpx.MockTransport(take))
    await service.open()
    said = []
    for later in (0, 1, 2, 59, 62):
        now = NOW + timedelta(seconds=later)
        said += await service.profiles(addressees=[WHO], sender=SENDER)
    assert [getattr(answer, "cached", None) for answer in said] == [None, False, True, True, False]
    assert asked == 3
    assert WHO.number.encode() not in repr(service._cache).encode()
    await service.close()
    assert not service._cache


async def test_the_name_a_sender_has_there_can_be_told() -> None:
    wishes = [wish("true", **scope("gem-voorbeeld"))]
    assert (await ask(party(voorkeuren=wishes))).receives is None
    assert (await ask(party(voorkeuren=wishes), dienstverleners={OIN: "gem-voorbeeld"})).receives is True


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("base_url", {"base_url": "http://profiel.example"}),
        ("cache_seconds", {"cache_seconds": 86_401}),
        ("dienstverleners.123", {"dienstverleners": {"123": "Naam"}}),
        (f"dienstverleners.{OIN}", {"dienstverleners": {OIN: " "}}),
        ("tokn", {"tokn": "GEHEIM"}),
    ],
)
def test_a_wrong_setting_is_named_without_a_secret(key: str, settings: dict[str, object]) -> None:
    with pytest.raises(SettingError) as error:
        ProfielserviceSettings.read(SETTINGS | settings)
    assert error.value.key == key
    assert "GEHEIM" not in str(error.value)


# ------------------------------------------------------------------------------------------------- over the mock server


@pytest.mark.parametrize("gedrag", ["timeout", "verbreek", "onleesbaar", "http-500"])
async def test_the_mock_misbehaves_on_command_and_then_behaves(gedrag: str) -> None:
    asgi = create_mock(clock=lambda: NOW)
    asgi.state.mock.knows("BSN", WHO.number, receives="true", email=EMAIL)
    async with serve(asgi) as url, httpx.AsyncClient(base_url=url) as mock:
        service = Profielservice.from_settings(SETTINGS | {"base_url": url}, clock=lambda: NOW)
        assert isinstance(service, ProfileService)
        await service.open()
        (await mock.post("/_mock/gedrag", json={"gedrag": gedrag, "keer": 1})).raise_for_status()
        (failed,) = await service.profiles(addressees=[WHO], sender=SENDER)
        assert isinstance(failed, Unavailable | Unknown)
        (answer,) = await service.profiles(addressees=[WHO], sender=SENDER)
        assert (answer.receives, answer.email) == (True, EMAIL)
        await service.close()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {}, {"identificatieType": "BSN", "identificatieNummer": "999990019"}),
        (200, {}, {"identificatieType": "BSN", "identificatieNummer": "999990019", "dienstverlener": "x"}),
        (404, {}, {"identificatieType": "KVK", "identificatieNummer": "12345678"}),
        (400, {}, {"identificatieType": "OIN", "identificatieNummer": "00000001003214345000"}),
        (400, {}, {"identificatieType": "BSN", "identificatieNummer": " "}),
        (400, {}, {"identificatieType": "BSN", "identificatieNummer": "999990018"}),
        (400, {}, {"identificatieType": "BSN"}),
        (400, {}, {"identificatieType": "BSN", "identificatieNummer": "999990019", "iets": 1}),
        (401, {"Authorization": "Bearer anders"}, {}),
        (415, {"Content-Type": "text/plain"}, {}),
    ],
    ids=str,
)
async def test_the_mock_is_strict(status: int, headers: dict[str, str], body: object) -> None:
    asgi = create_mock(clock=lambda: NOW, token="bewijs")
    sent = {"Authorization": "Bearer bewijs", "Content-Type": "application/json"} | headers
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://mock") as client:
        said = {"identificatieType": "BSN", "identificatieNummer": "999990019"}
        said |= {"voorkeurType": "OntvangViaBerichtenbox", "waarde": "true"}
        known = {"Authorization": "Bearer bewijs"}
        assert (await client.post("/api/profielservice/v1/voorkeur", json=said, headers=known)).status_code == 201
        response = await client.post("/api/profielservice/v1/partij", content=json.dumps(body), headers=sent)
        assert response.status_code == status
        if status != 200:
            assert response.headers["Content-Type"].startswith("application/problem+json")
        elsewhere = await client.post("/profielservice/v1/partij", content=json.dumps(body), headers=sent)
        assert elsewhere.status_code == 404
        assert "problem" not in elsewhere.headers["Content-Type"]
