"""Notices and messages by e-mail, against the mock mail server over loopback."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ipaddress
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiosmtplib import SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bode_adapters.contract import (
    Answer,
    BoxMessage,
    Document,
    Identifier,
    IdentifierKind,
    MailRefused,
    NoticeMail,
    Placed,
    RefusalKind,
    Refused,
    Sender,
    SettingError,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.email import SmtpCarrier, SmtpNotifier, mime
from bode_adapters.email.address import Mailbox, mailbox, without_addresses, xtext
from bode_adapters.email.mock import MockMailServer
from bode_adapters.email.mock_reports import DeliveryReport
from bode_adapters.testing.box import BoxSuite, Lacks, OtherSide
from bode_adapters.testing.notifier import SENDER, Behaviour, NotifierSuite, notice

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BEFORE_DOT = ("connect", "ehlo", "mail_from", "rcpt_to", "data")
WORDS = {
    Behaviour.ACCEPTS: "ontvanger",
    Behaviour.UNKNOWN_USER: "unknown",
    Behaviour.MAILBOX_FULL: "full",
    Behaviour.SOFT_ONCE: "soft-1",
    Behaviour.BLOCKED: "spam",
    Behaviour.LOST: "drop",
}


def clock() -> datetime:
    return NOW


def settings(server: MockMailServer, **changes: object) -> dict[str, object]:
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "off",
        "connections": 4,
        "timeout_seconds": 10,
        "helo_name": "bode.example",
    } | changes


class Opened:
    """A notifier for the length of a `async with`."""

    def __init__(self, server: MockMailServer, **changes: object) -> None:
        self.notifier = SmtpNotifier.from_settings(settings(server, **changes), clock=clock)

    async def __aenter__(self) -> SmtpNotifier:
        await self.notifier.open()
        return self.notifier

    async def __aexit__(self, *_: object) -> None:
        await self.notifier.close()


async def one(server: MockMailServer, sent: NoticeMail | None = None, **changes: object) -> Answer:
    async with Opened(server, **changes) as notifier:
        (answer,) = await notifier.notify(notices=[sent or notice("jan@mail.example")])
    return answer


@pytest.fixture
async def server() -> AsyncIterator[MockMailServer]:
    async with MockMailServer(slow_seconds=30) as running:
        yield running


# ------------------------------------------------------------------------------------------------------- the suites


class SmtpStage:
    def __init__(self, server: MockMailServer, notifier: SmtpNotifier) -> None:
        self.server = server
        self.notifier = notifier

    def address(self, behaviour: Behaviour, name: str) -> str:
        return f"{WORDS[behaviour]}.{name}@mail.example"

    def arrived(self, sent: UUID) -> int:
        return sum(mail.envelope_id.startswith(f"{sent}.") for mail in self.server.accepted)

    async def down(self) -> None:
        await self.server.stop()

    async def up(self) -> None:
        await self.server.start()


class TestSmtpNotifier(NotifierSuite):
    @pytest.fixture
    async def stage(self, server: MockMailServer) -> AsyncIterator[SmtpStage]:
        async with Opened(server) as notifier:
            yield SmtpStage(server, notifier)


class TestSmtpNotifierOverOneLine(NotifierSuite):
    @pytest.fixture
    async def stage(self, server: MockMailServer) -> AsyncIterator[SmtpStage]:
        async with Opened(server, connections=1) as notifier:
            yield SmtpStage(server, notifier)


class MailSide:
    """A mail server as the other side of a carrier: a box without lookup, check or words of its own."""

    def __init__(self, server: MockMailServer, box: SmtpCarrier) -> None:
        self.server = server
        self.box = box
        self.sender = SENDER

    async def make_unreachable(self, addressee: Identifier) -> None:
        self.server.rcpt_replies[address_of(addressee)] = "550 5.1.1 unknown"

    async def answer_about(self, addressee: Identifier, word: str) -> None:
        self.server.rcpt_replies[address_of(addressee)] = f"599 {word}"

    async def be_busy(self) -> None:
        self.server.replies["mail_from"] = "451 4.3.2 busy"

    async def behave(self) -> None:
        self.server.replies.clear()

    async def go_away(self) -> None:
        await self.server.stop()

    async def fall_silent(self) -> None:
        self.server.replies["after_dot"] = None

    async def times_placed(self, message: BoxMessage) -> int:
        return sum(mail.envelope_id.startswith(f"{message.id}.") for mail in self.server.accepted)


def address_of(addressee: Identifier) -> str:
    return f"a{addressee.number}@mail.example"


class TestSmtpCarrier(BoxSuite):
    """What a mail server says about an addressee is a reply for Bode's bounce rules, not a refusal of a box."""

    lacks = frozenset(
        {
            Lacks.CHECK,
            Lacks.LOOKUP,
            Lacks.RECOGNISED_REPEATS,
            Lacks.FINDING_OUT,
            Lacks.ADDRESSEES_IT_REFUSES,
            Lacks.PUBLICATION,
        }
    )

    @asynccontextmanager
    async def other_side(self) -> AsyncIterator[MailSide]:
        async with MockMailServer() as server:
            carrier = SmtpCarrier.from_settings(settings(server, timeout_seconds=0.5), clock=clock)
            await carrier.open()
            yield MailSide(server, carrier)
            await carrier.close()

    def _messages(self, side: OtherSide, number: int, **changes: object) -> list[BoxMessage]:
        made = super()._messages(side, number, **changes)
        return [
            replace(one, email=address_of(one.addressee), return_path="bounce+1@voorbeeldstad.example") for one in made
        ]

    async def test_an_unreachable_addressee_is_refused_and_the_others_are_placed(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 3)
            await side.make_unreachable(messages[1].addressee)
            first, refused, last = await side.box.place(messages=messages)
            assert isinstance(first, Placed)
            assert refused == MailRefused("rcpt_to", 550, "5.1.1 unknown", "mock.mail.test")
            assert isinstance(last, Placed)

    async def test_an_unknown_word_is_kept_and_not_guessed(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 1)
            await side.answer_about(messages[0].addressee, "wat")
            assert list(await side.box.place(messages=messages)) == [
                MailRefused("rcpt_to", 599, "wat", "mock.mail.test")
            ]

    async def test_a_busy_other_side_is_unavailable_and_the_next_try_places_once(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 1)
            await side.be_busy()
            (busy,) = await side.box.place(messages=messages)
            assert busy == MailRefused("mail_from", 451, "4.3.2 busy", "mock.mail.test")
            await side.behave()
            (answer,) = await side.box.place(messages=messages)
            assert isinstance(answer, Placed)
            assert await side.times_placed(messages[0]) == 1

    async def test_no_personal_data_in_answers_or_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.other_side() as side:
            messages = self._messages(side, 3)
            await side.make_unreachable(messages[0].addressee)
            answers = await side.box.place(messages=messages)
            messages = [replace(message, email="geen adres") for message in messages]
            answers = [*answers[1:], *await side.box.place(messages=messages)]
            for message in messages:
                for secret in (message.addressee.number, message.subject, message.text, "geen adres"):
                    assert secret not in repr(answers)
                    assert secret not in caplog.text


