"""Placements (L6, L8, L10): the message itself in a box or by e-mail, and the next route when that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.decision import Action, AlarmKind, Story
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.letters import order_letter
from bode.domain.message import ConsentBasis
from bode.domain.notices import arrange_notices, bring_forward
from bode.domain.parts import (
    OPEN_PLACEMENTS,
    AttentionReason,
    LetterKind,
    LetterReason,
    Placement,
    Sending,
    placement_part,
    reading_part,
)
from bode.domain.parts import PlacementState as P
from bode.domain.policy import ChannelKind, pick, spread

_PlacementEvent = (
    ev.ReachabilityChecked
    | ev.Placed
    | ev.PlacementPending
    | ev.PlacementRefused
    | ev.PlacementUnavailable
    | ev.PlacementUnknown
    | ev.PlacementAbsent
    | ev.CarrierBounced
    | ev.Opened
    | ev.NotOpened
)


def on_placement(story: Story, event: _PlacementEvent) -> None:  # noqa: C901, PLR0912 - the table of allowed moves
    placement = story.delivery.placement(event.channel)
    if placement is None:
        story.recorded(type(event).__name__, channel=event.channel)
        return
    part = placement_part(placement.channel)
    match placement.state, event:
        case P.CHECKING, ev.ReachabilityChecked():
            _checked(story, placement, event)
        case ((P.CHECKING | P.PLANNED | P.PENDING | P.UNKNOWN | P.HELD), ev.Placed()):
            _placed(story, placement, event)
        case P.PLACED, ev.Placed() if _was_there_before(placement, event):
            _placed_earlier(story, placement, event)
        case ((P.REFUSED | P.RETURNED), ev.Placed()):
            # The box says it is there after it said no. It may be true, and a letter may be on its way: a person looks.
            story.recorded("Placed", channel=placement.channel, code=event.code)
            story.attend(part, AttentionReason.CONTRADICTION)
        case ((P.PLANNED | P.UNKNOWN | P.PENDING), ev.PlacementPending()):
            _pending(story, placement, event)
        case ((P.CHECKING | P.PLANNED | P.PENDING | P.UNKNOWN), ev.PlacementRefused()):
            _refused(story, placement, event)
        case ((P.CHECKING | P.PLANNED | P.PENDING), ev.PlacementUnavailable()):
            _unavailable(story, placement, event)
        case ((P.PLANNED | P.UNKNOWN | P.PENDING), ev.PlacementUnknown()):
            _unknown(story, placement, event)
        case P.UNKNOWN, ev.PlacementUnavailable():
            # This call placed nothing; the earlier one still may have.
            _unknown(story, placement, ev.PlacementUnknown(placement.channel, event.code, placement.call))
        case ((P.UNKNOWN | P.PENDING), ev.PlacementAbsent()):
            story.fact("outcome.reconciled", "L6", part=part, outcome="absent", code=event.code)
            story.settle(part)
            again = story.put(replace(placement, state=P.PLANNED, receipt=None, call=None, called_at=None))
            plan_placement(story, again, story.now)
        case ((P.PLANNED | P.UNKNOWN), ev.CarrierBounced()):
            _carrier_bounced(story, placement, event.bounce)
        case P.PLACED, ev.CarrierBounced() if not _is_box(story, placement):
            _carrier_bounced(story, placement, event.bounce)
        case P.PLACED, ev.Opened() if placement.opened_at is None:
            _opened(story, placement, event)
        case P.PLACED, ev.NotOpened() if placement.opened_at is None:
            _not_opened(story, placement, event)
        case _, ev.CarrierBounced():
            # What lies in a box stays there; what came back or was given up for good stays so.
            story.bounced(part, event.bounce, moved=False)
        case _:
            story.recorded(type(event).__name__, channel=placement.channel, state=placement.state)


def _is_box(story: Story, placement: Placement) -> bool:
    channel = story.policy.channels.get(placement.channel)
    return channel is None or channel.kind is ChannelKind.BOX


def plan_placement(story: Story, placement: Placement, due_at: datetime, call: str | None = None) -> None:
    """Plan the next call for a placement: a check first where its consent asks for one."""
    if placement.state is P.PLANNED and _must_ask_first(story, placement, due_at):
        placement = story.put(replace(placement, state=P.CHECKING))
    action = Action.CHECK if placement.state is P.CHECKING else Action.PLACE
    story.step(
        placement_part(placement.channel),
        action,
        placement.channel,
        due_at,
        # Nothing in law says when a message must be placed; the order is that of the moment it was due.
        deadline_at=story.brief.starts_at + story.policy.notice_within,
        call=call,
    )


def _must_ask_first(story: Story, placement: Placement, due_at: datetime) -> bool:
    """L1: a channel that rests on the box's own answer is not used before that answer, nor long after it."""
    to_check = any(
        consent.channel == placement.channel and consent.basis is ConsentBasis.TO_CHECK
        for consent in story.brief.channels
    )
    asked = placement.checked_at
    return to_check and (asked is None or due_at - asked > story.policy.reachability_valid)


