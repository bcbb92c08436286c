"""L5 (Awb 2:10, third paragraph): MijnOverheid and another box: one notice, about MijnOverheid, suffices."""

from datetime import timedelta

import pytest

from bode.domain.bounces import Verdict
from bode.domain.decision import Action, AlarmKind
from bode.domain.events import RefusalKind
from bode.domain.parts import LetterReason, NoticeState, PlacementState

pytestmark = pytest.mark.law("L5")

MINE, OTHER = "mijnoverheid", "mijndomein"
HOURS_48 = timedelta(hours=48)


def test_the_other_box_waits_for_the_outcome_at_mijnoverheid(case, policy):
    placed = case(MINE, OTHER).placed(OTHER)
    assert placed.notice(OTHER).state is NoticeState.WAITING
    step = placed.steps["notice/mijndomein"]
    assert (step.action, step.due_at, step.wake_at) == (Action.WATCH, None, placed.now + policy.primary_wait)


def test_only_mijnoverheid_is_noticed_when_it_took_the_message_later(case):
    placed = case(MINE, OTHER).placed(OTHER).later(hours=2).placed(MINE)
    assert placed.notice(OTHER).state is NoticeState.COVERED
    assert placed.notice(MINE).state is NoticeState.DUE
    assert set(placed.steps) == {"notice/mijnoverheid"}


def test_only_mijnoverheid_is_noticed_when_it_took_the_message_first(case):
    placed = case(MINE, OTHER).placed(MINE).later(hours=2).placed(OTHER)
    assert placed.notice(OTHER).state is NoticeState.COVERED
    assert set(placed.steps) == {"notice/mijnoverheid"}


def test_the_decision_and_its_reason_are_recorded(case):
    placed = case(MINE, OTHER).placed(OTHER).placed(MINE)
    waits, covered = placed.named("channel.decision", "notice/mijndomein")
    assert waits.detail["decision"] == "waits"
    assert (covered.detail["decision"], covered.detail["by"]) == ("covered", [MINE])
    assert waits.law == covered.law == ("L5",)


@pytest.mark.parametrize("kind", [RefusalKind.ADDRESSEE, RefusalKind.CONTENT])
def test_when_mijnoverheid_fails_the_duty_moves_to_the_other_box_with_its_own_clock(case, kind):
    placed = case(MINE, OTHER).placed(OTHER)
    accessible_at = placed.now
    placed.later(hours=5).refused(MINE, kind)
    assert placed.notice(OTHER).state is NoticeState.DUE
    assert placed.notice(OTHER).deadline_at == accessible_at + HOURS_48
    assert placed.steps["notice/mijndomein"].due_at == placed.now
    assert placed.letters == ()


def test_when_mijnoverheid_failed_before_the_other_box_is_noticed_as_any(case):
    placed = case(MINE, OTHER).refused(MINE).later(hours=1).placed(OTHER)
    assert placed.notice(OTHER).state is NoticeState.DUE
    assert placed.letters == ()


def test_when_mijnoverheid_says_that_the_addressee_is_not_there_the_duty_moves(case, to_check):
    placed = case(to_check(MINE), OTHER).placed(OTHER).checked(MINE, reachable=False)
    assert placed.notice(OTHER).state is NoticeState.DUE


def test_a_refusal_by_the_other_box_leaves_mijnoverheids_notice_alone(case):
    placed = case(MINE, OTHER).placed(MINE).refused(OTHER)
    assert set(placed.steps) == {"notice/mijnoverheid"}
    assert placed.letters == ()


@pytest.mark.parametrize("outcome", ["pending", "unknown", "held", "unavailable", "configuration"])
def test_while_mijnoverheid_is_undecided_the_other_box_waits_but_not_longer_than_the_policy_says(case, policy, outcome):
    placed = case(MINE, OTHER).placed(OTHER)
    accessible_at = placed.now
    match outcome:
        case "pending":
            placed.pending(MINE)
        case "unknown":
            placed.unknown(MINE)
        case "held":
            placed.refused(MINE, RefusalKind.UNRECOGNISED)
        case "unavailable":
            placed.unavailable(MINE)
        case _:
            placed.refused(MINE, RefusalKind.CONFIGURATION)
    assert placed.notice(OTHER).state is NoticeState.WAITING
    placed.clock("notice/mijndomein")
    assert placed.now == accessible_at + policy.primary_wait
    assert placed.notice(OTHER).state is NoticeState.DUE
    assert placed.notice(OTHER).deadline_at == accessible_at + HOURS_48
    assert placed.steps["notice/mijndomein"].action is Action.NOTIFY
    assert placed.steps["notice/mijndomein"].due_at == placed.now


