"""Other ways to hand a message in, and what is turned away in time: keys, parts, addresses, room and slow clients."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from uuid import uuid4

import pytest
import structlog
from api_server import MAASVELD, MAX_BODY, ZANDWIJK, Server, body, is_problem, pdf
from hypothesis import given
from hypothesis import strategies as st

from bode.client import Bode
from bode.intake.fetching import DocumentSource
from bode.intake.room import NoRoom, Room
from bode.store import repeats, tables
from bode.store.repeats import Given, Key, KeyReusedError, UnderWayError

A_PDF = base64.b64decode(pdf()["inhoud"])


class Documents:
    """Another side that keeps documents, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                content = {"/dms/goed.pdf": A_PDF, "/dms/groot.pdf": b"%PDF-" + b"x" * 11_000_000}.get(self.path, b"x")
                self.send_response(302 if "elders" in self.path else 404 if "weg" in self.path else 200)
                self.send_header("Location", f"{outer.url}/dms/goed.pdf")
                if "gepakt" in self.path:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                try:
                    self.wfile.write(content)
                except OSError:
                    outer.asked.append("cut off")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def dms():
    made = Documents()
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, dms):
    sources = f'[api.documents.dms]\nurl = "{dms.url}/dms"\norganisations = ["{MAASVELD}"]\n'
    with Server(tmp_path_factory.mktemp("ways"), applications=sources) as running:
        yield running


@pytest.fixture
def api(server):
    with server.client() as client:
        yield client


# ---------------------------------------------------------------------------------------------------- Idempotency-Key


def key() -> dict[str, str]:
    return {"Idempotency-Key": f'"{uuid4()}"'}


def test_the_same_key_and_request_have_the_answer_of_the_first_time(api, server):
    sent, headers = body(), key()
    first = api.post("/v1/berichten", json=sent, headers=headers)
    before = server.rows()
    again = api.post("/v1/berichten", json=dict(reversed(sent.items())), headers=headers)
    assert (again.status_code, again.content, again.headers["Location"]) == (
        202,
        first.content,
        first.headers["Location"],
    )
    bare = {"Idempotency-Key": headers["Idempotency-Key"].strip('"')}
    assert api.post("/v1/berichten", json=sent, headers=bare).content == first.content
    assert server.rows() == before


def test_the_same_key_with_another_request_is_a_422(api, server):
    headers = key()
    made = api.post("/v1/berichten", json=body(), headers=headers).json()
    before = server.rows()
    told = is_problem(api.post("/v1/berichten", json=body(), headers=headers), 422)
    assert told["errors"][0]["location"] == {"name": "Idempotency-Key"}
    is_problem(api.post(f"/v1/berichten/{made['id']}/annulering", json={"reden": "x"}, headers=headers), 422)
    assert server.rows() == before


def test_what_was_refused_may_come_again_mended_with_the_same_key(api):
    sent, headers = body(), key()
    is_problem(api.post("/v1/berichten", json=sent | {"aard": "vonnis"}, headers=headers), 400)
    assert api.post("/v1/berichten", json=sent, headers=headers).status_code == 202


def test_keys_are_an_applications_own(server):
    headers = key()
    for name, oin in (("maasveld", MAASVELD), ("zandwijk", ZANDWIJK)):
        with server.client(name) as client:
            assert client.post("/v1/berichten", json=body(afzender=oin), headers=headers).status_code == 202


def test_calling_back_twice_with_one_key_has_one_answer(api):
    made = api.post("/v1/berichten", json=body(publicatieTijdstip="2099-01-01T00:00:00Z"))
    is_problem(made, 400)
    from datetime import UTC, datetime

    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    path = api.post("/v1/berichten", json=body(publicatieTijdstip=later)).headers["Location"]
    headers = key()
    first = api.post(f"{path}/annulering", json={"reden": "Fout"}, headers=headers)
    assert first.status_code == 200
    assert api.post(f"{path}/annulering", json={"reden": "Fout"}, headers=headers).content == first.content


@pytest.mark.parametrize("value", ["", '""', '"a', "a b", '"a\\"b"', "x" * 201, '"é"'])
def test_a_key_that_is_none_is_a_400(api, value):
    headers = [("Idempotency-Key", value.encode())]
    told = is_problem(api.post("/v1/berichten", json=body(), headers=headers), 400)
    assert told["errors"][0]["in"] == "header"


def test_fifty_at_once_with_one_key_over_eight_connections_are_one_message(server):
    sent, headers = body(), key()
    before = server.rows()["message"]
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/berichten", json=sent, headers=headers), range(50)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.content for answer in answers if answer.status_code == 202}) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.headers["Retry-After"] == "1"
    assert server.rows()["message"] - before == 1


