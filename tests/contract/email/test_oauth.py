"""Logging in with an access token (RFC 7628, XOAUTH2): asked for once, replaced when it is not taken, never shown."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import structlog

from bode_adapters.contract import Answer, Placed, RefusalKind, Refused, SettingError, Unavailable
from bode_adapters.email.mock import MockMailServer
from bode_adapters.email.settings import SmtpSettings
from bode_adapters.testing.notifier import notice

from .authority import Authority
from .parts import all_timeouts, one, opened

USER, TOKEN = "noreply@voorbeeldstad.example", "aaa.bbb"


class Endpoint:
    """A token endpoint that gives these answers, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, object]]] = []
        self.asked: list[dict[str, str]] = []
        self.url = ""

    def gives(self, *tokens: str) -> None:
        self.answers = [(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}) for token in tokens]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        self.asked.append(dict(parse_qsl((await reader.readexactly(int(length[1]))).decode())))
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        writer.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
    yield made
    server.close()
    await server.wait_closed()


@pytest.fixture
async def relay(authority: Authority) -> AsyncIterator[MockMailServer]:
    async with MockMailServer(tls=authority.server_context(), login=(USER, TOKEN)) as server:
        server.logins = "LOGIN XOAUTH2"
        yield server


@pytest.fixture
def trust(authority: Authority, endpoint: Endpoint, tmp_path: Path) -> dict[str, object]:
    secret = tmp_path / "secret"
    secret.write_text("zeer geheim\n")
    oauth = {"token_url": endpoint.url, "client_id": "bode", "client_secret_file": str(secret), "scope": "mail"}
    timeouts = all_timeouts(2)
    return {"username": USER, "tls": "starttls", "ca_file": str(authority.file), "timeouts": timeouts, "oauth": oauth}


def methods(relay: MockMailServer) -> list[str]:
    return [line.split()[1] for line in relay.heard if line.startswith("AUTH")]


@pytest.mark.parametrize(("offered", "used"), [("XOAUTH2 PLAIN", "XOAUTH2"), ("XOAUTH2 OAUTHBEARER", "OAUTHBEARER")])
async def test_a_token_is_asked_for_once_for_all_lines(
    relay: MockMailServer, endpoint: Endpoint, trust: dict[str, object], offered: str, used: str
) -> None:
    relay.logins = offered
    endpoint.gives(TOKEN)
    async with opened(relay, **trust) as notifier:
        answers = await notifier.notify(notices=[notice(f"goed{number}@mail.example") for number in range(8)])
    assert all(isinstance(answer, Placed) for answer in answers)
    assert set(methods(relay)) == {used}
    form = {"client_id": "bode", "client_secret": "zeer geheim", "grant_type": "client_credentials", "scope": "mail"}
    assert endpoint.asked == [form]


@pytest.mark.parametrize("offered", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_token_that_was_revoked_is_replaced_at_once(
    relay: MockMailServer, endpoint: Endpoint, trust: dict[str, object], offered: str
) -> None:
    relay.logins = offered
    endpoint.gives("revoked", TOKEN)
    assert isinstance(await one(relay, None, **trust), Placed)
    assert len(methods(relay)) == len(endpoint.asked) == 2


async def answered(relay: MockMailServer, trust: dict[str, object]) -> Answer:
    with structlog.testing.capture_logs() as logs:
        answer = await one(relay, None, **trust)
    assert "geheim" not in repr(logs) + repr(answer)
    return answer


async def test_tokens_that_are_never_taken_are_our_configuration(
    relay: MockMailServer, endpoint: Endpoint, trust: dict[str, object]
) -> None:
    endpoint.gives("wrong")
    assert await answered(relay, trust) == Refused("auth:535", RefusalKind.CONFIGURATION)
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("gives", "expected"),
    [
        ((401, {"error": "invalid_client"}), Refused("auth:token_refused:invalid_client", RefusalKind.CONFIGURATION)),
        ((503, {"error": ""}), Unavailable("auth:token_refused:503")),
        ((400, {"error": "temporarily_unavailable"}), Unavailable("auth:token_refused:temporarily_unavailable")),
        ((200, {"access_token": "a b"}), Unavailable("auth:token_answer_not_understood")),
    ],
)
async def test_what_a_token_endpoint_says_instead_of_a_token(
    relay: MockMailServer,
    endpoint: Endpoint,
    trust: dict[str, object],
    gives: tuple[int, dict[str, object]],
    expected: Answer,
) -> None:
    endpoint.answers = [gives]
    assert await answered(relay, trust) == expected
    assert methods(relay) == []


async def test_a_token_goes_to_no_relay_that_does_not_ask_for_one(
    relay: MockMailServer, endpoint: Endpoint, trust: dict[str, object]
) -> None:
    relay.logins = "PLAIN LOGIN"
    assert await answered(relay, trust) == Refused("auth:not_offered", RefusalKind.CONFIGURATION)
    assert endpoint.asked == []


GOOD = {"token_url": "https://login.example/token", "client_id": "bode", "client_secret": "zeer geheim"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"oauth": GOOD, "password": "x"}, "password"),
        ({"oauth": GOOD, "username": None}, "username"),
        ({"oauth": {**GOOD, "token_url": "http://login.example/token"}}, "oauth.token_url"),
        ({"oauth": {key: GOOD[key] for key in ("token_url", "client_id")}}, "oauth.token_url"),
        ({"oauth": {**GOOD, "client_secret_file": "/nergens"}}, "oauth.client_secret_file"),
        (
            {"oauth": {"token_url": "https://x.example", "client_id": "b", "refresh_token_file": "/nergens"}},
            "oauth.refr",
        ),
        ({"oauth": {**GOOD, "tenant": "x"}}, "oauth.tenant"),
        ({"oauth": {**GOOD, "client_id": None}}, "oauth.client_id"),
        ({"password_file": "/nergens"}, "password_file"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_key(changes: dict[str, object], key: str) -> None:
    table: dict[str, object] = {"host": "relay.example", "username": USER, **changes}
    kept = {name: value for name, value in table.items() if value is not None}
    with pytest.raises(SettingError) as raised:
        SmtpSettings.read(kept)
    assert raised.value.key.startswith(key)
    assert "geheim" not in str(raised.value)
