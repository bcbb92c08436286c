"""L10 (Awb 2:19): when a message is sent: accessible in the box, relayed, posted; of several, MijnOverheid's."""

from datetime import timedelta

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.events import TimeSource

pytestmark = pytest.mark.law("L10")

MINE, OTHER = "mijnoverheid", "mijndomein"


def test_the_boxs_own_time_counts_and_its_source_is_kept(case, start):
    placed = case(MINE).later(minutes=5).placed(MINE, at=start + timedelta(minutes=1))
    assert (placed.legal.at, placed.legal.source) == (start + timedelta(minutes=1), TimeSource.OTHER_SIDE)
    (fact,) = placed.named("ContentConsignment")
    assert (fact.at, fact.source) == (start + timedelta(minutes=1), TimeSource.OTHER_SIDE)
    assert fact.detail["receipt"] == "ontvangst-7"


def test_our_time_of_its_confirmation_counts_where_the_box_gives_none(case):
    placed = case(MINE)
    placed.happens(ev.Placed(MINE, placed.now, TimeSource.OUR_CLOCK))
    assert placed.legal.source is TimeSource.OUR_CLOCK


def test_acceptance_of_a_batch_is_no_accessibility(case, policy):
    pending = case(MINE).pending(MINE)
    assert pending.delivery.sendings == ()
    assert pending.delivery.legal_time(policy.primary_channels()) is None
    assert pending.named("ContentConsignment") == []
    assert pending.named("placement.pending")[0].detail["receipt"] == "batch-7"


@pytest.mark.parametrize("mine_first", [True, False])
def test_with_several_boxes_mijnoverheids_moment_counts_earlier_or_later(case, start, mine_first):
    order = (MINE, OTHER) if mine_first else (OTHER, MINE)
    both = case(MINE, OTHER).placed(order[0]).later(hours=6).placed(order[1])
    assert both.legal.at == (start if mine_first else start + timedelta(hours=6))
    assert (both.legal.channel, both.legal.rule) == (MINE, "L10-several")


def test_until_mijnoverheid_took_it_the_other_boxs_moment_counts(case, start):
    one = case(MINE, OTHER).placed(OTHER)
    assert (one.legal.at, one.legal.channel, one.legal.rule) == (start, OTHER, "L10")


def test_of_several_boxes_without_mijnoverheid_the_first_moment_counts(case, start):
    both = case(OTHER, "kluis").placed("kluis", at=start + timedelta(hours=2)).placed(OTHER, at=start)
    assert (both.legal.at, both.legal.channel, both.legal.rule) == (start, OTHER, "L10")


def test_email_is_sent_when_it_leaves_and_is_never_called_delivered(case):
    mailed = case("email").later(minutes=1).placed("email")
    assert mailed.legal.at == mailed.now
    assert mailed.named("ContentConsignment") == []
    assert mailed.named("RelayToNonERDS")[0].detail["legal_rule"] == "L10"


def test_a_letter_is_sent_when_it_is_posted_and_not_when_it_is_handed_over(case):
    paper = case().submitted()
    assert paper.delivery.sendings == ()
    assert paper.later(days=1).printed().delivery.sendings == ()
    posted_at = paper.now + timedelta(hours=2)
    paper.later(days=1).posted(at=posted_at)
    assert (paper.legal.at, paper.legal.channel, paper.legal.source) == (posted_at, "print", TimeSource.OTHER_SIDE)
    assert paper.named("letter.posted")[0].law == ("L10",)


def test_a_letter_reported_back_before_it_was_reported_posted_was_still_sent_when_posted(case, start):
    paper = case().submitted().later(days=9).came_back().posted(at=start + timedelta(days=1))
    assert paper.legal.at == start + timedelta(days=1)
    assert paper.attention == {("letter/0", "letter_returned")}
    paper.posted(at=start + timedelta(days=2))
    assert len(paper.delivery.sendings) == 1


