"""Adapters are other people's code: whatever they do, the rest goes on, and nothing is guessed about what they did."""

import asyncio

import pytest
import sqlalchemy as sa

from bode.domain.parts import DeliveryState, LetterState, Outcome
from bode.domain.parts import NoticeState as N
from bode.domain.parts import PlacementState as P
from bode.store import tables
from bode.store.vault import Vault
from bode_adapters.contract import Placed, Reachability, RefusalKind, Refused, TimeSource, Unavailable, Unknown


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda app: Placed(app.clock.now().replace(tzinfo=None), TimeSource.OTHER_SIDE), id="naive time"),
        pytest.param(
            lambda app: Placed(app.clock.now(), TimeSource.OTHER_SIDE, receipt="\ud800"), id="half a character"
        ),
        pytest.param(lambda app: Placed(app.clock.now(), "by the moon"), id="unknown clock"),
        pytest.param(lambda app: Unavailable("later", retry_after=float("nan")), id="not a number"),
        pytest.param(lambda app: Unavailable("later", retry_after=float("inf")), id="for ever"),
        pytest.param(lambda app: Refused("x", "their own kind"), id="unknown kind"),
        pytest.param(lambda app: "placed", id="a word"),
        pytest.param(lambda app: None, id="nothing"),
        pytest.param(lambda app: Unknown(code=b"\xff"), id="bytes"),
        pytest.param(lambda app: Refused("\x00" * 300, RefusalKind.UNRECOGNISED, "\x00"), id="zero bytes"),
    ],
)
async def test_a_nonsense_answer_about_one_message_does_not_harm_the_others(app, answer):
    ids = [(await app.accept()).id for _ in range(4)]
    place, calls = app.box.place, []

    async def nonsense(*, messages):
        calls.append(1)
        answers = list(await place(messages=messages))
        if len(calls) == 1:
            answers[[message.id for message in messages].index(ids[1])] = answer(app)
        return answers

    app.box.place = nonsense
    await app.settle()
    for message in (ids[0], *ids[2:]):
        assert (await app.delivery(message)).outcome is Outcome.NOTICED
        assert app.box.placements[message] == 1
    odd = (await app.delivery(ids[1])).placements[0].state
    assert odd in {P.UNKNOWN, P.PLANNED, P.HELD}
    assert await app.steps(tables.step.c.state == "leased") == []
    if odd is not P.HELD:
        await app.pass_time(hours=30, every=10)
        assert (await app.delivery(ids[1])).outcome is Outcome.NOTICED
    assert app.box.placements[ids[1]] == 1


@pytest.mark.parametrize("fault", ["raises", "too few", "too many", "a generator", "no list", "cancels itself"])
async def test_an_adapter_that_breaks_its_contract_makes_its_call_unknown(app, fault):
    ids = [(await app.accept()).id for _ in range(3)]
    place = app.box.place
    calls = []

    async def broken(*, messages):
        answers = await place(messages=messages)
        calls.append(1)
        if len(calls) > 1:
            return answers
        match fault:
            case "raises":
                raise RuntimeError("jantje.geheim@example.nl")
            case "too few":
                return answers[1:]
            case "too many":
                return [*answers, *answers]
            case "a generator":
                return (answer for answer in answers)
            case "no list":
                return 7
            case _:
                raise asyncio.CancelledError

    app.box.place = broken
    if fault == "cancels itself":
        with pytest.raises(asyncio.CancelledError):
            await app.lanes.drain("mijnoverheid")
        app.clock.move(minutes=3)
    await app.settle()
    await app.pass_time(hours=2)
    for message in ids:
        assert (await app.delivery(message)).outcome is Outcome.NOTICED
        assert app.box.placements[message] == 1


async def test_an_adapter_that_overstays_is_cut_off_before_its_lease_ends(make_app, database_url):
    app = await make_app(database_url, hold_seconds=0.4)
    place = app.box.place
    calls = []

    async def stays(*, messages):
        answers = await place(messages=messages)
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return answers

    app.box.place = stays
    accepted = await app.accept()
    assert await app.lanes.drain("mijnoverheid") == 1
    (unknown,) = await app.named(accepted.id, "outcome.unknown")
    assert unknown.detail["code"] == "call_overstayed"
    await app.pass_time(hours=1)
    assert app.box.placements[accepted.id] == 1


@pytest.mark.parametrize("fault", ["raises", "too few", "overstays", "naive time"])
async def test_a_question_about_reachability_that_fails_is_asked_again(make_app, database_url, body, fault):
    app = await make_app(database_url, hold_seconds=0.4)
    check = app.box.check
    calls = []

    async def broken(*, addressees, sender):
        calls.append(sender.oin)
        if len(calls) > 2:
            return await check(addressees=addressees, sender=sender)
        if fault == "raises":
            raise RuntimeError
        if fault == "overstays":
            await asyncio.Event().wait()
        if fault == "naive time":
            return [Reachability(True, app.clock.now().replace(tzinfo=None)) for _ in addressees]
        return []

    app.box.check = broken
    kanalen = [{"kanaal": "mijnoverheid", "grondslag": "controleren"}]
    ids = [(await app.accept(body(kanalen=kanalen, afzender=f"000000019990000{n}0000"))).id for n in (1, 2)]
    await app.settle()
    assert len(calls) == 2, "each body asks for itself"
    await app.pass_time(hours=1)
    for message in ids:
        assert (await app.delivery(message)).outcome is Outcome.NOTICED


