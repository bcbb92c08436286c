"""The suite that every print service passes.

    class TestOurPrintService(PrintServiceSuite):
        @pytest.fixture
        async def stage(self): ...   # yields a PrintStage

A letter printed twice is a letter too many, and a letter not printed is a right lost: most of the suite is about that.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from bode_adapters.contract import (
    Absent,
    Answer,
    LetterReport,
    LetterStatus,
    Placed,
    PrintLetter,
    PrintService,
    RefusalKind,
    Refused,
    Sender,
    Unavailable,
    Unknown,
)

SENDER = Sender(oin="00000001003214345000", name="Gemeente Voorbeeldstad", email="bericht@voorbeeldstad.example")
PRIVATE = "Mevrouw P. Pietersen, Dorpsstraat 1"
REPORTED = [status for status in LetterStatus if status is not LetterStatus.UNRECOGNISED]


class PrintStage(Protocol):
    """A print service, opened, and the outside behind it."""

    @property
    def service(self) -> PrintService:
        """The print service under test, as it is now."""
        ...

    def taken(self, letter: UUID) -> int:
        """Tell how many copies of this letter the outside has been given to print."""
        ...

    async def report(self, letter: UUID, status: LetterStatus) -> None:
        """Let the outside report this about a letter, in its own words."""
        ...

    async def restart(self) -> None:
        """Replace the service by a new one over the same outside, as after a crash; `service` is the new one."""
        ...

    async def down(self) -> None:
        """Make the outside unreachable."""
        ...

    async def up(self) -> None:
        """Make it reachable again."""
        ...


def letter(*, batch: UUID | None = None, pdf: bytes | None = None) -> PrintLetter:
    """Make a letter of one page."""
    number = uuid4()
    content = f"%PDF-1.7\n{PRIVATE} {number}\n%%EOF\n".encode() if pdf is None else pdf
    return PrintLetter(
        id=number,
        batch=batch or uuid4(),
        sender=SENDER,
        kind="notice",
        pdf=content,
        pages=1,
        sheets=1,
        grams=12,
        sha256=sha256(content).hexdigest(),
    )


def letters(count: int) -> list[PrintLetter]:
    """Make letters of one batch."""
    batch = uuid4()
    return [letter(batch=batch) for _ in range(count)]


class PrintServiceSuite:
    """Subclass it, and give a fixture `stage`."""

    async def test_it_is_a_print_service_that_knows_a_letter_again(self, stage: PrintStage) -> None:
        assert isinstance(stage.service, PrintService)
        assert stage.service.capabilities.bulk >= 1
        assert stage.service.capabilities.repeat_is_recognised

    async def test_nothing_asked_nothing_answered(self, stage: PrintStage) -> None:
        assert list(await stage.service.submit(letters=[])) == []
        assert list(await stage.service.lookup(letters=[])) == []

    async def test_submitted_letters_are_taken_once(self, stage: PrintStage) -> None:
        given = letters(20)
        answers = [_placed(answer) for answer in await stage.service.submit(letters=given)]
        assert not any(answer.already for answer in answers)
        assert all(answer.receipt and answer.at.utcoffset() is not None for answer in answers)
        assert [stage.taken(one.id) for one in given] == [1] * 20

    async def test_a_batch_again_is_recognised(self, stage: PrintStage) -> None:
        given = letters(3)
        first = [_placed(answer) for answer in await stage.service.submit(letters=given)]
        second = [_placed(answer) for answer in await stage.service.submit(letters=given)]
        assert all(answer.already for answer in second)
        assert [(answer.at, answer.receipt) for answer in first] == [(answer.at, answer.receipt) for answer in second]
        assert [stage.taken(one.id) for one in given] == [1, 1, 1]

    async def test_a_part_of_a_batch_again_is_recognised(self, stage: PrintStage) -> None:
        given = letters(3)
        await stage.service.submit(letters=given)
        (answer,) = await stage.service.submit(letters=given[1:2])
        assert _placed(answer).already
        assert [stage.taken(one.id) for one in given] == [1, 1, 1]

    async def test_a_batch_that_grew_hands_over_only_what_is_new(self, stage: PrintStage) -> None:
        given = letters(3)
        await stage.service.submit(letters=given[:2])
        for _ in range(2):
            await stage.service.submit(letters=given)
        assert [stage.taken(one.id) for one in given] == [1, 1, 1]

    async def test_a_letter_in_another_batch_is_recognised(self, stage: PrintStage) -> None:
        first = letter()
        await stage.service.submit(letters=[first])
        moved = replace(first, batch=uuid4())
        (answer,) = await stage.service.submit(letters=[moved])
        assert _placed(answer).already
        assert stage.taken(first.id) == 1

    async def test_a_letter_twice_in_one_call_is_one_letter(self, stage: PrintStage) -> None:
        given = letter()
        first, second = await stage.service.submit(letters=[given, given])
        assert _placed(first).receipt == _placed(second).receipt
        assert stage.taken(given.id) == 1

    async def test_several_batches_in_one_call_are_answered_in_order(self, stage: PrintStage) -> None:
        one, other = letters(2), letters(2)
        mixed = [one[0], other[0], one[1], other[1]]
        receipts = [_placed(answer).receipt for answer in await stage.service.submit(letters=mixed)]
        assert receipts[0] == receipts[2]
        assert receipts[1] == receipts[3]
        assert [stage.taken(given.id) for given in mixed] == [1] * 4

    async def test_a_repeat_is_recognised_after_a_restart(self, stage: PrintStage) -> None:
        given = letters(2)
        first = await stage.service.submit(letters=given)
        await stage.restart()
        second = await stage.service.submit(letters=given)
        assert all(_placed(answer).already for answer in second)
        assert [_placed(answer).receipt for answer in first] == [_placed(answer).receipt for answer in second]
        assert [stage.taken(one.id) for one in given] == [1, 1]

    async def test_lookup_tells_and_never_hands_over(self, stage: PrintStage) -> None:
        given, never = letters(2)
        (answer,) = await stage.service.submit(letters=[given])
        await stage.restart()
        found, absent = await stage.service.lookup(letters=[given, never])
        assert _placed(found).receipt == _placed(answer).receipt
        assert isinstance(absent, Absent)
        assert stage.taken(never.id) == 0

    async def test_a_letter_that_is_not_what_its_hash_says_is_our_defect(self, stage: PrintStage) -> None:
        good, bad = letters(2)
        bad = replace(bad, pdf=bad.pdf + b" ")
        placed, refused = await stage.service.submit(letters=[good, bad])
        assert isinstance(placed, Placed)
        assert isinstance(refused, Refused)
        assert refused.kind is RefusalKind.DEFECT
        assert stage.taken(bad.id) == 0

    async def test_an_outside_that_is_away_is_unavailable_and_takes_nothing(self, stage: PrintStage) -> None:
        given = letters(2)
        await stage.down()
        assert all(isinstance(answer, Unavailable) for answer in await stage.service.submit(letters=given))
        # A question that fails says nothing about a letter: neither absent, nor certainly not placed.
        assert all(isinstance(answer, Unknown) for answer in await stage.service.lookup(letters=given))
        assert list(await stage.service.reports()) == []
        await stage.up()
        assert [stage.taken(one.id) for one in given] == [0, 0]
        assert not any(_placed(answer).already for answer in await stage.service.submit(letters=given))
        assert [stage.taken(one.id) for one in given] == [1, 1]

    @pytest.mark.parametrize("status", REPORTED)
    async def test_a_report_says_what_the_outside_said(self, stage: PrintStage, status: LetterStatus) -> None:
        given = letter()
        await stage.service.submit(letters=[given])
        await stage.report(given.id, status)
        (report,) = await _about(stage, given)
        assert report.status is status
        assert report.code
        assert report.at.utcoffset() is not None

    async def test_reports_come_again_until_confirmed(self, stage: PrintStage) -> None:
        given = letter()
        await stage.service.submit(letters=[given])
        await stage.report(given.id, LetterStatus.PRINTED)
        await stage.report(given.id, LetterStatus.POSTED)
        first = await _about(stage, given)
        assert [report.status for report in first] == [LetterStatus.PRINTED, LetterStatus.POSTED]
        assert await _about(stage, given) == first
        await stage.restart()
        assert await _about(stage, given) == first
        await stage.service.confirm(keys=[first[0].key])
        assert await _about(stage, given) == first[1:]
        await stage.restart()
        assert await _about(stage, given) == first[1:]
        await stage.service.confirm(keys=[first[1].key])
        assert await _about(stage, given) == []

    async def test_every_report_has_its_own_key(self, stage: PrintStage) -> None:
        given = letters(3)
        await stage.service.submit(letters=given)
        for _ in range(2):
            for one in given:
                await stage.report(one.id, LetterStatus.PRINTED)
        keys = [report.key for report in await stage.service.reports()]
        assert len(keys) == len(set(keys)) >= 2 * len(given)

    async def test_confirming_again_or_what_never_was_harms_nothing(self, stage: PrintStage) -> None:
        given = letter()
        await stage.service.submit(letters=[given])
        await stage.report(given.id, LetterStatus.POSTED)
        (report,) = await _about(stage, given)
        await stage.service.confirm(keys=["no such key", "../../etc/passwd:1:abc", report.key, report.key])
        await stage.service.confirm(keys=[report.key])
        assert await _about(stage, given) == []

    async def test_no_personal_data_in_answers_and_reports(self, stage: PrintStage) -> None:
        given = letter()
        answers: list[Answer] = [*await stage.service.submit(letters=[given])]
        answers += await stage.service.lookup(letters=[given])
        await stage.report(given.id, LetterStatus.RETURNED)
        assert PRIVATE not in repr((answers, await stage.service.reports(), given))


def _placed(answer: Answer) -> Placed:
    assert isinstance(answer, Placed), answer
    return answer


async def _about(stage: PrintStage, given: PrintLetter) -> list[LetterReport]:
    return [report for report in await stage.service.reports() if report.letter == given.id]
