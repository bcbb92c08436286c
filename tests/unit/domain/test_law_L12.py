"""L12 (Awb 2:25): that the addressee took notice of a message, where its box says so."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bode.domain import events as ev
from bode.domain.decision import Action
from bode.domain.parts import DeliveryState

pytestmark = pytest.mark.law("L12")
BOX, PART = "mijndomein", "reading/mijndomein"


@pytest.fixture
def read(case, policy_with):
    """Give a message placed in a box that says what was opened."""
    channels = {name: replace(channel, read_times=True) for name, channel in policy_with().channels.items()}
    return case(BOX, policy=policy_with(channels=channels)).placed(BOX).notice_sent(BOX)


def test_a_box_that_does_not_say_is_not_asked(case):
    assert PART not in case(BOX).placed(BOX).steps


def test_a_box_that_says_is_asked_later_and_after_everything_that_is_to_be_placed(read):
    step = read.steps[PART]
    assert (step.action, step.lane) == (Action.READ, BOX)
    assert timedelta(minutes=45) < step.due_at - read.now < timedelta(minutes=75)
    assert step.deadline_at > read.now + timedelta(days=40)


def test_a_message_that_waits_to_be_read_is_done(read):
    assert read.delivery.state is DeliveryState.DONE


def test_it_is_asked_less_and_less_often_for_six_weeks_and_then_no_more(read):
    placed_at, asked = read.now, 0
    while PART in read.steps:
        step = read.steps.pop(PART)
        read.later(seconds=(step.due_at - read.now).total_seconds())
        read.happens(ev.NotOpened(BOX))
        asked += 1
    assert 10 <= asked <= 16
    assert timedelta(days=35) < read.now - placed_at <= timedelta(days=42)
    (fact,) = read.named("access.not_seen")
    assert (fact.law, fact.detail["asked"]) == (("L12",), asked)


def test_opened_is_recorded_once_with_the_boxs_time_and_asked_no_more(read):
    opened_at = read.now + timedelta(hours=3)
    read.later(hours=5).happens(ev.Opened(BOX, opened_at, exact=False))
    read.happens(ev.Opened(BOX, opened_at, exact=False)).happens(ev.NotOpened(BOX))
    assert PART not in read.steps
    (fact,) = read.named("ContentAccessTracking")
    assert (fact.at, fact.detail["at_latest"], read.delivery.opened_at) == (opened_at, True, opened_at)


def test_a_question_that_failed_is_asked_again_and_is_no_answer(read):
    read.later(hours=1).happens(ev.NotOpened(BOX, "http_503"))
    assert PART in read.steps
    assert read.named("access.not_seen") == []
    assert read.delivery.opened_at is None


def test_a_worker_that_was_lost_while_asking_leaves_the_question_open(read):
    read.later(hours=1).lease_lost(PART)
    assert read.steps[PART].action is Action.READ


def test_without_its_content_nobody_can_be_asked_about(read):
    read.later(days=3).happens(ev.NotOpened(BOX, "content_gone", final=True))
    assert PART not in read.steps
    assert read.named("access.not_seen")[0].detail["code"] == "content_gone"