# --------------------------------------------------------------------------------------------- replies and silences


@pytest.mark.parametrize("phase", [*BEFORE_DOT, "after_dot"])
@pytest.mark.parametrize("reply", ["421 4.3.2 closing", "450 4.7.1 later", "550-5.7.1 no\r\n550 5.7.1 never"])
async def test_a_negative_reply_keeps_its_phase(server: MockMailServer, phase: str, reply: str) -> None:
    server.replies[phase] = reply
    answer = await one(server)
    assert isinstance(answer, MailRefused)
    assert (answer.phase, answer.code) == (phase, int(reply[:3]))
    assert answer.text == "\n".join(line[4:] for line in reply.split("\r\n"))
    assert answer.mta == ("127.0.0.1" if phase in {"connect", "ehlo"} else "mock.mail.test")
    assert not server.accepted


@pytest.mark.parametrize("phase", BEFORE_DOT)
async def test_a_line_lost_before_the_dot_is_unavailable(server: MockMailServer, phase: str) -> None:
    server.replies[phase] = ""
    assert await one(server) == Unavailable(f"{phase}:lost")


@pytest.mark.parametrize("phase", BEFORE_DOT)
async def test_silence_before_the_dot_is_unavailable(server: MockMailServer, phase: str) -> None:
    server.replies[phase] = None
    assert await one(server, timeout_seconds=0.1) == Unavailable(f"timeout:{phase}")


@pytest.mark.parametrize("reply", ["", None, "what?"])
async def test_no_word_after_the_dot_is_unknown(server: MockMailServer, reply: str | None) -> None:
    server.replies["after_dot"] = reply
    assert await one(server, timeout_seconds=0.1) == Unknown("lost_after_dot")


async def test_a_slow_acceptance_is_unknown_when_it_takes_too_long(server: MockMailServer) -> None:
    assert await one(server, notice("slow@mail.example"), timeout_seconds=0.1) == Unknown("lost_after_dot")
    assert len(server.accepted) == 1


