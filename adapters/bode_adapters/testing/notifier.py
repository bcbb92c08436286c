"""The suite that every notifier passes.

    class TestOurNotifier(NotifierSuite):
        @pytest.fixture
        async def stage(self): ...   # yields a NotifierStage

The suite knows nothing of SMTP: it asks the stage for an address at which the outside behaves in some way, and how
often a notice really arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from bode_adapters.contract import (
    Answer,
    MailRefused,
    NoticeMail,
    Notifier,
    Placed,
    RefusalKind,
    Refused,
    Sender,
    Unavailable,
    Unknown,
)


class Behaviour(StrEnum):
    """What the outside does with a notice to an address."""

    ACCEPTS = "accepts"
    UNKNOWN_USER = "unknown_user"
    """A final no about the addressee, at RCPT."""
    MAILBOX_FULL = "mailbox_full"
    """A no for now about the addressee."""
    SOFT_ONCE = "soft_once"
    """A no for now at the first attempt of each notice, then accepted."""
    BLOCKED = "blocked"
    """A no after the whole mail was read."""
    LOST = "lost"
    """Taken, and the connection lost before the answer."""


class NotifierStage(Protocol):
    """A notifier, opened, and the outside behind it."""

    @property
    def notifier(self) -> Notifier:
        """The notifier under test."""
        ...

    def address(self, behaviour: Behaviour, name: str) -> str | None:
        """Give an address with `name` in it at which the outside does this; `None` where it cannot."""
        ...

    def arrived(self, notice: UUID) -> int:
        """Tell how often this notice was really taken, whatever was answered."""
        ...

    async def down(self) -> None:
        """Make the outside unreachable."""
        ...

    async def up(self) -> None:
        """Make it reachable again."""
        ...


SENDER = Sender(oin="00000001003214345000", name="Gemeente Voorbeeldstad", email="bericht@voorbeeldstad.example")
PRIVATE_NAME = "pietersen-de-wit"
PRIVATE_SUBJECT = "Onderwerp 4711"
PRIVATE_TEXT = "Tekst 4712"
ADDRESSEE_PHASES = frozenset({"rcpt_to", "data", "after_dot"})
"""The phases in which a refusal can be about the addressee."""


def notice(email: str, *, subject: str = PRIVATE_SUBJECT, text: str = PRIVATE_TEXT) -> NoticeMail:
    """Make a notice to an address."""
    number = uuid4()
    return_path = f"bounce+{number.hex}@voorbeeldstad.example"
    return NoticeMail(number, SENDER, email=email, return_path=return_path, subject=subject, text=text)


class NotifierSuite:
    """Subclass it, and give a fixture `stage`."""

    async def test_it_is_a_notifier_that_takes_at_least_one(self, stage: NotifierStage) -> None:
        assert isinstance(stage.notifier, Notifier)
        assert stage.notifier.capabilities.bulk >= 1

    async def test_nothing_asked_nothing_answered(self, stage: NotifierStage) -> None:
        assert list(await stage.notifier.notify(notices=[])) == []

    async def test_an_accepted_notice_is_placed_with_a_time_and_a_receipt(self, stage: NotifierStage) -> None:
        sent = notice(_address(stage, Behaviour.ACCEPTS))
        answer = await _one(stage, sent)
        assert isinstance(answer, Placed)
        assert answer.at.utcoffset() is not None
        assert answer.receipt
        assert stage.arrived(sent.id) == 1

    async def test_answers_come_in_the_order_asked(self, stage: NotifierStage) -> None:
        kinds = [Behaviour.ACCEPTS, Behaviour.UNKNOWN_USER, Behaviour.ACCEPTS, Behaviour.MAILBOX_FULL] * 10
        sent = [notice(_address(stage, kind, f"n{at}")) for at, kind in enumerate(kinds)]
        answers = await stage.notifier.notify(notices=sent)
        assert [isinstance(answer, Placed) for answer in answers] == [kind is Behaviour.ACCEPTS for kind in kinds]
        taken = [stage.arrived(one.id) for one in sent]
        assert taken == [int(kind is Behaviour.ACCEPTS) for kind in kinds]

    async def test_a_full_call_is_answered_whole(self, stage: NotifierStage) -> None:
        many = min(stage.notifier.capabilities.bulk, 300)
        sent = [notice(_address(stage, Behaviour.ACCEPTS, f"n{at}")) for at in range(many)]
        answers = await stage.notifier.notify(notices=sent)
        assert all(isinstance(answer, Placed) for answer in answers)
        assert all(stage.arrived(one.id) == 1 for one in sent)

    async def test_calls_at_the_same_time_get_their_own_answers(self, stage: NotifierStage) -> None:
        good = [notice(_address(stage, Behaviour.ACCEPTS, f"g{at}")) for at in range(10)]
        bad = [notice(_address(stage, Behaviour.UNKNOWN_USER, f"b{at}")) for at in range(10)]
        first, second = await asyncio.gather(stage.notifier.notify(notices=good), stage.notifier.notify(notices=bad))
        assert all(isinstance(answer, Placed) for answer in first)
        assert not any(isinstance(answer, Placed) for answer in second)

    async def test_an_unknown_addressee_is_a_refusal_that_can_be_about_the_addressee(
        self, stage: NotifierStage
    ) -> None:
        answer = await _one(stage, notice(_address(stage, Behaviour.UNKNOWN_USER)))
        if isinstance(answer, MailRefused):
            assert answer.code in range(500, 600)
            assert answer.phase in ADDRESSEE_PHASES
        else:
            assert isinstance(answer, Refused)
            assert answer.kind is RefusalKind.ADDRESSEE

    async def test_a_full_mailbox_is_never_final(self, stage: NotifierStage) -> None:
        answer = await _one(stage, notice(_address(stage, Behaviour.MAILBOX_FULL)))
        assert not isinstance(answer, Refused | Placed)
        assert not isinstance(answer, MailRefused) or answer.code in range(400, 500)

    async def test_a_refusal_after_the_whole_mail_says_so(self, stage: NotifierStage) -> None:
        sent = notice(_address(stage, Behaviour.BLOCKED))
        answer = await _one(stage, sent)
        assert isinstance(answer, MailRefused)
        assert answer.phase == "after_dot"
        assert stage.arrived(sent.id) == 0

    async def test_the_same_notice_again_has_the_same_receipt(self, stage: NotifierStage) -> None:
        sent = notice(_address(stage, Behaviour.SOFT_ONCE))
        first = await _one(stage, sent)
        assert not isinstance(first, Placed)
        second, third = await _one(stage, sent), await _one(stage, sent)
        assert isinstance(second, Placed)
        assert isinstance(third, Placed)
        assert second.receipt == third.receipt

    async def test_a_lost_answer_is_unknown_and_not_tried_again_by_itself(self, stage: NotifierStage) -> None:
        sent = notice(_address(stage, Behaviour.LOST))
        answer = await _one(stage, sent)
        assert isinstance(answer, Unknown)
        assert stage.arrived(sent.id) == 1

    async def test_a_lost_answer_leaves_the_neighbours_alone(self, stage: NotifierStage) -> None:
        kinds = [Behaviour.ACCEPTS, Behaviour.LOST, Behaviour.ACCEPTS]
        sent = [notice(_address(stage, kind, f"n{at}")) for at, kind in enumerate(kinds)]
        first, second, third = await stage.notifier.notify(notices=sent)
        assert isinstance(first, Placed)
        assert isinstance(second, Unknown)
        assert isinstance(third, Placed)

    async def test_an_outside_that_is_away_is_unavailable_and_takes_nothing(self, stage: NotifierStage) -> None:
        sent = [notice(_address(stage, Behaviour.ACCEPTS, f"n{at}")) for at in range(5)]
        await stage.down()
        away = await stage.notifier.notify(notices=sent)
        assert all(isinstance(answer, Unavailable) for answer in away)
        assert not any(stage.arrived(one.id) for one in sent)
        await stage.up()
        back = await stage.notifier.notify(notices=sent)
        assert all(isinstance(answer, Placed) for answer in back)

    async def test_an_outside_that_went_and_came_back_is_used_again(self, stage: NotifierStage) -> None:
        address = _address(stage, Behaviour.ACCEPTS)
        assert isinstance(await _one(stage, notice(address)), Placed)
        await stage.down()
        await stage.up()
        sent = notice(address)
        assert isinstance(await _one(stage, sent), Placed)
        assert stage.arrived(sent.id) == 1

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "geen-adres",
            "@example.nl",
            "jan@",
            "jan jansen@example.nl",
            "jan@example.nl\r\nRCPT TO:<x@example.nl>",
            "jan@example.nl> NOTIFY=NEVER",
            "<jan@example.nl>",
            "jan@exa mple.nl",
            f"{'x' * 65}@example.nl",
            f"jan@{'x' * 64}.nl",
        ],
    )
    async def test_what_is_no_address_is_refused_and_nothing_else(self, stage: NotifierStage, address: str) -> None:
        good = notice(_address(stage, Behaviour.ACCEPTS))
        refused, placed = await stage.notifier.notify(notices=[notice(address), good])
        assert isinstance(refused, Refused)
        assert refused.kind is RefusalKind.ADDRESSEE
        assert isinstance(placed, Placed)

    @pytest.mark.parametrize("text", ["", "een\r\nBcc: ander@example.nl", "\0", "\ud800", "é" * 2000, "\r\n.\r\nQUIT"])
    async def test_any_subject_and_text_can_be_sent(self, stage: NotifierStage, text: str) -> None:
        sent = notice(_address(stage, Behaviour.ACCEPTS), subject=text, text=text)
        assert isinstance(await _one(stage, sent), Placed)
        assert stage.arrived(sent.id) == 1

    @pytest.mark.parametrize("kind", Behaviour)
    async def test_no_personal_data_in_codes_and_receipts(self, stage: NotifierStage, kind: Behaviour) -> None:
        sent = notice(_address(stage, kind, PRIVATE_NAME))
        answer = await _one(stage, sent)
        shown = " ".join(_kept_in_the_open(answer))
        for secret in (PRIVATE_NAME, sent.email, PRIVATE_SUBJECT, PRIVATE_TEXT):
            assert secret not in shown
        assert PRIVATE_NAME not in repr(sent)


def _kept_in_the_open(answer: Answer) -> Sequence[str]:
    """Give what of an answer is not stored as personal data: all but the text of a mail server."""
    match answer:
        case MailRefused(phase=phase, code=code, mta=mta):
            return phase, str(code), str(mta)
        case _:
            return (repr(answer),)


def _address(stage: NotifierStage, behaviour: Behaviour, name: str = "jan") -> str:
    address = stage.address(behaviour, name)
    if address is None:
        pytest.skip(f"this stage has no address that is {behaviour}")
    return address


async def _one(stage: NotifierStage, sent: NoticeMail) -> Answer:
    (answer,) = await stage.notifier.notify(notices=[sent])
    return answer
