"""Intake by queue on a real Redis: stored once, answered, set apart in sight, and never lost between pop and store."""

import json
from collections import Counter

import msgspec
import pytest
import structlog
from redis.exceptions import ConnectionError as RedisAway

from bode.intake.poison import Poison
from bode.intake.queue import GROUP, QueueIntake, Streams, connect
from bode.intake.sealed import private_key, public_key, seal
from bode.store import tables

ZAAK, OTHER = "zaak", "ander"
OIN, OTHER_OIN = "00000001999000010000", "00000001999000020000"
STREAM = "bode:intake:zaak"


class Queue:
    """One worker's intake by queue, and what a sender sees of it."""

    def __init__(self, app, redis):
        self.app, self.client = app, redis.client
        self.key = private_key(app.vault.intake_seed)
        self.broker = connect(redis.url)
        senders = {ZAAK: frozenset({OIN}), OTHER: frozenset({OTHER_OIN})}
        self.intake = QueueIntake(
            app.intake, lambda: self.key, self.broker, namespace="bode", senders=senders, most_bytes=50_000
        )
        self.poison = Poison(self.broker, Streams("bode", ZAAK))

    def add(self, request, *, stream=STREAM):
        raw = request if isinstance(request, bytes) else msgspec.json.encode(request)
        return self.client.xadd(stream, {"bericht": seal(raw, public_key(self.key))})

    async def work(self, sender=ZAAK):
        """Take in until nothing waits."""
        done = 0
        while count := await self.intake.work(sender):
            done += count
        return done

    def answers(self, stream=STREAM):
        return [
            (fields[b"vraag"], int(fields[b"status"]), json.loads(fields[b"antwoord"]))
            for _, fields in self.client.xrange(f"{stream}:antwoorden")
        ]


@pytest.fixture
async def make_queue(redis):
    made = []

    def _make(app):
        made.append(Queue(app, redis))
        return made[-1]

    yield _make
    for queue in made:
        await queue.intake.close()


@pytest.fixture
async def queue(make_app, sqlite_url, make_queue):
    return make_queue(await make_app(sqlite_url))


async def test_messages_are_stored_answered_and_gone_from_the_queue(queue, body):
    asked = [queue.add(body()) for _ in range(25)]
    assert await queue.work() == 25
    stored = {str(row.id): row.reference for row in await queue.app.rows(tables.message)}
    answers = queue.answers()
    assert [vraag for vraag, *_ in answers] == asked
    assert {status for _, status, _ in answers} == {202}
    assert {said["id"]: said["kenmerk"] for *_, said in answers} == stored
    assert queue.client.xlen(STREAM) == 0
    assert queue.client.xpending(STREAM, GROUP)["pending"] == 0


async def test_the_same_message_again_has_the_same_answer(queue, body):
    request = body()
    for _ in range(3):
        queue.add(request)
    await queue.work()
    assert len(await queue.app.rows(tables.message)) == 1
    assert len({said["id"] for *_, said in queue.answers()}) == 1


async def test_what_was_there_before_bode_ever_looked_is_taken(queue, body):
    queue.add(body())
    queue.client.xadd(STREAM, {"bericht": "x"})
    assert await queue.work() == 2
    assert sorted(status for _, status, _ in queue.answers()) == [202, 400]


async def test_a_process_that_dies_between_taking_and_answering_loses_nothing(queue, make_queue, body, monkeypatch):
    """Stored, killed before the broker was told: another takes it again, and answers as for a repeat."""
    asked = queue.add(body())

    async def killed(*_):
        raise RedisAway

    monkeypatch.setattr(queue.intake, "_finish", killed)
    with pytest.raises(RedisAway):
        await queue.intake.work(ZAAK)
    assert queue.client.xlen(STREAM) == 1
    other = make_queue(queue.app)
    assert await other.intake.work(ZAAK) == 0, "somebody may still be busy with it"
    other.intake.left_ms = 0
    assert await other.intake.work(ZAAK) == 1
    assert [(vraag, status) for vraag, status, _ in other.answers()] == [(asked, 202)]
    assert len(await queue.app.rows(tables.message)) == 1
    assert queue.client.xlen(STREAM) == 0


async def test_a_process_that_dies_before_storing_loses_nothing(queue, make_queue, body):
    queue.add(body())
    await queue.intake.work(OTHER)
    queue.client.xgroup_create(STREAM, GROUP, id="0")
    assert queue.client.xreadgroup(GROUP, GROUP, {STREAM: ">"}), "taken by a process that is gone"
    other = make_queue(queue.app)
    other.intake.left_ms = 0
    assert await other.work() == 1
    assert len(await queue.app.rows(tables.message)) == 1


