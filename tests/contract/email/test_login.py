"""Logging in to the relay (RFC 4954): PLAIN or LOGIN, and only over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bode_adapters.contract import Answer, MailRefused, Placed, RefusalKind, Refused, Unavailable
from bode_adapters.email.answers import LocalRefusalError
from bode_adapters.email.connection import Connection
from bode_adapters.email.mock import MockMailServer
from bode_adapters.email.settings import Relay, Tls

from .authority import Authority
from .parts import all_timeouts, clock, one

NAME, PASSWORD = "bode@voorbeeldstad.example", "geheim é"


@pytest.fixture
async def relay(authority: Authority) -> AsyncIterator[MockMailServer]:
    async with MockMailServer(tls=authority.server_context(), login=(NAME, PASSWORD)) as server:
        yield server


@pytest.fixture
def trust(authority: Authority) -> dict[str, object]:
    return {"tls": "starttls", "ca_file": str(authority.file), "timeouts": all_timeouts(0.5)}


async def log_in(relay: MockMailServer, trust: dict[str, object], password: str = PASSWORD) -> Answer:
    return await one(relay, username=NAME, password=password, **trust)


@pytest.mark.parametrize("methods", ["PLAIN LOGIN", "PLAIN", "LOGIN", "CRAM-MD5 login", "XOAUTH2 PLAIN"])
async def test_a_method_that_both_know_is_used(relay: MockMailServer, trust: dict[str, object], methods: str) -> None:
    relay.logins = methods
    assert isinstance(await log_in(relay, trust), Placed)
    assert await log_in(relay, trust, "fout") == Refused("auth:535", RefusalKind.CONFIGURATION)
    used = next(line.split()[1] for line in relay.heard if line.startswith("AUTH"))
    assert used == ("PLAIN" if "PLAIN" in methods else "LOGIN")


@pytest.mark.parametrize("methods", ["", "CRAM-MD5 XOAUTH2"])
async def test_no_method_that_both_know_is_our_configuration(
    relay: MockMailServer, trust: dict[str, object], methods: str
) -> None:
    relay.logins = methods
    assert await log_in(relay, trust) == Refused("auth:not_offered", RefusalKind.CONFIGURATION)


@pytest.mark.parametrize("word", ["auth", "mail_from"])
async def test_a_relay_that_wants_a_login_we_have_not_says_so(
    relay: MockMailServer, trust: dict[str, object], word: str
) -> None:
    if word == "auth":
        relay.replies["auth"] = "454 4.7.0 later"
        answer = await log_in(relay, trust)
        assert isinstance(answer, MailRefused)
        assert (answer.phase, answer.code) == ("auth", 454)
    else:
        answer = await one(relay, **trust)
        assert isinstance(answer, MailRefused)
        assert (answer.phase, answer.code) == ("mail_from", 530)


@pytest.mark.parametrize("reply", ["", None, "what?"])
async def test_no_word_about_a_login_is_unavailable(
    relay: MockMailServer, trust: dict[str, object], reply: str | None
) -> None:
    relay.replies["auth"] = reply
    expected = {"": "auth:lost", None: "timeout:auth", "what?": "auth:malformed_reply"}[reply]
    assert await log_in(relay, trust) == Unavailable(expected)


async def test_a_password_never_goes_over_an_open_line(authority: Authority) -> None:
    """Not to a relay that offers AUTH in the clear, and not when somebody strips STARTTLS."""
    async with MockMailServer(login=(NAME, PASSWORD)) as server:
        server.login_in_the_clear = True
        trust = {"tls": "starttls", "ca_file": str(authority.file)}
        assert await log_in(server, trust) == Refused("tls:not_offered", RefusalKind.CONFIGURATION)
        assert not any("AUTH" in line for line in server.heard)


async def test_a_line_that_is_open_all_the_same_refuses_to_log_in() -> None:
    """The settings do not allow it; the line does not rely on that."""
    async with MockMailServer(login=(NAME, PASSWORD)) as server:
        server.login_in_the_clear = True
        relay = Relay("127.0.0.1", server.port, tls=Tls.NONE, username=NAME, password=PASSWORD)
        connection = Connection(relay, tls=None, helo="bode.example", now=clock)
        with pytest.raises(LocalRefusalError, match="auth:not_offered"):
            await connection.open()
        connection.abort()
        assert not any("AUTH" in line for line in server.heard)


async def test_a_login_is_not_told_of_in_answers_or_logs(
    relay: MockMailServer, trust: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    answer = await log_in(relay, trust, "fout")
    for secret in (NAME, "fout"):
        assert secret not in repr(answer)
        assert secret not in caplog.text
