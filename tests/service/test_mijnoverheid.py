"""MijnOverheid's adapter and its mocks under the real engine, on a clock that a test moves: what the timeline tells."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from mijnoverheid_sides import API_KEY, EBMS_SETTINGS, RESULT_CODES, SETTINGS

from bode.domain import events as ev
from bode.domain.parts import AttentionReason, DeliveryState, LetterKind, Outcome
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.domain.policy import NoticeBy
from bode.engine.answers import UNRECOGNISED
from bode.engine.box_results import BoxResults
from bode.store import tables
from bode_adapters.contract import BringsResults, RefusalKind
from bode_adapters.mijnoverheid import MijnOverheidBox, mock, mock_ebms
from bode_adapters.mijnoverheid.mock_subscriptions import PATH
from bode_adapters.testing.box import MockedSide, mocked_side
from bode_ops.story import labels, timeline

MINUTES = timedelta(minutes=10)
"""How long the Berichtenbox takes."""


@dataclass
class World:
    """A process of Bode with a mock as its Berichtenbox."""

    app: Any
    side: MockedSide
    box: Any
    """The Berichtenbox behind the mock."""
    results: BoxResults

    async def accept(self, **changes: Any) -> UUID:
        return (await self.app.accept(**changes)).id

    async def settle(self) -> None:
        await self.app.settle()
        if await self.results.read():
            await self.app.settle()

    async def pass_time(self, *, every: float = 0.5, hours: float) -> None:
        until = self.app.clock.time + timedelta(hours=hours)
        while self.app.clock.time < until:
            self.app.clock.time = min(self.app.clock.time + timedelta(hours=every), until)
            await self.settle()

    async def told(self, message: UUID) -> list[str]:
        """Give the titles of a message's timeline, as people read them."""
        events = await self.app.events(message)
        return [line.title for line in timeline(events, channels=labels(self.app.parts.policy))]

    def times_placed(self, message: UUID) -> int:
        placed = self.box.placements.get(str(message))
        return placed.count if placed is not None else 0

    async def number(self, message: UUID) -> str:
        """Give the addressee's number, as the mock got it."""
        return next(one.user for batch in self.box.batches for one in batch.messages if one.id == str(message))


@asynccontextmanager
async def world(make_app, url, transport: str, *, delay: timedelta = MINUTES, **options: Any) -> AsyncIterator[World]:
    app = await make_app(url, **options)
    organisations = {
        oin: replace(organisation, box_types={"mijnoverheid": "BESLUIT"})
        for oin, organisation in app.parts.organisations.items()
    }
    if transport == "ebms":
        served = mock_ebms.create_mock(clock=app.clock.now, login=("bode", API_KEY), result_delay=delay)
        settings = EBMS_SETTINGS
    else:
        served = mock.create_mock(clock=app.clock.now, api_key=API_KEY, result_delay=delay)
        settings = SETTINGS

    def box(address: str) -> MijnOverheidBox:
        checks = {"subscriptions": {"base_url": f"{address}{PATH}"}}
        return MijnOverheidBox.from_settings(settings | checks | {"base_url": address}, clock=app.clock.now)

    async with mocked_side(served, box=box, sender=None, unreachable="NietActiefOfGeabonneerd") as side:
        boxes = {**app.parts.boxes, "mijnoverheid": side.box}
        made = await make_app(url, beside=app, boxes=boxes, organisations=organisations, **options)
        yield World(made, side, served.state.mock.box, BoxResults(made.parts, made.lanes, made.inbound))


@pytest.fixture(params=["gateway", "ebms"])
def transport(request) -> str:
    return request.param


# ------------------------------------------------------------------------------------------------------ the good course


@pytest.mark.law("L10")
async def test_placed_when_the_result_says_so_and_not_before(make_app, database_url, transport):
    async with world(make_app, database_url, transport) as bode:
        message = await bode.accept()
        start = bode.app.clock.now()
        await bode.settle()
        assert (await bode.app.delivery(message)).placements[0].state is P.PENDING
        assert not bode.app.notifier.sent, "an acceptance of a batch is no accessibility"
        await bode.pass_time(hours=1, every=0.1)
        delivery = await bode.app.delivery(message)
        assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICED)
        assert delivery.placements[0].placed_at == start + MINUTES, "the Berichtenbox's own time"
        (placed,) = await bode.app.named(message, "ContentConsignment")
        assert (placed.detail["code"], placed.detail["stage"]) == ("Verwerkt", "NA")
        assert "Geplaatst in de Berichtenbox van MijnOverheid" in await bode.told(message)
        assert await bode.app.steps() == []


