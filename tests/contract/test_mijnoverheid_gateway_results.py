"""What the REST gateway v1.0 says became of messages, word by word."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from mijnoverheid_sides import (
    NOW,
    RESULT_CODES,
    SENDER,
    STATUS_ID,
    always,
    answering,
    ask_one,
    failing,
    gateway,
    report,
    settled,
)

from bode_adapters.contract import (
    Absent,
    Answer,
    Pending,
    Placed,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid.results import RESULTS
from bode_adapters.testing.box import (
    new_message,
)


@pytest.mark.parametrize(("code", "expected"), RESULT_CODES)
async def test_every_result_code(code: str, expected: RefusalKind | type[Answer]) -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, code)), message)
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Placed | Refused | Unavailable)
    assert answer.code == code


def test_no_result_code_is_left_out() -> None:
    assert set(RESULTS) == {code for code, expected in RESULT_CODES if expected is not RefusalKind.UNRECOGNISED}


@pytest.mark.law("L10")
async def test_placed_at_the_moment_of_the_report() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt")), message)
    at = datetime(2026, 3, 2, 9, 0, 0, 170_000, tzinfo=UTC)
    assert answer == Placed(at=at, source=TimeSource.OTHER_SIDE, receipt=STATUS_ID, code="Verwerkt", stage="NA")


@pytest.mark.law("L10")
@pytest.mark.parametrize("at", [None, "", "gisteren", "2026-03-02T09:00:00"])
async def test_without_a_certain_moment_our_clock_counts(at: str | None) -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", at=at)), message)
    assert isinstance(answer, Placed)
    assert (answer.at, answer.source) == (NOW, TimeSource.OUR_CLOCK)


@pytest.mark.law("L10")
async def test_not_accessible_before_its_moment_of_publication() -> None:
    message = new_message(SENDER, publish_at=NOW + timedelta(days=3))
    answer = await ask_one(always(200, report(message, "Verwerkt")), message)
    assert isinstance(answer, Placed)
    assert answer.at == message.publish_at


async def test_a_message_that_was_there_already_is_placed_already() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "BerichtBestaatAl")), message)
    assert isinstance(answer, Placed)
    assert answer.already


async def test_an_id_in_capitals_is_the_same_id() -> None:
    message = new_message(SENDER)
    body = json.dumps(report(message, "Verwerkt")).replace(str(message.id), str(message.id).upper()).encode()
    assert isinstance(await ask_one(always(200, body), message), Placed)


async def test_the_same_result_twice_is_one_result() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", "Verwerkt")), message)
    assert isinstance(answer, Placed)
    assert not answer.already


async def test_placed_and_then_known_is_placed_by_this_call() -> None:
    message = new_message(SENDER)
    for codes in (("Verwerkt", "BerichtBestaatAl"), ("BerichtBestaatAl", "Verwerkt")):
        answer = await ask_one(always(200, report(message, *codes)), message)
        assert isinstance(answer, Placed)
        assert answer.code == "Verwerkt"


async def test_results_that_contradict_each_other_are_for_a_person() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", "TechnischProbleem")), message)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("Verwerkt+TechnischProbleem", RefusalKind.UNRECOGNISED)


@pytest.mark.law("L10")
@pytest.mark.parametrize("status", ["RECEIVED", "IN_PROGRESS", "DELIVERED"])
async def test_a_call_under_way_ispending(status: str) -> None:
    answer = await ask_one(always(200, {"id": STATUS_ID, "status": status}))
    assert answer == Pending(receipt=STATUS_ID, code=status)


@pytest.mark.parametrize("status", ["RECEIVED", "IN_PROGRESS", "DELIVERED", "FAILED", "REPORT", "NIEUW", None])
async def test_a_result_counts_whatever_the_status_beside_it(status: str) -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "Verwerkt", status=status)), message)
    assert isinstance(answer, Placed)


async def test_a_report_without_the_message_is_unknown() -> None:
    assert await ask_one(always(200, report(new_message(SENDER), "Verwerkt"))) == Unknown("not_in_result")
    assert await ask_one(always(200, {"id": STATUS_ID, "status": "REPORT"})) == Unknown("not_in_result")


@pytest.mark.parametrize("stage", ["IN_PROGRESS", "DELIVERED", "REPORT", "FAILED"])
async def test_a_message_that_was_not_in_the_call_is_absent(stage: str) -> None:
    message, other = new_message(SENDER), new_message(SENDER)
    body = report(other, "Verwerkt", status=stage)
    body["context"]["Aangeleverd"] = {"Berichten": [{"BerichtID": str(other.id)}]}
    assert await ask_one(always(200, body), message) == Absent("not_in_call")
    body["context"]["Aangeleverd"] = {"Berichten": []}
    assert await ask_one(always(200, body), message) == Unknown("not_in_result")


@pytest.mark.law("L6")
async def test_a_batch_repeated_in_parts_is_settled_and_placed_once() -> None:
    async with gateway() as (side, _):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch), new_message(SENDER, batch=batch)]
        # The first call never arrived; its repeat comes in two parts.
        (first,) = await settled(side.box, messages[:1])
        assert isinstance(first, Placed)
        assert await settled(side.box, messages[1:]) == [Absent("not_in_call")]
        (second,) = await settled(side.box, [replace(messages[1], batch=uuid4())])
        assert isinstance(second, Placed)
        assert [await side.times_placed(message) for message in messages] == [1, 1]


async def test_a_failed_call_without_results_was_not_placed() -> None:
    assert await ask_one(always(200, {"id": STATUS_ID, "status": "FAILED"})) == Unavailable("FAILED")


@pytest.mark.parametrize("status", ["NIEUW", "", None])
async def test_a_status_that_is_not_known_is_for_a_person(status: str | None) -> None:
    answer = await ask_one(always(200, {"id": STATUS_ID, "status": status}))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == (f"status:{status or ''}", RefusalKind.UNRECOGNISED)


async def test_an_unknown_word_is_kept_short_and_without_numbers() -> None:
    message = new_message(SENDER)
    answer = await ask_one(always(200, report(message, "x" * 100)), message)
    assert isinstance(answer, Refused)
    assert answer.code == "x" * 60
    answer = await ask_one(always(200, report(message, "Fout bij 999990019\n")), message)
    assert isinstance(answer, Refused)
    assert answer.code == "Fout bij ***?"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusalKind.DEFECT),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (404, Absent),
        (418, Pending),
        (429, Pending),
        (500, Pending),
        (502, Pending),
        (503, Pending),
    ],
)
async def test_every_status_of_a_question(status: int, expected: RefusalKind | type[Answer]) -> None:
    answer = await ask_one(always(status, {"error": "x"}))
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Refused | Absent | Pending)
    assert answer.code == f"http_{status}"


async def test_a_page_of_something_in_between_is_not_absent() -> None:
    assert await ask_one(always(404, b"<html>")) == Pending(receipt=STATUS_ID, code="http_404")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status": 7}'])
async def test_a_status_that_cannot_be_read_changes_nothing(body: bytes) -> None:
    assert await ask_one(always(200, body)) == Pending(receipt=STATUS_ID, code="unreadable_answer")


@pytest.mark.parametrize(
    ("error", "code"), [(httpx.ConnectError("x"), "connect_error"), (httpx.ReadTimeout("x"), "timeout")]
)
async def test_a_question_without_an_answer_changes_nothing(error: Exception, code: str) -> None:
    assert await ask_one(failing(error)) == Pending(receipt=STATUS_ID, code=code)


async def test_without_a_receipt_the_same_batch_is_to_be_placed_again() -> None:
    async with answering(always(500)) as box:
        assert await box.lookup(messages=[new_message(SENDER)]) == [Unknown("no_receipt")]
