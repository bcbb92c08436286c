"""The mock mail server itself: what it reports later, what it counts, and what it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bode_adapters.contract import MailRefused, Placed
from bode_adapters.email.address import xtext
from bode_adapters.email.mock import MockMailServer, serve
from bode_adapters.email.mock_reports import DeliveryReport
from bode_adapters.testing.notifier import notice

from .authority import Authority
from .parts import one, opened, read, until


@pytest.mark.parametrize(
    ("word", "action", "status"),
    [("late-unknown", "failed", "5.1.1"), ("late-full", "failed", "5.2.2"), ("delayed", "delayed", "4.4.1")],
)
async def test_a_late_report_is_a_dsn_to_the_return_path(
    bounces: MockMailServer, word: str, action: str, status: str
) -> None:
    sent = notice(f"{word}.jan@mail.example")
    async with MockMailServer(report_to=(bounces.host, bounces.port), dsn_delay_seconds=0) as server:
        assert isinstance(await one(server, sent), Placed)
        await until(lambda: bounces.accepted)
        assert server.unreported == []
    mail = bounces.accepted[0]
    assert mail.sender == ""
    assert mail.recipients == (sent.return_path,)
    parsed = read(mail.data)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed["Content-Type"].params["report-type"] == "delivery-status"
    text, delivery, headers = parsed.iter_parts()
    assert sent.email in text.get_content()
    about, recipient = delivery.iter_parts()
    assert about["Original-Envelope-Id"] == f"{sent.id}.{xtext(sent.return_path.partition('@')[0])}"
    assert (recipient["Action"], recipient["Status"]) == (action, status)
    assert recipient["Final-Recipient"] == f"rfc822; {sent.email}"
    assert f"<{sent.id}@voorbeeldstad.example>" in headers.get_content()


async def test_an_out_of_office_reply_comes_to_the_return_path(bounces: MockMailServer) -> None:
    sent = notice("away.jan@mail.example")
    async with MockMailServer(report_to=(bounces.host, bounces.port), dsn_delay_seconds=0) as server:
        await one(server, sent)
        await until(lambda: bounces.accepted)
    parsed = read(bounces.accepted[0].data)
    assert parsed["Auto-Submitted"] == "auto-replied"
    assert parsed["In-Reply-To"] == f"<{sent.id}@voorbeeldstad.example>"


async def test_a_test_can_forge_a_dsn(server: MockMailServer, bounces: MockMailServer) -> None:
    server.report_to = (bounces.host, bounces.port)
    await server.send_dsn("bounce+vals@voorbeeldstad.example", DeliveryReport("jan@mail.example"))
    assert bounces.accepted[0].recipients == ("bounce+vals@voorbeeldstad.example",)
    _, delivery, _ = read(bounces.accepted[0].data).iter_parts()
    assert "Original-Envelope-Id" not in next(delivery.iter_parts())


async def test_a_report_that_cannot_be_handed_in_is_noted(server: MockMailServer, bounces: MockMailServer) -> None:
    report = DeliveryReport("jan@mail.example")
    await server.send_dsn("x@voorbeeldstad.example", report)
    server.report_to = (bounces.host, bounces.port)
    bounces.replies["rcpt_to"] = "550 5.1.1 no"
    await server.send_dsn("x@voorbeeldstad.example", report)
    assert len(server.unreported) == 2


async def test_soft_n_is_counted_per_mail_and_recipient(server: MockMailServer) -> None:
    for sent in (notice("soft-2.jan@mail.example"), notice("soft-2.jan@mail.example")):
        answers = [await one(server, sent) for _ in range(3)]
        assert [isinstance(answer, Placed) for answer in answers] == [False, False, True]
        assert server.attempts[str(sent.id), sent.email] == 3


async def test_soft_n_without_dsn_goes_by_message_id() -> None:
    async with MockMailServer(extensions=()) as server:
        sent = notice("soft-1@mail.example")
        first, second = await one(server, sent), await one(server, sent)
        assert isinstance(first, MailRefused)
        assert first.phase == "after_dot"
        assert isinstance(second, Placed)


async def test_slow_is_accepted_after_a_while(server: MockMailServer) -> None:
    server.slow_seconds = 0.05
    assert isinstance(await one(server, notice("slow.jan@mail.example")), Placed)


async def test_mails_are_kept_up_to_the_capacity_and_written_to_a_folder(tmp_path: Path) -> None:
    async with MockMailServer(capacity=2, folder=tmp_path / "mail") as server:
        async with opened(server) as notifier:
            await notifier.notify(notices=[notice(f"jan{at}@mail.example") for at in range(5)])
        assert len(server.accepted) == 2
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 5


async def dialogue(server: MockMailServer, *groups: bytes) -> list[str]:
    """Say groups of commands, each when the replies to the one before it are there; gives the codes of all replies."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    data = await reader.readuntil(b"\r\n")
    for group in groups:
        writer.write(group)
        await asyncio.sleep(0.02)
        data += await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    return [line[:3].decode() for line in data.splitlines()]


