"""The journal around calls: of a dead worker is in doubt only what was on its way."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from bode.domain.parts import LetterState, NoticeState
from bode.domain.parts import PlacementState as P
from bode.engine import journal as journals
from bode.engine.journal import Journal
from bode.store import tables
from bode_adapters.contract import Placed, TimeSource, Unavailable
from bode_adapters.memory import MemoryBox, MemoryNotifier, MemoryPrintService

BOX, NOTICES = "mijnoverheid", "kennisgeving"


class Halting(MemoryBox):
    """A box whose first call does all it is asked, and then stops where the test says."""

    def __init__(self, clock, *, answers=False):
        super().__init__(clock=clock.now)
        self.reached, self._answers = asyncio.Event(), answers

    async def place(self, *, messages):
        if self.reached.is_set():
            return await super().place(messages=messages)
        given = await super().place(messages=messages)
        self.reached.set()
        if not self._answers:
            await asyncio.Event().wait()
        return given


class OneByOne(MemoryNotifier):
    """A notifier that notes its items itself: the first is taken, the second is on its way, the rest waits."""

    def __init__(self, clock, *, first=None):
        super().__init__(clock=clock.now)
        self.reached, self._first, self.journal = asyncio.Event(), first, None

    def keep_journal(self, journal):
        self.journal = journal

    async def notify(self, *, notices):
        if self.reached.is_set():
            return await super().notify(notices=notices)
        taken, on_its_way = notices[0], notices[1]
        self.journal.leaves(taken.id)
        if self._first is None:
            (answer,) = await super().notify(notices=[taken])
        else:
            answer = self._first
        self.journal.ended(taken.id, answer)
        self.journal.leaves(on_its_way.id)
        self.reached.set()
        await asyncio.Event().wait()
        raise AssertionError("it is killed before")


async def die(app, lane, reached):
    """Work a lane until it has come so far, and let the worker go under with what it has in hand."""
    working = asyncio.create_task(app.lanes.work(lane))
    await asyncio.wait_for(reached.wait(), 10)
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal")


@pytest.fixture
def files(tmp_path):
    return lambda: sorted((tmp_path / "journal").glob("*.journal"))


async def three_to_notify(make_app, database_url, journal, **options):
    first = await make_app(database_url)
    notifier = OneByOne(first.clock, **options)
    notifier.keep_journal(journal.of(NOTICES))
    app = await make_app(database_url, beside=first, journal=journal, notifier=notifier)
    ids = [(await app.accept(kenmerk=f"Z-{number}")).id for number in range(3)]
    await app.lanes.drain(BOX)
    order = [row.message_id for row in sorted(await app.steps(tables.step.c.lane == NOTICES), key=lambda row: row.id)]
    assert sorted(order) == sorted(ids)
    await die(app, NOTICES, notifier.reached)
    return app, notifier, order


async def state(app, message):
    return (await app.delivery(message)).placements[0].notice.state


async def test_what_was_taken_is_recorded_what_never_left_goes_out_and_one_is_in_doubt(
    make_app, database_url, journal, files
):
    app, notifier, (taken, doubtful, waiting) = await three_to_notify(make_app, database_url, journal)
    await app.sweeper.sweep()
    assert files() == [], "what was settled needs no journal"
    assert await state(app, taken) is NoticeState.SENT
    assert len(await app.named(taken, "ConsignmentNotification")) == 1
    await app.settle()
    assert await state(app, waiting) is NoticeState.SENT
    assert await app.named(waiting, "outcome.unknown") == []
    app.clock.move(minutes=3)
    await app.settle()
    (unknown,) = await app.named(doubtful, "outcome.unknown")
    assert unknown.detail["code"] == "worker_lost"
    await app.pass_time(hours=1)
    assert sorted(notifier.sent.values()) == [1, 1, 1]
    for message in (taken, doubtful, waiting):
        assert await state(app, message) is NoticeState.SENT


async def test_what_was_refused_goes_out_again(make_app, database_url, journal):
    app, _, (refused, *_) = await three_to_notify(make_app, database_url, journal, first=Unavailable("busy"))
    await app.settle()
    assert await state(app, refused) is NoticeState.SENT
    (sent,) = await app.named(refused, "ConsignmentNotification")
    assert sent.detail["attempt"] == 1, "nobody recorded the first"


async def test_a_journal_is_settled_once(make_app, database_url, journal, files):
    app, _, (taken, *_) = await three_to_notify(make_app, database_url, journal)
    (path,) = files()
    kept = path.read_bytes()
    await app.sweeper.sweep()
    before = [(event.seq, event.hash) for event in await app.events(taken)]
    path.write_bytes(kept)  # As when it died between recording and removing.
    await app.sweeper.sweep()
    assert [(event.seq, event.hash) for event in await app.events(taken)] == before
    assert files() == []


async def test_a_line_that_was_not_finished_did_not_happen(make_app, database_url, journal, files):
    app, _, (_, doubtful, _) = await three_to_notify(make_app, database_url, journal)
    (path,) = files()
    path.write_bytes(path.read_bytes()[:-3])
    await app.settle()
    assert await state(app, doubtful) is NoticeState.SENT
    assert await app.named(doubtful, "outcome.unknown") == []


@pytest.mark.parametrize("spoil", [lambda raw: raw.replace(b'"boot":"', b'"boot":"x'), lambda raw: b"{}\n" + raw])
async def test_a_journal_of_before_the_machine_started_or_that_is_none_is_not_believed(
    make_app, database_url, tmp_path, spoil, monkeypatch
):
    app, _, order = await three_to_notify(make_app, database_url, Journal(tmp_path))
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(spoil(path.read_bytes()))
    await app.sweeper.sweep()
    assert path.exists(), "it may be one that is being begun"
    monkeypatch.setattr(journals, "_YOUNG_SECONDS", -1)
    await app.sweeper.sweep()
    assert not path.exists()
    app.clock.move(minutes=3)
    await app.settle()
    for message in order:
        assert [event.detail["code"] for event in await app.named(message, "outcome.unknown")] == ["worker_lost"]


async def test_the_journal_of_a_worker_that_lives_is_left_alone(make_app, database_url, journal, files, tmp_path):
    first = await make_app(database_url)
    box = Halting(first.clock)
    boxes = {**first.parts.boxes, BOX: box}
    app = await make_app(database_url, beside=first, boxes=boxes, journal=journal)
    beside = await make_app(database_url, beside=app, boxes=boxes, journal=Journal(tmp_path / "journal"))
    accepted = await app.accept()
    working = asyncio.create_task(app.lanes.work(BOX))
    await box.reached.wait()
    await beside.sweeper.sweep()
    assert len(files()) == 1
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLANNED
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def test_an_answer_that_was_not_recorded_is_found_in_the_journal(make_app, database_url, journal, monkeypatch):
    first = await make_app(database_url)
    box = Halting(first.clock, answers=True)
    app = await make_app(database_url, beside=first, boxes={**first.parts.boxes, BOX: box}, journal=journal)
    accepted = await app.accept()

    async def dies(*_):
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(app.lanes, "_record_all", dies)
        with pytest.raises(asyncio.CancelledError):
            await app.lanes.work(BOX)
    await app.settle()
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLACED
    assert await app.named(accepted.id, "outcome.unknown") == []
    assert box.placements[accepted.id] == 1


async def test_a_call_that_was_cut_off_is_in_doubt_with_all_it_held(make_app, database_url, journal):
    first = await make_app(database_url)
    box = Halting(first.clock)
    app = await make_app(database_url, beside=first, boxes={**first.parts.boxes, BOX: box}, journal=journal)
    accepted = await app.accept()
    await die(app, BOX, box.reached)
    await app.settle()
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLANNED
    app.clock.move(minutes=3)
    await app.settle()
    assert [event.detail["code"] for event in await app.named(accepted.id, "outcome.unknown")] == ["worker_lost"]
    await app.pass_time(hours=1)
    assert box.placements[accepted.id] == 1


async def test_a_letter_that_was_taken_is_found_out_for_its_copy_is_not_in_the_journal(
    make_app, database_url, journal, body, monkeypatch
):
    app = await make_app(database_url, journal=journal)
    accepted = await app.accept(body(channels=()))
    await app.sweeper.sweep()

    async def dies(*_):
        raise asyncio.CancelledError

    lane = app.parts.policy.print_lane
    with monkeypatch.context() as patch:
        patch.setattr(app.lanes, "_record_all", dies)
        with pytest.raises(asyncio.CancelledError):
            await app.lanes.work(lane)
    await app.sweeper.sweep()
    assert (await app.delivery(accepted.id)).letters[0].state is LetterState.PLANNED
    app.clock.move(minutes=3)
    await app.pass_time(hours=3)
    assert isinstance(app.printer, MemoryPrintService)
    assert list(app.printer.printed.values()) == [1]
    assert await app.letter(accepted.id) is not None


async def test_a_full_disk_ends_the_journal_and_not_the_work(make_app, database_url, journal, files, monkeypatch):
    app = await make_app(database_url, journal=journal)
    accepted = await app.accept()
    write = os.write

    def full(file, data):
        if b"leaves" in data:
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(journals.os, "write", full)
    await app.settle()
    assert await state(app, accepted.id) is NoticeState.SENT
    assert files() == []


async def test_an_answer_with_a_time_that_nobody_can_place_is_left_in_doubt(make_app, database_url, journal):
    app = await make_app(database_url, journal=journal)
    naive = app.clock.now().replace(tzinfo=None)
    app, _, (first, *_) = await three_to_notify(
        make_app, database_url, journal, first=Placed(naive, TimeSource.OTHER_SIDE)
    )
    await app.sweeper.sweep()
    assert await state(app, first) is not NoticeState.SENT


async def test_nothing_stays_behind_of_what_was_recorded(make_app, database_url, journal, files):
    app = await make_app(database_url, journal=journal)
    accepted = await app.accept()
    assert await app.settle() > 0
    assert (await app.delivery(accepted.id)).placements[0].state is P.PLACED
    assert files() == []


def test_a_journal_that_cannot_be_begun_leaves_nothing_open(journal, files, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    journal.begin(NOTICES, "first").close(recorded=True)
    monkeypatch.setattr(journals.os, "write", full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(3):
        journal.begin(NOTICES, f"chunk-{number}").leaves(1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert files() == []
