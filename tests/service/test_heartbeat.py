"""The heartbeat goes through everything and reaches nobody, and nobody's message goes its way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
import toml_parts

from bode import settings
from bode.domain.policy import Policy
from bode.engine import heartbeat
from bode.engine.heartbeat import Heartbeat, Nowhere, with_heartbeat
from bode.intake.accept import Caller, Intake, Route
from bode.intake.faults import Refused
from bode.settings import ConfigError
from bode.store import tables
from bode.store.vault import write_key_file
from bode_adapters.contract import BoxMessage, Identifier, IdentifierKind, Placed, RefusalKind, Sender
from bode_ops import assembly
from bode_ops.exporter import DATABASE, DatabaseMetrics
from bode_ops.run import _sweep


@pytest.fixture
async def beating(make_app, database_url, shared):
    """Give a process with a heartbeat, and that heartbeat."""

    async def make(beside=None):
        plain = await make_app(database_url, beside=beside)
        policy: Policy = with_heartbeat(plain.parts.policy)
        app = await make_app(
            database_url,
            beside=beside or plain,
            policy={"channels": policy.channels},
            boxes={**plain.parts.boxes, heartbeat.CHANNEL: Nowhere(clock=plain.clock.now)},
            organisations={**plain.parts.organisations, heartbeat.OIN: heartbeat.ORGANISATION},
        )
        intake = Intake(
            database=app.database,
            vault=app.vault,
            policy=policy,
            clock=app.clock,
            organisations=frozenset({heartbeat.OIN}),
            ring=app.lanes._ring,
        )
        return app, Heartbeat(intake, app.clock, every=timedelta(minutes=5))

    return make


def age() -> float | None:
    return DATABASE.get_sample_value("bode_heartbeat_age_seconds", {"lane": heartbeat.CHANNEL})


async def test_a_heartbeat_goes_all_the_way_and_its_age_is_told(beating):
    app, beats = await beating()
    metrics = DatabaseMetrics(app.parts)
    app.clock.move(minutes=40)
    await metrics.refresh()
    assert age() == 2400, "none went through since this process started"
    await beats.beat()
    await metrics.refresh()
    assert age() == 2400, "accepted is not arrived"
    await app.settle()
    app.clock.move(minutes=3)
    await metrics.refresh()
    assert age() == 180


async def test_it_takes_no_other_lane_whatever_happens_to_it(beating):
    app, beats = await beating()
    await beats.beat()
    await app.claim(heartbeat.CHANNEL, lease=1)  # a worker that dies with it
    await app.pass_time(hours=72, every=6)
    (delivery,) = await app.rows(tables.delivery)
    assert delivery.state == "done"
    assert {step.lane for step in await app.steps()} <= {heartbeat.CHANNEL}
    assert not app.notifier.sent
    assert not await app.rows(tables.letter)
    assert not app.box.placements


async def test_two_processes_beat_once(beating):
    app, beats = await beating()
    _, others = await beating(beside=app)
    for beat in (beats, others, beats):
        await beat.beat()
    assert len(await app.rows(tables.message)) == 1
    app.clock.move(minutes=5)
    for beat in (beats, others):
        await beat.beat()
    assert len(await app.rows(tables.message)) == 2


async def test_the_box_refuses_what_is_no_heartbeat():
    box = Nowhere(clock=lambda: settings.EngineSettings)
    message = BoxMessage(
        uuid4(),
        uuid4(),
        "MV-1",
        Sender("00000001999000010000", "Gemeente Maasveld", "noreply@maasveld.example.nl"),
        Identifier(IdentifierKind.BSN, "999990019"),
        "Onderwerp",
        "Tekst",
    )
    (answer,) = await box.place(messages=[message])
    assert not isinstance(answer, Placed)
    assert (answer.code, answer.kind) == ("not_a_heartbeat", RefusalKind.DEFECT)


CONFIG = (
    """
[database]
url = "{url}"
[keys]
file = "{folder}/bode.key"
"""
    + toml_parts.mijnoverheid()
    + toml_parts.notices()
    + toml_parts.PRINT_FOLDER
    + toml_parts.MAASVELD
)


@pytest.fixture
def built(tmp_path, sqlite_url):
    """Give what is made of a configuration with more at its end."""
    (tmp_path / "print" / "in").mkdir(parents=True)
    write_key_file(tmp_path / "bode.key")

    def build(more: str):
        file = tmp_path / "bode.toml"
        file.write_text(CONFIG.format(url=sqlite_url, folder=tmp_path) + more)
        return assembly.build(settings.load(file))

    return build


async def test_nobody_outside_can_send_along_its_way(built, body):
    application = built('[heartbeat]\nevery = "2m"\n')
    assert heartbeat.CHANNEL in application.parts.lanes
    wanted = body(channels=(heartbeat.CHANNEL,))
    pretended = body() | {"afzender": heartbeat.OIN}
    for request, code in ((wanted, "kanaal_onbekend"), (pretended, "afzender_onbekend")):
        with pytest.raises(Refused) as refused:
            await application.intake.accept(msgspec.json.encode(request), route=Route.HTTP, caller=Caller("test"))
        assert code in {fault.code for fault in refused.value.faults}
    await application.close()


async def test_without_the_section_there_is_none_of_it(built):
    application = built("")
    assert application.heartbeat is None
    assert heartbeat.CHANNEL not in application.parts.lanes
    assert heartbeat.OIN not in application.parts.organisations
    await application.close()


async def test_the_sweeper_beats(built, until):
    application = built('[heartbeat]\nevery = "2m"\n')
    tasks = _sweep(application, None)

    async def accepted():
        async with application.database.read() as connection:
            return list(await connection.execute(tables.message.select()))

    await until(accepted)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [row.organisation for row in await accepted()] == [heartbeat.OIN]
    await application.close()


@pytest.mark.parametrize("section", ["channels.hartslag", f"organisations.{heartbeat.OIN}"])
def test_its_names_are_its_own(built, section):
    what = {
        "channels.hartslag": 'adapter = "mijnoverheid"\nkind = "box"\nlabel = "x"\nceiling = "hoog"\n',
        f"organisations.{heartbeat.OIN}": 'name = "x"\nemail = "x@x.nl"\ncontact = "x"\naddress = []\n',
    }[section]
    with pytest.raises(ConfigError, match=section):
        built(f"[{section}]\n{what}")
