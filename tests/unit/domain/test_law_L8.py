"""L8 (Awb 2:11, third paragraph): the second sending of the message counts; sendings are only ever added to."""

from datetime import timedelta

import pytest

from bode.domain.bounces import Verdict
from bode.domain.events import TimeSource
from bode.domain.parts import Delivery, Sending

pytestmark = pytest.mark.law("L8")

BOX = "mijnoverheid"


def test_a_second_sending_after_a_failure_moves_the_legal_time(case):
    mailed = case("email").placed("email").later(hours=3).mail_came_back("email", Verdict.SOFT).later(hours=1)
    mailed.placed("email")
    assert (mailed.legal.at, mailed.legal.rule, mailed.legal.standing) == (mailed.now, "L8", True)


def test_a_letter_after_a_returned_mail_is_a_second_sending(case):
    mailed = case("email").placed("email").later(days=1).mail_came_back("email", Verdict.HARD).submitted()
    mailed.later(days=2).posted()
    assert (mailed.legal.at, mailed.legal.rule, mailed.legal.channel) == (mailed.now, "L8", "print")


def test_both_times_are_kept_with_the_reason_the_first_does_not_count(case, start):
    mailed = case("email").placed("email").later(hours=3).mail_came_back("email", Verdict.SOFT).placed("email")
    assert [(sending.at, sending.failed) for sending in mailed.delivery.sendings] == [
        (start, "mailbox_full"),
        (start + timedelta(hours=3), None),
    ]


def test_a_later_report_leaves_the_reason_of_the_first_failure(case):
    mailed = case("email").placed("email").mail_came_back("email", Verdict.SOFT).later(hours=1).placed("email")
    mailed.mail_came_back("email", Verdict.HARD)
    assert [sending.failed for sending in mailed.delivery.sendings] == ["mailbox_full", "user_unknown"]


def test_between_failure_and_second_sending_the_legal_time_does_not_stand(case, start):
    mailed = case("email").placed("email").later(hours=3).mail_came_back("email", Verdict.SOFT)
    assert (mailed.legal.at, mailed.legal.standing) == (start, False)


def test_a_resend_of_a_notice_never_moves_the_legal_time(case):
    placed = case(BOX).placed(BOX)
    legal = placed.legal
    placed.notice_sent(BOX).later(hours=5).notice_bounced(BOX, Verdict.SOFT, reported=True).later(hours=5)
    placed.notice_sent(BOX).notice_bounced(BOX, Verdict.HARD, reported=True)
    placed.submitted().later(days=1).posted()
    assert placed.legal == legal
    assert len(placed.delivery.sendings) == 1


def test_a_letter_that_only_tells_of_a_notice_is_no_sending_of_the_message(case):
    placed = case(BOX, email=False).placed(BOX).submitted().later(days=2).posted()
    assert [sending.part for sending in placed.delivery.sendings] == ["placement/mijnoverheid"]


def test_a_letter_that_a_person_ordered_beside_a_placed_message_leaves_the_legal_time(case, start):
    placed = case(BOX).placed(BOX).letter_ordered().submitted().later(days=2).posted()
    assert (placed.legal.at, placed.legal.rule) == (start, "L10")
    assert len(placed.delivery.sendings) == 2


def test_the_last_day_of_a_term_moves_with_the_second_sending(case):
    mailed = case("email").placed("email")
    assert mailed.named("RelayToNonERDS")[0].detail["term_last_day"] == "2026-04-13"
    mailed.mail_came_back("email", Verdict.HARD).submitted().later(days=3).posted()
    posted = mailed.named("letter.posted")[0].detail
    assert (posted["legal_rule"], posted["term_last_day"]) == ("L8", "2026-04-16")


def test_nothing_sent_has_no_legal_time(case, policy):
    assert case(BOX).delivery.legal_time(policy.primary_channels()) is None


def test_a_sending_that_stood_before_another_failed_keeps_its_own_rule(brief, start):
    delivery = Delivery(
        brief("email", "email-reserve"),
        sendings=(
            Sending("email", "placement/email", start, TimeSource.OUR_CLOCK),
            Sending("print", "letter/0", start + timedelta(days=1), TimeSource.OTHER_SIDE, failed="back"),
        ),
    )
    legal = delivery.legal_time(frozenset())
    assert legal is not None
    assert (legal.at, legal.rule) == (start, "L10")
