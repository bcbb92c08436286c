"""What the print service reports: each line counts once, also when it is faster than our own record."""

import asyncio
from datetime import time
from uuid import uuid4

import pytest

from bode.domain.parts import AttentionReason, DeliveryState, LetterState, letter_id
from bode.engine.inbound import REPORTS
from bode.store import tables
from bode_adapters.contract import LetterStatus, RefusalKind, Refused, ReturnReason, Unknown
from bode_adapters.memory import Staged
from bode_adapters.printing.words import status_of
from bode_ops.story.words import RETURN_REASONS


@pytest.fixture
async def letter(app, body):
    """Give a message on paper, and the id of its letter at the print service."""
    accepted = await app.accept(body(channels=()))
    await app.settle()
    return accepted.id, next(iter(app.printer.printed))


async def state(app, message):
    return (await app.delivery(message)).letters[0].state


async def test_printed_and_posted(app, letter):
    message, sent = letter
    for status, then in (
        (LetterStatus.ACCEPTED, LetterState.SUBMITTED),
        (LetterStatus.PRINTED, LetterState.PRINTED),
        (LetterStatus.POSTED, LetterState.POSTED),
        (LetterStatus.DELIVERED, LetterState.POSTED),
    ):
        app.clock.move(hours=2)
        app.printer.report(sent, status)
        assert await app.inbound.read_reports() == 1
        assert await state(app, message) is then
    assert await app.inbound.read_reports() == 0, "what is confirmed does not come again"
    assert (await app.delivery(message)).state is DeliveryState.DONE


async def test_the_same_report_twice_counts_once(app, letter, monkeypatch):
    message, sent = letter
    app.printer.report(sent, LetterStatus.POSTED)
    with monkeypatch.context() as broken:

        async def lost(*, keys):
            raise OSError("the confirmation is lost")

        broken.setattr(app.printer, "confirm", lost)
        with pytest.raises(OSError, match="confirmation"):
            await app.inbound.read_reports()
    assert await app.inbound.read_reports() == 1
    assert len(await app.named(message, "letter.posted")) == 1
    assert len((await app.delivery(message)).sendings) == 1


async def test_a_letter_that_came_back_waits_for_a_person(app, letter):
    message, sent = letter
    app.printer.report(sent, LetterStatus.POSTED)
    app.printer.report(sent, LetterStatus.RETURNED, reason="onbekend op dit adres")
    await app.inbound.read_reports()
    delivery = await app.delivery(message)
    assert delivery.letters[0].state is LetterState.RETURNED
    assert [item.reason for item in delivery.attention] == [AttentionReason.LETTER_RETURNED]


STATES = {
    "PENDING": LetterState.SUBMITTED,
    "ACCEPTED": LetterState.SUBMITTED,
    "REJECTED": LetterState.REFUSED,
    "PRINTED": LetterState.PRINTED,
    "ENCLOSED": LetterState.PRINTED,
    "CANCELLED": LetterState.REFUSED,
    "DISPATCHED": LetterState.POSTED,
    "DELIVERED": LetterState.SUBMITTED,
    "FAILED": LetterState.REFUSED,
    "RETURNED": LetterState.RETURNED,
    "FORWARDED": LetterState.SUBMITTED,
    "VERZONDEN": LetterState.SUBMITTED,
}
ASKS = {
    **dict.fromkeys(("REJECTED", "CANCELLED", "FAILED"), AttentionReason.LETTER_REFUSED),
    "RETURNED": AttentionReason.LETTER_RETURNED,
    **dict.fromkeys(("FORWARDED", "VERZONDEN"), AttentionReason.LETTER_UNCLEAR),
}


@pytest.mark.parametrize("word", STATES)
async def test_every_word_of_a_print_service_has_its_next_state(app, letter, word):
    message, sent = letter
    status = status_of(word)
    app.printer.report(sent, status)
    before = REPORTS.labels(status, "")._value.get()
    await app.inbound.read_reports()
    assert await state(app, message) is STATES[word]
    delivery = await app.delivery(message)
    assert [item.reason for item in delivery.attention] == ([ASKS[word]] if word in ASKS else [])
    assert (delivery.state is DeliveryState.NEEDS_PERSON) == (word in ASKS)
    assert REPORTS.labels(status, "")._value.get() == before + 1


@pytest.mark.parametrize("why", ReturnReason)
async def test_every_return_reason_becomes_a_task_with_its_words(app, letter, why):
    message, sent = letter
    app.printer.report(sent, LetterStatus.POSTED)
    app.printer.report(sent, LetterStatus.RETURNED, reason="R01 tekst", why=why)
    await app.inbound.read_reports()
    (returned,) = await app.named(message, "letter.returned")
    assert returned.detail["why"] == why
    assert RETURN_REASONS[why]
    assert (await app.delivery(message)).state is DeliveryState.NEEDS_PERSON