def test_fifty_at_once_without_a_key_over_eight_connections_are_one_message(server):
    sent = body()
    before = server.rows()["message"]
    with server.client() as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/v1/berichten", json=sent), range(50)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    assert server.rows()["message"] - before == 1


async def test_a_key_in_hand_is_waited_for_a_minute_and_an_answer_is_kept_for_a_day(app):
    mine, other = Key("zaak", b"k" * 32, b"f" * 32), Key("zaak", b"k" * 32, b"g" * 32)
    now = app.clock.now()

    async def begin(which, at):
        async with app.database.write() as connection:
            return await repeats.begin(connection, which, at)

    assert await begin(mine, now) is None
    with pytest.raises(UnderWayError):
        await begin(mine, now + timedelta(seconds=59))
    with pytest.raises(KeyReusedError):
        await begin(other, now)
    assert await begin(mine, now + timedelta(seconds=61)) is None, "whoever had it is gone"
    answer = Given(202, "/v1/berichten/x", "{}")
    async with app.database.write() as connection:
        await repeats.finish(connection, mine, answer)
        await repeats.release(connection, mine)
    assert await begin(mine, now + timedelta(hours=23)) == answer
    assert await begin(other, now + timedelta(hours=25)) is None, "a key may be another's after a day"
    async with app.database.write() as connection:
        assert await repeats.purge(connection, now + timedelta(days=3)) == 1
    assert await app.rows(tables.repeat_key) == []


# ---------------------------------------------------------------------------------------------------- documents: parts


def test_a_message_in_parts_is_the_same_message_as_in_one(api, server):
    sent = body()
    files = [("document", ("besluit.pdf", A_PDF, "application/pdf")), ("document", ("bijlage é.pdf", A_PDF))]
    first = api.post("/v1/berichten", data={"bericht": json.dumps(sent)}, files=files)
    assert first.status_code == 202, first.text
    before = server.rows()
    content = base64.b64encode(A_PDF).decode()
    inline = [{"naam": name, "inhoud": content} for name in ("besluit.pdf", "bijlage é.pdf")]
    assert api.post("/v1/berichten", json=sent | {"documenten": inline}).content == first.content
    assert server.rows() == before
    headers = key()
    for _ in range(2):  # the boundary is another one each time
        again = api.post("/v1/berichten", data={"bericht": json.dumps(sent)}, files=files, headers=headers)
        assert again.content == first.content
    is_problem(api.post("/v1/berichten", json=sent), 409)


def test_what_is_wrong_in_a_part_is_told_at_its_place(api, server):
    before = server.rows()
    files = [("document", ("a.pdf", A_PDF)), ("document", ("map/b.pdf", b"geen pdf"))]
    told = api.post("/v1/berichten", data={"bericht": json.dumps(body(aard="vonnis"))}, files=files)
    assert {error["location"]["pointer"] for error in is_problem(told, 400)["errors"]} == {
        "#/aard",
        "#/documenten/1/naam",
        "#/documenten/1/inhoud",
    }
    assert server.rows() == before


def test_parts_that_are_no_message_are_refused(api):
    one = ("document", ("a.pdf", A_PDF))
    for data, files in (
        ({}, [one]),
        ({"bericht": "{"}, [one]),
        ({"bericht": "[]"}, [one]),
        ({"bericht": ""}, [one]),
        ({"bericht": json.dumps(body(documenten=[pdf()]))}, [one]),
        ({"bericht": json.dumps(body()), "anders": "x"}, [one]),
        ({"bericht": json.dumps(body())}, [("document", (f"{number}.pdf", A_PDF)) for number in range(30)]),
    ):
        is_problem(api.post("/v1/berichten", data=data, files=files), 400)
    for kind, content in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=a", b""),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: form-data; name=bericht\r\n\r\n{}"),
        ("multipart/form-data; boundary=a", b"--a\r\n\xff\r\n\r\n--a--"),
        ("multipart/form-data; boundary=a", b"\x00" * 100),
    ):
        is_problem(api.post("/v1/berichten", content=content, headers={"Content-Type": kind}), 400)
    is_problem(api.post("/v1/berichten", data={"bericht": "x" * (MAX_BODY + 1)}, files=[one]), 413)


# ------------------------------------------------------------------------------------------------ documents: addresses


def with_address(*urls: str, **changes):
    return body(documenten=[{"naam": f"{number}.pdf", "url": url} for number, url in enumerate(urls)], **changes)


