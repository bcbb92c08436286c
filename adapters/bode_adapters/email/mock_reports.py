"""The mail that a mail system sends back: delivery status notifications (RFC 3464) and out-of-office replies.

For the mock server and for tests: what is made here is what real systems send, with the token the test wants in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """One recipient's fate, in the words of RFC 3464."""

    recipient: str
    action: str = "failed"
    status: str = "5.1.1"
    diagnostic: str = "550 5.1.1 User unknown"
    original_envelope_id: str | None = None
    arrived: datetime | None = None
    headers: bytes = b""
    """The headers of the mail it is about; empty where a system returns none."""

    def returned(self, *, recipient: str, envelope_id: str | None, arrived: datetime, mail: bytes) -> DeliveryReport:
        """Give the same fate for a mail that came in."""
        return replace(
            self,
            recipient=recipient,
            original_envelope_id=envelope_id,
            arrived=arrived,
            headers=mail.partition(b"\r\n\r\n")[0] + b"\r\n",
        )


def delivery_status(to: str, report: DeliveryReport, *, reporting_mta: str, at: datetime) -> bytes:
    """Build a DSN as bytes with CRLF: multipart/report with the text, the delivery-status and the returned headers."""
    boundary = f"=_report_{uuid4().hex}"
    delayed = report.action == "delayed"
    subject = "Warning: message delayed" if delayed else "Undelivered Mail Returned to Sender"
    per_message = [f"Reporting-MTA: dns; {reporting_mta}"]
    if report.original_envelope_id is not None:
        per_message.append(f"Original-Envelope-Id: {report.original_envelope_id}")
    per_message.append(f"Arrival-Date: {format_datetime((report.arrived or at).astimezone(UTC))}")
    per_recipient = [
        f"Original-Recipient: rfc822;{report.recipient}",
        f"Final-Recipient: rfc822; {report.recipient}",
        f"Action: {report.action}",
        f"Status: {report.status}",
        f"Diagnostic-Code: smtp; {report.diagnostic}",
    ]
    if delayed:
        per_recipient.append(f"Will-Retry-Until: {format_datetime((at + timedelta(days=5)).astimezone(UTC))}")
    outcome = "has not been delivered yet; it will be tried again" if delayed else "could not be delivered"
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{reporting_mta}>",
        f"To: {to}",
        f"Subject: {subject}",
        f"Date: {format_datetime(at.astimezone(UTC))}",
        f"Message-ID: <{uuid4()}@{reporting_mta}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is the mail system at host {reporting_mta}.",
        "",
        f"Your message to <{report.recipient}> {outcome}:",
        report.diagnostic,
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        *per_message,
        "",
        *per_recipient,
        "",
        f"--{boundary}",
        "Content-Type: text/rfc822-headers",
        "",
    ]
    head = "\r\n".join([*lines, ""]).encode()
    return head + report.headers + f"\r\n--{boundary}--\r\n".encode("ascii")


def away_reply(to: str, *, sender: str, about: bytes, at: datetime) -> bytes:
    """Build an out-of-office reply (RFC 3834) to a mail, as bytes with CRLF."""
    original = next(
        (line.split(":", 1)[1].strip() for line in about.decode("utf-8", "replace").split("\r\n") if _is_id(line)), ""
    )
    lines = [
        f"From: {sender}",
        f"To: {to}",
        "Subject: Automatisch antwoord: afwezig",
        f"Date: {format_datetime(at.astimezone(UTC))}",
        f"Message-ID: <{uuid4()}@{sender.rpartition('@')[2]}>",
        f"In-Reply-To: {original}",
        f"References: {original}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "Ik ben met vakantie en lees mijn e-mail weer als ik terug ben.",
        "",
    ]
    return "\r\n".join(lines).encode()


def _is_id(line: str) -> bool:
    return line.lower().startswith("message-id:")
