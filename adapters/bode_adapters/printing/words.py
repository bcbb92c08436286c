"""What a print service says about letters, and what that means for us: all of it, in these two tables.

The words are those of a published API for print suppliers, the richest public vocabulary for letters. Any other word is
kept as it is, and comes out as unrecognised: a person looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from bode_adapters.contract import LetterReport, LetterStatus, ReturnReason, TimeSource

STATUSES: Final[Mapping[str, LetterStatus]] = {
    "PENDING": LetterStatus.ACCEPTED,  # known to the print service, not looked at yet: no more than we know ourselves
    "ACCEPTED": LetterStatus.ACCEPTED,
    "REJECTED": LetterStatus.REJECTED,
    "PRINTED": LetterStatus.PRINTED,
    "ENCLOSED": LetterStatus.PRINTED,  # in its envelope and still in the house
    # Cancelled at the print service, by agreement outside Bode. It was not posted: as rejected.
    "CANCELLED": LetterStatus.REJECTED,
    "DISPATCHED": LetterStatus.POSTED,
    "DELIVERED": LetterStatus.DELIVERED,
    "FAILED": LetterStatus.REJECTED,  # something broke after acceptance; not posted, so as rejected
    "RETURNED": LetterStatus.RETURNED,
    # Sent on by the post to a new address (then it is under way, as posted), or passed on to another print site (then
    # it is not posted at all). The vocabulary does not say which, and the time of posting counts in law: a person asks.
    "FORWARDED": LetterStatus.FORWARDED,
}

RETURN_REASONS: Final[Mapping[str, ReturnReason]] = {
    "R01": ReturnReason.GONE_AWAY,  # Addressee gone away
    "R02": ReturnReason.ADDRESS_INCOMPLETE,  # Address incomplete
    "R03": ReturnReason.INACCESSIBLE,  # Address inaccessible
    "R04": ReturnReason.ADDRESSEE_UNKNOWN,  # Addressee unknown
    "R05": ReturnReason.GONE_AWAY_OR_REFUSED,  # Addressee gone away/Refused: the two are not told apart
    "R06": ReturnReason.NOT_COLLECTED,  # Not called for
    "R07": ReturnReason.NO_SUCH_ADDRESS,  # No such address
    "R08": ReturnReason.NOT_GIVEN,  # No reason given
    "R09": ReturnReason.DECEASED,  # Deceased
    "R10": ReturnReason.OTHER,  # Miscellaneous
}
"""The codes that go with RETURNED. With another status a reason is by agreement: it is kept, and means nothing here."""

LONGEST_CODE: Final = 100
LONGEST_REASON: Final = 500


def status_of(word: str) -> LetterStatus:
    """Give what a status means."""
    return STATUSES.get(word, LetterStatus.UNRECOGNISED)


def _why(status: LetterStatus, reason_code: str) -> ReturnReason | None:
    """Give why a letter came back; nothing for a letter that did not."""
    if status is not LetterStatus.RETURNED:
        return None
    return RETURN_REASONS.get(reason_code, ReturnReason.UNRECOGNISED) if reason_code else ReturnReason.NOT_GIVEN


def _kept(code: str, reason_code: str, reason_text: str) -> tuple[str, str]:
    """Give the status and the reason as they are kept: storable, and not longer than a record has room for."""
    reason = " ".join(part for part in (reason_code, reason_text) if part)
    return _storable(code)[:LONGEST_CODE], _storable(reason)[:LONGEST_REASON]


def report_of(
    *, key: str, letter: UUID, word: str, at: datetime, reason_code: str = "", reason_text: str = ""
) -> LetterReport:
    """Make a report of the print service's own word, time and reason."""
    status = status_of(word)
    code, reason = _kept(word, reason_code, reason_text)
    return LetterReport(
        key=key,
        letter=letter,
        status=status,
        at=at,
        source=TimeSource.OTHER_SIDE,
        code=code,
        reason=reason,
        why=_why(status, reason_code),
    )


def _storable(text: str) -> str:
    """Replace what JSON can say and UTF-8 cannot: half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()
