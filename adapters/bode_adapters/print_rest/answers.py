"""What the print service's answers mean for us: all of them, in the tables of this file and in `printing.words`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import httpx
import msgspec
import structlog

from bode_adapters.contract import (
    Answer,
    LetterReport,
    LetterStatus,
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.print_rest import wire
from bode_adapters.printing.words import report_of, status_of
from bode_adapters.rest import by_status, moment_of, raw_word

OTHER_CONTENT: Final = "other_content"
"""Code of a letter that the print service had before with another PDF: the first one counts."""

PUT_STATUSES: Final[Mapping[int, Answer]] = {
    # The print service's rules are checked before the call: a fault that is left is ours.
    400: Refused("http_400", RefusalKind.DEFECT, "the print service found a fault in what was sent"),
    401: Refused("http_401", RefusalKind.CONFIGURATION, "the print service does not accept the token"),
    403: Refused("http_403", RefusalKind.CONFIGURATION, "the token may not hand over letters"),
    404: Refused("http_404", RefusalKind.CONFIGURATION, "there is no print service at base_url"),
    405: Refused("http_405", RefusalKind.CONFIGURATION, "there is no print service at base_url"),
    406: Refused("http_406", RefusalKind.DEFECT, "the print service does not give the form we asked for"),
    408: Unavailable("http_408"),  # It waited in vain for the rest of the request.
    # Known with another PDF: asking for it tells since when (see the adapter).
    409: Unknown("http_409"),
    413: Refused("http_413", RefusalKind.CONTENT, "the letter is larger than this print service takes"),
    415: Refused("http_415", RefusalKind.DEFECT, "the print service does not take the form we sent"),
    422: Refused("http_422", RefusalKind.CONTENT, "the print service cannot print this letter"),
    429: Unavailable("http_429"),
    # Not certain: it may have taken the letter before it failed. A repeat is recognised.
    500: Unknown("http_500"),
    502: Unknown("http_502"),
    503: Unavailable("http_503"),
}

ERROR_CODES: Final[Mapping[str, RefusalKind | None]] = {
    # None: says no more than the status it comes with.
    "NOTIFY_INTERNAL_SERVER_ERROR": None,
    "NOTIFY_INVALID_REQUEST": None,
    "NOTIFY_NOT_FOUND": None,
    "NOTIFY_QUOTA": None,
    # This installation's specification (product) is not one of the print service's.
    "SPECIFICATION_UNKNOWN": RefusalKind.CONFIGURATION,
    # The address does not stand in the window, or the PDF has something the machine cannot print.
    "LETTER_NOT_PRINTABLE": RefusalKind.CONTENT,
}

_log = structlog.get_logger(__name__)


def taken(response: httpx.Response, letter: PrintLetter, *, already: bool) -> Answer:
    """Tell what a success means: that the print service has the letter, since when, in which batch."""
    try:
        found = msgspec.json.decode(response.content, type=wire.Taken).data
        same = UUID(found.id) == letter.id
    except (msgspec.MsgspecError, ValueError):
        return Unknown("unreadable_answer")
    at, attributes = moment_of(found.attributes.received_at), found.attributes
    if not same or at is None:
        return Unknown("unreadable_answer")
    if status_of(attributes.status) is LetterStatus.UNRECOGNISED:
        # It has the letter; what this word means comes with its updates, where a person sees it.
        _log.warning("print_status_unrecognised", word=raw_word(attributes.status))
    code = None if attributes.sha256_hash == letter.sha256 else OTHER_CONTENT
    return Placed(at, TimeSource.OTHER_SIDE, receipt=raw_receipt(attributes.group_id), code=code, already=already)


def raw_receipt(group: str) -> str:
    """Give the batch as a receipt: ours are UUIDs, which are kept whole; anything else is shortened."""
    try:
        return str(UUID(group))
    except ValueError:
        return raw_word(group)


def refusal(response: httpx.Response, *, now: datetime) -> Answer:
    """Tell what an answer to a `PUT` that is no success means."""
    code = _error_code(response)
    if code is not None and httpx.codes.is_client_error(response.status_code):
        if code not in ERROR_CODES:
            return Refused(raw_word(code), RefusalKind.UNRECOGNISED, "the print service names a reason not known here")
        kind = ERROR_CODES[code]
        if kind is not None:
            return Refused(code, kind, "see docs/adapters/print.md")
    return by_status(response, PUT_STATUSES, now=now)


def is_about_a_letter(response: httpx.Response) -> bool:
    """Tell whether a 404 is the print service's own, and not of something before it: only that one means "no such"."""
    return _error_code(response) == "NOTIFY_NOT_FOUND"


def report(raw: msgspec.Raw) -> LetterReport | None:
    """Read one update; nothing where it cannot be read."""
    try:
        update = msgspec.json.decode(raw, type=wire.Update)
        letter = UUID(update.attributes.letter_id)
    except (msgspec.MsgspecError, ValueError):
        return None
    said, at = update.attributes, moment_of(update.attributes.at)
    if at is None or not said.status or not update.id:
        return None
    return report_of(
        key=update.id,
        letter=letter,
        word=said.status,
        at=at,
        reason_code=said.reason_code or "",
        reason_text=said.reason_text or "",
    )


def _error_code(response: httpx.Response) -> str | None:
    try:
        errors = msgspec.json.decode(response.content, type=wire.Errors).errors
    except msgspec.MsgspecError:
        return None
    return errors[0].code if errors else None
