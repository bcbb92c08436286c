"""Damaged and hostile mails at a bounce address: none raises, none takes more than its share of time.

And none moves anything without a token of ours.

The mails are those of the unit tests (vendors' replies and bounces in prose) put into the shapes mailers send, then
damaged by a mutator that a seed makes repeatable. The short run is for every day, the long one for `make test-all`.
"""

from __future__ import annotations

import base64
import quopri
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bode.domain import events as ev
from bode.domain.bounces import BounceMail, MailKind, RuleBook, Verdict, describe_mail, read_mail
from bode.engine import inbound
from bode.engine.inbound import Inbound, Raw
from bode.engine.return_path import Carries, Flaw, ReturnPath, Token
from bode.store import tables

ROOT = Path(__file__).parents[2]
SEED = 20_260_101
LONGEST_SECONDS = 5.0
"""For one mail, of any size. The slowest takes well under a second; what is not bounded takes minutes."""
BIG_EVERY, BIG = 500, 400_000
MOST_BYTES = 60_000


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


BOOK = RuleBook.from_tables(_toml(path) for path in sorted((ROOT / "config" / "bounces").glob("*.toml")))


def _replies() -> list[str]:
    words: dict[str, list[str]] = _toml(ROOT / "tests" / "unit" / "bounces" / "vendor_replies.toml")
    return [text for texts in words.values() for text in texts]


def _stories() -> list[str]:
    tables: dict[str, dict[str, str]] = _toml(ROOT / "tests" / "unit" / "bounces" / "prose_bounces.toml")
    return [table["text"] for table in tables.values()]


REPLIES, STORIES = _replies(), _stories()

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DOMAIN = "retour.example.nl"
OURS = Token(UUID("019c0f3e-7c1a-7b7e-9d3f-0123456789ab"), 0, Carries.NOTICE)


def paths(*, secret: int = 1, domain: str = DOMAIN, age: timedelta = timedelta(0), generation: int = 1) -> ReturnPath:
    made = ReturnPath(
        lambda number: bytes([secret, number] * 16), domain, valid=timedelta(days=60), now=lambda: NOW - age
    )
    made.use((generation,))
    return made


PATHS = paths()
VALID = PATHS.make(OURS)
UNBELIEVABLE = (
    paths(secret=2).make(OURS),
    paths(generation=2).make(OURS),
    paths(age=timedelta(days=61)).make(OURS),
    paths(secret=3, domain="elsewhere.example").make(OURS),
    VALID[:-20],
    VALID[:40] + "@" + DOMAIN,
    VALID.replace("-", "."),
    "postmaster@" + DOMAIN,
    "",
)
"""Return paths that are forged, expired, under a removed key, of another domain, cut off, or not there."""


def damaged(random: random.Random) -> str:
    """Give a return path that must not be believed: one of the above, or ours with a letter or more changed."""
    if random.random() < 0.5:
        return random.choice(UNBELIEVABLE)
    letters = list(VALID)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.choice([n for n, letter in enumerate(letters[: letters.index("@")]) if letter != "-" and n > 1])
        letters[at] = random.choice([letter for letter in "abcdefghijklmnopqrstuvwxyz234567" if letter != VALID[at]])
    return "".join(letters)


TEXT = """\
Return-Path: <>
From: Mail Delivery System <MAILER-DAEMON@mx.example.nl>
To: <post+b7k2@bode.example>
Subject: {subject}
MIME-Version: 1.0
Content-Type: {kind}; charset={charset}
Content-Transfer-Encoding: {encoding}

{text}"""

REPORT = """\
Return-Path: <>
Delivered-To: post+b7k2@bode.example
From: MAILER-DAEMON@mx.example.nl (Mail Delivery System)
To: post+b7k2@bode.example
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type={report_type}; boundary="A1B2/x"

This is a MIME-encapsulated message.

--A1B2/x
Content-Type: text/plain; charset=us-ascii

{story}

--A1B2/x
Content-Type: message/{report_type}

Reporting-MTA: dns; mx.example.nl
Original-Envelope-Id: {envelope_id}

{fields}

--A1B2/x
Content-Type: message/rfc822

From: Gemeente Voorbeeld <post@bode.example>
To: jan@example.nl
Message-ID: <m7.42@bode.example>
Subject: U heeft een bericht

Goedendag, no such user, mailbox full.
--A1B2/x--
"""

