"""The HTTP API over a real server and a real database: what is refused and how, what is stored and how often."""

from __future__ import annotations

import copy
import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import httpx
import pikepdf
import pytest
import structlog
from api_server import MAASVELD, MAX_BODY, ZANDWIJK, Server, body, is_problem, pdf, strings_in


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def api(server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


# ------------------------------------------------------------------------------------------------------------ accepted


def test_a_good_message_is_accepted_and_can_be_found(api):
    sent = body(documenten=[pdf()])
    answer = api.post("/v1/berichten", json=sent)
    assert answer.status_code == 202
    assert answer.headers["API-Version"] == "1.0.0"
    told = answer.json()
    assert answer.headers["Location"] == f"/v1/berichten/{told['id']}"
    assert {key: told[key] for key in ("afzender", "kenmerk")} == {key: sent[key] for key in ("afzender", "kenmerk")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", told["aangenomenTijdstip"])
    status = api.get(answer.headers["Location"])
    assert status.status_code == 200
    assert status.headers["API-Version"] == "1.0.0"
    assert status.json()["status"] == "onderweg"
    assert not {text for text in strings_in(sent["geadresseerde"]) if len(text) > 3 and text in status.text}


def test_the_same_said_in_another_way_has_the_same_answer(api, server):
    sent = body()
    first = api.post("/v1/berichten", json=sent)
    before = server.rows()
    for again in (
        json.dumps(dict(reversed(sent.items())), indent=3),
        json.dumps(sent, ensure_ascii=True).replace("zwembad", "\\u007awembad"),
    ):
        answer = api.post("/v1/berichten", content=again, headers={"Content-Type": "application/json; charset=utf-8"})
        assert (answer.status_code, answer.json(), answer.headers["Location"]) == (
            202,
            first.json(),
            first.headers["Location"],
        )
    assert server.rows() == before


def test_another_body_under_the_same_reference_is_a_conflict(api, server):
    sent = body()
    api.post("/v1/berichten", json=sent)
    before = server.rows()
    told = is_problem(api.post("/v1/berichten", json=sent | {"tekst": "Iets anders."}), 409)
    assert [(error["location"]["pointer"], error["code"]) for error in told["errors"]] == [
        ("#/kenmerk", "kenmerk_in_gebruik")
    ]
    after = server.rows()
    # That it was refused is an event of the message that is there; nothing else is.
    assert after == before | {name: before[name] + 1 for name in ("event", "event_pending")}


def test_a_conflict_and_other_faults_are_told_together(api):
    sent = body()
    api.post("/v1/berichten", json=sent)
    told = is_problem(api.post("/v1/berichten", json={**sent, "rechtsgevolgen": "", "onderwerp": "x" * 51}), 400)
    assert {error["location"]["pointer"] for error in told["errors"]} == {
        "#/kenmerk",
        "#/rechtsgevolgen",
        "#/onderwerp",
    }


def test_the_same_reference_of_another_organisation_is_another_message(api):
    sent = body()
    ids = {api.post("/v1/berichten", json=sent | {"afzender": oin}).json()["id"] for oin in (MAASVELD, ZANDWIJK)}
    assert len(ids) == 2


@pytest.mark.parametrize("turn", range(2))
def test_fifty_at_once_are_one_message(server, turn):
    sent = body(documenten=[pdf()] if turn else [])
    before = server.rows()
    texts = [json.dumps(sent), json.dumps(sent, indent=2), json.dumps(dict(reversed(sent.items())))]
    start = threading.Barrier(50)

    def send(number: int) -> httpx.Response:
        with server.client() as client:
            start.wait(30)
            return client.post("/v1/berichten", content=texts[number % 3], headers={"Content-Type": "application/json"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    after = server.rows()
    assert (after["message"] - before["message"], after["delivery"] - before["delivery"]) == (1, 1)
    assert after["step"] - before["step"] == 1


def test_fifty_different_ones_under_one_reference_are_one_message_and_conflicts(server):
    sent = body()
    before = server.rows()
    start = threading.Barrier(50)

    def send(number: int) -> httpx.Response:
        with server.client() as client:
            start.wait(30)
            return client.post("/v1/berichten", json=sent | {"tekst": f"Versie {number % 5}."})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert {answer.status_code for answer in answers} == {202, 409}
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.content for answer in accepted}) == 1
    assert len(accepted) == 10, "all who sent the first version, and nobody else"
    assert server.rows()["message"] - before["message"] == 1


# ------------------------------------------------------------------------------------------------------------- refused

BAD_BODIES = {
    "empty": b"",
    "not json": b"<bericht/>",
    "null": b"null",
    "list": b"[]",
    "nan": b'{"kenmerk": NaN}',
    "huge number": b'{"kenmerk": ' + b"9" * 50_000 + b"}",
    "10^400": b'{"kenmerk": 1e400, "afzender": -1e400}',
    "deep": b'{"a":' * 15_000 + b"1" + b"}" * 15_000,
    "deeper": b"[" * 60_000,
    "latin-1": '{"kenmerk": "é"}'.encode("latin-1"),
    "utf-16": '{"kenmerk": "x"}'.encode("utf-16"),
    "nul": b'{"kenmerk": "\\u0000"}',
    "nul byte": b'{"kenmerk": "\x00"}',
    "surrogate": b'{"kenmerk": "\\ud800", "\\udfff": 1}',
    "double": b'{"kenmerk": "a", "kenmerk": "b"}',
    "many keys": b"{" + b",".join(b'"%d":1' % n for n in range(9000)) + b"}",
    "wrong everywhere": json.dumps(dict.fromkeys(body(), 1)).encode(),
    "wrong inside": json.dumps(
        {key: [{}] for key in body()} | {"geadresseerde": {"adres": []}, "documenten": [None, 5, {"inhoud": {}}]}
    ).encode(),
    "base64": json.dumps(body(documenten=[{"naam": "a", "inhoud": "A" * 150_001}])).encode(),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bytes_are_a_400_with_every_fault(api, server, name):
    before = server.rows()
    answer = api.post("/v1/berichten", content=BAD_BODIES[name], headers={"Content-Type": "application/json"})
    assert is_problem(answer, 400)["errors"]
    assert server.rows() == before


BAD_MESSAGES = {
    "unknown nature": ({"aard": "vonnis"}, {"#/aard"}),
    "no consequences": ({"rechtsgevolgen": None}, {"#/rechtsgevolgen"}),
    "no term": ({"termijn": None}, {"#/termijn"}),
    "no sender": ({"afzender": None}, {"#/afzender"}),
    "BSN": ({"geadresseerde": {"soort": "BSN", "nummer": "123456789", "naam": "Jantje"}}, {"#/geadresseerde/nummer"}),
    "unknown channel": ({"kanalen": [{"kanaal": "duif"}]}, {"#/kanalen/0/kanaal"}),
    "cannot check": ({"kanalen": [{"kanaal": "email", "grondslag": "controleren"}]}, {"#/kanalen/0/grondslag"}),
    "no e-mail": ({"kennisgeving": {"email": "jantje at post"}}, {"#/kennisgeving/email"}),
    "withdraws nothing known": (
        {"aard": "intrekking", "termijn": None, "betreft": "nooit-gezien"},
        {"#/betreft"},
    ),
    "consequences that spill": ({"rechtsgevolgen": "Jantje Zonderbrief moet betalen."}, {"#/rechtsgevolgen"}),
    "no pdf": ({"documenten": [{"naam": "a.pdf", "inhoud": "Z2VlbiBwZGY="}]}, {"#/documenten/0/inhoud"}),
    "encrypted": (
        {"documenten": [pdf(encryption=pikepdf.Encryption(owner="a", user="b"))]},
        {"#/documenten/0/inhoud"},
    ),
    "script": ({"documenten": [pdf(script="app.alert(1)")]}, {"#/documenten/0/inhoud"}),
    "same name": ({"documenten": [pdf(), pdf()]}, {"#/documenten/1/naam"}),
    "everything": (
        {
            "afzender": "1" * 20,
            "kenmerk": None,
            "aard": "intrekking",
            "rechtsgevolgen": "",
            "betreft": "x" * 26,
            "geadresseerde": {"soort": "BSN", "nummer": "999990018", "naam": "", "adres": "Geheimepad 77"},
            "kanalen": [{"kanaal": "duif"}, 5],
            "kennisgeving": {"email": "x"},
            "documenten": [pdf(script="x"), {"naam": "a/b", "inhoud": "Z2VlbiBwZGY="}],
            "Jantje Zonderbrief": 1,
        },
        {
            *("#", "#/afzender", "#/kenmerk", "#/rechtsgevolgen", "#/betreft", "#/geadresseerde/nummer"),
            *("#/geadresseerde/naam", "#/geadresseerde/adres", "#/kanalen/0/kanaal", "#/kanalen/1"),
            *("#/kennisgeving/email", "#/documenten/0/inhoud", "#/documenten/1/naam", "#/documenten/1/inhoud"),
        },
    ),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_is_a_400_with_every_fault_and_no_personal_data(api, server, name):
    changes, pointers = BAD_MESSAGES[name]
    sent = body(**copy.deepcopy(changes))
    before = server.rows()
    answer = api.post("/v1/berichten", json=sent)
    told = is_problem(answer, 400)
    assert {error["location"]["pointer"] for error in told["errors"]} == pointers
    private = strings_in({key: sent.get(key) for key in ("geadresseerde", "kennisgeving", "onderwerp", "tekst")})
    private.discard("geadresseerde")  # who gave the address, and a word of the texts
    repeated = {text for text in private if len(text) > 3 and text in answer.text}
    assert repeated == set()
    assert "Zonderbrief" not in answer.text
    assert server.rows() == before


def test_a_document_too_many_bytes_and_a_request_too_many(api):
    told = is_problem(api.post("/v1/berichten", json=body(tekst="x" * (MAX_BODY + 1))), 413)
    assert "errors" not in told

    def slowly() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 10_000

    # Without a length, so that it is found out on the way.
    is_problem(api.post("/v1/berichten", content=slowly(), headers={"Content-Type": "application/json"}), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/jsonp"])
def test_another_content_type_is_a_415(api, kind):
    is_problem(api.post("/v1/berichten", content=json.dumps(body()), headers={"Content-Type": kind}), 415)


def test_a_packed_request_is_a_415(api):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    is_problem(api.post("/v1/berichten", content=b"\x1f\x8b", headers=headers), 415)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/berichten"),
        ("DELETE", "/v1/berichten"),
        ("DELETE", "/v1/berichten/{id}"),
        ("PATCH", "/v1/berichten/{id}"),
    ],
)
@pytest.mark.law("L9")
def test_there_is_no_way_to_change_or_remove_a_message(api, method, path):
    made = api.post("/v1/berichten", json=body()).json()["id"]
    answer = api.request(method, path.format(id=made))
    is_problem(answer, 405)
    assert answer.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/berichten/geen-uuid",
        "/v1/berichten/00000000-0000-0000-0000-000000000000",
        "/v1/berichten/00000000-0000-4000-8000-000000000000",
        "/v1/berichten/%00",
        "/v1/berichten/999990019%20Jantje",
        "/v1/berichten/..%2f..%2fetc%2fpasswd",
        "/v1/iets",
        "/v2/berichten",
    ],
)
def test_what_is_not_there_is_a_404_that_repeats_nothing(api, path):
    answer = api.get(path)
    is_problem(answer, 404)
    assert "Jantje" not in answer.text
    assert "999990019" not in answer.text


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer fout",
        "Basic samen",
        "samen",
        "Bearer samen samen",
        "Bearer é",
        "Bearer sam",
    ],
)
def test_no_key_or_a_wrong_one_is_a_401_before_anything_is_read(server, header):
    with server.client(None) as client:
        headers = {"Authorization": header.encode()} if header is not None else {}
        for answer in (
            client.post("/v1/berichten", content=b"{", headers=headers),
            client.post("/v1/berichten", content=b"x" * (MAX_BODY + 1), headers=headers),
            client.get(f"/v1/berichten/{uuid4()}", headers=headers),
            client.post(f"/v1/berichten/{uuid4()}/annulering", headers=headers),
        ):
            is_problem(answer, 401)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_key_sends_for_its_own_organisation_only(server):
    with server.client("zandwijk") as client:
        told = is_problem(client.post("/v1/berichten", json=body()), 400)
        assert [error["code"] for error in told["errors"]] == ["afzender_onbekend"]


