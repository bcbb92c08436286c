"""Who may call the API, by every kind of credential, and what each may do: good ones pass, and no others."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote
from uuid import uuid4

import pytest
import structlog
from api_server import MAASVELD, ZANDWIJK, Server, application, body, is_problem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from bode.intake.applications import Rates
from bode.intake.scopes import Scope
from bode.intake.tokens import Jwks
from bode_adapters.connection import Connection
from bode_adapters.rest import SettingsTable

ISSUER, AUDIENCE = "https://login.example/realms/bode", "bode"
SECRET, OLD_SECRET = b"z" * 40, b"o" * 40
ALL = " ".join(Scope)


class Authority:
    """An authorisation server's list of keys, and how often it was asked for."""

    def __init__(self) -> None:
        self.keys: list = []
        self.asked = 0
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                text = json.dumps({"keys": [key.as_dict(private=False) for key in outer.keys]}).encode()
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def authority():
    made = Authority()
    made.keys = [ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})]
    yield made
    made.close()


def a_certificate(*, days: int = 30) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "zaaksysteem.example")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )


GOOD, OVER, STRANGE = a_certificate(), a_certificate(days=-1), a_certificate()


def digest(certificate: x509.Certificate) -> str:
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def rfc9440(certificate: x509.Certificate) -> str:
    return f":{base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()}:"


@pytest.fixture(scope="module")
def applications(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "new").write_bytes(SECRET + b"\n")
    (folder / "old").write_bytes(OLD_SECRET)
    made = application("stil", [MAASVELD], sha256(b"stil").hexdigest(), scopes=["statuswijzigingen:lezen"])
    made += application("druk", [MAASVELD], sha256(b"druk").hexdigest(), per_minute=3)
    for name, lines in {
        "oauth": 'oauth_client = "zaak"',
        "zgw": f'zgw = {{ client_id = "zaak", secrets = ["{folder}/new", "{folder}/old"] }}',
        "mtls": f'certificates = ["{digest(GOOD)}", "{digest(OVER)}"]',
    }.items():
        made += f'[api.applications.{name}]\norganisations = ["{MAASVELD}"]\n{lines}\n'
    return made


def settings(authority, proxy: str) -> str:
    return (
        f'[api.oauth]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks_url = "{authority.url}"\n'
        f'[api.proxy]\naddresses = ["{proxy}"]\n'
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority, applications):
    """Give a server behind a proxy, which is where the test calls from."""
    with Server(
        tmp_path_factory.mktemp("doors"), api=settings(authority, "127.0.0.1"), applications=applications
    ) as it:
        yield it


