"""L11 and L12 (Awb 2:22, 2:25): the facts that a missed term turns on are recorded: facts, not a verdict."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Verdict
from bode.domain.events import TimeSource
from bode.domain.message import Term
from bode.domain.parts import NoticeState

pytestmark = pytest.mark.law("L11")

BOX, NOTICE = "mijnoverheid", "notice/mijnoverheid"


def test_who_gave_the_address_and_when_is_recorded_and_the_address_is_not(case, start):
    (fact,) = case(BOX).named("preference.snapshot")
    assert fact.detail["email_known"] is True
    assert fact.detail["email_given_by"] == "geadresseerde"
    assert fact.detail["email_given_at"] == (start - timedelta(days=90)).isoformat()
    assert "opted_out_at" not in fact.detail
    assert fact.sealed == {}


def test_an_opt_out_is_recorded_with_its_date(case, start):
    (fact,) = case(BOX, opted_out=True).named("preference.snapshot")
    assert fact.detail["opted_out_at"] == (start - timedelta(days=30)).isoformat()


def test_that_no_address_is_known_is_recorded(case):
    (fact,) = case(BOX, email=False).named("preference.snapshot")
    assert fact.detail["email_known"] is False
    assert "email_given_by" not in fact.detail


def test_every_end_of_a_notice_leaves_the_fact_that_answers_for_it(case, strike):
    ends = {
        NoticeState.SENT: (case(BOX).placed(BOX).notice_sent(BOX), "ConsignmentNotification"),
        NoticeState.WAIVED: (case(BOX, opted_out=True).placed(BOX), "notice.waived"),
        NoticeState.IMPOSSIBLE: (case(BOX, email=False).placed(BOX), "notice.impossible"),
        NoticeState.UNDELIVERABLE: (
            case(BOX).placed(BOX).notice_bounced(BOX, Verdict.HARD),
            "ConsignmentNotificationFailure",
        ),
        NoticeState.EXPIRED: (case(BOX).placed(BOX).later(hours=48).happens(strike(NOTICE)), "deadline.missed"),
    }
    for state, (ended, name) in ends.items():
        assert ended.notice(BOX).state is state
        assert ended.named(name, NOTICE), f"{state} leaves no {name}"
    by_box = case("kluis").placed("kluis")
    assert by_box.named("notice.by_box", "notice/kluis")
    covered = case(BOX, "mijndomein").placed(BOX).placed("mijndomein")
    assert covered.named("channel.decision", "notice/mijndomein")[0].detail["decision"] == "covered"


def test_each_attempt_is_recorded_with_its_number(case):
    told = case(BOX).placed(BOX).notice_sent(BOX).later(hours=2).notice_bounced(BOX, Verdict.SOFT, reported=True)
    told.later(hours=2).notice_sent(BOX)
    assert [fact.detail["attempt"] for fact in told.named("ConsignmentNotification")] == [1, 2]
    assert told.notice(BOX).sent_at == told.named("ConsignmentNotification")[0].at, "the first one is when it was told"


def test_a_missed_deadline_says_how_often_was_tried(case, strike):
    missed = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.SOFT).relay_down(BOX).later(hours=48)
    assert missed.happens(strike(NOTICE)).named("deadline.missed")[0].detail["attempts"] == 2


def test_the_alternative_effort_is_recorded_up_to_its_posting(case):
    bounced = case(BOX).placed(BOX).notice_bounced(BOX, Verdict.HARD).submitted().later(days=1).printed().posted()
    parts = [fact.name for fact in bounced.facts if fact.part == "letter/0"]
    assert parts == ["letter.ordered", "RelayToNonERDS", "letter.printed", "letter.posted"]
    relayed = bounced.named("RelayToNonERDS", "letter/0")[0]
    assert (relayed.detail["sha256"], relayed.detail["pages"], relayed.detail["kind"]) == ("b" * 64, 2, "notice")
    assert bounced.named("letter.posted")[0].law == ("L7",)
    assert "legal_time" not in bounced.named("letter.posted")[0].detail


def test_a_term_given_as_a_date_is_recorded_as_it_was_given(case, start):
    given = Term(last_day=(start + timedelta(days=50)).date())
    detail = case(BOX, term=given).placed(BOX).named("ContentConsignment")[0].detail
    assert detail["term_last_day"] == "2026-04-21"
    assert "term" not in detail


@pytest.mark.law("L12")
def test_opening_is_recorded_with_the_boxs_time_and_moves_nothing_else(case):
    opened = case(BOX).placed(BOX).later(hours=7)
    before, steps = opened.delivery, dict(opened.steps)
    opened.happens(ev.Opened(BOX, opened.now))
    assert opened.delivery.opened_at == opened.now
    (placement,) = opened.delivery.placements
    assert (replace(placement, opened_at=None, readings=0),) == before.placements
    assert opened.steps == steps
    (fact,) = opened.named("ContentAccessTracking")
    assert (fact.law, fact.at, fact.source) == (("L12",), opened.now, TimeSource.OTHER_SIDE)


@pytest.mark.law("L12")
def test_the_first_opening_counts_and_a_later_one_is_recorded_only(case):
    opened = case(BOX).placed(BOX).later(hours=7)
    opened.happens(ev.Opened(BOX, opened.now), after=timedelta()).later(days=1)
    opened.happens(ev.Opened(BOX, opened.now))
    assert opened.delivery.opened_at == opened.now - timedelta(days=1)
    assert len(opened.named("ContentAccessTracking")) == 1
    assert opened.named("event.recorded")[-1].detail["event"] == "Opened"