def test_another_organisations_message_is_not_there(server, api):
    later = body(publicatieTijdstip=_tomorrow())
    made = api.post("/v1/berichten", json=later).json()["id"]
    with server.client("zandwijk") as other:
        answers = [
            other.get(f"/v1/berichten/{made}"),
            other.post(f"/v1/berichten/{made}/annulering", json={"reden": "Plagen"}),
        ]
        nothing = other.get(f"/v1/berichten/{uuid4()}")
        for answer in answers:
            is_problem(answer, 404)
            assert answer.content == nothing.content, "and nothing tells the difference"
        told = is_problem(other.post("/v1/berichten", json=later), 400)
        assert [error["code"] for error in told["errors"]] == ["afzender_onbekend"], "nor that its reference is in use"
        withdrawal = body(aard="intrekking", termijn=None, betreft=later["kenmerk"], afzender=ZANDWIJK)
        told = is_problem(other.post("/v1/berichten", json=withdrawal), 400)
        assert [error["code"] for error in told["errors"]] == ["betreft_onbekend"]
    assert api.get(f"/v1/berichten/{made}").json()["status"] == "ingepland"


# ----------------------------------------------------------------------------------------------------------- annulling


def _tomorrow() -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.mark.law("L9")
def test_a_scheduled_message_can_be_called_back_once_and_for_all(api, server):
    made = api.post("/v1/berichten", json=body(publicatieTijdstip=_tomorrow())).json()["id"]
    path = f"/v1/berichten/{made}"
    first = api.post(f"{path}/annulering", json={"reden": "Fout in het besluit"})
    assert first.status_code == 200
    assert first.headers["API-Version"] == "1.0.0"
    assert (first.json()["status"], first.json()["uitkomst"]) == ("geannuleerd", "cancelled")
    before = server.rows()
    again = api.post(f"{path}/annulering", json={"reden": "Nog eens"})
    assert (again.status_code, again.json()) == (200, first.json())
    assert server.rows() == before, "a repeat records nothing new"
    assert api.get(path).json() == first.json()


