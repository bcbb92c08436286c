"""Each status and problem type of the FBS message store, and the moment of sending it gives."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from bode_adapters.contract import (
    Answer,
    Placed,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.testing.box import (
    new_message,
)

from .parts import BERICHT_ID, NOW, RECEIVED, SENDER, always, failing, place_one, problem, stored


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
