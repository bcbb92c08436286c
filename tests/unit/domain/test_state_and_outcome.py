"""What people see of a delivery as a whole: derived from its parts, never kept beside them."""

from datetime import timedelta

import pytest

from bode.domain.bounces import Verdict
from bode.domain.events import RefusalKind
from bode.domain.parts import DeliveryState, Outcome

BOX, NOTICE = "mijnoverheid", "notice/mijnoverheid"


def test_a_message_waits_for_its_publication_until_something_was_tried(case):
    scheduled = case(BOX, publish_after=timedelta(days=1))
    assert (scheduled.delivery.state, scheduled.delivery.outcome) == (DeliveryState.SCHEDULED, Outcome.NONE)
    assert scheduled.later(days=1).pending(BOX).delivery.state is DeliveryState.UNDER_WAY


@pytest.mark.parametrize("how", ["accepted", "pending", "unknown", "unavailable", "placed"])
def test_a_delivery_with_something_still_to_do_is_under_way(case, how):
    going = case(BOX)
    if how != "accepted":
        getattr(going, how)(BOX)
    assert going.delivery.state is DeliveryState.UNDER_WAY


def test_a_placed_and_noticed_message_is_done(case):
    done = case(BOX).placed(BOX).notice_sent(BOX)
    assert (done.delivery.state, done.delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICED)


def test_a_done_delivery_comes_back_to_life_when_its_notice_bounces(case):
    back = case(BOX).placed(BOX).notice_sent(BOX).notice_bounced(BOX, Verdict.SOFT, reported=True)
    assert (back.delivery.state, back.delivery.outcome) == (DeliveryState.UNDER_WAY, Outcome.PLACED)


def test_a_waived_notice_is_done(case):
    done = case(BOX, opted_out=True).placed(BOX)
    assert (done.delivery.state, done.delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICE_WAIVED)


def test_a_notice_by_the_box_is_done(case):
    done = case("kluis").placed("kluis")
    assert (done.delivery.state, done.delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICE_BY_BOX)


def test_a_notice_by_letter_is_done_when_the_letter_is_posted(case):
    going = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.HARD).submitted()
    assert (going.delivery.state, going.delivery.outcome) == (DeliveryState.UNDER_WAY, Outcome.PLACED)
    going.posted()
    assert (going.delivery.state, going.delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICE_BY_LETTER)


def test_a_message_on_paper_is_done_when_it_is_posted(case):
    going = case().submitted()
    assert (going.delivery.state, going.delivery.outcome) == (DeliveryState.UNDER_WAY, Outcome.NONE)
    going.posted()
    assert (going.delivery.state, going.delivery.outcome) == (DeliveryState.DONE, Outcome.PAPER)


def test_a_message_by_email_is_done_until_it_comes_back(case):
    mailed = case("email").placed("email")
    assert (mailed.delivery.state, mailed.delivery.outcome) == (DeliveryState.DONE, Outcome.EMAIL)
    mailed.mail_came_back("email", Verdict.HARD)
    assert (mailed.delivery.state, mailed.delivery.outcome) == (DeliveryState.UNDER_WAY, Outcome.NONE)
    assert mailed.submitted().posted().delivery.outcome is Outcome.PAPER


def test_a_delivery_that_waits_for_a_person_says_so_whatever_else_goes_on(case):
    held = case(BOX, "mijndomein").refused(BOX, RefusalKind.UNRECOGNISED).placed("mijndomein")
    assert held.delivery.state is DeliveryState.NEEDS_PERSON


def test_a_carrier_kept_for_later_keeps_no_delivery_open(case):
    assert case(BOX, "email").placed(BOX).notice_sent(BOX).delivery.state is DeliveryState.DONE


def test_two_boxes_are_done_when_the_one_notice_is_out(case):
    both = case(BOX, "mijndomein").placed("mijndomein")
    assert both.delivery.state is DeliveryState.UNDER_WAY
    assert both.placed(BOX).notice_sent(BOX).delivery.state is DeliveryState.DONE
