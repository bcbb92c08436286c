"""Notices (L3, L5, L7): who is told, within 48 hours, and what follows when that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.decision import Action, AlarmKind, Story, iso
from bode.domain.letters import order_letter, withhold_letter
from bode.domain.parts import (
    OPEN_PLACEMENTS,
    AttentionReason,
    LetterKind,
    LetterReason,
    Notice,
    NoticeState,
    Placement,
    notice_part,
)
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.policy import ChannelKind, LetterWithoutAddress, NoticeBy, pick, spread


def arrange_notices(story: Story) -> None:
    """L5: with several boxes one notice, about MijnOverheid, suffices; if that fails, the other box has its own."""
    primary = story.policy.primary_channels()
    placements = story.delivery.placements
    primary_placed = any(item.channel in primary and item.state is P.PLACED for item in placements)
    primary_open = any(item.channel in primary and item.state in OPEN_PLACEMENTS for item in placements)
    for placement in placements:
        channel = story.policy.channels.get(placement.channel)
        if placement.state is not P.PLACED or placement.placed_at is None:
            continue
        if channel is not None and channel.kind is not ChannelKind.BOX:
            continue
        notice = placement.notice
        if notice is not None and notice.state not in (N.WAITING, N.DUE):
            continue
        deadline_at = placement.placed_at + story.policy.notice_within
        part = notice_part(placement.channel)
        if placement.channel not in primary and primary_placed:
            story.put(replace(placement, notice=Notice(N.COVERED, deadline_at)))
            story.fact("channel.decision", "L5", part=part, decision="covered", by=sorted(primary))
            story.close(part)
        elif notice is not None and notice.state is N.DUE:
            continue
        elif placement.channel not in primary and primary_open and notice is None:
            story.put(replace(placement, notice=Notice(N.WAITING, deadline_at)))
            story.fact("channel.decision", "L5", part=part, decision="waits", deadline=iso(deadline_at))
            wake_at = min(placement.placed_at + story.policy.primary_wait, deadline_at)
            story.step(part, Action.WATCH, story.policy.notice_lane, None, deadline_at=deadline_at, wake_at=wake_at)
        elif not primary_open or placement.channel in primary:
            _open_notice(story, placement, deadline_at)


def bring_forward(story: Story, channel: str) -> None:
    """L3: the message was accessible before it was known to be: the 48 hours of its notice began then."""
    placement = story.delivery.placement(channel)
    if placement is None or placement.notice is None or placement.placed_at is None:
        return
    part, deadline_at = notice_part(channel), placement.placed_at + story.policy.notice_within
    notice = replace(placement.notice, deadline_at=deadline_at)
    story.put(replace(placement, notice=notice))
    match notice.state:
        case N.DUE:
            story.rewake.append((part, _next_strike(story, placement.placed_at, deadline_at)))
        case N.WAITING:
            story.rewake.append((part, min(placement.placed_at + story.policy.primary_wait, deadline_at)))
        case N.HELD:
            story.rewake.append((part, deadline_at))
        case N.SENT if notice.sent_at is not None and notice.sent_at > deadline_at:
            _deadline_missed(story, placement, notice)
        case N.SENT | N.COVERED | N.BY_BOX | N.WAIVED | N.IMPOSSIBLE | N.UNDELIVERABLE | N.EXPIRED:
            pass
        case _:
            assert_never(notice.state)


def _open_notice(story: Story, placement: Placement, deadline_at: datetime) -> None:
    """L3: tell the addressee within 48 hours of accessibility, unless opted out."""
    brief, part = story.brief, notice_part(placement.channel)
    channel = story.policy.channels.get(placement.channel)
    if brief.opted_out_at is not None:
        story.put(replace(placement, notice=Notice(N.WAIVED, deadline_at)))
        story.fact("notice.waived", "L3", part=part, opted_out_at=iso(brief.opted_out_at))
        story.close(part)
    elif channel is not None and channel.notice is NoticeBy.BOX:
        story.put(replace(placement, notice=Notice(N.BY_BOX, deadline_at)))
        story.fact("notice.by_box", "L3", part=part, proven=False, deadline=iso(deadline_at))
        story.close(part)
    elif brief.has_email and brief.email_failing_since is not None:
        # Sending to an address that is known to fail would waste the 48 hours: the other route at once (L7).
        since, why = iso(brief.email_failing_since), brief.email_failing_reason
        story.put(replace(placement, notice=Notice(N.UNDELIVERABLE, deadline_at, last_reason=why)))
        story.fact("notice.impossible", "L7", "L11", part=part, reason="address_failing", since=since, bounced=why)
        story.close(part)
        order_letter(story, LetterKind.NOTICE, LetterReason.ADDRESS_FAILING, about=placement.channel)
    elif not brief.has_email:
        # Known at once, not after 48 hours.
        story.put(replace(placement, notice=Notice(N.IMPOSSIBLE, deadline_at)))
        story.fact("notice.impossible", "L3", "L11", part=part, reason="no_email")
        story.close(part)
        wanted = story.policy.letter_without_address
        if wanted is LetterWithoutAddress.ALWAYS or (wanted is LetterWithoutAddress.WITH_TERM and brief.term):
            order_letter(story, LetterKind.NOTICE, LetterReason.NO_EMAIL, about=placement.channel)
    else:
        story.put(replace(placement, notice=Notice(N.DUE, deadline_at)))
        story.fact("notice.due", "L3", part=part, deadline=iso(deadline_at))
        _plan_notice(story, placement.channel, max(story.now, placement.placed_at or story.now))


def _plan_notice(story: Story, channel: str, due_at: datetime | None) -> None:
    """Plan the next attempt, and the moment to look at the clock: an alarm or the deadline (L3)."""
    placement = story.delivery.placement(channel)
    if placement is None or placement.notice is None or placement.placed_at is None:
        return
    story.step(
        notice_part(channel),
        Action.NOTIFY,
        story.policy.notice_lane,
        due_at,
        deadline_at=placement.notice.until,
        wake_at=_next_strike(story, placement.placed_at, placement.notice.until),
    )


def _next_strike(story: Story, placed_at: datetime, deadline_at: datetime) -> datetime:
    """Give the next alarm moment, or the deadline; a deadline in the past strikes at once."""
    alarms = (placed_at + wait for wait in story.policy.notice_alarms)
    return min((alarm for alarm in alarms if story.now < alarm < deadline_at), default=deadline_at)


_NoticeEvent = ev.NoticeSent | ev.NoticeBounced | ev.NoticeUnavailable | ev.NoticeUnknown


def on_notice(story: Story, event: _NoticeEvent) -> None:
    placement = story.delivery.placement(event.channel)
    if placement is None or placement.notice is None:
        story.recorded(type(event).__name__, channel=event.channel)
        return
    notice, part = placement.notice, notice_part(placement.channel)
    match notice.state, event:
        case N.DUE, ev.NoticeSent():
            _notice_sent(story, placement, notice, event)
        case _, ev.NoticeSent():
            # It left while the state had moved on (a bounce, the deadline): a fact, and no more.
            _notice_sent_fact(story, placement.channel, event, notice.attempts + 1, late=True)
        case ((N.DUE | N.SENT), ev.NoticeBounced()):
            _notice_bounced(story, placement, notice, event)
        case _, ev.NoticeBounced():
            # After a permanent bounce nothing undoes it; after the deadline the letter is under way already.
            story.bounced(part, event.bounce, moved=False)
        case N.DUE, ev.NoticeUnavailable():
            story.fact("ConsignmentNotificationFailure", "L3", part=part, code=event.code, kind="relay")
            if event.configuration:
                story.alarm(AlarmKind.LANE_STOPPED, story.policy.notice_lane, event.code, stop=True)
            story.put(replace(placement, notice=replace(notice, attempts=notice.attempts + 1)))
            _plan_notice(story, placement.channel, story.now + story.policy.relay_retry)
        case N.DUE, ev.NoticeUnknown():
            # It may have arrived. A notice twice is harmless, and evidence says so; at once would be careless.
            story.fact("outcome.unknown", "L3", part=part, code=event.code)
            story.put(replace(placement, notice=replace(notice, attempts=notice.attempts + 1)))
            _plan_notice(story, placement.channel, _again_at(story, notice, story.policy.notice_unknown_wait))
        case _, ev.NoticeUnavailable() | ev.NoticeUnknown():
            story.recorded(type(event).__name__, channel=placement.channel, state=notice.state)
        case _:
            assert_never(event)


def _notice_sent(story: Story, placement: Placement, notice: Notice, event: ev.NoticeSent) -> None:
    attempts, sent_at = notice.attempts + 1, notice.sent_at or event.at
    if sent_at > notice.until:
        _deadline_missed(story, placement, notice)  # It left before the clock struck, and still too late.
    story.put(replace(placement, notice=replace(notice, state=N.SENT, attempts=attempts, sent_at=sent_at)))
    _notice_sent_fact(story, placement.channel, event, attempts)


def _notice_sent_fact(story: Story, channel: str, event: ev.NoticeSent, attempt: int, *, late: bool = False) -> None:
    story.fact(
        "ConsignmentNotification",
        "L3",
        "L4",
        part=notice_part(channel),
        at=event.at,
        attempt=attempt,
        receipt=event.receipt,
        text_sha256=event.text_sha256,
        template=event.template,
        relay=event.relay,
        moved=not late,
    )


def _notice_bounced(story: Story, placement: Placement, notice: Notice, event: ev.NoticeBounced) -> None:
    """L7: a soft bounce is tried again over what is left of the 48 hours; a hard one calls for a letter."""
    part, bounce = notice_part(placement.channel), event.bounce
    match bounce.verdict:
        case Verdict.NOT_A_BOUNCE:
            # An out-of-office reply or "still trying" is technically an answer, but says nothing about delivery.
            story.bounced(part, bounce, moved=False)
            if not bounce.reported and notice.state is N.DUE:
                _plan_notice(story, placement.channel, story.now + story.policy.relay_retry)
            return
        case Verdict.HARD if event.held:
            story.bounced(part, bounce, moved=True)
            _hold(story, placement, notice, bounce.reason)
            return
        case Verdict.HARD:
            story.bounced(part, bounce, moved=True)
            _notice_failed(story, placement, notice, N.UNDELIVERABLE, bounce.reason)
            order_letter(story, LetterKind.NOTICE, LetterReason.NOTICE_BOUNCED, about=placement.channel)
            return
        case Verdict.SOFT | Verdict.SENDER | Verdict.UNDETERMINED:
            pass
        case _:
            assert_never(bounce.verdict)
    if bounce.verdict is Verdict.SENDER:
        # A block of our mail says nothing about the addressee: no letters by the thousand; operators are told.
        story.alarm(AlarmKind.SENDER_SIDE, story.policy.notice_lane, bounce.rule)
    if notice.state is N.DUE and bounce.reported:
        story.bounced(part, bounce, moved=False)  # It is to be sent again anyway.
        return
    story.bounced(part, bounce, moved=True)
    if story.now >= notice.until:
        # It left in time, and came back softly when the 48 hours were over: there is no time left to repeat.
        _notice_failed(story, placement, notice, N.EXPIRED, bounce.reason)
        order_letter(story, LetterKind.NOTICE, LetterReason.NOTICE_NOT_IN_TIME, about=placement.channel)
        return
    # An answer while sending ends an attempt; a report that came back later is about an attempt already counted.
    attempts = notice.attempts + (not bounce.reported)
    again = replace(notice, state=N.DUE, attempts=attempts, last_reason=bounce.reason)
    story.put(replace(placement, notice=again))
    wait = spread(pick(story.policy.notice_retries, attempts), story.brief.message_id, attempts)
    _plan_notice(story, placement.channel, _again_at(story, again, wait))


def _again_at(story: Story, notice: Notice, wait: timedelta) -> datetime | None:
    """Give the next moment to try: after the wait, but the last attempt is kept for just before the deadline."""
    last = notice.until - story.policy.notice_last_attempt
    if story.now + wait <= last:
        return story.now + wait
    return last if story.now < last else None


def _notice_failed(story: Story, placement: Placement, notice: Notice, state: NoticeState, reason: str | None) -> None:
    part = notice_part(placement.channel)
    story.put(replace(placement, notice=replace(notice, state=state, last_reason=reason)))
    story.fact("ConsignmentNotificationFailure", "L7", part=part, reason=reason, final=True)
    story.close(part)


def on_notice_clock(story: Story, placement: Placement, notice: Notice) -> None:
    """L3: an alarm precedes a breach; a breach is a fact, and the letter follows (L7)."""
    part, lane = notice_part(placement.channel), story.policy.notice_lane
    match notice.state:
        case N.WAITING:
            # L5: MijnOverheid's outcome took too long; this box's own clock runs, so this notice goes. Whether one is
            # needed at all is decided now; when the 48 hours are over already, the clock strikes for it again at once.
            waited = story.put(replace(placement, notice=None))
            _open_notice(story, waited, notice.deadline_at)
        case N.DUE if story.now >= notice.until:
            if notice.sent_at is None and not notice.is_late:
                _deadline_missed(story, placement, notice)
            _notice_failed(story, placement, notice, N.EXPIRED, notice.last_reason)
            order_letter(story, LetterKind.NOTICE, LetterReason.NOTICE_NOT_IN_TIME, about=placement.channel)
        case N.HELD if story.now < notice.until:
            _watch_end(story, placement, notice)
        case N.HELD if notice.sent_at is None and not notice.is_late:
            # The end of the 48 hours is a fact; what follows is still the person's to decide.
            _deadline_missed(story, placement, notice)
        case N.HELD:
            pass  # It left in time and came back: the end of the 48 hours is no news.
        case N.DUE:
            story.alarm(AlarmKind.NOTICE_LATE, lane, notice.last_reason or "not_sent")
            if placement.placed_at is not None:
                story.rewake.append((part, _next_strike(story, placement.placed_at, notice.until)))
        case _:
            story.recorded("ClockStruck", part=part, state=notice.state)


def _deadline_missed(story: Story, placement: Placement, notice: Notice) -> None:
    """L3, L11: the 48 hours ended before any notice left."""
    part = notice_part(placement.channel)
    story.alarm(AlarmKind.NOTICE_MISSED, story.policy.notice_lane, notice.last_reason or "not_sent")
    story.fact("deadline.missed", "L3", "L11", part=part, at=notice.deadline_at, attempts=notice.attempts)


def on_notice_worker_lost(story: Story, placement: Placement, notice: Notice, code: str) -> None:
    """Send again what a worker may have sent before it died: a notice twice is harmless, and evidence says so."""
    part = notice_part(placement.channel)
    if notice.state is not N.DUE:
        story.recorded("LeaseExpired", part=part, state=notice.state)
        return
    story.fact("outcome.unknown", "L3", part=part, code=code)
    story.put(replace(placement, notice=replace(notice, attempts=notice.attempts + 1)))
    _plan_notice(story, placement.channel, story.now)


# ---- a person has it sent again -----------------------------------------------------------------------------------

_CAN_GO_AGAIN = frozenset({N.DUE, N.SENT, N.UNDELIVERABLE, N.EXPIRED, N.IMPOSSIBLE})
"""Not: what another box's notice covers (L5), what the box does itself, what was waived (L3), what a burst holds."""


