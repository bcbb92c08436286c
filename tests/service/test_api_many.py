"""Many messages in one request, searching them, and withdrawing one: over a real server and a real database."""

from __future__ import annotations

import json
import socket
from uuid import uuid4

import pytest
import structlog
from api_server import MAASVELD, MAX_BODY, ZANDWIJK, Server, body, is_problem

from bode.client import Bode
from bode.evidence.verify import Trust, verify

ROWS = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("many")) as running:
        yield running


@pytest.fixture
def api(server):
    with server.client() as client:
        yield client


def lines(rows) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def told(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


# -------------------------------------------------------------------------------------------------------------- many


def test_every_row_has_its_answer_in_order_and_a_bad_one_hurts_no_other(api, server):
    good = [body(kenmerk=f"R-{uuid4().hex[:12]}") for _ in range(250)]
    rows = [*good]
    rows[7] = good[7] | {"aard": "vonnis"}
    rows[150] = b"{geen json\n"
    before = server.rows()
    answers = told(api.post("/v1/berichten/bulk", content=lines(rows), headers=ROWS))
    assert [item["rij"] for item in answers] == list(range(1, 251))
    assert {number: item["status"] for number, item in enumerate(answers) if item["status"] != 202} == {
        7: 400,
        150: 400,
    }
    assert answers[7]["errors"][0]["location"]["pointer"] == "#/aard"
    assert [item["kenmerk"] for item in answers if item["status"] == 202] == [
        row["kenmerk"] for number, row in enumerate(good) if number not in {7, 150}
    ]
    after = server.rows()
    for table, of_each in {"message": 1, "content": 1, "delivery": 1, "step": 1, "event": 3}.items():
        assert after[table] - before[table] == 248 * of_each, table
    assert api.get(f"/v1/berichten/{answers[0]['id']}").json()["status"] == "onderweg"


def test_the_whole_file_again_changes_nothing_and_is_answered_the_same(api, server):
    rows = lines([body(kenmerk=f"H-{uuid4().hex[:12]}") for _ in range(120)])
    first = api.post("/v1/berichten/bulk", content=rows, headers=ROWS)
    before = server.rows()
    assert api.post("/v1/berichten/bulk", content=rows, headers=ROWS).content == first.content
    assert server.rows() == before


def test_a_row_is_the_same_message_as_a_request_alone(api):
    alone, row = body(), body()
    made = api.post("/v1/berichten", json=alone).json()
    answers = told(api.post("/v1/berichten/bulk", content=lines([alone, row]), headers=ROWS))
    assert answers[0] == {"rij": 1, "status": 202, **made}
    again = api.post("/v1/berichten", json=row).json()
    assert {key: answers[1][key] for key in again} == again


def test_the_same_reference_twice_is_a_repeat_or_a_conflict_and_a_later_row_may_withdraw_an_earlier(api):
    one = body()
    withdrawal = body(aard="intrekking", termijn=None, betreft=one["kenmerk"])
    answers = told(
        api.post(
            "/v1/berichten/bulk",
            content=lines([one, one, one | {"tekst": "Iets anders."}, withdrawal, body()]),
            headers=ROWS,
        )
    )
    assert [item["status"] for item in answers] == [202, 202, 409, 202, 202]
    assert answers[0]["id"] == answers[1]["id"]
    assert answers[2]["errors"][0]["code"] == "kenmerk_in_gebruik"
    assert api.get(f"/v1/berichten/{answers[0]['id']}").json()["vervangenDoor"][0]["id"] == answers[3]["id"]


def test_a_reference_that_came_in_beside_a_chunk_costs_that_row_only(api, server, monkeypatch):
    """What was not there when the chunk was looked up, and is when it is written."""
    from bode.store import messages

    beside = body()
    api.post("/v1/berichten", json=beside)
    existing, calls = messages.existing, []

    async def late(connection, organisation, references):
        calls.append(references)
        return {} if len(calls) == 1 else await existing(connection, organisation, references)

    rows = [body(), beside | {"tekst": "Iets anders."}, body()]
    before = server.rows()
    with monkeypatch.context() as patch:
        patch.setattr(messages, "existing", late)
        answers = told(api.post("/v1/berichten/bulk", content=lines(rows), headers=ROWS))
    assert [item["status"] for item in answers] == [202, 409, 202]
    assert server.rows()["message"] - before["message"] == 2


def test_a_defect_in_one_row_is_a_500_for_that_row_only(api, server, monkeypatch):
    from bode.intake import accept

    rows = [body(), body(), body()]
    brief_of = accept.brief_of

    def broken(message, *rest):
        if message.reference == rows[1]["kenmerk"]:
            raise ZeroDivisionError("Jantje Zonderbrief")
        return brief_of(message, *rest)

    with structlog.testing.capture_logs() as logged, monkeypatch.context() as patch:
        patch.setattr(accept, "brief_of", broken)
        answer = api.post("/v1/berichten/bulk", content=lines(rows), headers=ROWS)
    assert [item["status"] for item in told(answer)] == [202, 500, 202]
    assert "Zonderbrief" not in answer.text + json.dumps(logged, default=str)
    assert [item["status"] for item in told(api.post("/v1/berichten/bulk", content=lines(rows), headers=ROWS))] == [
        202,
        202,
        202,
    ]


def test_blank_lines_are_counted_and_a_line_too_long_is_refused_without_being_held(api):
    one, two = body(), body()
    content = lines([b"\n", one, b"  \r\n", b"x" * (MAX_BODY + 1) + b"\n", two]).rstrip(b"\n")
    answers = told(api.post("/v1/berichten/bulk", content=content, headers=ROWS))
    assert [(item["rij"], item["status"]) for item in answers] == [(2, 202), (4, 400), (5, 202)]
    assert answers[1]["errors"][0]["code"] == "regel_te_lang"


def test_more_than_a_request_may_hold_is_taken_and_pieces_of_any_size(api):
    rows = lines([body(tekst="x" * 3000) for _ in range(90)])
    assert len(rows) > MAX_BODY
    pieces = (rows[at : at + 777] for at in range(0, len(rows), 777))
    assert {item["status"] for item in told(api.post("/v1/berichten/bulk", content=pieces, headers=ROWS))} == {202}


def test_what_came_whole_before_the_connection_broke_is_accepted_or_can_be_sent_again(server, api):
    whole, half = body(), body()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        content = lines([whole]) + json.dumps(half).encode()[:200]
        raw.sendall(
            b"POST /v1/berichten/bulk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer samen\r\n"
            b"Content-Type: application/jsonl\r\nContent-Length: 100000\r\n\r\n" + content
        )
    answers = told(api.post("/v1/berichten/bulk", content=lines([whole, half]), headers=ROWS))
    assert [item["status"] for item in answers] == [202, 202]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_rows_of_another_content_type_are_a_415(api, kind):
    is_problem(api.post("/v1/berichten/bulk", content=b"{}", headers={"Content-Type": kind}), 415)


def test_rows_need_a_key_and_stay_within_its_organisation(server):
    with server.client(None) as anyone:
        is_problem(anyone.post("/v1/berichten/bulk", content=lines([body()]), headers=ROWS), 401)
    with server.client("zandwijk") as other:
        rows = [body(), body(afzender=ZANDWIJK)]
        answers = told(other.post("/v1/berichten/bulk", content=lines(rows), headers=ROWS))
    assert [item["status"] for item in answers] == [400, 202]
    assert answers[0]["errors"][0]["code"] == "afzender_onbekend"


# ------------------------------------------------------------------------------------------------------------- search


def test_a_search_by_case_goes_page_by_page_and_misses_nothing(api):
    case = f"Z-{uuid4().hex[:12]}"
    rows = lines([body(zaak=case) for _ in range(230)])
    made = [item["id"] for item in told(api.post("/v1/berichten/bulk", content=rows, headers=ROWS))]
    found, params = [], {"zaakkenmerk": case}
    while True:
        page = api.get("/v1/berichten", params=params).json()
        found += [item["id"] for item in page["berichten"]]
        assert len(page["berichten"]) <= 100
        if page["volgendeCursor"] is None:
            break
        params = {"zaakkenmerk": case, "cursor": page["volgendeCursor"]}
    assert len(found) == len(set(found)) == 230
    assert set(found) == set(made)


def test_a_search_by_reference_tells_how_it_stands_and_nothing_personal(api):
    sent = body()
    made = api.post("/v1/berichten", json=sent).json()
    answer = api.get("/v1/berichten", params={"kenmerk": sent["kenmerk"]})
    (found,) = answer.json()["berichten"]
    assert (found["id"], found["zaak"], found["status"]) == (made["id"], sent["zaak"], "onderweg")
    for word in ("Zonderbrief", "999990019", "zwembad", "jantje"):
        assert word not in answer.text
    assert api.get("/v1/berichten", params={"kenmerk": "bestaat-niet"}).json()["berichten"] == []


def test_a_search_stays_within_ones_own_organisation_and_an_attempt_is_logged(api, server):
    sent = body()
    api.post("/v1/berichten", json=sent)
    with server.client("zandwijk") as other:
        assert other.get("/v1/berichten", params={"kenmerk": sent["kenmerk"]}).json()["berichten"] == []
        assert {item["afzender"] for item in other.get("/v1/berichten").json()["berichten"]} <= {ZANDWIJK}
        with structlog.testing.capture_logs() as logged:
            assert other.get("/v1/berichten", params={"afzender": MAASVELD}).json()["berichten"] == []
    assert [line for line in logged if line["event"] == "api.refused_tenant"] == [
        {"event": "api.refused_tenant", "log_level": "warning", "caller": "zandwijk", "organisation": MAASVELD}
    ]


@pytest.mark.parametrize("cursor", ["x", "AAAA", "MjAyNi0wMS0wMSB4", "é", "%00", "MjAyNi0wMS0wMVQwMDowMDowMA"])
def test_a_cursor_that_is_none_is_a_400(api, cursor):
    is_problem(api.get("/v1/berichten", params={"cursor": cursor}), 400)


# --------------------------------------------------------------------------------------------------------- withdrawal


@pytest.mark.law("L9")
def test_a_withdrawal_is_a_new_message_that_names_the_earlier_one(api, server):
    earlier = api.post("/v1/berichten", json=body()).json()
    sent = body(aard=None, termijn=None, afzender=None)
    path = f"/v1/berichten/{earlier['id']}/intrekking"
    answer = api.post(path, json=sent)
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert made["id"] != earlier["id"]
    assert answer.headers["Location"] == f"/v1/berichten/{made['id']}"
    assert api.get(answer.headers["Location"]).json()["aard"] == "intrekking"
    (link,) = api.get(f"/v1/berichten/{earlier['id']}").json()["vervangenDoor"]
    assert link["id"] == made["id"]
    before = server.rows()
    assert api.post(path, json=sent).json() == made, "a repeat is the same message"
    assert server.rows() == before


def test_a_withdrawal_may_not_say_otherwise_what_follows_from_its_address(api):
    earlier = api.post("/v1/berichten", json=body()).json()
    sent = body(aard="beschikking", termijn=None, betreft="iets-anders")
    told_of = is_problem(api.post(f"/v1/berichten/{earlier['id']}/intrekking", json=sent), 400)
    assert {item["location"]["pointer"] for item in told_of["errors"] if item["code"] == "volgt_uit_adres"} == {
        "#/afzender",
        "#/aard",
        "#/betreft",
    }


def test_another_organisations_message_cannot_be_withdrawn(api, server):
    earlier = api.post("/v1/berichten", json=body()).json()
    before = server.rows()
    with server.client("zandwijk") as other, structlog.testing.capture_logs() as logged:
        is_problem(
            other.post(f"/v1/berichten/{earlier['id']}/intrekking", json=body(aard=None, termijn=None, afzender=None)),
            404,
        )
    assert [line["message"] for line in logged if line["event"] == "api.refused_tenant"] == [earlier["id"]]
    assert server.rows() == before


# ------------------------------------------------------------------------------------------------------------ evidence


@pytest.mark.law("L12")
def test_an_extract_can_be_checked_by_a_stranger_and_giving_it_is_recorded(api, server):
    made = api.post("/v1/berichten", json=body()).json()["id"]
    path = f"/v1/berichten/{made}/bewijs"
    before = server.rows()["event"]
    extracts = {whom: api.get(path, params={"voor": whom}) for whom in ("geadresseerde", "afzender")}
    for answer in extracts.values():
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/zip"
        assert verify(answer.content, Trust(list(server.keyring.verifiers))).verdict.name == "VALID"
    assert server.rows()["event"] - before == 2
    is_problem(api.get(path, params={"voor": "iedereen"}), 400)


@pytest.mark.parametrize("reference", ["MV-\N{GRINNING FACE}-中", "MV-\ue000", "MV-\U00100000\u0378"])
def test_an_extract_is_given_whatever_characters_a_reference_holds(api, reference):
    made = api.post("/v1/berichten", json=body(kenmerk=reference)).json()["id"]
    answer = api.get(f"/v1/berichten/{made}/bewijs")
    assert answer.status_code == 200, answer.text


def test_the_client_fetches_an_extract_that_its_owner_can_verify(server):
    trust = Trust(list(server.keyring.verifiers))
    with Bode(server.url, "samen") as client:
        made = client.aanleveren(body())
        extract = client.bewijs(made.id)
        told = verify(extract, trust)
        assert told.verdict.name == "VALID", told
        shown = verify(client.bewijs(made.id, "geadresseerde"), trust)
        assert shown.verdict.name == "VALID", shown
    changed = bytearray(extract)
    changed[extract.index(b"MV-")] ^= 1
    assert verify(bytes(changed), trust).verdict.name != "VALID"


def test_another_organisations_evidence_is_not_there_and_nothing_is_recorded(api, server):
    made = api.post("/v1/berichten", json=body()).json()["id"]
    before = server.rows()
    with server.client("zandwijk") as other:
        is_problem(other.get(f"/v1/berichten/{made}/bewijs"), 404)
    with server.client(None) as anyone:
        is_problem(anyone.get(f"/v1/berichten/{made}/bewijs"), 401)
    assert server.rows() == before


# -------------------------------------------------------------------------------------------------------- slow senders


@pytest.mark.parametrize(("path", "kind"), [("", "application/json"), ("/bulk", "application/x-ndjson")])
def test_a_sender_that_stops_half_way_does_not_hold_the_server(server, path, kind):
    host, port = server.url.removeprefix("http://").split(":")
    whole = lines([body()])
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        head = f"POST /v1/berichten{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer samen\r\n"
        head += f"Content-Type: {kind}\r\n"
        raw.sendall(head.encode() + b"Content-Length: 100000\r\n\r\n" + whole + b"{")
        answer = b""
        while b"408" not in answer:
            piece = raw.recv(10_000)
            assert piece, answer
            answer += piece
    assert (b'"rij":1,"status":202' in answer) is (path == "/bulk")
