"""How much an organisation may send before a person looks: the rules, and when they hold a message or a letter.

A stolen key floods, a wrong mapping sends everything to one person, a batch is run twice. To everything else
that looks like ordinary work. A message that is held was accepted and waits in sight; its 48 hours have not begun.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

DAYS = 28
"""So many days back is what is usual."""


class VolumeRule(StrEnum):
    """Which rule holds something. What they count begins anew when a person has decided."""

    MESSAGES = "messages"
    """More messages in a day (in the Netherlands) than the budget. All that follow wait, until a person decides."""
    SUDDEN = "sudden"
    """Many times more messages in a day than usual. All that follow wait, until a person decides."""
    ADDRESSEE = "addressee"
    """More messages to one addressee within an hour than anybody gets. Those alone wait."""
    LETTERS = "letters"
    """More letters in a day than the budget. All letters that follow wait, until a person decides."""


STOPS_ALL = frozenset({VolumeRule.MESSAGES, VolumeRule.SUDDEN, VolumeRule.LETTERS})
"""Rules that hold everything of the organisation that comes after, and not only what is above the number."""


@dataclass(frozen=True, slots=True)
class VolumeLimits:
    """The limits of one organisation; what is left out does not hold anything."""

    messages_per_day: int | None = None
    letters_per_day: int | None = None
    addressee_per_hour: int | None = None
    sudden_times: float | None = None
    """So many times the usual day is sudden, ..."""
    sudden_floor: int = 500
    """... but never so few messages or fewer."""

    @property
    def hold_messages(self) -> bool:
        """Whether any of them can hold a message."""
        return not self.messages_per_day is self.addressee_per_hour is self.sudden_times is None


@dataclass(frozen=True, slots=True)
class Volume:
    """What an organisation has sent when its next message comes."""

    today: int = 0
    usual: float = 0.0
    """The messages of a usual day: see `usual_day`."""
    decided_at: Mapping[VolumeRule, int] = field(default_factory=dict[VolumeRule, int])
    """How many there were today when a person last decided, by rule: counting goes on from there."""
    waiting: Collection[VolumeRule] = frozenset()
    """Rules whose hold waits for a person."""

    def since(self, rule: VolumeRule) -> int:
        """Give how many count for a rule."""
        return self.today - self.decided_at.get(rule, 0)


def usual_day(days: Iterable[int]) -> float:
    """Give the median of the days on which anything was sent: weekends say nothing of a working day; 0 without any."""
    return float(median([count for count in days if count] or [0]))


def holds_message(limits: VolumeLimits, volume: Volume, *, to_addressee: int = 0) -> VolumeRule | None:
    """Give the rule that holds the next message; `to_addressee` counts those to the same addressee in the last hour."""
    for rule, most in (
        (VolumeRule.MESSAGES, limits.messages_per_day),
        (VolumeRule.SUDDEN, most_before_sudden(limits, volume.usual)),
    ):
        if most is not None and (rule in volume.waiting or volume.since(rule) >= most):
            return rule
    if limits.addressee_per_hour is not None and to_addressee >= limits.addressee_per_hour:
        return VolumeRule.ADDRESSEE
    return None


def most_before_sudden(limits: VolumeLimits, usual: float) -> float | None:
    """Give how many messages in a day are not sudden; none where nothing is."""
    return max(limits.sudden_times * usual, limits.sudden_floor) if limits.sudden_times is not None else None


def letters_left(limits: VolumeLimits, volume: Volume, wanted: int) -> int:
    """Give how many of the wanted letters may go; `volume` counts letters."""
    if limits.letters_per_day is None:
        return wanted
    if VolumeRule.LETTERS in volume.waiting:
        return 0
    return max(0, min(wanted, limits.letters_per_day - volume.since(VolumeRule.LETTERS)))
