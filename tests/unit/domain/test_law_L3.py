"""L3 (Awb 2:10, first paragraph): within 48 hours of accessibility the addressee is told, unless opted out."""

from datetime import timedelta

import pytest

from bode.domain.bounces import Verdict
from bode.domain.decision import Action, AlarmKind
from bode.domain.events import RefusalKind
from bode.domain.message import Term
from bode.domain.parts import LetterKind, LetterReason, LetterState, NoticeState, PlacementState
from bode.domain.policy import LetterWithoutAddress
from bode.domain.terms import Duration

pytestmark = pytest.mark.law("L3")

BOX, NOTICE = "mijnoverheid", "notice/mijnoverheid"
HOURS_48 = timedelta(hours=48)


# ---- the clock ------------------------------------------------------------------------------------------------------


def test_the_notice_goes_at_once_when_the_message_is_accessible(case):
    placed = case(BOX).later(minutes=3).placed(BOX)
    assert placed.notice(BOX).state is NoticeState.DUE
    assert placed.steps[NOTICE].action is Action.NOTIFY
    assert placed.steps[NOTICE].due_at == placed.now


def test_the_48_hours_run_from_the_boxs_own_time_of_accessibility(case, start):
    accessible_at = start + timedelta(hours=1)
    placed = case(BOX).later(hours=5).placed(BOX, at=accessible_at)
    assert placed.notice(BOX).deadline_at == accessible_at + HOURS_48
    assert placed.steps[NOTICE].deadline_at == accessible_at + HOURS_48
    assert placed.named("notice.due")[0].detail["deadline"] == (accessible_at + HOURS_48).isoformat()


def test_the_clock_of_a_scheduled_message_starts_at_its_placement(case, start):
    placed = case(BOX, publish_after=timedelta(days=10))
    placed.now = start + timedelta(days=10, minutes=1)
    placed.placed(BOX)
    assert placed.notice(BOX).deadline_at == placed.now + HOURS_48


def test_a_batch_that_was_taken_in_starts_no_clock(case):
    pending = case(BOX).pending(BOX)
    assert pending.placement(BOX).notice is None
    assert NOTICE not in pending.steps


def test_a_repeated_answer_does_not_start_the_clock_anew(case):
    placed = case(BOX).placed(BOX)
    deadline = placed.notice(BOX).deadline_at
    placed.later(hours=10).placed(BOX)
    assert placed.notice(BOX).deadline_at == deadline
    assert len(placed.named("notice.due")) == 1


def test_the_term_of_48_hours_is_the_policys_so_that_it_is_seen_to_be_used(case, policy_with):
    placed = case(BOX, policy=policy_with(notice_within=timedelta(hours=10))).placed(BOX)
    assert placed.notice(BOX).deadline_at == placed.now + timedelta(hours=10)


# ---- who is told, and by whom ---------------------------------------------------------------------------------------


def test_who_opted_out_is_not_told_and_gets_no_letter(case, start):
    placed = case(BOX, opted_out=True).placed(BOX)
    assert placed.notice(BOX).state is NoticeState.WAIVED
    assert placed.steps == {}
    assert placed.letters == ()
    assert placed.named("notice.waived")[0].detail["opted_out_at"] == (start - timedelta(days=30)).isoformat()


def test_who_opted_out_and_has_no_address_opted_out(case, policy_with):
    always = policy_with(letter_without_address=LetterWithoutAddress.ALWAYS)
    placed = case(BOX, opted_out=True, email=False, policy=always).placed(BOX)
    assert placed.notice(BOX).state is NoticeState.WAIVED
    assert placed.letters == ()


def test_a_box_that_tells_the_addressee_itself_is_not_doubled_and_not_claimed_as_proven(case):
    placed = case("kluis").placed("kluis")
    assert placed.notice("kluis").state is NoticeState.BY_BOX
    assert placed.steps == {}
    assert placed.named("notice.by_box")[0].detail["proven"] is False


def test_a_box_that_tells_the_addressee_itself_needs_no_address_of_ours(case):
    placed = case("kluis", email=False).placed("kluis")
    assert placed.notice("kluis").state is NoticeState.BY_BOX
    assert placed.letters == ()


