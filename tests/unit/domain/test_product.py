"""The whole product State x Event: nothing that can happen is undefined, and nothing moves but as written here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.decision import Action, Decision, Step
from bode.domain.delivery import decide
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.message import Consent, ConsentBasis, Nature
from bode.domain.parts import (
    HELD_BECAUSE,
    Attention,
    AttentionReason,
    Brief,
    Delivery,
    DeliveryState,
    Letter,
    LetterKind,
    LetterReason,
    Notice,
    Placement,
    Profile,
    Sending,
)
from bode.domain.parts import LetterState as L
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.parts import ProfileState as S
from bode.domain.policy import Policy
from bode.domain.volume import VolumeRule

# ---- the machine, written out ---------------------------------------------------------------------------------------
# Staying in a state is always allowed. A row without moves is final.

PLACEMENT_MOVES: dict[P, set[P]] = {
    # The box says yes (planned), no (refused), or a word nobody knows (held); it can turn out to be there already.
    P.CHECKING: {P.PLANNED, P.REFUSED, P.HELD, P.PLACED, P.CANCELLED},
    # A carrier's turn comes when every box and carrier before it failed.
    # Checking first where a person orders it there and its consent asks for the box's own answer.
    P.STANDBY: {P.PLANNED, P.CHECKING, P.CANCELLED},
    # Checking again where a person has it tried again and the box's answer has grown old.
    # Returned: the report about an earlier mail comes in while that mail is to be sent again.
    P.PLANNED: {P.CHECKING, P.PENDING, P.UNKNOWN, P.HELD, P.PLACED, P.REFUSED, P.RETURNED, P.CANCELLED},
    # Its result came; or the box certainly does not have it, and it is placed anew.
    P.PENDING: {P.PLACED, P.REFUSED, P.HELD, P.PLANNED, P.CHECKING},
    # Never back to planned on a guess: only when the box says that it is absent, or a person decides.
    P.UNKNOWN: {P.PLACED, P.PENDING, P.REFUSED, P.HELD, P.PLANNED, P.CHECKING, P.RETURNED},
    # A person decides, or it turns out to be there.
    # Refused: a person dealt with it by hand.
    P.HELD: {P.PLANNED, P.CHECKING, P.PLACED, P.REFUSED},
    # A carrier's mail can come back: for now (planned again) or for good (returned). A box's message stays.
    P.PLACED: {P.PLANNED, P.RETURNED},
    P.RETURNED: set(),
    # A person orders it there after all.
    P.REFUSED: {P.PLANNED, P.CHECKING},
    P.CANCELLED: set(),
}

NOTICE_MOVES: dict[N | None, set[N]] = {
    # No notice yet: the message is not accessible.
    # Undeliverable at once: the address is known to fail.
    None: {N.WAITING, N.DUE, N.COVERED, N.BY_BOX, N.WAIVED, N.IMPOSSIBLE, N.UNDELIVERABLE},
    # The outcome at MijnOverheid came, or waiting took too long.
    N.WAITING: {N.DUE, N.COVERED, N.BY_BOX, N.WAIVED, N.IMPOSSIBLE, N.UNDELIVERABLE},
    N.DUE: {N.SENT, N.COVERED, N.UNDELIVERABLE, N.EXPIRED, N.HELD},
    # A bounce came in later: soft and in time (due again), hard, or soft and too late to repeat.
    N.SENT: {N.DUE, N.UNDELIVERABLE, N.EXPIRED, N.HELD},
    # A person decides on the burst: real, or to be sent again while there is time.
    N.HELD: {N.DUE, N.UNDELIVERABLE, N.EXPIRED},
    N.COVERED: set(),
    N.BY_BOX: set(),
    N.WAIVED: set(),
    # A person has it sent (again): the addressee told an address, or the mailbox is said to work now.
    N.IMPOSSIBLE: {N.DUE},
    # Many others bounced too, and its letter can still be held.
    N.UNDELIVERABLE: {N.HELD, N.DUE},
    N.EXPIRED: {N.DUE},
}

LETTER_MOVES: dict[L, set[L]] = {
    # Printed, posted, returned: the print service reports about a letter that we thought was not handed over.
    # Blocked: too many letters went that day.
    L.PLANNED: {L.SUBMITTED, L.UNKNOWN, L.PRINTED, L.POSTED, L.RETURNED, L.REFUSED, L.BLOCKED, L.CANCELLED},
    L.UNKNOWN: {L.SUBMITTED, L.PRINTED, L.POSTED, L.RETURNED, L.REFUSED, L.HANDLED},
    L.SUBMITTED: {L.PRINTED, L.POSTED, L.RETURNED, L.REFUSED, L.HANDLED},
    L.PRINTED: {L.POSTED, L.RETURNED, L.REFUSED, L.HANDLED},
    L.POSTED: {L.RETURNED},
    # Sent again means a new letter: a print service prints the same letter once, whatever became of it.
    L.RETURNED: set(),
    L.REFUSED: set(),
    L.BLOCKED: {L.PLANNED, L.CANCELLED},
    # Held back while a worker had it in hand: it went all the same.
    L.CANCELLED: {L.SUBMITTED, L.PRINTED, L.POSTED, L.RETURNED},
    # A person dealt with it, and then the print service reports after all.
    L.HANDLED: {L.SUBMITTED, L.PRINTED, L.POSTED, L.RETURNED, L.REFUSED},
}

PROFILE_MOVES: dict[S, set[S]] = {
    # Answered; held by a word nobody knows; dropped because it was called back, or a person ordered a letter.
    S.ASKING: {S.ANSWERED, S.HELD, S.DROPPED},
    S.HELD: {S.ASKING, S.DROPPED},
    S.ANSWERED: set(),
    S.DROPPED: set(),
}

# What must not happen by any other event than these, whatever the state around it. Two enums can use one word
# (a planned placement, a planned letter), and as strings these are equal: so a table for each kind of part.
MOVED_BY: dict[str, dict[tuple[str | None, str], set[type]]] = {
    "profile": {
        (S.ASKING, S.ANSWERED): {ev.ProfileAnswered},
        (S.ASKING, S.HELD): {ev.ProfileRefused},
        (S.ASKING, S.DROPPED): {ev.Cancelled, ev.LetterOrdered, ev.Handled},
        (S.HELD, S.ASKING): {ev.Retried},
    },
    "placement": {
        (P.UNKNOWN, P.PLANNED): {ev.PlacementAbsent, ev.Retried},
        (P.PENDING, P.PLANNED): {ev.PlacementAbsent, ev.PlacementUnavailable, ev.PlacementRefused, ev.Retried},
        (P.HELD, P.PLANNED): {ev.Retried},
        (P.HELD, P.PLACED): {ev.Placed, ev.Found},
        (P.HELD, P.REFUSED): {ev.Handled},
        (P.PENDING, P.PLACED): {ev.Placed, ev.Found},
        (P.UNKNOWN, P.PLACED): {ev.Placed, ev.Found},
        (P.PLANNED, P.PLACED): {ev.Placed},
        (P.REFUSED, P.PLANNED): {ev.PlacementOrdered},
        (P.REFUSED, P.CHECKING): {ev.PlacementOrdered},
        (P.STANDBY, P.CHECKING): {ev.PlacementOrdered},
        (P.PLACED, P.RETURNED): {ev.CarrierBounced},
        (P.PLACED, P.PLANNED): {ev.CarrierBounced},
    },
    "notice": {
        (N.DUE, N.SENT): {ev.NoticeSent},
        (N.SENT, N.DUE): {ev.NoticeBounced, ev.NoticeResent},
        (N.SENT, N.EXPIRED): {ev.NoticeBounced},
        (N.SENT, N.UNDELIVERABLE): {ev.NoticeBounced},
        (N.DUE, N.UNDELIVERABLE): {ev.NoticeBounced},
        (N.DUE, N.EXPIRED): {ev.ClockStruck, ev.NoticeBounced},
        (N.DUE, N.HELD): {ev.NoticeBounced},
        (N.SENT, N.HELD): {ev.NoticeBounced},
        (N.UNDELIVERABLE, N.HELD): {ev.BurstSuspected},
        (N.IMPOSSIBLE, N.DUE): {ev.NoticeResent},
        (N.UNDELIVERABLE, N.DUE): {ev.NoticeResent},
        (N.EXPIRED, N.DUE): {ev.NoticeResent},
        (N.HELD, N.DUE): {ev.BurstDecided},
        (N.HELD, N.UNDELIVERABLE): {ev.BurstDecided, ev.Handled},
        (N.HELD, N.EXPIRED): {ev.BurstDecided},
    },
    "letter": {
        (L.UNKNOWN, L.SUBMITTED): {ev.LetterSubmitted, ev.Found},
        (L.PLANNED, L.SUBMITTED): {ev.LetterSubmitted},
        (L.PRINTED, L.POSTED): {ev.LetterPosted},
        (L.BLOCKED, L.PLANNED): {ev.Retried, ev.Released},
        (L.PLANNED, L.BLOCKED): {ev.LetterHeld},
        (L.PLANNED, L.POSTED): {ev.LetterPosted},
        (L.PLANNED, L.CANCELLED): {ev.LetterStopped, ev.Handled, ev.Cancelled, ev.BurstSuspected},
        (L.BLOCKED, L.CANCELLED): {ev.LetterStopped, ev.Handled, ev.Cancelled, ev.BurstSuspected},
        (L.CANCELLED, L.SUBMITTED): {ev.LetterSubmitted},
        (L.UNKNOWN, L.HANDLED): {ev.Handled},
        (L.SUBMITTED, L.HANDLED): {ev.Handled},
        (L.PRINTED, L.HANDLED): {ev.Handled},
        (L.HANDLED, L.POSTED): {ev.LetterPosted},
    },
}

# ---- deliveries in every state --------------------------------------------------------------------------------------

PLACED_AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
DEADLINE = PLACED_AT + timedelta(hours=48)
BEFORE_THE_DEADLINE = PLACED_AT + timedelta(hours=20)
LATE = PLACED_AT + timedelta(hours=47)
AFTER_THE_DEADLINE = DEADLINE + timedelta(minutes=1)
DAYS_LATER = PLACED_AT + timedelta(days=9)

CALL = "5b0f6d0e-0000-4000-8000-000000000001"
PERSONAL = "jan.jansen@voorbeeld.nl"
"""Stands in every free text an outside system can give: it may be sealed, never open."""

PLACEMENT_SHAPES: list[tuple[P, N | None]] = [(state, None) for state in P] + [(P.PLACED, state) for state in N]
CHANNELS = ("mijnoverheid", "mijndomein", "kluis", "email")


def placement_in(channel: str, state: P, notice: N | None) -> Placement:
    was_tried = state not in (P.CHECKING, P.STANDBY, P.CANCELLED)
    is_sent = notice in (N.SENT, N.UNDELIVERABLE)
    return Placement(
        channel,
        state,
        attempts=1 if was_tried and state is not P.PLANNED else 0,
        first_tried_at=PLACED_AT if was_tried else None,
        receipt="batch-7" if state is P.PENDING else None,
        call=CALL if state is P.UNKNOWN else None,
        polls=1 if state is P.PENDING else 0,
        placed_at=PLACED_AT if state in (P.PLACED, P.RETURNED) else None,
        notice=Notice(notice, DEADLINE, attempts=1, sent_at=PLACED_AT if is_sent else None) if notice else None,
    )


def delivery_with(
    brief: Brief,
    *placements: Placement,
    letters: tuple[Letter, ...] = (),
    attended: bool = False,
    cancelled: bool = False,
) -> Delivery:
    sendings = [
        Sending(
            item.channel,
            f"placement/{item.channel}",
            PLACED_AT,
            TimeSource.OTHER_SIDE,
            failed="mailbox_full" if item.state is P.RETURNED else None,
        )
        for item in placements
        if item.placed_at is not None
    ]
    sendings += [
        Sending("print", f"letter/{index}", PLACED_AT, TimeSource.OTHER_SIDE)
        for index, letter in enumerate(letters)
        if letter.posted_at is not None and letter.kind is LetterKind.MESSAGE
    ]
    parts = [f"placement/{item.channel}" for item in placements] + [f"letter/{n}" for n in range(len(letters))]
    attention = [Attention(part, AttentionReason.OUTCOME_UNKNOWN, PLACED_AT) for part in parts] if attended else []
    # A notice that is held always waits for a person: that is what held means.
    attention += [
        Attention(f"notice/{item.channel}", AttentionReason.BURST, PLACED_AT)
        for item in placements
        if item.notice is not None and item.notice.state is N.HELD
    ]
    return Delivery(
        brief,
        placements,
        letters,
        tuple(sendings),
        tuple(attention),
        cancelled=cancelled,
    )


def letter_in(kind: LetterKind, state: L) -> Letter:
    return Letter(
        kind,
        LetterReason.NOTICE_BOUNCED if kind is LetterKind.NOTICE else LetterReason.BOX_REFUSED,
        state,
        PLACED_AT,
        about="mijnoverheid" if kind is LetterKind.NOTICE else None,
        attempts=0 if state in (L.PLANNED, L.BLOCKED, L.CANCELLED) else 1,
        call=CALL if state is L.UNKNOWN else None,
        posted_at=PLACED_AT if state is L.POSTED else None,
    )


# ---- everything that can happen -------------------------------------------------------------------------------------


def bounces() -> Iterator[ev.Bounce]:
    for verdict in Verdict:
        for reported in (False, True):
            yield ev.Bounce(
                verdict, "a-reason", "a-rule", 550, "5.1.1", f"<{PERSONAL}> is unknown", "mx.voorbeeld.nl", reported
            )


def events_about_placement(channel: str, now: datetime) -> Iterator[ev.Event]:
    for reachable in (True, False, None):
        yield ev.ReachabilityChecked(channel, reachable, now, "code")
    yield ev.Placed(channel, now, TimeSource.OTHER_SIDE, "receipt", "code")
    yield ev.Placed(channel, PLACED_AT - timedelta(minutes=5), TimeSource.OUR_CLOCK, already=True)
    yield ev.PlacementPending(channel, "batch-8")
    for kind in RefusalKind:
        yield ev.PlacementRefused(channel, "code", kind, PERSONAL)
    yield ev.PlacementUnavailable(channel, "http_503")
    for seconds in (-1.0, 0.0, 30.0, 1e12, float("inf")):
        yield ev.PlacementUnavailable(channel, "http_503", seconds)
    yield ev.PlacementUnknown(channel, "timeout", CALL)
    yield ev.PlacementUnknown(channel, "timeout", None)
    yield ev.PlacementAbsent(channel)
    for bounce in bounces():
        yield ev.CarrierBounced(channel, bounce)
    yield ev.Opened(channel, now)
    yield ev.Opened(channel, now, TimeSource.OUR_CLOCK, exact=False)
    yield ev.NotOpened(channel)
    yield ev.NotOpened(channel, "content_gone", final=True)
    yield ev.PlacementOrdered(channel, "medewerker-12", "op verzoek")


def events_about_notice(channel: str, now: datetime) -> Iterator[ev.Event]:
    yield ev.NoticeSent(channel, now, "queue-1", "a" * 64, "kennisgeving/1")
    for bounce in bounces():
        yield ev.NoticeBounced(channel, bounce)
        yield ev.NoticeBounced(channel, bounce, held=True)
    yield ev.BurstSuspected(channel)
    for new_address in (True, False):
        yield ev.NoticeResent(channel, "medewerker-12", "gebeld", new_address)
    for real in (True, False):
        yield ev.BurstDecided(channel, real, "medewerker-12", "nagebeld")
    yield ev.NoticeUnavailable(channel, "connect_error")
    yield ev.NoticeUnavailable(channel, "auth:535", configuration=True)
    yield ev.NoticeUnknown(channel, "connection_lost")


def events_about_letter(letter: int, now: datetime) -> Iterator[ev.Event]:
    yield ev.LetterSubmitted(letter, now, TimeSource.OUR_CLOCK, "receipt", "b" * 64, 2, "brief/1")
    yield ev.LetterPrinted(letter, now, "PRINTED")
    yield ev.LetterPosted(letter, now, TimeSource.OTHER_SIDE, "POSTED")
    for why in ev.ReturnReason:
        yield ev.LetterReturned(letter, now, "RETURNED", why=why)
    yield ev.LetterUnclear(letter, now, "FORWARDED")
    for defect in (False, True):
        yield ev.LetterRefused(letter, "REJECTED", PERSONAL, defect)
    yield ev.LetterUnavailable(letter, "folder:full")
    yield ev.LetterUnavailable(letter, "ledger_lost", configuration=True)
    yield ev.LetterStopped(letter, "medewerker-12", "toch niet nodig")
    yield ev.LetterUnknown(letter, "timeout", CALL)
    yield ev.LetterUnknown(letter, "timeout", None)
    yield ev.LetterHeld(letter)


def events_about_the_whole(parts: tuple[str, ...]) -> Iterator[ev.Event]:
    yield ev.Accepted()
    yield ev.Accepted(VolumeRule.MESSAGES)
    yield ev.Released("medewerker-12", "klopt")
    yield ev.Superseded("kenmerk-2", Nature.INTREKKING)
    yield ev.Cancelled("zaaksysteem-1", "verkeerde bijlage")
    yield ev.Retried("medewerker-12", "registratie hersteld")
    yield ev.LetterOrdered("medewerker-12", "op verzoek")
    yield ev.Handled("medewerker-12", "nagebeld")
    for part in parts:
        yield ev.ClockStruck(part)
        yield ev.LeaseExpired(part, CALL)
        yield ev.LeaseExpired(part)
        yield ev.Handled("medewerker-12", "nagebeld", part)
        for at in (PLACED_AT, DAYS_LATER + timedelta(days=1)):
            yield ev.Found(part, at, "medewerker-12", "gezien in de box")


def events_about_the_profile(now: datetime) -> Iterator[ev.Event]:
    yield ev.ProfileAnswered(now, known=False, code="http_404")
    for receives in (True, False, None):
        yield ev.ProfileAnswered(now, known=True, receives=receives, receives_since=now, consent="voorkeur-1")
    yield ev.ProfileAnswered(now, known=True, receives=True, email=PERSONAL, email_since=now)
    yield ev.ProfileAnswered(now, known=True, email=PERSONAL, email_failing_since=PLACED_AT, email_failing_reason="r")
    for seconds in (None, -1.0, 30.0, float("inf")):
        yield ev.ProfileUnavailable("http_503", seconds)
    for kind in RefusalKind:
        yield ev.ProfileRefused("code", kind)


def all_events(delivery: Delivery, now: datetime) -> Iterator[ev.Event]:
    for placement in delivery.placements:
        yield from events_about_placement(placement.channel, now)
        yield from events_about_notice(placement.channel, now)
    for letter in range(len(delivery.letters)):
        yield from events_about_letter(letter, now)
    yield from events_about_the_profile(now)
    readings = tuple(f"reading/{item.channel}" for item in delivery.placements)
    yield from events_about_the_whole((*parts_of(delivery), *readings, "profile"))


def parts_of(delivery: Delivery) -> tuple[str, ...]:
    placed = [f"{kind}/{item.channel}" for item in delivery.placements for kind in ("placement", "notice")]
    asked = ("profile",) if delivery.profile is not None else ()
    return (*asked, *placed, *(f"letter/{index}" for index in range(len(delivery.letters))))


def events_about_nothing_known(now: datetime) -> Iterator[ev.Event]:
    yield from events_about_placement("weg", now)
    yield from events_about_notice("weg", now)
    for letter in (7, -1):
        yield from events_about_letter(letter, now)
    for part in ("placement/weg", "notice/weg", "letter/7", "letter/-1", "letter/x", "letter/", "iets/anders", "/", ""):
        yield ev.ClockStruck(part)
        yield ev.LeaseExpired(part, CALL)
        yield ev.Found(part, now, "medewerker-12", "gezien in de box")


def test_every_event_type_of_the_vocabulary_is_in_the_product(brief):
    delivery = delivery_with(
        brief("mijnoverheid"),
        placement_in("mijnoverheid", P.PLACED, N.DUE),
        letters=(letter_in(LetterKind.MESSAGE, L.PLANNED),),
    )
    assert {type(event) for event in all_events(delivery, PLACED_AT)} == set(ev.Event.__args__)


# ---- what holds of every decision -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class What:
    """What happened and when, written out only when something is wrong with what followed."""

    event: ev.Event
    now: datetime

    def __str__(self) -> str:
        return f"{self.event} at {self.now}"


def check(before: Delivery, event: ev.Event, policy: Policy, now: datetime) -> Decision:
    decision = decide(before, event, policy, now)
    after = decision.delivery
    what = What(event, now)
    _check_moves(before, after, event, what)
    _check_sendings(before, after, what)
    _check_steps(decision, policy, now, what)
    _check_facts(decision, what)
    _check_nothing_stranded(before, decision, event, what)
    answered = isinstance(event, ev.ProfileAnswered) and before.profile and before.profile.state is S.ASKING
    told_address = isinstance(event, ev.NoticeResent) and event.new_address
    assert after.brief == before.brief or answered or told_address, str(what)
    assert after.cancelled or not before.cancelled, f"un-cancelled by {what}"
    if before.cancelled:
        assert after == before, f"moved after it was called back: {what}"
        assert not decision.steps, f"work for a message that was called back: {what}"
    for part, moment in decision.rewake:
        assert _known(part, after), str(what)
        assert moment > now, str(what)
    if not isinstance(event, ev.ClockStruck) and not before.attention:
        # Late, repeated, out of order: recorded, no move. A question asked again leaves its step.
        assert decision.facts or decision.steps, f"left no trace: {what}"
    return decision


def _known(part: str, delivery: Delivery) -> bool:
    kind, _, name = part.partition("/")
    if kind == "letter":
        return int(name) < len(delivery.letters)
    if kind == "profile":
        return delivery.profile is not None
    if kind == "volume":
        return True
    placement = delivery.placement(name)
    return placement is not None and (kind in ("placement", "reading") or placement.notice is not None)


def moves_between(before: Delivery, after: Delivery) -> set[tuple[str, str | None, str]]:
    """Give every move as kind of part, state before, state after."""
    moves: set[tuple[str, str | None, str]] = set()
    for old in before.placements:
        new = after.placement(old.channel)
        assert new is not None, f"the placement in {old.channel} is gone"
        if new.state is not old.state:
            moves.add(("placement", old.state, new.state))
        if new.notice is None:
            assert old.notice is None, f"the notice about {old.channel} is gone"
        elif old.notice is None or new.notice.state is not old.notice.state:
            moves.add(("notice", old.notice and old.notice.state, new.notice.state))
    if before.profile is not None and after.profile is not None and before.profile.state is not after.profile.state:
        moves.add(("profile", before.profile.state, after.profile.state))
    for old_letter, letter in zip(before.letters, after.letters, strict=False):
        if letter.state is not old_letter.state:
            moves.add(("letter", old_letter.state, letter.state))
    return moves


ALLOWED_MOVES = {
    (kind, state, to)
    for kind, table in (
        ("profile", PROFILE_MOVES),
        ("placement", PLACEMENT_MOVES),
        ("notice", NOTICE_MOVES),
        ("letter", LETTER_MOVES),
    )
    for state, following in table.items()
    for to in following
}


def _check_moves(before: Delivery, after: Delivery, event: ev.Event, what: What) -> None:
    for move in moves_between(before, after):
        assert move in ALLOWED_MOVES, f"{move} by {what}"
        kind, *from_to = move
        assert type(event) in MOVED_BY[kind].get((from_to[0], from_to[1]), {type(event)}), f"{move} by {what}"
    for old in before.placements:
        new = after.placement(old.channel)
        if old.notice and new and new.notice:
            assert new.notice.deadline_at == old.notice.deadline_at, f"a deadline moved by {what}"
    chosen = isinstance(event, (ev.Accepted, ev.ProfileAnswered)) or before.held is not None
    assert len(after.placements) == len(before.placements) or chosen, str(what)
    assert len(after.letters) >= len(before.letters), f"a letter was removed by {what}"
    told = [
        letter.about for letter in after.letters if letter.kind is LetterKind.NOTICE and letter.state is not L.CANCELLED
    ]
    assert len(told) == len(set(told)) or isinstance(event, ev.Retried), f"a second letter about one box by {what}"
    assert all(letter.state in (L.PLANNED, L.BLOCKED) for letter in after.letters[len(before.letters) :]), str(what)


def _check_sendings(before: Delivery, after: Delivery, what: What) -> None:
    assert len(after.sendings) >= len(before.sendings), f"a sending was removed by {what}"
    for old, new in zip(before.sendings, after.sendings, strict=False):
        assert replace(new, failed=old.failed) == old, f"a sending was changed by {what}"
        assert new.failed == old.failed or old.failed is None, f"a failed sending came to life by {what}"


ALLOWED_ACTIONS: dict[str, dict[str, set[Action]]] = {
    "profile": {S.ASKING: {Action.PROFILE}},
    "reading": {P.PLACED: {Action.READ}},
    "placement": {
        P.CHECKING: {Action.CHECK},
        P.PLANNED: {Action.PLACE},
        P.PENDING: {Action.LOOKUP},
        P.UNKNOWN: {Action.LOOKUP, Action.PLACE},
    },
    "notice": {N.WAITING: {Action.WATCH}, N.DUE: {Action.NOTIFY}, N.HELD: {Action.WATCH}},
    "letter": {
        L.PLANNED: {Action.PRINT},
        L.UNKNOWN: {Action.PRINT},
        L.SUBMITTED: {Action.WATCH},
        L.PRINTED: {Action.WATCH},
    },
}
"""What may be planned for a part in each state. A state that is not here is at its end, or waits for a person."""


def _check_steps(decision: Decision, policy: Policy, now: datetime, what: What) -> None:
    after = decision.delivery
    parts = [step.part for step in decision.steps]
    assert len(parts) == len(set(parts)), f"two steps for one part: {what}"
    assert not set(parts) & set(decision.closed), f"both planned and called off: {what}"
    for part in decision.closed:
        kind, _, name = part.partition("/")
        there = kind == "profile" or (kind == "letter" and int(name) < len(after.letters))
        assert there or after.placement(name) is not None, str(what)
    for step in decision.steps:
        assert _known(step.part, after), f"a step for {step.part}, which is not there: {what}"
        kind, _, name = step.part.partition("/")
        placement = after.placement(name)
        if kind == "placement":
            assert placement is not None
            state: str = placement.state
            assert step.lane == name, str(what)
            if state is P.UNKNOWN and step.action is Action.PLACE:
                assert policy.channels[name].repeat_is_recognised, f"placed again on a guess: {what}"
                assert step.call == placement.call, f"repeated as another call: {what}"
            if step.action is Action.LOOKUP:
                assert policy.channels[name].can_lookup or state is P.PENDING, str(what)
        elif kind in ("profile", "reading"):
            state = _check_question(step, after, policy, now, what)
        elif kind == "notice":
            assert placement is not None
            assert placement.notice is not None
            state = placement.notice.state
            assert step.lane == policy.notice_lane, str(what)
            assert step.wake_at is not None, f"nothing would see the deadline: {what}"
            assert step.wake_at <= placement.notice.until == step.deadline_at, str(what)
            assert step.due_at is None or step.due_at <= placement.notice.until or step.due_at >= now, str(what)
        else:
            letter = after.letters[int(name)]
            state = letter.state
            assert step.lane == policy.print_lane, str(what)
            assert step.call is None or step.call == letter.call, str(what)
        assert step.action in ALLOWED_ACTIONS[kind].get(state, set()), f"{step.action} while {state}: {what}"
        assert step.due_at is not None or step.wake_at is not None, f"a step that never comes up: {what}"
        assert (step.due_at is None) == (step.action is Action.WATCH) or kind == "notice", str(what)
        for moment in (step.due_at, step.wake_at, step.deadline_at):
            assert moment is None or moment.tzinfo is not None, str(what)
        if step.due_at is not None:
            assert step.due_at >= after.brief.starts_at, f"due before its publication: {what}"
            assert step.due_at >= now or step.due_at == after.brief.starts_at, str(what)


def _check_question(step: Step, after: Delivery, policy: Policy, now: datetime, what: What) -> str:
    """Check a step that only asks something; gives the state of what it asks about."""
    if step.part == "profile":
        assert after.profile is not None
        assert step.lane == policy.profile_lane, str(what)
        return after.profile.state
    placement = after.placement(step.part.partition("/")[2])
    assert placement is not None
    assert step.lane == placement.channel, str(what)
    assert placement.opened_at is None, f"asked after it was opened: {what}"
    assert step.deadline_at > now + timedelta(days=2), f"a question before what is to be placed: {what}"
    return placement.state


LAW_ROWS = {f"L{row}" for row in range(1, 16)}


def _check_facts(decision: Decision, what: What) -> None:
    for fact in decision.facts:
        assert 0 < len(fact.name) <= 40, str(what)
        assert fact.law, f"{fact.name} serves no row of the law: {what}"
        assert set(fact.law) <= LAW_ROWS, str(what)
        assert fact.part is None or _known(fact.part, decision.delivery) or fact.part.startswith("placement/"), str(
            what
        )
        assert fact.at is None or fact.at.tzinfo is not None, str(what)
        written = json.dumps({"detail": fact.detail, "part": fact.part}, allow_nan=False)
        assert PERSONAL not in written, f"personal data stands open in {fact.name}: {what}"
        json.dumps(fact.sealed, allow_nan=False)
    for alarm in decision.alarms:
        assert PERSONAL not in alarm.code, str(what)
        assert alarm.lane, str(what)


ANSWERS: dict[Action, tuple[type, ...]] = {
    Action.CHECK: (ev.ReachabilityChecked, ev.PlacementRefused, ev.LeaseExpired),
    Action.PLACE: (
        ev.Placed,
        ev.PlacementPending,
        ev.PlacementRefused,
        ev.PlacementUnavailable,
        ev.PlacementUnknown,
        ev.CarrierBounced,
        ev.LeaseExpired,
    ),
    Action.LOOKUP: (
        ev.Placed,
        ev.PlacementPending,
        ev.PlacementRefused,
        ev.PlacementUnavailable,
        ev.PlacementUnknown,
        ev.PlacementAbsent,
        ev.LeaseExpired,
    ),
    Action.NOTIFY: (ev.NoticeSent, ev.NoticeBounced, ev.NoticeUnavailable, ev.NoticeUnknown, ev.LeaseExpired),
    Action.PRINT: (
        ev.LetterSubmitted,
        ev.LetterRefused,
        ev.LetterUnavailable,
        ev.LetterUnknown,
        ev.LetterHeld,
        ev.LeaseExpired,
    ),
    Action.PROFILE: (ev.ProfileAnswered, ev.ProfileUnavailable, ev.ProfileRefused, ev.LeaseExpired),
    Action.WATCH: (ev.ClockStruck,),
}
"""What a worker can bring back for a step in hand: that step is gone, so the part needs the next one."""


def _state_of(part: str, delivery: Delivery) -> str | None:
    kind, _, name = part.partition("/")
    if kind == "letter":
        return delivery.letters[int(name)].state if int(name) in range(len(delivery.letters)) else None
    if kind == "profile":
        return delivery.profile.state if delivery.profile is not None else None
    placement = delivery.placement(name)
    if placement is None:
        return None
    if kind == "placement":
        return placement.state
    return placement.notice.state if placement.notice is not None else None


def _check_nothing_stranded(before: Delivery, decision: Decision, event: ev.Event, what: What) -> None:
    after = decision.delivery
    planned = {step.part for step in decision.steps}
    waits_for_person = {item.part for item in after.attention}
    for part in parts_of(before):
        actions = ALLOWED_ACTIONS[part.partition("/")[0]]
        old, new = _state_of(part, before), _state_of(part, after)
        in_hand, next_up = actions.get(old or "", set()), actions.get(new or "", set())
        by_worker = _about(event) == part and any(_answers(event, action) for action in in_hand)
        if by_worker and next_up:
            assert part in planned or part in waits_for_person, f"{part} is {new} and nobody has it in hand: {what}"
        if not by_worker and in_hand and not next_up:
            assert part in decision.closed, f"{part} is {new} and its step goes on: {what}"
        if not by_worker and old is not new and next_up:
            assert part in planned or in_hand == next_up, f"{part} is {new} without a step for it: {what}"
        if part.startswith("placement/") and new == P.HELD:
            assert part in waits_for_person or old == P.HELD, f"{part} is held and no person is asked: {what}"


def _about(event: ev.Event) -> str:
    if isinstance(event, (ev.BurstSuspected, ev.BurstDecided)):
        return f"notice/{event.channel}"
    if isinstance(event, (ev.ClockStruck, ev.LeaseExpired)):
        return event.part
    if isinstance(event, (ev.NoticeSent, ev.NoticeBounced, ev.NoticeUnavailable, ev.NoticeUnknown)):
        return f"notice/{event.channel}"
    if isinstance(event, (ev.ProfileAnswered, ev.ProfileUnavailable, ev.ProfileRefused)):
        return "profile"
    if hasattr(event, "letter"):
        return f"letter/{event.letter}"
    return f"placement/{event.channel}" if hasattr(event, "channel") else ""


def _answers(event: ev.Event, action: Action) -> bool:
    if isinstance(event, (ev.NoticeBounced, ev.CarrierBounced)) and event.bounce.reported:
        return False
    return isinstance(event, ANSWERS[action])


# ---- the product ----------------------------------------------------------------------------------------------------

MOMENTS = (BEFORE_THE_DEADLINE, LATE, AFTER_THE_DEADLINE, DAYS_LATER)


@pytest.mark.parametrize(("state", "notice"), PLACEMENT_SHAPES)
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_event_is_defined_for_a_placement(channel, state, notice, brief, policy):
    for has_email, has_address, opted_out, attended, moments in (
        (True, True, False, False, MOMENTS),
        (False, True, False, True, (BEFORE_THE_DEADLINE, DAYS_LATER)),
        (True, False, True, False, (AFTER_THE_DEADLINE,)),
    ):
        known = brief(channel, email=has_email, address=has_address, opted_out=opted_out)
        delivery = delivery_with(known, placement_in(channel, state, notice), attended=attended)
        for now in moments:
            for event in all_events(delivery, now):
                check(delivery, event, policy, now)


@pytest.mark.parametrize(("state", "notice"), PLACEMENT_SHAPES)
def test_every_event_is_defined_for_a_placement_that_rests_on_a_check(state, notice, brief, policy, to_check):
    delivery = delivery_with(brief(to_check("kluis")), placement_in("kluis", state, notice), attended=True)
    for event in all_events(delivery, LATE):
        check(delivery, event, policy, LATE)


def side_by_side(brief, state: P, notice: N | None) -> Iterator[Delivery]:
    """Give MijnOverheid in this state beside another box in every state, with a carrier kept for later."""
    known = brief("mijnoverheid", "mijndomein", "email")
    for other_state, other_notice in PLACEMENT_SHAPES:
        yield delivery_with(
            known,
            placement_in("mijnoverheid", state, notice),
            placement_in("mijndomein", other_state, other_notice),
            placement_in("email", P.STANDBY, None),
        )


def events_side_by_side(now: datetime) -> tuple[ev.Event, ...]:
    return (
        ev.Placed("mijnoverheid", now, TimeSource.OTHER_SIDE),
        ev.Placed("mijndomein", now, TimeSource.OTHER_SIDE),
        *(ev.PlacementRefused("mijnoverheid", "code", kind) for kind in RefusalKind),
        ev.PlacementRefused("mijndomein", "code", RefusalKind.ADDRESSEE),
        ev.PlacementUnavailable("mijnoverheid", "http_503"),
        ev.PlacementUnknown("mijnoverheid", "timeout", CALL),
        ev.PlacementAbsent("mijnoverheid"),
        ev.ReachabilityChecked("mijnoverheid", reachable=False, checked_at=now),
        ev.ClockStruck("notice/mijnoverheid"),
        ev.ClockStruck("notice/mijndomein"),
        ev.LeaseExpired("placement/mijnoverheid", CALL),
        ev.Cancelled("zaaksysteem-1", "verkeerde bijlage"),
        ev.Retried("medewerker-12", "hersteld"),
        ev.LetterOrdered("medewerker-12", "op verzoek"),
    )


@pytest.mark.parametrize(("state", "notice"), PLACEMENT_SHAPES)
def test_every_event_is_defined_for_mijnoverheid_beside_another_box(state, notice, brief, policy):
    for delivery in side_by_side(brief, state, notice):
        for now in (BEFORE_THE_DEADLINE, AFTER_THE_DEADLINE):
            for event in events_side_by_side(now):
                check(delivery, event, policy, now)


@pytest.mark.parametrize("state", L)
@pytest.mark.parametrize("kind", LetterKind)
def test_every_event_is_defined_for_a_letter(kind, state, brief, policy):
    for attended, has_address in ((False, True), (True, True), (True, False)):
        known = brief("mijnoverheid", address=has_address)
        for placement in (
            placement_in("mijnoverheid", P.REFUSED, None),
            placement_in("mijnoverheid", P.PLACED, N.EXPIRED),
            placement_in("mijnoverheid", P.PLACED, N.DUE),
        ):
            delivery = delivery_with(known, placement, letters=(letter_in(kind, state),), attended=attended)
            for now in (BEFORE_THE_DEADLINE, DAYS_LATER):
                for event in all_events(delivery, now):
                    check(delivery, event, policy, now)


def _by_worker(*actions: Action) -> tuple[type, ...]:
    return tuple({kind for action in actions for kind in ANSWERS[action]} | {ev.PlacementAbsent})


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("attended", [False, True])
def test_every_event_is_defined_for_a_question_to_the_profile_service(state, attended, brief, policy):
    for consents, from_profile in (
        ((Consent("kluis", ConsentBasis.PROFILE),), False),
        ((Consent("mijndomein", ConsentBasis.DECLARED), Consent("kluis", ConsentBasis.PROFILE)), True),
        ((Consent("email", ConsentBasis.DECLARED),), True),
    ):
        known = replace(brief(*consents, email=not from_profile), email_from_profile=from_profile)
        asked = Delivery(known, profile=Profile(state, attempts=1, first_tried_at=PLACED_AT))
        if attended and state in (S.ASKING, S.HELD):
            asked = replace(asked, attention=(Attention("profile", AttentionReason.PROFILE_UNANSWERED, PLACED_AT),))
        for now in MOMENTS:
            for event in all_events(asked, now):
                check(asked, event, policy, now)


@pytest.mark.parametrize("rule", [rule for rule in VolumeRule if rule is not VolumeRule.LETTERS])
@pytest.mark.parametrize("channels", [(), ("mijnoverheid",), ("mijnoverheid", "mijndomein", "email")])
def test_every_event_is_defined_for_a_message_that_is_held(rule, channels, brief, policy):
    for publish_after in (None, timedelta(days=30)):
        known = brief(*channels, publish_after=publish_after)
        held = decide(Delivery(known), ev.Accepted(rule), policy, known.accepted_at)
        assert held.delivery.held is held.delivery.held_by is rule
        assert held.delivery.state is DeliveryState.NEEDS_PERSON
        assert not held.steps
        assert held.delivery.attention[0].reason is HELD_BECAUSE[rule]
        for event in (*all_events(held.delivery, LATE), ev.Handled("medewerker-12", "nagebeld", "volume")):
            decision = check(held.delivery, event, policy, LATE)
            asked = {item.part for item in decision.delivery.attention}
            assert ("volume" in asked) == (decision.delivery.held is not None), "held in sight, or not at all"
            moves = isinstance(event, (ev.Retried, ev.Released, ev.LetterOrdered, ev.Cancelled, ev.Handled))
            if not moves or (isinstance(event, ev.Handled) and event.part not in (None, "volume")):
                assert decision.delivery == held.delivery, "only a person moves what is held"


def test_a_released_message_goes_as_if_it_came_now(brief, policy):
    known = brief("mijnoverheid")
    held = decide(Delivery(known), ev.Accepted(VolumeRule.SUDDEN), policy, known.accepted_at).delivery
    released = decide(held, ev.Released("medewerker-12", "klopt"), policy, LATE)
    plain = decide(Delivery(known), ev.Accepted(), policy, LATE)
    assert released.delivery == plain.delivery
    assert [(step.part, step.action, step.due_at) for step in released.steps] == [
        (step.part, step.action, step.due_at) for step in plain.steps
    ]
    assert released.delivery.held_by is None


@pytest.mark.parametrize("kind", LetterKind)
def test_every_event_is_defined_for_a_letter_that_is_held(kind, brief, policy):
    placement = placement_in("mijnoverheid", P.PLACED, N.UNDELIVERABLE)
    planned = delivery_with(brief("mijnoverheid"), placement, letters=(letter_in(kind, L.PLANNED),))
    held = decide(planned, ev.LetterHeld(0), policy, LATE).delivery
    assert (held.held_by, held.letters[0].state) == (VolumeRule.LETTERS, L.BLOCKED)
    for event in all_events(held, LATE):
        decision = check(held, event, policy, LATE)
        blocked = decision.delivery.letters[0].state is L.BLOCKED
        assert not blocked or decision.delivery.held_by is VolumeRule.LETTERS, "held in sight, or not at all"
    released = decide(held, ev.Released("medewerker-12", "klopt"), policy, LATE)
    assert released.delivery.letters[0].let_go
    again = decide(released.delivery, ev.LetterSubmitted(0, LATE, TimeSource.OUR_CLOCK), policy, LATE).delivery
    assert again.letters[0].state is L.SUBMITTED


@pytest.mark.parametrize(("state", "opened"), [*((state, False) for state in P), (P.PLACED, True)])
def test_every_event_is_defined_where_a_box_says_what_was_opened(state, opened, brief, policy_with):
    channels = {name: replace(channel, read_times=True) for name, channel in policy_with().channels.items()}
    policy = policy_with(channels=channels)
    placement = replace(placement_in("mijndomein", state, None), opened_at=PLACED_AT if opened else None)
    delivery = delivery_with(brief("mijndomein"), placement)
    for now in (*MOMENTS, PLACED_AT + timedelta(days=41), PLACED_AT + timedelta(days=43)):
        for event in all_events(delivery, now):
            check(delivery, event, policy, now)


@pytest.mark.parametrize("state", [P.CHECKING, P.PLANNED, P.STANDBY])
def test_every_event_is_defined_for_a_scheduled_message(state, brief, policy):
    known = brief("mijnoverheid", publish_after=timedelta(days=30))
    delivery = delivery_with(known, placement_in("mijnoverheid", state, None))
    assert delivery.state is DeliveryState.SCHEDULED
    for event in all_events(delivery, BEFORE_THE_DEADLINE):
        # A worker has had no step before the moment of publication, so it has no answer.
        if not isinstance(event, _by_worker(Action.CHECK, Action.PLACE)):
            check(delivery, event, policy, BEFORE_THE_DEADLINE)


def test_every_event_is_defined_for_a_scheduled_letter(brief, policy):
    known = brief(publish_after=timedelta(days=30))
    delivery = delivery_with(known, letters=(letter_in(LetterKind.MESSAGE, L.PLANNED),))
    for event in all_events(delivery, BEFORE_THE_DEADLINE):
        if not isinstance(event, _by_worker(Action.PRINT)):
            check(delivery, event, policy, BEFORE_THE_DEADLINE)


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_event_is_defined_for_a_message_that_was_called_back(channel, brief, policy):
    delivery = delivery_with(
        brief(channel),
        placement_in(channel, P.CANCELLED, None),
        letters=(letter_in(LetterKind.MESSAGE, L.CANCELLED),),
        cancelled=True,
    )
    for now in (BEFORE_THE_DEADLINE, DAYS_LATER):
        for event in all_events(delivery, now):
            decision = check(delivery, event, policy, now)
            assert decision.delivery.state is DeliveryState.CANCELLED


def test_a_message_that_was_called_back_before_the_first_decision_is_never_sent(brief, policy):
    delivery = Delivery(brief("mijnoverheid"), cancelled=True)
    for event in all_events(delivery, BEFORE_THE_DEADLINE):
        check(delivery, event, policy, BEFORE_THE_DEADLINE)


@pytest.mark.parametrize(
    "channels", [(), ("mijnoverheid",), ("mijnoverheid", "mijndomein", "kluis", "email"), ("weg",)]
)
def test_every_event_is_defined_before_the_first_decision(channels, brief, policy):
    for has_address in (True, False):
        for publish_after in (None, timedelta(days=30)):
            delivery = Delivery(brief(*channels, address=has_address, publish_after=publish_after))
            for event in all_events(delivery, delivery.brief.accepted_at):
                check(delivery, event, policy, delivery.brief.accepted_at)


@pytest.mark.parametrize(("state", "notice"), PLACEMENT_SHAPES)
def test_events_about_parts_that_are_not_there_are_recorded_only(state, notice, brief, policy):
    delivery = delivery_with(
        brief("mijnoverheid"),
        placement_in("mijnoverheid", state, notice),
        letters=(letter_in(LetterKind.NOTICE, L.POSTED),),
    )
    for event in events_about_nothing_known(LATE):
        decision = decide(delivery, event, policy, LATE)
        assert decision.delivery == delivery, event
        assert not decision.steps, event
        assert [fact.name for fact in decision.facts] == ["event.recorded"], event


@pytest.mark.parametrize("state", P)
def test_every_event_is_defined_for_a_channel_that_is_no_longer_configured(state, brief, policy_with):
    policy = policy_with(channels={})
    delivery = delivery_with(brief("oud"), placement_in("oud", state, None))
    for event in (*events_about_placement("oud", LATE), ev.LeaseExpired("placement/oud", CALL)):
        decision = decide(delivery, event, policy, LATE)
        if state is P.UNKNOWN and not isinstance(event, ev.PlacementAbsent):
            assert all(step.action is not Action.PLACE for step in decision.steps), event


def test_the_same_event_is_decided_the_same_every_time(brief, policy):
    for state, notice in PLACEMENT_SHAPES:
        delivery = delivery_with(brief("mijnoverheid"), placement_in("mijnoverheid", state, notice))
        for event in all_events(delivery, LATE):
            assert decide(delivery, event, policy, LATE) == decide(delivery, event, policy, LATE), event


def test_every_move_that_is_allowed_can_happen(brief, policy, to_check):  # noqa: C901 - every shape there is, once
    reached: set[tuple[str, str | None, str]] = set()

    def reach(delivery: Delivery, events: Iterator[ev.Event], now: datetime) -> None:
        for event in events:
            reached.update(moves_between(delivery, decide(delivery, event, policy, now).delivery))

    for state, notice in PLACEMENT_SHAPES:
        for channel in CHANNELS:
            delivery = delivery_with(brief(channel), placement_in(channel, state, notice), attended=True)
            for now in (LATE, AFTER_THE_DEADLINE):
                reach(delivery, all_events(delivery, now), now)
        for variant in (
            brief(to_check("kluis")),
            brief("mijndomein", opted_out=True),
            brief("mijndomein", email=False),
            replace(brief("mijndomein"), email_failing_since=PLACED_AT, email_failing_reason="user_unknown"),
        ):
            channel = variant.channels[0].channel
            delivery = delivery_with(variant, placement_in(channel, state, notice), attended=True)
            reach(delivery, all_events(delivery, LATE), LATE)
        for delivery in side_by_side(brief, state, notice):
            reach(delivery, iter(events_side_by_side(LATE)), LATE)
    for known in (brief("kluis"), brief(to_check("kluis"))):
        for state in (P.STANDBY, P.REFUSED):
            ordered = ev.PlacementOrdered("kluis", "medewerker-12", "op verzoek")
            reach(delivery_with(known, placement_in("kluis", state, None)), iter([ordered]), LATE)
    for asked in (Delivery(brief(), profile=Profile(state, attempts=1, first_tried_at=PLACED_AT)) for state in S):
        reach(asked, all_events(asked, LATE), LATE)
    told = (letter_in(LetterKind.NOTICE, L.PLANNED),)
    placed = placement_in("mijnoverheid", P.PLACED, N.UNDELIVERABLE)
    reach(delivery_with(brief(), placed, letters=told), iter([ev.BurstSuspected("mijnoverheid")]), LATE)
    for kind in LetterKind:
        for state in L:
            delivery = delivery_with(brief(), letters=(letter_in(kind, state),), attended=True)
            reach(delivery, all_events(delivery, LATE), LATE)
    assert reached == ALLOWED_MOVES
