"""The MijnOverheid adapter against the suite of all boxes, over both transports."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import pytest
from mijnoverheid_sides import API_KEY, SENDER, new_box, new_ebms_box

from bode_adapters.contract import (
    Box,
    BringsResults,
)
from bode_adapters.mijnoverheid import mock_ebms as ebms_mock
from bode_adapters.mijnoverheid.mock import create_mock
from bode_adapters.testing.box import (
    BoxSuite,
    Lacks,
    OtherSide,
    ResultsSuite,
    mocked_side,
    new_message,
    utc_now,
)


class TestThroughTheGateway(BoxSuite):
    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        app = create_mock(clock=utc_now, api_key=API_KEY, result_delay=timedelta(seconds=0.03))
        return mocked_side(app, box=new_box, sender=SENDER, unreachable="NietActiefOfGeabonneerd")


class TestOverEbms(ResultsSuite):
    lacks = frozenset({Lacks.LOOKUP})

    def other_side(self) -> AbstractAsyncContextManager[OtherSide]:
        app = ebms_mock.create_mock(clock=utc_now, login=("bode", API_KEY), result_delay=timedelta(seconds=0.03))
        return mocked_side(app, box=new_ebms_box, sender=SENDER, unreachable="NietActiefOfGeabonneerd")


def test_it_is_a_box_that_brings_results() -> None:
    assert isinstance(new_box("http://127.0.0.1:1"), Box)
    assert isinstance(new_ebms_box("http://127.0.0.1:1"), Box)
    assert isinstance(new_ebms_box("http://127.0.0.1:1"), BringsResults)


@pytest.mark.parametrize("make", [new_box, new_ebms_box])
async def test_it_must_be_opened_first(make: Any) -> None:
    with pytest.raises(RuntimeError, match="open"):
        await make("http://127.0.0.1:1").place(messages=[new_message(SENDER)])


async def test_a_gateway_brings_no_results() -> None:
    box = new_box("http://127.0.0.1:1")
    assert list(await box.results()) == []
    await box.confirm(keys=["x"])
