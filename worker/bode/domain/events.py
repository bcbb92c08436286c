"""Everything that can happen to a delivery. `delivery.decide` defines each of them for every state.

`at` is when the thing itself happened, by the clock named in `source`; when we learned of it is `now` in `decide`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bode.domain.bounces import Reason, Verdict
from bode.domain.volume import VolumeRule


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


class ReturnReason(StrEnum):
    """Why the post brought a letter back; what a person does next follows from it."""

    GONE_AWAY = "gone_away"
    ADDRESS_INCOMPLETE = "address_incomplete"
    INACCESSIBLE = "inaccessible"
    ADDRESSEE_UNKNOWN = "addressee_unknown"
    GONE_AWAY_OR_REFUSED = "gone_away_or_refused"
    NOT_COLLECTED = "not_collected"
    NO_SUCH_ADDRESS = "no_such_address"
    NOT_GIVEN = "not_given"
    DECEASED = "deceased"
    OTHER = "other"
    UNRECOGNISED = "unrecognised"
    """A code nobody knows; it is kept beside this."""


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
    matched_why: str | None = None
    """The reason that person gave."""


# ---- the message itself -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """Intake stored the message (202). `held`: nothing of it is begun before a person decides."""

    held: VolumeRule | None = None


@dataclass(frozen=True, slots=True)
class ReachabilityChecked:
    """A box said whether the addressee can be reached there (L1); None: it could not say now."""

    channel: str
    reachable: bool | None
    checked_at: datetime
    code: str = ""


@dataclass(frozen=True, slots=True)
class ProfileAnswered:
    """The profile service said what the addressee wants (L1), or that it has no profile of this addressee."""

    asked_at: datetime
    known: bool
    code: str = ""
    receives: bool | None = None
    """Whether the addressee wants messages in a box (OntvangViaBerichtenbox); None: nothing said."""
    receives_since: datetime | None = None
    consent: str | None = None
    """The service's own id of that preference."""
    email: str | None = field(default=None, repr=False)
    """A verified address."""
    email_since: datetime | None = None
    email_failing_since: datetime | None = None
    email_failing_reason: str | None = None


@dataclass(frozen=True, slots=True)
class ProfileUnavailable:
    """The profile service could not be asked, or could not say: that is never a no."""

    code: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ProfileRefused:
    """The profile service will not answer this question, or answered with a word nobody knows."""

    code: str
    kind: RefusalKind


@dataclass(frozen=True, slots=True)
class Placed:
    """The message is accessible in the box, or left for the mail server of the addressee (L10)."""

    channel: str
    at: datetime
    source: TimeSource
    receipt: str | None = None
    code: str | None = None
    already: bool = False
    stage: str | None = None
    """The box's own word for the stage of its process that answered."""


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
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class PlacementUnavailable:
    """Certainly not placed, and worth another try (L6)."""

    channel: str
    code: str
    retry_after: float | None = None
    stage: str | None = None


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
    """The addressee opened the message in the box (L12); not `exact`: at this moment or before."""

    channel: str
    at: datetime
    source: TimeSource = TimeSource.OTHER_SIDE
    exact: bool = True


@dataclass(frozen=True, slots=True)
class NotOpened:
    """A box was asked, and does not say that the message was opened; `code` where it could not say at all.

    `final`: it cannot be asked any more, because the content that names the addressee was erased.
    """

    channel: str
    code: str = ""
    final: bool = False


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
    """It came back undelivered. `reason` is what the print service wrote, `why` what that means."""

    letter: int
    at: datetime
    code: str
    reason: str = ""
    why: ReturnReason = ReturnReason.NOT_GIVEN


@dataclass(frozen=True, slots=True)
class LetterUnclear:
    """The print service said something that does not tell where the letter is: a word nobody knows, or "sent on"."""

    letter: int
    at: datetime
    code: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LetterRefused:
    """The print service will not print it. `defect`: because of what we sent; other letters will fare alike."""

    letter: int
    code: str
    text: str = ""
    defect: bool = False


@dataclass(frozen=True, slots=True)
class LetterUnavailable:
    """Certainly not handed over, and worth another try. `configuration`: not before our settings are repaired."""

    letter: int
    code: str
    configuration: bool = False


@dataclass(frozen=True, slots=True)
class LetterUnknown:
    """Handed over or not: not known."""

    letter: int
    code: str
    call: str | None = None


@dataclass(frozen=True, slots=True)
class LetterHeld:
    """Not handed over: the organisation had more letters today than its budget."""

    letter: int


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
class Released:
    """A person lets go what is held of it because too much came at once, and nothing else that waits."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class LetterOrdered:
    """A person orders the message itself by letter."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class LetterStopped:
    """A person stops a letter that was not handed over yet."""

    letter: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Handled:
    """A person dealt by hand with what waited: with this part, or with all of the message."""

    by: str
    reason: str
    part: str | None = None


@dataclass(frozen=True, slots=True)
class NoticeResent:
    """A person has the notice sent again, to the address that was given or to one that the addressee told them."""

    channel: str
    by: str
    reason: str
    new_address: bool = False


@dataclass(frozen=True, slots=True)
class PlacementOrdered:
    """A person has the message placed in a channel that refused it, or that was kept for when others fail."""

    channel: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A person found out that a part whose outcome was not known did arrive, at this moment."""

    part: str
    at: datetime
    by: str
    reason: str


Event = (
    Accepted
    | ReachabilityChecked
    | ProfileAnswered
    | ProfileUnavailable
    | ProfileRefused
    | Placed
    | PlacementPending
    | PlacementRefused
    | PlacementUnavailable
    | PlacementUnknown
    | PlacementAbsent
    | CarrierBounced
    | Opened
    | NotOpened
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
    | LetterUnclear
    | LetterRefused
    | LetterUnavailable
    | LetterUnknown
    | LetterHeld
    | ClockStruck
    | LeaseExpired
    | Superseded
    | Cancelled
    | Retried
    | Released
    | LetterOrdered
    | LetterStopped
    | Handled
    | NoticeResent
    | PlacementOrdered
    | Found
)
