"""The rule book in force, and mails built by hand for the tests. All people, domains and addresses are invented."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from bode.domain.bounces import BounceMail, Classification, Phase, RuleBook, SmtpReply, classify_reply, read_mail

TABLES = Path(__file__).parents[3] / "config" / "bounces"


@pytest.fixture(scope="session")
def rules() -> RuleBook:
    return RuleBook.from_tables(tomllib.loads(path.read_text("utf-8")) for path in sorted(TABLES.glob("*.toml")))


@pytest.fixture(scope="session")
def judge(rules: RuleBook) -> Callable[..., Classification]:
    """Judge a reply written as one text, with its code in front."""

    def _judge(text: str, *, phase: Phase = Phase.RCPT_TO, status: str | None = None, mta: str | None = None):
        return classify_reply(SmtpReply(phase=phase, code=0, text=text, status=status, mta=mta), rules)

    return _judge


@pytest.fixture(scope="session")
def read(rules: RuleBook) -> Callable[[str | bytes], BounceMail]:
    """Read a mail written as text, with the lines of a mail on the wire."""

    def _read(raw: str | bytes) -> BounceMail:
        data = raw.encode("utf-8").replace(b"\n", b"\r\n") if isinstance(raw, str) else raw
        return read_mail(data, rules)

    return _read


@pytest.fixture(scope="session")
def dsn() -> Callable[..., str]:
    """Write a delivery status notification: `fields` are those of each recipient, one text per recipient."""

    def _dsn(*fields: str, story: str = "Your message could not be delivered.", about: str = "") -> str:
        groups = "\n\n".join(group.strip() for group in fields)
        return f"""\
Return-Path: <>
Delivered-To: post+b7k2@bode.example
From: MAILER-DAEMON@mx.example.nl (Mail Delivery System)
To: post+b7k2@bode.example
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="A1B2C3/mx.example.nl"

This is a MIME-encapsulated message.

--A1B2C3/mx.example.nl
Content-Type: text/plain; charset=us-ascii

{story}

--A1B2C3/mx.example.nl
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.nl
{about}

{groups}

--A1B2C3/mx.example.nl
Content-Type: text/rfc822-headers

From: Gemeente Voorbeeld <post@bode.example>
To: jan@example.nl
Message-ID: <m7.42@bode.example>
Subject: U heeft een bericht

--A1B2C3/mx.example.nl--
"""

    return _dsn


@pytest.fixture(scope="session")
def prose() -> Callable[..., str]:
    """Write a mail of one text."""

    def _prose(
        text: str,
        *,
        subject: str = "Mail delivery failed: returning message to sender",
        author: str = "Mail Delivery System <MAILER-DAEMON@mx.example.nl>",
        headers: str = "",
        content_type: str = "text/plain; charset=utf-8",
    ) -> str:
        lines = [
            "Return-Path: <>",
            f"From: {author}",
            "To: <post+b7k2@bode.example>",
            f"Subject: {subject}",
            *([headers.strip()] if headers else []),
            "MIME-Version: 1.0",
            f"Content-Type: {content_type}",
            "Content-Transfer-Encoding: 8bit",
            "",
            text,
        ]
        return "\n".join(lines)

    return _prose
