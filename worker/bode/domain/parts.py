"""What a delivery is made of: placements with their notices, letters, and the append-only list of sendings.

Under each state: what it means, who moves it on, when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from uuid import UUID, uuid5

from bode.domain.events import TimeSource
from bode.domain.message import AddresseeKind, Confidentiality, Consent, ConsentBasis, Nature, Term
from bode.domain.volume import VolumeRule


class ProfileState(StrEnum):
    """Where the question to the profile service stands (L1). No channel is chosen before its answer."""

    ASKING = "asking"
    """To be asked, now or again later: a service that is away never means no. Its answer moves it on."""
    HELD = "held"
    """Our defect, or a word nobody knows. A person moves it on."""
    ANSWERED = "answered"
    """Answered; the channels are chosen by it. Final."""
    DROPPED = "dropped"
    """Called back, or a person ordered a letter before there was an answer. Final."""


class PlacementState(StrEnum):
    """Where the message itself stands in one channel."""

    CHECKING = "checking"
    """The box is being asked whether the addressee is reachable (L1). Its answer moves it on."""
    STANDBY = "standby"
    """A carrier kept for when every box refuses. Stays so for ever when a box took the message."""
    PLANNED = "planned"
    """To be handed over, now or at its due time. The worker moves it on."""
    PENDING = "pending"
    """Taken in by the box, result to come. The result moves it on; overdue after `result_overdue`."""
    UNKNOWN = "unknown"
    """A call was made and its outcome is not known. A repeat with the same ids, or a search, moves it on."""
    HELD = "held"
    """Our defect, or a word nobody knows. A person moves it on."""
    PLACED = "placed"
    """Accessible in the box, or on its way by e-mail. Final, but for a carrier whose mail comes back."""
    RETURNED = "returned"
    """The mail that carried the message came back for good. Final here: the next route is taken."""
    REFUSED = "refused"
    """The channel will not take this message. Final here: the next route is taken."""
    CANCELLED = "cancelled"
    """Called back before anything was handed over. Final."""


class NoticeState(StrEnum):
    """Where the duty to tell the addressee stands, for one placement (L3)."""

    WAITING = "waiting"
    """The outcome at MijnOverheid decides whether this notice is needed (L5). Its own clock runs meanwhile."""
    DUE = "due"
    """To be sent, now or again later. The worker, a bounce or the deadline moves it on."""
    SENT = "sent"
    """Our relay took it. Final, unless a bounce comes in."""
    COVERED = "covered"
    """One notice, about MijnOverheid, suffices (L5). Final."""
    BY_BOX = "by_box"
    """The box tells the addressee itself. Final; not proven by us."""
    WAIVED = "waived"
    """The addressee opted out (L3). Final."""
    IMPOSSIBLE = "impossible"
    """No address to send it to (L3, L11). Final; a letter by policy."""
    HELD = "held"
    """A hard bounce among many at once: a person decides whether it is real. No letter before that."""
    UNDELIVERABLE = "undeliverable"
    """It bounced for good (L7). Final: a letter was ordered."""
    EXPIRED = "expired"
    """Not out, or only bounced softly, when the 48 hours ended (L7). Final: a letter was ordered."""


class LetterKind(StrEnum):
    """What a letter holds."""

    MESSAGE = "message"
    """The message itself, on paper (L1, L6)."""
    NOTICE = "notice"
    """That a notice could not be delivered, and what the addressee can do (L7); never the content."""


class LetterReason(StrEnum):
    """Why there is a letter."""

    NO_CHANNEL = "no_channel"
    BOX_REFUSED = "box_refused"
    MAIL_RETURNED = "mail_returned"
    ORDERED = "ordered"
    NOTICE_BOUNCED = "notice_bounced"
    NOTICE_NOT_IN_TIME = "notice_not_in_time"
    NO_EMAIL = "no_email"
    ADDRESS_FAILING = "address_failing"


class LetterState(StrEnum):
    """Where a letter stands."""

    PLANNED = "planned"
    """To be set and handed to the print service. The worker moves it on."""
    UNKNOWN = "unknown"
    """Handed over or not: not known. A repeat with the same ids moves it on."""
    SUBMITTED = "submitted"
    """The print service has it. Its reports move it on; overdue after `posting_overdue`."""
    PRINTED = "printed"
    """Printed, not yet posted."""
    POSTED = "posted"
    """Left for the post. Final, unless it comes back."""
    RETURNED = "returned"
    """Came back undelivered. A person moves it on."""
    REFUSED = "refused"
    """The print service will not print it. A person moves it on."""
    BLOCKED = "blocked"
    """There is no postal address, or too many letters went in a day. A person moves it on."""
    CANCELLED = "cancelled"
    """Called back before it was handed over. Final."""
    HANDLED = "handled"
    """A person dealt with it before it was known to be posted. Final, unless the print service reports after all."""


class AttentionReason(StrEnum):
    """Why a part waits for a person."""

    RESULT_OVERDUE = "result_overdue"
    OUTCOME_UNKNOWN = "outcome_unknown"
    DEFECT = "defect"
    UNRECOGNISED = "unrecognised"
    CONTRADICTION = "contradiction"
    BURST = "burst"
    NO_POSTAL_ADDRESS = "no_postal_address"
    LETTER_REFUSED = "letter_refused"
    LETTER_RETURNED = "letter_returned"
    LETTER_UNCLEAR = "letter_unclear"
    PRINT_OVERDUE = "print_overdue"
    POSTING_OVERDUE = "posting_overdue"
    PROFILE_UNANSWERED = "profile_unanswered"
    PROFILE_DEFECT = "profile_defect"
    PROFILE_UNRECOGNISED = "profile_unrecognised"
    MANY_MESSAGES = "many_messages"
    SUDDENLY_MANY = "suddenly_many"
    MANY_TO_ONE = "many_to_one"
    MANY_LETTERS = "many_letters"


HELD_BECAUSE: Mapping[VolumeRule, AttentionReason] = {
    VolumeRule.MESSAGES: AttentionReason.MANY_MESSAGES,
    VolumeRule.SUDDEN: AttentionReason.SUDDENLY_MANY,
    VolumeRule.ADDRESSEE: AttentionReason.MANY_TO_ONE,
    VolumeRule.LETTERS: AttentionReason.MANY_LETTERS,
}


@dataclass(frozen=True, slots=True)
class Brief:
    """What the rules need to know of a message, without personal data.

    Only the profile service's answer adds to it, and an address for the notice that the addressee told a person.
    """

    message_id: UUID
    accepted_at: datetime
    nature: Nature
    term: Term | None
    confidentiality: Confidentiality
    channels: tuple[Consent, ...]
    addressee_kind: AddresseeKind
    has_email: bool
    has_address: bool
    email_given_by: str | None = None
    email_given_at: datetime | None = None
    opted_out_at: datetime | None = None
    email_failing_since: datetime | None = None
    """The address bounced hard for this organisation then, and was not given anew since."""
    email_failing_reason: str | None = None
    publish_at: datetime | None = None
    concerns: str | None = None
    email_from_profile: bool = False

    @property
    def asks_profile(self) -> bool:
        """Whether consent or the address for the notice is to come from the profile service."""
        return self.email_from_profile or any(consent.basis is ConsentBasis.PROFILE for consent in self.channels)

    @property
    def starts_at(self) -> datetime:
        """The first moment at which anything may be handed over."""
        return self.publish_at or self.accepted_at


@dataclass(frozen=True, slots=True)
class Profile:
    """The question to the profile service."""

    state: ProfileState
    attempts: int = 0
    first_tried_at: datetime | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """The notice of one placement. `deadline_at` is accessibility plus 48 hours (L3)."""

    state: NoticeState
    deadline_at: datetime
    attempts: int = 0
    sent_at: datetime | None = None
    last_reason: str | None = None
    again_at: datetime | None = None
    """When a person had it sent again."""
    again_until: datetime | None = None
    """How long it is tried then, where the 48 hours were over."""

    @property
    def until(self) -> datetime:
        """How long it is tried: the 48 hours, or longer because a person had it sent again after them."""
        return max(self.deadline_at, self.again_until or self.deadline_at)

    @property
    def is_late(self) -> bool:
        """Whether it is tried after the 48 hours: their end was recorded before."""
        return self.until > self.deadline_at


@dataclass(frozen=True, slots=True)
class Placement:
    """The message itself in one channel."""

    channel: str
    state: PlacementState
    attempts: int = 0
    first_tried_at: datetime | None = None
    receipt: str | None = None
    first_receipt: str | None = None
    """What the first call was answered with: a later one may have to refer to it."""
    call: str | None = None
    """The id of the call whose outcome is unknown, for its repeat."""
    called_at: datetime | None = None
    """When that call was made: a search begins there."""
    polls: int = 0
    placed_at: datetime | None = None
    code: str | None = None
    checked_at: datetime | None = None
    notice: Notice | None = None
    opened_at: datetime | None = None
    """When the box says that it was opened (L12)."""
    readings: int = 0
    """How often the box was asked whether it was opened."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter, addressed by its index in the delivery."""

    kind: LetterKind
    reason: LetterReason
    state: LetterState
    requested_at: datetime
    about: str | None = None
    """For a notice letter: the channel whose notice failed."""
    attempts: int = 0
    first_tried_at: datetime | None = None
    """Since when it cannot be handed over."""
    call: str | None = None
    submitted_at: datetime | None = None
    posted_at: datetime | None = None
    let_go: bool = False
    """A person let it go: no budget holds it again."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One moment at which the message itself left (L8, L10). Never changed but for `failed`: it came back."""

    channel: str
    part: str
    at: datetime
    source: TimeSource
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """A part that waits for a person, and why."""

    part: str
    reason: AttentionReason
    since: datetime