@pytest.mark.slow
@pytest.mark.law("L3", "L11")
async def test_the_box_gives_the_notice_where_that_is_chosen_and_evidence_says_it_is_not_proven(
    make_app, sqlite_url, transport
):
    async with world(make_app, sqlite_url, transport) as bode:
        policy = bode.app.parts.policy
        channel = replace(policy.channels["mijnoverheid"], notice=NoticeBy.BOX)
        object.__setattr__(policy, "channels", {**policy.channels, "mijnoverheid": channel})
        message = await bode.accept()
        await bode.pass_time(hours=1, every=0.1)
        delivery = await bode.app.delivery(message)
        assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICE_BY_BOX)
        assert not bode.app.notifier.sent
        (fact,) = await bode.app.named(message, "notice.by_box")
        assert fact.detail["proven"] is False
        (placed,) = await bode.app.named(message, "ContentConsignment")
        assert fact.detail["deadline"] == (placed.at + timedelta(hours=48)).isoformat()


@pytest.mark.slow
@pytest.mark.law("L1")
async def test_a_subscription_is_asked_for_first_where_consent_rests_on_it(make_app, sqlite_url, transport):
    ask = [{"kanaal": "mijnoverheid", "grondslag": "controleren"}]
    async with world(make_app, sqlite_url, transport) as bode:
        await bode.side.order("vraag-http-503", keer=1)
        message = await bode.accept(kanalen=ask)
        await bode.settle()
        assert (await bode.app.delivery(message)).placements[0].state is P.CHECKING
        assert not bode.box.batches
        await bode.pass_time(hours=1, every=0.1)
        assert bode.times_placed(message) == 1
        (decided,) = [fact for fact in await bode.app.named(message, "channel.decision") if "reachable" in fact.detail]
        assert decided.detail["code"] == "isBerichtSturen=true"


# --------------------------------------------------------------------------------------------------- every result code

AFTER = {
    "Verwerkt": (P.PLACED, None),
    "00": (P.PLACED, None),
    "BerichtBestaatAl": (P.PLACED, None),
    "TechnischProbleem": (P.PLANNED, None),
    "AanmaakDatumLigtTeVerInHetVerleden": (P.PLANNED, None),
    "NietActiefOfGeabonneerd": (P.REFUSED, LetterKind.MESSAGE),
    "PublicatieDatumLigtTeVerInDeToekomst": (P.REFUSED, LetterKind.MESSAGE),
    "BijlageTeGroot": (P.REFUSED, LetterKind.MESSAGE),
    "BerichtTypeNietOndersteund": (P.PLANNED, None),
    "OinInCPAKomtNietOvereenMetOinInBericht": (P.PLANNED, None),
    "XmlValidatieTegenXsdValtNegatiefUit": (P.HELD, None),
    "verwerkt": (P.HELD, None),
    "Postvak vol": (P.HELD, None),
}
"""Where each code leaves the placement at once, and what letter follows."""


@pytest.mark.law("L6")
@pytest.mark.parametrize(("code", "means"), RESULT_CODES)
async def test_where_every_result_code_leads(make_app, sqlite_url, code, means):
    counted = UNRECOGNISED.labels("mijnoverheid")._value.get()
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        await bode.side.order("onbekende-code", code=code)
        message = await bode.accept()
        await bode.settle()
        delivery = await bode.app.delivery(message)
        state, letter = AFTER[code]
        assert delivery.placements[0].state is state
        assert [one.kind for one in delivery.letters] == ([letter] if letter else [])
        stopped = means in (RefusalKind.CONFIGURATION, RefusalKind.DEFECT)
        assert await bode.app.stopped() == ({"mijnoverheid": code} if stopped else {}), "nobody gets a letter for it"
        reasons = [item.reason for item in delivery.attention]
        if means is RefusalKind.DEFECT:
            assert reasons == [AttentionReason.DEFECT]
        elif means is RefusalKind.UNRECOGNISED:
            assert reasons == [AttentionReason.UNRECOGNISED]
            assert delivery.state is DeliveryState.NEEDS_PERSON
            assert UNRECOGNISED.labels("mijnoverheid")._value.get() == counted + 1
        else:
            assert reasons == []
        if state is not P.PLACED:
            (failure,) = await bode.app.named(message, "ContentConsignmentFailure")
            assert (failure.detail["code"], failure.detail["stage"]) == (code, mock_stage(code))
            assert any(f"({code})" in title for title in await bode.told(message))


def mock_stage(code: str) -> str:
    from bode_adapters.mijnoverheid.mock_berichtenbox import Outcome as Line

    return Line("", "", code).stage


