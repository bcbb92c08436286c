"""Whole stories on both databases, with a clock that a test moves: from accepted to its end."""

from datetime import timedelta

import pytest

from bode.domain import events as ev
from bode.domain.bounces import Reason, Verdict
from bode.domain.parts import DeliveryState, LetterKind, LetterReason, LetterState, Outcome
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode_adapters.contract import (
    Absent,
    LetterStatus,
    MailRefused,
    Pending,
    RefusalKind,
    Refused,
    Unavailable,
    Unknown,
)
from bode_adapters.memory import Staged

FULL = MailRefused("rcpt_to", 452, "4.2.2 mailbox full", "mx.example.nl")
NOBODY = MailRefused("rcpt_to", 550, "5.1.1 user unknown", "mx.example.nl")
LAAG = {"vertrouwelijkheid": "laag", "aard": "overig", "termijn": None}


def times(app, rule, number):
    """Let the first so many calls be answered so."""
    left = [number]

    def answer(_item):
        left[0] -= 1
        return rule if left[0] >= 0 else None

    return answer


async def test_placed_and_noticed(app):
    accepted = await app.accept()
    await app.settle()
    delivery = await app.delivery(accepted.id)
    assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICED)
    assert app.box.placements[accepted.id] == 1
    assert list(app.notifier.sent.values()) == [1]
    assert not app.printer.printed
    assert await app.steps() == []
    (notice,) = app.notifier.notices.values()
    assert "dakkapel" not in notice.text
    assert notice.deadline == delivery.placements[0].placed_at + timedelta(hours=48)


async def test_softly_bounced_twice_and_then_sent(app):
    app.notifier.script.rule = times(app, FULL, 2)
    accepted = await app.accept()
    await app.pass_time(hours=3)
    delivery = await app.delivery(accepted.id)
    assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICED)
    assert delivery.placements[0].notice.attempts == 3
    assert not app.printer.printed


async def test_softly_bounced_until_the_deadline(app):
    """Alarms at 24, 36 and 44 hours, the breach recorded once, one letter, and no attempt after it."""
    alarms = []
    app.lanes._alarm = lambda message, alarm: alarms.append((app.clock.now(), alarm.kind)) or _nothing()
    app.notifier.script.rule = lambda _: FULL
    accepted = await app.accept()
    start = app.clock.now()
    await app.settle()
    await app.pass_time(hours=47, every=1)
    assert not app.printer.printed
    assert await app.named(accepted.id, "deadline.missed") == []
    tried = (await app.delivery(accepted.id)).placements[0].notice.attempts
    await app.pass_time(hours=20, every=1)
    late = [round((at - start) / timedelta(hours=1)) for at, kind in alarms if kind == "notice_late"]
    assert late == [24, 36, 44]
    assert [kind for _, kind in alarms].count("notice_missed") == 1
    (missed,) = await app.named(accepted.id, "deadline.missed")
    assert missed.at == start + timedelta(hours=48)
    delivery = await app.delivery(accepted.id)
    assert delivery.placements[0].notice.state is N.EXPIRED
    assert delivery.placements[0].notice.attempts == tried >= 5
    assert [(letter.kind, letter.reason) for letter in delivery.letters] == [
        (LetterKind.NOTICE, LetterReason.NOTICE_NOT_IN_TIME)
    ]
    assert list(app.printer.printed.values()) == [1]


async def _nothing():
    return None


async def test_a_hard_bounce_leads_to_one_letter_at_once(app):
    app.notifier.script.rule = lambda _: NOBODY
    accepted = await app.accept()
    await app.settle()
    delivery = await app.delivery(accepted.id)
    assert delivery.placements[0].notice.state is N.UNDELIVERABLE
    assert list(app.printer.printed.values()) == [1]
    app.printer.report(next(iter(app.printer.printed)), LetterStatus.POSTED)
    await app.inbound.read_reports()
    delivery = await app.delivery(accepted.id)
    assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICE_BY_LETTER)
    await app.pass_time(hours=60, every=6)
    assert list(app.printer.printed.values()) == [1]
    assert await app.named(accepted.id, "deadline.missed") == []