class DeliveryState(StrEnum):
    """The whole, derived from its parts."""

    SCHEDULED = "scheduled"
    """Waits for its publication time; nothing was handed over yet, and it can be called back."""
    UNDER_WAY = "under_way"
    """Something is still to be done, and the worker will do it."""
    NEEDS_PERSON = "needs_person"
    """Something waits for a person; the reason is in `attention`."""
    DONE = "done"
    """All that the law asks has been done; `outcome` says how."""
    CANCELLED = "cancelled"
    """Called back before anything was handed over."""


class Outcome(StrEnum):
    """How a delivery ended, or as it stands while it is under way."""

    NONE = "none"
    PLACED = "placed"
    """In a box; the notice is still to be settled."""
    NOTICED = "noticed"
    """Placed in a box, and the notice left."""
    NOTICE_WAIVED = "notice_waived"
    NOTICE_BY_BOX = "notice_by_box"
    NOTICE_BY_LETTER = "notice_by_letter"
    """Placed; the notice could not be delivered, and a letter says so (L7)."""
    NOTICE_IMPOSSIBLE = "notice_impossible"
    """Placed; no address for a notice, and by policy no letter."""
    EMAIL = "email"
    """The message itself left by e-mail."""
    PAPER = "paper"
    """The message itself was posted."""
    BY_HAND = "by_hand"
    """Nothing reached the addressee through us: a person stopped the letter, or dealt with it by hand."""
    CANCELLED = "cancelled"


