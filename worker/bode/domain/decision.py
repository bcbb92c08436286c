"""What a rule answers with, and the story it is collected in while one event is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from bode.domain.events import Bounce, TimeSource
from bode.domain.parts import Attention, AttentionReason, Brief, Delivery, Letter, Placement, Sending
from bode.domain.policy import Policy
from bode.domain.terms import last_day

DetailValue = str | int | bool | list[str] | list[dict[str, str]] | None
Detail = Mapping[str, DetailValue]


class Action(StrEnum):
    """What a worker does for a step."""

    PROFILE = "profile"
    """Ask the profile service what the addressee wants."""
    CHECK = "check"
    """Ask a box whether the addressee is reachable."""
    PLACE = "place"
    """Hand the message to a channel."""
    LOOKUP = "lookup"
    """Ask a box what became of it."""
    NOTIFY = "notify"
    """Send the notice."""
    PRINT = "print"
    """Set the letter and hand it to the print service."""
    READ = "read"
    """Ask a box whether the addressee opened the message."""
    WATCH = "watch"
    """Nothing to do but to be woken."""


@dataclass(frozen=True, slots=True)
class Step:
    """Work to be done for one part. It takes the place of the part's earlier step."""

    part: str
    action: Action
    lane: str
    due_at: datetime | None
    """None: only to be woken."""
    deadline_at: datetime
    """The order of work in a lane."""
    wake_at: datetime | None = None
    """When `ClockStruck` is to be decided, done or not."""
    call: str | None = None
    """The id of the call to repeat: a call with unknown outcome is repeated with its own id."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, for evidence: an event of the vocabulary, and the law rows it serves.

    `detail` holds no personal data and goes into the envelope. `sealed` does, or is text that a person typed, in which
    anything may stand: it goes encrypted, only committed to.
    """

    name: str
    law: tuple[str, ...]
    part: str | None = None
    at: datetime | None = None
    source: TimeSource = TimeSource.OUR_CLOCK
    detail: Detail = field(default_factory=dict[str, DetailValue])
    sealed: Detail = field(default_factory=dict[str, DetailValue])