async def test_a_box_that_refuses_the_addressee_leads_to_the_message_on_paper(app):
    app.box.script.rule = lambda _: Refused("NietGeabonneerd", RefusalKind.ADDRESSEE)
    accepted = await app.accept()
    await app.settle()
    (letter,) = app.printer.letters.values()
    app.printer.report(letter.id, LetterStatus.POSTED)
    await app.inbound.read_reports()
    delivery = await app.delivery(accepted.id)
    assert letter.kind == "message"
    assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.PAPER)


async def test_the_next_carrier_is_taken_before_paper(app, body):
    app.box.script.rule = lambda _: Refused("NietGeabonneerd", RefusalKind.ADDRESSEE)
    accepted = await app.accept(body(channels=("mijnoverheid", "email"), **LAAG))
    await app.settle()
    assert (await app.delivery(accepted.id)).outcome is Outcome.EMAIL
    assert app.mail.placements[accepted.id] == 1
    assert not app.printer.printed


async def test_two_boxes_one_notice(app, body):
    accepted = await app.accept(body(channels=("mijnoverheid", "mijndomein")))
    await app.pass_time(hours=60, every=6)
    states = {item.channel: item.notice.state for item in (await app.delivery(accepted.id)).placements}
    assert states == {"mijnoverheid": N.SENT, "mijndomein": N.COVERED}
    assert sum(app.notifier.sent.values()) == 1


async def test_an_unknown_outcome_is_repeated_and_placed_once(app):
    app.box.script.rule = times(app, Staged(Unknown("timeout"), happened=True), 1)
    accepted = await app.accept()
    await app.settle()
    assert (await app.delivery(accepted.id)).placements[0].state is P.UNKNOWN
    await app.pass_time(hours=1)
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED
    assert app.box.placements[accepted.id] == 1


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unknown_outcome_is_looked_up_and_placed_once(app, body, happened):
    app.other_box.script.rule = times(app, Staged(Unknown("timeout"), happened=happened), 1)
    accepted = await app.accept(body(channels=("mijndomein",)))
    await app.pass_time(hours=2)
    (reconciled,) = await app.named(accepted.id, "outcome.reconciled")
    assert reconciled.detail["outcome"] == ("placed" if happened else "absent")
    assert app.other_box.placements[accepted.id] == 1
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_box_that_takes_in_first_is_asked_until_it_says_what_came_of_it(app):
    app.box.script.rule = lambda _: Pending("ontvangst-1")
    accepted = await app.accept()
    await app.pass_time(hours=3)
    assert (await app.delivery(accepted.id)).placements[0].state is P.PENDING
    app.box.settle(accepted.id)
    await app.pass_time(hours=1)
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED
    assert app.box.placements[accepted.id] == 1


async def test_a_result_that_does_not_come_is_shown_to_a_person_and_still_asked_for(app):
    app.box.script.rule = lambda _: Pending("ontvangst-1")
    accepted = await app.accept()
    await app.pass_time(hours=30, every=2)
    assert (await app.delivery(accepted.id)).state is DeliveryState.NEEDS_PERSON
    app.box.settle(accepted.id)
    await app.pass_time(hours=1)
    assert (await app.delivery(accepted.id)).state is DeliveryState.DONE


async def test_a_wrong_registration_stops_the_lane_and_starting_it_places_everything_once(app, body):
    app.box.script.rule = lambda _: Refused("OinOnbekend", RefusalKind.CONFIGURATION)
    ids = [(await app.accept()).id for _ in range(3)]
    paper = await app.accept(body(channels=()))
    await app.settle()
    assert await app.stopped() == {"mijnoverheid": "OinOnbekend"}
    assert list(app.printer.printed.values()) == [1], "other lanes go on"
    await app.pass_time(hours=20, every=4)
    assert not app.box.placements
    app.box.script.rule = None
    assert await app.start_lane("mijnoverheid")
    await app.settle()
    for message in ids:
        assert (await app.delivery(message)).outcome is Outcome.NOTICED
        assert app.box.placements[message] == 1
    assert list(app.printer.printed.values()) == [1], "nobody got a letter for it"
    assert (await app.delivery(paper.id)).letters[0].reason is LetterReason.NO_CHANNEL