class CameBack(StrEnum):
    """What came back of the mail of a delivery, as it stands now."""

    HARD = "hard"
    """For good: another route was taken, or a person decides."""
    SOFT = "soft"
    """For now, or because of us: it was sent again, or the 48 hours ended."""


@dataclass(frozen=True, slots=True)
class LegalTime:
    """The legal time of sending (L8, L10), and the rule that makes it so."""

    at: datetime
    channel: str
    source: TimeSource
    rule: str
    """`L10` (first sending), `L10-several` (several boxes: MijnOverheid's moment), `L8` (a second sending)."""
    standing: bool
    """False while the only sending came back and the second has not left yet."""


OPEN_PLACEMENTS = frozenset(
    {
        PlacementState.CHECKING,
        PlacementState.PLANNED,
        PlacementState.PENDING,
        PlacementState.UNKNOWN,
        PlacementState.HELD,
    }
)
_OPEN_PROFILE = frozenset({ProfileState.ASKING, ProfileState.HELD})
_OPEN_NOTICES = frozenset({NoticeState.WAITING, NoticeState.DUE, NoticeState.HELD})
_OPEN_LETTERS = frozenset({LetterState.PLANNED, LetterState.UNKNOWN, LetterState.SUBMITTED, LetterState.PRINTED})