def call(server, headers, *, path="/v1/berichten?kenmerk=x"):
    with server.client(None) as client:
        return client.get(path, headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def access_token(key, *, alg="ES256", header=None, **changes) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 60, "iat": now, "client_id": "zaak", "scope": ALL, **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": alg, "typ": "at+jwt", "kid": key.kid, **(header or {})}
    return jwt.encode({k: v for k, v in head.items() if v is not None}, claims, key, algorithms=[alg])


# ---------------------------------------------------------------------------------------------------------- OAuth 2.0


def test_an_access_token_of_the_authorisation_server_opens(server, authority):
    key = authority.keys[0]
    assert call(server, bearer(access_token(key))).status_code == 200
    assert call(server, bearer(access_token(key, aud=["andere", AUDIENCE], nbf=int(time.time())))).status_code == 200
    assert call(server, bearer(access_token(key, header={"kid": None}))).status_code == 200, "the only key there is"
    assert call(server, bearer(critical(key, is_critical=False))).status_code == 200


def forged(key) -> str:
    head, payload, signature = access_token(key).split(".")
    changed = bytearray(base64.urlsafe_b64decode(signature + "=="))
    changed[5] ^= 1
    return f"{head}.{payload}.{base64.urlsafe_b64encode(changed).decode().rstrip('=')}"


def signed_with_the_public_key(key) -> str:
    """Mistake a public key for a shared secret, which a checker that believes `alg` would do."""
    _, payload, _ = access_token(key).split(".")
    signed = f"{part(json.dumps({'alg': 'HS256', 'kid': key.kid}).encode())}.{payload}"
    return f"{signed}.{part(hmac.digest(key.as_pem(private=False), signed.encode(), 'sha256'))}"


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def unsigned(key) -> str:
    _, payload, _ = access_token(key).split(".")
    return f"{part(json.dumps({'alg': 'none', 'kid': key.kid}).encode())}.{payload}."


def critical(key, *, is_critical=True) -> str:
    """Sign a header that asks for something that must be understood or refused (RFC 7515, 4.1.11)."""
    _, payload, _ = access_token(key).split(".")
    head = {"alg": "ES256", "kid": key.kid, "iets": 1, **({"crit": ["iets"]} if is_critical else {})}
    signed = f"{part(json.dumps(head).encode())}.{payload}"
    r, s = decode_dss_signature(key.private_key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


BAD_TOKENS = {
    "of another issuer": lambda key: access_token(key, iss="https://elders.example"),
    "for another audience": lambda key: access_token(key, aud="iets-anders"),
    "for nobody": lambda key: access_token(key, aud=None),
    "over": lambda key: access_token(key, exp=int(time.time()) - 60),
    "without an end": lambda key: access_token(key, exp=None),
    "not yet valid": lambda key: access_token(key, nbf=int(time.time()) + 600),
    "from the future": lambda key: access_token(key, iat=int(time.time()) + 600),
    "of an unknown client": lambda key: access_token(key, client_id="iemand"),
    "of no client": lambda key: access_token(key, client_id=None),
    "of a client that is a list": lambda key: access_token(key, client_id=["zaak"]),
    "changed": forged,
    "not signed": unsigned,
    "signed with the public key": signed_with_the_public_key,
    "of another key with that kid": lambda key: access_token(ECKey.generate_key("P-256", {"kid": key.kid})),
    "of an algorithm that is not allowed": lambda key: access_token(
        RSAKey.generate_key(2048, {"kid": key.kid}), alg="RS384"
    ),
    "with a header that must be understood": critical,
    "longer than any": lambda key: access_token(key, veel="x" * 9000),
    "no token": lambda key: "a.b.c",
    "empty parts": lambda key: "..",
}


@pytest.mark.parametrize("what", BAD_TOKENS)
def test_no_other_token_opens(server, authority, what):
    answer = call(server, bearer(BAD_TOKENS[what](authority.keys[0])))
    is_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_gives_no_more_than_its_scopes_and_no_more_than_the_configuration(server, authority):
    key = authority.keys[0]
    reads = access_token(key, scope="openid berichten:lezen")
    assert call(server, bearer(reads)).status_code == 200
    told = call(server, bearer(reads), path="/v1/statuswijzigingen")
    is_problem(told, 403)
    assert 'scope="statuswijzigingen:lezen"' in told.headers["WWW-Authenticate"]
    assert call(server, bearer(access_token(key, scope=None))).status_code == 200


def test_tokens_of_another_tenant_see_nothing_of_ours(server, authority):
    with server.client("zandwijk") as other:
        made = other.post("/v1/berichten", json=body(afzender=ZANDWIJK)).json()["id"]
    is_problem(call(server, bearer(access_token(authority.keys[0])), path=f"/v1/berichten/{made}"), 404)


@pytest.fixture
async def jwks(authority):
    before = list(authority.keys), authority.status
    connection = Connection.read(SettingsTable({"base_url": authority.url}))
    seconds = [0.0]
    authority.asked = 0
    yield Jwks(connection, timer=lambda: seconds[0]), seconds
    authority.keys, authority.status = before


async def test_a_new_key_is_fetched_once_and_unknown_ones_not_again_and_again(authority, jwks):
    keys, seconds = jwks
    old = authority.keys[0]
    assert await keys.key("k1") is not None
    new = ECKey.generate_key("P-256", {"kid": "k2"})
    authority.keys = [old, new]
    assert await keys.key("k2") is None, "asked just now"
    seconds[0] = 11
    found = await keys.key("k2")
    assert found is not None
    assert found.thumbprint() == new.thumbprint()
    for number in range(50):
        assert await keys.key(f"geraden-{number}") is None
    assert authority.asked == 2
    seconds[0] = 22
    authority.keys = [new]
    assert await keys.key("verdwenen") is None
    assert await keys.key("k1") is None, "and a key that was taken away is believed no longer"
    assert authority.asked == 3


async def test_keys_are_asked_for_anew_after_ten_minutes(authority, jwks):
    keys, seconds = jwks
    assert await keys.key("k1") is not None
    authority.keys = []
    seconds[0] = 599
    assert await keys.key("k1") is not None
    seconds[0] = 601
    assert await keys.key("k1") is None


async def test_while_the_server_is_away_its_keys_are_believed_for_a_day(authority, jwks):
    from bode.intake.tokens import CannotTell

    keys, seconds = jwks
    authority.status = 500
    with pytest.raises(CannotTell):
        await keys.key("k1")
    authority.status, seconds[0] = 200, 11
    assert await keys.key("k1") is not None
    authority.status, seconds[0] = 500, 80_000
    assert await keys.key("k1") is not None
    seconds[0] = 87_000
    with pytest.raises(CannotTell):
        await keys.key("k1")


async def test_a_secret_or_a_key_to_encrypt_is_not_taken_for_one_that_signs(authority, jwks):
    keys, _ = jwks
    authority.keys = [
        OctKey.generate_key(256, {"kid": "geheim"}),
        ECKey.generate_key("P-256", {"kid": "pakt-in", "use": "enc"}),
    ]
    for kid in ("geheim", "pakt-in", None):
        assert await keys.key(kid) is None


# ---------------------------------------------------------------------------------------------------------------- ZGW


def zgw_token(secret=SECRET, *, alg="HS256", **changes) -> str:
    claims = {"iss": "zaak", "iat": int(time.time()), "client_id": "zaak", "user_id": "jan", **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": alg, "typ": "JWT"}, claims, OctKey.import_key(secret), algorithms=[alg])


def test_a_zgw_token_opens_with_either_secret_while_one_is_changed(server):
    assert call(server, bearer(zgw_token())).status_code == 200
    assert call(server, bearer(zgw_token(OLD_SECRET, iat=int(time.time()) - 3500))).status_code == 200


@pytest.mark.parametrize(
    "token",
    [
        zgw_token(b"x" * 40),
        zgw_token(iat=int(time.time()) - 3700),
        zgw_token(iat=int(time.time()) + 600),
        zgw_token(iat=None),
        zgw_token(iat="gisteren"),
        zgw_token(exp=int(time.time()) - 60),
        zgw_token(client_id="iemand"),
        zgw_token(client_id=None),
        zgw_token(client_id=["zaak"]),
        zgw_token(alg="HS512", secret=SECRET * 2),
        zgw_token() + "A",
    ],
)
def test_no_other_zgw_token_opens(server, token):
    is_problem(call(server, bearer(token)), 401)


# --------------------------------------------------------------------------------------------------------------- mTLS


@pytest.mark.parametrize("written", [rfc9440(GOOD), quote(GOOD.public_bytes(Encoding.PEM))])
def test_a_certificate_that_the_proxy_saw_opens(server, written):
    assert call(server, {"Client-Cert": written}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Client-Cert", rfc9440(STRANGE))],
        [("Client-Cert", rfc9440(OVER))],
        [("Client-Cert", rfc9440(GOOD)[:-20])],
        [("Client-Cert", digest(GOOD))],
        [("Client-Cert", "::")],
        [("Client-Cert", "")],
        [("Client-Cert", "%ff%00")],
        [("Client-Cert", rfc9440(GOOD)), ("Client-Cert", rfc9440(GOOD))],
        [("Client-Certificate", rfc9440(GOOD))],
        [("Client-Cert", rfc9440(GOOD)), ("Authorization", "Bearer geraden")],
    ],
)
def test_no_other_certificate_opens(server, headers):
    is_problem(call(server, headers), 401)


def test_a_certificate_that_somebody_else_tells_of_is_not_believed(tmp_path, authority, applications):
    with Server(tmp_path, api=settings(authority, "192.0.2.7"), applications=applications) as not_behind:
        for more in ({}, {"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}, {"X-Real-Ip": "192.0.2.7"}):
            is_problem(call(not_behind, {"Client-Cert": rfc9440(GOOD), **more}), 401)


# ------------------------------------------------------------------------------------------------------------- scopes


def _routes(web):
    """Give every route of the application: its path, method and handler."""
    for route in web.routes:
        for handler in route.route_handlers:
            for method in handler.http_methods:
                if method != "OPTIONS":
                    yield route.path, method, handler


def test_every_route_of_the_api_names_a_scope_and_has_the_guard(server):
    """A new route that names no scope, or has no guard, fails here: nobody need think of it."""
    found = {}
    for path, method, handler in _routes(server._web):
        if path == "/v1/openapi.json" or not path.startswith("/v1"):
            continue
        assert server._app.doors.guard in handler.resolve_guards(), (path, method)
        assert isinstance(handler.opt.get("scope"), Scope), (path, method)
        found[(method, path)] = handler.opt["scope"]
    assert set(found.values()) == set(Scope)
    assert len(found) >= 8
    for (method, path), scope in found.items():
        url = path.replace("{bericht_id:uuid}", str(uuid4()))
        with server.client(None) as client:
            is_problem(client.request(method, url), 401)
            key = "druk-is-een-ander"
            is_problem(client.request(method, url, headers=bearer(key)), 401)
        with server.client("stil") as client:
            answer = client.request(method, url)
            assert (answer.status_code == 403) == (scope is not Scope.CHANGES), (method, path, answer.status_code)
        with server.client("samen") as client:
            assert client.request(method, url).status_code not in {401, 403, 500}, (method, path)


async def test_a_route_without_a_scope_lets_nobody_through(server):
    from types import SimpleNamespace

    stranger = SimpleNamespace(headers={}, state={}, scope={"method": "GET"})
    with pytest.raises(TypeError):
        await server._app.doors.guard(stranger, SimpleNamespace(opt={}))


def test_anybody_may_ask_which_methods_there_are(server):
    with server.client(None) as anyone:
        answer = anyone.options("/v1/berichten")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "POST" in answer.headers["Allow"]


def test_a_missing_scope_is_logged_by_the_application(server):
    with structlog.testing.capture_logs() as logged, server.client("stil") as client:
        told = is_problem(client.get("/v1/berichten"), 403)
    assert "scope" in told["detail"]
    assert [(line["event"], line["caller"], line["scope"]) for line in logged] == [
        ("api.refused_scope", "stil", "berichten:lezen")
    ]


# -------------------------------------------------------------------------------------------------------------- rates


def test_an_application_that_asks_too_often_is_told_how_long_to_wait(server):
    with server.client("druk") as client, server.client("samen") as other:
        told = [client.get("/v1/berichten") for _ in range(4)]
        assert [answer.status_code for answer in told] == [200, 200, 200, 429]
        is_problem(told[-1], 429)
        assert 1 <= int(told[-1].headers["Retry-After"]) <= 20
        assert other.get("/v1/berichten").status_code == 200, "and nobody else is"


def test_a_rate_fills_again_with_time_and_never_beyond_a_minute():
    seconds = [0.0]
    rates = Rates(lambda: seconds[0])
    assert [rates.wait("a", 2) for _ in range(3)] == [0, 0, 30]
    seconds[0] = 29.9
    assert rates.wait("a", 2) == 1
    seconds[0] = 30.1
    assert rates.wait("a", 2) == 0
    seconds[0] = 10_000
    assert [rates.wait("a", 2) for _ in range(3)] == [0, 0, 30]
    assert rates.wait("b", 60) == 0


# ------------------------------------------------------------------------------------------------------------ tenants


def test_every_attempt_across_tenants_is_refused_and_logged(server):
    with server.client("maasveld") as client:
        mine = client.post("/v1/berichten", json=body()).json()
    withdrawal = {key: value for key, value in body().items() if key not in {"afzender", "aard"}}
    attempts = [
        ("POST", "/v1/berichten", body(), 400),
        ("POST", "/v1/berichten/bulk", body(), 200),
        ("GET", f"/v1/berichten/{mine['id']}", None, 404),
        ("GET", f"/v1/berichten?afzender={MAASVELD}", None, 200),
        ("GET", f"/v1/berichten/{mine['id']}/bewijs", None, 404),
        ("POST", f"/v1/berichten/{mine['id']}/annulering", {"reden": "Plagen"}, 404),
        ("POST", f"/v1/berichten/{mine['id']}/intrekking", withdrawal, 404),
    ]
    for method, path, sent, status in attempts:
        kind = "application/x-ndjson" if path.endswith("bulk") else "application/json"
        content = json.dumps(sent).encode() if sent is not None else b""
        before = server.rows()
        with structlog.testing.capture_logs() as logged, server.client("zandwijk") as other:
            answer = other.request(method, path, content=content, headers={"Content-Type": kind})
        assert answer.status_code == status, (method, path, answer.text)
        tried = [line for line in logged if line["event"] == "api.refused_tenant"]
        assert [line["caller"] for line in tried] == ["zandwijk"], (method, path)
        assert server.rows() == before
        if path.endswith("bulk"):
            assert json.loads(answer.text)["status"] == 400
        if "?" in path:
            assert answer.json() == {"berichten": [], "volgendeCursor": None}
    with server.client("zandwijk") as other:
        assert mine["id"] not in other.get("/v1/statuswijzigingen?aantal=1000").text
