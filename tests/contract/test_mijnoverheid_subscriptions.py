"""The subscription check: who takes messages of this sender (ValidateAbonnementen), over both transports."""

from collections.abc import Sequence

import httpx
import pytest
from mijnoverheid_sides import EBMS_SETTINGS, SENDER, SETTINGS, always, answering, ebms, failing, gateway

from bode_adapters.contract import Identifier, IdentifierKind, Reachability
from bode_adapters.testing.box import new_identifier

CHECKS: dict[str, object] = {"subscriptions": {"base_url": "http://127.0.0.1:1/x"}}


async def check(handler: object, settings: dict[str, object]) -> Sequence[Reachability]:
    async with answering(handler, settings) as box:
        return await box.check(addressees=[new_identifier()], sender=SENDER)


@pytest.mark.parametrize("side", [gateway, ebms])
async def test_it_is_asked_250_at_a_time_and_answers_in_the_order_asked(side: object) -> None:
    async with side() as (other, _):
        addressees = [new_identifier() for _ in range(251)]
        for gone in (addressees[0], addressees[250]):
            await other.make_unreachable(gone)
        await other.order("geen-antwoord-abonnement", ontvanger=addressees[1].number)
        found = await other.box.check(addressees=[*addressees, addressees[2]], sender=SENDER)
        assert [answer.reachable for answer in found] == [False, None, *[True] * 248, False, True]
        assert found[1].code == "not_in_answer"
        assert found[0].code == "isBerichtSturen=false"


async def test_the_mock_takes_no_more_than_250(monkeypatch: pytest.MonkeyPatch) -> None:
    from bode_adapters.mijnoverheid import limits

    monkeypatch.setattr(limits, "CHECKED", 251)
    async with gateway() as (other, _):
        found = await other.box.check(addressees=[new_identifier() for _ in range(251)], sender=SENDER)
        assert {(answer.reachable, answer.code) for answer in found} == {(None, "http_500")}


async def test_others_than_citizens_have_no_mijnoverheid_and_are_not_asked_about() -> None:
    async with answering(always(500), SETTINGS | CHECKS) as box:
        (found,) = await box.check(addressees=[Identifier(IdentifierKind.KVK, "99990001")], sender=SENDER)
        assert (found.reachable, found.code) == (False, "addressee_kind")


@pytest.mark.parametrize("settings", [SETTINGS, EBMS_SETTINGS])
async def test_without_an_address_to_ask_it_cannot_say(settings: dict[str, object]) -> None:
    async with answering(always(200), settings) as box:
        assert not box.capabilities.can_check
        (found,) = await box.check(addressees=[new_identifier()], sender=SENDER)
        assert (found.reachable, found.code) == (None, "not_offered")


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (always(500, b"<fout/>"), "http_500"),
        (always(401), "http_401"),
        (always(302), "http_302"),
        (always(200, b"<html>"), "not_in_answer"),
        (always(200, b"geen xml"), "not_in_answer"),
        (failing(httpx.ConnectError("x")), "connect_error"),
        (failing(httpx.ReadTimeout("x")), "timeout"),
    ],
)
async def test_a_question_that_fails_says_nothing_about_the_addressee(handler: object, code: str) -> None:
    (found,) = await check(handler, SETTINGS | CHECKS)
    assert (found.reachable, found.code) == (None, code)