def test_many_who_call_back_at_once_record_it_once(api, server):
    made = api.post("/v1/berichten", json=body(publicatieTijdstip=_tomorrow())).json()["id"]
    before = server.rows()
    with ThreadPoolExecutor(10) as pool:
        ask = lambda _: httpx.post(  # noqa: E731
            f"{server.url}/v1/berichten/{made}/annulering",
            json={"reden": "Fout"},
            headers={"Authorization": "Bearer samen"},
        )
        answers = list(pool.map(ask, range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert server.rows()["event"] - before["event"] == 1


def test_a_message_that_is_not_scheduled_any_more_cannot_be_called_back(api, server):
    made = api.post("/v1/berichten", json=body()).json()["id"]
    with closing(sqlite3.connect(server.folder / "bode.db")) as connection, connection:
        # A worker has taken it.
        connection.execute("UPDATE step SET state = 'leased' WHERE message_id = ?", [UUID(made).hex])
    told = is_problem(api.post(f"/v1/berichten/{made}/annulering", json={"reden": "Te laat"}), 409)
    assert "intrekking" in told["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("content", "pointers"),
    [
        (b"", {"#"}),
        (b"{", {"#"}),
        (b"[]", {"#"}),
        (b"{}", {"#/reden"}),
        (b'{"reden": ""}', {"#/reden"}),
        (b'{"reden": 5, "wie": "Jantje Zonderbrief"}', {"#/reden", "#/wie"}),
        (b'{"reden": "\\u0000"}', {"#/reden"}),
        (json.dumps({"reden": "x" * 201}).encode(), {"#/reden"}),
        (b'{"reden": NaN}', {"#"}),
        (b"\xff", {"#"}),
    ],
)
def test_a_bad_reason_is_a_400_with_every_fault(api, content, pointers):
    made = api.post("/v1/berichten", json=body(publicatieTijdstip=_tomorrow())).json()["id"]
    path = f"/v1/berichten/{made}"
    answer = api.post(f"{path}/annulering", content=content, headers={"Content-Type": "application/json"})
    told = is_problem(answer, 400)
    assert {error["location"]["pointer"] for error in told["errors"]} == pointers
    assert "Zonderbrief" not in answer.text
    assert api.get(path).json()["status"] == "ingepland"


@pytest.mark.law("L9")
def test_a_withdrawal_names_the_earlier_message_in_both(api):
    first = body()
    earlier = api.post("/v1/berichten", json=first).json()
    later = api.post("/v1/berichten", json=body(aard="intrekking", termijn=None, betreft=first["kenmerk"])).json()
    assert api.get(f"/v1/berichten/{earlier['id']}").json()["vervangenDoor"] == [
        {"id": later["id"], "kenmerk": later["kenmerk"], "aard": "intrekking"}
    ]


# ------------------------------------------------------------------------------------------------ around the messages


def test_health_readiness_and_metrics(server):
    with server.client(None) as anyone:
        assert (anyone.get("/healthz").status_code, anyone.get("/healthz").text) == (200, "ok\n")
        assert (anyone.get("/readyz").status_code, anyone.get("/readyz").text) == (200, "ready\n")
        metrics = anyone.get("/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["Content-Type"].startswith("text/plain")
    assert "bode_intake_accepted_total" in metrics.text
    assert "# TYPE bode_deliveries gauge" in metrics.text
    assert "\nbode_decreed_holidays_days_left " in metrics.text
    for secret in ("Zonderbrief", "999990019", "jantje", "zwembad"):
        assert secret not in metrics.text


def test_every_metric_of_a_scrape_is_in_the_docs_with_an_example_and_every_documented_one_is_scraped(server):
    with server.client(None) as anyone:
        scrape = anyone.get("/metrics").text
    told = set(re.findall(r"^# TYPE (bode_\w+?)(?<!_created) \w+$", scrape, re.MULTILINE))
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(bode_\w+)` \| (\w+)[^|]*\|[^|]*\| `([^`]*)` \|$", page, re.MULTILINE)
    assert {name for name, _, _ in rows} == told
    assert len(rows) == len(told)
    for name, kind, example in rows:
        assert f"# TYPE {name} {kind}\n" in scrape
        assert name in example


def _references(value) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_the_openapi_document_is_whole_and_open(server):
    with server.client(None) as anyone:
        answer = anyone.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["API-Version"] == "1.0.0"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"]
    assert document["info"]["version"] == "1.0.0"
    assert document["servers"] == [{"url": "/v1"}]
    served = {
        (route.path.removeprefix("/v1").replace(":uuid", ""), method.lower())
        for route in server._web.routes
        for handler in route.route_handlers
        for method in handler.http_methods
        if "scope" in handler.opt and method != "OPTIONS"
    }
    assert served == {(path, method) for path, operations in document["paths"].items() for method in operations}
    message = document["components"]["schemas"]["BerichtIn"]
    assert set(message["required"]) == {"afzender", "kenmerk", "aard", "geadresseerde", "onderwerp", "tekst"}
    assert message["additionalProperties"] is False
    assert message["properties"]["onderwerp"]["maxLength"] == 50
    assert message["properties"]["tekst"]["maxLength"] == 4000
    assert "berichtenbox" in message["properties"]["tekst"]["description"]
    names = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (path, method)
            names.add(operation["operationId"])
            assert set(re.findall(r"{(\w+)}", path)) == {
                item["name"] for item in operation.get("parameters", []) if item.get("in") == "path"
            }
            assert {"2", "4"} <= {status[0] for status in operation["responses"]}
            if method == "post" and not path.endswith("/bulk"):
                assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert len(names) == 8
    for reference in _references(document):
        here = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part]


def test_an_openapi_client_can_make_a_message_that_is_accepted(server):
    """The schema promises no more and no less than is taken: its names are the names of a valid request."""
    with server.client(None) as anyone:
        schemas = anyone.get("/openapi.json").json()["components"]["schemas"]
    sent = body(documenten=[pdf()], publicatieTijdstip=_tomorrow())
    assert set(sent) <= set(schemas["BerichtIn"]["properties"])
    assert set(sent["geadresseerde"]) <= set(schemas["GeadresseerdeIn"]["properties"])
    assert schemas["DocumentIn"]["properties"]["inhoud"]["contentEncoding"] == "base64"


@pytest.mark.parametrize("path", ["/v1/berichten", "/v1/berichten/geen", "/healthz", "/openapi.json", "/nergens"])
def test_answers_tell_nothing_about_what_is_inside(api, path):
    answer = api.request("POST", path, content=b"\xff\x00'\"<script>", headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 404, 405}
    for word in ("Traceback", "pydantic", "litestar", "msgspec", "sqlalchemy", "site-packages", "<script>"):
        assert word.lower() not in answer.text.lower()
    assert "server" not in answer.headers or "bode" not in answer.headers["server"]


# ----------------------------------------------------------------------------------------------------- away, and logs


def test_without_its_tables_it_is_not_ready_and_says_so(tmp_path):
    with Server(tmp_path, upgrade=False) as empty, empty.client() as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        told = is_problem(client.post("/v1/berichten", json=body()), 503)
        assert "veilig" in told["detail"]


def test_without_keys_everybody_on_this_machine_may_send(tmp_path):
    with Server(tmp_path, keys={}) as open_to_all, open_to_all.client(None) as client:
        assert client.post("/v1/berichten", json=body()).status_code == 202


class _Lines(list):
    """What the standard library's loggers were given, as it would be written."""

    def write(self, text: str) -> None:
        self.append(text)


def test_nothing_personal_is_logged_whatever_is_sent(api, capfd, caplog):
    good = body(documenten=[pdf()], publicatieTijdstip=_tomorrow())
    with caplog.at_level("WARNING"), structlog.testing.capture_logs() as logged:
        made = api.post("/v1/berichten", json=good)
        api.post("/v1/berichten", json=good)
        api.post("/v1/berichten", json=good | {"tekst": "Jantje Zonderbrief woont in Verweg."})
        for changes, _ in BAD_MESSAGES.values():
            api.post("/v1/berichten", json=good | body(**copy.deepcopy(changes)))
        for content in BAD_BODIES.values():
            api.post("/v1/berichten", content=content, headers={"Content-Type": "application/json"})
        api.get("/v1/berichten/999990019%20Jantje%20Zonderbrief?naam=Zonderbrief")
        api.post(made.headers["Location"] + "/annulering", json={"reden": "Jantje Zonderbrief is verhuisd"})
    printed = capfd.readouterr()
    everything = json.dumps(logged, default=str) + caplog.text + printed.out + printed.err
    assert {"intake.accepted", "intake.refused"} <= {line["event"] for line in logged}
    assert {line["event"] for line in logged} <= {"intake.accepted", "intake.refused", "delivery.ended"}
    keep = {"BSN", "mijnoverheid", "geadresseerde", "1234 AB", "77"}
    private = strings_in(good | {"afzender": "", "kanalen": [], "aard": "", "termijn": {}}) - keep - {""}
    assert {value for value in private if value in everything} == set()
    for word in ("Zonderbrief", "999990019", "jantje.geheim", "Geheimepad", "zwembad", "verhuisd"):
        assert word not in everything


def test_a_defect_is_a_500_that_can_be_repeated_and_logs_its_type_only(api, server, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("Jantje Zonderbrief 999990019")

    sent = body()
    before = server.rows()
    with structlog.testing.capture_logs() as logged, monkeypatch.context() as patch:
        patch.setattr("bode.intake.accept.brief_of", broken)
        answer = api.post("/v1/berichten", json=sent)
    told = is_problem(answer, 500)
    assert "veilig" in told["detail"]
    assert "Zonderbrief" not in answer.text
    assert [(line["event"], line["error"]) for line in logged] == [("api.defect", "ZeroDivisionError")]
    assert server.rows() == before
    assert api.post("/v1/berichten", json=sent).status_code == 202


def test_the_first_answer_still_holds_when_the_rules_have_become_stricter(api, monkeypatch):
    """A repeat after the last day of its term, or after a channel was taken away, is still the same message."""
    sent = body()
    first = api.post("/v1/berichten", json=sent)
    stricter = SimpleNamespace(fault=None)

    def refuses(*_args, **_kwargs):
        from bode.intake.faults import Fault

        stricter.fault = Fault("#/aard", "nieuw", "Dit mag niet meer.")
        return [stricter.fault]

    with monkeypatch.context() as patch:
        patch.setattr("bode.intake.body.faults_of", refuses)
        assert api.post("/v1/berichten", json=sent).content == first.content
        is_problem(api.post("/v1/berichten", json=body()), 400)
    assert stricter.fault is not None
