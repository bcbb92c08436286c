"""The Python client, against the real application on loopback."""

from __future__ import annotations

import json
import socket
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import httpx
import pytest
import uvicorn
from litestar import Litestar, Router
from litestar.exceptions import HTTPException
from tenacity import wait_none

from bode.client import Bode, ProblemError
from bode.engine.teller import Teller
from bode.intake import api, feed
from bode.intake.applications import Application, Doorkeeper
from bode.intake.bodies import Bodies
from bode.intake.faults import Refused
from bode.intake.feed import Feed
from bode.intake.problems import on_defect, on_http_error, on_refused
from bode.intake.repeats import Repeats
from bode.intake.room import Room
from bode.intake.status import StatusReader

MAASVELD = "00000001999000010000"


@pytest.fixture
async def served(make_app, sqlite_url, until):
    import asyncio

    app = await make_app(sqlite_url)
    zaak = Application("zaak", frozenset({MAASVELD}), keys=(sha256(b"sleutel").hexdigest(),))
    doors = Doorkeeper([zaak], now=app.clock.real)
    bodies = Bodies(Room(max_held_bytes=1_000_000), 100_000, 30)
    status = StatusReader(app.database, app.parts.policy)
    problems = {Refused: on_refused, HTTPException: on_http_error, Exception: on_defect}
    mine = [
        api.routes(app.intake, status, doors, bodies, Repeats(app.database, app.clock)),
        feed.routes(Feed(app.database), doors),
    ]
    web = Litestar(
        [Router("/", route_handlers=mine, exception_handlers=problems)], openapi_config=None, logging_config=None
    )
    server = uvicorn.Server(uvicorn.Config(web, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    app_url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    async def call(work, key="sleutel"):
        def do():
            with Bode(app_url, key, wait=wait_none(), patience=5) as client:
                return work(client)

        return await asyncio.to_thread(do)

    yield app, call
    server.should_exit = True
    await task


async def test_a_message_is_handed_in_asked_after_and_called_back(served, body):
    app, call = served
    message = body(publicatieTijdstip="2026-03-20T09:00:00Z")
    accepted = await call(lambda client: client.aanleveren(message))
    assert await call(lambda client: client.aanleveren(message)) == accepted
    assert (await call(lambda client: client.opvragen(accepted.id)))["status"] == "ingepland"
    assert (await call(lambda client: client.annuleren(accepted.id, "vergissing")))["status"] == "geannuleerd"
    await Teller(app.database, app.clock).work()
    changes = await call(lambda client: list(client.statuswijzigingen(aantal=1)))
    assert [change.soort for change in changes] == ["aangenomen", "geannuleerd"]
    assert await call(lambda client: list(client.statuswijzigingen(na=changes[-1].cursor))) == []


async def test_a_refusal_carries_every_fault(served, body):
    _, call = served
    with pytest.raises(ProblemError) as refused:
        await call(lambda client: client.aanleveren(body(aard="onzin", tekst=None)))
    assert refused.value.status == 400
    assert len(refused.value.faults) >= 2
    with pytest.raises(ProblemError) as unknown:
        await call(lambda client: client.opvragen(uuid4()))
    assert unknown.value.status == 404
    with pytest.raises(ProblemError) as stranger:
        await call(lambda client: client.opvragen(uuid4()), key="geraden")
    assert stranger.value.status == 401


async def test_many_are_handed_in_and_each_has_its_answer(served, body):
    _, call = served
    good = [body() for _ in range(3)]
    told = await call(lambda client: list(client.aanleveren_veel([good[0], body(aard="onzin"), *good[1:]])))
    assert [(row.nummer, row.status) for row in told] == [(1, 202), (2, 400), (3, 202), (4, 202)]
    assert [row.bericht.kenmerk for row in told if row.bericht] == [one["kenmerk"] for one in good]
    assert told[1].fouten[0]["location"]["pointer"] == "#/aard"
    with pytest.raises(ProblemError) as stranger:
        await call(lambda client: list(client.aanleveren_veel(good)), key="geraden")
    assert stranger.value.status == 401


async def test_a_message_is_withdrawn_by_another(served, body):
    _, call = served
    earlier = await call(lambda client: client.aanleveren(body()))
    new = {key: value for key, value in body(termijn=None).items() if key not in {"afzender", "aard"}}
    made = await call(lambda client: client.intrekken(earlier.id, new))
    assert made.kenmerk == new["kenmerk"]
    with pytest.raises(ProblemError) as none_kept:
        await call(lambda client: client.bewijs(earlier.id))
    assert none_kept.value.status == 404


@pytest.fixture
def flaky():
    """Give a server that answers as listed, and keeps the bodies it was given."""
    answers, got, keys = [], [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            keys.append(self.headers["Idempotency-Key"])
            status = answers.pop(0)
            if status is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            told = {"id": str(uuid4()), "afzender": "a", "kenmerk": "k", "aangenomenTijdstip": "t"}
            text = json.dumps(told if status == 202 else {"title": "Even niet"}).encode()
            if isinstance(status, list):
                lines = [
                    {"rij": row, "status": one, **(told if one == 202 else {})} for row, one in enumerate(status, 1)
                ]
                text, status = "\n".join(map(json.dumps, lines)).encode(), 200
            self.send_response(status)
            if status == 409:
                self.send_header("Retry-After", "0")
            self.send_header("Location", "http://127.0.0.1:9/")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers, got, keys
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_fails_on_the_way_is_sent_again_byte_for_byte(flaky):
    url, answers, got, keys = flaky
    answers += [503, 429, None, 409, 202, 202]
    with Bode(url, "sleutel", wait=wait_none(), patience=10) as client:
        assert client.aanleveren({"kenmerk": "k"}).kenmerk == "k"
        assert len(got) == 5
        assert len(set(got)) == len(set(keys)) == 1
        client.aanleveren({"kenmerk": "k"})
    assert len(set(keys)) == 2, "another call has another key"


def test_rows_that_were_not_answered_are_sent_again_and_no_others(flaky):
    url, answers, got, _ = flaky
    answers += [503, [202, 503, 400, 408], [202, 500], [202]]
    with Bode(url, "sleutel", wait=wait_none(), patience=10) as client:
        told = list(client.aanleveren_veel([{"n": number} for number in range(4)]))
    assert [(row.nummer, row.status) for row in told] == [(1, 202), (2, 202), (3, 400), (4, 202)]
    assert [[json.loads(line)["n"] for line in body.splitlines()] for body in got] == [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [1, 3],
        [3],
    ]


def test_rows_that_stay_without_an_answer_are_told_when_patience_ends(flaky):
    url, answers, _, _ = flaky
    answers += [[202, 503]]
    with Bode(url, "sleutel", wait=wait_none(), patience=0) as client:
        told = list(client.aanleveren_veel([{}, {}]))
    assert [(row.status, row.bericht is None) for row in told] == [(202, False), (503, True)]


@pytest.mark.parametrize("status", [400, 500, 307])
def test_what_will_not_get_better_is_not_tried_again(flaky, status):
    url, answers, got, _ = flaky
    answers += [status]
    with Bode(url, "sleutel", wait=wait_none()) as client, pytest.raises(ProblemError) as refused:
        client.aanleveren({})
    assert (refused.value.status, len(got)) == (status, 1)


def test_patience_ends(flaky):
    url, answers, _, _ = flaky
    answers += [503]
    with Bode(url, "sleutel", wait=wait_none(), patience=0) as client, pytest.raises(ProblemError) as away:
        client.aanleveren({})
    assert away.value.status == 503
    with (
        Bode("http://127.0.0.1:9", "sleutel", wait=wait_none(), patience=0) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.aanleveren({})
