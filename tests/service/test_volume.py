"""Too much at once: a stolen key, a wrong mapping, a batch run twice. What is held waits in sight, and is not lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from bode.domain import events as ev
from bode.domain.parts import DeliveryState, LetterState, NoticeState
from bode.domain.terms import legal_day
from bode.domain.volume import VolumeLimits, VolumeRule
from bode.engine import held
from bode.engine.held import Which
from bode.intake.accept import Caller, Route
from bode.store import tables, volume
from bode.store.retention import purge_received
from bode.store.staff import read_acts
from bode_ops.exporter import DATABASE, DatabaseMetrics

OIN, OTHER_OIN = "00000001999000010000", "00000001999000020000"
ALL = Which(OIN)
BY = {"by": "Anna", "reason": "gebeld met de gemeente"}


@pytest.fixture
async def limited(make_app, database_url):
    """Give a maker of a process whose first organisation has limits."""

    async def _limited(**limits):
        return await make_app(database_url, limits_of={OIN: VolumeLimits(**limits)})

    return _limited


async def states(app):
    rows = await app.rows(tables.delivery)
    return sorted((row.state, row.held) for row in rows)


async def hand_in(app, body, count, *, application="zaaksysteem", **changes):
    """Hand in messages, each by itself."""
    return [
        await app.intake.accept(msgspec.json.encode(body(**changes)), route=Route.HTTP, caller=Caller(application))
        for _ in range(count)
    ]


# ---- messages ------------------------------------------------------------------------------------------------------


async def test_a_stolen_key_floods_no_further_than_the_budget(limited, body):
    app = await limited(messages_per_day=3, letters_per_day=100)
    with capture_logs() as logs:
        await hand_in(app, body, 7, channels=())
    await app.settle()
    assert len(app.printer.printed) == 3, "what goes before a person looks"
    assert (await states(app)).count(("needs_person", "messages")) == 4
    told = [line for line in logs if line["event"] == "volume.holds"]
    assert [(line["organisation"], line["rule"], line["count"]) for line in told] == [(OIN, "messages", 3)], "once"
    await DatabaseMetrics(app.parts).refresh()
    assert DATABASE.get_sample_value("bode_volume_held", {"organisation": OIN, "rule": "messages"}) == 4


async def test_what_is_held_goes_when_a_person_says_so_and_the_budget_begins_anew(limited, body):
    app = await limited(messages_per_day=3)
    handed_in = await hand_in(app, body, 5)
    await app.settle()
    assert len(app.box.placements) == 3
    assert await held.release(app.parts, app.lanes, ALL, **BY) == 2
    await app.settle()
    assert len(app.box.placements) == 5
    assert all(state != "needs_person" for state, _ in await states(app))
    (act,) = [event for event in await app.named(handed_in[-1].id, "staff.action") if event.detail["act"] == "release"]
    assert act.detail["by"] == "Anna"
    async with app.database.read() as connection:
        acts = await read_acts(connection, app.vault, most=5)
    assert [(one.act, one.who, one.subject, one.reason) for one in acts] == [
        ("volume_released", "Anna", OIN, "gebeld met de gemeente")
    ]
    await hand_in(app, body, 4)
    assert (await states(app)).count(("needs_person", "messages")) == 1, "three more, and then again"


async def test_a_hold_goes_on_the_next_day_until_a_person_decides(limited, body):
    app = await limited(messages_per_day=2)
    await hand_in(app, body, 3)
    app.clock.move(days=1)
    await hand_in(app, body, 1)
    assert (await states(app)).count(("needs_person", "messages")) == 2
    await held.release(app.parts, app.lanes, ALL, **BY)
    app.clock.move(days=1)
    await hand_in(app, body, 2)
    assert ("needs_person", "messages") not in await states(app), "a new day, and a new budget"


async def test_what_is_not_theirs_is_called_back_by_application_and_the_rest_goes(limited, body):
    app = await limited(messages_per_day=1)
    await hand_in(app, body, 2, application="gestolen")
    await hand_in(app, body, 2, application="zaaksysteem")
    stolen = Which(OIN, application="gestolen")
    assert await held.cancel(app.parts, app.lanes, stolen, **BY) == 1
    await hand_in(app, body, 1, application="gestolen")
    assert (await states(app)).count(("needs_person", "messages")) == 3, "what comes next waits too"
    assert await held.cancel(app.parts, app.lanes, stolen, **BY) == 1
    assert await held.release(app.parts, app.lanes, ALL, **BY) == 2
    await app.settle()
    assert len(app.box.placements) == 3
    assert (await states(app)).count(("cancelled", None)) == 2


async def test_one_message_is_released_or_called_back_by_itself(limited, body):
    app = await limited(messages_per_day=1)
    _, one, two, three = await hand_in(app, body, 4)
    await app.lanes.apply([(one.id, ev.Retried("Anna", "klopt"))])
    await app.intake.cancel(two.id, by="Anna", reason="niet van ons")
    await app.lanes.apply([(three.id, ev.Handled("Anna", "zelf gebeld"))])
    await app.settle()
    assert len(app.box.placements) == 2
    assert (await app.delivery(two.id)).state is DeliveryState.CANCELLED
    assert (await app.delivery(three.id)).state is DeliveryState.DONE
    async with app.database.read() as connection:
        (rest,) = await volume.held(connection)
    assert (rest.messages, rest.holds_all) == (0, True), "the rule itself waits for a decision"


async def test_a_repeat_of_what_is_held_has_its_answer_and_counts_once(limited, body):
    app = await limited(messages_per_day=1)
    await hand_in(app, body, 1)
    raw = msgspec.json.encode(body())
    first = await app.accept(raw)
    again = await app.accept(raw)
    assert (again, again.known) == (first, True)
    async with app.database.read() as connection:
        assert (await volume.messages_volume(connection, OIN, legal_day(app.clock.now()), with_usual=False)).today == 2


async def test_many_in_one_request_are_held_from_the_first_above_the_budget(limited, body):
    app = await limited(messages_per_day=4)
    raws = [msgspec.json.encode(body()) for _ in range(6)]
    answers = await app.intake.accept_many(raws, route=Route.HTTP, caller=Caller("test"))
    stands = [(await app.delivery(answer.id)).held for answer in answers]
    assert stands == [None] * 4 + [VolumeRule.MESSAGES] * 2


async def test_other_organisations_are_left_alone(limited, body):
    app = await limited(messages_per_day=1)
    await hand_in(app, body, 2)
    await hand_in(app, body, 3, afzender=OTHER_OIN)
    assert (await states(app)).count(("needs_person", "messages")) == 1
    assert await app.rows(tables.volume_count, tables.volume_count.c.organisation == OTHER_OIN) == [], "not counted"


async def test_a_held_message_has_no_clock_before_it_is_placed(limited, body):
    """L3: the 48 hours begin at the placement, so that a day of thought costs nothing."""
    app = await limited(messages_per_day=1)
    await hand_in(app, body, 1)
    (one,) = await hand_in(app, body, 1)
    await app.pass_time(hours=60, every=12)
    await held.release(app.parts, app.lanes, ALL, **BY)
    await app.settle()
    (placement,) = (await app.delivery(one.id)).placements
    assert placement.notice.deadline_at == placement.placed_at + timedelta(hours=48)
    assert placement.notice.state is NoticeState.SENT


# ---- sudden volume -------------------------------------------------------------------------------------------------


async def test_sudden_volume_is_held_by_what_was_usual(limited, body):
    app = await limited(sudden_times=3, sudden_floor=2)
    today = legal_day(app.clock.now())
    async with app.database.write() as connection:
        for days, count in ((1, 2), (2, 1), (3, 40), (8, 2), (40, 900)):
            await volume.add_messages(connection, OIN, today - timedelta(days=days), count, slot=days)
    await hand_in(app, body, 8)
    assert (await states(app)).count(("needs_person", "sudden")) == 2, "three times the median of 1, 2, 2 and 40"


async def test_without_a_past_the_floor_holds(limited, body):
    app = await limited(sudden_times=3, sudden_floor=5)
    await hand_in(app, body, 6)
    assert (await states(app)).count(("needs_person", "sudden")) == 1


# ---- one addressee -------------------------------------------------------------------------------------------------


async def test_a_mapping_that_gives_everybody_the_same_number_is_seen(limited, body):
    app = await limited(addressee_per_hour=2)
    same = body()["geadresseerde"]
    await hand_in(app, body, 5, geadresseerde=same)
    await hand_in(app, body, 3)
    assert (await states(app)).count(("needs_person", "addressee")) == 3, "others go"
    app.clock.move(hours=1, seconds=1)
    await hand_in(app, body, 2, geadresseerde=same)
    assert (await states(app)).count(("needs_person", "addressee")) == 3, "an hour later it may again"
    assert await held.release(app.parts, app.lanes, ALL, **BY) == 3
    await app.settle()
    assert len(app.box.placements) == 10


# ---- letters -------------------------------------------------------------------------------------------------------


async def test_letters_above_the_budget_are_held_in_sight_and_go_when_released(limited, body):
    app = await limited(letters_per_day=2)
    handed_in = await hand_in(app, body, 5, channels=())
    await app.settle()
    assert len(app.printer.printed) == 2
    stands = [(await app.delivery(one.id)).letters[0].state for one in handed_in]
    assert stands.count(LetterState.BLOCKED) == 3
    assert (await states(app)).count(("needs_person", "letters")) == 3
    assert await held.release(app.parts, app.lanes, Which(OIN, {VolumeRule.LETTERS}), **BY) == 3
    await app.settle()
    assert len(app.printer.printed) == 5
    await hand_in(app, body, 3, channels=())
    await app.settle()
    assert len(app.printer.printed) == 7, "what was released does not count, and the budget began anew"


async def test_a_letter_about_a_failed_notice_is_held_with_its_message_where_it_is(limited, body):
    """L7: it is owed, so it waits in sight with an alarm, and is stopped only by a person."""
    app = await limited(letters_per_day=1)
    first, second = await hand_in(app, body, 2, email=None)
    await app.settle()
    stands = {one.id: await app.delivery(one.id) for one in (first, second)}
    assert sum(delivery.held_by is VolumeRule.LETTERS for delivery in stands.values()) == 1
    assert len(app.box.placements) == 2, "the message itself is where it belongs"
    assert await held.cancel(app.parts, app.lanes, ALL, **BY) == 1
    await app.settle()
    assert len(app.printer.printed) == 1
    stopped = [(await app.delivery(one)).letters[0].state for one, delivery in stands.items() if delivery.held_by]
    assert stopped == [LetterState.CANCELLED]


async def test_a_letter_that_is_tried_again_counts_once(limited, body):
    app = await limited(letters_per_day=1)
    app.printer.down = True
    (one,) = await hand_in(app, body, 1, channels=())
    await app.settle()
    app.printer.down = False
    await app.pass_time(hours=8)
    assert (await app.delivery(one.id)).letters[0].state is LetterState.SUBMITTED


async def test_releasing_letters_tries_nothing_else_that_waits(limited, body):
    app = await limited(letters_per_day=1)
    await hand_in(app, body, 1, channels=())
    (one,) = await hand_in(app, body, 1, email=None)
    await app.settle()
    before = [event.name for event in await app.events(one.id)]
    await held.release(app.parts, app.lanes, ALL, **BY)
    after = [event.name for event in await app.events(one.id)][len(before) :]
    assert after == ["staff.action"]


# ---- deciding ------------------------------------------------------------------------------------------------------


async def test_where_nothing_is_held_there_is_nothing_to_decide(limited, body):
    app = await limited(messages_per_day=5)
    await hand_in(app, body, 1)
    with pytest.raises(LookupError):
        await held.release(app.parts, app.lanes, ALL, **BY)
    assert await app.rows(tables.staff_act) == []


async def test_what_a_decision_left_undone_is_done_by_the_next(limited, body):
    """A command that was killed half-way: the rule is decided, and some wait still."""
    app = await limited(messages_per_day=1)
    await hand_in(app, body, 3)
    async with app.database.write() as connection:
        now = app.clock.now()
        assert await volume.decide(connection, OIN, frozenset(VolumeRule), legal_day(now), now) == [VolumeRule.MESSAGES]
    async with app.database.read() as connection:
        (rest,) = await volume.held(connection)
    assert (rest.messages, rest.holds_all) == (2, False)
    assert await held.release(app.parts, app.lanes, ALL, **BY) == 2


async def test_a_days_count_goes_after_four_weeks_and_the_term_of_what_came_in(limited, body):
    app = await limited(messages_per_day=9)
    await hand_in(app, body, 1)

    async def purge(days):
        before = app.clock.now() + timedelta(days=days)
        async with app.database.write() as connection:
            await purge_received(connection, before, dry_run=False)
        return len(await app.rows(tables.volume_count))

    assert await purge(28) == 1
    assert await purge(29) == 0


async def test_a_day_is_one_in_the_netherlands(limited, body):
    app = await limited(messages_per_day=1)
    app.clock.time = datetime(2026, 7, 1, 21, 59, tzinfo=UTC)
    await hand_in(app, body, 1)
    app.clock.time = datetime(2026, 7, 1, 22, 1, tzinfo=UTC)
    await hand_in(app, body, 1)
    days = await app.rows(tables.volume_count, sa.true())
    assert len({row.day for row in days}) == 2
    assert ("needs_person", "messages") not in await states(app)


# ---- beside each other ----------------------------------------------------------------------------------------------


async def test_many_senders_at_once_lose_nothing_and_never_lock_each_other(make_app, postgres_url, body):
    """What is above a limit may be as many as come at the same moment; each is counted, and held or sent."""
    limits = {OIN: VolumeLimits(messages_per_day=10, sudden_times=2, sudden_floor=12, addressee_per_hour=3)}
    one = await make_app(postgres_url, limits_of=limits)
    other = await make_app(postgres_url, beside=one, limits_of=limits)
    same = body()["geadresseerde"]
    requests = [msgspec.json.encode(body(**({"geadresseerde": same} if n % 5 == 0 else {}))) for n in range(60)]

    async def sender(app, some):
        for request in some:
            await app.intake.accept(request, route=Route.HTTP, caller=Caller("test"))

    await asyncio.gather(*(sender((one, other)[n % 2], requests[n::6]) for n in range(6)))
    stands = await states(one)
    assert len(stands) == 60
    held_ones = sum(state == "needs_person" for state, _ in stands)
    assert 60 - 10 - 6 <= held_ones <= 60 - 10 + 6
    async with one.database.read() as connection:
        counted = await volume.messages_volume(connection, OIN, legal_day(one.clock.now()), with_usual=False)
    assert counted.today == 60
    await held.release(one.parts, one.lanes, ALL, **BY)
    await one.settle()
    assert len(one.box.placements) == 60


async def test_workers_beside_each_other_never_hand_over_more_letters_than_the_budget(make_app, postgres_url, body):
    limits = {OIN: VolumeLimits(letters_per_day=7)}
    apps = [await make_app(postgres_url, limits_of=limits, chunk=3)]
    apps += [await make_app(postgres_url, beside=apps[0], limits_of=limits, chunk=3) for _ in range(2)]
    await hand_in(apps[0], body, 20, channels=())
    await apps[0].sweeper.sweep()
    await asyncio.gather(*(app.lanes.drain("print") for app in apps))
    assert len(apps[0].printer.printed) == 7
    assert (await states(apps[0])).count(("needs_person", "letters")) == 13
