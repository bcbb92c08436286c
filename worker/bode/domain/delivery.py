"""The law as a function: `decide(delivery, event, policy, now)` says what follows from anything that can happen.

Pure and total: every event is defined for every state. What moves nothing (late, repeated, out of order) is recorded
and moves nothing. Rows of the law table are named where they are decided:

- L1, L2 which channels: `channels`, and `profile` where the profile service is to say
- L9 changes, withdrawals, cancelling: here
- L6, L8, L10 the message itself and its time of sending: `placements`, `decision.Story.legal_facts`, `parts.legal_time`
- L3, L5, L7, L11 the notice and its 48 hours: `notices`
- L1, L6, L7 letters: `letters`; what people do by hand: `by_hand`
- what is held because too much came at once: here, and `volume`
- L15 terms: `terms`; L4, L14 what a message must say: `message.Nature`
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from bode.domain import events as ev
from bode.domain.by_hand import drop_hold, letters_held, on_found, on_handled, on_letter_stopped, on_placement_ordered
from bode.domain.channels import choose_channels
from bode.domain.decision import Decision, Story, iso, typed
from bode.domain.letters import (
    on_letter_held,
    on_letter_news,
    on_letter_trouble,
    order_again,
    order_letter,
    plan_for_batch,
    plan_letter,
)
from bode.domain.notices import on_burst, on_notice, on_notice_again, on_notice_clock, on_notice_worker_lost
from bode.domain.parts import (
    HELD_BECAUSE,
    VOLUME_PART,
    AttentionReason,
    Delivery,
    LetterKind,
    LetterReason,
    letter_part,
    placement_part,
)
from bode.domain.parts import LetterState as L
from bode.domain.parts import PlacementState as P
from bode.domain.placements import on_placement, on_placement_worker_lost, plan_placement
from bode.domain.policy import Policy
from bode.domain.profile import ask_profile, drop_profile, on_profile, on_profile_worker_lost, retry_profile


def decide(delivery: Delivery, event: ev.Event, policy: Policy, now: datetime) -> Decision:  # noqa: C901, PLR0912 - one dispatch, read as a table
    """Decide what follows from this event, now. Total: never raises, whatever the pair of state and event."""
    story = Story(delivery, policy, now)
    match event:
        case ev.Accepted():
            _on_accepted(story, event)
        case ev.Superseded():
            # L9: the earlier message stays as it is; the link is recorded in both.
            story.fact("message.superseded", "L9", by=event.by, nature=event.nature)
        case ev.Cancelled():
            _on_cancelled(story, event)
        case ev.LetterOrdered():
            _on_letter_ordered(story, event)
        case ev.Retried():
            _on_retried(story, event)
        case ev.Released():
            _on_released(story, event)
        case ev.LetterStopped():
            on_letter_stopped(story, event)
        case ev.Handled():
            on_handled(story, event)
        case ev.NoticeResent():
            on_notice_again(story, event)
        case ev.PlacementOrdered():
            on_placement_ordered(story, event)
        case ev.Found():
            on_found(story, event)
        case ev.LetterSubmitted() | ev.LetterPrinted() | ev.LetterPosted() | ev.LetterReturned() | ev.LetterUnclear():
            on_letter_news(story, event)
        case ev.LetterRefused() | ev.LetterUnavailable() | ev.LetterUnknown():
            on_letter_trouble(story, event)
        case ev.LetterHeld():
            on_letter_held(story, event)
        case ev.BurstSuspected() | ev.BurstDecided():
            on_burst(story, event)
        case ev.NoticeSent() | ev.NoticeBounced() | ev.NoticeUnavailable() | ev.NoticeUnknown():
            on_notice(story, event)
        case ev.ProfileAnswered() | ev.ProfileUnavailable() | ev.ProfileRefused():
            on_profile(story, event)
        case ev.ClockStruck():
            _on_clock(story, event)
        case ev.LeaseExpired():
            _on_lease_expired(story, event)
        case (
            ev.ReachabilityChecked()
            | ev.Placed()
            | ev.PlacementPending()
            | ev.PlacementRefused()
            | ev.PlacementUnavailable()
            | ev.PlacementUnknown()
            | ev.PlacementAbsent()
            | ev.CarrierBounced()
            | ev.Opened()
            | ev.NotOpened()
        ):
            on_placement(story, event)
        case _:
            assert_never(event)
    return story.decision()


def _on_accepted(story: Story, event: ev.Accepted) -> None:
    """Record what the addressee wants, and choose the channels; ask the profile service first where that is to say."""
    if story.delivery != Delivery(story.brief):
        story.recorded("Accepted")
        return
    brief = story.brief
    story.fact(
        "preference.snapshot",
        "L1",
        "L3",
        channels=[f"{consent.channel}:{consent.basis}:{consent.since or ''}" for consent in brief.channels],
        email_known=brief.has_email,
        email_given_by=brief.email_given_by,
        email_given_at=iso(brief.email_given_at),
        opted_out_at=iso(brief.opted_out_at),
        email_from_profile=True if brief.email_from_profile else None,
    )
    if event.held is None:
        _begin(story)
        return
    story.delivery = replace(story.delivery, held=event.held)
    story.attend(VOLUME_PART, HELD_BECAUSE[event.held])


def _begin(story: Story) -> None:
    if story.brief.asks_profile:
        ask_profile(story)
    else:
        choose_channels(story)


def _on_cancelled(story: Story, event: ev.Cancelled) -> None:
    """Call a message back, which is possible only while nothing was handed to any channel (L9)."""
    if story.delivery.handed_over or story.delivery.cancelled:
        story.recorded("Cancelled")
        return
    story.fact("message.cancelled", "L9", by=event.by, sealed=typed(reason=event.reason))
    drop_profile(story)
    drop_hold(story)
    for placement in story.delivery.placements:
        story.put(replace(placement, state=P.CANCELLED))
        story.close(placement_part(placement.channel))
    for index, letter in enumerate(story.delivery.letters):
        story.put_letter(index, replace(letter, state=L.CANCELLED))
        story.close(letter_part(index))
    story.delivery = replace(story.delivery, cancelled=True, attention=())


def _on_letter_ordered(story: Story, event: ev.LetterOrdered) -> None:
    """Send the message itself by letter because a person says so; one that was called back stays called back (L9)."""
    if story.delivery.cancelled:
        story.recorded("LetterOrdered")
        return
    story.staff("L6", "L9", act="letter", by=event.by, reason=event.reason)
    drop_profile(story)
    drop_hold(story)
    order_letter(story, LetterKind.MESSAGE, LetterReason.ORDERED, about=None)


def _on_clock(story: Story, event: ev.ClockStruck) -> None:
    kind, _, name = event.part.partition("/")
    placement = story.delivery.placement(name)
    match kind:
        case "notice" if placement is not None and placement.notice is not None:
            on_notice_clock(story, placement, placement.notice)
        case "placement" if placement is not None and placement.state is P.PENDING:
            # A result that does not come: alarm and ask; asking the box goes on, and it is never guessed.
            story.attend(event.part, AttentionReason.RESULT_OVERDUE)
        case "letter" if (letter := story.letter(_index(name))) and letter.state in (L.SUBMITTED, L.PRINTED):
            story.attend(event.part, AttentionReason.POSTING_OVERDUE)
        case _:
            story.recorded("ClockStruck", part=event.part)


def _on_lease_expired(story: Story, event: ev.LeaseExpired) -> None:
    """Find out, each part in its own way, what a worker did that died with this step in hand."""
    kind, _, name = event.part.partition("/")
    placement, code = story.delivery.placement(name), "worker_lost"
    match kind:
        case "placement" if placement is not None:
            on_placement_worker_lost(story, placement, event)
        case "notice" if placement is not None and placement.notice is not None:
            on_notice_worker_lost(story, placement, placement.notice, code)
        case "profile":
            on_profile_worker_lost(story)
        case "reading" if placement is not None:
            on_placement(story, ev.NotOpened(name, code))
        case "letter" if (letter := story.letter(_index(name))) and letter.state in (L.PLANNED, L.UNKNOWN):
            on_letter_trouble(story, ev.LetterUnknown(_index(name), code, event.call))
        case _:
            story.recorded("LeaseExpired", part=event.part)


def _on_retried(story: Story, event: ev.Retried) -> None:
    """Try again every part that waited for a person, who repaired the cause; the act is recorded."""
    story.staff("L6", "L9", act="retry", by=event.by, reason=event.reason)
    retry_profile(story)
    _let_go(story)
    for placement in story.delivery.placements:
        part = placement_part(placement.channel)
        if placement.state is P.HELD or (placement.state in (P.UNKNOWN, P.PENDING) and story.attended(part)):
            story.settle(part)
            again = replace(placement, state=P.PLANNED, receipt=None, call=None, called_at=None, first_tried_at=None)
            again = replace(again, polls=0)
            plan_placement(story, story.put(again), story.now)
    for index, letter in enumerate(story.delivery.letters):
        if letter.state is L.BLOCKED and story.brief.has_address:  # Without one nothing changed.
            story.settle(letter_part(index))
            story.put_letter(index, replace(letter, state=L.PLANNED, call=None))
            plan_for_batch(story, index)
        elif letter.state in (L.PLANNED, L.UNKNOWN) and story.attended(letter_part(index)):
            story.settle(letter_part(index))
            story.put_letter(index, replace(letter, first_tried_at=None))
            plan_letter(story, index, story.now, letter.call)
        elif letter.state in (L.REFUSED, L.RETURNED) and story.attended(letter_part(index)):
            story.settle(letter_part(index))
            order_again(story, letter)


def _on_released(story: Story, event: ev.Released) -> None:
    if story.delivery.held_by is None:
        story.recorded("Released")
        return
    story.staff("L6", act="release", by=event.by, reason=event.reason)
    _let_go(story)


def _let_go(story: Story) -> None:
    """Begin with a message that was held, and hand over letters that were."""
    if story.delivery.held is not None:
        drop_hold(story)
        _begin(story)
    for index in letters_held(story.delivery):
        story.settle(letter_part(index))
        story.put_letter(index, replace(story.delivery.letters[index], state=L.PLANNED, let_go=True))
        plan_for_batch(story, index)


def _index(text: str) -> int:
    return int(text) if text.isdecimal() else -1
