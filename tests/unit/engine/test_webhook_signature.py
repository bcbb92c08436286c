"""Signatures on what relays post, and the notifications made of their reports."""

from __future__ import annotations

import email
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode.engine.routes.relay_report import read_report
from bode.engine.routes.signature import Flaw, flaw, sign
from bode.intake.faults import Refused

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
OLD, NEW, STRANGE = b"an old secret of a relay", b"a new secret of a relay", b"somebody's own secret"
BODY = b'{"recipient": "b-x@retour.example.nl"}'


def judged(header, *, timestamp=AT, content=BODY, now=NOW, secrets=(OLD, NEW)):
    return flaw(secrets, timestamp=timestamp, header=header, content=content, now=now)


def test_the_signature_is_the_one_a_relay_makes_with_any_tool():
    by_hand = hmac.new(NEW, AT.encode() + b"." + BODY, hashlib.sha256).hexdigest()
    assert sign(NEW, AT, BODY) == f"sha256={by_hand}"


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_each_of_the_secrets_is_accepted_while_one_is_being_changed(secret):
    assert judged(sign(secret, AT, BODY)) is None


def test_a_relay_may_sign_with_several_secrets_at_once():
    assert judged(f"{sign(STRANGE, AT, BODY)}, {sign(NEW, AT, BODY).upper()}") is None


def test_more_signatures_than_anybody_needs_are_not_tried():
    assert judged(",".join([sign(STRANGE, AT, BODY)] * 4 + [sign(NEW, AT, BODY)])) is Flaw.SIGNATURE


@pytest.mark.parametrize(
    ("header", "changes", "wrong"),
    [
        ("", {}, Flaw.MISSING),
        (sign(NEW, AT, BODY), {"timestamp": ""}, Flaw.MISSING),
        (sign(STRANGE, AT, BODY), {}, Flaw.SIGNATURE),
        (sign(NEW, AT, BODY), {"secrets": ()}, Flaw.SIGNATURE),
        (sign(NEW, AT, BODY), {"content": BODY + b" "}, Flaw.SIGNATURE),
        (sign(NEW, AT, BODY), {"timestamp": str(int(AT) + 1)}, Flaw.SIGNATURE),
        (sign(NEW, AT, BODY).removeprefix("sha256="), {}, Flaw.SIGNATURE),
        ("sha256=é", {}, Flaw.SIGNATURE),
        (sign(NEW, "soon", BODY), {"timestamp": "soon"}, Flaw.TIMESTAMP),
        (sign(NEW, "-1", BODY), {"timestamp": "-1"}, Flaw.TIMESTAMP),
        (sign(NEW, "9" * 400, BODY), {"timestamp": "9" * 400}, Flaw.TIMESTAMP),
        (sign(NEW, "²", BODY), {"timestamp": "²"}, Flaw.TIMESTAMP),
    ],
)
def test_what_is_not_signed_well_is_told_apart(header, changes, wrong):
    assert judged(header, **changes) is wrong


@pytest.mark.parametrize(("minutes", "wrong"), [(-5, None), (5, None), (-5.1, Flaw.WINDOW), (5.1, Flaw.WINDOW)])
def test_a_signature_is_good_for_five_minutes_around_its_time(minutes, wrong):
    assert judged(sign(NEW, AT, BODY), now=NOW + timedelta(minutes=minutes)) is wrong


@given(st.binary(max_size=40), st.text(max_size=80), st.text(max_size=14))
def test_nothing_a_stranger_sends_breaks_or_passes(content, header, timestamp):
    assert judged(header, timestamp=timestamp, content=content) is not None


# ------------------------------------------------------------------------------------------------------- notifications


def test_a_report_is_the_same_notification_every_time():
    body = b'{"recipient": "b-x@r.nl", "event": "bounce", "smtp_code": 550, "id": "e1"}'
    first = read_report(body, signed_at="1")
    assert first == read_report(body, signed_at="2")
    assert first != read_report(body.replace(b"e1", b"e2"), signed_at="1")


def test_without_a_mark_of_its_own_a_report_is_told_apart_by_when_it_was_signed():
    body = b'{"recipient": "b-x@r.nl", "event": "bounce", "smtp_code": 550}'
    assert read_report(body, signed_at="1") != read_report(body, signed_at="2")


def test_the_notification_is_one_that_the_standard_library_reads():
    body = """{"recipient": "b-x@r.nl", "event": "bounce", "smtp_code": 550, "enhanced_status": "5.1.1",
               "diagnostic": "Onbekende gebruiker \u20ac", "mta": "mx.example.nl", "extra": [1]}"""
    recipient, raw = read_report(body.encode(), signed_at="1")
    mail = email.message_from_bytes(raw)
    text, status = mail.get_payload()
    about, of_recipient = status.get_payload()
    assert recipient == "b-x@r.nl"
    assert (mail.get_content_type(), mail.get_param("report-type")) == ("multipart/report", "delivery-status")
    assert text.get_content_type() == "text/plain"
    assert about["Reporting-MTA"] == "dns; relay.invalid"
    assert (of_recipient["Action"], of_recipient["Status"]) == ("failed", "5.1.1")
    assert of_recipient["Remote-MTA"] == "dns; mx.example.nl"
    assert b"Diagnostic-Code: smtp; 550 5.1.1 Onbekende gebruiker \xe2\x82\xac\r\n" in raw


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_text_of_a_relay_starts_a_field_of_its_own(diagnostic, mta, mark):
    body = {"recipient": "b-x@r.nl", "event": "bounce", "smtp_code": 550}
    told = {"diagnostic": f"no\r\nAction: delivered\r\n\r\n{diagnostic}", "mta": mta, "id": mark}
    _, raw = read_report(json.dumps({**body, **told}).encode(), signed_at="1")
    _, status = email.message_from_bytes(raw).get_payload()
    assert len(status.get_payload()) == 2
    assert status.get_payload(1).get_all("Action") == ["failed"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (b"", ["#"]),
        (b"[]", ["#"]),
        (b"\xff", ["#"]),
        (b"{}", ["#/recipient"]),
        (b'{"recipient": "b-x@r.nl\\nanother"}', ["#/recipient"]),
        (b'{"recipient": "b-x@r.nl"}', ["#/event"]),
        (b'{"recipient": "b-x@r.nl", "message": "no base64!"}', ["#/message"]),
        (b'{"recipient": "b-x@r.nl", "event": "opened"}', ["#/event"]),
        (b'{"recipient": "b-x@r.nl", "event": "bounce"}', ["#/smtp_code"]),
        (b'{"recipient": "b-x@r.nl", "event": "bounce", "smtp_code": 0, "diagnostic": " \\n "}', ["#/smtp_code"]),
        (
            b'{"recipient": "b-x@r.nl", "event": "bounce", "smtp_code": 250, "enhanced_status": "ok"}',
            ["#/smtp_code", "#/enhanced_status"],
        ),
    ],
)
def test_a_report_that_says_too_little_is_refused_with_every_fault(body, pointers):
    with pytest.raises(Refused) as refused:
        read_report(body, signed_at="1")
    assert [fault.pointer for fault in refused.value.faults] == pointers
