"""What people do by hand (L6, L9, L12): stop a letter in time, or deal themselves with what waits for them.

A part that a person has dealt with is at its end: nothing more is tried for it. What comes in about it later is still
believed, and shown to a person where it says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from bode.domain import events as ev
from bode.domain.decision import Story
from bode.domain.events import TimeSource
from bode.domain.letters import on_letter_news
from bode.domain.notices import arrange_notices
from bode.domain.parts import (
    PROFILE_PART,
    VOLUME_PART,
    AttentionReason,
    Delivery,
    LetterKind,
    letter_part,
    placement_part,
)
from bode.domain.parts import LetterState as L
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.placements import on_placement, plan_placement
from bode.domain.profile import drop_profile

HANDLED = "handled"
"""The code of a placement that a person ended."""


def drop_hold(story: Story) -> None:
    """Hold the message no longer: a person decided about it."""
    if story.delivery.held is not None:
        story.settle(VOLUME_PART)
        story.delivery = replace(story.delivery, held=None)


def call_back(delivery: Delivery, by: str, reason: str) -> list[ev.Event]:
    """Give what calls back all that is held of a delivery because too much came at once."""
    if delivery.held is not None:
        return [ev.Cancelled(by, reason)]
    return [ev.LetterStopped(index, by, reason) for index in letters_held(delivery)]


def letters_held(delivery: Delivery) -> list[int]:
    """Give the letters that are held because too many went at once."""
    held = {item.part for item in delivery.attention if item.reason is AttentionReason.MANY_LETTERS}
    return [index for index in range(len(delivery.letters)) if letter_part(index) in held]


def on_letter_stopped(story: Story, event: ev.LetterStopped) -> None:
    """Stop a letter while it can be: from its hand-over on, the print service has it (L9)."""
    letter = story.letter(event.letter)
    if letter is None or letter.state not in (L.PLANNED, L.BLOCKED):
        story.recorded("LetterStopped", letter=event.letter)
        return
    part, law = letter_part(event.letter), "L7" if letter.kind is LetterKind.NOTICE else "L6"
    story.staff(law, "L9", part=part, act="letter_stopped", by=event.by, reason=event.reason)
    story.put_letter(event.letter, replace(letter, state=L.CANCELLED))
    story.settle(part)
    story.close(part)
    story.delivery = replace(story.delivery, by_hand=True)


def on_handled(story: Story, event: ev.Handled) -> None:
    """Take off the list what a person dealt with, and end those parts."""
    waiting = [item for item in story.delivery.attention if event.part in (None, item.part)]
    if not waiting:
        story.recorded("Handled", part=event.part)
        return
    story.delivery = replace(story.delivery, by_hand=True)
    for item in waiting:
        story.staff(
            "L6", "L12", part=item.part, act="handled", by=event.by, reason=event.reason, waited_for=item.reason
        )
    for part in dict.fromkeys(item.part for item in waiting):
        story.settle(part)
        _end(story, part)


def _end(story: Story, part: str) -> None:
    if part == PROFILE_PART:
        drop_profile(story)
        return
    if part == VOLUME_PART:
        drop_hold(story)
        return
    kind, _, name = part.partition("/")
    if kind == "letter":
        _end_letter(story, int(name))
        return
    placement = story.delivery.placement(name)
    if placement is None:
        return
    if kind == "placement" and placement.state in (P.HELD, P.UNKNOWN, P.PENDING):
        story.put(replace(placement, state=P.REFUSED, code=HANDLED))
        story.close(part)
        if any(item.state is P.PLACED for item in story.delivery.placements):
            arrange_notices(story)  # L5: the duty to tell may move to the other box.
    elif kind == "notice" and placement.notice is not None and placement.notice.state is N.HELD:
        # L7: the person made the effort to inform; no letter besides.
        story.put(replace(placement, notice=replace(placement.notice, state=N.UNDELIVERABLE)))
        story.close(part)


def _end_letter(story: Story, index: int) -> None:
    letter = story.letter(index)
    if letter is None:
        return
    if letter.state in (L.PLANNED, L.BLOCKED):
        story.put_letter(index, replace(letter, state=L.CANCELLED))
    elif letter.state in (L.UNKNOWN, L.SUBMITTED, L.PRINTED):
        story.put_letter(index, replace(letter, state=L.HANDLED))
    else:
        return  # It came to its end before: only the question is closed.
    story.close(letter_part(index))


def on_placement_ordered(story: Story, event: ev.PlacementOrdered) -> None:
    """Place the message in another channel after all (L6), of those that the addressee agreed to (L1).

    What a person ended while its outcome was not known is not placed again: it may be there already.
    """
    placement, part = story.delivery.placement(event.channel), placement_part(event.channel)
    if (
        placement is None
        or story.delivery.cancelled
        or placement.state not in (P.REFUSED, P.STANDBY)
        or placement.code == HANDLED
        or story.attended(part)
    ):
        story.recorded("PlacementOrdered", channel=event.channel)
        return
    story.staff("L1", "L6", part=part, act="place", by=event.by, reason=event.reason)
    again = replace(placement, state=P.PLANNED, receipt=None, call=None, called_at=None, first_tried_at=None, code=None)
    plan_placement(story, story.put(replace(again, polls=0)), max(story.now, story.brief.starts_at))


def on_found(story: Story, event: ev.Found) -> None:
    """Take a person's word that what was not known to have arrived did arrive, and when; never in the future."""
    kind, _, name = event.part.partition("/")
    at = min(event.at, story.now)
    placement = story.delivery.placement(name)
    letter = story.letter(int(name)) if kind == "letter" and name.isdecimal() else None
    if kind == "placement" and placement is not None and placement.state in (P.UNKNOWN, P.PENDING, P.HELD):
        story.staff("L6", "L10", part=event.part, act="found", by=event.by, reason=event.reason)
        on_placement(story, ev.Placed(name, max(at, story.brief.accepted_at), TimeSource.OUR_CLOCK, code="found"))
    elif letter is not None and letter.state is L.UNKNOWN:
        story.staff("L6", "L10", part=event.part, act="found", by=event.by, reason=event.reason)
        story.settle(event.part)
        on_letter_news(story, ev.LetterSubmitted(int(name), at, TimeSource.OUR_CLOCK))
    else:
        story.recorded("Found", part=event.part)
