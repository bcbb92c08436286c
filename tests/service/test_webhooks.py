"""Webhooks against a real receiver on loopback: nothing lost, the order of a message kept, nothing to replay."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
import uvicorn
from litestar import Litestar, Request, Response, post

from bode.client import WebhookError, sign_webhook, verify_webhook
from bode.engine.teller import Teller
from bode.engine.webhooks import Receiver, ReceiverError, Webhooks
from bode.store import tables, webhooks

MAASVELD, ZANDWIJK = "00000001999000010000", "00000001999000020000"
OLD, NEW = b"o" * 32, b"n" * 32
ALL = ("aangenomen", "verzonden", "wacht-op-medewerker", "afgerond", "geannuleerd", "gewijzigd")


class Side:
    """The receiver: keeps what it was called with, and answers as a test says."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.got: list[tuple[bytes, dict[str, str]]] = []

    def events(self, clock, secrets):
        return [verify_webhook(body, headers, secrets=secrets, now=clock.now()) for body, headers in self.got]


@pytest.fixture
async def side(until):
    told = Side()

    @post("/hook", status_code=200)
    async def hook(request: Request) -> Response[None]:
        body = await request.body()
        if told.status == 200:
            told.got.append((body, dict(request.headers)))
        return Response(None, status_code=told.status, headers=told.headers)

    server = uvicorn.Server(
        uvicorn.Config(Litestar([hook], openapi_config=None), port=0, log_config=None, lifespan="off")
    )
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    told.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    yield told
    server.should_exit = True
    await task


@pytest.fixture
def receiver(tmp_path):
    for name, secret in (("oud", OLD), ("nieuw", NEW)):
        (tmp_path / name).write_bytes(secret + b"\n")

    def make(url, name="zaak", *, organisations=(MAASVELD,), kinds=ALL, **settings):
        secrets = {"2026-01": tmp_path / "oud", "2026-02": tmp_path / "nieuw"}
        return Receiver.read(
            name, url=url, organisations=organisations, kinds=kinds, secrets=secrets, settings=settings
        )

    return make


def start(app, *receivers):
    sender = Webhooks(app.database, app.clock, receivers, jitter=random.Random(1))
    return sender, Teller(app.database, app.clock, on_numbered=sender.add)


async def send(sender, teller, name="zaak"):
    while await teller.work():
        pass
    await sender.tend()
    while await sender.work(name):
        pass


async def test_every_change_arrives_signed_by_both_secrets_and_names_nobody(app, side, receiver):
    sender, teller = start(app, receiver(side.url))
    accepted = await app.accept()
    await app.settle()
    await send(sender, teller)
    for secrets in ({"x": OLD}, {"x": NEW}):
        events = side.events(app.clock, secrets)
        assert [event["type"] for event in events] == [
            "nl.bode.bericht.aangenomen",
            "nl.bode.bericht.verzonden",
            "nl.bode.bericht.afgerond",
        ]
    assert {event["subject"] for event in events} == {str(accepted.id)}
    assert {event["source"] for event in events} == {f"urn:nld:oin:{MAASVELD}:systeem:bode"}
    assert side.got[0][1]["content-type"].startswith("application/cloudevents+json")
    assert not [word for word in (b"Zonderbrief", b"goed.jan", b"dakkapel") for body, _ in side.got if word in body]
    assert await app.rows(tables.webhook_delivery) == []


async def test_a_receiver_is_told_of_its_own_bodies_and_kinds_only(app, side, receiver):
    sender, teller = start(app, receiver(side.url, kinds=("afgerond",)))
    mine = await app.accept()
    await app.accept(afzender=ZANDWIJK)
    await app.settle()
    await send(sender, teller)
    assert [(e["type"], e["subject"]) for e in side.events(app.clock, {"x": OLD})] == [
        ("nl.bode.bericht.afgerond", str(mine.id))
    ]


async def test_a_receiver_that_is_down_for_a_day_loses_nothing_and_gets_it_in_order(app, side, receiver):
    sender, teller = start(app, receiver(side.url))
    side.status = 503
    sent = [(await app.accept()).id for _ in range(4)]
    await app.settle()
    for _ in range(24):
        await send(sender, teller)
        app.clock.move(hours=1)
    assert side.got == []
    side.status = 200
    for _ in range(4):
        app.clock.move(hours=2)
        await send(sender, teller)
    events = [
        verify_webhook(b, h, secrets={"x": OLD}, now=app.clock.now(), tolerance=timedelta(days=1)) for b, h in side.got
    ]
    assert len({event["id"] for event in events}) == len(events) == 12
    for message in sent:
        kinds = [event["data"]["soort"] for event in events if event["subject"] == str(message)]
        assert kinds == ["aangenomen", "verzonden", "afgerond"]


@pytest.mark.slow
async def test_after_three_days_it_is_set_apart_and_one_command_sends_it_in_order(app, side, receiver):
    sender, teller = start(app, receiver(side.url))
    side.status = 500
    await app.accept()
    await app.settle()
    for _ in range(75):
        await send(sender, teller)
        app.clock.move(hours=1)
    side.status = 200
    await send(sender, teller)
    assert side.got == []
    dead = [row for row in await app.rows(tables.webhook_delivery) if row.state == "dead"]
    assert len(dead) == 1
    async with app.database.read() as connection:
        shown = await webhooks.waiting(connection, limit=10)
    assert shown[-1].answer == "500" or shown[0].answer == "500"
    async with app.database.write() as connection:
        assert await webhooks.replay(connection, "zaak", app.clock.now()) == 1
    await send(sender, teller)
    assert [event["data"]["soort"] for event in side.events(app.clock, {"x": OLD})] == [
        "aangenomen",
        "verzonden",
        "afgerond",
    ]


