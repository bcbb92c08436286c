"""The status feed: nothing missed, nothing twice, in one order for every reader, whatever commits late."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
import sqlalchemy as sa
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.testing import AsyncTestClient

from bode.engine.teller import Teller
from bode.intake import cursor, faults, feed
from bode.intake.applications import Application, Doorkeeper
from bode.intake.faults import BadQuery
from bode.intake.feed import Feed, read_cursor, write_cursor
from bode.intake.problems import on_http_error, on_refused
from bode.store import changes, tables
from bode_adapters.contract import RefusalKind, Refused

MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"


async def tell(app):
    teller = Teller(app.database, app.clock)
    while await teller.work():
        pass


async def read_all(app, organisations=None, *, after=0, limit=100):
    async with app.database.read() as connection:
        return await changes.read(connection, after=after, limit=limit, organisations=organisations)


def kinds(page, message):
    return [str(change.kind) for change in page.changes if change.message_id == message]


async def test_a_delivered_message_is_told_from_beginning_to_end(app):
    accepted = await app.accept()
    await app.settle()
    await tell(app)
    page = await read_all(app)
    assert kinds(page, accepted.id) == ["aangenomen", "verzonden", "afgerond"]
    assert page.changes[-1].outcome == "noticed"
    assert page.changes[-1].sent_at is not None
    assert {change.reference for change in page.changes} == {accepted.reference}


async def test_a_technical_failure_that_waits_for_a_person_is_told_with_its_reason(app):
    accepted = await app.accept()
    app.box.script.then(accepted.id, Refused("E999", RefusalKind.DEFECT))
    await app.settle()
    await tell(app)
    last = (await read_all(app)).changes[-1]
    assert (last.kind, last.state) == (changes.Kind.NEEDS_PERSON, "needs_person")
    assert last.reasons == ("placement/mijnoverheid:defect",)


async def test_a_cancelled_message_is_told_and_a_repeat_is_not(app):
    accepted = await app.accept(publicatieTijdstip="2026-03-20T09:00:00Z")
    for _ in range(2):
        await app.intake.cancel(accepted.id, by="test", reason="vergissing")
    await tell(app)
    assert kinds(await read_all(app), accepted.id) == ["aangenomen", "geannuleerd"]


async def test_pages_of_any_size_give_everything_once_and_in_order(app):
    for _ in range(5):
        await app.accept()
    await app.settle()
    await tell(app)
    whole = [change.position for change in (await read_all(app)).changes]
    assert whole == list(range(1, len(whole) + 1))
    for size in (1, 2, 7):
        seen, after = [], 0
        while True:
            page = await read_all(app, after=after, limit=size)
            seen += [change.position for change in page.changes]
            after = page.next
            if not page.more:
                break
        assert seen == whole
        assert after == len(whole)


async def test_a_transaction_that_commits_late_is_behind_the_reader_never_before_him(pg_app):
    """The row of the late one has the lower id: a cursor over ids would pass it by."""
    app = pg_app
    first, second = await app.accept(), await app.accept()
    await tell(app)
    start = (await read_all(app)).next
    row = {"organisation": MAASVELD, "kind": "gewijzigd", "state": "under_way", "outcome": "none", "reasons": ""}
    row["at"] = app.clock.now()
    late_wrote, may_commit = asyncio.Event(), asyncio.Event()

    async def late():
        async with app.database.write() as connection:
            await connection.execute(sa.insert(tables.status_change).values(message_id=first.id, **row))
            late_wrote.set()
            await may_commit.wait()

    task = asyncio.create_task(late())
    await late_wrote.wait()
    async with app.database.write() as connection:
        await connection.execute(sa.insert(tables.status_change).values(message_id=second.id, **row))
    await tell(app)
    before = await read_all(app, after=start)
    assert [change.message_id for change in before.changes] == [second.id]
    may_commit.set()
    await task
    await tell(app)
    after = await read_all(app, after=before.next)
    assert [change.message_id for change in after.changes] == [first.id]
    ids = {row.message_id: row.id for row in await app.rows(tables.status_change) if row.kind == "gewijzigd"}
    assert ids[first.id] < ids[second.id]


async def test_two_tellers_at_once_give_every_change_one_position(pg_app):
    app = pg_app
    for _ in range(12):
        await app.accept()

    async def one():
        done = 0
        while True:
            async with app.database.write() as connection:
                found = len(await changes.number(connection, 3))
            done += found
            if not found:
                return done

    assert sum(await asyncio.gather(one(), one(), one())) == 12
    assert [row.position for row in sorted(await app.rows(tables.status_change), key=lambda row: row.position)] == list(
        range(1, 13)
    )


async def test_old_changes_go_and_who_missed_them_is_told(app):
    old = await app.accept()
    await tell(app)
    await app.accept()
    await tell(app)
    app.clock.time += timedelta(days=90, seconds=1)
    new = await app.accept()
    await tell(app)
    assert await Teller(app.database, app.clock).purge() == 2
    page = await read_all(app, after=1)
    assert page.missed
    assert [change.message_id for change in page.changes] == [new.id]
    up_to_date = await read_all(app, after=2)
    assert (up_to_date.missed, len(up_to_date.changes)) == (False, 1)
    assert not kinds(await read_all(app), old.id)
    app.clock.time += timedelta(days=91)
    await Teller(app.database, app.clock).purge()
    last = await app.accept()
    await tell(app)
    assert [(change.message_id, change.position) for change in (await read_all(app, after=3)).changes] == [(last.id, 4)]


# ------------------------------------------------------------------------------------------------------------ over HTTP


@pytest.fixture
async def http(app):
    from hashlib import sha256

    known = {"maasveld": (MAASVELD,), "zandwijk": (ZANDWIJK,)}
    doors = Doorkeeper(
        [Application(name, frozenset(oins), keys=(sha256(name.encode()).hexdigest(),)) for name, oins in known.items()],
        now=app.clock.real,
    )
    served = Litestar(
        [feed.routes(Feed(app.database), doors)],
        openapi_config=None,
        logging_config=None,
        exception_handlers={HTTPException: on_http_error, faults.Refused: on_refused},
    )
    async with AsyncTestClient(served) as client:

        async def get(key="maasveld", **query):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return await client.get("/v1/statuswijzigingen", params=query, headers=headers)

        yield SimpleNamespace(get=get)


async def test_an_application_sees_its_own_organisation_only(app, http):
    mine, other = await app.accept(), await app.accept(afzender=ZANDWIJK)
    await tell(app)
    for key, message in (("maasveld", mine), ("zandwijk", other)):
        told = (await http.get(key)).json()
        assert [change["berichtId"] for change in told["statuswijzigingen"]] == [str(message.id)]
    assert (await http.get(None)).status_code == 401
    assert (await http.get("geraden")).status_code == 401


async def test_the_cursor_goes_on_where_the_answer_ended_and_names_nobody(app, http):
    await app.accept()
    await app.settle()
    await tell(app)
    first = (await http.get(aantal="2")).json()
    assert (len(first["statuswijzigingen"]), first["meer"]) == (2, True)
    rest = await http.get(na=first["volgende"])
    told = rest.json()
    assert [change["soort"] for change in told["statuswijzigingen"]] == ["afgerond"]
    assert told["statuswijzigingen"][0]["verzondenTijdstip"].endswith("Z")
    assert (await http.get(na=told["volgende"])).json() == {
        "statuswijzigingen": [],
        "volgende": told["volgende"],
        "meer": False,
    }
    assert not [word for word in ("Zonderbrief", "goed.jan", "dakkapel", "99999") if word in rest.text]


@pytest.mark.parametrize("query", [{"na": "AAAA"}, {"na": "%%"}, {"aantal": "0"}, {"aantal": "1001"}, {"aantal": "x"}])
async def test_a_wrong_question_is_a_problem(http, query):
    answer = await http.get(**query)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["location"] == {"name": next(iter(query))}


async def test_a_cursor_of_too_long_ago_is_gone(app, http):
    await app.accept()
    await app.accept()
    await tell(app)
    app.clock.time += timedelta(days=91)
    await Teller(app.database, app.clock).purge()
    assert (await http.get(na=write_cursor(1))).status_code == 410
    assert (await http.get(na=write_cursor(2))).status_code == 200


def test_a_cursor_reads_back():
    for position in (0, 1, 10**17):
        assert read_cursor(write_cursor(position)) == position
    for other in (
        str(uuid4()),
        "",
        "é",
        cursor.write("z1", "5"),
        cursor.write("s1", "-5"),
        cursor.write("s1", "5", "5"),
    ):
        with pytest.raises(BadQuery):
            read_cursor(other)
