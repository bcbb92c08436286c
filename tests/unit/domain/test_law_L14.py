"""L14 (Awb 2:17, 2:10): a receipt for an incoming message is delivered like any other, without term or consequences."""

import pytest

from bode.domain.message import Nature
from bode.domain.parts import NoticeState, Outcome

pytestmark = pytest.mark.law("L14")

BOX = "mijnoverheid"


def test_a_receipt_asks_for_no_consequences_and_no_term():
    rules = Nature.ONTVANGSTBEVESTIGING.rules
    assert (rules.needs_consequences, rules.needs_term, rules.names_earlier) == (False, False, False)


def test_a_receipt_is_placed_and_noticed_as_any_message(case):
    receipt = case(BOX, nature=Nature.ONTVANGSTBEVESTIGING, term=None).placed(BOX).notice_sent(BOX)
    assert receipt.notice(BOX).state is NoticeState.SENT
    assert receipt.delivery.outcome is Outcome.NOTICED


def test_a_receipt_has_no_last_day(case):
    receipt = case(BOX, nature=Nature.ONTVANGSTBEVESTIGING, term=None).placed(BOX)
    detail = receipt.named("ContentConsignment")[0].detail
    assert "term_last_day" not in detail
    assert "legal_time" in detail


def test_a_receipt_for_who_has_no_address_costs_no_letter(case):
    receipt = case(BOX, nature=Nature.ONTVANGSTBEVESTIGING, term=None, email=False).placed(BOX)
    assert receipt.letters == ()
    assert receipt.delivery.outcome is Outcome.NOTICE_IMPOSSIBLE
