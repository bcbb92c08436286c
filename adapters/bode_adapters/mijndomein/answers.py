"""What the message store's statuses and problem types mean for us: all of them, in the tables of this file only."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from bode_adapters.contract import (
    Answer,
    BoxMessage,
    Placed,
    Reading,
    RefusalKind,
    Refused,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.mijndomein import wire
from bode_adapters.rest import by_status, moment_of, raw_word

POST_STATUSES: Final[Mapping[int, Answer]] = {
    # The contract's own, operation leverBerichtAan.
    # Not CONTENT: every limit of the contract was checked before the call, so what is left is a fault of ours. As
    # CONTENT it would send a letter for each message until somebody saw the fault.
    400: Refused("http_400", RefusalKind.DEFECT, "the message store found a fault in what was sent"),
    401: Refused("http_401", RefusalKind.CONFIGURATION, "the message store does not accept the token"),
    406: Refused("http_406", RefusalKind.DEFECT, "the message store does not give the form we asked for"),
    # "Conflicts with existing data" may be this very message, stored by an earlier call: a search decides.
    409: Unknown("http_409"),
    415: Refused("http_415", RefusalKind.DEFECT, "the message store does not take the form we sent"),
    # Not certain: it may have stored the message before it failed, and a repeat would not be recognised.
    500: Unknown("http_500"),
    503: Unavailable("http_503"),
    # What a gateway in front of it says.
    403: Refused("http_403", RefusalKind.CONFIGURATION, "the token or certificate may not deliver"),
    404: Refused("http_404", RefusalKind.CONFIGURATION, "there is no message store at base_url"),
    405: Refused("http_405", RefusalKind.CONFIGURATION, "there is no message store at base_url"),
    # The contract has no limit on attachments, an installation may: this message does not fit, others do.
    413: Refused("http_413", RefusalKind.CONTENT, "the message is larger than this installation takes"),
    # It waited in vain for the rest of the request.
    408: Unavailable("http_408"),
    429: Unavailable("http_429"),
}

PROBLEM_TYPES: Final[Mapping[str, RefusalKind]] = {
    # The last part of `type`. The contract names no types; this one is a portal's own, for a person or company that
    # has no account there.
    "ontvanger-onbekend": RefusalKind.ADDRESSEE,
}


def from_refusal(response: httpx.Response, *, now: datetime) -> Answer:
    """Tell what an answer to `leverBerichtAan` that is no success means."""
    word = _problem_type(response)
    if word is not None and (kind := PROBLEM_TYPES.get(word)) is not None:
        return Refused(word, kind, "the portal does not know this addressee")
    # A reason that is named, on a status that says no more than "wrong", is a word we do not know. On a status of
    # POST_STATUSES that stands for itself the name adds nothing.
    if word is not None and (response.status_code == HTTPStatus.BAD_REQUEST or _unlisted_no(response)):
        return Refused(raw_word(word), RefusalKind.UNRECOGNISED, "the message store names a reason not known here")
    return by_status(response, POST_STATUSES, now=now)


def stored(found: wire.Opgeslagen, message: BoxMessage, *, now: datetime, already: bool) -> Placed:
    """Tell when a stored message became accessible (L10): when received, but not before its moment of publication."""
    times = [moment for moment in map(moment_of, (found.ontvangen, found.gepubliceerd)) if moment is not None]
    source = TimeSource.OTHER_SIDE if times else TimeSource.OUR_CLOCK
    at = max(times, default=now)
    if message.publish_at is not None:
        at = max(at, message.publish_at)
    return Placed(at=at, source=source, receipt=found.bericht_id, already=already)


def read(found: wire.Opgeslagen, *, now: datetime) -> Reading:
    """Tell whether a message was opened (L12). The store keeps one time, of the last change: opened then or before."""
    if found.status is None or not found.status.gelezen:
        return Reading(opened=False)
    at = moment_of(found.status.gewijzigd)
    source = TimeSource.OTHER_SIDE if at is not None else TimeSource.OUR_CLOCK
    return Reading(opened=True, at=at or now, source=source, exact=False)


def _problem_type(response: httpx.Response) -> str | None:
    """Give the last part of a problem's `type`, where it names one (RFC 9457, 3.1.1)."""
    try:
        problem = msgspec.json.decode(response.content, type=wire.Problem)
    except msgspec.MsgspecError:
        return None
    if problem.type in {"", "about:blank"}:
        return None
    return problem.type.rstrip("/").rpartition("/")[2].rpartition(":")[2] or None


def _unlisted_no(response: httpx.Response) -> bool:
    return httpx.codes.is_client_error(response.status_code) and response.status_code not in POST_STATUSES
