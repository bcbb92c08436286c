"""Which addresses a REST client may be pointed at, and what it does when one leads elsewhere."""

import gzip
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from bode_adapters.connection import Connection
from bode_adapters.contract import Refused, SettingError, Unavailable, Unknown
from bode_adapters.rest import MOST_ANSWER_BYTES, SettingsTable, send
from bode_adapters.serving import serve


def read(**settings: object) -> Connection:
    table = SettingsTable(settings)
    connection = Connection.read(table, reserved={"x-ontvanger"})
    table.finish()
    return connection


# ------------------------------------------------------------------------------------------------------ what is allowed


@pytest.mark.parametrize(
    ("base_url", "settings"),
    [
        ("https://mijn.example/api/v1", {}),
        ("https://mijn.example:8443", {}),
        ("https://8.8.8.8/api", {}),
        ("https://[2a00:1450:400e:80c::200e]/api", {}),
        ("http://127.0.0.1:8080", {}),
        ("http://localhost:8080/api/v1", {}),
        ("http://[::1]:8080", {}),
        ("http://outway:8080", {"allow_http": True}),
        ("https://10.20.30.40", {"allowed_networks": ["10.20.0.0/16"]}),
        ("https://[fd00::7]", {"allowed_networks": ["10.20.0.0/16", "fd00::/8"]}),
        ("https://169.254.10.1", {"allowed_networks": ["169.254.10.0/24"]}),
    ],
)
def test_a_base_url_that_may_be_called(base_url: str, settings: dict[str, object]) -> None:
    assert str(read(base_url=base_url, **settings).base_url) == base_url


@pytest.mark.parametrize(
    "base_url",
    [
        None,
        "",
        8080,
        "mijn.example",
        "//mijn.example",
        "https://",
        "https:///pad",
        "ftp://mijn.example",
        "file:///etc/passwd",
        "http://mijn.example",
        "http://outway:8080",
        "https://gebruiker@mijn.example",
        "https://gebruiker:GEHEIM@mijn.example",
        "https://mijn.example@elders.example",
        "https://mijn.example\\@elders.example",
        "https://mijn.example/?sleutel=1",
        "https://mijn.example/#deel",
        "https://mijn.example/?",
        " https://mijn.example",
        "https://mijn.example\n",
        "https://[::1",
        "https://10.0.0.1",
        "https://172.16.3.4",
        "https://192.168.1.1",
        "https://100.64.0.1",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0",
        "https://224.0.0.1",
        "https://[::]",
        "https://[fe80::1]",
        "https://[fd00::1]",
        "https://[::ffff:10.0.0.1]",
        "https://[64:ff9b::a00:1]",
        "https://[2002:a00:1::]",
    ],
)
def test_a_base_url_that_may_not_be_called_is_refused_at_start(base_url: object) -> None:
    with pytest.raises(SettingError) as error:
        read(base_url=base_url)
    assert error.value.key == "base_url"
    assert "GEHEIM" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("allow_http", "ja"),
        ("allowed_networks", "10.0.0.0/8"),
        ("allowed_networks", ["10.0.0.1/8"]),
        ("allowed_networks", [10]),
        ("timeout_seconds", 0),
        ("concurrency", 0),
        ("headers", "X-Sleutel: GEHEIM"),
        ("ca_file", "/nergens/ca.pem"),
        ("ca_file", 7),
        ("ca_file", __file__),
        ("client_certificate", __file__),
        ("client_key", __file__),
    ],
)
def test_a_wrong_setting_is_named(key: str, value: object) -> None:
    with pytest.raises(SettingError) as error:
        read(base_url="https://mijn.example", **{key: value})
    other_half = {"client_certificate": "client_key", "client_key": "client_certificate"}
    assert error.value.key == other_half.get(key, key)
    assert "GEHEIM" not in str(error.value)


@pytest.mark.parametrize("name", ["X Naam", "Authorization", "host", "x-ontvanger"])
def test_a_header_that_the_adapter_sets_itself_is_refused(name: str) -> None:
    with pytest.raises(SettingError) as error:
        read(base_url="https://mijn.example", headers={name: "GEHEIM"})
    assert error.value.key == f"headers.{name}"
    assert "GEHEIM" not in str(error.value)