def test_without_an_address_the_notice_is_impossible_at_once_and_not_after_48_hours(case):
    placed = case(BOX, email=False).placed(BOX)
    assert placed.notice(BOX).state is NoticeState.IMPOSSIBLE
    assert NOTICE not in placed.steps
    (fact,) = placed.named("notice.impossible")
    assert set(fact.law) == {"L3", "L11"}
    assert placed.named("deadline.missed") == []


@pytest.mark.parametrize(
    ("choice", "has_term", "letters"),
    [
        (LetterWithoutAddress.ALWAYS, True, 1),
        (LetterWithoutAddress.ALWAYS, False, 1),
        (LetterWithoutAddress.WITH_TERM, True, 1),
        (LetterWithoutAddress.WITH_TERM, False, 0),
        (LetterWithoutAddress.NEVER, True, 0),
        (LetterWithoutAddress.NEVER, False, 0),
    ],
)
def test_a_letter_to_who_has_no_address_is_the_organisations_choice(case, policy_with, choice, has_term, letters):
    term = Term(duration=Duration(weeks=6)) if has_term else None
    placed = case(BOX, email=False, term=term, policy=policy_with(letter_without_address=choice)).placed(BOX)
    assert [letter.reason for letter in placed.letters] == [LetterReason.NO_EMAIL] * letters
    assert all(letter.kind is LetterKind.NOTICE and letter.about == BOX for letter in placed.letters)


def test_by_default_who_has_no_address_gets_a_letter_when_a_term_runs(policy):
    assert policy.letter_without_address is LetterWithoutAddress.WITH_TERM


def test_a_message_carried_by_email_needs_no_notice(case):
    placed = case("email").placed("email")
    assert placed.placement("email").notice is None
    assert placed.steps == {}


# ---- alarms before a breach, and the breach -------------------------------------------------------------------------


def test_alarms_precede_the_breach_at_24_36_and_44_hours(case):
    waiting = case(BOX).placed(BOX)
    placed_at, struck = waiting.now, []
    while waiting.notice(BOX).state is NoticeState.DUE:
        waiting.clock(NOTICE)
        struck.append((waiting.now - placed_at, [alarm.kind for alarm in waiting.last.alarms]))
    assert struck == [
        (timedelta(hours=24), [AlarmKind.NOTICE_LATE]),
        (timedelta(hours=36), [AlarmKind.NOTICE_LATE]),
        (timedelta(hours=44), [AlarmKind.NOTICE_LATE]),
        (timedelta(hours=48), [AlarmKind.NOTICE_MISSED]),
    ]


@pytest.mark.parametrize(("hours", "next_strike"), [(1, 24), (24, 36), (30, 36), (40, 44), (45, 48)])
def test_every_planned_attempt_asks_for_the_next_alarm_or_the_deadline(case, hours, next_strike):
    waiting = case(BOX).placed(BOX)
    placed_at = waiting.now
    waiting.later(hours=hours).notice_bounced(BOX, Verdict.SOFT)
    assert waiting.steps[NOTICE].wake_at == placed_at + timedelta(hours=next_strike)


def test_alarms_outside_the_term_are_left_out(case, policy_with):
    short = policy_with(notice_within=timedelta(hours=10))
    placed = case(BOX, policy=short).placed(BOX)
    assert placed.steps[NOTICE].wake_at == placed.notice(BOX).deadline_at


def test_a_notice_that_is_out_raises_no_alarm(case):
    sent = case(BOX).placed(BOX).notice_sent(BOX)
    assert sent.steps == {}
    assert sent.alarms == []


def test_a_strike_after_the_notice_left_is_recorded_only(case, strike):
    sent = case(BOX).placed(BOX).notice_sent(BOX).later(hours=50)
    before = sent.delivery
    sent.happens(strike(NOTICE))
    assert sent.delivery == before
    assert sent.alarms == []
    assert sent.last.facts[0].name == "event.recorded"