def test_a_document_is_fetched_once_checked_and_stored(api, dms, server):
    sent = with_address(f"{dms.url}/dms/goed.pdf", f"{dms.url}/dms/goed.pdf")
    dms.asked.clear()
    before = server.rows()["document"]
    first = api.post("/v1/berichten", json=sent)
    assert first.status_code == 202, first.text
    assert server.rows()["document"] - before == 2
    assert dms.asked == ["/dms/goed.pdf"] * 2
    assert api.post("/v1/berichten", json=sent).content == first.content
    assert len(dms.asked) == 2, "a repeat fetches nothing"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/dms/weg.pdf", "document_niet_opgehaald"),
        ("/dms/elders.pdf", "document_niet_opgehaald"),
        ("/dms/groot.pdf", "document_te_groot"),
        ("/dms/iets.html", "geen_pdf"),
        ("/dms/gepakt.pdf", "geen_pdf"),
    ],
)
def test_what_cannot_be_fetched_is_a_fault_of_that_document(api, dms, server, path, code):
    before = server.rows()
    dms.asked.clear()
    told = is_problem(api.post("/v1/berichten", json=with_address(f"{dms.url}/dms/goed.pdf", dms.url + path)), 400)
    assert [error["code"] for error in told["errors"]] == [code]
    assert told["errors"][0]["location"]["pointer"].startswith("#/documenten/1/")
    assert server.rows() == before
    assert "/dms/goed.pdf" in dms.asked


@pytest.mark.parametrize(
    "path",
    [
        "/geheim.pdf",
        "/dmsx/a.pdf",
        "/dms/../geheim.pdf",
        "/dms/%2e%2e/geheim.pdf",
        "/dms/%252e%252e/geheim.pdf",
        "/dms/..%2fgeheim.pdf",
        "/dms/..\\geheim.pdf",
        "/dms/./a.pdf#x",
        "/dms/a.pdf#x",
        "/dms",
    ],
)
def test_an_address_outside_the_source_is_not_called(api, dms, path):
    dms.asked.clear()
    told = is_problem(api.post("/v1/berichten", json=with_address(dms.url + path)), 400)
    assert [error["code"] for error in told["errors"]] == ["document_adres_onbekend"]
    assert dms.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "http://localhost/dms/a.pdf",
        "http://[::1]/dms/a.pdf",
        "http://127.0.0.1/dms/a.pdf",
        "ftp://127.0.0.1/dms/a.pdf",
        "//127.0.0.1/dms/a.pdf",
        "geen adres",
        "http://",
    ],
)
def test_no_other_address_is_called(api, dms, url):
    dms.asked.clear()
    told = is_problem(api.post("/v1/berichten", json=with_address(url)), 400)
    assert [error["code"] for error in told["errors"]] == ["document_adres_onbekend"]
    assert dms.asked == []


def test_a_source_is_its_organisations_own_and_is_asked_only_where_the_rest_is_right(api, dms):
    dms.asked.clear()
    url = f"{dms.url}/dms/goed.pdf"
    told = is_problem(api.post("/v1/berichten", json=with_address(url, afzender=ZANDWIJK)), 400)
    assert [error["code"] for error in told["errors"]] == ["document_adres_onbekend"]
    is_problem(api.post("/v1/berichten", json=with_address(url, aard="vonnis")), 400)
    with_user = url.replace("http://", "http://iemand:geheim@")
    is_problem(api.post("/v1/berichten", json=with_address(with_user)), 400)
    for document in ({"naam": "a.pdf"}, {**pdf(), "url": url}):
        told = is_problem(api.post("/v1/berichten", json=body(documenten=[document])), 400)
        assert [error["code"] for error in told["errors"]] == ["document"]
    assert dms.asked == []


def test_rows_with_addresses_are_answered_in_order_too(api, dms):
    rows = [body(), with_address(f"{dms.url}/dms/goed.pdf"), with_address(f"{dms.url}/dms/weg.pdf"), body()]
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    answer = api.post("/v1/berichten/bulk", content=content, headers={"Content-Type": "application/jsonl"})
    assert [json.loads(line)["status"] for line in answer.text.splitlines()] == [202, 202, 400, 202]


@given(st.text(max_size=60))
def test_no_address_gets_out_of_its_source_however_it_is_written(text):
    import httpx

    source = DocumentSource.read("dms", url="https://dms.example/docs", organisations=[MAASVELD], settings={})
    for url in (text, f"https://dms.example/docs/{text}", f"https://dms.example{text}"):
        if source.holds(url):
            asked = httpx.URL(url)
            assert (asked.scheme, asked.host, asked.port) == ("https", "dms.example", None)
            assert asked.path.startswith("/docs/")
            assert ".." not in asked.path.split("/")


# ----------------------------------------------------------------------------------------- from a file, over HTTP


