"""Whether the events of a message explain the state its delivery is in: nothing may have moved without evidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from bode.domain.parts import Delivery, Letter, LetterKind, Placement, letter_part, notice_part, placement_part
from bode.domain.parts import LetterState as L
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P

_SENDINGS = ("ContentConsignment", "RelayToNonERDS", "letter.posted")

_PLACEMENTS: dict[P, tuple[str, ...]] = {
    P.PENDING: ("placement.pending",),
    P.UNKNOWN: ("outcome.unknown",),
    P.HELD: ("ContentConsignmentFailure",),
    P.PLACED: ("ContentConsignment", "RelayToNonERDS"),
    P.RETURNED: ("RelayToNonERDSFailure",),
    P.REFUSED: ("ContentConsignmentFailure", "RelayToNonERDSFailure", "channel.decision"),
}
"""Under each state of a placement: the events of its part of which one must be there. Others need none."""

_NOTICES: dict[N, tuple[str, ...]] = {
    N.WAITING: ("channel.decision",),
    N.DUE: ("notice.due",),
    N.SENT: ("ConsignmentNotification",),
    N.COVERED: ("channel.decision",),
    N.BY_BOX: ("notice.by_box",),
    N.WAIVED: ("notice.waived",),
    N.IMPOSSIBLE: ("notice.impossible",),
    N.HELD: ("notice.held",),
    N.UNDELIVERABLE: ("ConsignmentNotificationFailure", "notice.impossible"),
    N.EXPIRED: ("ConsignmentNotificationFailure",),
}

_LETTERS: dict[L, tuple[str, ...]] = {
    L.UNKNOWN: ("outcome.unknown",),
    L.SUBMITTED: ("RelayToNonERDS",),
    L.PRINTED: ("letter.printed",),
    L.POSTED: ("letter.posted",),
    L.RETURNED: ("letter.returned",),
    L.REFUSED: ("RelayToNonERDSFailure",),
}


@dataclass(slots=True)
class Told:
    """What the events of one message tell, as far as its state needs it."""

    named: set[tuple[str, str | None]] = field(default_factory=set[tuple[str, str | None]])
    at: set[tuple[str, str | None, datetime]] = field(default_factory=set[tuple[str, str | None, datetime]])

    def add(self, name: str, part: str | None, at: datetime) -> None:
        """Take in an event."""
        self.named.add((name, part))
        self.at.add((name, part, at))

    def any_of(self, names: Iterable[str], part: str | None) -> bool:
        """Tell whether one of these events is there for a part."""
        return any((name, part) in self.named for name in names)

    def any_at(self, names: Iterable[str], part: str | None, at: datetime) -> bool:
        """Tell whether one of these events is there for a part, at that moment."""
        return any((name, part, at) in self.at for name in names)


def unexplained(delivery: Delivery, told: Told) -> list[str]:
    """Give what no event explains: in a delivery's state, or, the other way round, a sending that only events know."""
    found: list[str] = []
    if ("SubmissionAcceptance", None) not in told.named:
        found.append("it was accepted without an event")
    for sending in delivery.sendings:
        if not told.any_at(_SENDINGS, sending.part, sending.at):
            found.append(f"the sending by {sending.part} at {sending.at.isoformat()} has no event")
        if sending.failed is not None and not told.any_of(("bounce.received", "RelayToNonERDSFailure"), sending.part):
            found.append(f"the sending by {sending.part} came back without an event")
    for placement in delivery.placements:
        found += _placement(placement, told)
    for index, letter in enumerate(delivery.letters):
        found += _letter(letter_part(index), letter, told)
    if delivery.cancelled and ("message.cancelled", None) not in told.named:
        found.append("it was cancelled without an event")
    found += [
        f"{item.part} waits for a person without an event"
        for item in delivery.attention
        if ("attention.asked", item.part) not in told.named
    ]
    return found + _forgotten(delivery, told)


def _placement(placement: Placement, told: Told) -> list[str]:
    found: list[str] = []
    part, wanted = placement_part(placement.channel), _PLACEMENTS.get(placement.state)
    if wanted is not None and not told.any_of(wanted, part):
        found.append(f"{part} is {placement.state} without an event")
    if placement.placed_at is not None and not told.any_at(_SENDINGS, part, placement.placed_at):
        found.append(f"{part} was placed at {placement.placed_at.isoformat()} without an event")
    notice, part = placement.notice, notice_part(placement.channel)
    if notice is None:
        return found
    if not told.any_of(_NOTICES[notice.state], part):
        found.append(f"{part} is {notice.state} without an event")
    if notice.sent_at is not None and not told.any_at(("ConsignmentNotification",), part, notice.sent_at):
        found.append(f"{part} was sent at {notice.sent_at.isoformat()} without an event")
    return found


def _letter(part: str, letter: Letter, told: Told) -> list[str]:
    found: list[str] = []
    wanted = _LETTERS.get(letter.state)
    if not told.any_of(("letter.ordered",), part):
        found.append(f"{part} was ordered without an event")
    if wanted is not None and not told.any_of(wanted, part):
        found.append(f"{part} is {letter.state} without an event")
    if letter.submitted_at is not None and not told.any_at(("RelayToNonERDS",), part, letter.submitted_at):
        found.append(f"{part} was handed over at {letter.submitted_at.isoformat()} without an event")
    if letter.posted_at is not None and not told.any_at(("letter.posted",), part, letter.posted_at):
        found.append(f"{part} was posted at {letter.posted_at.isoformat()} without an event")
    return found


def _forgotten(delivery: Delivery, told: Told) -> list[str]:
    """Give the sendings that events tell of and the delivery does not: L8 lets none be taken away."""
    known = {(sending.part, sending.at) for sending in delivery.sendings}
    messages = {
        letter_part(index) for index, letter in enumerate(delivery.letters) if letter.kind is LetterKind.MESSAGE
    }
    return [
        f"the sending by {part} at {at.isoformat()} is in its events, and not in its state"
        for name, part, at in sorted(told.at, key=str)
        if part is not None
        and (part, at) not in known
        and (
            (name in ("ContentConsignment", "RelayToNonERDS") and part.startswith("placement/"))
            or (name == "letter.posted" and part in messages)
        )
    ]
