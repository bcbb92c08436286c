"""The profile service through the engine, over its mock: whose word a channel rests on, and what becomes of errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bode.domain.bounces import Reason
from bode.domain.parts import AttentionReason, DeliveryState, LetterKind, LetterReason, Outcome
from bode.domain.parts import NoticeState as N
from bode.domain.parts import ProfileState as S
from bode.engine.profile_guard import ProfileLimits
from bode.intake.faults import Refused
from bode.store import messages, tables
from bode_adapters.contract import MailRefused
from bode_adapters.profielservice import Profielservice
from bode_adapters.profielservice.mock import MockProfielservice, create_mock
from bode_adapters.serving import Order, serve
from bode_ops.story import labels, timeline

pytestmark = pytest.mark.law("L1")
FOUND = "gevonden@post.example.nl"


@dataclass
class Installation:
    """A process with a profile service to ask."""

    app: Any
    mock: MockProfielservice
    body: Any

    async def accept(self, **changes: Any) -> Any:
        """Accept a message whose consent and address are to come from the profile service."""
        asked = {"kanalen": [{"kanaal": "mijndomein", "grondslag": "profiel"}], "kennisgeving": {"uitProfiel": True}}
        return await self.app.accept(self.body(**(asked | changes)))

    def number_of(self, request: dict[str, Any]) -> str:
        return request["geadresseerde"]["nummer"]


@asynccontextmanager
async def installed(make_app: Any, url: str, body: Any, **limits: Any) -> AsyncIterator[Installation]:
    app = await make_app(url, policy={"has_profile": True})
    asgi = create_mock(clock=app.clock.now)
    async with serve(asgi) as address:
        settings = {"base_url": address, "timeout_seconds": 5, "cache_seconds": 300}
        service = Profielservice.from_settings(settings, clock=app.clock.now)
        parts = {"profile": service, "profile_limits": ProfileLimits(**limits)}
        beside = await make_app(url, beside=app, policy={"has_profile": True}, **parts)
        await service.open()
        yield Installation(beside, asgi.state.mock, body)
        await service.close()


@pytest.fixture
async def bode(make_app, sqlite_url, body):
    async with installed(make_app, sqlite_url, body) as made:
        yield made


@pytest.fixture
async def bode_on_each(make_app, database_url, body):
    """Give it on each kind of database, for what is stored in a way of its own."""
    async with installed(make_app, database_url, body) as made:
        yield made


def person(number: str = "999990019", **changes: Any) -> dict[str, Any]:
    address = {"straat": "Regenboogkade", "huisnummer": "17", "postcode": "1234 AB", "woonplaats": "Maasveld"}
    return {"soort": "BSN", "nummer": number, "naam": "Sanne de Vries", "adres": address} | changes


async def test_consent_and_address_from_the_profile_place_and_notice(bode):
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    delivery = await bode.app.delivery(accepted.id)
    assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICED)
    (notice,) = bode.app.notifier.notices.values()
    assert notice.email == FOUND
    _, snapshot = await bode.app.named(accepted.id, "preference.snapshot")
    assert snapshot.detail["origin"] == "profielservice"
    assert snapshot.detail["receives"] is True
    told = timeline(await bode.app.events(accepted.id), channels=labels(bode.app.parts.policy))
    assert any("De ontvanger wil berichten in een berichtenbox" in line.detail for line in told)
    assert not any("nog geen eigen woorden" in line.detail for line in told)


async def test_the_address_found_is_stored_sealed_and_stands_nowhere_open(bode_on_each):
    bode = bode_on_each
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    for table in tables.metadata.sorted_tables:
        for row in await bode.app.rows(table):
            assert FOUND.encode() not in repr(tuple(row)).encode()
    async with bode.app.database.read() as connection:
        opened = await messages.load(connection, [accepted.id], bode.app.vault, with_documents=False)
    assert opened[accepted.id].notice.email == FOUND


@pytest.mark.parametrize("said", ["false", None, "no profile"])
async def test_without_consent_the_message_goes_on_paper_at_once(bode, said):
    if said != "no profile":
        bode.mock.knows("BSN", "999990019", receives=said, email=FOUND)
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    (letter,) = (await bode.app.delivery(accepted.id)).letters
    assert (letter.kind, letter.reason) == (LetterKind.MESSAGE, LetterReason.NO_CHANNEL)
    assert not bode.app.other_box.placements


@pytest.mark.parametrize("gedrag", ["http-500", "http-503", "verbreek", "onleesbaar"])
async def test_a_service_that_fails_never_means_no(bode, gedrag):
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    bode.mock.misbehaviour.give(Order(gedrag))
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.pass_time(hours=4)
    delivery = await bode.app.delivery(accepted.id)
    assert (delivery.profile.state, delivery.letters, delivery.placements) == (S.ASKING, (), ())
    bode.mock.misbehaviour.clear()
    await bode.app.pass_time(hours=8, every=1)
    assert (await bode.app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_service_that_stays_away_is_shown_to_a_person_and_still_asked(bode):
    bode.mock.misbehaviour.give(Order("http-503"))
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.pass_time(hours=90, every=3)
    delivery = await bode.app.delivery(accepted.id)
    assert [item.reason for item in delivery.attention] == [AttentionReason.PROFILE_UNANSWERED]
    assert delivery.letters == ()
    assert [step.action for step in await bode.app.steps()] == ["profile"]


@pytest.mark.parametrize(("gedrag", "code"), [("onbekende-waarde", "waarde:misschien"), ("ander", "another_party")])
async def test_a_word_nobody_knows_waits_for_a_person(bode, gedrag, code):
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    bode.mock.misbehaviour.give(Order(gedrag))
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    delivery = await bode.app.delivery(accepted.id)
    assert (delivery.profile.state, delivery.profile.code) == (S.HELD, code)
    assert [item.reason for item in delivery.attention] == [AttentionReason.PROFILE_UNRECOGNISED]
    assert delivery.letters == ()


async def test_a_wrong_base_path_stops_the_lane_and_sends_no_letter(bode):
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    bode.mock.misbehaviour.give(Order("verkeerd-pad"))
    accepted = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    assert await bode.app.stopped() == {"profiel": "http_404_bare"}
    assert (await bode.app.delivery(accepted.id)).letters == ()
    bode.mock.misbehaviour.clear()
    await bode.app.start_lane("profiel")
    await bode.app.pass_time(hours=1)
    assert (await bode.app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_service_that_suddenly_knows_nobody_stops_the_lane(make_app, sqlite_url, body):
    """A gateway can give a 404 that looks like the service's own: then the number of them tells."""
    async with installed(make_app, sqlite_url, body, missing_share=0.9, missing_least=10) as bode:
        accepted = []
        for _ in range(30):
            request = body(
                kanalen=[{"kanaal": "mijndomein", "grondslag": "profiel"}], kennisgeving={"uitProfiel": True}
            )
            bode.mock.knows("BSN", bode.number_of(request), receives="true", email=FOUND)
            accepted.append(await bode.app.accept(request))
        bode.mock.misbehaviour.give(Order("niemand-bekend"))
        await bode.app.settle()
        assert await bode.app.stopped() == {"profiel": "missing_jump"}
        deliveries = [await bode.app.delivery(one.id) for one in accepted]
        assert [delivery.letters for delivery in deliveries] == [()] * 30
        bode.mock.misbehaviour.clear()
        await bode.app.start_lane("profiel")
        await bode.app.pass_time(hours=1)
        assert {(await bode.app.delivery(one.id)).outcome for one in accepted} == {Outcome.NOTICED}
        assert not bode.app.printer.printed