def test_a_placement_reported_twice_is_one_sending(case):
    placed = case(MINE).placed(MINE).later(hours=1).placed(MINE)
    assert len(placed.delivery.sendings) == 1
    assert placed.last.facts[0].name == "event.recorded"


@pytest.mark.law("L8")
def test_an_earlier_moment_that_is_told_later_counts_and_nothing_is_overwritten(case, start):
    """The report on the first call was overtaken by the one on its repeat, which found the message there."""
    placed = case(MINE).later(hours=5)
    placed.happens(ev.Placed(MINE, placed.now, TimeSource.OTHER_SIDE, "2", "BerichtBestaatAl", already=True))
    late = placed.later(hours=1).placed(MINE, at=start + timedelta(hours=1))
    assert (late.legal.at, late.legal.rule) == (start + timedelta(hours=1), "L10")
    assert [sending.at for sending in late.delivery.sendings] == [
        start + timedelta(hours=5),
        start + timedelta(hours=1),
    ]
    assert late.placement(MINE).placed_at == start + timedelta(hours=1)
    assert [fact.detail["already"] for fact in late.named("ContentConsignment")] == [True, False]


@pytest.mark.parametrize(
    ("hours", "source", "already"), [(6, "other_side", False), (1, "our_clock", False), (1, "other_side", True)]
)
def test_a_later_moment_our_own_clock_and_a_repeat_change_nothing(case, start, hours, source, already):
    placed = case(MINE).later(hours=5).placed(MINE)
    placed.happens(ev.Placed(MINE, start + timedelta(hours=hours), TimeSource(source), already=already))
    assert placed.legal.at == start + timedelta(hours=5)
    assert len(placed.delivery.sendings) == 1


@pytest.mark.law("L3", "L11")
def test_a_notice_that_left_too_late_for_the_earlier_moment_is_a_missed_deadline(case, start):
    placed = case(MINE).later(hours=60).placed(MINE).notice_sent(MINE)
    assert placed.named("deadline.missed") == []
    placed.placed(MINE, at=start)
    assert placed.notice(MINE).deadline_at == start + timedelta(hours=48)
    assert len(placed.named("deadline.missed")) == 1


@pytest.mark.law("L3")
def test_a_notice_that_is_due_gets_the_earlier_deadline(case, start):
    placed = case(MINE).later(hours=20).placed(MINE).later(hours=1).placed(MINE, at=start)
    assert placed.notice(MINE).deadline_at == start + timedelta(hours=48)
    assert placed.last.rewake == (("notice/mijnoverheid", start + timedelta(hours=24)),)


def test_the_first_receipt_is_kept_through_later_calls(case):
    again = case(MINE).pending(MINE).unavailable(MINE)
    again.happens(ev.PlacementPending(MINE, "batch-8"))
    assert (again.placement(MINE).first_receipt, again.placement(MINE).receipt) == ("batch-7", "batch-8")


@pytest.mark.law("L3")
@pytest.mark.parametrize("verdict", [Verdict.HARD, Verdict.SOFT])
def test_nothing_about_the_notice_touches_the_sending(case, verdict):
    placed = case(MINE).placed(MINE).notice_sent(MINE)
    legal = placed.legal
    placed.later(days=3).notice_bounced(MINE, verdict, reported=True)
    assert placed.legal == legal


@pytest.mark.law("L15")
def test_the_legal_time_and_the_last_day_of_the_term_are_recorded_with_each_sending(case):
    detail = case(MINE).placed(MINE).named("ContentConsignment")[0].detail
    assert detail["legal_time"] == "2026-03-02T09:00:00+00:00"
    assert (detail["legal_rule"], detail["legal_channel"]) == ("L10", MINE)
    assert (detail["term"], detail["term_sent_on"]) == ("P6W", "2026-03-02")
    assert (detail["term_unextended"], detail["term_last_day"]) == ("2026-04-13", "2026-04-13")