def test_a_file_is_handed_in_over_http_and_each_row_is_told(server, tmp_path, capsys):
    from bode_ops.commands.base import AwayError, UsageError
    from bode_ops.commands.enqueue import enqueue

    key_file = tmp_path / "sleutel"
    key_file.write_text("samen\n")
    one, good, bad = tmp_path / "een.json", body(), body(aard="vonnis")
    one.write_text(json.dumps(good))
    enqueue(one, url=server.url, key_file=key_file)
    assert good["kenmerk"] in capsys.readouterr().out
    many = tmp_path / "veel.jsonl"
    many.write_text("\n\n".join(json.dumps(row) for row in (good, bad, body())))
    before = server.rows()["message"]
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            enqueue(many, url=server.url, key_file=key_file)
        assert ended.value.code == 1
        told = capsys.readouterr().out
        assert good["kenmerk"] in told
        assert "veel.jsonl:3: Het bericht is niet aangenomen" in told
        assert "#/aard" in told
    assert server.rows()["message"] - before == 1
    key_file.write_text("geraden")
    for file in (one, many):
        with pytest.raises(UsageError, match="401"):
            enqueue(file, url=server.url, key_file=key_file)
    with pytest.raises(UsageError, match="--key-file"):
        enqueue(one, url=server.url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bode_ops.commands.enqueue.Bode", lambda url, key: Bode(url, key, patience=0))
        with pytest.raises(AwayError):
            enqueue(one, url="http://127.0.0.1:9", key_file=key_file)


# ------------------------------------------------------------------------------------------------- room, slow clients


def test_what_there_is_no_room_for_is_turned_away_before_it_is_held():
    room = Room(max_held_bytes=100)
    room.admit(1000)
    with room.held(60):
        room.admit(40)
        with pytest.raises(NoRoom) as full:
            room.admit(41)
        assert full.value.status_code == 503
        assert full.value.headers == {"Retry-After": "5"}
    room.admit(41)


def test_a_full_disk_turns_everything_away_until_there_is_room(tmp_path, monkeypatch):
    free, seconds = [10], [0.0]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free[0]))
    room = Room(max_held_bytes=100, folders=[tmp_path], min_free_bytes=5, timer=lambda: seconds[0])
    room.admit(1)
    free[0] = 4
    room.admit(1)
    seconds[0] = 1.1
    with pytest.raises(NoRoom):
        room.admit(1)
    free[0], seconds[0] = 10, 2.2
    room.admit(1)


def test_a_full_disk_is_a_503_that_says_when_to_come_again_and_rows_too(api, server, monkeypatch):
    before = server.rows()
    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logged:
        patch.setattr("bode.intake.room.Room.disk_has_room", property(lambda _: False))
        for path, kind in (("/v1/berichten", "application/json"), ("/v1/berichten/bulk", "application/jsonl")):
            answer = api.post(path, content=json.dumps(body()).encode(), headers={"Content-Type": kind})
            is_problem(answer, 503)
            assert answer.headers["Retry-After"] == "60"
    assert {line["event"] for line in logged} == {"api.no_room"}
    turns = iter([True])
    with monkeypatch.context() as patch:
        patch.setattr("bode.intake.room.Room.disk_has_room", property(lambda _: next(turns, False)))
        answer = api.post("/v1/berichten/bulk", content=json.dumps(body()) + "\n", headers={"Content-Type": kind})
    assert json.loads(answer.text)["status"] == 503
    assert server.rows() == before


def connected(server) -> socket.socket:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def ended_after(sock: socket.socket, drip: bytes = b"") -> float:
    """Give after how many seconds the other side ends, while bytes drip in."""
    start = time.monotonic()
    sock.settimeout(0.25)
    while time.monotonic() - start < 15:
        try:
            if drip:
                sock.sendall(drip)
            if not sock.recv(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


HEAD = b"POST /v1/berichten HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer samen\r\nContent-Type: application/json\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"GET /v1/ber", b""),
        (b"GET / HTTP/1.1\r\nA: ", b"x"),
        (HEAD + b"Content-Length: 90000\r\n\r\n", b" "),
    ],
)
def test_a_client_that_drips_or_says_nothing_does_not_hold_the_server(server, first, drip):
    with connected(server) as slow:
        slow.sendall(first)
        assert 1 < ended_after(slow, drip) < 8  # client_timeout_seconds is 2 here


@pytest.mark.slow
def test_a_connection_that_was_used_and_then_drips_headers_is_ended(server):
    with connected(server) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in slow.recv(1000)
        slow.sendall(b"GET /healthz HT")
        assert ended_after(slow, b"T") < 8


@pytest.mark.slow
def test_a_client_that_takes_nothing_of_its_answer_does_not_hold_the_server(server):
    with connected(server) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(400):
            slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            time.sleep(0.001)
        time.sleep(4)
        with pytest.raises(OSError):  # noqa: PT012 - whichever write finds it ended
            for _ in range(50):
                slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                time.sleep(0.02)


def test_every_answer_to_a_program_has_the_headers_the_design_rules_ask(server, api):
    for answer in (
        api.get("/v1/berichten"),
        api.get("/v1/nergens"),
        api.get("/openapi.json"),
        api.put("/v1/berichten"),
    ):
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["API-Version"] == "1.0.0"