async def test_a_letter_that_cannot_be_set_does_not_keep_the_others_from_the_printer(
    make_app, database_url, body, shared
):
    class Broken:
        def of(self, oin):
            return self

        def message_letter(self, facts):
            if facts.subject == "Kapot":
                raise MemoryError
            return shared.letters.message_letter(facts)

    app = await make_app(database_url, letter_composer=Broken())
    ids = [(await app.accept(body(channels=(), onderwerp=subject))).id for subject in ("Goed", "Kapot", "Goed")]
    await app.settle()
    states = [(await app.delivery(message)).letters[0].state for message in ids]
    assert states == [LetterState.SUBMITTED, LetterState.REFUSED, LetterState.SUBMITTED]
    assert (await app.delivery(ids[1])).state is DeliveryState.NEEDS_PERSON


async def test_a_notice_that_cannot_be_written_does_not_keep_the_others_from_being_sent(
    make_app, database_url, body, shared
):
    class Broken:
        def compose(self, facts):
            if facts.consequences == "Kapot":
                raise RuntimeError
            return shared.notices.compose(facts)

    app = await make_app(database_url, notice_composer=Broken())
    ids = [(await app.accept(body(rechtsgevolgen=words))).id for words in ("Goed", "Kapot", "Goed")]
    await app.settle()
    states = [(await app.delivery(message)).placements[0].notice.state for message in ids]
    assert states == [N.SENT, N.DUE, N.SENT]
    assert await app.stopped() == {}


@pytest.mark.parametrize("column", ["wrapped_key", "sealed", "document"])
async def test_a_message_whose_stored_bytes_were_changed_is_held_and_the_others_go_on(app, body, attachment, column):
    ids = [(await app.accept(body(documenten=[attachment]))).id for _ in range(3)]
    table = tables.document if column == "document" else tables.content
    name = "sealed" if column == "document" else column
    async with app.database.write() as connection:
        await connection.execute(sa.update(table).where(table.c.message_id == ids[1]).values({name: b"\x00" * 60}))
    await app.settle()
    for message in (ids[0], ids[2]):
        assert (await app.delivery(message)).outcome is Outcome.NOTICED
    assert (await app.delivery(ids[1])).placements[0].state is P.HELD
    assert app.box.placements[ids[1]] == 0
    assert await app.sweeper.sweep()


async def test_a_document_that_is_gone_holds_its_message(app, body, attachment):
    accepted = await app.accept(body(documenten=[attachment, attachment | {"naam": "bijlage.pdf"}]))
    async with app.database.write() as connection:
        await connection.execute(sa.delete(tables.document).where(tables.document.c.number == 1))
    await app.settle()
    assert (await app.delivery(accepted.id)).placements[0].state is P.HELD


async def test_a_process_with_the_wrong_key_stops_the_lane_and_harms_nothing(app, make_app, database_url):
    """Started with another key file: nothing is wrong with the messages, and none of them may end for it."""
    accepted = await app.accept()
    wrong = await make_app(database_url, beside=app, vault=Vault(bytes(32)))
    await wrong.lanes.drain("mijnoverheid")
    assert list(await app.stopped()) == ["mijnoverheid"]
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLANNED
    assert [step.state for step in await app.steps()] == ["ready"]
    await app.start_lane("mijnoverheid")
    await app.settle()
    assert (await app.delivery(accepted.id)).outcome is Outcome.NOTICED


async def test_a_busy_lane_at_its_limit_lets_the_others_work(app):
    """A process works a lane at its limit, and answers further rings for it at once."""
    free = asyncio.Event()
    place = app.box.place

    async def slow(*, messages):
        await free.wait()
        return await place(messages=messages)

    app.box.place = slow
    ids = [(await app.accept()).id for _ in range(3)]
    busy = [asyncio.create_task(app.lanes.drain("mijnoverheid")) for _ in range(app.parts.lane_concurrency)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert await app.lanes.drain("mijnoverheid") == 0
    assert await app.lanes.drain("print") == 0
    free.set()
    await asyncio.gather(*busy)
    assert [app.box.placements[message] for message in ids] == [1, 1, 1]


async def test_stopping_waits_for_what_is_in_hand_and_claims_nothing_more(app):
    called, free = asyncio.Event(), asyncio.Event()
    place = app.box.place

    async def slow(*, messages):
        called.set()
        await free.wait()
        return await place(messages=messages)

    app.box.place = slow
    first = await app.accept()
    working = asyncio.create_task(app.lanes.drain("mijnoverheid"))
    await called.wait()
    second = await app.accept()
    assert not await app.lanes.stop(0.01), "it is not recorded in time"
    stopping = asyncio.create_task(app.lanes.stop(10))
    free.set()
    assert await stopping
    await working
    assert (await app.delivery(first.id)).placements[0].state is P.PLACED
    assert (await app.delivery(second.id)).placements[0].state is P.PLANNED
    assert await app.lanes.drain("mijnoverheid") == 0