@pytest.mark.parametrize("phase", ["mail_from", "rcpt_to", "data"])
async def test_what_is_no_smtp_before_the_dot_is_unavailable(server: MockMailServer, phase: str) -> None:
    server.replies[phase] = "what?"
    assert await one(server) == Unavailable(f"{phase}:malformed_reply")


async def test_an_old_server_without_ehlo_is_greeted_with_helo() -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 old\r\n")
        for reply in (b"502 no\r\n", b"250 old\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            commands.append(await reader.readline())
            writer.write(reply)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 taken\r\n")
        await writer.drain()
        writer.close()

    commands: list[bytes] = []
    listening = await asyncio.start_server(old, "127.0.0.1", 0)
    async with listening:
        table = {"host": "127.0.0.1", "port": listening.sockets[0].getsockname()[1], "tls": "off", "helo_name": "b.nl"}
        notifier = SmtpNotifier.from_settings(table, clock=clock)
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
    assert isinstance(answer, Placed)
    assert commands[1] == b"HELO b.nl\r\n"
    assert commands[3] == b"RCPT TO:<jan@mail.example>\r\n"


async def test_nobody_listening_is_unavailable(server: MockMailServer) -> None:
    await server.stop()
    assert await one(server) == Unavailable("connect:ECONNREFUSED")


async def test_an_acceptance_is_sent_at_our_time_under_our_message_id(server: MockMailServer) -> None:
    sent = notice("jan@mail.example")
    answer = await one(server, sent)
    receipt = f"<{sent.id}@voorbeeldstad.example>"
    assert answer == Placed(NOW, TimeSource.OUR_CLOCK, receipt=receipt, code="250 2.0.0 Ok: queued as 00000001")
    assert read(server.accepted[0].data)["Message-ID"] == receipt


def test_addresses_are_left_out_of_a_reply() -> None:
    to = Mailbox("jan.jansen", "mail.example", needs_utf8=False)
    reply = "2.1.5 <jan.jansen@mail.example> and Jan.Jansen, x@y.nl ok"
    assert without_addresses(reply, to) == "2.1.5 <...> and <...>, <...> ok"


# ------------------------------------------------------------------------------------------------------------- lines


async def test_lines_are_kept_and_no_more_than_allowed(server: MockMailServer) -> None:
    async with Opened(server, connections=3) as notifier:
        for _ in range(3):
            await notifier.notify(notices=[notice(f"full.{at % 2}@mail.example") for at in range(20)])
            await notifier.notify(notices=[notice("jan@mail.example") for _ in range(20)])
        assert server.connections == len(server.sessions) == 3
    assert len(server.accepted) == 60


async def test_a_kept_line_that_was_closed_is_replaced(server: MockMailServer) -> None:
    async with Opened(server, connections=1) as notifier:
        await notifier.notify(notices=[notice("jan@mail.example")])
        server.close_sessions()
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
    assert isinstance(answer, Placed)
    assert server.connections == 2


async def test_a_kept_line_on_which_the_relay_takes_leave_is_replaced_once(server: MockMailServer) -> None:
    async with Opened(server, connections=1) as notifier:
        await notifier.notify(notices=[notice("jan@mail.example")])
        server.replies["mail_from"] = "421 4.7.0 enough for one connection"
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
    assert isinstance(answer, MailRefused)
    assert answer.code == 421
    assert server.connections == 2


async def test_a_line_that_stays_idle_is_closed(server: MockMailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bode_adapters.email.pool.IDLE_SECONDS", 0.02)
    async with Opened(server) as notifier:
        await notifier.notify(notices=[notice("jan@mail.example") for _ in range(8)])
        await until(lambda: not server.sessions)
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
    assert isinstance(answer, Placed)


async def test_a_line_that_was_idle_for_a_while_is_asked_first(
    server: MockMailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bode_adapters.email.pool.TRUSTED_IDLE_SECONDS", -1.0)
    async with Opened(server, connections=1, timeout_seconds=0.1) as notifier:
        for _ in range(2):
            (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
            assert isinstance(answer, Placed)
        assert server.connections == 1
        server.replies["rset"] = "421 4.3.2 closing"
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
        assert isinstance(answer, Placed)
        assert server.connections == 2


async def test_a_line_lost_at_the_moment_of_writing_has_sent_nothing(
    server: MockMailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise SMTPServerDisconnected("Connection lost")

    write = SMTPProtocol.write
    monkeypatch.setattr(SMTPProtocol, "write", lambda self, data: (write if len(data) < 300 else gone)(self, data))
    assert await one(server) == Unavailable("data:lost")


async def test_a_relay_that_takes_fewer_lines_than_allowed_gets_everything_over_those(server: MockMailServer) -> None:
    server.most_sessions = 1
    async with Opened(server, connections=4) as notifier:
        answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(20)])
    assert all(isinstance(answer, Placed) for answer in answers)


async def test_a_relay_that_falls_silent_costs_one_time_out_and_not_one_per_mail(server: MockMailServer) -> None:
    server.replies["mail_from"] = None
    started = time.monotonic()
    async with Opened(server, connections=2, timeout_seconds=0.2) as notifier:
        answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(40)])
    assert time.monotonic() - started < 2
    assert answers.count(Unavailable("timeout:mail_from")) == 2
    assert answers.count(Unavailable("not_tried:timeout")) == 38


async def test_a_cancelled_call_leaves_no_half_open_line_behind(server: MockMailServer) -> None:
    server.replies["data"] = None
    async with Opened(server, connections=1) as notifier:
        call = asyncio.create_task(notifier.notify(notices=[notice("jan@mail.example")]))
        await until(lambda: server.attempts)
        await asyncio.sleep(0.02)  # until it waits for a reply to DATA
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        server.replies.clear()
        (answer,) = await notifier.notify(notices=[notice("jan@mail.example")])
    assert isinstance(answer, Placed)
    assert server.connections == 2


# ----------------------------------------------------------------------------------------------- service extensions


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
        sent = notice("jan@mail.example")
        assert isinstance(await one(server, sent), Placed)
        assert server.accepted[0].parameters.strip() == ""
        assert server.attempts[f"<{sent.id}@voorbeeldstad.example>", "jan@mail.example"] == 1


@pytest.mark.parametrize(
    ("extension", "left", "expected"),
    [
        ("DELIVERBY", timedelta(hours=48), "BY=172800;R"),
        ("DELIVERBY 60", timedelta(seconds=61), "BY=61;R"),
        ("DELIVERBY 60", timedelta(seconds=59), ""),
        ("DELIVERBY", timedelta(0), ""),
        ("DELIVERBY", -timedelta(hours=1), ""),
    ],
)
async def test_the_deadline_is_told_where_the_relay_can_keep_it(extension: str, left: timedelta, expected: str) -> None:
    base = notice("jan@mail.example")
    sent = NoticeMail(base.id, SENDER, base.email, base.return_path, subject="s", text="t", deadline=NOW + left)
    async with MockMailServer(extensions=(extension,)) as server:
        assert isinstance(await one(server, sent), Placed)
        assert server.accepted[0].parameters.strip() == expected


async def test_an_address_that_needs_smtputf8_gets_it_where_offered(server: MockMailServer) -> None:
    assert isinstance(await one(server, notice("jürgen@münchen.example")), Placed)
    assert server.accepted[0].recipients == ("jürgen@xn--mnchen-3ya.example",)
    assert "SMTPUTF8 BODY=8BITMIME" in server.accepted[0].parameters
    assert read(server.accepted[0].data, utf8=True)["To"] == "jürgen@xn--mnchen-3ya.example"


async def test_an_address_that_needs_smtputf8_is_refused_where_it_is_not_offered() -> None:
    async with MockMailServer(extensions=("DSN",)) as server:
        assert await one(server, notice("jürgen@mail.example")) == Refused("smtputf8", RefusalKind.ADDRESSEE)
        assert isinstance(await one(server, notice("jan@münchen.example")), Placed)


async def test_a_mail_larger_than_the_relay_takes_is_refused_for_its_content() -> None:
    async with MockMailServer(extensions=("SIZE 500",)) as server:
        sent = notice("jan@mail.example", text="x" * 500)
        async with Opened(server, connections=1) as notifier:
            answers = await notifier.notify(notices=[sent, notice("jan@mail.example", subject="s", text="t")])
        assert answers[0] == Refused("size", RefusalKind.CONTENT)
        assert isinstance(answers[1], Placed)


# ----------------------------------------------------------------------------------------------------- TLS and AUTH


class Authority:
    """A private CA that issues a certificate for a name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        built = self._builder(self.name, self.key).add_extension(basic, critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self.certificate = built.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return builder.add_extension(identifier, critical=False)

    def server_context(self, name: x509.GeneralName) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            self._builder(subject, key)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(authority, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        chain = self.folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_starttls_with_a_good_certificate_is_used(authority: Authority) -> None:
    async with MockMailServer(tls=authority.server_context(LOOPBACK)) as server:
        answer = await one(server, tls="starttls", ca_file=str(authority.file))
        assert isinstance(answer, Placed)
        assert server.accepted[0].secured


async def test_tls_from_the_first_byte_is_used(authority: Authority) -> None:
    async with MockMailServer(tls=authority.server_context(LOOPBACK), implicit_tls=True) as server:
        async with Opened(server, tls="implicit", ca_file=str(authority.file), connections=2) as notifier:
            answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(10)])
        assert all(isinstance(answer, Placed) for answer in answers)
        assert all(mail.secured for mail in server.accepted)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_certificate_with_another_name_is_refused(authority: Authority, tls: str) -> None:
    context = authority.server_context(x509.DNSName("elsewhere.example"))
    async with MockMailServer(tls=context, implicit_tls=tls == "implicit") as server:
        answer = await one(server, tls=tls, ca_file=str(authority.file))
        assert isinstance(answer, Refused)
        assert (answer.code, answer.kind) == ("tls:certificate", RefusalKind.CONFIGURATION)
        assert not server.accepted


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: Authority) -> None:
    async with MockMailServer(tls=authority.server_context(LOOPBACK)) as server:
        answer = await one(server, tls="starttls")
        assert isinstance(answer, Refused)
        assert answer.code == "tls:certificate"
        assert isinstance(await one(server, tls="opportunistic"), Placed)
        assert server.accepted[0].secured


async def test_a_relay_that_does_not_offer_starttls_gets_no_mail(server: MockMailServer) -> None:
    assert await one(server, tls="starttls") == Refused("tls:not_offered", RefusalKind.CONFIGURATION)
    assert isinstance(await one(server, tls="opportunistic"), Placed)
    assert not server.accepted[0].secured


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("454 4.7.0 TLS not available now", Unavailable("tls:454")),
        ("501 5.5.4 no", Refused("tls:501", RefusalKind.CONFIGURATION)),
    ],
)
async def test_starttls_refused_for_now_or_for_good(authority: Authority, reply: str, answer: Answer) -> None:
    async with MockMailServer(tls=authority.server_context(LOOPBACK)) as server:
        server.replies["starttls"] = reply
        assert await one(server, tls="starttls") == answer


async def test_plain_text_where_tls_is_expected_is_our_configuration(server: MockMailServer) -> None:
    answer = await one(server, tls="implicit")
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("tls:handshake", RefusalKind.CONFIGURATION)


async def test_login() -> None:
    async with MockMailServer(login=("bode", "geheim")) as server:
        assert isinstance(await one(server, username="bode", password="geheim"), Placed)
        assert await one(server, username="bode", password="fout") == Refused("auth:535", RefusalKind.CONFIGURATION)
        answer = await one(server)
        assert isinstance(answer, MailRefused)
        assert (answer.phase, answer.code) == ("mail_from", 530)
        server.replies["auth"] = "454 4.7.0 later"
        answer = await one(server, username="bode", password="geheim")
        assert isinstance(answer, MailRefused)
        assert (answer.phase, answer.code) == ("auth", 454)


async def test_login_where_it_is_not_offered_is_our_configuration(server: MockMailServer) -> None:
    answer = await one(server, username="bode", password="geheim")
    assert answer == Refused("auth:not_offered", RefusalKind.CONFIGURATION)


# --------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"host": ""}, "host"),
        ({"host": None}, "host"),
        ({"host": 5}, "host"),
        ({"host": "mail.example", "tls": "off"}, "tls"),
        ({"host": "mail.example", "tls": "opportunistic"}, "tls"),
        ({"tls": "ssl"}, "tls"),
        ({"tls": True}, "tls"),
        ({"allow_insecure": "yes"}, "allow_insecure"),
        ({"port": 0}, "port"),
        ({"port": "25"}, "port"),
        ({"port": 25.5}, "port"),
        ({"connections": True}, "connections"),
        ({"connections": 0}, "connections"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": 601}, "timeout_seconds"),
        ({"username": "x"}, "password"),
        ({"password": "x"}, "username"),
        ({"helo_name": "a b"}, "helo_name"),
        ({"tls": "starttls", "ca_file": "/nowhere.pem"}, "ca_file"),
        ({"retries": 3}, "retries"),
    ],
)
@pytest.mark.parametrize("adapter", [SmtpNotifier, SmtpCarrier])
def test_a_wrong_setting_is_named(
    adapter: type[SmtpNotifier | SmtpCarrier], changes: dict[str, object], key: str
) -> None:
    with pytest.raises(SettingError) as caught:
        adapter.from_settings({"host": "127.0.0.1", "tls": "off"} | changes, clock=clock)
    assert caught.value.key == key


def test_a_password_is_never_told() -> None:
    with pytest.raises(SettingError) as caught:
        SmtpNotifier.from_settings({"host": "::1", "username": "a", "password": 4711}, clock=clock)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "table", [{"host": "mail.example"}, {"host": "mail.example", "tls": "off", "allow_insecure": True}]
)
async def test_settings_that_are_right(table: dict[str, object]) -> None:
    notifier = SmtpNotifier.from_settings(table, clock=clock)
    await notifier.open()
    await notifier.close()


# -------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("address", "travels_as"),
    [
        ("jan@example.nl", "jan@example.nl"),
        ("Jan.O'Neil+x=y@sub.example.nl", "Jan.O'Neil+x=y@sub.example.nl"),
        ('"jan jansen"@example.nl', '"jan jansen"@example.nl'),
        ("jan..x.@example.nl", "jan..x.@example.nl"),
        ("jan@[192.0.2.1]", "jan@[192.0.2.1]"),
        ("jan@BÜCHER.example", "jan@xn--bcher-kva.example"),
        ("jan@-x.nl", None),
        ("jan@x..nl", None),
        ("jan@ü..nl", None),
        ('"jan\r\n"@example.nl', None),
        ("jan\u00a0j@example.nl", None),
        ("jan\u2028j@example.nl", None),
        (f"jan@{'a.' * 126}nl", None),
    ],
)
def test_an_address_travels_or_does_not(address: str, travels_as: str | None) -> None:
    found = mailbox(address)
    assert (found and str(found)) == travels_as


def test_xtext_is_that_of_rfc_3461() -> None:
    assert xtext("a+b=c d\u00e9") == "a+2Bb+3Dc+20d+E9"


@pytest.mark.parametrize(
    ("changes", "code", "kind"),
    [
        ({"sender": Sender("1", "x", "geen adres")}, "sender_address", RefusalKind.CONFIGURATION),
        ({"sender": Sender("1", "x", "é@example.nl")}, "sender_address", RefusalKind.CONFIGURATION),
        ({"return_path": "x"}, "return_path", RefusalKind.CONFIGURATION),
        ({"email": "x"}, "address_syntax", RefusalKind.ADDRESSEE),
        ({"email": None}, "no_email", RefusalKind.ADDRESSEE),
        ({"return_path": None}, "no_return_path", RefusalKind.DEFECT),
        ({"documents": (Document("a", "a/b", b"x" * 7_000_001),)}, "size", RefusalKind.CONTENT),
    ],
)
async def test_a_message_that_cannot_travel_is_refused_beforehand(
    server: MockMailServer, changes: dict[str, object], code: str, kind: RefusalKind
) -> None:
    assert await carry(server, message(**changes)) == Refused(code, kind)
    assert server.connections == 0


# --------------------------------------------------------------------------------------------------- mails as bytes


def read(data: bytes, *, utf8: bool = False) -> EmailMessage:
    """Read a mail back with the standard library, and see that its lines are lines."""
    assert data.endswith(b"\r\n")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert max(len(line) for line in data.split(b"\r\n")) <= 998
    assert utf8 or data.isascii()
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    for part in parsed.walk():
        assert part.defects == []
    return parsed


def built(sent: NoticeMail) -> EmailMessage:
    own, to = mailbox(sent.sender.email), mailbox(sent.email)
    assert own is not None
    assert to is not None
    return read(mime.notice(sent, sender=own, to=to, at=NOW))


def content(part: EmailMessage) -> str:
    text = part.get_content()
    assert isinstance(text, str)
    return text.replace("\r\n", "\n")


def as_received(text: str) -> str:
    """Give a text as a mail carries it: line ends made one, what is no character replaced, a line end at the end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    return text if text.endswith("\n") else text + "\n"


def test_a_notice_has_the_headers_that_keep_robots_quiet() -> None:
    sent = notice("jan@mail.example", subject="Er is een bericht", text="Beste lezer,\n\n.\nGroet\n")
    parsed = built(sent)
    assert dict(parsed.items()) == {
        "From": "Gemeente Voorbeeldstad <bericht@voorbeeldstad.example>",
        "To": "jan@mail.example",
        "Subject": "Er is een bericht",
        "Date": "Mon, 02 Mar 2026 09:00:00 +0000",
        "Message-ID": f"<{sent.id}@voorbeeldstad.example>",
        "MIME-Version": "1.0",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }
    assert content(parsed) == "Beste lezer,\n\n.\nGroet\n"
    assert parsed["Date"].datetime == NOW


def test_a_notice_with_html_holds_both() -> None:
    base = notice("jan@mail.example")
    html = f"<p>Één <b>bericht</b>{'x' * 2000}</p>"
    sent = NoticeMail(base.id, SENDER, base.email, base.return_path, subject="s", text="Één bericht", html=html)
    parsed = built(sent)
    assert parsed.get_content_type() == "multipart/alternative"
    plain, rich = parsed.iter_parts()
    assert [part.get_content_type() for part in (plain, rich)] == ["text/plain", "text/html"]
    assert plain.get_content() == "Één bericht"
    assert rich.get_content() == html


def test_the_same_item_at_the_same_time_is_the_same_mail() -> None:
    sent = notice("jan@mail.example")
    assert built(sent).as_bytes() == built(sent).as_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "Gemeente Súdwest-Fryslân",
        'De "Raad", voor de (Rechtspraak) <x@y.nl>',
        "Ministerie van Sociale Zaken en Werkgelegenheid, directie Uitvoering en Handhaving van Regelingen",
        "Provincie Noord-Hólland \U0001f3db" * 5,
        "back\\slash",
        "=?utf-8?q?vals?=",
    ],
)
def test_a_sender_name_is_read_back_as_it_was(name: str) -> None:
    base = notice("jan@mail.example")
    sender = Sender("1", name, "bericht@voorbeeldstad.example")
    parsed = built(NoticeMail(base.id, sender, base.email, base.return_path, subject="s", text="t"))
    (address,) = parsed["From"].addresses
    assert address.addr_spec == "bericht@voorbeeldstad.example"
    # Not its display_name: Python 3.11 puts a space between encoded words there, against RFC 2047 section 6.2.
    raw = str(email.message_from_bytes(parsed.as_bytes(), policy=email.policy.compat32)["From"])
    phrase, _, _ = raw.rpartition("<")
    shown = str(make_header(decode_header(phrase.strip())))
    assert shown.strip('"').replace("\\\\", "\\").replace('\\"', '"') == name.strip('"')