def on_notice_again(story: Story, event: ev.NoticeResent) -> None:
    """L6, L7: send the notice again. This never moves the legal time of sending (L8): the message was sent before.

    After the 48 hours it is tried for as long again; their end stays what it was.
    """
    placement = story.delivery.placement(event.channel)
    notice = placement.notice if placement is not None and placement.state is P.PLACED else None
    has_address = event.new_address or (
        story.brief.has_email and notice is not None and notice.state is not N.IMPOSSIBLE
    )
    if placement is None or notice is None or notice.state not in _CAN_GO_AGAIN or not has_address:
        story.recorded("NoticeResent", channel=event.channel)
        return
    part = notice_part(event.channel)
    told = {"address": "new"} if event.new_address else {}
    story.staff("L7", "L11", part=part, act="notice_again", by=event.by, reason=event.reason, **told)
    if event.new_address:
        brief = replace(story.brief, has_email=True, email_given_by="medewerker", email_given_at=story.now)
        brief = replace(brief, email_failing_since=None, email_failing_reason=None)
        story.delivery = replace(story.delivery, brief=brief)
    until = story.now + story.policy.notice_within if story.now >= notice.deadline_at else None
    again = replace(notice, state=N.DUE, again_at=story.now, again_until=until)
    story.put(replace(placement, notice=again))
    story.settle(part)
    story.fact("notice.due", "L7", part=part, deadline=iso(again.until), again=True)
    _plan_notice(story, event.channel, story.now)


