"""L7 (Awb 2:11, second paragraph): a notice that fails is sent again, or a letter says what waits where."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode.domain.bounces import Verdict
from bode.domain.decision import AlarmKind
from bode.domain.parts import LetterKind, LetterReason, NoticeState, PlacementState

pytestmark = pytest.mark.law("L7")

BOX, NOTICE = "mijnoverheid", "notice/mijnoverheid"
AGAIN = [Verdict.SOFT, Verdict.SENDER, Verdict.UNDETERMINED]


# ---- soft: again, within the 48 hours -------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", AGAIN)
def test_a_bounce_that_is_not_final_is_tried_again_and_gives_no_letter(case, verdict):
    bounced = case(BOX).placed(BOX).notice_bounced(BOX, verdict)
    assert bounced.notice(BOX).state is NoticeState.DUE
    assert bounced.now < bounced.steps[NOTICE].due_at < bounced.notice(BOX).deadline_at
    assert bounced.letters == ()


@pytest.mark.parametrize("verdict", AGAIN)
def test_a_bounce_reported_after_the_notice_left_makes_it_due_again(case, verdict):
    bounced = case(BOX).placed(BOX).notice_sent(BOX).later(hours=5).notice_bounced(BOX, verdict, reported=True)
    assert bounced.notice(BOX).state is NoticeState.DUE
    assert bounced.steps[NOTICE].due_at > bounced.now
    assert bounced.steps[NOTICE].wake_at is not None
    assert bounced.letters == ()
    (fact,) = bounced.named("bounce.received")
    assert (fact.detail["verdict"], fact.detail["moved"]) == (verdict, True)


def test_an_attempt_is_counted_once_whether_it_is_refused_at_once_or_comes_back_later(case):
    at_once = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.SOFT)
    assert at_once.notice(BOX).attempts == 1
    later = case(BOX).placed(BOX).notice_sent(BOX).notice_bounced(BOX, Verdict.SOFT, reported=True)
    assert later.notice(BOX).attempts == 1


@pytest.mark.parametrize("message_id", [UUID(int=number) for number in range(8)])
def test_retries_are_spread_over_the_48_hours_and_the_last_is_kept_for_just_before_the_end(case, policy, message_id):
    bounced = case(BOX, message_id=message_id).placed(BOX)
    placed_at, deadline, tried = bounced.now, bounced.notice(BOX).deadline_at, []
    while bounced.steps[NOTICE].due_at is not None:
        bounced.now = bounced.steps[NOTICE].due_at
        tried.append(bounced.now - placed_at)
        bounced.notice_bounced(BOX, Verdict.SOFT)
    assert tried[-1] == timedelta(hours=46), "the reserved last attempt"
    assert deadline - policy.notice_last_attempt == placed_at + timedelta(hours=46)
    assert tried == sorted(set(tried))
    assert 6 <= len(tried) <= 9
    assert max(later - earlier for earlier, later in pairwise(tried)) < timedelta(hours=15)
    bounced.clock(NOTICE)
    assert bounced.now == deadline
    assert bounced.letters[0].reason is LetterReason.NOTICE_NOT_IN_TIME


def test_a_wait_that_would_pass_the_last_attempt_ends_there(case, policy):
    bounced = case(BOX).placed(BOX)
    deadline = bounced.notice(BOX).deadline_at
    bounced.later(hours=45, minutes=55).notice_bounced(BOX, Verdict.SOFT)
    assert bounced.steps[NOTICE].due_at == deadline - policy.notice_last_attempt


def test_after_the_last_attempt_only_the_deadline_is_waited_for(case):
    bounced = case(BOX).placed(BOX).later(hours=46).notice_bounced(BOX, Verdict.SOFT)
    assert bounced.steps[NOTICE].due_at is None
    assert bounced.steps[NOTICE].wake_at == bounced.notice(BOX).deadline_at


def test_soft_bounces_up_to_the_deadline_lead_to_one_letter(case, strike):
    bounced = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.SOFT).later(hours=48).happens(strike(NOTICE))
    bounced.notice_bounced(BOX, Verdict.SOFT, reported=True).notice_bounced(BOX, Verdict.HARD, reported=True)
    assert [(letter.kind, letter.reason) for letter in bounced.letters] == [
        (LetterKind.NOTICE, LetterReason.NOTICE_NOT_IN_TIME)
    ]
    assert bounced.notice(BOX).state is NoticeState.EXPIRED


@pytest.mark.parametrize("verdict", AGAIN)
def test_a_soft_bounce_that_comes_when_the_48_hours_are_over_leads_to_a_letter(case, verdict):
    late = case(BOX).placed(BOX).later(hours=1).notice_sent(BOX).later(hours=50)
    late.notice_bounced(BOX, verdict, reported=True)
    assert late.notice(BOX).state is NoticeState.EXPIRED
    assert late.letters[0].reason is LetterReason.NOTICE_NOT_IN_TIME
    assert late.named("deadline.missed") == []


def test_a_report_about_an_attempt_before_changes_nothing_while_the_notice_is_to_be_sent_again(case):
    due = case(BOX).placed(BOX).notice_sent(BOX).notice_bounced(BOX, Verdict.SOFT, reported=True)
    before, step = due.delivery, due.steps[NOTICE]
    due.later(minutes=1).notice_bounced(BOX, Verdict.SOFT, reported=True)
    assert (due.delivery, due.steps[NOTICE]) == (before, step)
    assert due.last.facts[0].detail["moved"] is False


# ---- hard: a letter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reported", [False, True])
def test_a_hard_bounce_leads_to_a_letter_about_the_box_where_the_message_waits(case, reported):
    bounced = case(BOX).placed(BOX)
    if reported:
        bounced.notice_sent(BOX).later(hours=30)
    bounced.notice_bounced(BOX, Verdict.HARD, reported=reported)
    (letter,) = bounced.letters
    assert (letter.kind, letter.reason, letter.about) == (LetterKind.NOTICE, LetterReason.NOTICE_BOUNCED, BOX)
    assert bounced.notice(BOX).state is NoticeState.UNDELIVERABLE
    assert bounced.steps.keys() == {"letter/0"}
    assert bounced.steps["letter/0"].due_at == bounced.now


@pytest.mark.parametrize("days", [1, 5, 30])
def test_a_permanent_bounce_wins_over_an_earlier_sent_however_late_it_comes(case, days):
    bounced = case(BOX).placed(BOX).notice_sent(BOX).later(days=days).notice_bounced(BOX, Verdict.HARD, reported=True)
    assert bounced.notice(BOX).state is NoticeState.UNDELIVERABLE
    assert len(bounced.letters) == 1


def test_soft_bounce_after_hard_bounce_is_recorded_only(case):
    bounced = case(BOX).placed(BOX).notice_sent(BOX).notice_bounced(BOX, Verdict.HARD, reported=True)
    before = bounced.delivery
    bounced.notice_bounced(BOX, Verdict.SOFT, reported=True)
    assert bounced.delivery == before
    assert bounced.last.steps == ()
    assert bounced.named("bounce.received")[-1].detail["moved"] is False


def test_sent_after_hard_bounce_is_recorded_only(case):
    bounced = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.HARD)
    before = bounced.delivery
    bounced.notice_sent(BOX)
    assert bounced.delivery == before
    assert bounced.named("ConsignmentNotification")[0].detail["moved"] is False


def test_the_same_hard_bounce_twice_leads_to_one_letter(case):
    bounced = case(BOX).placed(BOX).notice_sent(BOX)
    bounced.notice_bounced(BOX, Verdict.HARD, reported=True).notice_bounced(BOX, Verdict.HARD, reported=True)
    assert len(bounced.letters) == 1


def test_the_letter_is_about_the_notice_and_the_message_stays_in_the_box(case):
    bounced = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.HARD)
    assert bounced.placement(BOX).state is PlacementState.PLACED
    assert all(letter.kind is not LetterKind.MESSAGE for letter in bounced.letters)


def test_a_letter_for_each_box_whose_own_notice_failed_and_no_more(case):
    both = case("mijndomein", BOX).placed("mijndomein").clock("notice/mijndomein").notice_sent("mijndomein").placed(BOX)
    for channel in ("mijndomein", BOX, "mijndomein", BOX):
        both.notice_bounced(channel, Verdict.HARD, reported=True)
    assert sorted(letter.about for letter in both.letters) == ["mijndomein", BOX]


# ---- not a bounce ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [False, True])
def test_a_delay_report_or_an_out_of_office_reply_is_no_bounce(case, sent):
    told = case(BOX).placed(BOX)
    if sent:
        told.notice_sent(BOX)
    before = told.delivery
    for _ in range(5):
        told.later(hours=4).notice_bounced(BOX, Verdict.NOT_A_BOUNCE, reported=True)
    assert told.delivery == before
    assert told.letters == ()
    assert all(fact.detail["moved"] is False for fact in told.named("bounce.received"))


def test_an_out_of_office_reply_after_the_deadline_gives_no_letter(case):
    told = case(BOX).placed(BOX).notice_sent(BOX).later(days=3).notice_bounced(BOX, Verdict.NOT_A_BOUNCE, reported=True)
    assert told.letters == ()
    assert told.notice(BOX).state is NoticeState.SENT


def test_an_answer_while_sending_that_is_no_refusal_is_tried_again(case, policy):
    told = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.NOT_A_BOUNCE)
    assert told.notice(BOX).state is NoticeState.DUE
    assert told.steps[NOTICE].due_at == told.now + policy.relay_retry


# ---- we are the reason ----------------------------------------------------------------------------------------------


def test_a_block_of_our_mail_alarms_the_operator_and_gives_no_letter(case, policy):
    blocked = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.SENDER)
    (alarm,) = blocked.alarmed(AlarmKind.SENDER_SIDE)
    assert (alarm.lane, alarm.code) == (policy.notice_lane, "a-rule")
    assert blocked.letters == ()


@given(
    hours=st.lists(st.floats(min_value=0, max_value=20), max_size=15),
    reported=st.lists(st.booleans(), min_size=15, max_size=15),
)
def test_no_sender_side_verdict_ever_gives_a_letter_before_the_deadline(case, hours, reported):
    blocked = case(BOX).placed(BOX)
    deadline = blocked.notice(BOX).deadline_at
    for wait, was_reported in zip(hours, reported, strict=False):
        if blocked.now + timedelta(hours=wait) >= deadline:
            break
        blocked.later(hours=wait)
        if was_reported:
            blocked.notice_sent(BOX)
        blocked.notice_bounced(BOX, Verdict.SENDER, reported=was_reported)
        assert blocked.letters == ()
        assert blocked.notice(BOX).state is NoticeState.DUE


# ---- what is recorded -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reported", "name"), [(False, "ConsignmentNotificationFailure"), (True, "bounce.received")])
def test_a_bounce_is_recorded_with_its_class_code_and_server_and_its_text_sealed(case, reported, name):
    bounced = case(BOX).placed(BOX)
    if reported:
        bounced.notice_sent(BOX)
    bounced.notice_bounced(BOX, Verdict.HARD, reported=reported)
    fact = bounced.named(name)[0]
    expected = {"verdict": "hard", "reason": "user_unknown", "rule": "a-rule", "code": 550, "status": "5.1.1"}
    assert expected.items() <= fact.detail.items()
    assert fact.detail["mta"] == "mx.voorbeeld.nl"
    assert fact.sealed == {"diagnostic": "<jan.jansen@voorbeeld.nl> has no mailbox here"}
    assert "L7" in fact.law


def test_giving_up_is_recorded_as_final_with_its_reason(case):
    bounced = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.HARD)
    final = [fact for fact in bounced.named("ConsignmentNotificationFailure") if fact.detail.get("final")]
    assert [fact.detail["reason"] for fact in final] == ["user_unknown"]
    assert bounced.named("letter.ordered")[0].law == ("L7",)


def test_a_bounce_of_a_notice_that_was_never_due_is_recorded_only(case):
    covered = case("mijndomein", BOX).placed(BOX).placed("mijndomein")
    before = covered.delivery
    covered.notice_bounced("mijndomein", Verdict.HARD, reported=True)
    assert covered.delivery == before
    assert covered.letters == ()
