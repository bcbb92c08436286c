"""What people do by hand (L6, L9, L12): stop a letter in time, or deal themselves with what waits for them.

A part that a person has dealt with is at its end: nothing more is tried for it. What comes in about it later is still
believed, and shown to a person where it says otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from bode.domain import events as ev
from bode.domain.decision import Story
from bode.domain.notices import arrange_notices
from bode.domain.parts import PROFILE_PART, LetterKind, letter_part
from bode.domain.parts import LetterState as L
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.profile import drop_profile

HANDLED = "handled"
"""The code of a placement that a person ended."""


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
