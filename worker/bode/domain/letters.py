"""Letters (L1, L6, L7, L8, L10): the message itself on paper, or that a notice could not be delivered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from bode.domain import events as ev
from bode.domain.decision import Action, AlarmKind, Detail, Story, iso, typed
from bode.domain.events import TimeSource
from bode.domain.parts import AttentionReason, Letter, LetterKind, LetterReason, Sending, letter_part
from bode.domain.parts import LetterState as L
from bode.domain.policy import pick, spread


def order_letter(story: Story, kind: LetterKind, reason: LetterReason, *, about: str | None) -> None:
    """Order a letter: the message itself (L1, L6), or that a notice could not be delivered (L7)."""
    if kind is LetterKind.NOTICE and any(
        letter.kind is LetterKind.NOTICE and letter.about == about and letter.state is not L.CANCELLED
        for letter in story.delivery.letters
    ):
        return
    _add_letter(story, kind, reason, about)


def withhold_letter(story: Story, about: str) -> bool:
    """Call back the letter about this notice, if it was not tried yet; tells whether it was."""
    for index, letter in enumerate(story.delivery.letters):
        if letter.kind is LetterKind.NOTICE and letter.about == about and not letter.attempts:
            if letter.state not in (L.PLANNED, L.BLOCKED):
                continue
            story.put_letter(index, replace(letter, state=L.CANCELLED))
            story.settle(letter_part(index))
            story.close(letter_part(index))
            return True
    return False


def order_again(story: Story, letter: Letter) -> None:
    """Order anew a letter that came back or was refused: a print service prints the same letter once, for ever."""
    _add_letter(story, letter.kind, letter.reason, letter.about)


def _add_letter(story: Story, kind: LetterKind, reason: LetterReason, about: str | None) -> None:
    index = len(story.delivery.letters)
    part = letter_part(index)
    blocked = not story.brief.has_address
    letter = Letter(kind, reason, L.BLOCKED if blocked else L.PLANNED, story.now, about)
    story.put_letter(index, letter)
    batch_at = plan_for_batch(story, index) if not blocked else None
    story.fact(
        "letter.ordered",
        "L7" if kind is LetterKind.NOTICE else "L6",
        part=part,
        kind=kind,
        reason=reason,
        batch=iso(batch_at) if story.policy.print_cutoff is not None else None,
    )
    if blocked:
        story.attend(part, AttentionReason.NO_POSTAL_ADDRESS)


def plan_for_batch(story: Story, index: int) -> datetime:
    """Plan a letter for the next batch, and give when that goes; a letter after the cut-off is in the one after."""
    batch_at = story.policy.next_batch(max(story.now, story.brief.starts_at))
    plan_letter(story, index, batch_at)
    return batch_at


def plan_letter(story: Story, index: int, due_at: datetime, call: str | None = None) -> None:
    letter = story.delivery.letters[index]
    deadline_at = letter.requested_at + story.policy.notice_within
    story.step(letter_part(index), Action.PRINT, story.policy.print_lane, due_at, deadline_at=deadline_at, call=call)


_LetterNews = ev.LetterSubmitted | ev.LetterPrinted | ev.LetterPosted | ev.LetterReturned | ev.LetterUnclear
_NOT_KNOWN_TO_BE_THERE = frozenset({L.PLANNED, L.UNKNOWN, L.CANCELLED, L.HANDLED})
"""States from which any word of the print service about a letter says first of all that it has it.

