"""A relay's own report of a bounce, made into a delivery status notification (RFC 3464), so that one reader judges all.

The same report gives the same mail, byte for byte: a repeat is recognised by its content.
"""

from __future__ import annotations

import re
import textwrap
from base64 import b64decode
from binascii import Error
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bode.intake.faults import Fault, Refused
from bode.intake.strict_json import is_a_name, pointer

_LINE: Final = 900
_MOST_DIAGNOSTIC: Final = 4_000
_CONTROLS: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")


def _told(value: Any) -> Any:
    """Relays write nothing as an empty text or a zero, too."""
    return value or None


_Told = BeforeValidator(_told)
_Address = Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[!-~]+$")]
_Name = Annotated[str | None, Field(max_length=255), _Told]


class RelayReport(BaseModel):
    """What a relay posts. What it says beyond this is not read: a relay may say more tomorrow than today."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    recipient: _Address
    """The envelope sender of the mail that bounced: our return path."""
    message: Annotated[str | None, _Told] = None
    """The notification as the relay received it, in base64. All that follows is for a relay that has none."""
    event: Literal["bounce", "delayed"] | None = None
    """`bounce`: the relay has given up. `delayed`: it still tries, and nothing follows from it."""
    smtp_code: Annotated[int | None, Field(ge=400, le=599), _Told] = None
    enhanced_status: Annotated[str | None, Field(pattern=r"^[245]\.\d{1,3}\.\d{1,3}$"), _Told] = None
    diagnostic: str | None = None
    """The reply of the receiving host."""
    mta: _Name = None
    """The receiving host."""
    id: _Name = None
    """The relay's own mark of this event. Without `id` and `at` the time of the signature tells events apart."""
    at: _Name = None
    """When it happened."""


def read_report(body: bytes, *, signed_at: str) -> tuple[str, bytes]:
    """Give the recipient and the notification of a posted report. Raises `Refused` with every fault."""
    try:
        report = RelayReport.model_validate_json(body)
    except ValidationError as error:
        raise Refused(
            [
                Fault(_pointer(item["loc"]), item["type"], "Deze waarde ontbreekt, of heeft niet de goede vorm.")
                for item in error.errors(include_url=False, include_input=False, include_context=False)
            ]
        ) from None
    if report.message is not None:
        try:
            return report.recipient, b64decode("".join(report.message.split()), validate=True)
        except (Error, ValueError):
            raise Refused([Fault("#/message", "base64", "Dit is geen base64.")]) from None
    if report.event is None:
        raise Refused([Fault("#/event", "missing", "Geef een message, of een event met wat de ontvanger antwoordde.")])
    if report.smtp_code is None and report.enhanced_status is None and not _plain(report.diagnostic or ""):
        text = "Geef smtp_code, enhanced_status of diagnostic: zonder een daarvan is er niets te beoordelen."
        raise Refused([Fault("#/smtp_code", "missing", text)])
    return report.recipient, notification(report, signed_at=signed_at)


def notification(report: RelayReport, *, signed_at: str) -> bytes:
    """Give the notification of a report that has an event."""
    told_at = report.at or ("" if report.id else signed_at)
    fields = {
        "Reporting-MTA": "dns; relay.invalid",
        "X-Bode-Event": _plain(report.id or ""),
        "X-Bode-Event-At": _plain(told_at),
    }
    about = {
        # The relay was not asked for the address: our return path says which mail it is.
        "Final-Recipient": "x-bode; not-told",
        "Action": "delayed" if report.event == "delayed" else "failed",
        "Status": _status(report),
        "Remote-MTA": f"dns; {_plain(report.mta)}" if report.mta else "",
        "Diagnostic-Code": f"smtp; {_reply(report)}" if _reply(report) else "",
    }
    status = "\r\n".join([*_lines(fields), "", *_lines(about), ""]).encode()
    boundary = sha256(report.recipient.encode() + status).hexdigest()
    head = [
        "From: <>",
        f"To: <{report.recipient}>",
        "Subject: Delivery report of a relay",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "Posted by a relay; see the next part.",
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        "",
    ]
    return "\r\n".join(head).encode() + status + f"\r\n--{boundary}--\r\n".encode()


def _status(report: RelayReport) -> str:
    """Give the status the relay told, else the bare one of the code's class, else none that says anything."""
    if report.enhanced_status is not None:
        return report.enhanced_status
    return f"{report.smtp_code // 100}.0.0" if report.smtp_code is not None else ""


def _reply(report: RelayReport) -> str:
    """Give the reply as the receiving host wrote it: code, status, text; none of them twice."""
    text = _plain(report.diagnostic or "")[:_MOST_DIAGNOSTIC]
    code = str(report.smtp_code or "")
    if code and re.match(rf"{code}\b", text):
        return text
    status = report.enhanced_status or ""
    return " ".join(filter(None, (code, "" if status in text else status, text)))


def _plain(text: str) -> str:
    """Give a text on one line, so that it cannot start a field of its own."""
    return _CONTROLS.sub(" ", text).encode("utf-8", "replace").decode().strip()


def _lines(fields: dict[str, str]) -> list[str]:
    return [
        line
        for name, value in fields.items()
        if value
        for line in textwrap.wrap(f"{name}: {value}", _LINE, subsequent_indent=" ", break_on_hyphens=False)
    ]


def _pointer(loc: tuple[int | str, ...]) -> str:
    return pointer([part for part in loc if isinstance(part, int) or is_a_name(part.replace("_", ""))])
