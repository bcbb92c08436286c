"""Service extensions: used where a relay offers them, and only there. The mock refuses what it did not offer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bode_adapters.contract import NoticeMail, Placed, RefusalKind, Refused
from bode_adapters.email.address import xtext
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import SENDER, notice

from .parts import NOW, one, opened, read


async def test_a_relay_with_dsn_is_told_what_to_report(server: MockMailServer) -> None:
    sent = notice("jan+x@mail.example")
    assert isinstance(await one(server, sent), Placed)
    mail = server.accepted[0]
    assert mail.sender == sent.return_path
    size = len(mail.data)
    envelope_id = f"{sent.id}.{xtext(sent.return_path.partition('@')[0])}"
    assert mail.parameters == (
        f"SIZE={size} RET=HDRS ENVID={envelope_id} NOTIFY=FAILURE,DELAY ORCPT=rfc822;jan+2Bx@mail.example"
    )


async def test_an_envelope_id_that_is_longer_than_the_standard_allows_is_left_out(server: MockMailServer) -> None:
    sent = replace(notice("jan@mail.example"), return_path=f"{'b' * 64}@voorbeeldstad.example")
    assert isinstance(await one(server, sent), Placed)
    assert "ENVID" not in server.accepted[0].parameters
    assert "NOTIFY" in server.accepted[0].parameters


async def test_a_relay_without_extensions_is_asked_for_none() -> None:
    async with MockMailServer(extensions=()) as server:
        sent = replace(notice("jan@mail.example"), deadline=NOW + timedelta(hours=48))
        assert isinstance(await one(server, sent), Placed)
        assert server.accepted[0].parameters.strip() == ""
        assert server.attempts[f"<{sent.id}@voorbeeldstad.example>", "jan@mail.example"] == 1
        assert server.improper == 0


@pytest.mark.parametrize("words", ["dsn", "Dsn", "DSN"])
async def test_letter_case_of_an_extension_does_not_matter(words: str) -> None:
    async with MockMailServer(extensions=(words,)) as server:
        assert isinstance(await one(server), Placed)
        assert "RET=HDRS" in server.accepted[0].parameters


@pytest.mark.law("L3")
@pytest.mark.parametrize(
    ("extension", "left", "expected"),
    [
        ("DELIVERBY", timedelta(hours=48), "BY=172800;N"),
        ("DELIVERBY 600", timedelta(seconds=59), "BY=59;N"),
        ("DELIVERBY", timedelta(seconds=1), "BY=1;N"),
        ("DELIVERBY", timedelta(0), ""),
        ("DELIVERBY", -timedelta(hours=1), ""),
        ("DELIVERBY", timedelta(days=12_000), ""),
        ("DSN", timedelta(hours=48), ""),
    ],
)
async def test_a_relay_is_told_when_the_48_hours_end_and_asked_to_report_and_not_to_return(
    extension: str, left: timedelta, expected: str
) -> None:
    """With R a relay returns at once what the next server cannot promise (RFC 2852), which is nearly everything."""
    base = notice("jan@mail.example")
    sent = NoticeMail(base.id, SENDER, base.email, base.return_path, subject="s", text="t", deadline=NOW + left)
    async with MockMailServer(extensions=(extension,)) as server:
        assert isinstance(await one(server, sent), Placed)
        found = [word for word in server.accepted[0].parameters.split() if word.startswith("BY=")]
        assert found == [expected] * bool(expected)


async def test_an_address_that_needs_smtputf8_gets_it_where_offered(server: MockMailServer) -> None:
    assert isinstance(await one(server, notice("jürgen@münchen.example")), Placed)
    assert server.accepted[0].recipients == ("jürgen@xn--mnchen-3ya.example",)
    assert "SMTPUTF8 BODY=8BITMIME" in server.accepted[0].parameters
    assert "ORCPT" not in server.accepted[0].parameters
    assert read(server.accepted[0].data, utf8=True)["To"] == "jürgen@xn--mnchen-3ya.example"


@pytest.mark.parametrize("extensions", [("DSN",), ("SMTPUTF8",)])
async def test_an_address_that_needs_smtputf8_is_refused_where_it_is_not_offered(extensions: tuple[str, ...]) -> None:
    """SMTPUTF8 means 8BITMIME as well (RFC 6531 section 3.1): a relay that offers it alone is not believed."""
    async with MockMailServer(extensions=extensions) as server:
        assert await one(server, notice("jürgen@mail.example")) == Refused("smtputf8", RefusalKind.ADDRESSEE)
        assert isinstance(await one(server, notice("jan@münchen.example")), Placed)


async def test_a_mail_larger_than_the_relay_takes_is_refused_for_its_content() -> None:
    async with MockMailServer(extensions=("SIZE 700",)) as server:
        sent = notice("jan@mail.example", text="x" * 700)
        async with opened(server, connections=1) as notifier:
            answers = await notifier.notify(notices=[sent, notice("jan@mail.example", subject="s", text="t")])
        assert answers[0] == Refused("size", RefusalKind.CONTENT)
        assert isinstance(answers[1], Placed)


@pytest.mark.parametrize("size", ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999"])
async def test_a_size_that_is_no_limit_is_none(size: str) -> None:
    async with MockMailServer(extensions=()) as server:
        server.extensions = (size,) if size != "SIZE x" else ()
        assert isinstance(await one(server), Placed)
