"""The suite that every box adapter passes: what Bode relies on, whatever is on the other side.

A test module subclasses `BoxSuite` and gives it an `OtherSide`: a mock server, or a real test environment. Needs pytest
and pytest-asyncio (`asyncio_mode = "auto"`). A suite names what its box lacks; the tests of that are left out of it.

    class TestMijnPortaal(BoxSuite):
        def other_side(self):
            return mocked_side(create_mock(clock=utc_now), box=..., sender=SENDER, unreachable="ontvanger-onbekend")
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import Any, ClassVar, Final, Protocol, TypeVar
from uuid import UUID, uuid4

import httpx
import pytest

from bode_adapters.contract import (
    Absent,
    Answer,
    Box,
    BoxMessage,
    BringsResults,
    Capabilities,
    Document,
    Identifier,
    IdentifierKind,
    MailRefused,
    Pending,
    Placed,
    Reachability,
    RefusalKind,
    Refused,
    Sender,
    TellsReading,
    TimeSource,
    Unavailable,
    Unknown,
)
from bode_adapters.serving import serve

SUBJECT: Final = "GEHEIM onderwerp"
TEXT: Final = "GEHEIME tekst,\nvan twee regels."
UNKNOWN_WORD: Final = "IetsHeelNieuws"

_Test = TypeVar("_Test", bound=Callable[..., Any])
_numbers: Final = count(99_990_000)
_WEIGHTS: Final = (9, 8, 7, 6, 5, 4, 3, 2)


def utc_now() -> datetime:
    """Give the time now: a `Clock` for adapters and mock servers under test."""
    return datetime.now(UTC)


def new_identifier(kind: IdentifierKind = IdentifierKind.BSN) -> Identifier:
    """Give a number that is valid for its kind and was not given before in this run."""
    if kind is IdentifierKind.KVK:
        return Identifier(kind, f"{next(_numbers):08d}")
    for number in _numbers:
        digits = f"{number:08d}"
        assert len(digits) == len(_WEIGHTS), "the numbers of a run are used up: give many messages one addressee"
        check = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits, strict=True)) % 11
        if check < 10:  # noqa: PLR2004  a remainder of ten has no digit
            return Identifier(kind, f"{digits}{check}")
    raise AssertionError("the numbers never end")


def new_document(size: int, name: str = "besluit.pdf") -> Document:
    """Give a document of so many bytes that begins as a PDF does."""
    return Document(name=name, media_type="application/pdf", content=b"%PDF-1.7\n".ljust(size, b"%"))


def new_message(sender: Sender, /, **changes: Any) -> BoxMessage:
    """Give a message of its own: new ids, reference and addressee, unless changed."""
    identity = uuid4()
    message = BoxMessage(
        id=identity,
        batch=uuid4(),
        reference=f"K-{identity.hex[:12]}",
        sender=sender,
        addressee=changes.pop("addressee", None) or new_identifier(),
        subject=SUBJECT,
        text=TEXT,
        since=utc_now(),
    )
    return replace(message, **changes)


class OtherSide(Protocol):
    """An outside system with an opened box in front of it, which a test can have misbehave."""

    @property
    def box(self) -> Box:
        """The adapter under test, opened, with a short time-out."""
        ...

    @property
    def sender(self) -> Sender:
        """A sender that the other side accepts."""
        ...

    async def make_unreachable(self, addressee: Identifier) -> None:
        """Have no box for this addressee."""
        ...

    async def answer_about(self, addressee: Identifier, word: str) -> None:
        """Refuse this addressee's messages with a word that the adapter cannot know."""
        ...

    async def be_busy(self) -> None:
        """Take nothing in and answer: not now."""
        ...

    async def behave(self) -> None:
        """Undo everything that was asked of this side."""
        ...

    async def go_away(self) -> None:
        """Take no connections any more."""
        ...

    async def fall_silent(self) -> None:
        """Take the next call in, and give no answer to it."""
        ...

    async def times_placed(self, message: BoxMessage) -> int:
        """Tell how often a message was really placed."""
        ...


class Lacks(StrEnum):
    """What a box need not be able to do. A suite names what its box lacks; that this is true is tested."""

    CHECK = "check"
    LOOKUP = "lookup"
    RECOGNISED_REPEATS = "recognised_repeats"
    FINDING_OUT = "finding_out"
    """Neither lookup nor recognised repeats: a person settles what is unknown."""
    ADDRESSEES_IT_REFUSES = "addressees_it_refuses"
    """It takes every kind of addressee."""
    PUBLICATION = "publication"
    """A carrier: mail leaves when it is sent, so Bode keeps the message until its moment."""


