"""Whether an addressee opened a message (Awb 2:25): the status of the FBS message store 0.2.0."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest

from bode_adapters.contract import Reading, TimeSource
from bode_adapters.mijndomein import MijnDomeinBox
from bode_adapters.testing.box import new_identifier, new_message

from .parts import BERICHT_ID, NOW, SENDER, Handler, always, answering, portal, receipt_of, shelf, stored


async def read_one(handler: Handler, **changes: Any) -> Reading:
    async with answering(handler) as box:
        (found,) = await box.readings(messages=[new_message(SENDER, **({"receipt": BERICHT_ID} | changes))])
        return found


@pytest.mark.law("L12")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, Reading(opened=False)),
        ({"gelezen": False, "gewijzigdOp": "2026-03-02T09:00:00Z", "map": "archief"}, Reading(opened=False)),
        (
            {"gelezen": True, "gewijzigdOp": "2026-03-02T10:00:00+01:00"},
            Reading(opened=True, at=datetime(2026, 3, 2, 9, tzinfo=UTC), exact=False),
        ),
        (
            {"gelezen": True, "gewijzigdOp": "gisteren"},
            Reading(opened=True, at=NOW, source=TimeSource.OUR_CLOCK, exact=False),
        ),
        ({"gelezen": True}, Reading(opened=True, at=NOW, source=TimeSource.OUR_CLOCK, exact=False)),
    ],
)
async def test_opened_at_the_time_of_the_last_change_or_before(status: object, expected: Reading) -> None:
    more = {} if status is None else {"status": status}
    assert await read_one(always(200, stored(new_message(SENDER), **more))) == expected


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 406, 429, 500, 503])
async def test_a_question_that_fails_says_nothing_about_reading(status: int) -> None:
    assert await read_one(always(status)) == Reading(opened=None, code=f"http_{status}")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"berichtId": 7}', b'{"berichtId": "x", "status": "ja"}'])
async def test_an_answer_that_cannot_be_read_says_nothing_about_reading(body: bytes) -> None:
    assert await read_one(always(200, body)) == Reading(opened=None, code="unreadable_answer")


async def test_without_a_receipt_there_is_nothing_to_ask() -> None:
    assert await read_one(always(500), receipt=None) == Reading(opened=None, code="no_receipt")


async def test_one_list_serves_all_messages_of_an_addressee_and_one_message_asks_for_no_list() -> None:
    asked: list[tuple[str, str]] = []
    one, two = new_identifier(), new_identifier()
    messages = [new_message(SENDER, addressee=who, receipt=f"r{n}") for n, who in enumerate((one, two, one))]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, request.headers["X-Ontvanger"]))
        if request.url.path.endswith("/berichten"):
            found = [stored(messages[n], berichtId=f"r{n}", status={"gelezen": True}) for n in (0, 2)]
            return httpx.Response(200, json=shelf(*found))
        return httpx.Response(200, json=stored(messages[1], berichtId="r1"))

    async with answering(answer) as box:
        found = await box.readings(messages=messages)
    assert [reading.opened for reading in found] == [True, False, True]
    assert sorted(asked) == [
        ("/api/v1/berichten", f"BSN:{one.number}"),
        ("/api/v1/berichten/r1", f"BSN:{two.number}"),
    ]


async def test_a_message_that_its_addressee_deleted_is_not_called_read() -> None:
    async with portal() as (side, mock):
        addressee = new_identifier()
        messages = [new_message(SENDER, addressee=addressee) for _ in range(2)]
        placed = await side.box.place(messages=messages)
        asked = [replace(each, receipt=receipt_of(answer)) for each, answer in zip(messages, placed, strict=True)]
        mock.berichten[str(asked[0].receipt)].deleted = True
        box = cast("MijnDomeinBox", side.box)
        found = await box.readings(messages=asked)
        assert [(reading.opened, reading.code) for reading in found] == [(None, "not_in_list"), (False, "")]
        (alone,) = await box.readings(messages=asked[:1])
        assert (alone.opened, alone.code) == (None, "http_404")