async def test_a_word_nobody_knows_waits_for_a_person_who_tries_again(app):
    app.box.script.rule = times(app, Refused("Wtf", RefusalKind.UNRECOGNISED), 1)
    accepted = await app.accept()
    await app.pass_time(hours=10)
    assert (await app.delivery(accepted.id)).state is DeliveryState.NEEDS_PERSON
    await app.lanes.apply([(accepted.id, ev.Retried("medewerker", "nagevraagd"))])
    await app.settle()
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_box_that_is_down_is_tried_until_patience_ends_and_then_it_is_paper(app):
    app.box.down = True
    accepted = await app.accept()
    await app.pass_time(hours=100, every=2)
    delivery = await app.delivery(accepted.id)
    assert delivery.placements[0].state is P.REFUSED
    assert delivery.letters[0].reason is LetterReason.BOX_REFUSED
    assert list(app.printer.printed.values()) == [1]


async def test_many_refusals_of_our_own_mail_stop_the_lane_and_bring_no_letters(app):
    app.notifier.script.rule = lambda _: MailRefused("after_dot", 554, "5.7.1 blocked using spamhaus", "mx.example.nl")
    for _ in range(25):
        await app.accept()
    await app.settle()
    assert list(await app.stopped()) == ["kennisgeving"]
    assert not app.printer.printed


async def test_a_check_that_says_unreachable_is_paper_and_one_that_fails_is_asked_again(app, body):
    ask = {"kanalen": [{"kanaal": "mijnoverheid", "grondslag": "controleren"}]}
    app.box._reachable = lambda _: None
    accepted = await app.accept(body(**ask))
    await app.settle()
    assert (await app.delivery(accepted.id)).placements[0].state is P.CHECKING
    app.box._reachable = lambda _: False
    await app.pass_time(hours=1)
    delivery = await app.delivery(accepted.id)
    assert delivery.placements[0].state is P.REFUSED
    assert delivery.letters[0].kind is LetterKind.MESSAGE
    app.box._reachable = lambda _: True
    again = await app.accept(body(**ask))
    await app.settle()
    assert (await app.delivery(again.id)).outcome is Outcome.NOTICED


async def test_a_message_is_not_placed_before_its_time(app, body):
    at = app.clock.now() + timedelta(hours=6)
    accepted = await app.accept(body(publicatieTijdstip=at.isoformat()))
    await app.pass_time(hours=5.5)
    assert not app.box.placements
    await app.pass_time(hours=1)
    assert (await app.delivery(accepted.id)).placements[0].placed_at == at


async def test_a_mail_that_comes_back_is_followed_by_paper_which_counts(app, body):
    accepted = await app.accept(body(channels=("email",), **LAAG))
    await app.settle()
    bounce = ev.Bounce(Verdict.HARD, Reason.USER_UNKNOWN, "a-rule", 550, "5.1.1", reported=True)
    await app.lanes.apply([(accepted.id, ev.CarrierBounced("email", bounce))])
    await app.settle()
    app.printer.report(next(iter(app.printer.printed)), LetterStatus.POSTED)
    await app.inbound.read_reports()
    legal = (await app.delivery(accepted.id)).legal_time(frozenset())
    assert (legal.rule, legal.channel) == ("L8", "print")


async def test_no_address_and_no_electronic_way_waits_for_a_person(app, body):
    request = body(channels=())
    request["geadresseerde"].pop("adres")
    accepted = await app.accept(request)
    await app.settle()
    delivery = await app.delivery(accepted.id)
    assert delivery.letters[0].state is LetterState.BLOCKED
    assert delivery.state is DeliveryState.NEEDS_PERSON


async def test_a_search_that_finds_nothing_of_what_was_taken_in_places_it_anew(app, body):
    app.other_box.script.rule = times(app, Pending("ontvangst-1"), 1)
    accepted = await app.accept(body(channels=("mijndomein",)))
    await app.settle()
    app.other_box.settle(accepted.id, Absent())
    await app.pass_time(hours=1)
    assert app.other_box.placements[accepted.id] == 1
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_print_service_that_is_down_gets_its_letters_later_once(app, body):
    app.printer.script.rule = times(app, Unavailable("down"), 3)
    accepted = await app.accept(body(channels=()))
    await app.pass_time(hours=6)
    assert list(app.printer.printed.values()) == [1]
    assert (await app.delivery(accepted.id)).letters[0].state is LetterState.SUBMITTED