Withheld while a worker had it in hand, answered after a time-out, handled by a person: the truth is recorded.
"""


def on_letter_news(story: Story, event: _LetterNews) -> None:
    letter = story.letter(event.letter)
    if letter is None or story.delivery.cancelled:
        story.recorded(type(event).__name__, letter=event.letter)
        return
    part, law = letter_part(event.letter), "L7" if letter.kind is LetterKind.NOTICE else "L10"
    if letter.state in _NOT_KNOWN_TO_BE_THERE and not isinstance(event, (ev.LetterSubmitted, ev.LetterUnclear)):
        letter = _turns_out_to_be_there(story, event.letter, letter, event)
    match letter.state, event:
        case ((L.PLANNED | L.UNKNOWN | L.CANCELLED | L.HANDLED), ev.LetterSubmitted()):
            _submitted(story, letter, event, law)
        case (L.SUBMITTED, ev.LetterPrinted()):
            story.put_letter(event.letter, replace(letter, state=L.PRINTED))
            story.fact("letter.printed", law, part=part, at=event.at, source=TimeSource.OTHER_SIDE, code=event.code)
        case ((L.SUBMITTED | L.PRINTED | L.RETURNED), ev.LetterPosted()) if letter.posted_at is None:
            # The reports can come in out of order: a letter that came back was posted before.
            state = L.RETURNED if letter.state is L.RETURNED else L.POSTED
            story.put_letter(event.letter, replace(letter, state=state, posted_at=event.at))
            if state is L.POSTED:
                story.settle(part)
                story.close(part)
            legal: Detail = {}
            if letter.kind is LetterKind.MESSAGE:
                # L10: a letter leaves when it is posted; L8: after a failure this second sending counts.
                story.sent(Sending(story.policy.print_lane, part, event.at, event.source))
                legal = story.legal_facts()
            story.fact("letter.posted", law, part=part, at=event.at, source=event.source, code=event.code, more=legal)
        case ((L.SUBMITTED | L.PRINTED | L.POSTED), ev.LetterReturned()):
            story.put_letter(event.letter, replace(letter, state=L.RETURNED))
            story.settle(part)
            story.close(part)
            sealed = typed(reason=event.reason)
            story.fact("letter.returned", law, part=part, at=event.at, code=event.code, why=event.why, sealed=sealed)
            story.attend(part, AttentionReason.LETTER_RETURNED)
        case _, ev.LetterUnclear():
            # Nothing moves on a guess: the letter may be on its way, or lie in a bin. A person asks.
            sealed = typed(reason=event.reason)
            story.fact("letter.unclear", law, part=part, at=event.at, code=event.code, sealed=sealed)
            story.attend(part, AttentionReason.LETTER_UNCLEAR)
        case _:
            story.recorded(type(event).__name__, letter=event.letter, state=letter.state)


def _turns_out_to_be_there(story: Story, index: int, letter: Letter, event: _LetterNews) -> Letter:
    """Take the print service's word that it has the letter: nothing is handed over again."""
    part = letter_part(index)
    story.settle(part)
    there = replace(letter, state=L.SUBMITTED, call=None, first_tried_at=None)
    story.put_letter(index, there)
    story.fact("outcome.reconciled", "L6", part=part, outcome=_OUTCOMES[type(event)])
    if isinstance(event, ev.LetterPrinted):
        _watch(story, part)  # In the place of the step that would hand it over.
    else:
        story.close(part)
    return there


_OUTCOMES: Mapping[type, str] = {
    ev.LetterPrinted: "printed",
    ev.LetterPosted: "posted",
    ev.LetterReturned: "returned",
}


def _watch(story: Story, part: str) -> None:
    wake_at = story.now + story.policy.posting_overdue
    story.step(part, Action.WATCH, story.policy.print_lane, None, deadline_at=wake_at, wake_at=wake_at)


def _submitted(story: Story, letter: Letter, event: ev.LetterSubmitted, law: str) -> None:
    part = letter_part(event.letter)
    if letter.state is L.UNKNOWN:
        story.fact("outcome.reconciled", "L6", part=part, outcome="submitted")
    story.settle(part)
    attempts = letter.attempts + 1
    submitted = replace(letter, state=L.SUBMITTED, attempts=attempts, submitted_at=event.at)
    submitted = replace(submitted, call=None, first_tried_at=None)
    story.put_letter(event.letter, submitted)
    story.fact(
        "RelayToNonERDS",
        "L6",
        law,
        part=part,
        at=event.at,
        source=event.source,
        kind=letter.kind,
        sha256=event.sha256,
        pages=event.pages,
        template=event.template,
        receipt=event.receipt,
    )
    _watch(story, part)