# ---- bursts -------------------------------------------------------------------------------------------------------


def _hold(story: Story, placement: Placement, notice: Notice, reason: str | None) -> None:
    """Wait for a person: many hard bounces at once are a sign that something else is wrong than the addressees."""
    part = notice_part(placement.channel)
    story.put(replace(placement, notice=replace(notice, state=N.HELD, last_reason=reason)))
    story.fact("notice.held", "L7", part=part, reason=reason)
    story.attend(part, AttentionReason.BURST)
    _watch_end(story, placement, notice)


def _watch_end(story: Story, placement: Placement, notice: Notice) -> None:
    """Let the 48 hours go on for a notice that is held, and their end be recorded."""
    part, end = notice_part(placement.channel), notice.until
    story.step(part, Action.WATCH, story.policy.notice_lane, None, deadline_at=end, wake_at=end)


def on_burst(story: Story, event: ev.BurstSuspected | ev.BurstDecided) -> None:
    """Hold what can still be held, or carry out what a person decided."""
    placement = story.delivery.placement(event.channel)
    if placement is None or placement.notice is None:
        story.recorded(type(event).__name__, channel=event.channel)
        return
    notice = placement.notice
    match notice.state, event:
        case (N.UNDELIVERABLE, ev.BurstSuspected()) if withhold_letter(story, event.channel):
            _hold(story, placement, notice, notice.last_reason)
        case (N.HELD, ev.BurstDecided()):
            _decided(story, placement, notice, event)
        case _:
            story.recorded(type(event).__name__, channel=event.channel, state=notice.state)


def _decided(story: Story, placement: Placement, notice: Notice, event: ev.BurstDecided) -> None:
    part = notice_part(placement.channel)
    act = "burst_confirmed" if event.real else "burst_rejected"
    story.staff("L7", "L9", part=part, act=act, by=event.by, reason=event.reason)
    story.settle(part)
    if not event.real and story.now < notice.until:
        story.put(replace(placement, notice=replace(notice, state=N.DUE)))
        _plan_notice(story, placement.channel, story.now)
        return
    # Real, or too late to send again: the addressee is told by letter (L7).
    _notice_failed(story, placement, notice, N.UNDELIVERABLE if event.real else N.EXPIRED, notice.last_reason)
    reason = LetterReason.NOTICE_BOUNCED if event.real else LetterReason.NOTICE_NOT_IN_TIME
    order_letter(story, LetterKind.NOTICE, reason, about=placement.channel)
