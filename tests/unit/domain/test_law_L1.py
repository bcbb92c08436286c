"""L1 (Awb 2:8): only channels the addressee expressly said to be reachable by; nothing electronic left means paper."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bode.domain.decision import Action
from bode.domain.events import RefusalKind
from bode.domain.message import AddresseeKind
from bode.domain.parts import AttentionReason, LetterKind, LetterReason, LetterState, PlacementState

pytestmark = pytest.mark.law("L1")


def test_only_declared_channels_are_used(case):
    accepted = case("mijndomein")
    assert [placement.channel for placement in accepted.delivery.placements] == ["mijndomein"]
    assert list(accepted.steps) == ["placement/mijndomein"]


def test_no_declared_channel_means_paper_at_once(case, start):
    accepted = case()
    (letter,) = accepted.letters
    assert (letter.kind, letter.reason) == (LetterKind.MESSAGE, LetterReason.NO_CHANNEL)
    assert accepted.steps["letter/0"].action is Action.PRINT
    assert accepted.steps["letter/0"].due_at == start


def test_a_declared_channel_that_this_installation_does_not_have_means_paper(case):
    assert case("postduif").letters[0].reason is LetterReason.NO_CHANNEL


def test_paper_without_a_postal_address_waits_for_a_person(case):
    accepted = case(address=False)
    assert accepted.letters[0].state is LetterState.BLOCKED
    assert accepted.attention == {("letter/0", AttentionReason.NO_POSTAL_ADDRESS)}
    assert accepted.steps == {}


def test_a_box_for_people_is_not_used_for_a_company(case):
    accepted = case("mijnoverheid", kind=AddresseeKind.KVK)
    assert accepted.delivery.placements == ()
    assert accepted.letters[0].reason is LetterReason.NO_CHANNEL


def test_email_is_no_channel_without_an_address(case):
    assert case("email", email=False).letters[0].reason is LetterReason.NO_CHANNEL


def test_all_declared_boxes_are_used_at_once_and_carriers_only_after(case):
    accepted = case("mijnoverheid", "mijndomein", "email")
    states = {placement.channel: placement.state for placement in accepted.delivery.placements}
    assert states == {
        "mijnoverheid": PlacementState.PLANNED,
        "mijndomein": PlacementState.PLANNED,
        "email": PlacementState.STANDBY,
    }
    assert set(accepted.steps) == {"placement/mijnoverheid", "placement/mijndomein"}


def test_without_a_box_the_first_carrier_goes_and_the_next_stands_by(case):
    accepted = case("email", "email-reserve")
    assert accepted.placement("email").state is PlacementState.PLANNED
    assert accepted.placement("email-reserve").state is PlacementState.STANDBY
    assert list(accepted.steps) == ["placement/email"]


def test_the_record_says_of_every_channel_why_it_was_used_or_not(case):
    (fact,) = case("mijnoverheid", "email", email=False).named("channel.decision")
    assert {item["channel"]: item["decision"] for item in fact.detail["considered"]} == {
        "mijnoverheid": "used",
        "mijndomein": "not_declared",
        "kluis": "not_declared",
        "email": "no_email",
        "email-reserve": "not_declared",
    }
    assert fact.detail["paper"] is False
    assert "L1" in fact.law


def test_the_record_says_when_paper_is_all_that_is_left(case):
    assert case().named("channel.decision")[0].detail["paper"] is True


def test_the_record_keeps_the_consent_each_channel_rests_on(case, to_check):
    (fact,) = case("mijndomein", to_check("kluis")).named("preference.snapshot")
    assert fact.detail["channels"] == ["mijndomein:aangemeld:2026-01-05", "kluis:controleren:"]


def test_accepting_twice_plans_once(case):
    accepted = case("mijnoverheid")
    before = accepted.delivery
    accepted.accepted()
    assert accepted.delivery == before
    assert accepted.last.steps == ()
    assert accepted.last.facts[0].detail["moved"] is False


# ---- the box's own answer -------------------------------------------------------------------------------------------


def test_a_channel_to_be_checked_is_not_placed_in_before_the_box_answered(case, to_check):
    accepted = case(to_check("kluis"))
    assert accepted.placement("kluis").state is PlacementState.CHECKING
    assert accepted.steps["placement/kluis"].action is Action.CHECK


def test_a_box_that_knows_the_addressee_is_placed_in(case, to_check):
    checked = case(to_check("kluis")).later(minutes=1).checked("kluis", reachable=True)
    assert checked.steps["placement/kluis"].action is Action.PLACE
    assert checked.steps["placement/kluis"].due_at == checked.now
    assert checked.placement("kluis").checked_at == checked.now
    assert checked.named("channel.decision", "placement/kluis")[0].detail["reachable"] is True


def test_a_box_that_does_not_know_the_addressee_is_passed_over(case, to_check):
    checked = case(to_check("kluis")).checked("kluis", reachable=False)
    assert checked.placement("kluis").state is PlacementState.REFUSED
    assert checked.letters[0].reason is LetterReason.NO_CHANNEL


def test_a_box_that_does_not_know_the_addressee_leaves_the_other_box_its_turn(case, to_check):
    checked = case(to_check("kluis"), "mijndomein").checked("kluis", reachable=False)
    assert checked.letters == ()
    assert checked.steps["placement/mijndomein"].action is Action.PLACE


def test_a_box_that_cannot_say_now_is_asked_again_and_not_placed_in(case, to_check):
    checked = case(to_check("kluis")).checked("kluis", reachable=None)
    assert checked.placement("kluis").state is PlacementState.CHECKING
    assert checked.steps["placement/kluis"].action is Action.CHECK
    assert checked.steps["placement/kluis"].due_at > checked.now


def test_a_box_that_can_never_be_asked_is_not_waited_for(case, to_check):
    accepted = case(to_check("mijndomein"))
    assert accepted.letters[0].reason is LetterReason.NO_CHANNEL
    (fact,) = accepted.named("channel.decision")
    assert {"channel": "mijndomein", "decision": "cannot_check"} in fact.detail["considered"]


def test_a_channel_held_while_it_was_checked_is_checked_again_before_it_is_used(case, to_check):
    held = case(to_check("kluis")).refused("kluis", RefusalKind.UNRECOGNISED)
    assert held.placement("kluis").state is PlacementState.HELD
    held.later(hours=2).retried()
    assert held.steps["placement/kluis"].action is Action.CHECK


@pytest.mark.parametrize(
    ("age", "action"), [(timedelta(days=7), Action.PLACE), (timedelta(days=7, minutes=1), Action.CHECK)]
)
def test_a_boxs_answer_is_good_for_seven_days(case, to_check, age, action):
    held = case(to_check("kluis")).checked("kluis", reachable=True).refused("kluis", RefusalKind.DEFECT)
    held.now = held.placement("kluis").checked_at + age
    held.retried()
    assert held.steps["placement/kluis"].action is action


@pytest.mark.parametrize("channels", [("email",), ("mijndomein", "email")])
def test_a_carrier_to_be_checked_is_checked_when_its_turn_comes(case, to_check, policy_with, policy, channels):
    able = {name: replace(channel, can_check=True) for name, channel in policy.channels.items()}
    consents = [to_check(name) if name == "email" else name for name in channels]
    turn = case(*consents, policy=policy_with(channels=able))
    if len(channels) > 1:
        turn.refused("mijndomein")
    assert turn.steps["placement/email"].action is Action.CHECK


def test_a_declared_channel_is_never_checked(case):
    held = case("kluis").refused("kluis", RefusalKind.DEFECT).later(days=30).retried()
    assert held.steps["placement/kluis"].action is Action.PLACE


def test_an_answer_that_comes_too_late_is_recorded_only(case, to_check):
    placed = case(to_check("kluis")).checked("kluis", reachable=True).placed("kluis")
    before = placed.delivery
    placed.checked("kluis", reachable=False)
    assert placed.delivery == before
    assert placed.last.facts[0].name == "event.recorded"


# ---- the moment of publication --------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [("mijnoverheid",), ("email",), ()])
def test_nothing_is_handed_over_before_the_moment_of_publication(case, start, channels):
    scheduled = case(*channels, publish_after=timedelta(days=3))
    (step,) = scheduled.steps.values()
    assert step.due_at == start + timedelta(days=3)


def test_a_letter_ordered_before_publication_waits_for_it(case, start):
    scheduled = case("mijnoverheid", publish_after=timedelta(days=3)).letter_ordered()
    assert scheduled.steps["letter/0"].due_at == start + timedelta(days=3)
