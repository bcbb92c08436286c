"""The doorbell over a real Redis: wakes workers, takes in sealed messages, and never decides what is to be done."""

import asyncio
import json
from collections import Counter

import dramatiq
import msgspec
import pytest

from bode.engine.doorbell import INTAKE_QUEUE, LANES_QUEUE, Doorbell, build_broker
from bode.intake import queue as intake_queue
from bode.store import tables


def everything(redis):
    """Give all keys and values of Redis as bytes."""
    found = []
    for key in redis.client.keys("*"):
        read = {
            b"string": redis.client.get,
            b"hash": redis.client.hgetall,
            b"list": lambda k: redis.client.lrange(k, 0, -1),
            b"set": redis.client.smembers,
            b"zset": lambda k: redis.client.zrange(k, 0, -1),
        }[redis.client.type(key)]
        found.append(key + b" " + repr(read(key)).encode())
    return found


def dead(redis):
    return list(redis.client.hgetall(f"bode:{INTAKE_QUEUE}.XQ.msgs").values())


@pytest.fixture
async def ring(redis):
    """Give a maker of doorbells on one Redis; each is stopped and closed."""
    made = []

    def _ring(*, chunk=100, url=None):
        doorbell = Doorbell(build_broker(url or redis.url, "bode"), chunk=chunk)
        made.append(doorbell)
        return doorbell

    yield _ring
    for doorbell in made:
        await doorbell.stop(2)
        await doorbell.close()


def send(doorbell, *args, actor="bode.ring", queue=LANES_QUEUE):
    message = dramatiq.Message(queue_name=queue, actor_name=actor, args=args, kwargs={}, options={})
    doorbell._broker.enqueue(message)


@pytest.fixture
def seal(body):
    """Give a maker of sealed messages."""
    return lambda app, **changes: intake_queue.seal(msgspec.json.encode(body(**changes)), app.vault.intake_key)


@pytest.fixture
async def working(make_app, database_url, ring):
    """Give a process whose lanes are woken by Redis."""
    doorbell = ring()
    app = await make_app(database_url, ring=doorbell.ring)
    accept = intake_queue.QueueIntake(app.intake, lambda: app.vault.intake_key).accept
    await doorbell.start(drain=app.lanes.drain, accept=accept, threads=4)
    yield app, doorbell
    assert await app.lanes.stop(10)


async def test_a_ring_wakes_a_worker_and_the_whole_story_runs_by_itself(working, until):
    app, _ = working
    accepted = await app.accept()
    await until(lambda: list(app.notifier.sent.values()) == [1])
    assert app.box.placements[accepted.id] == 1


async def test_a_ring_in_one_process_wakes_a_worker_in_another(make_app, database_url, ring, working, until):
    app, _ = working
    api = await make_app(database_url, beside=app, ring=ring().ring)
    accepted = await api.accept()
    await until(lambda: app.box.placements[accepted.id] == 1)


async def test_a_thousand_rings_for_nothing_do_nothing(working, until):
    app, doorbell = working
    for _ in range(200):
        send(doorbell, "mijnoverheid")
    accepted = await app.accept()
    await until(lambda: app.box.placements[accepted.id] == 1)
    await until(lambda: doorbell._broker.do_qsize(LANES_QUEUE) == 0)


@pytest.mark.parametrize("args", [("no-such-lane",), (), ("mijnoverheid", "too", "many"), (["a", "list"],), (None,)])
async def test_a_poisoned_ring_is_harmless(working, until, args):
    app, doorbell = working
    send(doorbell, *args)
    send(doorbell, "x", actor="no-such-actor")
    accepted = await app.accept()
    await until(lambda: app.box.placements[accepted.id] == 1)
    await until(lambda: doorbell._broker.do_qsize(LANES_QUEUE) == 0)


@pytest.mark.parametrize("nonsense", [b"\xff{not json", b"[]", b"{}", b'{"queue_name": "bode-lanes"}', b"7"])
async def test_what_is_no_message_at_all_strands_nothing(working, redis, seal, until, nonsense):
    """It is passed over, and what was fetched together with it is worked at once."""
    app, doorbell = working
    for queue in (LANES_QUEUE, INTAKE_QUEUE):
        with redis.client.pipeline() as together:
            for number in range(5):
                together.hset(f"bode:{queue}.msgs", f"x{number}", nonsense)
                together.rpush(f"bode:{queue}", f"x{number}")
            together.execute()
    send(doorbell, seal(app), actor="bode.accept", queue=INTAKE_QUEUE)
    await until(lambda: len(app.box.placements) == 1, seconds=2.5)


async def test_a_sealed_message_is_taken_in_once_however_often_it_comes(working, body, until):
    app, doorbell = working
    request = msgspec.json.encode(body())
    for _ in range(3):
        send(doorbell, intake_queue.seal(request, app.vault.intake_key), actor="bode.accept", queue=INTAKE_QUEUE)
    await until(lambda: doorbell._broker.do_qsize(INTAKE_QUEUE) == 0)
    (stored,) = await app.rows(tables.message)
    await until(lambda: app.box.placements[stored.id] == 1)