ANY_TEXT = st.text(max_size=400)


@given(subject=ANY_TEXT, text=ANY_TEXT, name=st.text(max_size=120))
def test_no_text_makes_a_header_or_is_lost(subject: str, text: str, name: str) -> None:
    base = notice("jan@mail.example", subject=subject, text=text)
    sender = Sender("1", name, "bericht@voorbeeldstad.example")
    parsed = built(NoticeMail(base.id, sender, base.email, base.return_path, subject=subject, text=text))
    assert list(parsed.keys()) == [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    assert parsed["From"].addresses[0].addr_spec == "bericht@voorbeeldstad.example"
    assert parsed["Subject"].replace(" ", "") == "".join(
        char for char in subject if not (char.isspace() or char in CONTROLS)
    )
    assert content(parsed) == as_received(text)


CONTROLS = frozenset(chr(number) for number in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])


def test_words_of_a_subject_are_not_glued_or_split() -> None:
    for subject in (
        "Besluit over uw aanvraag om bijstand " * 8,
        "Één besluit over de bûter en de tsiis " * 8,
        "x" * 1500,
    ):
        parsed = built(notice("jan@mail.example", subject=subject))
        assert parsed["Subject"] == subject.strip()


# ------------------------------------------------------------------------------------------------------ the carrier