# ------------------------------------------------------------------------------------------------ where a name leads to


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses."""

    def answer(_host: object, port: int, *_rest: object, **_more: object) -> list[Any]:
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in it], socket.SOCK_STREAM, 6, "", (it, port)) for it in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def get(connection: Connection) -> object:
    client = connection.client(headers={})
    try:
        return await send(client, client.build_request("GET", "/"))
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.0.0.1",),
        ("169.254.169.254",),
        ("192.168.1.1",),
        ("0.0.0.0",),
        ("::1",),
        ("fe80::1%eth0",),
        ("::ffff:127.0.0.1",),
        ("8.8.8.8", "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("name", ["mijn.example", "2130706433", "0x7f000001", "localhost."])
async def test_a_name_that_leads_into_our_own_network_is_configuration_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, name: str, addresses: tuple[str, ...]
) -> None:
    resolves_to(monkeypatch, *addresses)
    answer = await get(read(base_url=f"http://{name}", allow_http=True))
    assert isinstance(answer, Refused)
    assert (answer.code, answer.kind) == ("address_not_allowed", "configuration")
    assert not any(address in repr(answer) for address in addresses)


async def test_localhost_that_leads_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, "8.8.8.8")
    answer = await get(read(base_url="http://localhost:8080"))
    assert isinstance(answer, Refused)


async def test_a_name_is_connected_to_at_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answering(200, b"hallo")) as url:
        resolves_to(monkeypatch, "127.0.0.1")
        port = url.rpartition(":")[2]
        allowed = read(base_url=f"http://mijn.example:{port}", allow_http=True, allowed_networks=["127.0.0.0/8"])
        answer = await get(allowed)
    assert isinstance(answer, httpx.Response)
    assert answer.content == b"hallo"


async def test_a_name_without_an_address_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert await get(read(base_url="https://mijn.example")) == Unavailable("connect_error")


async def test_the_second_address_is_tried_when_the_first_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(answering(204)) as url:
        resolves_to(monkeypatch, "::1", "127.0.0.1")
        answer = await get(read(base_url=f"http://localhost:{url.rpartition(':')[2]}"))
    assert isinstance(answer, httpx.Response)


# ------------------------------------------------------------------------------------------------------ what comes back


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, respond: Any) -> None:
        if scope["type"] == "lifespan":
            return
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        sent.append((b"content-length", str(len(body)).encode()))
        await respond({"type": "http.response.start", "status": status, "headers": sent})
        await respond({"type": "http.response.body", "body": body})

    return app


async def test_a_packed_answer_is_unpacked_once() -> None:
    async with serve(answering(200, gzip.compress(b"hallo"), content_encoding="gzip")) as url:
        answer = await get(read(base_url=url))
    assert isinstance(answer, httpx.Response)
    assert answer.content == b"hallo"


@pytest.mark.parametrize("packed", [True, False])
async def test_an_answer_without_end_is_unknown(packed: bool) -> None:
    body = b" " * (MOST_ANSWER_BYTES + 1)
    app = answering(200, gzip.compress(body, 1), content_encoding="gzip") if packed else answering(200, body)
    async with serve(app) as url:
        assert await get(read(base_url=url)) == Unknown("answer_too_large")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with serve(answering(status, location="http://127.0.0.1:1/elders")) as url:
        answer = await get(read(base_url=url))
    assert isinstance(answer, httpx.Response)
    assert answer.status_code == status


async def test_outgoing_headers_go_with_every_call() -> None:
    seen: list[str] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Fsc-Grant-Hash"])
        return httpx.Response(204)

    connection = read(base_url="https://mijn.example", headers={"Fsc-Grant-Hash": "$1$4$abc"})
    client = connection.client(headers={}, transport=httpx.MockTransport(take))
    await send(client, client.build_request("GET", "/"))
    assert seen == ["$1$4$abc"]
    assert "$1$4$abc" not in repr(connection)