SPLINTERS = [
    *(
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"--A1B2/x\n",
        b"--A1B2/x--\n",
        b"--",
        b": ",
        b"\t",
        b"\x00",
        b"\xff\xfe",
        b"\x1b$B",
    ),
    *(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n", b"Content-Type: text/html\n\n<style>", b"boundary=", b";"),
    *(b"=?utf-8?B?", b"=?iso-8859-1?Q?=E9?=", b"?=", b"=\n", b"=E2=80", b"Content-Transfer-Encoding: base64\n"),
    *(b"Content-Transfer-Encoding: quoted-printable\n", b"charset=utf-16", b"charset=idna", b"charset=unicode_escape"),
    *(
        b"Final-Recipient: rfc822; ",
        b"Action: failed\n",
        b"Action: delayed\n",
        b"Status: 5.1.1\n",
        b"Status: 9.9.9999\n",
    ),
    *(b"Diagnostic-Code: smtp; 550 ", b"Diagnostic-Code: ", b"X-Failed-Recipients: a@b.nl, c@d.nl\n", b"\\x{110000}"),
    *(b"\\x{d800}", b"\\x{0}", b"<<<<<<<<", b">>>>", b"@@@@", b"a@b.nl", b"<a@b.nl>: ", b'"a b"@c.nl', b"(((((("),
    *(b"550 5.1.1 ", b"550-5.1.1 ", b"421 ", b"user unknown ", b"mailbox full ", b"said: ", b">>> DATA\n<<< 550 "),
    *("é".encode(), "ß".encode(), "\u202e".encode(), "\U0001f600".encode(), "ａ".encode(), "İ".encode(), b"\xc3"),
    *(b"Disposition: automatic-action; deleted\n", b"Auto-Submitted: auto-replied\n", b"(in reply to RCPT TO command)"),
]


def fields_of(reply: str, *, action: str, status: str, address: str) -> str:
    said = reply.replace("\n", "\n ")
    return f"Final-Recipient: rfc822; {address}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {said}\n"


def report(story: str, fields: str, *, envelope_id: str = "m7.42") -> bytes:
    return REPORT.format(story=story, fields=fields, report_type="delivery-status", envelope_id=envelope_id).encode()


@dataclass(slots=True)
class Mutator:
    """Makes mails without end, the same ones for the same seed."""

    random: random.Random

    def mails(self) -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            raw = self._whole()
            for _ in range(self.random.choice((0, 1, 1, 2, 3, 5, 8, 13))):
                raw = self.random.choice(self._damages)(raw)[:MOST_BYTES]
            if number % BIG_EVERY == 0:
                piece = self._piece(raw) or b"x"
                raw = raw + piece * (BIG // len(piece))
            yield raw

    def _whole(self) -> bytes:
        if self.random.random() < 0.5:
            return self._text()
        story = self.random.choice(STORIES)
        groups = [
            fields_of(
                self.random.choice(REPLIES),
                action=self.random.choice(
                    ("failed", "failed", "failed", "delayed", "delivered", "expanded", "geweigerd")
                ),
                status=self.random.choice(("5.1.1", "5.0.0", "4.4.7", "5.7.1", "2.0.0", "5.2.2 (full)", "")),
                address=f"jan{number}@example.nl",
            )
            for number in range(self.random.choice((1, 1, 1, 2, 3, 30)))
        ]
        kind = self.random.choice(("delivery-status", "delivery-status", "disposition-notification", "feedback-report"))
        envelope_id = self.random.choice(("m7.42", f"{OURS.message_id}.{damaged(self.random).partition('@')[0]}"))
        return REPORT.format(story=story, fields="\n".join(groups), report_type=kind, envelope_id=envelope_id).encode()

    def _text(self) -> bytes:
        text = self.random.choice((self.random.choice(STORIES), f"<jan@example.nl>: {self.random.choice(REPLIES)}\n"))
        encoding = self.random.choice(("8bit", "base64", "quoted-printable"))
        charset = self.random.choice(("utf-8", "iso-8859-1", "utf-16", "x-none"))
        raw = text.encode("utf-8")
        written = raw
        if encoding != "8bit":
            written = base64.encodebytes(raw) if encoding == "base64" else quopri.encodestring(raw)
        head = TEXT.format(
            subject=self.random.choice(
                ("Undelivered Mail", "Delivery delayed", "Re: vraag", "Afwezig", text[:60].strip())
            ),
            kind=self.random.choice(("text/plain", "text/html")),
            charset=charset,
            encoding=encoding,
            text="",
        )
        return head.encode("utf-8") + written

    @property
    def _damages(self) -> tuple[Callable[[bytes], bytes], ...]:
        return (
            self._splinter,
            self._splinter,
            self._bytes,
            self._cut,
            self._repeat,
            self._swap,
            self._truncate,
            self._line_ends,
            self._splice,
            self._nest,
        )

    def _span(self, raw: bytes, most: int = 400) -> tuple[int, int]:
        start = self.random.randint(0, len(raw))
        return start, min(len(raw), start + self.random.randint(0, most))

    def _piece(self, raw: bytes) -> bytes:
        start, end = self._span(raw, 60)
        return raw[start:end]

    def _splinter(self, raw: bytes) -> bytes:
        start, end = self._span(raw, self.random.choice((0, 0, 20)))
        return raw[:start] + self.random.choice(SPLINTERS) * self.random.choice((1, 1, 1, 2, 50)) + raw[end:]

    def _bytes(self, raw: bytes) -> bytes:
        start, end = self._span(raw, 8)
        return raw[:start] + self.random.randbytes(end - start) + raw[end:]

    def _cut(self, raw: bytes) -> bytes:
        start, end = self._span(raw)
        return raw[:start] + raw[end:]

    def _repeat(self, raw: bytes) -> bytes:
        start, end = self._span(raw, 80)
        return raw[:end] + raw[start:end] * self.random.choice((1, 2, 10, 400)) + raw[end:]

    def _swap(self, raw: bytes) -> bytes:
        lines = raw.split(b"\n")
        one, other = self.random.randrange(len(lines)), self.random.randrange(len(lines))
        lines[one], lines[other] = lines[other], lines[one]
        return b"\n".join(lines)

    def _truncate(self, raw: bytes) -> bytes:
        return raw[: self.random.randint(0, len(raw))]

    def _line_ends(self, raw: bytes) -> bytes:
        return raw.replace(b"\n", self.random.choice((b"\r\n", b"\r", b"\n\n", b"\r\r\n")))

    def _splice(self, raw: bytes) -> bytes:
        other = self._whole()
        return raw[: self.random.randint(0, len(raw))] + other[self.random.randint(0, len(other)) :]

    def _nest(self, raw: bytes) -> bytes:
        return b"Content-Type: multipart/mixed; boundary=n\nSubject: x\n\n--n\n" + raw + b"\n--n--\n"


@dataclass(slots=True)
class Run:
    """What a run over many mails found."""

    mails: int = 0
    bytes: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_bytes: int = 0
    kinds: Counter[MailKind] = field(default_factory=Counter[MailKind])
    verdicts: Counter[Verdict] = field(default_factory=Counter[Verdict])

    def read(self, raw: bytes, rules: RuleBook) -> BounceMail:
        """Read a mail as `read_mail` does, and keep what it took."""
        started = time.process_time()
        mail = read_mail(raw, rules)
        took = time.process_time() - started
        assert took < LONGEST_SECONDS, f"{took:.1f} s for mail {self.mails} of {len(raw)} bytes"
        check(mail)
        self.mails += 1
        self.bytes += len(raw)
        self.seconds += took
        if took > self.slowest:
            self.slowest, self.slowest_bytes = took, len(raw)
        self.kinds[mail.kind] += 1
        self.verdicts.update(one.classification.verdict for one in mail.recipients)
        return mail

    def __str__(self) -> str:
        return (
            f"{self.mails} mails, {self.bytes / 1e6:.0f} MB, {self.seconds:.0f} s of one core, "
            f"{self.mails / self.seconds:.0f} mails per second per core; the worst took {self.slowest * 1000:.0f} ms "
            f"({self.slowest_bytes} bytes); {dict(self.kinds)}; {dict(self.verdicts)}"
        )


def check(mail: BounceMail) -> None:
    assert mail.recipients
    assert describe_mail("x.eml", mail)
    for one in mail.recipients:
        assert len(one.classification.evidence) <= 300
        if one.action in {"delayed", "delivered", "expanded", "relayed"} and mail.kind is MailKind.DSN:
            assert one.classification.verdict is Verdict.NOT_A_BOUNCE


class Judge(Inbound):
    """Decides as `Inbound` does, with the database left out. `acted_on` are the verdicts that would move a delivery."""

    def __init__(self) -> None:
        self._parts = SimpleNamespace(return_path=PATHS, rules=BOOK)  # type: ignore[assignment]
        self.acted_on: list[Verdict] = []
        self.notes: Counter[str] = Counter()

    async def _address(self, message_id: UUID) -> None:
        assert message_id == OURS.message_id

    async def _hint(self, found: BounceMail) -> None:
        del found

    async def _event(self, token: Token, report: Any, **how: Any) -> ev.Event:
        assert token == OURS
        self.acted_on.append(report.classification.verdict)
        return ev.ClockStruck("notice/mijnoverheid")

    async def _settle(self, key: str, *, state: str, note: str, **more: Any) -> None:
        assert (state == "matched") is ("event" in more)
        self.notes[note if state == "ignored" else state] += 1

    async def judge(self, recipient: str, mail: bytes) -> None:
        await self._decide_mail("key", "smtp", recipient.encode("ascii", "replace") + b"\n" + mail)


async def run(count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Judge, Judge]:
    """Decide so many mails, each to an address that must not be believed; and one in twenty to ours as well."""
    done, stranger, ours = Run(), Judge(), Judge()
    mutator = Mutator(random.Random(seed))
    monkeypatch.setattr(inbound, "read_mail", done.read)
    for raw in mutator.mails():
        await stranger.judge(damaged(mutator.random), raw)
        assert stranger.acted_on == [], f"mail {done.mails} was acted on without a token of ours"
        if done.mails % 20 == 0:
            monkeypatch.setattr(inbound, "read_mail", read_mail)
            await ours.judge(VALID, raw)
            monkeypatch.setattr(inbound, "read_mail", done.read)
        if done.mails >= count:
            return done, stranger, ours
    raise AssertionError


def see_that_the_run_could_fail(done: Run, stranger: Judge, ours: Judge) -> None:
    """The mutator must leave enough whole: every kind of mail, every verdict, every reason not to believe."""
    assert {MailKind.DSN, MailKind.TEXT_BOUNCE, MailKind.ORDINARY, MailKind.READ_RECEIPT} <= done.kinds.keys()
    assert set(Verdict) == done.verdicts.keys()
    assert set(Flaw) == stranger.notes.keys()
    assert Verdict.HARD in ours.acted_on, "with our token the same mails are acted on"


async def test_two_thousand_damaged_mails_without_a_token_of_ours_are_read_and_none_is_acted_on(monkeypatch):
    see_that_the_run_could_fail(*await run(2_000, SEED, monkeypatch))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_two_hundred_thousand_damaged_mails_without_a_token_of_ours_are_read_and_none_is_acted_on(
    monkeypatch, capsys: pytest.CaptureFixture[str]
):
    done, stranger, ours = await run(200_000, SEED + 1, monkeypatch)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{done}\nwithout a token of ours: {dict(stranger.notes)}, acted on {len(stranger.acted_on)}; "
            f"with it: {dict(ours.notes)}, acted on {dict(Counter(ours.acted_on))}\n"
        )
    see_that_the_run_could_fail(done, stranger, ours)


@pytest.mark.law("L7")
async def test_mails_without_a_token_of_ours_leave_every_delivery_as_it_was(make_app, sqlite_url):
    """The same through the database: whatever strangers send, deliveries, evidence and letters stay as they were."""
    app = await make_app(sqlite_url)
    ids = [(await app.accept()).id for _ in range(3)]
    await app.settle()

    async def everything() -> list[object]:
        kept = (tables.delivery, tables.event, tables.letter, tables.hard_bounce, tables.failing_address, tables.step)
        return [sorted(map(repr, await app.rows(table))) for table in kept]

    before = await everything()
    mutator = Mutator(random.Random(SEED + 2))
    hard = [raw for raw, _ in zip(mutator.mails(), range(600), strict=False) if _is_hard(raw)][:20]
    forged = [paths(secret=2, domain=DOMAIN).make(Token(one, 0, Carries.NOTICE)) for one in ids]
    for number, raw in enumerate(hard):
        to = damaged(mutator.random) if number % 2 else forged[number % 3]
        await app.inbound.store(Raw(f"{number}", "smtp", app.clock.real(), f"{to}\n".encode() + raw))
    await app.settle()
    assert len(hard) == 20
    assert {row.state for row in await app.rows(tables.inbound)} == {"ignored"}
    assert await everything() == before
    for number, raw in enumerate(hard[:3]):
        to = app.return_path(ids[number])
        await app.inbound.store(Raw(f"ours-{number}", "smtp", app.clock.real(), f"{to}\n".encode() + raw))
    await app.settle()
    assert await everything() != before, "with our token one of them is acted on"


def _is_hard(raw: bytes) -> bool:
    return all(one.classification.verdict is Verdict.HARD for one in read_mail(raw, BOOK).recipients)


def test_the_same_seed_makes_the_same_mails():
    one, other = (Mutator(random.Random(7)).mails() for _ in range(2))
    assert [next(one) for _ in range(50)] == [next(other) for _ in range(50)]


REPORTED = st.lists(
    st.tuples(
        st.sampled_from(("failed", "delayed", "delivered", "relayed", "expanded")),
        st.from_regex(r"[245]\.[0-7]\.[0-9]{1,2}", fullmatch=True),
        st.sampled_from(REPLIES),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(reported=REPORTED, story=st.sampled_from(STORIES))
def test_each_recipient_of_a_report_keeps_its_own_fate(reported: list[tuple[str, str, str]], story: str):
    groups = [
        fields_of(reply, action=action, status=status, address=f"jan{number}@example.nl")
        for number, (action, status, reply) in enumerate(reported)
    ]
    mail = read_mail(report(story, "\n".join(groups)), BOOK)
    assert mail.kind is MailKind.DSN
    assert [one.recipient for one in mail.recipients] == [f"jan{number}@example.nl" for number in range(len(reported))]
    for one, (action, _, _) in zip(mail.recipients, reported, strict=True):
        assert (one.classification.verdict is Verdict.NOT_A_BOUNCE) == (action != "failed")


@settings(max_examples=200, deadline=None)
@given(reply=st.sampled_from([text for text in REPLIES if text[:1] == "5"]), detail=st.integers(0, 40))
def test_a_temporary_reply_in_a_report_never_makes_an_address_fail(reply: str, detail: int):
    said = "4" + reply[1:].replace(" 5.", " 4.").replace("-5.", "-4.")
    group = fields_of(said, action="failed", status=f"4.{detail % 8}.{detail}", address="jan@example.nl")
    raw = report("It failed.", group)
    for one in read_mail(raw, BOOK).recipients:
        assert one.classification.verdict is not Verdict.HARD or one.classification.rule.startswith("unknown-n")