# ------------------------------------------------------------------------------------------------- when it goes wrong


@pytest.mark.slow
@pytest.mark.law("L6", "L8")
@pytest.mark.parametrize("gedrag", ["timeout-na-acceptatie", "verbreek", "fout-na-acceptatie"])
async def test_no_answer_after_a_hand_over_is_found_out_and_placed_once(make_app, sqlite_url, transport, gedrag):
    async with world(make_app, sqlite_url, transport) as bode:
        await bode.side.order(gedrag, keer=1)
        message = await bode.accept()
        await bode.settle()
        await bode.pass_time(hours=2, every=0.1)
        assert (await bode.app.delivery(message)).outcome is Outcome.NOTICED
        assert bode.times_placed(message) == 1
        assert not bode.app.printer.printed
        titles = await bode.told(message)
        assert titles.count("Geplaatst in de Berichtenbox van MijnOverheid") == 1


@pytest.mark.law("L10")
async def test_a_result_that_is_faster_than_the_repeat_settles_what_was_unknown(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        await bode.side.order("timeout-na-acceptatie", keer=1)
        message = await bode.accept()
        await bode.app.settle()
        assert (await bode.app.delivery(message)).placements[0].state is P.UNKNOWN
        assert await bode.results.read() == 1
        delivery = await bode.app.delivery(message)
        assert delivery.placements[0].state is P.PLACED
        (reconciled,) = await bode.app.named(message, "outcome.reconciled")
        assert reconciled.detail["outcome"] == "placed"
        assert await bode.app.steps(tables.step.c.part == "placement/mijnoverheid") == []


@pytest.mark.slow
async def test_a_no_for_now_in_a_result_of_an_unknown_call_is_tried_again_under_the_same_batch(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        await bode.side.order("timeout-na-acceptatie", keer=1)
        await bode.side.order("TechnischProbleem", keer=1)
        message = await bode.accept()
        await bode.app.settle()
        assert await bode.results.read() == 1
        assert (await bode.app.delivery(message)).placements[0].state is P.PLANNED
        await bode.pass_time(hours=1, every=0.1)
        assert (await bode.app.delivery(message)).outcome is Outcome.NOTICED
        assert len({batch.id for batch in bode.box.batches}) == 1, "again with the same batch id"
        assert len(bode.box.batches) == 2
        assert bode.times_placed(message) == 1


@pytest.mark.slow
@pytest.mark.law("L8", "L10")
async def test_the_same_result_twice_counts_once(make_app, database_url, transport):
    async with world(make_app, database_url, transport) as bode:
        await bode.side.order("dubbel-document" if transport == "ebms" else "dubbel-resultaat")
        message = await bode.accept()
        await bode.pass_time(hours=1, every=0.1)
        delivery = await bode.app.delivery(message)
        assert delivery.outcome is Outcome.NOTICED
        assert len(delivery.sendings) == 1
        assert (await bode.told(message)).count("Geplaatst in de Berichtenbox van MijnOverheid") == 1
        assert list(bode.app.notifier.sent.values()) == [1]
        assert await bode.results.read() == 0


@pytest.mark.slow
async def test_a_result_that_never_comes_is_shown_to_a_person_and_never_guessed(make_app, sqlite_url, transport):
    async with world(make_app, sqlite_url, transport) as bode:
        await bode.side.order("nooit-resultaat", keer=1)
        message = await bode.accept()
        await bode.pass_time(hours=30, every=3)
        delivery = await bode.app.delivery(message)
        assert delivery.placements[0].state is P.PENDING
        assert [item.reason for item in delivery.attention] == [AttentionReason.RESULT_OVERDUE]
        assert not bode.app.printer.printed
        await bode.app.lanes.apply([(message, ev.Retried("medewerker", "nagevraagd"))])
        await bode.pass_time(hours=1, every=0.1)
        assert (await bode.app.delivery(message)).outcome is Outcome.NOTICED
        assert bode.times_placed(message) == 1


@pytest.mark.slow
@pytest.mark.law("L3")
async def test_a_result_that_comes_late_starts_the_48_hours_at_the_boxs_own_time(make_app, sqlite_url, transport):
    async with world(make_app, sqlite_url, transport) as bode:
        await bode.side.order("laat", code="40")
        message = await bode.accept()
        start = bode.app.clock.now()
        await bode.settle()
        await bode.pass_time(hours=42, every=3)
        delivery = await bode.app.delivery(message)
        assert (delivery.state, delivery.outcome) == (DeliveryState.DONE, Outcome.NOTICED)
        at = start + MINUTES + timedelta(hours=40)
        assert delivery.placements[0].placed_at == at
        assert delivery.placements[0].notice.deadline_at == at + timedelta(hours=48)


@pytest.mark.slow
async def test_half_a_batch_leaves_the_other_half_to_a_person_and_a_late_rest_settles_it(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms") as bode:
        await bode.side.order("halve-batch", code="28")
        messages = [await bode.accept() for _ in range(4)]
        await bode.settle()
        await bode.pass_time(hours=26, every=2)
        assert len(bode.box.batches) == 1
        states = [(await bode.app.delivery(message)).state for message in messages]
        assert sorted(states) == sorted([DeliveryState.DONE] * 2 + [DeliveryState.NEEDS_PERSON] * 2)
        await bode.pass_time(hours=4, every=1)
        assert [(await bode.app.delivery(message)).outcome for message in messages] == [Outcome.NOTICED] * 4
        assert [bode.times_placed(message) for message in messages] == [1] * 4


@pytest.mark.slow
async def test_half_a_batch_through_the_gateway_is_for_a_person(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "gateway") as bode:
        await bode.side.order("halve-batch", keer=1)
        messages = [await bode.accept() for _ in range(2)]
        await bode.pass_time(hours=26, every=2)
        states = [(await bode.app.delivery(message)).state for message in messages]
        assert sorted(states) == sorted([DeliveryState.DONE, DeliveryState.NEEDS_PERSON])
        assert not bode.app.printer.printed


@pytest.mark.slow
async def test_errors_for_an_hour_are_waited_out_and_each_message_is_placed_once(make_app, sqlite_url, transport):
    async with world(make_app, sqlite_url, transport) as bode:
        await bode.side.order("http-500")
        await bode.side.order("vraag-http-500")
        messages = [await bode.accept() for _ in range(3)]
        await bode.settle()
        await bode.pass_time(hours=1, every=0.25)
        assert not bode.box.placements
        await bode.side.behave()
        await bode.pass_time(hours=9, every=0.25)
        assert [(await bode.app.delivery(message)).outcome for message in messages] == [Outcome.NOTICED] * 3
        assert [bode.times_placed(message) for message in messages] == [1] * 3
        assert not bode.app.printer.printed


@pytest.mark.slow
async def test_results_out_of_order_are_each_their_own(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms") as bode:
        first = await bode.accept()
        await bode.settle()
        bode.app.clock.move(minutes=1)
        second = await bode.accept()
        await bode.app.settle()
        await bode.side.order("andersom")
        bode.app.clock.move(minutes=30)
        await bode.settle()
        await bode.pass_time(hours=0.5, every=0.1)
        times = [(await bode.app.delivery(message)).placements[0].placed_at for message in (first, second)]
        assert times[1] - times[0] == timedelta(minutes=1)


@pytest.mark.slow
@pytest.mark.law("L10", "L3")
async def test_already_there_counts_with_the_first_time_also_when_that_is_told_later(make_app, sqlite_url):
    """A person had a message handed over again; the second call's result came before the first one's."""
    async with world(make_app, sqlite_url, "ebms") as bode:
        await bode.side.order("laat", code="50", keer=1)
        message = await bode.accept()
        start = bode.app.clock.now()
        await bode.settle()
        await bode.pass_time(hours=25, every=5)
        number = await bode.number(message)
        await bode.side.order("BerichtBestaatAl", ontvanger=number, keer=1)
        await bode.app.lanes.apply([(message, ev.Retried("medewerker", "nagevraagd"))])
        await bode.pass_time(hours=1, every=0.25)
        placed = (await bode.app.delivery(message)).placements[0]
        (fact,) = await bode.app.named(message, "ContentConsignment")
        assert fact.detail["already"] is True
        bode.box.batches[0].reports[0].due = start + MINUTES  # It had placed it at once, and says so only now.
        await bode.settle()
        delivery = await bode.app.delivery(message)
        assert delivery.placements[0].placed_at == start + MINUTES < placed.placed_at
        assert delivery.legal_time(frozenset({"mijnoverheid"})).at == start + MINUTES
        assert len(delivery.sendings) == 2, "sendings are only added to"
        assert delivery.placements[0].notice.state is N.SENT
        assert delivery.placements[0].notice.deadline_at == start + MINUTES + timedelta(hours=48)


# ----------------------------------------------------------------------------------------- documents and their keeping


async def test_a_document_is_acknowledged_only_after_it_is_stored_and_decided(make_app, sqlite_url, monkeypatch):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        message = await bode.accept()
        await bode.app.settle()
        came = bode.side.box._ebms
        with monkeypatch.context() as broken:

            async def lost(_raw):
                raise OSError("the disk is full")

            broken.setattr(bode.app.inbound, "store", lost)
            assert await bode.results.read() == 0
        assert len(await came.results()) == 1, "it comes again"
        with monkeypatch.context() as broken:

            async def unconfirmed(*, keys):
                raise OSError("the confirmation is lost")

            broken.setattr(came, "confirm", unconfirmed)
            assert await bode.results.read() == 0
        assert (await bode.app.delivery(message)).placements[0].state is P.PLACED
        assert await bode.results.read() == 1, "decided once, confirmed now"
        assert len(await bode.app.named(message, "ContentConsignment")) == 1
        (kept,) = await bode.app.rows(tables.inbound)
        assert (kept.route, kept.state) == ("result", "matched")
        assert b"Verwerkt" in bode.app.vault.open_inbound(kept.key, kept.sealed)
        assert b"Verwerkt" not in kept.sealed


async def test_a_document_waits_while_a_worker_has_its_message_in_hand(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        message = await bode.accept()
        place = bode.side.box.place

        async def read_in_between(*, messages):
            answers = await place(messages=messages)
            assert await bode.results.read() == 0, "its own answer is recorded first"
            return answers

        bode.side.box.place = read_in_between
        await bode.app.settle()
        assert (await bode.app.delivery(message)).placements[0].state is P.PENDING
        assert await bode.results.read() == 1
        assert (await bode.app.delivery(message)).placements[0].state is P.PLACED


async def test_a_document_about_none_of_ours_and_one_that_cannot_be_read_are_kept(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        message = await bode.accept()
        await bode.side.order("onleesbaar-resultaat", keer=1)
        await bode.app.settle()
        assert await bode.results.read() == 1
        (kept,) = await bode.app.rows(tables.inbound)
        assert (kept.state, kept.note) == ("unmatched", "unreadable:not XML: ParseError")
        assert bode.app.vault.open_inbound(kept.key, kept.sealed) == b"<html>"
        assert (await bode.app.delivery(message)).placements[0].state is P.PENDING


async def test_one_event_that_cannot_be_recorded_does_not_hold_up_the_document(make_app, sqlite_url, monkeypatch):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        messages = [await bode.accept() for _ in range(3)]
        await bode.app.settle()
        apply = bode.app.lanes.apply

        async def poisoned(happened, **more):
            if messages[1] in [message for message, _ in happened]:
                raise ValueError("it cannot be")
            return await apply(happened, **more)

        monkeypatch.setattr(bode.app.lanes, "apply", poisoned)
        assert await bode.results.read() == 1
        states = [(await bode.app.delivery(message)).placements[0].state for message in messages]
        assert states == [P.PLACED, P.PENDING, P.PLACED]


async def test_an_ebms_adapter_that_is_away_is_read_later(make_app, sqlite_url):
    async with world(make_app, sqlite_url, "ebms", delay=timedelta(0)) as bode:
        assert isinstance(bode.side.box, BringsResults)
        message = await bode.accept()
        await bode.app.settle()
        await bode.side.order("vraag-http-503", keer=1)
        assert await bode.results.read() == 0
        assert await bode.results.read() == 1
        assert (await bode.app.delivery(message)).placements[0].state is P.PLACED


@pytest.mark.slow
@pytest.mark.parametrize(("gedrag", "stopped"), [("mislukt", True), ("verlopen", False)])
async def test_a_batch_that_never_arrives_is_handed_over_again_or_stops_the_lane(make_app, sqlite_url, gedrag, stopped):
    async with world(make_app, sqlite_url, "ebms") as bode:
        await bode.side.order(gedrag, keer=1)
        message = await bode.accept()
        await bode.pass_time(hours=2, every=0.1)
        assert bool(await bode.app.stopped()) is stopped
        if stopped:
            assert await bode.app.start_lane("mijnoverheid")
            await bode.pass_time(hours=2, every=0.25)
        assert (await bode.app.delivery(message)).outcome is Outcome.NOTICED
        assert bode.times_placed(message) == 1
        assert not bode.app.printer.printed


@pytest.mark.slow
async def test_a_thousand_and_one_messages_over_postgresql(make_app, postgres_url):
    async with world(make_app, postgres_url, "ebms", chunk=1000) as bode:
        messages = [await bode.accept() for _ in range(1001)]
        await bode.pass_time(hours=1, every=0.25)
        assert sorted(len(batch.messages) for batch in bode.box.batches) == [1, 1000]
        assert {(await bode.app.delivery(message)).outcome for message in messages} == {Outcome.NOTICED}
        assert {bode.times_placed(message) for message in messages} == {1}
