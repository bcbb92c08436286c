"""No bytes raise, and no mail costs more than its share of time or memory."""

import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bode.domain.bounces import BounceMail, MailKind, RuleBook, Verdict, describe_mail, describe_reply, read_mail
from bode.domain.bounces.mime import MOST_PARTS, take_apart
from bode.domain.bounces.verdicts import Classification, Phase, Reason, SmtpReply

Read = Callable[[str | bytes], BounceMail]

REPORT = (
    b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; jan@example.nl\n"
    b"Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n"
)
HEAD = (
    b"Return-Path: <>\nFrom: MAILER-DAEMON@example.nl\nSubject: Returned mail\n"
    b"Content-Type: multipart/report; boundary=b\n\n"
)
WHOLE = HEAD + b"--b\nContent-Type: text/plain\n\n<jan@example.nl>: failed\n--b\n" + REPORT + b"--b--\n"

SPLINTERS = st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b"--b",
        b"--b--",
        b"--",
        b": ",
        b"Content-Type: multipart/mixed; boundary=b\n\n",
        b"=?utf-8?B?",
        b"=?iso-8859-1?Q?=E9?=",
        b"?=",
        b"Content-Transfer-Encoding: base64\n",
        b"Content-Type: text/html\n\n<style>",
        b"Final-Recipient: rfc822; ",
        b"Action: failed\n",
        b"Status: 5.1.1",
        b"Diagnostic-Code: smtp; 550 ",
        b"\x00",
        b"\xff",
        b"charset=unicode_escape",
        b"charset=idna",
        b"charset=utf-16",
        b"<<<<",
        b"@",
        b"a@b.nl",
        b"message/rfc822",
        b" \t",
        b"\\x{110000}",
        b"\\x{d800}",
        b"550 user unknown",
        "é".encode(),
        b"Disposition: automatic-action; deleted\n",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    raw = bytearray(WHOLE)
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 60)))
        raw[start:end] = draw(st.one_of(SPLINTERS, st.binary(max_size=20)))
    return bytes(raw)


def is_whole(mail: BounceMail) -> None:
    assert mail.recipients
    assert describe_mail("x.eml", mail)
    for one in mail.recipients:
        assert one.classification.verdict in Verdict
        assert len(one.classification.evidence) <= 300


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=mutated())
def test_a_damaged_report_never_raises(rules: RuleBook, raw: bytes):
    is_whole(read_mail(raw, rules))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.one_of(st.binary(max_size=2000), st.lists(SPLINTERS, max_size=80).map(b"".join)))
def test_no_bytes_raise(rules: RuleBook, raw: bytes):
    is_whole(read_mail(raw, rules))


def nested(depth: int) -> bytes:
    opening = b"".join(
        b"Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\n" % (level, level) for level in range(depth)
    )
    return b"From: MAILER-DAEMON@example.nl\n" + opening + REPORT


HUGE = {
    "25 MB returned mail": HEAD
    + b"--b\n"
    + REPORT
    + b"--b\nContent-Type: message/rfc822\n\n"
    + b"x" * 25_000_000
    + b"\n--b--\n",
    "25 MB without a line end": b"Subject: " + b"a" * 25_000_000,
    "25 MB of line ends": b"\n" * 25_000_000,
    "10,000 parts": HEAD
    + (b"--b\nContent-Type: text/plain\n\n550 user unknown <jan@example.nl>\n" * 10_000)
    + b"--b--\n",
    "nested 1,000 deep": nested(1_000),
    "100,000 header fields": b"X-A: b\n" * 100_000 + b"\nno such user\n",
    "a header of 100,000 lines": b"Subject: a\n" + b" folded\n" * 100_000 + b"\n\n",
    "10,000 recipients": HEAD
    + b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n"
    + b"".join(
        b"Final-Recipient: rfc822; jan%d@example.nl\nAction: failed\nDiagnostic-Code: smtp; 550 %s\n\n"
        % (n, b"user mailbox " * 40)
        for n in range(10_000)
    ),
    "a million addresses": b"From: MAILER-DAEMON@x.nl\nSubject: Returned mail\n\n"
    + b"<a@b.nl>: user mailbox not\n" * 200_000,
    "a page of open tags": b"From: MAILER-DAEMON@x.nl\nContent-Type: text/html\n\n" + b"<style><" * 500_000,
    "almost boundaries": HEAD + b"--bb\n" * 500_000,
    "lines of dashes and blanks": b"Content-Type: multipart/report\n\n" + (b"--a" + b" " * 2000 + b"x\n") * 1_000,
    "encoded words": b"From: MAILER-DAEMON@x.nl\nSubject: " + b"=?utf-8?Q?" * 300_000 + b"\n\n",
    "at signs": b"From: MAILER-DAEMON@x.nl\nTo: "
    + b"a@" * 1_000_000
    + b"\nSubject: Returned mail\n\n"
    + b"a@" * 1_000_000,
}


@pytest.mark.parametrize("raw", HUGE.values(), ids=HUGE)
def test_a_huge_mail_is_read_in_bounded_time(rules: RuleBook, raw: bytes):
    started = time.process_time()
    is_whole(read_mail(raw, rules))
    # The slowest takes half a second on one slow core; an unbounded step takes minutes.
    assert time.process_time() - started < 8


def test_a_huge_mail_is_read_in_bounded_memory(rules: RuleBook):
    raw = HUGE["25 MB returned mail"]
    tracemalloc.start()
    try:
        read_mail(raw, rules)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


def test_a_report_before_a_huge_returned_mail_is_found(read: Read):
    mail = read(HUGE["25 MB returned mail"])
    assert (mail.kind, mail.recipients[0].classification.reason) == (MailKind.DSN, Reason.USER_UNKNOWN)


def test_a_report_after_a_huge_returned_mail_is_found(read: Read):
    raw = HEAD + b"--b\nContent-Type: message/rfc822\n\n" + b"x\n" * 5_000_000 + b"\n--b\n" + REPORT + b"--b--\n"
    assert read(raw).kind is MailKind.DSN


def test_a_report_within_the_depth_of_the_bound_is_found(read: Read):
    assert read(nested(8)).kind is MailKind.DSN


def test_parts_beyond_the_bound_are_left_out():
    assert len(take_apart(HUGE["10,000 parts"]).parts) <= MOST_PARTS


def test_a_reply_is_described_with_all_that_decided_it():
    reply = SmtpReply(phase=Phase.RCPT_TO, code=550, text="550 5.1.1 no", status="5.1.1", mta="mx.example.nl")
    said = Classification(
        verdict=Verdict.HARD, reason=Reason.USER_UNKNOWN, rule="r", evidence="5.1.1", status="5.1.1", code=550
    )
    assert describe_reply(reply, said) == {
        "reply": "550 5.1.1 no",
        "phase": "rcpt_to",
        "mta": "mx.example.nl",
        "verdict": "hard",
        "reason": "user_unknown",
        "rule": "r",
        "evidence": "5.1.1",
        "status": "5.1.1",
        "code": 550,
    }


def test_a_mail_is_described_once_per_recipient(read: Read):
    described = describe_mail("a.eml", read(WHOLE))
    assert [(one["file"], one["recipient"], one["verdict"], one["reason"], one["status"]) for one in described] == [
        ("a.eml", "jan@example.nl", "hard", "user_unknown", "5.1.1")
    ]
    assert described[0]["diagnostic"] == "550 5.1.1 no such user"