async def test_the_mock_takes_pipelined_commands_and_minds_their_order(server: MockMailServer) -> None:
    codes = await dialogue(
        server,
        b"HELO x\r\nNOOP\r\nDATA\r\n",
        b"RCPT TO:<a@b.nl>\r\nMAIL FROM:nobody\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n"
        b"RCPT TO:a@b.nl\r\nRCPT TO:<a@b.nl>\r\nDATA\r\n",
        b"..dot\r\n.\r\nRSET\r\nHELP\r\nAUTH LOGIN\r\nSTARTTLS\r\n",
        b"QUIT\r\n",
    )
    expected = "220 250 250 503 503 501 250 503 501 250 354 250 250 502 502 502 221"
    assert codes == expected.split()
    assert server.accepted[0].data == b".dot\r\n"
    assert server.improper == 0


@pytest.mark.parametrize(
    ("extensions", "said", "codes"),
    [
        ((), b"NOOP\r\nNOOP\r\n", "503"),
        (("PIPELINING",), b"DATA\r\nFrom: x\r\n", "503"),
        (("PIPELINING",), b"EHLO x\r\nNOOP\r\n", "503"),
        ((), b"MAIL FROM:<> SIZE=5\r\n", "555"),
        ((), b"MAIL FROM:<> RET=HDRS\r\n", "555"),
        ((), b"MAIL FROM:<> BY=5;N\r\n", "555"),
        (("DELIVERBY",), b"MAIL FROM:<> BY=5\r\n", "501"),
        (("DELIVERBY",), b"MAIL FROM:<> BY=5;N\r\n", "250"),
        (("SIZE 10",), b"MAIL FROM:<> SIZE=11\r\n", "552"),
        ((), "MAIL FROM:<é@b.nl>\r\n".encode(), "553"),
        (("SMTPUTF8",), "MAIL FROM:<é@b.nl> SMTPUTF8\r\n".encode(), "250"),
        ((), b"AUTH PLAIN AGEAYg==\r\n", "502"),
    ],
)
async def test_the_mock_refuses_what_a_real_server_refuses(
    extensions: tuple[str, ...], said: bytes, codes: str
) -> None:
    async with MockMailServer(extensions=extensions) as server:
        assert await dialogue(server, said) == ["220", *codes.split()]
        assert server.improper == (codes == "503")


async def test_the_mock_wants_a_login_over_tls_and_nothing_undecodable() -> None:
    async with MockMailServer(login=("a", "b")) as server:
        assert await dialogue(server, b"AUTH PLAIN AGEAYg==\r\n") == ["220", "538"]
        server.login_in_the_clear = True
        said = [b"AUTH PLAIN ?\r\n", b"AUTH LOGIN\r\n", b"?\r\n", b"AUTH X\r\n", b"AUTH PLAIN AGEAYg==\r\n"]
        assert await dialogue(server, *said) == ["220", "501", "334", "501", "504", "235"]


async def test_the_mock_can_be_served_with_a_certificate_and_a_login(authority: Authority) -> None:
    async with serve(certificate_file=authority.issue(), login=("bode", "geheim")) as url:
        port = int(url.removeprefix("smtp://127.0.0.1:"))
        trust = {"tls": "starttls", "ca_file": str(authority.file)}
        assert isinstance(await one(port, username="bode", password="geheim", **trust), Placed)
        assert isinstance(await one(port, **trust), MailRefused)


async def test_an_endless_line_is_cut_off(server: MockMailServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"x" * 10_000)
    assert b"500 5.5.2" in await reader.read()
    writer.close()
    await writer.wait_closed()