def _checked(story: Story, placement: Placement, event: ev.ReachabilityChecked) -> None:
    """L1: a box's own answer makes a channel usable, for a limited time."""
    if event.reachable is None:
        _unavailable(story, placement, ev.PlacementUnavailable(event.channel, event.code or "check_failed"))
        return
    story.fact(
        "channel.decision",
        "L1",
        part=placement_part(placement.channel),
        at=event.checked_at,
        source=TimeSource.OTHER_SIDE,
        reachable=event.reachable,
        code=event.code,
    )
    if not event.reachable:
        story.put(replace(placement, state=P.REFUSED, code=event.code or "not_reachable"))
        _next_route(story, LetterReason.NO_CHANNEL)
        return
    reachable = story.put(replace(placement, state=P.PLANNED, checked_at=event.checked_at, first_tried_at=None))
    plan_placement(story, reachable, story.now)


def _placed(story: Story, placement: Placement, event: ev.Placed) -> None:
    """L10: this is the moment of sending. A box placement starts its own 48-hour clock (L3)."""
    part = placement_part(placement.channel)
    if placement.state is P.UNKNOWN:
        story.fact("outcome.reconciled", "L6", part=part, outcome="placed", code=event.code)
    story.settle(part)
    story.close(part)
    story.put(
        replace(
            placement,
            state=P.PLACED,
            attempts=placement.attempts + 1,
            placed_at=event.at,
            receipt=event.receipt or placement.receipt,
            code=event.code,
        )
    )
    # An SMTP 250 is a relay to a system that is no registered delivery service, never a hand-over (L10).
    _sent(story, "ContentConsignment" if _is_box(story, placement) else "RelayToNonERDS", event)
    arrange_notices(story)
    _plan_reading(story, placement.channel)


def _plan_reading(story: Story, channel_name: str) -> bool:
    """L12: ask now and then, for a limited time, whether it was opened; tells whether there is a next time."""
    placement, channel = story.delivery.placement(channel_name), story.policy.channels.get(channel_name)
    if placement is None or placement.placed_at is None or channel is None or not channel.read_times:
        return False
    asked = placement.readings
    due_at = max(story.now, placement.placed_at)
    due_at += spread(pick(story.policy.read_polls, asked + 1), story.brief.message_id, asked)
    if due_at > placement.placed_at + story.policy.read_within:
        return False
    # Whatever is to be placed goes before what is only to be known.
    late = due_at + story.policy.read_within
    story.step(reading_part(channel_name), Action.READ, channel_name, due_at, deadline_at=late)
    return True


def _opened(story: Story, placement: Placement, event: ev.Opened) -> None:
    """L12: that the addressee took notice of it, by the box's own word."""
    story.put(replace(placement, opened_at=event.at, readings=placement.readings + 1))
    story.close(reading_part(placement.channel))
    story.fact(
        "ContentAccessTracking",
        "L12",
        part=placement_part(placement.channel),
        at=event.at,
        source=event.source,
        at_latest=None if event.exact else True,
    )
    opened = story.delivery.opened_at
    story.delivery = replace(story.delivery, opened_at=min(event.at, opened) if opened is not None else event.at)