@dataclass(frozen=True)
class Delivery:
    """The delivery of one message: everything the rules decide on.

    It never changes, so what is derived from it is derived once (and kept: it has no slots).
    """

    brief: Brief
    placements: tuple[Placement, ...] = ()
    letters: tuple[Letter, ...] = ()
    sendings: tuple[Sending, ...] = ()
    attention: tuple[Attention, ...] = ()
    opened_at: datetime | None = None
    cancelled: bool = False
    profile: Profile | None = None
    """None: nothing is to come from the profile service."""
    by_hand: bool = False
    """A person ended a part of it: stopped a letter, or dealt with what waited."""
    held: VolumeRule | None = None
    """Nothing is begun before a person decides: too much came at once."""

    def placement(self, channel: str) -> Placement | None:
        """Give the placement in this channel, if there is one."""
        return next((placement for placement in self.placements if placement.channel == channel), None)

    @property
    def handed_over(self) -> bool:
        """Whether anything has been tried: from then on a message can only be withdrawn by a new one (L9)."""
        return bool(
            self.sendings
            or any(placement.attempts or placement.state not in _UNTOUCHED for placement in self.placements)
            or any(letter.attempts or letter.state not in _UNTOUCHED_LETTERS for letter in self.letters)
        )

    @cached_property
    def open(self) -> bool:
        """Whether a part is still to be moved on by the worker, a box or the print service."""
        return (
            self.held is not None
            or (self.profile is not None and self.profile.state in _OPEN_PROFILE)
            or any(placement.state in OPEN_PLACEMENTS for placement in self.placements)
            or any(placement.notice and placement.notice.state in _OPEN_NOTICES for placement in self.placements)
            or any(letter.state in _OPEN_LETTERS for letter in self.letters)
        )

    @cached_property
    def state(self) -> DeliveryState:
        """The whole, derived from its parts."""
        if self.cancelled:
            return DeliveryState.CANCELLED
        if self.attention:
            return DeliveryState.NEEDS_PERSON
        if self.brief.publish_at is not None and not self.handed_over and (self.open or not self.by_hand):
            return DeliveryState.SCHEDULED
        return DeliveryState.UNDER_WAY if self.open else DeliveryState.DONE

    @cached_property
    def outcome(self) -> Outcome:
        """How it ended, or stands now: the last thing that reached the addressee."""
        if self.cancelled:
            return Outcome.CANCELLED
        boxes = [placement for placement in self.placements if placement.notice is not None]
        if any(letter.kind is LetterKind.NOTICE and letter.posted_at is not None for letter in self.letters):
            return Outcome.NOTICE_BY_LETTER
        states = {placement.notice.state for placement in boxes if placement.notice is not None}
        for state, outcome in _NOTICE_OUTCOMES.items():
            if state in states:
                return outcome
        if boxes:
            return Outcome.PLACED
        live = [sending for sending in self.sendings if sending.failed is None]
        if not live:
            return Outcome.BY_HAND if self.by_hand and not self.open else Outcome.NONE
        return Outcome.PAPER if live[-1].part.startswith("letter/") else Outcome.EMAIL

    @property
    def held_by(self) -> VolumeRule | None:
        """The rule for which it, or a letter of it, waits for a person."""
        if self.held is None and any(item.reason is AttentionReason.MANY_LETTERS for item in self.attention):
            return VolumeRule.LETTERS
        return self.held

    @property
    def notice_deadline(self) -> datetime | None:
        """The nearest deadline of a notice that is not out yet."""
        return min(
            (
                placement.notice.until
                for placement in self.placements
                if placement.notice is not None and placement.notice.state in _OPEN_NOTICES
            ),
            default=None,
        )

    @property
    def came_back(self) -> CameBack | None:
        """The worst that came back of its mail."""
        notices = [placement.notice for placement in self.placements if placement.notice is not None]
        if any(placement.state is PlacementState.RETURNED for placement in self.placements) or any(
            notice.state in (NoticeState.UNDELIVERABLE, NoticeState.HELD) for notice in notices
        ):
            return CameBack.HARD
        return CameBack.SOFT if any(notice.last_reason is not None for notice in notices) else None

    def box(self, primary: frozenset[str]) -> str | None:
        """Give the channel that it was placed in, the primary one of several."""
        placed = [item.channel for item in self.placements if item.state is PlacementState.PLACED]
        return next((channel for channel in placed if channel in primary), placed[0] if placed else None)

    def legal_time(self, primary: frozenset[str]) -> LegalTime | None:
        """Derive the legal time of sending from the sendings alone; None while nothing has left."""
        if not self.sendings:
            return None
        live = [sending for sending in self.sendings if sending.failed is None]
        if not live:
            last = self.sendings[-1]
            return LegalTime(last.at, last.channel, last.source, "L10", standing=False)
        first_failed = next((sending for sending in self.sendings if sending.failed is not None), None)
        boxes = [sending for sending in live if sending.part.startswith("placement/")]
        chosen = min((sending for sending in boxes if sending.channel in primary), key=_when, default=None)
        chosen = chosen or min(live, key=_when)
        if first_failed is not None and first_failed.at <= chosen.at:
            rule = "L8"  # It could not be delivered; the second sending counts.
        elif len({sending.channel for sending in boxes}) > 1 and chosen.channel in primary:
            rule = "L10-several"
        else:
            rule = "L10"
        return LegalTime(chosen.at, chosen.channel, chosen.source, rule, standing=True)