def on_letter_trouble(story: Story, event: ev.LetterRefused | ev.LetterUnavailable | ev.LetterUnknown) -> None:
    letter = story.letter(event.letter)
    if letter is None:
        story.recorded(type(event).__name__, letter=event.letter)
        return
    part = letter_part(event.letter)
    match letter.state, event:
        case ((L.PLANNED | L.UNKNOWN | L.SUBMITTED | L.PRINTED | L.HANDLED), ev.LetterRefused()):
            story.fact("RelayToNonERDSFailure", "L6", part=part, code=event.code, final=True)
            if event.defect:
                story.alarm(AlarmKind.LANE_STOPPED, story.policy.print_lane, event.code, stop=True)
            story.put_letter(event.letter, replace(letter, state=L.REFUSED, attempts=letter.attempts + 1))
            story.settle(part)
            story.close(part)
            story.attend(part, AttentionReason.LETTER_REFUSED)
        case ((L.PLANNED | L.UNKNOWN), ev.LetterUnavailable(configuration=True)):
            # Ours to repair: the lane stops, and what waits in it is tried when it starts. Nobody asks about a letter.
            story.fact("RelayToNonERDSFailure", "L6", part=part, code=event.code, kind="configuration")
            story.alarm(AlarmKind.LANE_STOPPED, story.policy.print_lane, event.code, stop=True)
            story.put_letter(event.letter, replace(letter, attempts=letter.attempts + 1, first_tried_at=None))
            plan_letter(story, event.letter, story.now + pick(story.policy.print_retries, 1), letter.call)
        case L.PLANNED, ev.LetterUnavailable():
            story.fact("RelayToNonERDSFailure", "L6", part=part, code=event.code, attempt=letter.attempts + 1)
            _try_again(story, event.letter, letter)
        case L.UNKNOWN, ev.LetterUnavailable():
            _try_again(story, event.letter, letter)
        case ((L.PLANNED | L.UNKNOWN), ev.LetterUnknown()):
            if letter.state is L.PLANNED:
                story.fact("outcome.unknown", "L6", part=part, code=event.code, call=event.call)
            # A print service recognises a letter by its id (the contract asks it): a repeat prints nothing twice.
            _try_again(story, event.letter, replace(letter, state=L.UNKNOWN, call=event.call or letter.call))
        case _:
            story.recorded(type(event).__name__, letter=event.letter, state=letter.state)


def on_letter_held(story: Story, event: ev.LetterHeld) -> None:
    """Hold a letter that was not tried yet, in sight: a person lets it go, or stops it."""
    letter = story.letter(event.letter)
    if letter is None or letter.state is not L.PLANNED or letter.attempts:
        story.recorded("LetterHeld", letter=event.letter)
        if letter is not None and letter.state in (L.PLANNED, L.UNKNOWN):
            plan_letter(story, event.letter, story.now, letter.call)  # The print service may have it: it goes on.
        return
    part = letter_part(event.letter)
    story.put_letter(event.letter, replace(letter, state=L.BLOCKED))
    story.close(part)
    story.attend(part, AttentionReason.MANY_LETTERS)


def _try_again(story: Story, index: int, letter: Letter) -> None:
    """Plan the next attempt; after so long a person is asked as well (L6)."""
    attempts, first = letter.attempts + 1, letter.first_tried_at or story.now
    story.put_letter(index, replace(letter, attempts=attempts, first_tried_at=first))
    wait = spread(pick(story.policy.print_retries, attempts), story.brief.message_id, attempts)
    plan_letter(story, index, story.now + wait, letter.call)
    if story.now - first >= story.policy.print_patience:
        story.attend(letter_part(index), AttentionReason.PRINT_OVERDUE)
