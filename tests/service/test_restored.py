"""A restored backup says that what was sent since is still to be sent: it is doubted, and found out."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from bode.store import steps


@pytest.mark.parametrize(("doubted", "placed"), [(False, 2), (True, 1)], ids=["as it is", "doubted"])
async def test_a_box_that_knows_no_repeat_has_a_message_once_when_the_restore_is_doubted(
    make_app, sqlite_url, tmp_path, doubted, placed
):
    app = await make_app(sqlite_url)
    accepted = await app.accept(channels=("mijndomein",))
    with (
        closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as now,
        closing(sqlite3.connect(tmp_path / "backup.db")) as backup,
    ):
        now.backup(backup)
    await app.settle()
    assert app.other_box.placements[accepted.id] == 1
    restored = await make_app(f"sqlite:///{tmp_path}/backup.db", beside=app)
    if doubted:
        clock = app.clock
        async with restored.database.write() as connection:
            assert await steps.doubt(connection, since=clock.now(), now=clock.now(), real_now=clock.real()) == 1
    await restored.pass_time(hours=6)
    assert app.other_box.placements[accepted.id] == placed
    assert bool(await restored.named(accepted.id, "outcome.unknown")) is doubted
