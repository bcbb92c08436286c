"""What a person can do with a message, and what would follow: asked of `decide` itself, so that it cannot differ.

Nothing here decides anything. An act is possible where its event moves something; its effect is what `decide` answers,
now and for the event that the act is meant to bring about.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from bode.domain import events as ev
from bode.domain.decision import Action, Decision
from bode.domain.delivery import decide
from bode.domain.events import TimeSource
from bode.domain.parts import (
    Delivery,
    DeliveryState,
    LegalTime,
    Letter,
    LetterState,
    Outcome,
    letter_part,
    notice_part,
    placement_part,
)
from bode.domain.policy import Policy
from bode.domain.terms import last_day

_TRIAL = "-"
"""Who does it and why, while it is only asked what would follow: neither decides anything."""


class Act(StrEnum):
    """What a person can do with one message."""

    NOTICE_AGAIN = "notice_again"
    """Send the notice again, to the same address."""
    NOTICE_NEW_ADDRESS = "notice_new_address"
    """Send the notice to an address that the addressee told."""
    PLACE = "place"
    """Place the message in another channel after all."""
    LETTER = "letter"
    """Send the message itself by letter."""
    STOP_LETTER = "stop_letter"
    """Stop a letter that the print service does not have yet."""
    RETRY = "retry"
    """Try again whatever waits for a person: what was unknown is not there, what was wrong is mended."""
    FOUND = "found"
    """What was unknown did arrive."""
    HANDLED = "handled"
    """A person dealt with it: nothing more is tried."""
    CANCEL = "cancel"
    """Call back what was not handed to any channel yet."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An act on a part of a message; without a part, on the whole."""

    act: Act
    part: str | None = None

    def event(self, *, by: str, reason: str, now: datetime) -> ev.Event:
        """Give the event that does it."""
        name = (self.part or "").partition("/")[2]
        match self.act:
            case Act.NOTICE_AGAIN:
                return ev.NoticeResent(name, by, reason)
            case Act.NOTICE_NEW_ADDRESS:
                return ev.NoticeResent(name, by, reason, new_address=True)
            case Act.PLACE:
                return ev.PlacementOrdered(name, by, reason)
            case Act.LETTER:
                return ev.LetterOrdered(by, reason)
            case Act.STOP_LETTER:
                return ev.LetterStopped(int(name) if name.isdecimal() else -1, by, reason)
            case Act.RETRY:
                return ev.Retried(by, reason)
            case Act.FOUND:
                return ev.Found(self.part or "", now, by, reason)
            case Act.HANDLED:
                return ev.Handled(by, reason, self.part)
            case Act.CANCEL:
                return ev.Cancelled(by, reason)
            case _:
                assert_never(self.act)


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows from an act: at once, and once what it sets going succeeds."""

    state: DeliveryState
    outcome: Outcome
    legal: LegalTime | None
    """The legal time of sending right after it."""
    legal_moved: bool
    """Whether the act itself changes the legal time of sending."""
    legal_rule_then: str | None
    """The rule by which what it sets going would be the time of sending when it succeeds; none where it would not."""
    last_day_moves: bool
    """Whether the last day of the term would move with it."""
    work: tuple[tuple[str, Action], ...]
    """What Bode will do: the parts, and what for each."""
    due_at: datetime | None
    """When the first of that is due."""
    letters: tuple[Letter, ...]
    """Letters that are ordered by it."""
    stopped: tuple[str, ...]
    """Parts that nothing more is done for."""
    asked: tuple[str, ...]
    """Parts that wait for a person after it, and did not before."""
    tried_until: datetime | None = None
    """How long a notice is tried."""
    other_letters: tuple[int, ...] = ()
    """Letters that were under way and go on all the same."""


def possible(delivery: Delivery, policy: Policy, now: datetime) -> list[Choice]:
    """Give every act that would move something now."""
    return [choice for choice in _all(delivery) if moves(delivery, choice, policy, now)]


def moves(delivery: Delivery, choice: Choice, policy: Policy, now: datetime) -> bool:
    """Tell whether an act would move something; a letter to nobody's address is none."""
    if choice.act is Act.LETTER and not delivery.brief.has_address:
        return False
    if choice not in set(_all(delivery)):
        return False
    decision = _decided(delivery, choice, policy, now)
    return decision.delivery != delivery or bool(decision.steps)