def test_mijnoverheid_still_covers_a_notice_that_was_not_out_yet(case):
    placed = case(MINE, OTHER).placed(OTHER).clock("notice/mijndomein").placed(MINE)
    assert placed.notice(OTHER).state is NoticeState.COVERED
    assert set(placed.steps) == {"notice/mijnoverheid"}
    assert "notice/mijndomein" in placed.last.closed


def test_a_notice_that_was_out_already_stays_so_when_mijnoverheid_takes_the_message_after_all(case):
    placed = case(MINE, OTHER).placed(OTHER).clock("notice/mijndomein").notice_sent(OTHER).placed(MINE)
    assert placed.notice(OTHER).state is NoticeState.SENT
    assert placed.notice(MINE).state is NoticeState.DUE


def test_a_failed_notice_about_mijnoverheid_leads_to_a_letter_about_mijnoverheid(case):
    placed = case(MINE, OTHER).placed(OTHER).placed(MINE).notice_bounced(MINE, Verdict.HARD)
    assert [(letter.reason, letter.about) for letter in placed.letters] == [(LetterReason.NOTICE_BOUNCED, MINE)]
    assert placed.notice(OTHER).state is NoticeState.COVERED


def test_who_opted_out_is_told_of_neither_box(case):
    placed = case(MINE, OTHER, opted_out=True).placed(OTHER).refused(MINE)
    assert placed.notice(OTHER).state is NoticeState.WAIVED
    assert placed.steps == {}


@pytest.mark.parametrize("hours", [24, 49])
def test_who_opted_out_misses_no_deadline_however_late_the_waiting_ends(case, strike, hours):
    waiting = case(MINE, OTHER, opted_out=True).placed(OTHER)
    waiting.later(hours=hours).happens(strike("notice/mijndomein"))
    assert waiting.notice(OTHER).state is NoticeState.WAIVED
    assert waiting.letters == ()
    assert waiting.named("deadline.missed") == []
    assert waiting.alarms == []


def test_a_deadline_that_passed_while_waiting_is_missed_once_and_leads_to_one_letter(case, strike):
    waiting = case(MINE, OTHER).placed(OTHER).later(hours=49).happens(strike("notice/mijndomein"))
    waiting.clock("notice/mijndomein")
    assert waiting.notice(OTHER).state is NoticeState.EXPIRED
    assert len(waiting.named("deadline.missed")) == 1
    assert len(waiting.alarmed(AlarmKind.NOTICE_MISSED)) == 1
    assert [letter.about for letter in waiting.letters] == [OTHER]


def test_without_an_address_the_other_box_is_known_to_be_unnoticeable_when_mijnoverheid_failed(case):
    placed = case(MINE, OTHER, email=False).placed(OTHER).refused(MINE)
    assert placed.notice(OTHER).state is NoticeState.IMPOSSIBLE
    assert [letter.about for letter in placed.letters] == [OTHER]


def test_a_box_that_tells_the_addressee_itself_waits_for_mijnoverheid_too(case):
    placed = case(MINE, "kluis").placed("kluis")
    assert placed.notice("kluis").state is NoticeState.WAITING
    placed.refused(MINE)
    assert placed.notice("kluis").state is NoticeState.BY_BOX


def test_two_boxes_without_mijnoverheid_are_each_noticed(case):
    placed = case(OTHER, "kluis").placed(OTHER).placed("kluis")
    assert placed.notice(OTHER).state is NoticeState.DUE
    assert placed.notice("kluis").state is NoticeState.BY_BOX


def test_the_message_stays_in_both_boxes_whatever_happens_to_the_notices(case):
    placed = case(MINE, OTHER).placed(OTHER).placed(MINE).notice_bounced(MINE, Verdict.HARD)
    assert {placement.state for placement in placed.delivery.placements} == {PlacementState.PLACED}
