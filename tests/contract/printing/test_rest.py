"""Letters over a REST API: every word of the contract has its meaning, and a letter is taken once."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
import structlog

from bode_adapters.contract import (
    Absent,
    LetterStatus,
    Placed,
    RefusalKind,
    Refused,
    ReturnReason,
    SettingError,
    Unavailable,
    Unknown,
)
from bode_adapters.print_rest import PrintRest
from bode_adapters.print_rest.answers import ERROR_CODES, PUT_STATUSES
from bode_adapters.printing.words import RETURN_REASONS, STATUSES
from bode_adapters.testing.print_service import PRIVATE, PrintServiceSuite, letter


class TestPrintRest(PrintServiceSuite):
    @pytest.fixture
    def stage(self, api):
        return api


# ---- handing over ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(PUT_STATUSES.keys() - {409}))
async def test_every_status_has_its_answer_and_takes_nothing(api, status):
    given = letter()
    api.will(f"http-{status}", given.id)
    (answer,) = await api.service.submit(letters=[given])
    wanted = PUT_STATUSES[status]
    assert answer == (replace(wanted, retry_after=2.0) if status == 503 else wanted)
    assert api.taken(given.id) == 0


@pytest.mark.parametrize(("status", "kind"), [(418, Refused), (599, Unknown)])
async def test_a_status_outside_the_contract_is_kept(api, status, kind):
    given = letter()
    api.will(f"http-{status}", given.id)
    (answer,) = await api.service.submit(letters=[given])
    assert isinstance(answer, kind)
    assert answer.code == f"http_{status}"


@pytest.mark.parametrize(("code", "kind"), [(code, kind) for code, kind in ERROR_CODES.items() if kind is not None])
async def test_every_error_code_has_its_kind(api, code, kind):
    given = letter()
    api.will("onbekende-code", given.id, code)
    (answer,) = await api.service.submit(letters=[given])
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == (code, kind)


async def test_an_error_code_that_is_not_known_is_kept_and_not_guessed(api):
    given = letter()
    api.will("onbekende-code", given.id, "INKT_OP")
    (answer,) = await api.service.submit(letters=[given])
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("INKT_OP", RefusalKind.UNRECOGNISED)


@pytest.mark.parametrize("how", ["timeout-na-acceptatie", "verbreek", "onleesbaar", "fout-na-acceptatie"])
async def test_what_happened_without_an_answer_is_unknown_and_a_repeat_prints_nothing_twice(api, how):
    given = letter()
    api.will(how, given.id)
    (answer,) = await api.service.submit(letters=[given])
    assert isinstance(answer, Unknown)
    (again,) = await api.service.submit(letters=[given])
    assert isinstance(again, Placed)
    assert again.already
    assert api.taken(given.id) == 1


async def test_a_letter_made_again_with_another_pdf_is_not_printed_again(api):
    first = letter()
    await api.service.submit(letters=[first])
    pdf = first.pdf + b"again"
    (answer,) = await api.service.submit(letters=[replace(first, pdf=pdf, sha256=sha256(pdf).hexdigest())])
    assert isinstance(answer, Placed)
    assert (answer.already, answer.code) == (True, "other_content")
    assert api.taken(first.id) == 1


async def test_a_product_that_the_print_service_does_not_know_is_our_configuration(api):
    await api.service.close()
    await api.connect(specification="a3-in-kleur")
    (answer,) = await api.service.submit(letters=[letter()])
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("SPECIFICATION_UNKNOWN", RefusalKind.CONFIGURATION)


async def test_pages_sheets_and_weight_are_told(api):
    given = replace(letter(), pages=3, sheets=2, grams=17)
    await api.service.submit(letters=[given])
    told = api.mock.letters[given.id].attributes
    assert (told.pages, told.sheets, told.grams) == (3, 2, 17)
    assert (told.senderId, told.kind, str(told.groupId)) == (given.sender.oin, "notice", str(given.batch))


async def test_a_404_of_something_else_says_nothing_about_a_letter(api):
    given = letter()
    assert await api.service.lookup(letters=[given]) == [Absent()]
    api.will("vraag-http-404", given.id)
    assert await api.service.lookup(letters=[given]) == [Unknown("http_404")]


# ---- updates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "status"), [*STATUSES.items(), ("VERZONDEN", LetterStatus.UNRECOGNISED)])
async def test_every_status_of_an_update_has_its_meaning(api, word, status):
    given = letter()
    await api.service.submit(letters=[given])
    api.mock.say(given.id, word)
    with structlog.testing.capture_logs() as logs:
        (report,) = await api.service.reports()
        await api.service.reports()
    assert (report.status, report.code) == (status, word)
    unknown = status is LetterStatus.UNRECOGNISED
    assert [entry["event"] for entry in logs] == (["print_status_unrecognised"] if unknown else [])


@pytest.mark.parametrize(("code", "why"), [*RETURN_REASONS.items(), ("R99", ReturnReason.UNRECOGNISED)])
async def test_every_return_reason_of_an_update_has_its_meaning(api, code, why):
    given = letter()
    api.mock.say(given.id, "RETURNED", code, "tekst")
    with structlog.testing.capture_logs() as logs:
        (report,) = await api.service.reports()
    assert (report.status, report.why, report.reason) == (LetterStatus.RETURNED, why, f"{code} tekst")
    unknown = why is ReturnReason.UNRECOGNISED
    assert [entry["event"] for entry in logs] == (["print_reason_unrecognised"] if unknown else [])


async def test_an_update_that_cannot_be_read_does_not_hide_the_others(api):
    given = letter()
    api.mock.updates["odd"] = {"type": "LetterUpdate", "id": "odd", "attributes": {"letterId": "x", "status": 5}}
    api.mock.say(given.id, "PRINTED")
    with structlog.testing.capture_logs() as logs:
        (report,) = await api.service.reports()
    assert report.letter == given.id
    assert [entry["event"] for entry in logs] == ["print_report_unreadable"]


async def test_a_confirmation_that_is_lost_brings_the_update_again_under_the_same_key(api):
    given = letter()
    api.mock.say(given.id, "PRINTED")
    (first,) = await api.service.reports()
    api.will("bevestiging-kwijt")
    await api.service.confirm(keys=[first.key])
    assert await api.service.reports() == [first]
    await api.service.confirm(keys=[first.key])
    assert await api.service.reports() == []


async def test_a_print_service_that_fails_gives_no_reports_and_says_so(api):
    api.will("vraag-http-500", times=1)
    with structlog.testing.capture_logs() as logs:
        assert await api.service.reports() == []
    assert [(entry["event"], entry["code"]) for entry in logs] == [("print_reports_unavailable", "http_500")]


async def test_a_wrong_token_is_our_configuration_and_unavailable_for_reports(api):
    await api.service.close()
    await api.connect(token="wrong")
    assert await api.service.submit(letters=[letter()]) == [PUT_STATUSES[401]]
    assert await api.service.reports() == []


async def test_a_connection_that_is_refused_is_unavailable(api):
    await api.down()
    assert await api.service.submit(letters=[letter()]) == [Unavailable("connect_error")]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"base_url": "http://printer.example"}, "base_url"),
        ({"token": ""}, "token"),
        ({"specification": "a b"}, "specification"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"tokne": PRIVATE}, "tokne"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_shown(api, changes, key):
    table = {"base_url": "https://printer.example", "token": "t", "specification": "c5"}
    with pytest.raises(SettingError) as caught:
        PrintRest.from_settings(table | changes, clock=api.time)
    assert caught.value.key == key
    assert PRIVATE not in str(caught.value)