def effect(delivery: Delivery, choice: Choice, policy: Policy, now: datetime) -> Effect:
    """Give what follows from an act that is possible."""
    decision = _decided(delivery, choice, policy, now)
    after, primary = decision.delivery, policy.primary_channels()
    legal, before = after.legal_time(primary), delivery.legal_time(primary)
    then = _legal_then(decision, policy, now)
    waited = {item.part for item in delivery.attention}
    notice = _notice(after, choice)
    new_letters = after.letters[len(delivery.letters) :]
    return Effect(
        state=after.state,
        outcome=after.outcome,
        legal=legal,
        legal_moved=legal != before,
        legal_rule_then=then.rule if then is not None else None,
        last_day_moves=_moves_last_day(after, legal, then, policy),
        work=tuple((step.part, step.action) for step in decision.steps if step.action is not Action.WATCH),
        due_at=min((step.due_at for step in decision.steps if step.due_at is not None), default=None),
        letters=new_letters,
        stopped=tuple(part for part in decision.closed if not _goes_on(part, decision)),
        asked=tuple(dict.fromkeys(item.part for item in after.attention if item.part not in waited)),
        tried_until=notice,
        other_letters=tuple(
            index
            for index, letter in enumerate(delivery.letters)
            if letter.state in _UNDER_WAY and after.letters[index].state is letter.state
        ),
    )


_UNDER_WAY = frozenset(
    {LetterState.PLANNED, LetterState.UNKNOWN, LetterState.SUBMITTED, LetterState.PRINTED, LetterState.BLOCKED}
)


def _all(delivery: Delivery) -> Iterator[Choice]:
    """Give every act on every part there is."""
    for placement in delivery.placements:
        notice, part = notice_part(placement.channel), placement_part(placement.channel)
        yield Choice(Act.NOTICE_AGAIN, notice)
        yield Choice(Act.NOTICE_NEW_ADDRESS, notice)
        yield Choice(Act.FOUND, part)
        yield Choice(Act.PLACE, part)
    for index in range(len(delivery.letters)):
        yield Choice(Act.FOUND, letter_part(index))
        yield Choice(Act.STOP_LETTER, letter_part(index))
    yield Choice(Act.RETRY)
    yield Choice(Act.LETTER)
    for part in dict.fromkeys(item.part for item in delivery.attention):
        yield Choice(Act.HANDLED, part)
    yield Choice(Act.CANCEL)


def _decided(delivery: Delivery, choice: Choice, policy: Policy, now: datetime) -> Decision:
    return decide(delivery, choice.event(by=_TRIAL, reason=_TRIAL, now=now), policy, now)


def _legal_then(decision: Decision, policy: Policy, now: datetime) -> LegalTime | None:
    """Give the legal time of sending once what was set going succeeds, where it is another than before."""
    after, primary = decision.delivery, policy.primary_channels()
    before = after.legal_time(primary)
    for step in decision.steps:
        kind, _, name = step.part.partition("/")
        at = max(step.due_at or now, now)
        if kind == "placement" and step.action in (Action.PLACE, Action.CHECK):
            after = decide(after, ev.Placed(name, at, TimeSource.OTHER_SIDE), policy, at).delivery
        elif kind == "letter" and step.action is Action.PRINT:
            for event in (
                ev.LetterSubmitted(int(name), at, TimeSource.OTHER_SIDE),
                ev.LetterPosted(int(name), at, TimeSource.OTHER_SIDE, _TRIAL),
            ):
                after = decide(after, event, policy, at).delivery
        elif kind == "notice" and step.action is Action.NOTIFY:
            after = decide(after, ev.NoticeSent(name, at), policy, at).delivery
    legal = after.legal_time(primary)
    same = before is not None and legal is not None and (before.at, before.channel) == (legal.at, legal.channel)
    return None if same else legal


def _moves_last_day(after: Delivery, legal: LegalTime | None, then: LegalTime | None, policy: Policy) -> bool:
    term = after.brief.term
    if then is None or term is None or term.duration is None:
        return False
    if legal is None or not legal.standing:
        return True
    return last_day(term.duration, legal.at, policy.is_holiday) != last_day(term.duration, then.at, policy.is_holiday)


def _goes_on(part: str, decision: Decision) -> bool:
    return any(step.part == part for step in decision.steps)


def _notice(after: Delivery, choice: Choice) -> datetime | None:
    if choice.act not in (Act.NOTICE_AGAIN, Act.NOTICE_NEW_ADDRESS):
        return None
    placement = after.placement((choice.part or "").partition("/")[2])
    return placement.notice.until if placement is not None and placement.notice is not None else None


def found_at(choice: Choice, event: ev.Event, at: datetime) -> ev.Event:
    """Give the event with the moment that a person saw, where the act has one."""
    return replace(event, at=at) if choice.act is Act.FOUND and isinstance(event, ev.Found) else event