async def test_what_was_asked_shortly_before_is_not_asked_again(bode):
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    for _ in range(3):
        await bode.accept(geadresseerde=person())
        await bode.app.settle()
    assert bode.mock.questions == 1
    await bode.app.pass_time(hours=1)
    await bode.accept(geadresseerde=person())
    await bode.app.settle()
    assert bode.mock.questions == 2


@pytest.mark.law("L7")
async def test_an_address_that_bounced_is_not_mailed_to_when_the_profile_gives_it_again(bode):
    bode.mock.knows("BSN", "999990019", receives="true", email=FOUND)
    bode.app.notifier.script.rule = lambda _: MailRefused("rcpt_to", 550, "5.1.1 user unknown", "mx.example.nl")
    first = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    assert (await bode.app.delivery(first.id)).placements[0].notice.state is N.UNDELIVERABLE
    bode.app.notifier.script.rule = None
    second = await bode.accept(geadresseerde=person())
    await bode.app.settle()
    delivery = await bode.app.delivery(second.id)
    assert delivery.letters[0].reason is LetterReason.ADDRESS_FAILING
    assert delivery.brief.email_failing_reason == Reason.USER_UNKNOWN


async def test_intake_refuses_what_no_profile_service_can_say(make_app, sqlite_url, body):
    profile = {"kanalen": [{"kanaal": "mijndomein", "grondslag": "profiel"}]}
    app = await make_app(sqlite_url)
    assert await codes(app, body(**profile)) == {"profiel_niet_ingericht"}
    assert await codes(app, body(kennisgeving={"uitProfiel": True})) == {"profiel_niet_ingericht"}
    async with installed(make_app, sqlite_url, body) as bode:
        mail = {"kanalen": [{"kanaal": "email", "grondslag": "profiel"}]}
        assert await codes(bode.app, body(**mail)) == {"profiel_past_niet"}
        both = {"uitProfiel": True, "email": FOUND}
        assert await codes(bode.app, body(kennisgeving=both)) == {"email_dubbel"}
        assert await codes(bode.app, body(kennisgeving={"uitProfiel": "ja"})) == {"bool_type"}


async def codes(app: Any, request: dict[str, Any]) -> set[str]:
    with pytest.raises(Refused) as refused:
        await app.accept(request)
    return {fault.code for fault in refused.value.faults}