def test_a_missed_deadline_is_recorded_exactly_once_and_a_letter_follows(case, strike):
    missed = case(BOX).placed(BOX)
    deadline = missed.notice(BOX).deadline_at
    missed.later(hours=48).happens(strike(NOTICE)).happens(strike(NOTICE)).later(hours=1).happens(strike(NOTICE))
    (fact,) = missed.named("deadline.missed")
    assert (fact.at, set(fact.law)) == (deadline, {"L3", "L11"})
    assert missed.notice(BOX).state is NoticeState.EXPIRED
    assert [letter.reason for letter in missed.letters] == [LetterReason.NOTICE_NOT_IN_TIME]
    assert len(missed.alarmed(AlarmKind.NOTICE_MISSED)) == 1
    assert missed.steps.keys() == {"letter/0"}


def test_one_second_before_the_deadline_nothing_is_missed(case, strike):
    waiting = case(BOX).placed(BOX).later(hours=47, minutes=59, seconds=59).happens(strike(NOTICE))
    assert waiting.notice(BOX).state is NoticeState.DUE
    assert waiting.named("deadline.missed") == []
    assert waiting.letters == ()


def test_a_notice_that_leaves_too_late_before_the_clock_struck_is_a_missed_deadline_too(case, strike):
    late = case(BOX).placed(BOX).later(hours=48, minutes=5).notice_sent(BOX)
    assert late.notice(BOX).state is NoticeState.SENT
    assert len(late.named("deadline.missed")) == 1
    assert len(late.alarmed(AlarmKind.NOTICE_MISSED)) == 1
    assert late.letters == ()
    late.happens(strike(NOTICE)).notice_sent(BOX)
    assert len(late.named("deadline.missed")) == 1


def test_a_notice_that_left_in_time_never_counts_as_missed_whatever_comes_back(case):
    sent = case(BOX).placed(BOX).later(hours=47).notice_sent(BOX).later(minutes=10)
    sent.notice_bounced(BOX, Verdict.SOFT, reported=True).clock(NOTICE)
    assert sent.notice(BOX).state is NoticeState.EXPIRED
    assert sent.named("deadline.missed") == []
    assert sent.alarmed(AlarmKind.NOTICE_MISSED) == []


def test_a_notice_that_left_while_the_clock_struck_is_recorded_and_moves_nothing(case, strike):
    missed = case(BOX).placed(BOX).later(hours=48).happens(strike(NOTICE)).notice_sent(BOX)
    assert missed.notice(BOX).state is NoticeState.EXPIRED
    assert missed.named("ConsignmentNotification")[0].detail["moved"] is False


def test_a_placement_heard_of_after_its_48_hours_strikes_at_once(case, start):
    late = case(BOX).pending(BOX).later(hours=60).placed(BOX, at=start + timedelta(hours=1))
    assert late.steps[NOTICE].wake_at <= late.now
    late.clock(NOTICE)
    assert len(late.named("deadline.missed")) == 1
    assert late.letters[0].reason is LetterReason.NOTICE_NOT_IN_TIME


# ---- trouble on our side says nothing about the addressee -----------------------------------------------------------


def test_a_relay_that_is_down_is_tried_again_shortly_until_the_deadline(case, policy):
    down = case(BOX).placed(BOX)
    tried = 0
    while down.notice(BOX).state is NoticeState.DUE and down.steps[NOTICE].due_at < down.notice(BOX).deadline_at:
        down.now = down.steps[NOTICE].due_at
        down.relay_down(BOX)
        assert down.steps[NOTICE].due_at == down.now + policy.relay_retry
        assert down.letters == ()
        tried += 1
    assert tried == HOURS_48 / policy.relay_retry
    down.clock(NOTICE)
    assert len(down.named("deadline.missed")) == 1


def test_wrong_settings_of_our_relay_stop_the_lane_and_give_no_letter(case, policy):
    wrong = case(BOX).placed(BOX).relay_down(BOX, configuration=True)
    (alarm,) = wrong.alarmed(AlarmKind.LANE_STOPPED)
    assert (alarm.lane, alarm.stop) == (policy.notice_lane, True)
    assert wrong.letters == ()
    assert NOTICE in wrong.steps


