"""The transport over ebMS: ids that make repeats harmless, hand-overs that fail, results that come by themselves."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from mijnoverheid_sides import (
    EBMS_SETTINGS,
    NOW,
    RESULT_CODES,
    SENDER,
    always,
    answering,
    ask_one,
    ebms,
    failing,
    pending,
    place_one,
)

from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Pending,
    Placed,
    RefusalKind,
    Refused,
    ResultDocument,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid import globe
from bode_adapters.mijnoverheid.markup import UnreadableError
from bode_adapters.mijnoverheid.mock_ebms import MockEbms
from bode_adapters.mijnoverheid.results import RESULTS, answer_of
from bode_adapters.testing.box import MockedSide, new_document, new_identifier, new_message, utc_now

RECEIPT = f"{UUID(int=1)}.{UUID(int=2)}@bode"


async def told(side: MockedSide, message: BoxMessage) -> list[Answer]:
    """Give what the documents that wait say of a message, and confirm them."""
    documents: list[ResultDocument] = list(await side.box.results())
    await side.box.confirm(keys=[document.key for document in documents])
    return [document.answers[message.id] for document in documents if message.id in document.answers]


def xml_of(mock: MockEbms, number: int = 0) -> str:
    return list(mock.sent.values())[number].request.data_sources[0].content.decode()


# ----------------------------------------------------------------------------------------------------------------- ids


async def test_a_repeat_after_silence_is_the_same_hand_over() -> None:
    async with ebms() as (side, mock):
        message = new_message(SENDER)
        await side.order("fout-na-acceptatie")
        (first,) = await side.box.place(messages=[message])
        (again,) = await side.box.place(messages=[message])
        assert pending(first).receipt == pending(again).receipt
        assert list(mock.sent) == [pending(first).receipt]
        assert xml_of(mock).count(str(message.batch)) == 2, "in the batch and in the message"


async def test_a_later_call_is_another_hand_over_under_the_batch_it_first_came_in() -> None:
    """TechnischProbleem: again with the same batch and message ids."""
    async with ebms() as (side, mock):
        message, other = new_message(SENDER), new_message(SENDER)
        await side.order("TechnischProbleem", keer=1)
        (first,) = await side.box.place(messages=[message])
        assert await told(side, message) == [Unavailable("TechnischProbleem", stage="StoreMessage")]
        call = uuid4()
        again = replace(message, batch=call, first_receipt=pending(first).receipt)
        second, third = await side.box.place(messages=[again, replace(other, batch=call)])
        assert len(mock.sent) == 3
        assert str(message.batch) in xml_of(mock, 1)
        assert str(call) in xml_of(mock, 2)
        assert pending(second).receipt != pending(first).receipt
        assert pending(third).receipt.startswith(str(call))
        (answer,) = await told(side, message)
        assert isinstance(answer, Placed)
        assert mock.box.placements[str(message.id)].count == 1


async def test_a_call_repeated_in_parts_says_what_never_left() -> None:
    async with ebms() as (side, _):
        batch = uuid4()
        first, second = new_message(SENDER, batch=batch), new_message(SENDER, batch=batch)
        await side.box.place(messages=[first])
        answers = await side.box.place(messages=[second, first])
        assert answers[0] == Absent("not_in_call")
        assert isinstance(answers[1], Pending)


async def test_a_server_error_that_stored_nothing_is_another_try() -> None:
    async with ebms() as (side, mock):
        await side.order("http-500", keer=1)
        (answer,) = await side.box.place(messages=[new_message(SENDER)])
        assert answer == Unavailable("ebms_500")
        assert not mock.sent


async def test_line_breaks_are_four_characters() -> None:
    async with ebms() as (side, mock):
        await side.box.place(messages=[new_message(SENDER, text="een\ntwee\r\ndrie\rvier")])
        assert r"<BerichtTekst>een\r\ntwee\r\ndrie\r\nvier</BerichtTekst>" in xml_of(mock)


# --------------------------------------------------------------------------------------------------------- splitting


async def test_a_batch_over_its_size_is_split_and_split_alike_when_repeated() -> None:
    async with ebms({"batch_megabytes": 1}) as (side, mock):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch, documents=(new_document(300_000),)) for _ in range(5)]
        answers = await side.box.place(messages=messages)
        sizes = [len(sent.request.data_sources[0].content) for sent in mock.sent.values()]
        assert len(sizes) == 3
        assert max(sizes) <= 1_000_000
        assert next(iter(mock.sent)).startswith(str(batch))
        assert [pending(answer).receipt in mock.sent for answer in answers] == [True] * 5
        again = await side.box.place(messages=messages[::-1])
        assert [pending(answer).receipt for answer in again] == [pending(answer).receipt for answer in answers[::-1]]
        assert len(mock.sent) == 3


@pytest.mark.parametrize(("number", "sizes"), [(1, [1]), (2, [2]), (999, [999]), (1000, [1000]), (1001, [1000, 1])])
def test_a_document_holds_a_thousand_messages(number: int, sizes: list[int]) -> None:
    addressee = new_identifier()  # One for all: the numbers published for tests are few.
    messages = [new_message(SENDER, addressee=addressee) for _ in range(number)]
    made = globe.batches(uuid4(), messages, leverancier="0" * 20, created=NOW, most_bytes=10**8)
    assert [len(one.messages) for one in made] == sizes
    assert len({one.id for one in made}) == len(made)
    assert [globe.members(one.xml) for one in made] == [{message.id for message in one.messages} for one in made]


def test_no_document_is_over_its_size_and_one_byte_less_makes_two() -> None:
    messages = [new_message(SENDER, documents=(new_document(100),)) for _ in range(2)]
    (whole,) = globe.batches(uuid4(), messages, leverancier="0" * 20, created=NOW, most_bytes=10**8)
    for most, parts in ((len(whole.xml), 1), (len(whole.xml) - 1, 2)):
        made = globe.batches(uuid4(), messages, leverancier="0" * 20, created=NOW, most_bytes=most)
        assert len(made) == parts
        assert all(len(one.xml) <= most for one in made)


# ------------------------------------------------------------------------------------------------ hand-overs that fail


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, RefusalKind.CONFIGURATION),
        (401, RefusalKind.CONFIGURATION),
        (403, RefusalKind.CONFIGURATION),
        (404, RefusalKind.CONFIGURATION),
        (405, RefusalKind.CONFIGURATION),
        (413, RefusalKind.CONFIGURATION),
        (302, RefusalKind.CONFIGURATION),
        (418, RefusalKind.UNRECOGNISED),
        (408, Unavailable),
        (429, Unavailable),
        (503, Unavailable),
        (500, Unknown),
        (502, Unknown),
        (504, Unknown),
    ],
)
async def test_every_status_of_a_hand_over(status: int, expected: RefusalKind | type[Answer]) -> None:
    answer = await place_one(always(status, {"error": "met persoonsgegevens"}), EBMS_SETTINGS)
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
        assert "persoonsgegevens" not in answer.text
    else:
        assert isinstance(answer, expected)
    assert isinstance(answer, Refused | Unavailable | Unknown)
    assert answer.code == f"ebms_{status}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), Unavailable("connect_error")),
        (httpx.ReadTimeout("x"), Unknown("timeout")),
        (httpx.WriteError("x"), Unknown("connection_lost")),
    ],
)
async def test_a_hand_over_without_an_answer(error: Exception, expected: Answer) -> None:
    assert await place_one(failing(error), EBMS_SETTINGS) == expected


async def test_what_the_ebms_adapter_says_of_a_hand_over() -> None:
    for gedrag, expected in (
        (None, Pending),
        ("verlopen", Unavailable),
        ("mislukt", Refused),
    ):
        async with ebms() as (side, _):
            message = new_message(SENDER)
            if gedrag is not None:
                await side.order(gedrag)
            (answer,) = await side.box.place(messages=[message])
            (stands,) = await side.box.lookup(messages=[replace(message, receipt=pending(answer).receipt)])
            assert isinstance(stands, expected)
            if isinstance(stands, Refused):
                assert stands.kind is RefusalKind.CONFIGURATION, "no message is to blame"


async def test_a_question_that_fails_changes_nothing_but_wrong_settings_are_told() -> None:
    ask = {"receipt": RECEIPT, "settings": EBMS_SETTINGS}
    assert await ask_one(always(500), **ask) == Pending(RECEIPT, "ebms_500")
    assert await ask_one(failing(httpx.ReadTimeout("x")), **ask) == Pending(RECEIPT, "timeout")
    assert await ask_one(always(200, [{"type": "NIEUW"}]), **ask) == Pending(RECEIPT, "unreadable_answer")
    assert await ask_one(always(200, []), **ask) == Pending(RECEIPT)
    refused = await ask_one(always(401), **ask)
    assert isinstance(refused, Refused)
    assert refused.kind is RefusalKind.CONFIGURATION


async def test_without_a_receipt_the_same_batch_is_to_be_handed_over_again() -> None:
    async with answering(always(500), EBMS_SETTINGS) as box:
        assert await box.lookup(messages=[new_message(SENDER)]) == [Unknown("no_receipt")]


# ------------------------------------------------------------------------------------------------------------- results


def report_of(
    message: BoxMessage, code: str, stage: str = "<Stadium>NA</Stadium>", at: str = "2026-03-02T09:00:00Z"
) -> bytes:
    return f"""<r:BerichtVerwerkResponse xmlns:r="urn:r" xmlns:b="urn:b"><BatchInformatie>
        <BatchID>{message.batch}</BatchID><DatumVerwerkt>{at}</DatumVerwerkt></BatchInformatie><Berichten>
        <b:Bericht><BerichtID>{str(message.id).upper()}</BerichtID><VerwerkingsCode>{code}</VerwerkingsCode>{stage}
        </b:Bericht></Berichten></r:BerichtVerwerkResponse>""".encode()


@pytest.mark.parametrize(("code", "expected"), RESULT_CODES)
async def test_every_result_code(code: str, expected: RefusalKind | type[Answer]) -> None:
    message = new_message(SENDER)
    report = globe.read_report(report_of(message, code), now=NOW)
    answer = answer_of(report.results[message.id], report.moment, receipt=report.batch)
    if isinstance(expected, RefusalKind):
        assert isinstance(answer, Refused)
        assert answer.kind is expected
    else:
        assert isinstance(answer, expected)
    assert (answer.code, answer.stage) == (code, "NA")


@pytest.mark.parametrize("code", sorted(set(RESULTS) - {"00"}))
async def test_every_result_code_of_the_mock(code: str) -> None:
    async with ebms() as (side, _):
        message = new_message(SENDER)
        await side.order(code)
        await side.box.place(messages=[message])
        (answer,) = await told(side, message)
        assert isinstance(answer, Placed | Refused | Unavailable)
        assert answer.code == code


@pytest.mark.law("L10")
@pytest.mark.parametrize(
    ("at", "moment", "source"),
    [
        ("2026-03-02T10:00:00+01:00", NOW - timedelta(minutes=30), TimeSource.OTHER_SIDE),
        ("2026-03-02T09:00:00", NOW, TimeSource.OUR_CLOCK),
        ("gisteren", NOW, TimeSource.OUR_CLOCK),
    ],
)
def test_placed_at_the_moment_of_the_report_if_that_is_certain(at: str, moment: datetime, source: TimeSource) -> None:
    report = globe.read_report(report_of(new_message(SENDER), "Verwerkt", at=at), now=NOW)
    assert (report.moment.at, report.moment.source) == (moment, source)


@pytest.mark.parametrize("stage", ["", "<Stadium/>", '<Stadium xmlns:i="urn:i" i:nil="true"/>'])
def test_a_stage_may_be_absent(stage: str) -> None:
    message = new_message(SENDER)
    report = globe.read_report(report_of(message, "Verwerkt", stage), now=NOW)
    assert [result.stage for result in report.results[message.id]] == [None]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"<Berichten/>",
        b'<!DOCTYPE a [<!ENTITY b "999990019">]><BerichtVerwerkResponse>&b;</BerichtVerwerkResponse>',
        b"\xff\xfe",
        b'<?xml version="1.0" encoding="geen"?><a/>',
    ],
)
def test_a_document_that_cannot_be_read_is_a_fault_without_its_content(document: bytes) -> None:
    with pytest.raises(UnreadableError) as error:
        globe.read_report(document, now=NOW)
    assert "999990019" not in str(error.value)


async def test_a_document_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    async with ebms() as (side, _):
        messages = [new_message(SENDER), new_message(SENDER)]
        await side.order("onleesbaar-resultaat", ontvanger=messages[0].addressee.number)
        await side.box.place(messages=messages)
        unreadable, readable = await side.box.results()
        assert unreadable.fault
        assert unreadable.content == b"<html>"
        assert not unreadable.answers
        assert isinstance(readable.answers[messages[1].id], Placed)


@pytest.mark.parametrize(
    ("gedrag", "more", "expected"),
    [
        ("nooit-resultaat", {}, []),
        ("ontbreekt-in-resultaat", {}, []),
        ("laat", {"code": "2"}, []),
        ("dubbel-resultaat", {}, [Placed]),
        ("dubbel-document", {}, [Placed, Placed]),
        ("verbreek", {}, [Placed]),
        ("fout-na-acceptatie", {}, [Placed]),
    ],
)
async def test_the_mock_misbehaves_in_its_results(gedrag: str, more: dict[str, str], expected: list[type]) -> None:
    async with ebms() as (side, _):
        message = new_message(SENDER)
        await side.order(gedrag, **more)
        await side.box.place(messages=[message])
        assert [type(answer) for answer in await told(side, message)] == expected


async def test_half_a_batch_and_the_rest_later() -> None:
    now = [NOW]
    async with ebms(clock=lambda: now[0]) as (side, _):
        batch = uuid4()
        messages = [new_message(SENDER, batch=batch) for _ in range(4)]
        await side.order("halve-batch", code="5")
        await side.box.place(messages=messages)
        (half,) = await side.box.results()
        now[0] += timedelta(hours=5)
        first, rest = await side.box.results()
        assert (len(first.answers), len(rest.answers)) == (2, 2)
        assert first == half
        assert set(first.answers) | set(rest.answers) == {message.id for message in messages}


async def test_the_mock_is_strict_about_the_document() -> None:
    async with ebms(berichttypes=frozenset({"BESLUIT"})) as (side, mock):
        message = new_message(SENDER)
        (batch,) = globe.batches(
            message.batch,
            [message],
            leverancier=str(EBMS_SETTINGS["leverancier_oin"]),
            created=utc_now(),
            most_bytes=10**8,
        )
        spoil: dict[str, Callable[[bytes], bytes]] = {
            "XmlValidatieTegenXsdValtNegatiefUit": lambda xml: xml.replace(b"Burger", b"Bedrijf"),
            "OinInCPAKomtNietOvereenMetOinInBericht": lambda xml: xml.replace(b"00000001999000090000", b"0" * 20),
            "BerichtTypeNietOndersteund": lambda xml: xml.replace(b"BESLUIT", b"ANDERS"),
            "AanmaakDatumLigtTeVerInHetVerleden": lambda xml: xml.replace(b"<AanmaakDatum>20", b"<AanmaakDatum>19"),
        }
        for number, change in enumerate(spoil.values()):
            request = side.box._transport._request(f"{number}@test", replace(batch, xml=change(batch.xml)))
            await side.box._transport._threaded(lambda client, request=request: client.send_message(request))
        assert [one.outcomes[0].code for one in mock.box.batches] == list(spoil)
        assert not mock.box.placements


def test_the_mock_refuses_every_element_out_of_place() -> None:
    from bode_adapters.mijnoverheid.mock_globe import read_request

    message = new_message(SENDER, documents=(new_document(20),), publish_at=NOW)
    (batch,) = globe.batches(message.batch, [message], leverancier="0" * 20, created=NOW, most_bytes=10**8)
    assert len(read_request(batch.xml)[3]) == 1
    for name in (
        "BatchID",
        "BerichtID",
        "BerichtType",
        "Onderwerp",
        "GebruikerID",
        "SoortGebruiker",
        "Inhoud",
        "Volgorde",
    ):
        start, end = f"<{name}>".encode(), f"</{name}>".encode()
        cut = batch.xml[: batch.xml.rindex(start)] + batch.xml[batch.xml.rindex(end) + len(end) :]
        with pytest.raises(UnreadableError):
            read_request(cut)
        with pytest.raises(UnreadableError):
            read_request(batch.xml.replace(start, f"<Extra/>{start.decode()}".encode()))
    with pytest.raises(UnreadableError):
        read_request(batch.xml.replace(str(message.batch).encode(), str(uuid4()).encode(), 1))


def test_the_adapter_and_its_mock_share_no_code_for_documents() -> None:
    folder = Path(globe.__file__).parent
    assert "mijnoverheid.globe" not in (folder / "mock_globe.py").read_text()
    assert "ebms_adapter_client" not in (folder / "mock_ebms.py").read_text()
