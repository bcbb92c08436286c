"""MijnDomein and the Berichtenbox voor bedrijven against the suite of all boxes that tell what was opened."""

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from bode_adapters.berichtenbox_bedrijven import BerichtenboxBedrijvenBox
from bode_adapters.berichtenbox_bedrijven.mock import create_mock as create_bedrijven
from bode_adapters.contract import Box, BoxMessage, IdentifierKind, RefusalKind, Refused, TellsReading
from bode_adapters.mijndomein.mock import create_mock
from bode_adapters.testing.box import (
    Lacks,
    MockedSide,
    ReadableSide,
    ReadingSuite,
    mocked_side,
    new_identifier,
    new_message,
    utc_now,
)

from .parts import SENDER, SETTINGS, TOKEN, new_box, open_as_addressee


@dataclass(slots=True)
class FbsSide(MockedSide):
    """The mock store, whose addressees open what they find."""

    async def open_as_addressee(self, message: BoxMessage, receipt: str) -> None:
        await open_as_addressee(self.mock, message, receipt)


def new_bedrijven(url: str) -> BerichtenboxBedrijvenBox:
    return BerichtenboxBedrijvenBox.from_settings(SETTINGS | {"base_url": f"{url}/api/v1"}, clock=utc_now)


@asynccontextmanager
async def fbs_side(app: Any, box: Any = new_box):
    async with mocked_side(app, box=box, sender=SENDER, unreachable="ontvanger-onbekend") as side:
        yield FbsSide(**{name: getattr(side, name) for name in MockedSide.__slots__})


class TestAsABox(ReadingSuite):
    lacks = frozenset({Lacks.CHECK, Lacks.RECOGNISED_REPEATS, Lacks.ADDRESSEES_IT_REFUSES})

    def other_side(self) -> AbstractAsyncContextManager[ReadableSide]:
        return fbs_side(create_mock(clock=utc_now, token=TOKEN))


class TestAsABoxWithoutTextsInLists(TestAsABox):
    """The other reading of the contract's list."""

    def other_side(self) -> AbstractAsyncContextManager[ReadableSide]:
        return fbs_side(create_mock(clock=utc_now, token=TOKEN, text_in_list=False))


class TestBedrijvenAsABox(ReadingSuite):
    lacks = frozenset({Lacks.CHECK, Lacks.RECOGNISED_REPEATS})

    def other_side(self) -> AbstractAsyncContextManager[ReadableSide]:
        return fbs_side(create_bedrijven(clock=utc_now, token=TOKEN), new_bedrijven)


def test_both_are_boxes_that_tell_what_was_opened() -> None:
    for box in (new_box("http://127.0.0.1:1"), new_bedrijven("http://127.0.0.1:1")):
        assert isinstance(box, Box)
        assert isinstance(box, TellsReading)


async def test_a_persons_message_never_reaches_the_box_of_companies() -> None:
    box = new_bedrijven("http://127.0.0.1:1")
    assert box.capabilities.addressees == {IdentifierKind.KVK, IdentifierKind.RSIN}
    message = new_message(SENDER, addressee=new_identifier(IdentifierKind.BSN))
    for answer in [*await box.place(messages=[message]), *await box.lookup(messages=[message])]:
        assert isinstance(answer, Refused)
        assert (answer.code, answer.kind) == ("limiet:addressee_kind", RefusalKind.ADDRESSEE)


async def test_the_mock_of_companies_refuses_a_person() -> None:
    transport = httpx.ASGITransport(create_bedrijven(clock=utc_now))
    delivery = {"afzender": SENDER.oin, "onderwerp": "o", "inhoud": "i"}
    async with httpx.AsyncClient(transport=transport, base_url="http://mock/api/v1") as client:
        for kind, number, status in (("BSN", "999990019", 422), ("KVK", "12345678", 201), ("RSIN", "002564440", 201)):
            who = {"ontvanger": {"type": kind, "waarde": number}}
            assert (await client.post("/aanleveringen", json=delivery | who)).status_code == status