def _needs(lack: Lacks) -> Callable[[_Test], _Test]:
    """Leave a test out of the suite of a box that lacks this."""

    def mark(test: _Test) -> _Test:
        test.__dict__["needs"] = lack
        return test

    return mark


class BoxSuite:
    """What every box does. A subclass gives `other_side`, and names what its box lacks."""

    lacks: ClassVar[frozenset[Lacks]] = frozenset()

    settle_seconds: float = 5.0
    """How long a pending result may take."""
    poll_seconds: float = 0.02

    def __init_subclass__(cls) -> None:
        """Leave out the tests of what the box lacks."""
        super().__init_subclass__()
        for name in dir(cls):
            if getattr(getattr(cls, name), "needs", None) in cls.lacks:
                setattr(cls, name, None)

    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        """Give a fresh other side with an opened box, for one test."""
        raise NotImplementedError

    async def test_the_box_lacks_exactly_what_its_suite_says(self) -> None:
        async with self.other_side() as side:
            can = side.box.capabilities
            lacking = {
                Lacks.CHECK: not can.can_check,
                Lacks.LOOKUP: not can.can_lookup,
                Lacks.RECOGNISED_REPEATS: not can.repeat_is_recognised,
                Lacks.FINDING_OUT: not can.can_lookup and not can.repeat_is_recognised,
                Lacks.ADDRESSEES_IT_REFUSES: can.addressees == frozenset(IdentifierKind),
            }
            assert {lack for lack, true in lacking.items() if true} == self.lacks - {Lacks.PUBLICATION}

    async def test_a_box_that_tells_what_was_opened_has_the_suite_for_it(self) -> None:
        async with self.other_side() as side:
            assert (
                side.box.capabilities.read_times == isinstance(self, ReadingSuite) == isinstance(side.box, TellsReading)
            )

    async def test_what_the_box_cannot_do_it_says(self) -> None:
        async with self.other_side() as side:
            can, (message,) = side.box.capabilities, self._messages(side, 1)
            (said,) = await side.box.check(addressees=[message.addressee], sender=side.sender)
            assert can.can_check or said.reachable is None
            (answer,) = await side.box.lookup(messages=[message])
            assert can.can_lookup or isinstance(answer, Unknown)

    # -------------------------------------------------------------------------------------------------------- answers

    async def test_nothing_asked_is_nothing_answered(self) -> None:
        async with self.other_side() as side:
            assert list(await side.box.place(messages=[])) == []

    async def test_each_message_gets_its_own_answer_in_order(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 5)
            messages[1] = self._over_a_limit(side, messages[1])
            messages[3] = self._over_a_limit(side, messages[3])
            answers = await self._placed_and_settled(side, messages)
            assert [isinstance(answer, Placed) for answer in answers] == [True, False, True, False, True]

    async def test_more_messages_than_one_call_holds(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, side.box.capabilities.bulk + 1)
            answers = await self._placed_and_settled(side, messages)
            assert all(isinstance(answer, Placed) for answer in answers)
            some = [*messages[:: max(1, len(messages) // 20)], messages[-1]]
            assert [await side.times_placed(message) for message in some] == [1] * len(some)

    async def test_a_placed_message_says_when_and_by_whose_clock(self) -> None:
        async with self.other_side() as side:
            (answer,) = await self._placed_and_settled(side, self._messages(side, 1))
            assert isinstance(answer, Placed)
            assert answer.at.utcoffset() is not None
            assert answer.source in TimeSource

    @_needs(Lacks.PUBLICATION)
    async def test_a_message_is_not_accessible_before_its_moment_of_publication(self) -> None:
        async with self.other_side() as side:
            publish_at = utc_now() + timedelta(hours=1)
            (answer,) = await self._placed_and_settled(side, self._messages(side, 1, publish_at=publish_at))
            assert isinstance(answer, Placed)
            assert answer.at >= publish_at

    async def test_every_declared_kind_of_addressee_can_be_placed(self) -> None:
        async with self.other_side() as side:
            kinds = sorted(side.box.capabilities.addressees)
            messages = self._messages(side, len(kinds))
            messages = [
                replace(message, addressee=new_identifier(kind)) for message, kind in zip(messages, kinds, strict=True)
            ]
            answers = await self._placed_and_settled(side, messages)
            assert all(isinstance(answer, Placed) for answer in answers)

    @_needs(Lacks.ADDRESSEES_IT_REFUSES)
    async def test_a_kind_of_addressee_that_is_not_declared_is_refused(self) -> None:
        async with self.other_side() as side:
            others = sorted(frozenset(IdentifierKind) - side.box.capabilities.addressees)
            assert others
            messages = [replace(self._messages(side, 1)[0], addressee=new_identifier(kind)) for kind in others]
            for answer in await side.box.place(messages=messages):
                assert isinstance(answer, Refused)
                assert answer.kind is RefusalKind.ADDRESSEE

    # ------------------------------------------------------------------------------------------------------- refusals

    async def test_an_unreachable_addressee_is_refused_and_the_others_are_placed(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 3)
            await side.make_unreachable(messages[1].addressee)
            answers = await self._placed_and_settled(side, messages)
            assert isinstance(answers[0], Placed)
            assert isinstance(answers[1], Refused)
            assert answers[1].kind is RefusalKind.ADDRESSEE
            assert isinstance(answers[2], Placed)
            assert await side.times_placed(messages[1]) == 0

    async def test_an_unknown_word_is_kept_and_not_guessed(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 2)
            await side.answer_about(messages[0].addressee, UNKNOWN_WORD)
            answers = await self._placed_and_settled(side, messages)
            assert isinstance(answers[0], Refused)
            assert answers[0].kind is RefusalKind.UNRECOGNISED
            assert UNKNOWN_WORD in answers[0].code
            assert isinstance(answers[1], Placed)

    async def test_a_message_over_a_declared_limit_is_refused_for_its_content_and_the_others_are_placed(self) -> None:
        async with self.other_side() as side:
            declared = _over_limits(side.box.capabilities)
            if not declared:
                pytest.skip("this box declares no limits")
            messages = self._messages(side, len(declared) + 1)
            changed = [
                replace(message, **changes)
                for message, changes in zip(messages, [*declared.values(), {}], strict=True)
            ]  # fmt: skip
            answers = await self._placed_and_settled(side, changed)
            for limit, answer in zip(declared, answers[:-1], strict=True):
                assert isinstance(answer, Refused), limit
                assert answer.kind is RefusalKind.CONTENT, limit
            assert isinstance(answers[-1], Placed)
            assert [await side.times_placed(message) for message in changed] == [0] * len(declared) + [1]

    async def test_a_message_at_every_declared_limit_is_placed(self) -> None:
        async with self.other_side() as side:
            declared = _at_limits(side.box.capabilities)
            if not declared:
                pytest.skip("this box declares no limits")
            messages = self._messages(side, len(declared))
            changed = [
                replace(message, **changes) for message, changes in zip(messages, declared.values(), strict=True)
            ]
            for limit, answer in zip(declared, await self._placed_and_settled(side, changed), strict=True):
                assert isinstance(answer, Placed), limit

    # --------------------------------------------------------------------------------------------- when it goes wrong

    async def test_a_busy_other_side_is_unavailable_and_the_next_try_places_once(self) -> None:
        async with self.other_side() as side:
            (message,) = self._messages(side, 1)
            await side.be_busy()
            (answer,) = await side.box.place(messages=[message])
            assert isinstance(answer, Unavailable)
            assert await side.times_placed(message) == 0
            await side.behave()
            # After a definite answer Bode makes a new call, so a new batch.
            (answer,) = await self._placed_and_settled(side, [replace(message, batch=uuid4())])
            assert isinstance(answer, Placed)
            assert await side.times_placed(message) == 1

    async def test_an_other_side_that_is_away_is_unavailable(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 2)
            await side.go_away()
            answers = await side.box.place(messages=messages)
            assert [type(answer) for answer in answers] == [Unavailable, Unavailable]

    @_needs(Lacks.FINDING_OUT)
    async def test_a_call_without_an_answer_is_unknown_and_is_settled_without_placing_twice(self) -> None:
        async with self.other_side() as side:
            (message,) = self._messages(side, 1)
            await side.fall_silent()
            (answer,) = await side.box.place(messages=[message])
            assert isinstance(answer, Unknown)
            capabilities = side.box.capabilities
            if capabilities.repeat_is_recognised:
                (answer,) = await self._placed_and_settled(side, [message])
            else:
                (answer,) = await side.box.lookup(messages=[message])
            assert isinstance(answer, Placed)
            assert await side.times_placed(message) == 1

    @_needs(Lacks.RECOGNISED_REPEATS)
    async def test_the_same_messages_again_are_recognised(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 3)
            await side.box.place(messages=messages)
            answers = await self._placed_and_settled(side, messages)
            assert all(isinstance(answer, Placed) for answer in answers)
            assert [await side.times_placed(message) for message in messages] == [1, 1, 1]

    @_needs(Lacks.RECOGNISED_REPEATS)
    async def test_a_placed_message_in_a_new_call_is_recognised(self) -> None:
        async with self.other_side() as side:
            (message,) = self._messages(side, 1)
            await self._placed_and_settled(side, [message])
            (answer,) = await self._placed_and_settled(side, [replace(message, batch=uuid4())])
            assert isinstance(answer, Placed)
            assert answer.already
            assert await side.times_placed(message) == 1

    # --------------------------------------------------------------------------------------------------------- lookup

    @_needs(Lacks.LOOKUP)
    async def test_a_placed_message_is_found_and_finding_places_nothing(self) -> None:
        async with self.other_side() as side:
            messages = self._messages(side, 2)
            answers = await self._placed_and_settled(side, messages)
            asked = [_with_receipt(message, answer) for message, answer in zip(messages, answers, strict=True)]
            for found in await side.box.lookup(messages=asked):
                assert isinstance(found, Placed)
            assert [await side.times_placed(message) for message in messages] == [1, 1]

    @_needs(Lacks.LOOKUP)
    async def test_a_message_that_was_never_handed_over_is_not_found(self) -> None:
        async with self.other_side() as side:
            (message,) = self._messages(side, 1)
            (answer,) = await side.box.lookup(messages=[message])
            assert isinstance(answer, Absent | Unknown)
            assert await side.times_placed(message) == 0

    @_needs(Lacks.LOOKUP)
    async def test_a_question_that_fails_says_nothing_about_the_message(self) -> None:
        """Neither absent nor unavailable: on either of them Bode would place the message again."""
        async with self.other_side() as side:
            messages = self._messages(side, 1)
            (answer,) = await side.box.place(messages=messages)
            asked = [_with_receipt(messages[0], answer), messages[0]]
            await side.be_busy()
            for found in await side.box.lookup(messages=asked):
                assert isinstance(found, Pending | Unknown)
            await side.go_away()
            for found in await side.box.lookup(messages=asked):
                assert isinstance(found, Pending | Unknown)

    @_needs(Lacks.CHECK)
    async def test_reachability_is_told_in_the_order_asked(self) -> None:
        async with self.other_side() as side:
            addressees = [new_identifier(), new_identifier(), new_identifier()]
            await side.make_unreachable(addressees[1])
            found: Sequence[Reachability] = await side.box.check(addressees=addressees, sender=side.sender)
            assert [answer.reachable for answer in found] == [True, False, True]

    # ------------------------------------------------------------------------------------------------ privacy and life

    async def test_no_personal_data_in_answers_or_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        async with self.other_side() as side:
            messages = self._messages(side, 4)
            messages[0] = self._over_a_limit(side, messages[0])
            await side.make_unreachable(messages[1].addressee)
            await side.answer_about(messages[2].addressee, f"{UNKNOWN_WORD}-{messages[2].addressee.number}")
            answers = list(await self._placed_and_settled(side, messages))
            await side.be_busy()
            answers += await side.box.place(messages=[replace(message, batch=uuid4()) for message in messages])
            await side.behave()
            await side.fall_silent()
            answers += await side.box.place(messages=self._messages(side, 1))
            for answer in answers:
                written = "\n".join(_texts_of(answer))
                assert "GEHEIM" not in written.upper()
                assert not any(message.addressee.number in written for message in messages)
            assert "GEHEIM" not in caplog.text.upper()
            assert not any(message.addressee.number in caplog.text for message in messages)

    async def test_it_can_be_closed_and_opened_again(self) -> None:
        async with self.other_side() as side:
            await self._placed_and_settled(side, self._messages(side, 1))
            await side.box.close()
            await side.box.close()
            await side.box.open()
            (answer,) = await self._placed_and_settled(side, self._messages(side, 1))
            assert isinstance(answer, Placed)

    # ---------------------------------------------------------------------------------------------------------- parts

    def _messages(self, side: OtherSide, number: int, **changes: Any) -> list[BoxMessage]:
        """Give messages in batches as Bode makes them: never more in one than the box takes in a call."""
        capabilities = side.box.capabilities
        kind = min(capabilities.addressees)
        batches: list[UUID] = [uuid4() for _ in range(0, number, capabilities.bulk)]
        return [
            new_message(
                side.sender,
                batch=batches[place // capabilities.bulk],
                **({"addressee": new_identifier(kind)} | changes),
            )
            for place in range(number)
        ]

    def _over_a_limit(self, side: OtherSide, message: BoxMessage) -> BoxMessage:
        changes = next(iter(_over_limits(side.box.capabilities).values()), None)
        if changes is None:
            pytest.skip("this box declares no limits")
        return replace(message, **changes)

    async def _placed_and_settled(self, side: OtherSide, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Place messages and wait for the results that come later."""
        answers = list(await side.box.place(messages=messages))
        assert len(answers) == len(messages)
        deadline = asyncio.get_running_loop().time() + self.settle_seconds
        while waiting := [place for place, answer in enumerate(answers) if isinstance(answer, Pending)]:
            assert asyncio.get_running_loop().time() < deadline, "the results do not come"
            asked = [_with_receipt(messages[place], answers[place]) for place in waiting]
            found = list(await side.box.lookup(messages=asked))
            assert len(found) == len(waiting)
            if side.box.capabilities.brings_results:
                told = await _results_of(side.box)
                found = [told.get(message.id, answer) for message, answer in zip(asked, found, strict=True)]
                found = [_not_before(answer, message) for message, answer in zip(asked, found, strict=True)]
            for place, answer in zip(waiting, found, strict=True):
                answers[place] = answer
            if any(isinstance(answer, Pending) for answer in found):
                await asyncio.sleep(self.poll_seconds)
        return answers


class ReadableSide(OtherSide, Protocol):
    """An outside system that says what was opened."""

    async def open_as_addressee(self, message: BoxMessage, receipt: str) -> None:
        """Open a placed message, as its addressee."""
        ...


class ReadingSuite(BoxSuite):
    """What every box does that declares `read_times`: subclass this instead."""

    def other_side(self) -> AbstractAsyncContextManager[ReadableSide]:
        """Give a fresh other side, whose addressees can open their messages."""
        raise NotImplementedError

    async def test_what_was_opened_is_told_in_the_order_asked(self) -> None:
        async with self.other_side() as side:
            box = side.box
            assert isinstance(box, TellsReading)
            addressee = new_identifier(min(box.capabilities.addressees))
            shared = self._messages(side, 3, addressee=addressee)
            messages = [*shared, *self._messages(side, 2)]
            placed = await self._placed_and_settled(side, messages)
            asked = [_with_receipt(message, answer) for message, answer in zip(messages, placed, strict=True)]
            assert [found.opened for found in await box.readings(messages=asked)] == [False] * 5
            for place in (1, 4):
                assert asked[place].receipt is not None
                await side.open_as_addressee(asked[place], str(asked[place].receipt))
            found = await box.readings(messages=asked)
            assert [reading.opened for reading in found] == [False, True, False, False, True]
            assert all((reading.at is not None) == reading.opened for reading in found)
            assert list(await box.readings(messages=asked)) == list(found)

    async def test_a_question_about_reading_that_fails_says_nothing(self) -> None:
        async with self.other_side() as side:
            box = side.box
            assert isinstance(box, TellsReading)
            messages = self._messages(side, 2)
            placed = await self._placed_and_settled(side, messages)
            asked = [_with_receipt(message, answer) for message, answer in zip(messages, placed, strict=True)]
            await side.be_busy()
            assert [found.opened for found in await box.readings(messages=asked)] == [None, None]
            await side.go_away()
            assert [found.opened for found in await box.readings(messages=[*asked, messages[0]])] == [None] * 3


class ResultsSuite(BoxSuite):
    """What a box does besides, when results come from it by themselves (`BringsResults`)."""

    async def test_it_says_that_it_brings_results(self) -> None:
        async with self.other_side() as side:
            assert isinstance(side.box, BringsResults)
            assert side.box.capabilities.brings_results

    async def test_a_document_with_results_comes_again_until_it_is_confirmed(self) -> None:
        async with self.other_side() as side:
            (message,) = self._messages(side, 1)
            assert isinstance(side.box, BringsResults)
            await side.box.place(messages=[message])
            deadline = asyncio.get_running_loop().time() + self.settle_seconds
            while not (documents := await side.box.results()):
                assert asyncio.get_running_loop().time() < deadline, "the results do not come"
                await asyncio.sleep(self.poll_seconds)
            again = await side.box.results()
            assert again == documents
            assert all(document.content for document in documents)
            assert [isinstance(document.answers[message.id], Placed) for document in documents] == [True]
            await side.box.confirm(keys=[document.key for document in documents])
            assert list(await side.box.results()) == []


# ------------------------------------------------------------------------------------------- a mock as the other side


@dataclass(slots=True)
class MockedSide:
    """A mock server of this package as the other side, driven over HTTP as one in another process would be."""

    box: Box
    sender: Sender
    unreachable: str
    """Its word for an addressee without a box."""
    mock: httpx.AsyncClient
    server: AsyncExitStack

    async def order(self, gedrag: str, **more: Any) -> None:
        """Command the mock."""
        (await self.mock.post("/_mock/gedrag", json={"gedrag": gedrag} | more)).raise_for_status()

    async def make_unreachable(self, addressee: Identifier) -> None:
        """See `OtherSide`."""
        await self.order(self.unreachable, ontvanger=addressee.number)

    async def answer_about(self, addressee: Identifier, word: str) -> None:
        """See `OtherSide`."""
        await self.order("onbekende-code", ontvanger=addressee.number, code=word)

    async def be_busy(self) -> None:
        """See `OtherSide`."""
        await self.order("http-503")
        await self.order("vraag-http-503")

    async def behave(self) -> None:
        """See `OtherSide`."""
        (await self.mock.delete("/_mock/gedrag")).raise_for_status()

    async def go_away(self) -> None:
        """See `OtherSide`."""
        await self.server.aclose()

    async def fall_silent(self) -> None:
        """See `OtherSide`."""
        await self.order("timeout-na-acceptatie", keer=1)

    async def times_placed(self, message: BoxMessage) -> int:
        """See `OtherSide`."""
        placements = (await self.mock.get("/_mock/plaatsingen")).raise_for_status().json()
        names = {str(message.id), message.reference}
        return sum(placement["count"] for placement in placements if placement["id"] in names)


@asynccontextmanager
async def mocked_side(
    app: Any, *, box: Callable[[str], Box], sender: Sender, unreachable: str
) -> AsyncGenerator[MockedSide]:
    """Serve a mock, and give it with the box that `box` makes for its address."""
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(serve(app))
        async with httpx.AsyncClient(base_url=url, trust_env=False) as mock:
            adapter = box(url)
            await adapter.open()
            try:
                yield MockedSide(box=adapter, sender=sender, unreachable=unreachable, mock=mock, server=server)
            finally:
                await adapter.close()


# --------------------------------------------------------------------------------------------------------------- parts


def _with_receipt(message: BoxMessage, answer: Answer) -> BoxMessage:
    return replace(message, receipt=answer.receipt) if isinstance(answer, Placed | Pending) else message


async def _results_of(box: Box) -> dict[UUID, Answer]:
    """Read what a box brings, and confirm it as stored."""
    assert isinstance(box, BringsResults)
    documents = await box.results()
    await box.confirm(keys=[document.key for document in documents])
    return {message: answer for document in documents for message, answer in document.answers.items()}


def _not_before(answer: Answer, message: BoxMessage) -> Answer:
    """Do what Bode does: a document does not name the moment of publication, before which nothing is accessible."""
    if isinstance(answer, Placed) and message.publish_at is not None:
        return replace(answer, at=max(answer.at, message.publish_at))
    return answer


def _over_limits(capabilities: Capabilities) -> dict[str, dict[str, Any]]:
    """Give, for each declared limit, what makes a message go one over it."""
    return _changes(capabilities, beyond=1)


def _at_limits(capabilities: Capabilities) -> dict[str, dict[str, Any]]:
    """Give, for each declared limit, what makes a message reach it."""
    return _changes(capabilities, beyond=0)


def _changes(capabilities: Capabilities, *, beyond: int) -> dict[str, dict[str, Any]]:
    changes: dict[str, dict[str, Any]] = {}
    if (most := capabilities.max_subject) is not None:
        changes["max_subject"] = {"subject": "é" * (most + beyond)}
    if (most := capabilities.max_text) is not None:
        changes["max_text"] = {"text": "😀" * (most + beyond)}
    if (most := capabilities.max_documents) is not None:
        documents = tuple(new_document(64, f"bijlage-{place}.pdf") for place in range(most + beyond))
        changes["max_documents"] = {"documents": documents}
    if (most := capabilities.max_documents_bytes) is not None:
        changes["max_documents_bytes"] = {"documents": (new_document(most + beyond),)}
    return changes


def _texts_of(answer: Answer) -> list[str]:
    assert not isinstance(answer, MailRefused), "a box is no mail server"
    return [str(getattr(answer, each.name)) for each in fields(answer)]