class AlarmKind(StrEnum):
    """What an operator is told."""

    NOTICE_LATE = "notice_late"
    """A notice is not out yet at an alarm moment."""
    NOTICE_MISSED = "notice_missed"
    """48 hours passed without a notice."""
    LANE_STOPPED = "lane_stopped"
    """A lane was stopped: wrong configuration, or a defect of ours."""
    SENDER_SIDE = "sender_side"
    """Somebody refuses our mail because it is ours. Many of these in a short time stop the lane: see `engine.guard`."""
    CONTENT_REFUSED = "content_refused"
    """A channel refused the content: the sender should know."""
    NEEDS_PERSON = "needs_person"
    """A part waits for a person."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something an operator is told; `stop` stops the lane until a person starts it again."""

    kind: AlarmKind
    lane: str
    code: str
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows: the delivery as it is now, work to do, work that is off, facts, alarms, moments to be woken at."""

    delivery: Delivery
    steps: tuple[Step, ...] = ()
    closed: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    rewake: tuple[tuple[str, datetime], ...] = ()


def iso(moment: datetime | None) -> str | None:
    """Write a moment as evidence keeps it: ISO 8601 in UTC."""
    return None if moment is None else moment.isoformat()


def typed(**texts: str | None) -> Detail:
    """Give the free texts that there are, to be sealed: nothing can say what stands in them."""
    return {name: text for name, text in texts.items() if text}


def staff_action(*law: str, act: str, by: str, reason: str | None, part: str | None = None, **detail: str) -> Fact:
    """Give the fact of an act of a person; the reason is what they typed, and is sealed."""
    return Fact("staff.action", law, part, detail={"act": act, "by": by, **detail}, sealed=typed(reason=reason))


class Story:
    """Collects what follows from one event."""

    def __init__(self, delivery: Delivery, policy: Policy, now: datetime) -> None:
        self.delivery = delivery
        self.policy = policy
        self.now = now
        self.rewake: list[tuple[str, datetime]] = []
        self._steps: dict[str, Step] = {}
        self._closed: list[str] = []
        self._facts: list[Fact] = []
        self._alarms: list[Alarm] = []

    @property
    def brief(self) -> Brief:
        return self.delivery.brief

    def put(self, placement: Placement) -> Placement:
        """Put a placement in the place of the one in the same channel, or add it."""
        others = self.delivery.placements
        if any(item.channel == placement.channel for item in others):
            placements = tuple(placement if item.channel == placement.channel else item for item in others)
        else:
            placements = (*others, placement)
        self.delivery = replace(self.delivery, placements=placements)
        return placement

    def letter(self, index: int) -> Letter | None:
        letters = self.delivery.letters
        return letters[index] if 0 <= index < len(letters) else None

    def put_letter(self, index: int, letter: Letter) -> None:
        letters = list(self.delivery.letters)
        letters[index : index + 1] = [letter]
        self.delivery = replace(self.delivery, letters=tuple(letters))

    def sent(self, sending: Sending) -> None:
        """L8: sendings are only ever added to."""
        self.delivery = replace(self.delivery, sendings=(*self.delivery.sendings, sending))

    def failed(self, part: str, why: str) -> None:
        """Mark the sendings of a part as having come back; their times stay."""
        sendings = tuple(
            replace(sending, failed=why) if sending.part == part and sending.failed is None else sending
            for sending in self.delivery.sendings
        )
        self.delivery = replace(self.delivery, sendings=sendings)

    def legal_facts(self) -> Detail:
        """Give the legal time of sending as it is now (L8, L10), and the last day of a term from it (L15)."""
        legal = self.delivery.legal_time(self.policy.primary_channels())
        if legal is None:
            return {}
        facts: dict[str, DetailValue] = {
            "legal_time": iso(legal.at),
            "legal_rule": legal.rule,
            "legal_channel": legal.channel,
        }
        term = self.brief.term
        if term is not None and term.duration is not None:
            end = last_day(term.duration, legal.at, self.policy.is_holiday)
            facts |= {
                "term": str(term.duration),
                "term_sent_on": end.sent_on.isoformat() if end.sent_on else None,
                "term_unextended": end.unextended.isoformat(),
                "term_last_day": end.day.isoformat(),
            }
        elif term is not None and term.last_day is not None:
            facts["term_last_day"] = term.last_day.isoformat()
        return facts

    def step(
        self,
        part: str,
        action: Action,
        lane: str,
        due_at: datetime | None,
        *,
        deadline_at: datetime,
        wake_at: datetime | None = None,
        call: str | None = None,
    ) -> None:
        self._steps[part] = Step(part, action, lane, due_at, deadline_at, wake_at, call)

    def close(self, part: str) -> None:
        """Call off the open step of a part."""
        self._steps.pop(part, None)
        self._closed.append(part)

    def fact(
        self,
        name: str,
        *law: str,
        part: str | None = None,
        at: datetime | None = None,
        source: TimeSource = TimeSource.OUR_CLOCK,
        sealed: Detail | None = None,
        more: Detail | None = None,
        **detail: DetailValue,
    ) -> None:
        kept = {key: value for key, value in {**detail, **(more or {})}.items() if value is not None}
        self._facts.append(Fact(name, law, part, at, source, kept, sealed or {}))

    def staff(self, *law: str, act: str, by: str, reason: str | None, part: str | None = None, **detail: str) -> None:
        """Record an act of a person."""
        self._facts.append(staff_action(*law, act=act, by=by, reason=reason, part=part, **detail))

    def recorded(self, event: str, **detail: str | int | None) -> None:
        """Record an event that moves nothing: late, repeated or out of order."""
        self._facts.append(Fact("event.recorded", ("L12",), detail={"event": event, "moved": False, **detail}))

    def bounced(self, part: str, bounce: Bounce, *, moved: bool) -> None:
        """Record what a mail server said; its own text can name the address, and is sealed as what people type is."""
        self.fact(
            "bounce.received"
            if bounce.reported
            else "ConsignmentNotificationFailure"
            if part.startswith("notice/")
            else "RelayToNonERDSFailure",
            "L7" if part.startswith("notice/") else "L6",
            part=part,
            source=TimeSource.OTHER_SIDE,
            verdict=bounce.verdict,
            reason=bounce.reason,
            rule=bounce.rule,
            code=bounce.code,
            status=bounce.status,
            mta=bounce.mta,
            matched_by=bounce.matched_by,
            moved=moved,
            sealed=typed(diagnostic=bounce.diagnostic, matched_why=bounce.matched_why),
        )
        if bounce.matched_by is not None:
            # That this report is about this message is the word of a person, and so an act of theirs.
            by, why = bounce.matched_by, bounce.matched_why
            self.staff("L7", "L9", part=part, act="bounce_matched", by=by, reason=why)

    def alarm(self, kind: AlarmKind, lane: str, code: str, *, stop: bool = False) -> None:
        self._alarms.append(Alarm(kind, lane, code, stop))

    def attend(self, part: str, reason: AttentionReason) -> None:
        """Show a part to a person, once."""
        if any(item.part == part and item.reason is reason for item in self.delivery.attention):
            return
        attention = (*self.delivery.attention, Attention(part, reason, self.now))
        self.delivery = replace(self.delivery, attention=attention)
        self.fact("attention.asked", "L6", part=part, reason=reason)
        self.alarm(AlarmKind.NEEDS_PERSON, part.partition("/")[0], reason)

    def attended(self, part: str) -> bool:
        return any(item.part == part for item in self.delivery.attention)

    def settle(self, part: str) -> None:
        """Take a part off the list of what waits for a person: it moved on."""
        attention = tuple(item for item in self.delivery.attention if item.part != part)
        self.delivery = replace(self.delivery, attention=attention)

    def decision(self) -> Decision:
        return Decision(
            self.delivery,
            tuple(self._steps.values()),
            tuple(dict.fromkeys(self._closed)),
            tuple(self._facts),
            tuple(self._alarms),
            tuple(self.rewake),
        )
