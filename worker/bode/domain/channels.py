"""Which channels (L1, L2): those the addressee expressly agreed to, fit for the message; paper where none is left."""

from __future__ import annotations

from bode.domain.decision import Story
from bode.domain.letters import order_letter
from bode.domain.message import Consent, ConsentBasis
from bode.domain.parts import Brief, LetterKind, LetterReason, Placement
from bode.domain.parts import PlacementState as P
from bode.domain.placements import plan_placement
from bode.domain.policy import Channel, ChannelKind


def choose_channels(story: Story, *, declined: frozenset[str] = frozenset()) -> None:
    """Choose the channels and plan the first steps; `declined` are those the profile service gave no consent for."""
    brief, policy = story.brief, story.policy
    consents = {consent.channel: consent for consent in brief.channels}
    considered: list[dict[str, str]] = []
    usable: list[Channel] = []
    for channel in policy.channels.values():
        why_not = "no_consent" if channel.name in declined else _why_not(brief, channel, consents.get(channel.name))
        considered.append({"channel": channel.name, "decision": why_not or "used"})
        if why_not is None:
            usable.append(channel)
    boxes = [channel for channel in usable if channel.kind is ChannelKind.BOX]
    carriers = [channel for channel in usable if channel.kind is ChannelKind.EMAIL]
    story.fact("channel.decision", "L1", "L2", considered=considered, paper=not usable)
    for channel in boxes:
        story.put(Placement(channel.name, P.PLANNED))
    for index, channel in enumerate(carriers):
        story.put(Placement(channel.name, P.PLANNED if not boxes and index == 0 else P.STANDBY))
    for placement in story.delivery.placements:
        if placement.state is not P.STANDBY:
            plan_placement(story, placement, max(brief.starts_at, story.now))
    if not usable:
        # L1: nothing electronic left means paper, at once.
        order_letter(story, LetterKind.MESSAGE, LetterReason.NO_CHANNEL, about=None)


def _why_not(brief: Brief, channel: Channel, consent: Consent | None) -> str | None:
    """Say why a channel is not used, or nothing."""
    if consent is None:
        return "not_declared"  # L1: only what the addressee expressly said.
    if consent.basis is ConsentBasis.TO_CHECK and not channel.can_check:
        return "cannot_check"  # L1: nobody can say that the addressee is reachable there.
    if brief.addressee_kind not in channel.addressees:
        return "addressee_kind"
    if brief.confidentiality.rank > channel.ceiling.rank:
        return "too_confidential"  # L2
    if channel.kind is ChannelKind.EMAIL and not brief.has_email:
        return "no_email"
    if channel.kind is ChannelKind.EMAIL and brief.email_failing_since is not None:
        return "address_failing"
    return None