def _when(sending: Sending) -> datetime:
    return sending.at


_UNTOUCHED = frozenset({PlacementState.CHECKING, PlacementState.PLANNED, PlacementState.STANDBY})
_UNTOUCHED_LETTERS = frozenset({LetterState.PLANNED, LetterState.BLOCKED, LetterState.CANCELLED})
_NOTICE_OUTCOMES: Mapping[NoticeState, Outcome] = {
    NoticeState.SENT: Outcome.NOTICED,
    NoticeState.WAIVED: Outcome.NOTICE_WAIVED,
    NoticeState.BY_BOX: Outcome.NOTICE_BY_BOX,
    NoticeState.IMPOSSIBLE: Outcome.NOTICE_IMPOSSIBLE,
}


VOLUME_PART = "volume"
"""The part of a delivery that is held because too much came at once: all of it."""
PROFILE_PART = "profile"
"""The part of a delivery that asks the profile service."""


def placement_part(channel: str) -> str:
    """Name the part of a delivery that places it in this channel."""
    return f"placement/{channel}"


def notice_part(channel: str) -> str:
    """Name the part of a delivery that tells of the placement in this channel."""
    return f"notice/{channel}"


def reading_part(channel: str) -> str:
    """Name the part of a delivery that asks whether it was opened in this channel."""
    return f"reading/{channel}"


def letter_part(index: int) -> str:
    """Name the part of a delivery that is this letter."""
    return f"letter/{index}"


def letter_id(message_id: UUID, index: int) -> UUID:
    """Give the id that a letter has at the print service: derived, so that a letter sent again is recognised."""
    return uuid5(message_id, letter_part(index))