def _not_opened(story: Story, placement: Placement, event: ev.NotOpened) -> None:
    """L12: ask again later. What is not seen is recorded once, at the end: that it was read is never denied by it."""
    asked = story.put(replace(placement, readings=placement.readings + 1))
    if event.final or not _plan_reading(story, placement.channel):
        story.close(reading_part(placement.channel))
        story.fact(
            "access.not_seen",
            "L12",
            part=placement_part(placement.channel),
            source=TimeSource.OTHER_SIDE,
            asked=asked.readings,
            code=event.code or None,
        )


def _was_there_before(placement: Placement, event: ev.Placed) -> bool:
    """Tell whether a box says by its own clock that it placed the message before the moment that is known."""
    known = placement.placed_at
    return not event.already and event.source is TimeSource.OTHER_SIDE and known is not None and event.at < known


def _placed_earlier(story: Story, placement: Placement, event: ev.Placed) -> None:
    """L10: the call that placed it reports after a repeat of it that found it there: the first moment counts."""
    story.put(replace(placement, placed_at=event.at, code=event.code))
    _sent(story, "ContentConsignment", event)
    bring_forward(story, placement.channel)


def _sent(story: Story, name: str, event: ev.Placed) -> None:
    """L8, L10: a sending, and the fact of it with the legal time as it is now."""
    part = placement_part(event.channel)
    story.sent(Sending(event.channel, part, event.at, event.source))
    story.fact(
        name,
        "L6",
        "L10",
        part=part,
        at=event.at,
        source=event.source,
        receipt=event.receipt,
        code=event.code,
        stage=event.stage,
        already=event.already,
        more=story.legal_facts(),
    )


def _pending(story: Story, placement: Placement, event: ev.PlacementPending) -> None:
    """L10: a receipt for a batch is no accessibility. Ask for the result; never guess it."""
    part = placement_part(placement.channel)
    first = placement.state is not P.PENDING
    if first:
        story.settle(part)
        story.fact("placement.pending", "L6", "L10", part=part, receipt=event.receipt, code=event.code)
    polls = 1 if first else placement.polls + 1
    since = story.now if first or placement.first_tried_at is None else placement.first_tried_at
    story.put(
        replace(
            placement,
            state=P.PENDING,
            receipt=event.receipt,
            first_receipt=placement.first_receipt or event.receipt,
            call=None,
            polls=polls,
            attempts=placement.attempts + first,
            first_tried_at=since,
        )
    )
    wait = spread(pick(story.policy.result_polls, polls), story.brief.message_id, polls)
    _ask_result(story, placement.channel, story.now + wait, since)


def _ask_result(story: Story, channel: str, due_at: datetime, since: datetime) -> None:
    """Ask a box for its result at this time, and show it to a person when it does not come."""
    part, overdue = placement_part(channel), since + story.policy.result_overdue
    story.step(
        part,
        Action.LOOKUP,
        channel,
        due_at,
        deadline_at=story.brief.starts_at + story.policy.notice_within,
        wake_at=overdue if overdue > story.now else None,
    )
    if overdue <= story.now:
        # The clock struck, or would have while the question was under way.
        story.attend(part, AttentionReason.RESULT_OVERDUE)


def _refused(story: Story, placement: Placement, event: ev.PlacementRefused) -> None:
    """L6: what a refusal is about decides what follows."""
    part = placement_part(placement.channel)
    story.fact(
        "ContentConsignmentFailure",
        "L6",
        part=part,
        source=TimeSource.OTHER_SIDE,
        code=event.code,
        stage=event.stage,
        kind=event.kind,
        sealed={"text": event.text} if event.text else {},
    )
    match event.kind:
        case RefusalKind.ADDRESSEE | RefusalKind.CONTENT:
            if event.kind is RefusalKind.CONTENT:
                story.alarm(AlarmKind.CONTENT_REFUSED, placement.channel, event.code)
            story.settle(part)
            story.close(part)  # The refusal may come in by itself, with the next question planned.
            story.put(replace(placement, state=P.REFUSED, attempts=placement.attempts + 1, code=event.code))
            _next_route(story, LetterReason.BOX_REFUSED)
        case RefusalKind.CONFIGURATION:
            # Ours to repair: the lane stops, and nobody gets a letter for it. The work waits for the lane to start.
            story.alarm(AlarmKind.LANE_STOPPED, placement.channel, event.code, stop=True)
            again_at = story.now + pick(story.policy.placement_retries, 1)
            if placement.state is P.UNKNOWN:
                if not _find_out(story, story.put(replace(placement, code=event.code)), again_at):
                    story.attend(part, AttentionReason.OUTCOME_UNKNOWN)
                return
            state = P.PLANNED if placement.state is P.PENDING else placement.state
            waiting = story.put(
                replace(placement, state=state, receipt=None, polls=0, code=event.code, first_tried_at=None)
            )
            plan_placement(story, waiting, again_at)
        case RefusalKind.DEFECT | RefusalKind.UNRECOGNISED:
            defect = event.kind is RefusalKind.DEFECT
            if defect:
                story.alarm(AlarmKind.LANE_STOPPED, placement.channel, event.code, stop=True)
            story.put(replace(placement, state=P.HELD, attempts=placement.attempts + 1, code=event.code))
            story.close(part)
            story.attend(part, AttentionReason.DEFECT if defect else AttentionReason.UNRECOGNISED)
        case _:
            assert_never(event.kind)


