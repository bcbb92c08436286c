"""The whole product State x Event: nothing that can happen is undefined, and nothing moves but as written here."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.decision import Action, Decision
from bode.domain.delivery import decide
from bode.domain.events import RefusalKind, TimeSource
from bode.domain.message import Nature
from bode.domain.parts import (
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
    Sending,
)
from bode.domain.parts import LetterState as L
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.policy import Policy

# ---- the machine, written out ---------------------------------------------------------------------------------------
# Staying in a state is always allowed. A row without moves is final.

PLACEMENT_MOVES: dict[P, set[P]] = {
    # The box says yes (planned), no (refused), or a word nobody knows (held); it can turn out to be there already.
    P.CHECKING: {P.PLANNED, P.REFUSED, P.HELD, P.PLACED, P.CANCELLED},
    # A carrier's turn comes when every box and carrier before it failed.
    P.STANDBY: {P.PLANNED, P.CANCELLED},
    # Checking again where a person has it tried again and the box's answer has grown old.
    P.PLANNED: {P.CHECKING, P.PENDING, P.UNKNOWN, P.HELD, P.PLACED, P.REFUSED, P.CANCELLED},
    # Its result came; or the box certainly does not have it, and it is placed anew.
    P.PENDING: {P.PLACED, P.REFUSED, P.HELD, P.PLANNED, P.CHECKING},
    # Never back to planned on a guess: only when the box says that it is absent, or a person decides.
    P.UNKNOWN: {P.PLACED, P.PENDING, P.REFUSED, P.HELD, P.PLANNED, P.CHECKING, P.RETURNED},
    # A person decides, or it turns out to be there.
    P.HELD: {P.PLANNED, P.CHECKING, P.PLACED},
    # A carrier's mail can come back: for now (planned again) or for good (returned). A box's message stays.
    P.PLACED: {P.PLANNED, P.RETURNED},
    P.RETURNED: set(),
    P.REFUSED: set(),
    P.CANCELLED: set(),
}

NOTICE_MOVES: dict[N | None, set[N]] = {
    # No notice yet: the message is not accessible.
    None: {N.WAITING, N.DUE, N.COVERED, N.BY_BOX, N.WAIVED, N.IMPOSSIBLE},
    # The outcome at MijnOverheid came, or waiting took too long.
    N.WAITING: {N.DUE, N.COVERED, N.BY_BOX, N.WAIVED, N.IMPOSSIBLE},
    N.DUE: {N.SENT, N.COVERED, N.UNDELIVERABLE, N.EXPIRED},
    # A bounce came in later: soft and in time (due again), hard, or soft and too late to repeat.
    N.SENT: {N.DUE, N.UNDELIVERABLE, N.EXPIRED},
    N.COVERED: set(),
    N.BY_BOX: set(),
    N.WAIVED: set(),
    N.IMPOSSIBLE: set(),
    N.UNDELIVERABLE: set(),
    N.EXPIRED: set(),
}

LETTER_MOVES: dict[L, set[L]] = {
    L.PLANNED: {L.SUBMITTED, L.UNKNOWN, L.REFUSED, L.CANCELLED},
    L.UNKNOWN: {L.SUBMITTED, L.PRINTED, L.POSTED, L.REFUSED},
    L.SUBMITTED: {L.PRINTED, L.POSTED, L.RETURNED, L.REFUSED},
    L.PRINTED: {L.POSTED, L.RETURNED, L.REFUSED},
    L.POSTED: {L.RETURNED},
    # Sent again means a new letter: a print service prints the same letter once, whatever became of it.
    L.RETURNED: set(),
    L.REFUSED: set(),
    L.BLOCKED: {L.PLANNED, L.CANCELLED},
    L.CANCELLED: set(),
}

MOVED_BY: dict[tuple[object, object], set[type]] = {
    # What must not happen by any other event than these, whatever the state around it.
    (P.UNKNOWN, P.PLANNED): {ev.PlacementAbsent, ev.Retried},
    (P.HELD, P.PLANNED): {ev.Retried},
    (P.HELD, P.PLACED): {ev.Placed},
    (P.PENDING, P.PLACED): {ev.Placed},
    (P.UNKNOWN, P.PLACED): {ev.Placed},
    (P.PLANNED, P.PLACED): {ev.Placed},
    (P.PLACED, P.RETURNED): {ev.CarrierBounced},
    (P.PLACED, P.PLANNED): {ev.CarrierBounced},
    (N.DUE, N.SENT): {ev.NoticeSent},
    (N.SENT, N.DUE): {ev.NoticeBounced},
    (N.SENT, N.EXPIRED): {ev.NoticeBounced},
    (N.SENT, N.UNDELIVERABLE): {ev.NoticeBounced},
    (N.DUE, N.UNDELIVERABLE): {ev.NoticeBounced},
    (N.DUE, N.EXPIRED): {ev.ClockStruck, ev.NoticeBounced},
}

FINAL_PLACEMENTS = {P.PLACED, P.RETURNED, P.REFUSED, P.CANCELLED}
OPEN_NOTICES = {N.WAITING, N.DUE}
OPEN_LETTERS = {L.PLANNED, L.UNKNOWN, L.SUBMITTED, L.PRINTED}

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
    return Delivery(
        brief,
        placements,
        letters,
        tuple(sendings),
        tuple(Attention(part, AttentionReason.OUTCOME_UNKNOWN, PLACED_AT) for part in parts) if attended else (),
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


def events_about_notice(channel: str, now: datetime) -> Iterator[ev.Event]:
    yield ev.NoticeSent(channel, now, "queue-1", "a" * 64, "kennisgeving/1")
    for bounce in bounces():
        yield ev.NoticeBounced(channel, bounce)
    yield ev.NoticeUnavailable(channel, "connect_error")
    yield ev.NoticeUnavailable(channel, "auth:535", configuration=True)
    yield ev.NoticeUnknown(channel, "connection_lost")


def events_about_letter(letter: int, now: datetime) -> Iterator[ev.Event]:
    yield ev.LetterSubmitted(letter, now, TimeSource.OUR_CLOCK, "receipt", "b" * 64, 2, "brief/1")
    yield ev.LetterPrinted(letter, now, "PRINTED")
    yield ev.LetterPosted(letter, now, TimeSource.OTHER_SIDE, "POSTED")
    yield ev.LetterReturned(letter, now, "RETURNED")
    yield ev.LetterRefused(letter, "REJECTED", PERSONAL)
    yield ev.LetterUnavailable(letter, "folder:full")
    yield ev.LetterUnknown(letter, "timeout", CALL)
    yield ev.LetterUnknown(letter, "timeout", None)


def events_about_the_whole(now: datetime, parts: tuple[str, ...]) -> Iterator[ev.Event]:
    del now
    yield ev.Accepted()
    yield ev.Superseded("kenmerk-2", Nature.INTREKKING)
    yield ev.Cancelled("zaaksysteem-1", "verkeerde bijlage")
    yield ev.Retried("medewerker-12", "registratie hersteld")
    yield ev.LetterOrdered("medewerker-12", "op verzoek")
    for part in (*parts, "placement/weg", "notice/weg", "letter/7", "letter/-1", "letter/x", "letter/", "iets/anders", ""):
        yield ev.ClockStruck(part)
        yield ev.LeaseExpired(part, CALL)
        yield ev.LeaseExpired(part)


def all_events(delivery: Delivery, now: datetime) -> Iterator[ev.Event]:
    channels = (*(item.channel for item in delivery.placements), "weg")
    parts: list[str] = []
    for channel in channels:
        yield from events_about_placement(channel, now)
        yield from events_about_notice(channel, now)
        parts += [f"placement/{channel}", f"notice/{channel}"]
    for letter in (*range(len(delivery.letters)), len(delivery.letters), -1):
        yield from events_about_letter(letter, now)
        parts.append(f"letter/{letter}")
    yield from events_about_the_whole(now, tuple(parts))


def test_every_event_type_of_the_vocabulary_is_in_the_product(brief):
    delivery = delivery_with(
        brief("mijnoverheid"),
        placement_in("mijnoverheid", P.PLACED, N.DUE),
        letters=(letter_in(LetterKind.MESSAGE, L.PLANNED),),
    )
    assert {type(event) for event in all_events(delivery, PLACED_AT)} == set(ev.Event.__args__)


# ---- what holds of every decision -----------------------------------------------------------------------------------

REACHED: set[tuple[object, object]] = set()
"""Every move that some pair of state and event made, to see at the end that the tables above promise no more."""


def check(before: Delivery, event: ev.Event, policy: Policy, now: datetime) -> Decision:
    decision = decide(before, event, policy, now)
    after = decision.delivery
    what = f"{event} at {now}"
    assert decide(before, event, policy, now) == decision, f"the same again decides otherwise: {what}"
    _check_moves(before, after, event, what)
    _check_sendings(before, after, what)
    _check_steps(decision, policy, now, what)
    _check_facts(decision, what)
    _check_nothing_stranded(before, decision, event, what)
    assert after.brief == before.brief, what
    assert after.cancelled or not before.cancelled, f"un-cancelled by {what}"
    if before.cancelled:
        assert after == before, f"moved after it was called back: {what}"
        assert not decision.steps, f"work for a message that was called back: {what}"
    for part, moment in decision.rewake:
        assert _known(part, after), what
        assert moment > now, what
    if not isinstance(event, ev.ClockStruck):
        # Late, repeated, out of order: recorded, no move. A question asked again leaves its step.
        assert decision.facts or decision.steps, f"left no trace: {what}"
    return decision


def _known(part: str, delivery: Delivery) -> bool:
    kind, _, name = part.partition("/")
    if kind == "letter":
        return int(name) < len(delivery.letters)
    placement = delivery.placement(name)
    return placement is not None and (kind == "placement" or placement.notice is not None)


def _check_moves(before: Delivery, after: Delivery, event: ev.Event, what: str) -> None:
    moves: list[tuple[object, object]] = []
    for old in before.placements:
        new = after.placement(old.channel)
        assert new is not None, f"a placement was removed by {what}"
        if new.state is not old.state:
            assert new.state in PLACEMENT_MOVES[old.state], f"{old.state} -> {new.state} by {what}"
            moves.append((old.state, new.state))
        was, now_is = old.notice and old.notice.state, new.notice and new.notice.state
        if now_is is not was:
            assert now_is is not None, f"a notice was removed by {what}"
            assert now_is in NOTICE_MOVES[was], f"{was} -> {now_is} by {what}"
            moves.append((was, now_is))
        if old.notice and new.notice:
            assert new.notice.deadline_at == old.notice.deadline_at, f"a deadline moved by {what}"
    assert len(after.placements) == len(before.placements) or isinstance(event, ev.Accepted), what
    for index, letter in enumerate(after.letters):
        if index >= len(before.letters):
            assert letter.state in (L.PLANNED, L.BLOCKED), what
        elif letter.state is not before.letters[index].state:
            assert letter.state in LETTER_MOVES[before.letters[index].state], (
                f"{before.letters[index].state} -> {letter.state} by {what}"
            )
            moves.append((before.letters[index].state, letter.state))
    for move in moves:
        assert type(event) in MOVED_BY.get(move, {type(event)}), f"{move} by {what}"
    REACHED.update(moves)


def _check_sendings(before: Delivery, after: Delivery, what: str) -> None:
    assert len(after.sendings) >= len(before.sendings), f"a sending was removed by {what}"
    for old, new in zip(before.sendings, after.sendings, strict=False):
        assert replace(new, failed=old.failed) == old, f"a sending was changed by {what}"
        assert new.failed == old.failed or old.failed is None, f"a failed sending came to life by {what}"


ALLOWED_ACTIONS: dict[object, set[Action]] = {
    P.CHECKING: {Action.CHECK},
    P.PLANNED: {Action.PLACE},
    P.PENDING: {Action.LOOKUP},
    P.UNKNOWN: {Action.LOOKUP, Action.PLACE},
    N.WAITING: {Action.WATCH},
    N.DUE: {Action.NOTIFY},
    L.PLANNED: {Action.PRINT},
    L.UNKNOWN: {Action.PRINT},
    L.SUBMITTED: {Action.WATCH},
    L.PRINTED: {Action.WATCH},
}


def _check_steps(decision: Decision, policy: Policy, now: datetime, what: str) -> None:
    after = decision.delivery
    parts = [step.part for step in decision.steps]
    assert len(parts) == len(set(parts)), f"two steps for one part: {what}"
    assert not set(parts) & set(decision.closed), f"both planned and called off: {what}"
    for part in decision.closed:
        kind, _, name = part.partition("/")
        assert (kind == "letter" and int(name) < len(after.letters)) or after.placement(name) is not None, what
    for step in decision.steps:
        assert _known(step.part, after), f"a step for {step.part}, which is not there: {what}"
        kind, _, name = step.part.partition("/")
        placement = after.placement(name)
        if kind == "placement":
            assert placement is not None
            state: object = placement.state
            assert step.lane == name, what
            if state is P.UNKNOWN and step.action is Action.PLACE:
                assert policy.channels[name].repeat_is_recognised, f"placed again on a guess: {what}"
                assert step.call == placement.call, f"repeated as another call: {what}"
            if step.action is Action.LOOKUP:
                assert policy.channels[name].can_lookup or state is P.PENDING, what
        elif kind == "notice":
            assert placement is not None
            assert placement.notice is not None
            state = placement.notice.state
            assert step.lane == policy.notice_lane, what
            assert step.wake_at is not None, f"nothing would see the deadline: {what}"
            assert step.wake_at <= placement.notice.deadline_at == step.deadline_at, what
            assert step.due_at is None or step.due_at <= placement.notice.deadline_at or step.due_at >= now, what
        else:
            letter = after.letters[int(name)]
            state = letter.state
            assert step.lane == policy.print_lane, what
            assert step.call is None or step.call == letter.call, what
        assert step.action in ALLOWED_ACTIONS.get(state, set()), f"{step.action} while {state}: {what}"
        assert step.due_at is not None or step.wake_at is not None, f"a step that never comes up: {what}"
        assert (step.due_at is None) == (step.action is Action.WATCH) or state is N.DUE, what
        for moment in (step.due_at, step.wake_at, step.deadline_at):
            assert moment is None or moment.tzinfo is not None, what
        if step.due_at is not None:
            assert step.due_at >= after.brief.starts_at, f"due before its publication: {what}"
            assert step.due_at >= now or step.due_at == after.brief.starts_at, what


LAW_ROWS = {f"L{row}" for row in range(1, 16)}


def _check_facts(decision: Decision, what: str) -> None:
    for fact in decision.facts:
        assert 0 < len(fact.name) <= 40, what
        assert fact.law, f"{fact.name} serves no row of the law: {what}"
        assert set(fact.law) <= LAW_ROWS, what
        assert fact.part is None or _known(fact.part, decision.delivery) or fact.part.startswith("placement/"), what
        assert fact.at is None or fact.at.tzinfo is not None, what
        written = json.dumps({"detail": fact.detail, "part": fact.part}, allow_nan=False)
        assert PERSONAL not in written, f"personal data stands open in {fact.name}: {what}"
        json.dumps(fact.sealed, allow_nan=False)
    for alarm in decision.alarms:
        assert PERSONAL not in alarm.code, what
        assert alarm.lane, what


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
    Action.PRINT: (ev.LetterSubmitted, ev.LetterRefused, ev.LetterUnavailable, ev.LetterUnknown, ev.LeaseExpired),
    Action.WATCH: (ev.ClockStruck,),
}
"""What a worker can bring back for a step in hand: that step is gone, so the part needs the next one."""

ACTION_IN_HAND: dict[object, Action] = {
    P.CHECKING: Action.CHECK,
    P.PLANNED: Action.PLACE,
    P.PENDING: Action.LOOKUP,
    P.UNKNOWN: Action.LOOKUP,
    N.DUE: Action.NOTIFY,
    N.WAITING: Action.WATCH,
    L.PLANNED: Action.PRINT,
    L.UNKNOWN: Action.PRINT,
    L.SUBMITTED: Action.WATCH,
    L.PRINTED: Action.WATCH,
}


def _state_of(part: str, delivery: Delivery) -> P | N | L | None:
    kind, _, name = part.partition("/")
    if kind == "letter":
        return delivery.letters[int(name)].state if int(name) in range(len(delivery.letters)) else None
    placement = delivery.placement(name)
    if placement is None:
        return None
    if kind == "placement":
        return placement.state
    return placement.notice.state if placement.notice is not None else None


def _is_open(state: P | N | L | None) -> bool:
    return state is not None and (
        state in OPEN_NOTICES
        or state in OPEN_LETTERS
        or (isinstance(state, P) and state not in FINAL_PLACEMENTS and state not in (P.HELD, P.STANDBY))
    )


def _check_nothing_stranded(before: Delivery, decision: Decision, event: ev.Event, what: str) -> None:
    after = decision.delivery
    planned = {step.part for step in decision.steps}
    waits_for_person = {item.part for item in after.attention}
    parts = [f"{kind}/{item.channel}" for kind in ("placement", "notice") for item in before.placements]
    parts += [f"letter/{index}" for index in range(len(before.letters))]
    for part in parts:
        old, new = _state_of(part, before), _state_of(part, after)
        by_worker = _about(event) == part and old in ACTION_IN_HAND and _answers(event, ACTION_IN_HAND[old])
        if by_worker and _is_open(new):
            assert part in planned or part in waits_for_person, f"{part} is {new} and nobody has it in hand: {what}"
        if not by_worker and old is not new and _is_open(old) and not _is_open(new):
            assert part in decision.closed, f"{part} is {new} and its step goes on: {what}"
        if not by_worker and old is not new and _is_open(new):
            assert part in planned or ACTION_IN_HAND.get(old) is ACTION_IN_HAND[new], f"{part} is {new}: {what}"
        if new is P.HELD:
            assert part in waits_for_person or old is P.HELD, f"{part} is held and no person is asked: {what}"


def _about(event: ev.Event) -> str:
    if isinstance(event, (ev.ClockStruck, ev.LeaseExpired)):
        return event.part
    if isinstance(event, (ev.NoticeSent, ev.NoticeBounced, ev.NoticeUnavailable, ev.NoticeUnknown)):
        return f"notice/{event.channel}"
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
    for has_email, has_address, opted_out, attended in (
        (True, True, False, False),
        (False, True, False, False),
        (True, False, True, True),
    ):
        known = brief(channel, email=has_email, address=has_address, opted_out=opted_out)
        delivery = delivery_with(known, placement_in(channel, state, notice), attended=attended)
        for now in MOMENTS:
            for event in all_events(delivery, now):
                check(delivery, event, policy, now)


@pytest.mark.parametrize(("state", "notice"), PLACEMENT_SHAPES)
def test_every_event_is_defined_for_mijnoverheid_beside_another_box(state, notice, brief, policy):
    known = brief("mijnoverheid", "mijndomein", "email")
    for other_state, other_notice in PLACEMENT_SHAPES:
        delivery = delivery_with(
            known,
            placement_in("mijnoverheid", state, notice),
            placement_in("mijndomein", other_state, other_notice),
            placement_in("email", P.STANDBY, None),
        )
        for now in (BEFORE_THE_DEADLINE, AFTER_THE_DEADLINE):
            for event in (
                *events_about_placement("mijnoverheid", now),
                ev.PlacementRefused("mijndomein", "code", RefusalKind.ADDRESSEE),
                ev.Placed("mijndomein", now, TimeSource.OTHER_SIDE),
                ev.ClockStruck("notice/mijnoverheid"),
                ev.ClockStruck("notice/mijndomein"),
                ev.Cancelled("zaaksysteem-1", "verkeerde bijlage"),
                ev.Retried("medewerker-12", "hersteld"),
            ):
                check(delivery, event, policy, now)


@pytest.mark.parametrize("state", L)
@pytest.mark.parametrize("kind", LetterKind)
def test_every_event_is_defined_for_a_letter(kind, state, brief, policy):
    for attended, has_address in ((False, True), (True, True), (True, False)):
        known = brief("mijnoverheid", address=has_address)
        for placement in (
            placement_in("mijnoverheid", P.REFUSED, None),
            placement_in("mijnoverheid", P.PLACED, N.EXPIRED),
            placement_in("mijnoverheid", P.PLACED, N.SENT),
        ):
            delivery = delivery_with(known, placement, letters=(letter_in(kind, state),), attended=attended)
            for now in MOMENTS:
                for event in all_events(delivery, now):
                    check(delivery, event, policy, now)


@pytest.mark.parametrize("state", [P.CHECKING, P.PLANNED, P.STANDBY])
def test_every_event_is_defined_for_a_scheduled_message(state, brief, policy):
    known = brief("mijnoverheid", publish_after=timedelta(days=30))
    delivery = delivery_with(known, placement_in("mijnoverheid", state, None))
    assert delivery.state is DeliveryState.SCHEDULED
    for event in all_events(delivery, BEFORE_THE_DEADLINE):
        if not isinstance(event, (ev.Placed, ev.PlacementAbsent, *_early())):
            check(delivery, event, policy, BEFORE_THE_DEADLINE)


def _early() -> tuple[type, ...]:
    """Answers of a worker that cannot have had a step before the moment of publication."""
    return tuple({kind for action in (Action.CHECK, Action.PLACE) for kind in ANSWERS[action]})


def test_every_event_is_defined_for_a_scheduled_letter(brief, policy):
    known = brief(publish_after=timedelta(days=30))
    delivery = delivery_with(known, letters=(letter_in(LetterKind.MESSAGE, L.PLANNED),))
    for event in all_events(delivery, BEFORE_THE_DEADLINE):
        if not isinstance(event, ANSWERS[Action.PRINT]):
            check(delivery, event, policy, BEFORE_THE_DEADLINE)


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_event_is_defined_for_a_message_that_was_called_back(channel, brief, policy):
    delivery = delivery_with(
        brief(channel),
        placement_in(channel, P.CANCELLED, None),
        letters=(letter_in(LetterKind.MESSAGE, L.CANCELLED),),
        cancelled=True,
    )
    for now in MOMENTS:
        for event in all_events(delivery, now):
            decision = check(delivery, event, policy, now)
            assert decision.delivery.state is DeliveryState.CANCELLED


@pytest.mark.parametrize("channels", [(), ("mijnoverheid",), ("mijnoverheid", "mijndomein", "kluis", "email"), ("weg",)])
def test_every_event_is_defined_before_the_first_decision(channels, brief, policy):
    for has_address in (True, False):
        for publish_after in (None, timedelta(days=30)):
            delivery = Delivery(brief(*channels, address=has_address, publish_after=publish_after))
            for event in all_events(delivery, delivery.brief.accepted_at):
                check(delivery, event, policy, delivery.brief.accepted_at)


@pytest.mark.parametrize("state", P)
def test_every_event_is_defined_for_a_channel_that_is_no_longer_configured(state, brief, policy_with):
    policy = policy_with(channels={})
    delivery = delivery_with(brief("oud"), placement_in("oud", state, None))
    for event in (*events_about_placement("oud", LATE), ev.LeaseExpired("placement/oud", CALL)):
        decision = decide(delivery, event, policy, LATE)
        assert all(step.action is not Action.PLACE for step in decision.steps) or state is not P.UNKNOWN


def test_the_tables_of_moves_promise_no_more_than_happens(brief, policy):
    # Run after the product (in this file's order); on its own it walks the product itself.
    for state, notice in PLACEMENT_SHAPES:
        for channel in CHANNELS:
            test_every_event_is_defined_for_a_placement(channel, state, notice, brief, policy)
        test_every_event_is_defined_for_mijnoverheid_beside_another_box(state, notice, brief, policy)
    promised: set[tuple[object, object]] = set()
    for table in (PLACEMENT_MOVES, NOTICE_MOVES, LETTER_MOVES):
        promised |= {(state, to) for state, following in table.items() for to in following}
    assert promised - REACHED == set()