def test_a_relay_that_is_only_down_stops_no_lane(case):
    down = case(BOX).placed(BOX).relay_down(BOX)
    assert down.alarms == []
    assert down.named("ConsignmentNotificationFailure")[0].detail == {"code": "connect_error", "kind": "relay"}


def test_an_unknown_outcome_is_sent_again_after_an_hour_and_recorded_as_unknown(case, policy):
    unknown = case(BOX).placed(BOX).notice_unknown(BOX)
    assert unknown.notice(BOX).state is NoticeState.DUE
    assert unknown.steps[NOTICE].due_at == unknown.now + policy.notice_unknown_wait
    assert unknown.named("outcome.unknown", NOTICE)
    assert unknown.notice(BOX).attempts == 1


def test_an_unknown_outcome_near_the_deadline_is_repeated_at_the_last_reserved_moment(case, policy):
    unknown = case(BOX).placed(BOX)
    deadline = unknown.notice(BOX).deadline_at
    unknown.later(hours=45, minutes=30).notice_unknown(BOX)
    assert unknown.steps[NOTICE].due_at == deadline - policy.notice_last_attempt


def test_a_notice_whose_worker_was_lost_is_sent_again_at_once(case):
    lost = case(BOX).placed(BOX).later(minutes=2).lease_lost(NOTICE)
    assert lost.steps[NOTICE].due_at == lost.now
    assert lost.notice(BOX).attempts == 1
    assert lost.named("outcome.unknown", NOTICE)


def test_a_lost_worker_after_the_notice_left_is_recorded_only(case):
    sent = case(BOX).placed(BOX).notice_sent(BOX)
    before = sent.delivery
    sent.lease_lost(NOTICE)
    assert sent.delivery == before
    assert sent.last.steps == ()


def test_trouble_heard_of_after_the_notice_left_is_recorded_only(case):
    sent = case(BOX).placed(BOX).notice_sent(BOX)
    before = sent.delivery
    sent.relay_down(BOX, configuration=True).notice_unknown(BOX)
    assert sent.delivery == before
    assert sent.alarms == []


# ---- placement and notice are two facts -----------------------------------------------------------------------------


@pytest.mark.law("L10")
def test_failure_to_notify_does_not_undo_the_sending(case):
    sent = case(BOX).placed(BOX)
    legal, sendings = sent.legal, sent.delivery.sendings
    sent.notice_bounced(BOX, Verdict.HARD)
    assert sent.placement(BOX).state is PlacementState.PLACED
    assert (sent.legal, sent.delivery.sendings) == (legal, sendings)
    assert sent.legal.standing


@pytest.mark.law("L4")
def test_what_was_sent_is_recorded_by_hash_and_template(case):
    sent = case(BOX).placed(BOX).later(minutes=1).notice_sent(BOX)
    (fact,) = sent.named("ConsignmentNotification")
    assert set(fact.law) == {"L3", "L4"}
    assert (fact.detail["text_sha256"], fact.detail["template"]) == ("a" * 64, "kennisgeving/1")
    assert (fact.at, fact.detail["attempt"], fact.detail["moved"]) == (sent.now, 1, True)


def test_a_letter_about_a_notice_without_a_postal_address_waits_for_a_person(case, strike):
    missed = case(BOX, address=False).placed(BOX).later(hours=48).happens(strike(NOTICE))
    assert missed.letters[0].state is LetterState.BLOCKED
    assert missed.attention == {("letter/0", "no_postal_address")}


def test_a_refused_placement_has_no_clock(case):
    refused = case(BOX).refused(BOX, RefusalKind.ADDRESSEE)
    assert refused.placement(BOX).notice is None
    assert refused.delivery.notice_deadline is None


def test_the_nearest_deadline_is_that_of_the_notices_that_are_not_out(case):
    placed = case("mijnoverheid", "mijndomein").placed("mijndomein").later(hours=3)
    assert placed.delivery.notice_deadline == placed.notice("mijndomein").deadline_at
    placed.placed("mijnoverheid")
    assert placed.delivery.notice_deadline == placed.notice("mijnoverheid").deadline_at
    placed.notice_sent("mijnoverheid")
    assert placed.delivery.notice_deadline is None