def _unavailable(story: Story, placement: Placement, event: ev.PlacementUnavailable) -> None:
    """L6: send again, with the same message id, until patience ends; then the next route."""
    part, code = placement_part(placement.channel), event.code
    attempts = placement.attempts + 1
    first = placement.first_tried_at or story.now
    again = replace(placement, attempts=attempts, first_tried_at=first, code=code)
    if again.state is P.PENDING:  # A definite result: not placed. The next call is a new one.
        again = replace(again, state=P.PLANNED, receipt=None, call=None, called_at=None, polls=0)
        again = replace(again, first_tried_at=story.now)
        story.settle(part)
    if story.now - first >= story.policy.placement_patience:
        story.fact(
            "ContentConsignmentFailure", "L6", part=part, code=code, stage=event.stage, kind="unavailable", final=True
        )
        story.close(part)
        story.put(replace(again, state=P.REFUSED))
        _next_route(story, LetterReason.BOX_REFUSED)
        return
    wait = spread(pick(story.policy.placement_retries, attempts), story.brief.message_id, attempts)
    if event.retry_after is not None:
        wait = max(wait, timedelta(seconds=min(event.retry_after, 86_400.0)))
    story.fact(
        "ContentConsignmentFailure", "L6", part=part, code=code, stage=event.stage, kind="unavailable", attempt=attempts
    )
    plan_placement(story, story.put(again), story.now + wait)


def _unknown(story: Story, placement: Placement, event: ev.PlacementUnknown) -> None:
    """Say what is unknown: ask the other side by our own id before anything is sent again."""
    part = placement_part(placement.channel)
    attempts = placement.attempts + 1
    first = placement.first_tried_at or story.now
    if placement.state is P.PENDING:
        # The question failed, not the placement: ask again.
        story.put(replace(placement, polls=placement.polls + 1))
        wait = spread(pick(story.policy.placement_retries, attempts), story.brief.message_id, attempts)
        _ask_result(story, placement.channel, story.now + wait, first)
        return
    if placement.state is not P.UNKNOWN:
        story.fact("outcome.unknown", "L6", part=part, code=event.code, call=event.call)
    unknown = story.put(
        replace(
            placement,
            state=P.UNKNOWN,
            attempts=attempts,
            first_tried_at=first,
            code=event.code,
            call=event.call or placement.call,
            called_at=placement.called_at or event.called_at or story.now,
        )
    )
    if not _find_out(story, unknown, story.now + pick(story.policy.placement_retries, attempts)):
        # A mail that may have left cannot be asked after. A person decides; it is never sent twice on a guess.
        story.close(part)
        story.attend(part, AttentionReason.OUTCOME_UNKNOWN)
    elif story.now - first >= story.policy.placement_patience:
        story.attend(part, AttentionReason.OUTCOME_UNKNOWN)


def _find_out(story: Story, placement: Placement, due_at: datetime) -> bool:
    """Plan how an unknown outcome is found out, if it can be: the same call again where it is recognised, or a search.

    All messages of one call come back at the same moment, to be repeated as that same call: `due_at` is not spread.
    """
    channel = story.policy.channels.get(placement.channel)
    if channel is None or not (channel.repeat_is_recognised or channel.can_lookup):
        return False
    story.step(
        placement_part(placement.channel),
        Action.PLACE if channel.repeat_is_recognised else Action.LOOKUP,
        placement.channel,
        due_at,
        deadline_at=story.brief.starts_at + story.policy.notice_within,
        call=placement.call,
    )
    return True


