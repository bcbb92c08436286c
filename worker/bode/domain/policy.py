"""What an installation chooses within the law: channels, how retries are spread, when to alarm, when to write a letter.

Built once from config/ by the composition root. Times are `timedelta`; every list of waits is used in order and its
last entry repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from hashlib import blake2b
from uuid import UUID

from bode.domain.message import AddresseeKind, Confidentiality
from bode.domain.terms import IsHoliday, next_cutoff


class ChannelKind(StrEnum):
    """What a channel is in law; paper is always there, last, and needs no entry."""

    BOX = "box"
    """A message box: placing calls for a notice (Awb 2:10)."""
    EMAIL = "email"
    """The message itself by e-mail: only for `laag`, and no notice is needed (law L2)."""


class NoticeBy(StrEnum):
    """Who tells the addressee that a message waits in a box."""

    WORKER = "worker"
    """We do, the only way we can prove it."""
    BOX = "box"
    """The box does it by itself; we record that it is the box's task, and cannot prove that it was done."""


class LetterWithoutAddress(StrEnum):
    """Whether an addressee without an e-mail address, who did not opt out, gets a letter that a message waits."""

    ALWAYS = "altijd"
    WITH_TERM = "met_termijn"
    NEVER = "nooit"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel this installation has, in the words the rules need."""

    name: str
    kind: ChannelKind
    label: str
    """What an addressee calls it: 'de Berichtenbox van MijnOverheid'."""
    ceiling: Confidentiality
    """The most confidential message it may carry (law L2)."""
    primary: bool = False
    """MijnOverheid: with several boxes, one notice about this one suffices (law L5)."""
    notice: NoticeBy = NoticeBy.WORKER
    repeat_is_recognised: bool = False
    can_lookup: bool = False
    can_check: bool = False
    read_times: bool = False
    """The box says whether a message was opened."""
    addressees: frozenset[AddresseeKind] = frozenset(AddresseeKind)


@dataclass(frozen=True, slots=True)
class Policy:
    """All choices together. `channels` is in order of preference; boxes are used all at once, carriers only after."""

    channels: Mapping[str, Channel]
    is_holiday: IsHoliday
    notice_lane: str = "kennisgeving"
    print_lane: str = "print"
    profile_lane: str = "profiel"
    has_profile: bool = False
    """Whether this installation has a profile service to ask (L1)."""

    notice_within: timedelta = timedelta(hours=48)
    """The law's own term (L3): a setting only so that a test can see it used."""
    notice_retries: tuple[timedelta, ...] = (
        timedelta(minutes=15),
        timedelta(hours=1),
        timedelta(hours=4),
        timedelta(hours=8),
        timedelta(hours=12),
    )
    """Waits after a soft bounce, spread over the 48 hours (L7)."""
    notice_last_attempt: timedelta = timedelta(hours=2)
    """How long before the deadline the reserved last attempt is made."""
    notice_alarms: tuple[timedelta, ...] = (timedelta(hours=24), timedelta(hours=36), timedelta(hours=44))
    """Moments after accessibility at which a notice that is not out raises an alarm."""
    notice_unknown_wait: timedelta = timedelta(hours=1)
    """How long after an unknown outcome (connection lost after the dot) a notice is sent again: it may have arrived."""
    relay_retry: timedelta = timedelta(minutes=2)
    """Wait after our own relay could not be reached: that says nothing about the addressee."""
    primary_wait: timedelta = timedelta(hours=24)
    """How long another box's notice waits for MijnOverheid's outcome, out of its own 48 hours (L5)."""
    letter_without_address: LetterWithoutAddress = LetterWithoutAddress.WITH_TERM

    placement_retries: tuple[timedelta, ...] = (
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=6),
    )
    """Waits after a box said: not now (L6)."""
    placement_patience: timedelta = timedelta(hours=72)
    """How long one channel is tried before the next is taken (L6), and the profile service before a person looks."""
    result_polls: tuple[timedelta, ...] = (timedelta(minutes=2), timedelta(minutes=5), timedelta(minutes=15))
    """When a box that takes messages in first is asked for the result."""
    result_overdue: timedelta = timedelta(hours=24)
    """When a result that does not come is shown to a person; never a guess."""
    reachability_valid: timedelta = timedelta(days=7)
    """How old a box's answer about an addressee may be (L1)."""

    read_polls: tuple[timedelta, ...] = (
        timedelta(hours=1),
        timedelta(hours=6),
        timedelta(days=1),
        timedelta(days=2),
        timedelta(days=4),
    )
    """When a box that keeps it is asked whether a message was opened (L12): about a dozen questions a message."""
    read_within: timedelta = timedelta(days=42)
    """How long after accessibility it is asked: six weeks, the usual term."""

    print_retries: tuple[timedelta, ...] = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
    """Waits after the print service said: not now (L6)."""
    print_patience: timedelta = timedelta(hours=24)
    """How long a letter that cannot be handed over is tried before a person is asked; trying goes on."""
    print_cutoff: time | None = None
    """The time of day, in the Netherlands, at which a working day's letters are handed over; without one, at once."""
    posting_overdue: timedelta = timedelta(days=5)
    """When a letter without a report of posting is shown to a person."""

    def next_batch(self, moment: datetime) -> datetime:
        """Give when a letter that is ready at this moment is handed over to the print service."""
        return moment if self.print_cutoff is None else next_cutoff(moment, self.print_cutoff, self.is_holiday)

    def primary_channels(self) -> frozenset[str]:
        """Give the names of the channels whose notice suffices for all (L5)."""
        return frozenset(name for name, channel in self.channels.items() if channel.primary)


def pick(waits: tuple[timedelta, ...], attempt: int) -> timedelta:
    """Give the wait after this attempt (from 1); the last one repeats."""
    return waits[min(max(attempt, 1), len(waits)) - 1]


def spread(wait: timedelta, message_id: UUID, attempt: int) -> timedelta:
    """Spread a wait by up to a fifth either way, the same for the same message and attempt: no thundering herd.

    Derived from the id instead of a random number, so that `decide` stays a function.
    """
    digest = blake2b(message_id.bytes + attempt.to_bytes(4, "big"), digest_size=4).digest()
    return wait * (0.8 + 0.4 * int.from_bytes(digest, "big") / 0xFFFFFFFF)
