"""Finding out what became of a message: FBS message store 0.2.0."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from bode_adapters.contract import (
    Absent,
    Answer,
    Placed,
    TimeSource,
    Unknown,
)
from bode_adapters.testing.box import (
    new_identifier,
    new_message,
)

from .parts import (
    BERICHT_ID,
    NOW,
    RECEIVED,
    SENDER,
    TOKEN,
    always,
    answering,
    failing,
    find_one,
    portal,
    receipt_of,
    shelf,
    stored,
)


@pytest.mark.law("L6")
@pytest.mark.parametrize("gedrag", ["timeout-na-acceptatie", "verbreek", "onleesbaar", "fout-na-acceptatie"])
@pytest.mark.parametrize("text_in_list", [True, False])
async def test_a_lost_answer_is_found_by_the_reference(gedrag: str, text_in_list: bool) -> None:
    async with portal(text_in_list=text_in_list) as (side, _):
        message = new_message(SENDER)
        await side.order(gedrag, keer=1)
        (answer,) = await side.box.place(messages=[message])
        assert isinstance(answer, Unknown)
        (answer,) = await side.box.lookup(messages=[message])
        assert isinstance(answer, Placed)
        assert answer.already
        assert await side.times_placed(message) == 1


async def test_a_message_is_found_on_a_later_page_among_others() -> None:
    async with portal(timeout_seconds=30) as (side, mock):
        addressee = new_identifier()
        messages = [new_message(SENDER, addressee=addressee) for _ in range(205)]
        placed = await side.box.place(messages=messages)
        elsewhere = new_message(SENDER, addressee=addressee)
        found = await side.box.lookup(messages=[*messages, elsewhere])
        assert [receipt_of(answer) for answer in found[:-1]] == [receipt_of(answer) for answer in placed]
        assert found[-1] == Absent()
        assert len(mock.berichten) == 205


async def test_one_search_serves_all_messages_of_an_addressee() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["X-Ontvanger"])
        return httpx.Response(200, json=shelf())

    one, two = new_identifier(), new_identifier()
    async with answering(answer) as box:
        messages = [new_message(SENDER, addressee=addressee) for addressee in (one, two, one)]
        assert await box.lookup(messages=messages) == [Absent()] * 3
    assert sorted(asked) == sorted([f"BSN:{one.number}", f"BSN:{two.number}"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Placed),
        ({"onderwerp": "door de portal aangepast"}, Placed),
        ({"tijdstipOntvangst": "2026-03-02T09:15:00Z"}, Placed),
        ({"tijdstipOntvangst": "2026-03-02T09:14:59Z"}, Absent),
        ({"tijdstipOntvangst": "onleesbaar"}, Placed),
        ({"inhoud": "iets anders"}, Absent),
        ({"inhoud": ""}, Absent),
        ({"afzender": "0" * 20}, Absent),
        ({"afzender": None}, Placed),
    ],
)
async def test_found_by_sender_reference_and_time(changes: dict[str, Any], expected: type[Answer]) -> None:
    message = new_message(SENDER, since=NOW)
    assert isinstance(await find_one(always(200, shelf(stored(message, **changes))), message), expected)


async def test_the_first_of_two_is_the_moment_that_counts() -> None:
    message = new_message(SENDER, since=NOW)
    later = stored(message, berichtId=str(uuid4()), tijdstipOntvangst="2026-03-02T09:29:59Z", publicatietijdstip=None)
    answer = await find_one(always(200, shelf(later, stored(message))), message)
    assert answer == Placed(at=RECEIVED, source=TimeSource.OTHER_SIDE, receipt=BERICHT_ID, already=True)


async def test_without_a_first_moment_every_message_is_looked_at() -> None:
    message = new_message(SENDER, since=None)
    assert isinstance(await find_one(always(200, shelf(stored(message))), message), Placed)


@pytest.mark.parametrize("body", [shelf(total=1), shelf(total=3, pages=2), shelf(total=1, pages=0)])
async def test_a_list_that_is_not_whole_proves_nothing(body: object) -> None:
    assert await find_one(always(200, body), new_message(SENDER)) == Unknown("list_changed")


async def test_a_list_that_changes_while_it_is_read_proves_nothing() -> None:
    async with portal(timeout_seconds=30) as (side, _):
        addressee = new_identifier()
        await side.box.place(messages=[new_message(SENDER, addressee=addressee) for _ in range(101)])
        await side.order("lijst-verschuift", keer=1)
        message = new_message(SENDER, addressee=addressee)
        assert await side.box.lookup(messages=[message]) == [Unknown("list_changed")]
        assert await side.box.lookup(messages=[message]) == [Absent()]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 406, 429, 500, 503])
@pytest.mark.parametrize("receipt", [None, BERICHT_ID])
async def test_a_question_that_fails_is_unknown(status: int, receipt: str | None) -> None:
    assert await find_one(always(status), new_message(SENDER, receipt=receipt)) == Unknown(f"http_{status}")


@pytest.mark.parametrize("receipt", [None, BERICHT_ID])
async def test_a_question_without_a_readable_answer_is_unknown(receipt: str | None) -> None:
    message = new_message(SENDER, receipt=receipt)
    assert await find_one(always(200, b"<html>"), message) == Unknown("unreadable_answer")
    assert await find_one(failing(httpx.ConnectError("x")), message) == Unknown("connect_error")
    assert await find_one(failing(httpx.ReadTimeout("x")), message) == Unknown("timeout")


async def test_a_text_that_cannot_be_fetched_is_unknown() -> None:
    async with portal(text_in_list=False) as (side, mock):
        message = new_message(SENDER)
        await side.box.place(messages=[message])
        (bericht,) = mock.berichten.values()

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/api/v1/berichten":
                return httpx.Response(200, json=shelf({"berichtId": bericht.id}))
            return httpx.Response(404)

        assert await find_one(answer, message) == Unknown("http_404")


async def test_by_receipt_a_placed_message_is_found_and_a_deleted_one_is_not_absent() -> None:
    async with portal() as (side, _):
        message = new_message(SENDER)
        (answer,) = await side.box.place(messages=[message])
        asked = replace(message, receipt=receipt_of(answer))
        (found,) = await side.box.lookup(messages=[asked])
        assert found == replace(answer, already=True)
        headers = {"X-Ontvanger": f"BSN:{message.addressee.number}", "Authorization": f"Bearer {TOKEN}"}
        await side.mock.delete(f"/api/v1/berichten/{asked.receipt}", headers=headers)
        assert await side.box.lookup(messages=[asked]) == [Unknown("http_404")]