def _carrier_bounced(story: Story, placement: Placement, bounce: ev.Bounce) -> None:
    """L6, L8: the message itself came back. A later permanent bounce wins over an earlier success."""
    part = placement_part(placement.channel)
    if bounce.verdict is Verdict.SENDER:
        story.alarm(AlarmKind.SENDER_SIDE, placement.channel, bounce.rule)
    again = ev.PlacementUnknown(placement.channel, bounce.reason, placement.call)
    if bounce.verdict is Verdict.NOT_A_BOUNCE:
        story.bounced(part, bounce, moved=False)
        if placement.state is P.PLANNED and not bounce.reported:
            # An answer while sending that is no refusal is no success either.
            plan_placement(story, placement, story.now + story.policy.relay_retry)
        elif placement.state is P.UNKNOWN and not bounce.reported:
            _unknown(story, placement, again)
        return
    if placement.state is not P.PLACED and bounce.reported and bounce.verdict is not Verdict.HARD:
        story.bounced(part, bounce, moved=False)  # It is to be sent again anyway, or a person decides about it.
        return
    story.bounced(part, bounce, moved=True)
    if placement.state is P.UNKNOWN and bounce.verdict is not Verdict.HARD:
        _unknown(story, placement, again)  # This call placed nothing; the earlier one still may have.
        return
    attempts = placement.attempts + (placement.state is P.PLANNED)
    first = placement.first_tried_at or placement.placed_at or story.now
    if placement.state is P.PLACED:
        story.failed(part, bounce.reason)
    out_of_patience = story.now - first >= story.policy.placement_patience
    if bounce.verdict is Verdict.HARD or out_of_patience:
        story.fact("RelayToNonERDSFailure", "L6", part=part, reason=bounce.reason, rule=bounce.rule, final=True)
        ended = P.RETURNED if placement.state is P.PLACED or bounce.reported else P.REFUSED
        story.settle(part)
        story.close(part)  # A report can come in while a repeat is planned.
        story.put(replace(placement, state=ended, attempts=attempts, first_tried_at=first, code=bounce.reason))
        _next_route(story, LetterReason.MAIL_RETURNED)
        return
    planned = replace(placement, state=P.PLANNED, attempts=attempts, first_tried_at=first, code=bounce.reason)
    wait = spread(pick(story.policy.placement_retries, attempts), story.brief.message_id, attempts)
    plan_placement(story, story.put(planned), story.now + wait)


def _next_route(story: Story, reason: LetterReason) -> None:
    """L6: after a permanent failure the next channel; after the last one a letter with the message itself."""
    placements = story.delivery.placements
    if any(placement.state is P.PLACED for placement in placements):
        arrange_notices(story)  # L5: the duty to tell may move to the other box.
        return
    if any(placement.state in OPEN_PLACEMENTS for placement in placements):
        return
    standby = next((placement for placement in placements if placement.state is P.STANDBY), None)
    if standby is not None:
        story.fact("channel.decision", "L6", part=placement_part(standby.channel), chosen=standby.channel)
        plan_placement(story, story.put(replace(standby, state=P.PLANNED)), story.now)
        return
    if not any(letter.kind is LetterKind.MESSAGE for letter in story.delivery.letters):
        order_letter(story, LetterKind.MESSAGE, reason, about=None)


def on_placement_worker_lost(story: Story, placement: Placement, lost: ev.LeaseExpired) -> None:
    """Find out what a worker did that died with this placement in hand: it may have been placed."""
    match placement.state:
        case P.CHECKING:
            plan_placement(story, placement, story.now)
        case P.PLANNED | P.UNKNOWN | P.PENDING:
            unknown = ev.PlacementUnknown(placement.channel, "worker_lost", lost.call, lost.called_at)
            _unknown(story, placement, unknown)
        case P.STANDBY | P.HELD | P.PLACED | P.RETURNED | P.REFUSED | P.CANCELLED:
            story.recorded("LeaseExpired", channel=placement.channel, state=placement.state)
        case _:
            assert_never(placement.state)
