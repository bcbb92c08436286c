"""Whether a message was opened, through the engine, over the mock store: from the box's word to the timeline."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from bode.domain.parts import DeliveryState, Outcome
from bode.store import steps
from bode_adapters.mijndomein import MijnDomeinBox
from bode_adapters.mijndomein.mock import MockMijnDomein, create_mock
from bode_adapters.serving import Order, serve
from bode_ops.story import labels, timeline

pytestmark = pytest.mark.law("L12")


@dataclass
class Installation:
    """A process whose other box is a message store."""

    app: Any
    mock: MockMijnDomein
    url: str

    async def placed(self, request: dict[str, Any]) -> Any:
        accepted = await self.app.accept(request)
        await self.app.settle()
        assert (await self.app.delivery(accepted.id)).outcome is Outcome.NOTICED
        return accepted

    async def read(self, request: dict[str, Any]) -> None:
        """Open the addressee's messages, as the portal does."""
        who = {"X-Ontvanger": f"BSN:{request['geadresseerde']['nummer']}"}
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", headers=who) as portal:
            for bericht in (await portal.get("/berichten")).json()["berichten"]:
                headers = {"Content-Type": "application/merge-patch+json"}
                path = f"/berichten/{bericht['berichtId']}"
                (await portal.patch(path, content=b'{"gelezen": true}', headers=headers)).raise_for_status()


@asynccontextmanager
async def installed(make_app: Any, database_url: str) -> AsyncIterator[Installation]:
    base = await make_app(database_url)
    asgi = create_mock(clock=base.clock.now)
    async with serve(asgi) as url:
        settings = {"base_url": f"{url}/api/v1", "timeout_seconds": 10}
        box = MijnDomeinBox.from_settings(settings, clock=base.clock.now)
        await box.open()
        channels = dict(base.parts.policy.channels)
        channels["mijndomein"] = replace(channels["mijndomein"], read_times=box.capabilities.read_times)
        app = await make_app(
            database_url,
            beside=base,
            boxes=dict(base.parts.boxes) | {"mijndomein": box},
            policy={"channels": channels},
        )
        yield Installation(app, asgi.state.mock, url)
        await box.close()


@pytest.fixture
async def store(make_app, sqlite_url):
    async with installed(make_app, sqlite_url) as made:
        yield made


@pytest.fixture
async def store_on_each(make_app, database_url):
    async with installed(make_app, database_url) as made:
        yield made


async def test_opened_is_seen_recorded_once_and_told(store_on_each, body):
    store = store_on_each
    request = body(channels=("mijndomein",))
    accepted = await store.placed(request)
    await store.app.pass_time(hours=3)
    assert await store.app.named(accepted.id, "ContentAccessTracking") == []
    await store.read(request)
    opened_at = store.app.clock.now()
    await store.app.pass_time(days=3, every=6)
    (fact,) = await store.app.named(accepted.id, "ContentAccessTracking")
    assert fact.at == opened_at
    assert fact.detail["at_latest"] is True
    assert (await store.app.delivery(accepted.id)).opened_at == opened_at
    assert await store.app.steps() == []
    told = timeline(await store.app.events(accepted.id), channels=labels(store.app.parts.policy))
    (line,) = [line for line in told if line.title.startswith("Bericht geopend")]
    assert "toen of eerder" in line.detail


async def test_a_message_that_waits_to_be_read_is_done_and_is_asked_about_for_six_weeks(store, body):
    accepted = await store.placed(body(channels=("mijndomein",)))
    assert (await store.app.delivery(accepted.id)).state is DeliveryState.DONE
    (step,) = await store.app.steps()
    assert (step.action, step.lane, step.state) == ("read", "mijndomein", "waiting")
    await store.app.pass_time(days=45, every=36)
    assert await store.app.steps() == []
    (ended,) = await store.app.named(accepted.id, "access.not_seen")
    assert ended.detail["asked"] >= 10


async def test_a_store_that_is_away_is_asked_again_and_nothing_is_recorded_of_it(store, body):
    request = body(channels=("mijndomein",))
    accepted = await store.placed(request)
    store.mock.misbehaviour.give(Order("vraag-http-503"))
    before = len(await store.app.events(accepted.id))
    await store.app.pass_time(hours=12, every=2)
    assert len(await store.app.events(accepted.id)) == before
    store.mock.misbehaviour.clear()
    await store.read(request)
    await store.app.pass_time(days=3, every=12)
    assert len(await store.app.named(accepted.id, "ContentAccessTracking")) == 1


async def test_a_worker_that_dies_while_asking_leaves_the_question_to_another(store, body):
    request = body(channels=("mijndomein",))
    accepted = await store.placed(request)
    store.app.clock.time += timedelta(hours=2)
    await store.app.sweeper.sweep()
    (leased,) = await store.app.claim("mijndomein", owner="dies", lease=0)
    await store.read(request)
    store.app.clock.time += timedelta(hours=1)
    await store.app.pass_time(days=3, every=12)
    assert len(await store.app.named(accepted.id, "ContentAccessTracking")) == 1
    async with store.app.database.write() as connection:
        assert await steps.finish(connection, [leased]) == set()


async def test_the_database_away_while_recording_loses_no_reading(store, body, monkeypatch):
    request = body(channels=("mijndomein",))
    accepted = await store.placed(request)
    await store.read(request)
    record, failed = store.app.lanes._record, []

    async def away_once(lane, outcome):
        if not failed:
            failed.append(lane)
            raise OperationalError("gone", None, Exception("gone"))
        return await record(lane, outcome)

    monkeypatch.setattr(store.app.lanes, "_record", away_once)
    await store.app.pass_time(hours=3)
    assert failed == ["mijndomein"]
    assert len(await store.app.named(accepted.id, "ContentAccessTracking")) == 1


async def test_what_is_to_be_placed_goes_before_what_is_only_to_be_known(store, body):
    await store.placed(body(channels=("mijndomein",)))
    store.app.clock.time += timedelta(days=30)
    later = await store.app.accept(body(channels=("mijndomein",)))
    await store.app.sweeper.sweep()
    (first,) = await store.app.claim("mijndomein", limit=1)
    assert (first.message_id, first.action) == (later.id, "place")