async def test_what_cannot_be_read_or_is_refused_is_kept_among_the_dead_letters(working, redis, body, until):
    app, doorbell = working
    wrong = {
        "garbage": "this is no JWE",
        "another key": intake_queue.seal(msgspec.json.encode(body()), bytes(32)),
        "refused": intake_queue.seal(msgspec.json.encode(body(rechtsgevolgen=None)), app.vault.intake_key),
        "no text": 7,
    }
    for sealed in wrong.values():
        send(doorbell, sealed, actor="bode.accept", queue=INTAKE_QUEUE)
    await until(lambda: len(dead(redis)) == len(wrong))
    kept = [json.loads(message)["args"][0] for message in dead(redis)]
    assert Counter(map(str, kept)) == Counter(map(str, wrong.values()))
    assert await app.rows(tables.message) == []
    good = intake_queue.seal(msgspec.json.encode(body()), app.vault.intake_key)
    send(doorbell, good, actor="bode.accept", queue=INTAKE_QUEUE)
    await until(lambda: len(app.box.placements) == 1)


async def test_a_message_is_let_go_only_when_it_is_stored(working, redis, body, until, monkeypatch):
    """A failure that is not the message's fault keeps it too: among the dead letters, where a person finds it."""
    app, doorbell = working

    async def broken(*_args, **_options):
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(app.intake, "accept", broken)
    sealed = intake_queue.seal(msgspec.json.encode(body()), app.vault.intake_key)
    send(doorbell, sealed, actor="bode.accept", queue=INTAKE_QUEUE)
    await until(lambda: len(dead(redis)) == 1)


@pytest.fixture
async def storing(make_app, sqlite_url):
    return await make_app(sqlite_url)


async def test_a_process_that_stops_hands_back_what_it_was_storing(storing, ring, redis, seal, until):
    app, doorbell = storing, ring()
    held = asyncio.Event()

    async def waits(_sealed):
        held.set()
        await asyncio.Event().wait()

    sealed = seal(app)
    await doorbell.start(drain=app.lanes.drain, accept=waits, threads=1)
    send(doorbell, sealed, actor="bode.accept", queue=INTAKE_QUEUE)
    await held.wait()
    await doorbell.stop(0.1)
    for task in asyncio.all_tasks():
        if task.get_coro().__name__ == "waits":
            task.cancel()  # as the end of the event loop does
    second = ring()
    accept = intake_queue.QueueIntake(app.intake, lambda: app.vault.intake_key).accept
    await second.start(drain=app.lanes.drain, accept=accept, threads=1)

    async def stored():
        return len(await app.rows(tables.message)) == 1

    await until(stored)
    assert dead(redis) == []


async def test_slow_lanes_do_not_hold_the_threads_that_others_need(make_app, sqlite_url, ring, until):
    doorbell = ring()
    app = await make_app(sqlite_url, ring=doorbell.ring)
    slow, heard = asyncio.Event(), []

    async def drain(lane):
        heard.append(lane)
        if lane != "print":
            await slow.wait()
        return 0

    await doorbell.start(drain=drain, accept=_nothing, threads=2)
    for lane in ("mijnoverheid", "mijnoverheid", "mijndomein", "kennisgeving", "print"):
        send(doorbell, lane)
    await until(lambda: "print" in heard)
    slow.set()
    assert app


async def _nothing(_sealed):
    return None


async def test_nothing_personal_stands_in_redis(working, redis, body, until):
    app, doorbell = working
    request = body(email="jantje.geheim@post.example.nl")
    await app.accept(request)
    other = body(email="jantje.geheim@post.example.nl", rechtsgevolgen=None)
    sealed = intake_queue.seal(msgspec.json.encode(other), app.vault.intake_key)
    send(doorbell, sealed, actor="bode.accept", queue=INTAKE_QUEUE)
    await until(lambda: len(dead(redis)) == 1)
    whole = b"\n".join(everything(redis))
    assert sealed.encode() in whole, "the scan sees values"
    for one in (request, other):
        who = one["geadresseerde"]
        for secret in (who["nummer"], "Zonderbrief", "jantje.geheim", who["adres"]["straat"], one["onderwerp"]):
            assert secret.encode() not in whole


async def test_a_worker_that_died_leaves_its_message_for_another(storing, ring, redis, seal, until):
    """What was fetched and not answered is fetched again when the heartbeat of its worker is old."""
    app, doorbell = storing, ring()
    sealed = seal(app)
    send(doorbell, sealed, actor="bode.accept", queue=INTAKE_QUEUE)
    dying = build_broker(redis.url, "bode")
    assert len(dying.do_fetch(INTAKE_QUEUE, 1)) == 1
    redis.client.zadd("bode:__heartbeats__", {dying.broker_id: 1})
    dying.close()
    accept = intake_queue.QueueIntake(app.intake, lambda: app.vault.intake_key).accept
    await doorbell.start(drain=app.lanes.drain, accept=accept, threads=1)

    async def stored():
        return len(await app.rows(tables.message)) == 1

    await until(stored)
