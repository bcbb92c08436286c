"""Mails as bytes: what the standard library would write, and what its parser reads back."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bode_adapters.contract import NoticeMail, Sender
from bode_adapters.email import mime
from bode_adapters.email.address import Mailbox
from bode_adapters.testing.notifier import SENDER, notice

from .parts import NOW, as_received, content, read, written

POLICY = email.policy.SMTP.clone(max_line_length=76)
"""76 characters, as RFC 2045 and 2047 ask; the standard library's own 78 is one of its mistakes."""


def parsed_of(sent: NoticeMail) -> EmailMessage:
    return read(written(sent))


def by_the_standard_library(sent: NoticeMail) -> bytes:
    """Write a notice with EmailMessage."""
    mail = EmailMessage(policy=POLICY)
    mail["From"] = Address(sent.sender.name, addr_spec=sent.sender.email)
    mail["Subject"] = sent.subject
    mail["MIME-Version"] = "1.0"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "OOF"
    mail["To"] = sent.email
    mail["Date"] = format_datetime(NOW)
    mail["Message-ID"] = f"<{sent.id}@voorbeeldstad.example>"
    mail.set_content(sent.text, cte="quoted-printable")
    if sent.html is not None:
        mail.add_alternative(sent.html, subtype="html", cte="quoted-printable")
        mail.set_boundary("=_bode")
    return mail.as_bytes()


ATOM = "".join(sorted(set(map(chr, range(0x21, 0x7F))) - set('()<>[]:;@\\,."=?_`^')))
SUBJECTS = st.lists(st.text(ATOM, min_size=1, max_size=30), min_size=1, max_size=12).map(" ".join)
NAMES = st.lists(st.text(ATOM, min_size=1, max_size=8), min_size=1, max_size=4).map(" ".join)
QUOTED = st.text("abc ,.()-", min_size=1, max_size=20).map(lambda text: " ".join(f"{text}.".split()))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=400)
LINES = st.lists(st.text("ab=. \t\r\né€.", max_size=120), max_size=8).map("\n".join)


def would_leave_a_line_empty(subject: str) -> bool:
    """Tell whether the standard library begins this subject on the second line: legal, and some readers stumble."""
    return len(f"Subject: {subject}") > 76 and len(subject) < 76


@settings(deadline=None, max_examples=60)
@given(
    name=NAMES | QUOTED,
    subject=SUBJECTS,
    text=TEXTS | LINES,
    html=st.none() | TEXTS | LINES,
    local=st.text("ab1+-_", min_size=1),
)
@example(name="a", subject="b", text="", html="", local="c")
@example(name="a", subject="b", text="x" * 75 + " \n", html="x" * 76 + "\t", local="c")
@example(name="De Raad, voor de Rechtspraak", subject="b", text=".\n..\nFrom x", html=None, local="c")
@example(name="Gemeente Maasveld", subject=("Er staat een bericht voor u " * 8).strip(), text="a", html=None, local="c")
def test_a_notice_is_byte_for_byte_what_the_standard_library_writes(
    name: str, subject: str, text: str, html: str | None, local: str
) -> None:
    sender = Sender("1", name, "bericht@voorbeeldstad.example")
    base = notice(f"{local}@mail.example", subject=subject, text=text)
    sent = replace(base, sender=sender, html=html)
    assume(len(f"From: {name} <{sender.email}>") <= 76)  # it folds a long name now here, now there
    assume(not would_leave_a_line_empty(subject))
    assume(len(sent.email) < 70)
    assert written(sent) == by_the_standard_library(sent)


def test_a_notice_has_the_headers_that_keep_robots_quiet_and_no_others() -> None:
    sent = notice("jan@mail.example", subject="Er is een bericht", text="Beste lezer,\n\n.\nGroet\n")
    parsed = parsed_of(sent)
    assert dict(parsed.items()) == {
        "From": "Gemeente Voorbeeldstad <bericht@voorbeeldstad.example>",
        "Subject": "Er is een bericht",
        "MIME-Version": "1.0",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF",
        "To": "jan@mail.example",
        "Date": "Mon, 02 Mar 2026 09:00:00 +0000",
        "Message-ID": f"<{sent.id}@voorbeeldstad.example>",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }
    assert content(parsed) == "Beste lezer,\n\n.\nGroet\n"
    assert parsed["Date"].datetime == NOW


