"""What an act is said to do is what then happens, from any state that a delivery can get into."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.domain.test_product import CHANNELS, PLACED_AT, all_events

from bode.domain import events as ev
from bode.domain.acts import Act, Choice, effect, moves, possible
from bode.domain.decision import Action
from bode.domain.delivery import decide
from bode.domain.events import TimeSource
from bode.domain.parts import Delivery
from bode.store.record import Ledger


@pytest.fixture
def case(brief, policy):
    return brief, policy


def grown(data, brief, policy) -> tuple[Delivery, object]:
    """Give a delivery as some events left it, and the moment."""
    channels = data.draw(st.lists(st.sampled_from(CHANNELS), unique=True, max_size=3))
    known = brief(*channels, email=data.draw(st.booleans()), address=data.draw(st.booleans()))
    now = known.accepted_at
    delivery = decide(Delivery(known), ev.Accepted(), policy, now).delivery
    for _ in range(data.draw(st.integers(0, 6))):
        now += timedelta(hours=data.draw(st.sampled_from((0, 1, 20, 49))))
        events = list(all_events(delivery, now))
        delivery = decide(delivery, data.draw(st.sampled_from(events)), policy, now).delivery
    return delivery, now


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.law("L8")
def test_the_stated_effect_is_what_then_happens(case, data):
    brief, policy = case
    delivery, now = grown(data, brief, policy)
    primary = policy.primary_channels()
    for choice in possible(delivery, policy, now):
        stated = effect(delivery, choice, policy, now)
        ledger = Ledger(delivery, "00000001999000010000")
        ledger.apply(choice.event(by="a.jansen", reason="gebeld", now=now), policy, now)
        after = ledger.delivery
        assert (stated.state, stated.outcome) == (after.state, after.outcome), choice
        assert stated.legal == after.legal_time(primary), choice
        assert stated.legal_moved == (after.legal_time(primary) != delivery.legal_time(primary)), choice
        assert stated.letters == after.letters[len(delivery.letters) :], choice
        done = {(step.part, step.action) for step in ledger.steps if step.action is not Action.WATCH}
        assert set(stated.work) == done, choice
        waited = {item.part for item in delivery.attention}
        assert set(stated.asked) == {item.part for item in after.attention} - waited, choice
        for part in stated.stopped:
            assert part in ledger.closed, choice
        _check_the_time_of_sending_once_it_succeeds(ledger, stated, choice, policy, now)


def _check_the_time_of_sending_once_it_succeeds(ledger, stated, choice, policy, now):
    primary = policy.primary_channels()
    before = ledger.delivery.legal_time(primary)
    later = now + timedelta(minutes=5)
    for step in list(ledger.steps):
        kind, _, name = step.part.partition("/")
        at = max(later, step.due_at or later)
        if step.action in (Action.PLACE, Action.CHECK):
            ledger.apply(ev.Placed(name, at, TimeSource.OTHER_SIDE), policy, at)
        elif step.action is Action.PRINT:
            ledger.apply(ev.LetterSubmitted(int(name), at, TimeSource.OUR_CLOCK), policy, at)
            ledger.apply(ev.LetterPosted(int(name), at, TimeSource.OTHER_SIDE, "POSTED"), policy, at)
        elif step.action is Action.NOTIFY and kind == "notice":
            ledger.apply(ev.NoticeSent(name, at), policy, at)
    after = ledger.delivery.legal_time(primary)
    moved = after is not None and (before is None or (before.at, before.channel) != (after.at, after.channel))
    assert moved == (stated.legal_rule_then is not None), choice
    if moved:
        assert after.rule == stated.legal_rule_then, choice


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_not_possible_moves_nothing(case, data):
    brief, policy = case
    delivery, now = grown(data, brief, policy)
    can = set(possible(delivery, policy, now))
    boxes, letters = (*CHANNELS, "weg"), [f"letter/{number}" for number in range(4)]
    about = {
        Act.NOTICE_AGAIN: [f"notice/{name}" for name in boxes],
        Act.NOTICE_NEW_ADDRESS: [f"notice/{name}" for name in boxes],
        Act.PLACE: [f"placement/{name}" for name in boxes],
        Act.FOUND: [*(f"placement/{name}" for name in boxes), *letters],
        Act.STOP_LETTER: letters,
    }
    for act, parts in about.items():
        for part in parts:
            choice = Choice(act, part)
            if choice in can:
                continue
            decision = decide(delivery, choice.event(by="a", reason="b", now=now), policy, now)
            assert decision.delivery == delivery, choice
            assert not decision.steps, choice
            assert not moves(delivery, choice, policy, now)


@pytest.mark.law("L8")
def test_a_notice_that_is_sent_again_never_moves_the_time_of_sending(brief, policy):
    delivery = decide(Delivery(brief("mijnoverheid")), ev.Accepted(), policy, PLACED_AT).delivery
    for event in (
        ev.Placed("mijnoverheid", PLACED_AT, TimeSource.OTHER_SIDE),
        ev.NoticeSent("mijnoverheid", PLACED_AT),
    ):
        delivery = decide(delivery, event, policy, PLACED_AT).delivery
    legal = delivery.legal_time(policy.primary_channels())
    late = PLACED_AT + timedelta(days=9)
    stated = effect(delivery, Choice(Act.NOTICE_AGAIN, "notice/mijnoverheid"), policy, late)
    assert (stated.legal, stated.legal_moved, stated.legal_rule_then) == (legal, False, None)
    assert stated.tried_until == late + policy.notice_within


@pytest.mark.law("L3")
def test_a_notice_that_goes_again_after_the_48_hours_is_no_second_missed_deadline(brief, policy):
    delivery = decide(Delivery(brief("mijnoverheid")), ev.Accepted(), policy, PLACED_AT).delivery
    delivery = decide(delivery, ev.Placed("mijnoverheid", PLACED_AT, TimeSource.OTHER_SIDE), policy, PLACED_AT).delivery
    late = PLACED_AT + timedelta(hours=49)
    struck = decide(delivery, ev.ClockStruck("notice/mijnoverheid"), policy, late)
    assert [fact.name for fact in struck.facts].count("deadline.missed") == 1
    again = decide(struck.delivery, ev.NoticeResent("mijnoverheid", "a", "b", new_address=True), policy, late)
    sent = decide(again.delivery, ev.NoticeSent("mijnoverheid", late), policy, late)
    assert "deadline.missed" not in [fact.name for fact in (*again.facts, *sent.facts)]
    ended = decide(again.delivery, ev.ClockStruck("notice/mijnoverheid"), policy, late + timedelta(hours=49))
    assert "deadline.missed" not in [fact.name for fact in ended.facts]
    assert len(ended.delivery.letters) == 1, "the letter of the first time is enough"


@pytest.mark.law("L5")
@pytest.mark.parametrize("waived", [True, False])
def test_a_notice_that_the_law_does_not_ask_is_not_sent_again(brief, policy, waived):
    known = brief("mijnoverheid", opted_out=waived) if waived else brief("mijnoverheid", "mijndomein")
    delivery = decide(Delivery(known), ev.Accepted(), policy, PLACED_AT).delivery
    for placement in delivery.placements:
        placed = ev.Placed(placement.channel, PLACED_AT, TimeSource.OTHER_SIDE)
        delivery = decide(delivery, placed, policy, PLACED_AT).delivery
    about = "mijnoverheid" if waived else "mijndomein"
    assert not moves(delivery, Choice(Act.NOTICE_AGAIN, f"notice/{about}"), policy, PLACED_AT)
    assert not moves(delivery, Choice(Act.NOTICE_NEW_ADDRESS, f"notice/{about}"), policy, PLACED_AT)


@pytest.mark.law("L6")
def test_what_a_person_ended_while_it_was_unknown_is_not_placed_again(brief, policy):
    delivery = decide(Delivery(brief("mijnoverheid")), ev.Accepted(), policy, PLACED_AT).delivery
    delivery = decide(delivery, ev.PlacementUnknown("mijnoverheid", "timeout", None), policy, PLACED_AT).delivery
    for event in (ev.ClockStruck("placement/mijnoverheid"), ev.Handled("a", "b")):
        delivery = decide(delivery, event, policy, PLACED_AT + timedelta(days=3)).delivery
    assert not moves(delivery, Choice(Act.PLACE, "placement/mijnoverheid"), policy, PLACED_AT)
