"""The doorbell over a real Redis: wakes workers, takes in sealed messages, and never decides what is to be done."""

import asyncio

import dramatiq
import pytest

from bode.engine.doorbell import LANES_QUEUE, Doorbell, build_broker


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
async def working(make_app, database_url, ring):
    """Give a process whose lanes are woken by Redis."""
    doorbell = ring()
    app = await make_app(database_url, ring=doorbell.ring)
    await doorbell.start(drain=app.lanes.drain, threads=4)
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
async def test_what_is_no_message_at_all_strands_nothing(working, redis, until, nonsense):
    """It is passed over, and what was fetched together with it is worked at once."""
    app, _ = working
    with redis.client.pipeline() as together:
        for number in range(5):
            together.hset(f"bode:{LANES_QUEUE}.msgs", f"x{number}", nonsense)
            together.rpush(f"bode:{LANES_QUEUE}", f"x{number}")
        together.execute()
    await app.accept()
    await until(lambda: len(app.box.placements) == 1, seconds=2.5)


async def test_slow_lanes_do_not_hold_the_threads_that_others_need(make_app, sqlite_url, ring, until):
    doorbell = ring()
    app = await make_app(sqlite_url, ring=doorbell.ring)
    slow, heard = asyncio.Event(), []

    async def drain(lane):
        heard.append(lane)
        if lane != "print":
            await slow.wait()
        return 0

    await doorbell.start(drain=drain, threads=2)
    for lane in ("mijnoverheid", "mijnoverheid", "mijndomein", "kennisgeving", "print"):
        send(doorbell, lane)
    await until(lambda: "print" in heard)
    slow.set()
    assert app


async def test_nothing_personal_stands_in_redis(working, redis, body, until):
    app, _ = working
    request = body(email="jantje.geheim@post.example.nl")
    await app.accept(request)
    await until(lambda: len(app.box.placements) == 1)
    whole = b"\n".join(everything(redis))
    assert b"bode" in whole, "the scan sees values"
    who = request["geadresseerde"]
    for secret in (who["nummer"], "Zonderbrief", "jantje.geheim", who["adres"]["straat"], request["onderwerp"]):
        assert secret.encode() not in whole
