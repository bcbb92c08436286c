"""Every route of every part: who may come in is said for each, and one that nobody thought of fails here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from api_server import Server

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/.well-known/security.txt"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/static/{bestand:str}"),
    ("GET", "/static/vendor/{bestand:str}"),
    ("GET", "/inloggen"),
    ("POST", "/inloggen"),
    ("GET", "/inloggen/start"),
    ("GET", "/inloggen/terug"),
    ("POST", "/uitloggen"),
    ("GET", "/uitgelogd"),
}
"""What anybody may ask: nothing of a message, a person or a key is in it."""
SIGNED = {("POST", "/inbound/bounces/{route:str}")}
"""What is let in by a signature over its content: tests/service/test_routes.py."""
SECRET = "een-geheim-van-16-of-meer"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    relay = f'[console]\ndemo_login = true\n[bounces.relays.postbode]\nsecrets = ["{SECRET}"]\n'
    contact = 'security_contact = "mailto:beveiliging@maasveld.example"\n'
    with Server(tmp_path_factory.mktemp("doors"), api=contact, applications=relay) as server:
        yield server


def routes(server):
    """Give every method and path that is served, as they are written where they are made."""
    for route in server._web.routes:
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)]):
            for method in getattr(handler, "http_methods", {"GET"}):
                if method not in {"OPTIONS", "HEAD"}:
                    yield method, route.path


def url_of(path):
    """Give an address that fits a path: ids that nobody has."""
    parts = [
        part if not part.startswith("{") else str(uuid4()) if part.endswith(":uuid}") else "iets"
        for part in path.split("/")
    ]
    return "/".join(parts)


def test_every_route_is_open_on_purpose_or_has_a_door(server):
    found = sorted(set(routes(server)))
    assert len(found) > 30
    behind = [(method, path) for method, path in found if (method, path) not in OPEN | SIGNED]
    with server.client(None, follow_redirects=False) as nobody:
        for method, path in behind:
            answer = nobody.request(method, url_of(path))
            if path.startswith("/v1"):
                assert answer.status_code == 401, (method, path, answer.status_code)
            else:
                assert answer.status_code == 303, (method, path, answer.status_code)
                assert answer.headers["Location"].startswith("/inloggen?naar="), (method, path)


def test_what_is_open_is_served_and_nothing_is_listed_that_is_not(server):
    found = set(routes(server))
    assert found >= OPEN | SIGNED


def test_what_is_signed_is_refused_without_a_signature(server):
    with server.client(None) as nobody:
        assert nobody.post("/inbound/bounces/postbode", content=b"x").status_code == 401


def test_where_weaknesses_are_reported_is_open_to_all_and_still_true(server):
    """RFC 9116: a contact, and until when that is true; whoever reads it must ask again."""
    with server.client(None) as anybody:
        answer = anybody.get("/.well-known/security.txt")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields.keys() == {"Contact", "Expires", "Preferred-Languages"}
    assert fields["Contact"] == "mailto:beveiliging@maasveld.example"
    expires = datetime.fromisoformat(fields["Expires"])
    assert timedelta(days=30) < expires - datetime.now(UTC) < timedelta(days=366)


def test_without_a_contact_there_is_no_such_page(tmp_path):
    with Server(tmp_path) as bare, bare.client(None) as anybody:
        assert anybody.get("/.well-known/security.txt").status_code == 404