async def test_what_is_not_stored_is_set_apart_and_answered(queue, body):
    wrong = {
        queue.add(body(rechtsgevolgen=None)): ("geweigerd", 400),
        queue.client.xadd(STREAM, {"bericht": "this is no JWE"}): ("onleesbaar", 400),
        queue.client.xadd(STREAM, {"iets": "anders"}): ("onleesbaar", 400),
        queue.client.xadd(STREAM, {"bericht": "x" * 200_000}): ("onleesbaar", 400),
        queue.client.xadd(STREAM, {"bericht": seal(b"{}", public_key(private_key(bytes(64))))}): ("onleesbaar", 400),
        queue.add(b"[]"): ("geweigerd", 400),
    }
    good = queue.add(body())
    with structlog.testing.capture_logs() as logs:
        await queue.work()
    answers = {vraag: status for vraag, status, _ in queue.answers()}
    apart = {one.asked.encode(): (one.why, answers[one.asked.encode()]) for one in await queue.poison.read(most=50)}
    assert apart == wrong
    assert answers[good] == 202
    assert Counter(line["why"] for line in logs if line["event"] == "queue.set_apart") == {
        "onleesbaar": 4,
        "geweigerd": 2,
    }
    assert "Zonderbrief" not in repr(logs)


async def test_a_conflict_names_the_field_and_no_value(queue, body):
    request = body()
    queue.add(request)
    asked = queue.add(request | {"onderwerp": "Iets heel anders over Jantje"})
    await queue.work()
    (said,) = [said for vraag, _, said in queue.answers() if vraag == asked]
    assert said["status"] == 409
    assert said["fouten"][0]["location"]["pointer"] == "#/kenmerk"
    assert "Jantje" not in json.dumps(said)


async def test_a_sender_sends_for_its_own_bodies_whoever_sealed_it(queue, body):
    """A message of another sender that was copied to this stream is refused as well."""
    queue.add(body(), stream="bode:intake:ander")
    await queue.work(OTHER)
    assert await queue.app.rows(tables.message) == []
    ((_, status, said),) = queue.answers("bode:intake:ander")
    assert status == 400
    assert [fault["location"]["pointer"] for fault in said["fouten"]] == ["#/afzender"]


async def test_a_defect_sets_apart_what_it_is_about_and_the_rest_goes_on(queue, body, monkeypatch):
    accept = queue.app.intake.accept

    async def broken(*_args, **_options):
        raise RuntimeError("a defect of ours")

    async def alone(raw, **options):
        if b"MV-STUK" in raw:
            raise RuntimeError("a defect of ours")
        return await accept(raw, **options)

    monkeypatch.setattr(queue.app.intake, "accept_many", broken)
    monkeypatch.setattr(queue.app.intake, "accept", alone)
    queue.add(body(kenmerk="MV-STUK-1"))
    queue.add(body())
    await queue.work()
    assert [status for _, status, _ in queue.answers()] == [500, 202]
    (apart,) = await queue.poison.read(most=5)
    assert apart.why == "defect"
    monkeypatch.undo()
    assert await queue.poison.retry(apart.id)
    await queue.work()
    assert [status for _, status, _ in queue.answers()] == [500, 202, 202]
    assert await queue.poison.read(most=5) == []


async def test_what_was_set_apart_is_dropped_once(queue, body):
    queue.add(body(aard="onzin"))
    await queue.work()
    (apart,) = await queue.poison.read(most=5)
    assert (await queue.poison.get(apart.id)) == apart
    assert await queue.poison.drop(apart.id)
    assert not await queue.poison.drop(apart.id)
    assert not await queue.poison.retry(apart.id)
    assert await queue.poison.get(apart.id) is None


async def test_nothing_personal_stands_in_redis(queue, redis, body):
    requests = [body(email="jantje.geheim@post.example.nl"), body(rechtsgevolgen=None)]
    for request in requests:
        queue.add(request)

    def whole():
        return b"\n".join(repr(redis.client.xrange(key)).encode() for key in redis.client.keys("*"))

    before = whole()
    await queue.work()
    seen = before + whole()
    assert b"bericht" in seen
    for request in requests:
        who = request["geadresseerde"]
        for secret in (who["nummer"], "Zonderbrief", "jantje.geheim", who["adres"]["straat"], request["onderwerp"]):
            assert secret.encode() not in seen
