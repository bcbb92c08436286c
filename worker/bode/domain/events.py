"""Everything that can happen to a delivery. `delivery.decide` defines each of them for every state.

`at` is when the thing itself happened, by the clock named in `source`; when we learned of it is `now` in `decide`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bode.domain.bounces import Reason, Verdict


class TimeSource(StrEnum):
    """Whose clock a time comes from (law L10)."""

    OTHER_SIDE = "other_side"
    OUR_CLOCK = "our_clock"


class RefusalKind(StrEnum):
    """Whom a refusal is about; each has its own consequence in `delivery`."""

    ADDRESSEE = "addressee"
    CONTENT = "content"
    CONFIGURATION = "configuration"
    DEFECT = "defect"
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True)
class Bounce:
    """What a mail server said of a mail, and what the bounce rules make of it.

    `diagnostic` is the server's own text; it can name the address, so evidence keeps it sealed.
    """

    verdict: Verdict
    reason: Reason
    rule: str
    code: int | None = None
    status: str | None = None
    diagnostic: str = ""
    mta: str | None = None
    reported: bool = False
    """True for a report that came in afterwards (DSN); False for an answer while we were sending."""
    matched_by: str | None = None
    """Who matched a report to its mail, where that was a person."""


# ---- the message itself -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """Intake stored the message (202)."""


@dataclass(frozen=True, slots=True)
class ReachabilityChecked:
    """A box said whether the addressee can be reached there (L1); None: it could not say now."""

    channel: str
    reachable: bool | None
    checked_at: datetime
    code: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """The message is accessible in the box, or left for the mail server of the addressee (L10)."""

    channel: str
    at: datetime
    source: TimeSource
    receipt: str | None = None
    code: str | None = None
    already: bool = False


@dataclass(frozen=True, slots=True)
class PlacementPending:
    """The box took the message in; its result follows. Not a placement (L10: a batch receipt is no accessibility)."""

    channel: str
    receipt: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class PlacementRefused:
    """A final no from a box."""

    channel: str
    code: str
    kind: RefusalKind
    text: str = ""


@dataclass(frozen=True, slots=True)
class PlacementUnavailable:
    """Certainly not placed, and worth another try (L6)."""

    channel: str
    code: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PlacementUnknown:
    """A call was made and its outcome is not known. `call` and `called_at` are kept for the repeat or the search."""

    channel: str
    code: str
    call: str | None = None
    called_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlacementAbsent:
    """A search says that the box certainly does not have the message."""

    channel: str
    code: str = "absent"


@dataclass(frozen=True, slots=True)
class CarrierBounced:
    """The mail that carried the message itself was refused or came back."""

    channel: str
    bounce: Bounce


@dataclass(frozen=True, slots=True)
class Opened:
    """The addressee opened the message in the box (L12)."""

    channel: str
    at: datetime


# ---- the notice ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoticeSent:
    """Our relay took the notice: sent, not delivered."""

    channel: str
    at: datetime
    receipt: str | None = None
    text_sha256: str | None = None
    template: str | None = None
    relay: str | None = None
    """Which relay took it."""


@dataclass(frozen=True, slots=True)
class NoticeBounced:
    """The notice was refused while sending, or came back later (L7).

    `held`: it is one of many hard bounces at once, which a person must confirm before a letter goes.
    """

    channel: str
    bounce: Bounce
    held: bool = False


@dataclass(frozen=True, slots=True)
class BurstSuspected:
    """This notice bounced hard shortly before it was seen that many did: a letter not handed over yet waits too."""

    channel: str


@dataclass(frozen=True, slots=True)
class BurstDecided:
    """A person decided on a burst of hard bounces: they are real, or the addresses are good after all."""

    channel: str
    real: bool
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoticeUnavailable:
    """Our relay could not be reached or its settings are wrong; says nothing about the addressee."""

    channel: str
    code: str
    configuration: bool = False


@dataclass(frozen=True, slots=True)
class NoticeUnknown:
    """The connection broke after the final dot, or the worker died while sending: it may have left."""

    channel: str
    code: str


# ---- letters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LetterSubmitted:
    """The print service has the letter."""

    letter: int
    at: datetime
    source: TimeSource
    receipt: str | None = None
    sha256: str | None = None
    pages: int | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class LetterPrinted:
    """The print service printed it."""

    letter: int
    at: datetime
    code: str


@dataclass(frozen=True, slots=True)
class LetterPosted:
    """It left for the post: for a message, its time of sending (L10)."""

    letter: int
    at: datetime
    source: TimeSource
    code: str


@dataclass(frozen=True, slots=True)
class LetterReturned:
    """It came back undelivered."""

    letter: int
    at: datetime
    code: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LetterRefused:
    """The print service will not print it."""

    letter: int
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class LetterUnavailable:
    """Certainly not handed over, and worth another try."""

    letter: int
    code: str


@dataclass(frozen=True, slots=True)
class LetterUnknown:
    """Handed over or not: not known."""

    letter: int
    code: str
    call: str | None = None


# ---- time, people, other messages ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClockStruck:
    """The moment a step asked to be woken at: an alarm, a deadline, an overdue result."""

    part: str


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The worker that had a step died or was cut off: what it did is not known. Its call began at `called_at`."""

    part: str
    call: str | None = None
    called_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Superseded:
    """A later message changes or withdraws this one (L9); nothing about this delivery moves."""

    by: str
    """The later message's reference."""
    nature: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The sender called it back before anything was handed over (L9)."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Retried:
    """A person repaired what was wrong and has a held part tried again."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class LetterOrdered:
    """A person orders the message itself by letter."""

    by: str
    reason: str


Event = (
    Accepted
    | ReachabilityChecked
    | Placed
    | PlacementPending
    | PlacementRefused
    | PlacementUnavailable
    | PlacementUnknown
    | PlacementAbsent
    | CarrierBounced
    | Opened
    | NoticeSent
    | NoticeBounced
    | BurstSuspected
    | BurstDecided
    | NoticeUnavailable
    | NoticeUnknown
    | LetterSubmitted
    | LetterPrinted
    | LetterPosted
    | LetterReturned
    | LetterRefused
    | LetterUnavailable
    | LetterUnknown
    | ClockStruck
    | LeaseExpired
    | Superseded
    | Cancelled
    | Retried
    | LetterOrdered
)