async def test_what_was_for_a_receiver_that_is_no_more_is_forgotten_after_three_days(app, side, receiver):
    sender, teller = start(app, receiver(side.url))
    side.status = 500
    await app.accept()
    await send(sender, teller)
    others = Webhooks(app.database, app.clock, [receiver(side.url, "ander")])
    await others.tend()
    assert len(await app.rows(tables.webhook_delivery)) == 1, "it may be another process's new one"
    app.clock.move(days=3, seconds=1)
    await sender.tend()
    (row,) = await app.rows(tables.webhook_delivery)
    assert row.state == "dead", "its own receiver keeps it"
    await others.tend()
    assert await app.rows(tables.webhook_delivery) == []


def test_the_lease_is_longer_than_all_calls_of_a_claim_may_take(receiver):
    for seconds in (1, 10, 300):
        made = receiver("https://hook.example.nl/", timeout_seconds=seconds, concurrency=3)
        assert made.lease > 4 * timedelta(seconds=made.call_seconds)
        assert made.call_seconds > seconds


async def test_a_stolen_webhook_does_nothing_at_a_receiver_that_follows_the_recipe(app, side, receiver):
    """What docs/webhooks.md tells receivers to do, against somebody who has heard a whole webhook."""
    sender, teller = start(app, receiver(side.url, kinds=("aangenomen",)))
    await app.accept()
    await send(sender, teller)
    ((stolen, headers),) = side.got
    seen, acted = set(), []

    def take(body, headers, now):
        event = verify_webhook(body, headers, secrets={"2026-01": OLD}, now=now)
        if event["id"] not in seen:
            seen.add(event["id"])
            acted.append(event["subject"])

    take(stolen, headers, app.clock.now())
    take(stolen, headers, app.clock.now() + timedelta(minutes=4))
    for later in (timedelta(minutes=6), timedelta(days=400)):
        with pytest.raises(WebhookError):
            take(stolen, headers, app.clock.now() + later)
    moved = headers | {"webhook-timestamp": str(int(app.clock.now().timestamp()) + 400)}
    with pytest.raises(WebhookError):
        take(stolen, moved, app.clock.now() + timedelta(minutes=6))
    assert len(acted) == 1


async def test_a_redirect_is_not_followed_and_not_taken_for_arrival(app, side, receiver):
    sender, teller = start(app, receiver(side.url))
    side.status, side.headers = 307, {"Location": side.url}
    await app.accept()
    await send(sender, teller)
    (row,) = await app.rows(tables.webhook_delivery)
    assert (row.state, row.attempt, row.answer) == ("waiting", 1, "307")


async def test_a_worker_that_died_while_sending_leaves_the_webhook_to_another(app, side, receiver):
    sender, teller = start(app, receiver(side.url))
    await app.accept()
    await teller.work()
    now = app.clock.now()
    async with app.database.write() as connection:
        (held,) = await webhooks.claim(connection, "zaak", limit=5, now=now, until=now + timedelta(minutes=10))
        assert await webhooks.claim(connection, "zaak", limit=5, now=now, until=now) == []
    app.clock.move(minutes=11)
    await sender.work("zaak")
    assert len(side.got) == 1
    async with app.database.write() as connection:
        await webhooks.again(connection, held, at=app.clock.now(), answer="late")
    assert await app.rows(tables.webhook_delivery) == []


@pytest.mark.parametrize("url", ["https://10.0.0.1/hook", "https://169.254.169.254/", "http://hook.example.nl/"])
def test_an_address_inside_our_network_is_refused(receiver, url):
    from bode_adapters.contract import SettingError

    with pytest.raises(SettingError):
        receiver(url)


def test_a_short_secret_is_refused_without_showing_it(tmp_path):
    (tmp_path / "kort").write_text("geheim")
    with pytest.raises(ReceiverError) as refused:
        Receiver.read(
            "zaak",
            url="https://hook.example.nl/",
            organisations=(MAASVELD,),
            kinds=ALL,
            secrets={"a": tmp_path / "kort"},
            settings={},
        )
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("what", ["late", "early", "body", "id", "secret", "none"])
def test_a_stolen_or_changed_webhook_is_refused(what):
    body, now = b'{"id":"e1"}', datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    headers = sign_webhook(body, event_id="e1", at=now, secrets={"a": OLD})
    assert verify_webhook(body, headers, secrets={"a": OLD, "b": NEW}, now=now) == {"id": "e1"}
    moment = now + {"late": timedelta(minutes=6), "early": -timedelta(minutes=6)}.get(what, timedelta(0))
    secrets = {"b": NEW} if what == "secret" else {"a": OLD}
    if what == "id":
        headers["Webhook-Id"] = "e2"
    if what == "none":
        headers["Webhook-Signature"] = "v1,"
    with pytest.raises(WebhookError):
        verify_webhook(body + b" " if what == "body" else body, headers, secrets=secrets, now=moment)
