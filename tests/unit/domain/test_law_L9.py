"""L9 (Awb 2:12): a sent message changes only by a new one; what was not handed over can be called back."""

from datetime import timedelta

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.events import RefusalKind
from bode.domain.message import Nature
from bode.domain.parts import DeliveryState, LetterState, Outcome, PlacementState

pytestmark = pytest.mark.law("L9")

BOX = "mijnoverheid"


def test_a_scheduled_message_can_be_called_back_and_nothing_of_it_is_left_to_do(case, to_check):
    scheduled = case(BOX, to_check("kluis"), "email", publish_after=timedelta(days=3)).later(days=1).cancelled()
    assert scheduled.delivery.state is DeliveryState.CANCELLED
    assert scheduled.delivery.outcome is Outcome.CANCELLED
    assert {placement.state for placement in scheduled.delivery.placements} == {PlacementState.CANCELLED}
    assert scheduled.steps == {}


def test_who_called_it_back_and_why_is_recorded(case):
    (fact,) = case(BOX, publish_after=timedelta(days=3)).cancelled().named("message.cancelled")
    assert (fact.law, fact.detail["by"], fact.sealed["reason"]) == (("L9",), "zaaksysteem-1", "verkeerde bijlage")


def test_a_letter_that_was_not_handed_over_is_called_back_too(case):
    assert case(publish_after=timedelta(days=3)).cancelled().letters[0].state is LetterState.CANCELLED


def test_a_letter_that_waits_for_an_address_is_called_back_and_nobody_waits_for_it(case):
    blocked = case(address=False, publish_after=timedelta(days=3)).cancelled()
    assert blocked.letters[0].state is LetterState.CANCELLED
    assert blocked.attention == set()


@pytest.mark.parametrize(
    "how", ["placed", "pending", "unknown", "unavailable", "refused", "held", "mailed", "submitted"]
)
def test_what_was_handed_over_or_tried_cannot_be_called_back(case, how):
    match how:
        case "held":
            tried = case(BOX).refused(BOX, RefusalKind.DEFECT)
        case "mailed":
            tried = case("email").placed("email").mail_came_back("email", Verdict.SOFT)
        case "submitted":
            tried = case().submitted()
        case _:
            tried = getattr(case(BOX), how)(BOX)
    before = tried.delivery
    tried.cancelled()
    assert tried.delivery == before
    assert tried.last.closed == ()
    assert tried.last.facts[0].detail["moved"] is False


def test_calling_back_twice_is_recorded_once_as_an_act(case):
    twice = case(BOX, publish_after=timedelta(days=3)).cancelled().cancelled()
    assert len(twice.named("message.cancelled")) == 1


def test_what_was_called_back_stays_so_whatever_comes(case):
    cancelled = case(BOX, publish_after=timedelta(days=3)).cancelled()
    before = cancelled.delivery
    cancelled.accepted().placed(BOX).retried().letter_ordered().refused(BOX).later(days=9).pending(BOX)
    assert cancelled.delivery == before
    assert cancelled.steps == {}


@pytest.mark.parametrize("nature", [Nature.WIJZIGING, Nature.INTREKKING])
def test_a_later_message_that_changes_or_withdraws_this_one_moves_nothing_and_is_linked(case, nature):
    sent = case(BOX).placed(BOX).notice_sent(BOX)
    before = sent.delivery
    sent.happens(ev.Superseded("kenmerk-2026-2", nature))
    assert sent.delivery == before
    assert sent.last.steps == ()
    (fact,) = sent.named("message.superseded")
    assert (fact.law, fact.detail) == (("L9",), {"by": "kenmerk-2026-2", "nature": nature})


def test_a_withdrawal_does_not_stop_the_notice_of_the_earlier_message(case):
    sent = case(BOX).placed(BOX).happens(ev.Superseded("kenmerk-2026-2", Nature.INTREKKING))
    assert "notice/mijnoverheid" in sent.steps
