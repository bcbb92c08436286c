"""What the print service reports: each line counts once, also when it is faster than our own record."""

import asyncio
from uuid import uuid4

import pytest

from bode.domain.parts import AttentionReason, DeliveryState, LetterState
from bode.store import tables
from bode_adapters.contract import LetterStatus


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


@pytest.mark.parametrize("status", [LetterStatus.REJECTED, LetterStatus.UNRECOGNISED])
async def test_a_letter_that_is_not_printed_waits_for_a_person(app, letter, status):
    message, sent = letter
    app.printer.report(sent, status)
    await app.inbound.read_reports()
    assert await state(app, message) is LetterState.REFUSED
    assert (await app.delivery(message)).state is DeliveryState.NEEDS_PERSON


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


async def test_a_report_about_no_letter_of_ours_is_kept_and_let_go_after_an_hour(app, letter):
    app.printer.report(uuid4(), LetterStatus.POSTED)
    assert await app.inbound.read_reports() == 0
    app.clock.move(hours=2)
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


async def test_one_report_that_cannot_be_decided_does_not_hold_up_the_others(app, letter):
    message, sent = letter
    app.printer.report(sent, LetterStatus.PRINTED, at=app.clock.now().replace(tzinfo=None))
    app.printer.report(sent, LetterStatus.POSTED)
    assert await app.inbound.read_reports() == 1
    assert await state(app, message) is LetterState.POSTED