def message(**changes: object) -> BoxMessage:
    values: dict[str, object] = {
        "id": uuid4(),
        "batch": uuid4(),
        "reference": "Z-1",
        "sender": SENDER,
        "addressee": Identifier(IdentifierKind.KVK, "12345678"),
        "subject": "Beschikking",
        "text": "Zie de bijlage.",
        "email": "jan@mail.example",
        "return_path": "bounce+1@voorbeeldstad.example",
    }
    return BoxMessage(**(values | changes))  # type: ignore[arg-type]


async def carry(server: MockMailServer, *messages: BoxMessage, **changes: object) -> Answer:
    carrier = SmtpCarrier.from_settings(settings(server, **changes), clock=clock)
    await carrier.open()
    answers = await carrier.place(messages=messages)
    await carrier.close()
    return answers[0]


async def test_a_message_travels_with_its_documents(server: MockMailServer) -> None:
    documents = (
        Document("besluit.pdf", "application/pdf", bytes(range(256)) * 10),
        Document("één heel lange naam " * 12 + ".pdf", "application/pdf", b""),
        Document('a/b\\c"d\r\nX-Evil: 1.txt', "text/plain; charset=evil\r\nX: y", b"x"),
        Document("", "message/rfc822", b"From: x\r\n\r\n"),
    )
    assert isinstance(await carry(server, message(documents=documents)), Placed)
    parsed = read(server.accepted[0].data)
    assert parsed.get_content_type() == "multipart/mixed"
    text, *attached = parsed.iter_parts()
    assert text.get_content() == "Zie de bijlage."
    assert [part.get_content_disposition() for part in attached] == ["attachment"] * 4
    assert [part.get_payload(decode=True) for part in attached] == [document.content for document in documents]
    assert [part.get_filename() for part in attached] == [
        "besluit.pdf",
        "één heel lange naam " * 12 + ".pdf",
        'a_b_c"d X-Evil: 1.txt',
        "document",
    ]
    kinds = ["application/pdf", "application/pdf", "application/octet-stream", "application/octet-stream"]
    assert [part.get_content_type() for part in attached] == kinds