def test_a_notice_with_html_holds_both() -> None:
    html = f"<p>Één <b>bericht</b>{'x' * 2000}</p>\n"
    parsed = parsed_of(replace(notice("jan@mail.example", text="Één bericht\n"), html=html))
    assert parsed.get_content_type() == "multipart/alternative"
    plain, rich = parsed.iter_parts()
    assert [part.get_content_type() for part in (plain, rich)] == ["text/plain", "text/html"]
    assert content(plain) == "Één bericht\n"
    assert content(rich) == html


def test_the_same_item_at_the_same_time_is_the_same_mail() -> None:
    sent = notice("jan@mail.example")
    assert written(sent) == written(sent)


def test_what_one_writer_remembers_of_a_mail_is_not_in_another() -> None:
    own, to = Mailbox("a", "a.example", needs_utf8=False), Mailbox("b", "b.example", needs_utf8=False)
    writer = mime.NoticeWriter()
    base = notice("b@b.example", subject="s", text="t")
    mails = [
        base,
        replace(base, subject="s2"),
        replace(base, text="t2"),
        replace(base, html="h"),
        replace(base, html="h2"),
        replace(base, sender=replace(SENDER, name="n2")),
        replace(base, id=notice("x@b.example").id),
    ]
    for mail in mails * 2:
        again = mime.NoticeWriter().write(mail, sender=own, to=to, at=NOW)
        assert writer.write(mail, sender=own, to=to, at=NOW) == again


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
    parsed = parsed_of(NoticeMail(base.id, sender, base.email, base.return_path, subject="s", text="t"))
    (address,) = parsed["From"].addresses
    assert address.addr_spec == "bericht@voorbeeldstad.example"
    # Not its display_name: Python 3.11 puts a space between encoded words there, against RFC 2047 section 6.2.
    raw = str(email.message_from_bytes(parsed.as_bytes(), policy=email.policy.compat32)["From"])
    phrase, _, _ = raw.rpartition("<")
    shown = str(make_header(decode_header(phrase.strip())))
    assert shown.strip('"').replace("\\\\", "\\").replace('\\"', '"') == name.strip('"')


ANY_TEXT = st.text(max_size=400)
CONTROLS = frozenset(chr(number) for number in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])


@settings(deadline=None)
@given(subject=ANY_TEXT, text=ANY_TEXT, name=st.text(max_size=120))
def test_no_text_makes_a_header_or_is_lost(subject: str, text: str, name: str) -> None:
    base = notice("jan@mail.example", subject=subject, text=text)
    sender = Sender("1", name, "bericht@voorbeeldstad.example")
    parsed = parsed_of(replace(base, sender=sender))
    assert list(parsed.keys()) == [
        "From",
        "Subject",
        "MIME-Version",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "To",
        "Date",
        "Message-ID",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    assert parsed["From"].addresses[0].addr_spec == "bericht@voorbeeldstad.example"
    assert parsed["Subject"].replace(" ", "") == "".join(
        char for char in subject if not (char.isspace() or char in CONTROLS)
    )
    assert content(parsed) == as_received(text)


@settings(deadline=None)
@given(ANY_TEXT)
def test_no_line_of_text_is_longer_than_a_line_may_be(text: str) -> None:
    sent = replace(notice("jan@mail.example", subject=text, text=text), html=text)
    assert max(len(line) for line in written(sent).split(b"\r\n")) <= 76


def test_words_of_a_subject_are_not_glued_or_split() -> None:
    for subject in (
        "Besluit over uw aanvraag om bijstand " * 8,
        "Één besluit over de bûter en de tsiis " * 8,
        "x" * 1500,
    ):
        assert parsed_of(notice("jan@mail.example", subject=subject))["Subject"] == subject.strip()


def test_a_long_address_stands_on_one_line_and_is_not_encoded() -> None:
    address = f"{'l' * 64}@{'.'.join(['d' * 60] * 3)}.nl"
    assert f"\r\nTo: {address}\r\n".encode() in written(notice(address))
