"""The in-memory adapters keep the contract that the real ones keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from bode_adapters.contract import (
    Absent,
    Answer,
    Box,
    BoxMessage,
    Capabilities,
    Document,
    Identifier,
    IdentifierKind,
    LetterStatus,
    MailRefused,
    NoticeMail,
    Pending,
    Placed,
    RefusalKind,
    Refused,
    SettingError,
    Unavailable,
    Unknown,
)
from bode_adapters.memory import MemoryBox, MemoryNotifier, MemoryPrintService, Staged
from bode_adapters.memory.box import DEFAULT_CAPABILITIES
from bode_adapters.testing.box import BoxSuite, Lacks, utc_now
from bode_adapters.testing.notifier import SENDER, Behaviour, NotifierSuite, notice
from bode_adapters.testing.print_service import PrintServiceSuite


def clock() -> datetime:
    return datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class NotifierInMemory:
    def __init__(self) -> None:
        self.notifier = MemoryNotifier(clock=clock, rule=self._rule)

    def _rule(self, sent: NoticeMail) -> Answer | Staged | None:
        match Behaviour(sent.email.partition("+")[0]):
            case Behaviour.ACCEPTS:
                return None
            case Behaviour.UNKNOWN_USER:
                return MailRefused("rcpt_to", 550, "5.1.1 unknown")
            case Behaviour.MAILBOX_FULL:
                return MailRefused("rcpt_to", 452, "4.2.2 full")
            case Behaviour.SOFT_ONCE:
                return None if self._before(sent.id) else MailRefused("rcpt_to", 451, "4.3.0 later")
            case Behaviour.BLOCKED:
                return MailRefused("after_dot", 554, "5.7.1 spam")
            case Behaviour.LOST:
                return Staged(Unknown("lost_after_dot"), happened=True)

    def _before(self, sent: UUID) -> bool:
        seen = sent in self.__dict__.setdefault("seen", set())
        self.__dict__["seen"].add(sent)
        return seen

    def address(self, behaviour: Behaviour, name: str) -> str:
        return f"{behaviour}+{name}@example.nl"

    def arrived(self, sent: UUID) -> int:
        return self.notifier.sent[sent]

    async def down(self) -> None:
        self.notifier.down = True

    async def up(self) -> None:
        self.notifier.down = False


class TestMemoryNotifier(NotifierSuite):
    @pytest.fixture
    def stage(self) -> NotifierInMemory:
        return NotifierInMemory()


class PrintInMemory:
    """Memory does not survive: a restart keeps the object, as nothing else could keep the letters."""

    def __init__(self) -> None:
        self.service = MemoryPrintService(clock=clock)

    def taken(self, letter: UUID) -> int:
        return self.service.printed[letter]

    async def report(self, letter: UUID, status: LetterStatus) -> None:
        self.service.report(letter, status)

    async def restart(self) -> None:
        await self.service.close()
        await self.service.open()

    async def down(self) -> None:
        self.service.down = True

    async def up(self) -> None:
        self.service.down = False


class TestMemoryPrintService(PrintServiceSuite):
    @pytest.fixture
    def stage(self) -> PrintInMemory:
        return PrintInMemory()


class BoxInMemory:
    """The other side is the box itself: there is nothing behind it."""

    def __init__(self) -> None:
        self.box = MemoryBox(
            clock=utc_now,
            capabilities=replace(DEFAULT_CAPABILITIES, max_subject=50, max_documents_bytes=1000),
            rule=self._rule,
            reachable=lambda addressee: addressee.number not in self.away,
        )
        self.sender = SENDER
        self.away: set[str] = set()
        self.words: dict[str, str] = {}
        self.silent = False

    def _rule(self, sent: BoxMessage) -> Answer | Staged | None:
        number = sent.addressee.number
        if number in self.words:
            return Refused(self.words[number].replace(number, "*"), RefusalKind.UNRECOGNISED)
        if self.silent:
            self.silent = False
            return Staged(Unknown("lost"), happened=True)
        return None

    async def make_unreachable(self, addressee: Identifier) -> None:
        self.away.add(addressee.number)

    async def answer_about(self, addressee: Identifier, word: str) -> None:
        self.words[addressee.number] = word

    async def be_busy(self) -> None:
        self.box.down = True

    async def behave(self) -> None:
        self.box.down = self.silent = False

    async def go_away(self) -> None:
        self.box.down = True

    async def fall_silent(self) -> None:
        self.silent = True

    async def times_placed(self, message: BoxMessage) -> int:
        return self.box.placements[message.id]


class TestMemoryBox(BoxSuite):
    lacks = frozenset({Lacks.ADDRESSEES_IT_REFUSES})

    @asynccontextmanager
    async def other_side(self) -> AsyncIterator[BoxInMemory]:
        yield BoxInMemory()


def message(**changes: object) -> BoxMessage:
    values: dict[str, object] = {
        "id": uuid4(),
        "batch": uuid4(),
        "reference": "Z-1",
        "sender": SENDER,
        "addressee": Identifier(IdentifierKind.BSN, "999990019"),
        "subject": "Beschikking",
        "text": "Tekst",
    }
    return BoxMessage(**(values | changes))  # type: ignore[arg-type]


async def test_a_queued_answer_is_given_once_and_then_the_box_does_its_work() -> None:
    box = MemoryBox(clock=clock)
    assert isinstance(box, Box)
    sent = message()
    box.script.then(sent.id, Unavailable("busy"), Staged(Unknown("lost"), happened=True))
    assert await box.place(messages=[sent]) == [Unavailable("busy")]
    assert await box.lookup(messages=[sent]) == [Absent()]
    assert await box.place(messages=[sent]) == [Unknown("lost")]
    (found,) = await box.lookup(messages=[sent])
    assert isinstance(found, Placed)
    (again,) = await box.place(messages=[sent])
    assert isinstance(again, Placed)
    assert again.already
    assert box.placements[sent.id] == 1


async def test_a_box_that_does_not_recognise_repeats_places_twice() -> None:
    box = MemoryBox(clock=clock, capabilities=Capabilities(bulk=1, repeat_is_recognised=False))
    sent = message()
    await box.place(messages=[sent])
    await box.place(messages=[sent])
    assert box.placements[sent.id] == 2


async def test_a_pending_message_is_placed_when_it_is_settled() -> None:
    box = MemoryBox(clock=clock, rule=lambda sent: Pending(f"receipt {sent.reference}"))
    sent, other = message(), message()
    await box.place(messages=[sent, other])
    assert await box.lookup(messages=[sent]) == [Pending("receipt Z-1")]
    assert box.placements[sent.id] == 0
    box.settle(sent.id)
    box.settle(other.id, Refused("unknown_bsn", RefusalKind.ADDRESSEE))
    placed, refused = await box.lookup(messages=[sent, other])
    assert isinstance(placed, Placed)
    assert placed.receipt == "receipt Z-1"
    assert isinstance(refused, Refused)
    assert box.placements[sent.id] == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subject": "x" * 11}, "subject_too_long"),
        ({"text": "x" * 21}, "text_too_long"),
        ({"documents": (Document("a.pdf", "application/pdf", b""),) * 3}, "too_many_documents"),
        ({"documents": (Document("a.pdf", "application/pdf", b"x" * 31),)}, "documents_too_large"),
    ],
)
async def test_more_than_the_box_takes_is_refused_for_its_content(changes: dict[str, object], code: str) -> None:
    can = Capabilities(
        bulk=1, repeat_is_recognised=True, max_subject=10, max_text=20, max_documents=2, max_documents_bytes=30
    )
    box = MemoryBox(clock=clock, capabilities=can)
    assert await box.place(messages=[message(**({"subject": "ok"} | changes))]) == [Refused(code, RefusalKind.CONTENT)]


async def test_reachability_is_what_the_test_says_and_unknown_while_down() -> None:
    box = MemoryBox(clock=clock, reachable=lambda addressee: addressee.kind is IdentifierKind.BSN)
    both = [Identifier(IdentifierKind.BSN, "999990019"), Identifier(IdentifierKind.KVK, "12345678")]
    found = await box.check(addressees=both, sender=SENDER)
    assert [one.reachable for one in found] == [True, False]
    box.down = True
    found = await box.check(addressees=both, sender=SENDER)
    assert [one.reachable for one in found] == [None, None]
    assert await box.place(messages=[message()]) == [Unavailable("down")]
    assert await box.lookup(messages=[message()]) == [Unknown("down")]


async def test_memory_keeps_what_was_sent() -> None:
    notifier = MemoryNotifier(clock=clock)
    sent = notice("jan@example.nl")
    await notifier.notify(notices=[sent, sent])
    assert notifier.notices[sent.id] == sent
    assert notifier.sent[sent.id] == 2


@pytest.mark.parametrize("adapter", [MemoryBox, MemoryNotifier, MemoryPrintService])
async def test_memory_has_no_settings(adapter: type[MemoryBox | MemoryNotifier | MemoryPrintService]) -> None:
    made = adapter.from_settings({}, clock=clock)
    await made.open()
    await made.close()
    with pytest.raises(SettingError) as caught:
        adapter.from_settings({"size": 1}, clock=clock)
    assert caught.value.key == "size"