async def test_lines_that_begin_with_a_dot_arrive_as_they_were(server: MockMailServer) -> None:
    text = ".\n..\n.punt\n\n.\nRSET\n"
    assert isinstance(await carry(server, message(text=text)), Placed)
    assert content(read(server.accepted[0].data)) == text


async def test_a_message_without_documents_is_a_plain_mail(server: MockMailServer) -> None:
    assert isinstance(await carry(server, message()), Placed)
    assert content(read(server.accepted[0].data)) == "Zie de bijlage.\n"


async def test_a_large_message_arrives_whole(server: MockMailServer) -> None:
    content = b".\r\n" * 1_000_000
    assert isinstance(await carry(server, message(documents=(Document("a.bin", "a/b", content),))), Placed)
    _, attached = read(server.accepted[0].data).iter_parts()
    assert attached.get_payload(decode=True) == content


@pytest.mark.parametrize("reply", [b"552 5.3.4 too large\r\n", b"", None])
async def test_a_relay_that_stops_in_the_middle_has_not_taken_a_large_message(reply: bytes | None) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        for line in (b"250 relay\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(line)
        await reader.readexactly(1000)
        try:
            if reply is None:
                await asyncio.Event().wait()
            else:
                writer.write(reply)
                await writer.drain()
        finally:
            writer.close()

    listening = await asyncio.start_server(relay, "127.0.0.1", 0, limit=1000)
    tasks = asyncio.all_tasks()
    async with listening:
        table = {"host": "127.0.0.1", "port": listening.sockets[0].getsockname()[1], "tls": "off", "helo_name": "b.nl"}
        carrier = SmtpCarrier.from_settings(table | {"timeout_seconds": 0.1}, clock=clock)
        sent = message(documents=(Document("a.bin", "a/b", b"x" * 7_000_000),))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bode_adapters.email.connection.SLOWEST", 100_000_000)
            (answer,) = await carrier.place(messages=[sent])
        for task in asyncio.all_tasks() - tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    if reply:
        assert isinstance(answer, MailRefused)
        assert (answer.phase, answer.code) == ("data", 552)
    else:
        assert answer == Unavailable("timeout:data" if reply is None else "data:lost")


async def test_a_carrier_cannot_check_or_look_up(server: MockMailServer) -> None:
    carrier = SmtpCarrier.from_settings(settings(server), clock=clock)
    assert not carrier.capabilities.repeat_is_recognised
    assert not carrier.capabilities.can_lookup
    (found,) = await carrier.check(addressees=[message().addressee], sender=SENDER)
    assert found.reachable is None
    assert await carrier.lookup(messages=[message()]) == [Unknown("no_lookup")]


# ---------------------------------------------------------------------------------------------------- the mock server


@pytest.fixture
async def bounces() -> AsyncIterator[MockMailServer]:
    """Listen as Bode does for bounces."""
    async with MockMailServer() as listener:
        yield listener


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event: the mock is asked as a user would
            await asyncio.sleep(0.001)


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
        async with Opened(server) as notifier:
            await notifier.notify(notices=[notice(f"jan{at}@mail.example") for at in range(5)])
        assert len(server.accepted) == 2
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 5


async def test_the_mock_takes_pipelined_commands_and_minds_their_order(server: MockMailServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"HELO x\r\nNOOP\r\nDATA\r\nRCPT TO:<a@b.nl>\r\nMAIL FROM:nobody\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n"
        b"RCPT TO:a@b.nl\r\nRCPT TO:<a@b.nl>\r\nDATA\r\n..dot\r\n.\r\nRSET\r\nHELP\r\n"
        b"STARTTLS\r\nAUTH LOGIN\r\nQUIT\r\n"
    )
    codes = [line[:3].decode() for line in (await reader.read()).splitlines()]
    writer.close()
    await writer.wait_closed()
    expected = "220 250 250 503 503 501 250 503 501 250 354 250 250 502 502 504 221"
    assert codes == expected.split()
    assert server.accepted[0].data == b".dot\r\n"


async def test_an_endless_line_is_cut_off(server: MockMailServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"x" * 10_000)
    assert b"500 5.5.2" in await reader.read()
    writer.close()
    await writer.wait_closed()