async def test_a_report_about_a_letter_whose_hand_over_stayed_unknown_for_hours_is_matched(app, body):
    """The answer never came, and neither does one to the repeats: but the print service had it, and posted it."""
    app.printer.script.rule = lambda _: Staged(Unknown("timeout"), happened=True)
    message = (await app.accept(body(channels=()))).id
    await app.settle()
    await app.pass_time(hours=5)
    assert await state(app, message) is LetterState.UNKNOWN
    sent = next(iter(app.printer.printed))
    app.printer.report(sent, LetterStatus.POSTED)
    assert await app.inbound.read_reports() == 1
    assert await state(app, message) is LetterState.POSTED
    await app.pass_time(hours=5)
    assert app.printer.printed[sent] == 1
    assert (await app.delivery(message)).state is DeliveryState.DONE


async def test_a_report_about_a_letter_whose_worker_died_is_matched(app, body):
    message = (await app.accept(body(channels=()))).id
    (leased,) = await app.claim("print", lease=60)
    app.printer.report(letter_id(message, 0), LetterStatus.PRINTED)
    assert await app.inbound.read_reports() == 0, "our own record may come, and says more"
    app.clock.move(hours=2)
    assert await app.inbound.read_reports() == 1
    assert await state(app, message) is LetterState.PRINTED
    assert leased.part == "letter/0"


async def test_a_configuration_refusal_stops_the_print_lane_until_a_person_starts_it(app, body):
    app.printer.script.rule = lambda _: Staged(Refused("host_key", RefusalKind.CONFIGURATION), happened=False)
    message = (await app.accept(body(channels=()))).id
    await app.settle()
    assert await app.stopped() == {"print": "host_key"}
    await app.pass_time(hours=30, every=5)
    assert (await app.delivery(message)).attention == ()
    app.printer.script.rule = None
    assert not app.printer.printed
    await app.start_lane("print")
    await app.settle()
    assert await state(app, message) is LetterState.SUBMITTED


async def test_letters_of_a_day_go_in_one_batch_at_the_cut_off(make_app, database_url, body):
    app = await make_app(database_url, policy={"print_cutoff": time(16)})
    ids = [(await app.accept(body(channels=()))).id for _ in range(3)]
    await app.settle()
    assert not app.printer.printed
    app.clock.time = app.clock.time.replace(hour=15)  # 16:00 in the Netherlands
    await app.settle()
    assert len({given.batch for given in app.printer.letters.values()}) == 1
    assert len(app.printer.letters) == 3
    late = (await app.accept(body(channels=()))).id
    app.clock.move(minutes=1)
    later = (await app.accept(body(channels=()))).id
    await app.settle()
    assert await state(app, late) is LetterState.SUBMITTED, "exactly at the cut-off is in time"
    assert await state(app, later) is LetterState.PLANNED
    app.clock.move(hours=24)
    await app.settle()
    assert await state(app, later) is LetterState.SUBMITTED
    assert all(given.grams > 5 and given.sheets == 1 for given in app.printer.letters.values())
    assert len(ids) == 3


async def test_a_report_that_is_faster_than_our_record_waits_for_it(app, body):
    """The print service has the letter and says so, before the worker that handed it over has recorded that."""
    told = []

    def faster(letter):
        told.append(app.printer.report(letter.id, LetterStatus.POSTED))

    app.printer.script.rule = faster
    message = (await app.accept(body(channels=()))).id
    drained = app.printer.submit

    async def read_in_between(*, letters):
        answers = await drained(letters=letters)
        assert await app.inbound.read_reports() == 0, "it is not confirmed yet"
        return answers

    app.printer.submit = read_in_between
    await app.lanes.drain("print")
    assert await app.inbound.read_reports() == 1
    assert await state(app, message) is LetterState.POSTED


async def test_a_report_about_no_letter_of_ours_is_kept_and_let_go(app, letter):
    app.printer.report(uuid4(), LetterStatus.POSTED)
    assert await app.inbound.read_reports() == 1
    (kept,) = await app.rows(tables.inbound)
    assert (kept.route, kept.state) == ("print", "unmatched")


async def test_a_letter_nobody_reports_about_is_shown_to_a_person(app, letter):
    message, _ = letter
    await app.pass_time(hours=24 * 6, every=12)
    assert [item.reason for item in (await app.delivery(message)).attention] == [AttentionReason.POSTING_OVERDUE]


async def test_a_print_service_that_raises_does_not_end_the_reading(app, letter, until):
    message, sent = letter
    calls = []
    reports = app.printer.reports

    async def raises_first():
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("their folder is gone")
        return await reports()

    app.printer.reports = raises_first
    app.printer.report(sent, LetterStatus.POSTED)
    reading = asyncio.create_task(app.inbound.run_reports(0.001))

    async def posted():
        return await state(app, message) is LetterState.POSTED

    await until(posted)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_one_report_that_cannot_be_decided_does_not_hold_up_the_others(app, letter):
    message, sent = letter
    app.printer.report(sent, LetterStatus.PRINTED, at=app.clock.now().replace(tzinfo=None))
    app.printer.report(sent, LetterStatus.POSTED)
    assert await app.inbound.read_reports() == 1
    assert await state(app, message) is LetterState.POSTED
