"""The profile service (L1): what the addressee said there, asked before a channel is chosen.

A service that is away, or says something nobody knows, is never a no: the message waits, and a person looks in the end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from bode.domain import events as ev
from bode.domain.channels import choose_channels
from bode.domain.decision import Action, AlarmKind, Story, iso
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.message import ConsentBasis
from bode.domain.parts import PROFILE_PART, AttentionReason, Profile
from bode.domain.parts import ProfileState as S
from bode.domain.policy import pick, spread
from bode.domain.terms import legal_day

ORIGIN = "profielservice"
"""What evidence calls the source of what was found there."""


def ask_profile(story: Story) -> None:
    """Plan the question, for when the message may first be handed over: until then the addressee can change it."""
    _plan(story, Profile(S.ASKING), story.brief.starts_at)


def _plan(story: Story, profile: Profile, due_at: datetime) -> None:
    story.delivery = replace(story.delivery, profile=profile)
    deadline_at = story.brief.starts_at + story.policy.notice_within
    story.step(PROFILE_PART, Action.PROFILE, story.policy.profile_lane, due_at, deadline_at=deadline_at)


def on_profile(story: Story, event: ev.ProfileAnswered | ev.ProfileUnavailable | ev.ProfileRefused) -> None:
    """Decide what the service's answer, or its absence, leads to."""
    profile = story.delivery.profile
    if profile is None or profile.state is not S.ASKING:
        story.recorded(type(event).__name__, state=profile.state if profile is not None else None)
        return
    match event:
        case ev.ProfileAnswered():
            _answered(story, profile, event)
        case ev.ProfileUnavailable():
            _unavailable(story, profile, event)
        case ev.ProfileRefused():
            _refused(story, profile, event)
        case _:
            assert_never(event)


def _answered(story: Story, profile: Profile, event: ev.ProfileAnswered) -> None:
    """L1: use only what the addressee agreed to there; L3, L11: the address, who gave it and when."""
    brief = story.brief
    asked = [consent.channel for consent in brief.channels if consent.basis is ConsentBasis.PROFILE]
    since = legal_day(event.receives_since) if event.receives_since is not None else None
    channels = tuple(
        replace(consent, since=since) if consent.basis is ConsentBasis.PROFILE else consent
        for consent in brief.channels
        if consent.basis is not ConsentBasis.PROFILE or event.receives is True
    )
    email = event.email if brief.email_from_profile else None
    story.fact(
        "preference.snapshot",
        "L1",
        "L3",
        "L11",
        part=PROFILE_PART,
        at=event.asked_at,
        source=TimeSource.OTHER_SIDE,
        origin=ORIGIN,
        known=event.known,
        code=event.code or None,
        asked=asked,
        receives=event.receives,
        receives_since=iso(event.receives_since),
        consent=event.consent,
        email_asked=brief.email_from_profile,
        email_known=email is not None,
        email_given_at=iso(event.email_since) if email is not None else None,
        sealed={"email": email} if email is not None else {},
    )
    if brief.email_from_profile:
        brief = replace(
            brief,
            has_email=email is not None,
            email_given_by=ORIGIN if email is not None else None,
            email_given_at=event.email_since if email is not None else None,
            email_failing_since=event.email_failing_since if email is not None else None,
            email_failing_reason=event.email_failing_reason if email is not None else None,
        )
    story.settle(PROFILE_PART)
    story.close(PROFILE_PART)
    done = replace(profile, state=S.ANSWERED, attempts=profile.attempts + 1, code=event.code or None)
    story.delivery = replace(story.delivery, brief=replace(brief, channels=channels), profile=done)
    choose_channels(story, declined=frozenset() if event.receives is True else frozenset(asked))


def _unavailable(story: Story, profile: Profile, event: ev.ProfileUnavailable) -> None:
    attempts, first = profile.attempts + 1, profile.first_tried_at or story.now
    wait = spread(pick(story.policy.placement_retries, attempts), story.brief.message_id, attempts)
    if event.retry_after is not None:
        wait = max(wait, timedelta(seconds=min(event.retry_after, 86_400.0)))
    story.fact("profile.unavailable", "L1", part=PROFILE_PART, code=event.code, attempt=attempts)
    again = replace(profile, attempts=attempts, first_tried_at=first, code=event.code)
    _plan(story, again, story.now + wait)
    if story.now - first >= story.policy.placement_patience:
        story.attend(PROFILE_PART, AttentionReason.PROFILE_UNANSWERED)


def _refused(story: Story, profile: Profile, event: ev.ProfileRefused) -> None:
    lane = story.policy.profile_lane
    story.fact("profile.refused", "L1", part=PROFILE_PART, code=event.code, kind=event.kind)
    match event.kind:
        case RefusalKind.CONFIGURATION:
            # Ours to repair: the lane stops, and nobody gets a letter for it. The work waits for the lane to start.
            story.alarm(AlarmKind.LANE_STOPPED, lane, event.code, stop=True)
            again = replace(profile, code=event.code, first_tried_at=None)
            _plan(story, again, story.now + pick(story.policy.placement_retries, 1))
        case RefusalKind.DEFECT | RefusalKind.UNRECOGNISED | RefusalKind.ADDRESSEE | RefusalKind.CONTENT:
            defect = event.kind is RefusalKind.DEFECT
            if defect:
                story.alarm(AlarmKind.LANE_STOPPED, lane, event.code, stop=True)
            held = replace(profile, state=S.HELD, attempts=profile.attempts + 1, code=event.code)
            story.delivery = replace(story.delivery, profile=held)
            story.close(PROFILE_PART)
            reason = AttentionReason.PROFILE_DEFECT if defect else AttentionReason.PROFILE_UNRECOGNISED
            story.attend(PROFILE_PART, reason)
        case _:
            assert_never(event.kind)


def on_profile_worker_lost(story: Story) -> None:
    """Ask again: a question changes nothing, however often it is put."""
    profile = story.delivery.profile
    if profile is None or profile.state is not S.ASKING:
        story.recorded("LeaseExpired", part=PROFILE_PART)
        return
    _plan(story, profile, story.now)


def retry_profile(story: Story) -> None:
    """Ask again what waits for a person, who repaired the cause."""
    profile = story.delivery.profile
    if profile is not None and (
        profile.state is S.HELD or (profile.state is S.ASKING and story.attended(PROFILE_PART))
    ):
        story.settle(PROFILE_PART)
        _plan(story, replace(profile, state=S.ASKING, first_tried_at=None), story.now)


def drop_profile(story: Story) -> None:
    """Ask no more: the message was called back, or goes by letter because a person says so."""
    profile = story.delivery.profile
    if profile is not None and profile.state in (S.ASKING, S.HELD):
        story.settle(PROFILE_PART)
        story.close(PROFILE_PART)
        story.delivery = replace(story.delivery, profile=replace(profile, state=S.DROPPED))
