"""TLS to the relay: required, checked, and nothing believed that was said before it (RFC 3207, RFC 8314)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509

from bode_adapters.contract import Answer, Placed, RefusalKind, Refused, Unavailable
from bode_adapters.email.mock import MockMailServer
from bode_adapters.testing.notifier import notice

from .authority import EXPIRED, Authority
from .parts import Dialogue, all_timeouts, one, opened, played


def refusal(answer: Answer) -> tuple[str, RefusalKind]:
    assert isinstance(answer, Refused)
    return answer.code, answer.kind


CERTIFICATE = ("tls:certificate", RefusalKind.CONFIGURATION)
HANDSHAKE = ("tls:handshake", RefusalKind.CONFIGURATION)
BOTH = pytest.mark.parametrize("tls", ["starttls", "tls"])


def relay_with(context: ssl.SSLContext, tls: str) -> MockMailServer:
    return MockMailServer(tls=context, implicit_tls=tls == "tls")


@BOTH
async def test_a_good_certificate_of_a_private_authority_is_trusted(authority: Authority, tls: str) -> None:
    async with relay_with(authority.server_context(), tls) as server:
        async with opened(server, tls=tls, ca_file=str(authority.file), connections=2) as notifier:
            answers = await notifier.notify(notices=[notice("jan@mail.example") for _ in range(10)])
        assert all(isinstance(answer, Placed) for answer in answers)
        assert all(mail.secured for mail in server.accepted)
        assert server.improper == 0


@BOTH
async def test_a_certificate_with_another_name_is_refused(authority: Authority, tls: str) -> None:
    async with relay_with(authority.server_context(x509.DNSName("elsewhere.example")), tls) as server:
        assert refusal(await one(server, tls=tls, ca_file=str(authority.file))) == CERTIFICATE
        assert not any(line.startswith("MAIL") for line in server.heard)


@BOTH
async def test_a_certificate_of_an_unknown_authority_is_refused(authority: Authority, tls: str) -> None:
    async with relay_with(authority.server_context(), tls) as server:
        assert refusal(await one(server, tls=tls)) == CERTIFICATE
        assert not any(line.startswith("MAIL") for line in server.heard)


@BOTH
async def test_a_certificate_that_has_expired_is_refused(authority: Authority, tls: str) -> None:
    async with relay_with(authority.server_context(valid=EXPIRED), tls) as server:
        assert refusal(await one(server, tls=tls, ca_file=str(authority.file))) == CERTIFICATE


@asynccontextmanager
async def shaking_hands(context: ssl.SSLContext) -> AsyncGenerator[int]:
    """Give the port of a relay that does the handshake with OpenSSL alone: asyncio's closes without saying why."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)
        listener.close()

    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(asyncio.to_thread(serve))
    yield listener.getsockname()[1]
    await serving


async def test_old_versions_of_tls_are_refused(authority: Authority) -> None:
    context = authority.server_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with shaking_hands(context) as port:
        assert refusal(await one(port, tls="tls", ca_file=str(authority.file))) == HANDSHAKE


@BOTH
async def test_a_relay_that_wants_a_client_certificate_gets_ours(authority: Authority, tls: str) -> None:
    ours = authority.issue(x509.DNSName("bode.example"), file="client.pem")
    async with relay_with(authority.server_context(clients=True), tls) as server:
        trust = {"tls": tls, "ca_file": str(authority.file)}
        assert isinstance(await one(server, client_certificate_file=str(ours), **trust), Placed)
        assert isinstance(await one(server, **trust), Unavailable)
        assert len(server.accepted) == 1


async def test_a_client_certificate_that_the_relay_misses_or_does_not_trust_is_our_configuration(
    authority: Authority, tmp_path: Path
) -> None:
    """In TLS 1.3 the relay says so after the handshake."""
    (tmp_path / "other").mkdir()
    others = Authority(tmp_path / "other").issue(x509.DNSName("bode.example"))
    for ours in ({}, {"client_certificate_file": str(others)}):
        async with shaking_hands(authority.server_context(clients=True)) as port:
            assert refusal(await one(port, tls="tls", ca_file=str(authority.file), **ours)) == HANDSHAKE


async def test_a_relay_that_does_not_offer_starttls_gets_no_mail(server: MockMailServer) -> None:
    assert refusal(await one(server, tls="starttls")) == ("tls:not_offered", RefusalKind.CONFIGURATION)
    assert [line.split()[0] for line in server.heard] == ["EHLO"]


async def test_somebody_in_between_who_strips_starttls_gets_no_mail(authority: Authority) -> None:
    """The relay offers it; who sits in between leaves it out of the answer, and would read along."""
    async with MockMailServer(tls=authority.server_context()) as relay:

        async def in_between(client: Dialogue) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)

            async def pass_on(read: asyncio.StreamReader, write: asyncio.StreamWriter) -> None:
                while data := await read.read(65536):
                    write.write(data.replace(b"250 STARTTLS", b"250 XXXXXXXX"))

            there = asyncio.create_task(pass_on(client.reader, writer))
            await pass_on(reader, client.writer)
            there.cancel()
            writer.close()

        async with played(in_between) as port:
            task = asyncio.create_task(one(port, tls="starttls", ca_file=str(authority.file)))
            assert refusal(await task) == ("tls:not_offered", RefusalKind.CONFIGURATION)
            relay.close_sessions()
        assert not any(line.startswith(("MAIL", "AUTH")) for line in relay.heard)


@pytest.mark.parametrize(
    "injected",
    [b"250 you are known\r\n", b"250-half a reply\r\n", b"2", b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"],
)
async def test_what_is_said_in_the_clear_behind_starttls_is_refused(authority: Authority, injected: bytes) -> None:
    """Response injection: without this check it would count as said under TLS (RFC 3207 section 6)."""
    async with MockMailServer(tls=authority.server_context()) as server:
        server.injected = injected
        answer = await one(server, tls="starttls", ca_file=str(authority.file))
        code, kind = refusal(answer)
        # In one packet with the reply it is seen; in a packet of its own it breaks the handshake.
        assert code in {"tls:injected", "tls:handshake"}
        assert kind is RefusalKind.CONFIGURATION
        assert not server.accepted


async def test_what_is_said_in_one_packet_with_the_reply_to_starttls_is_named() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("STARTTLS")
        await relay.hear("STARTTLS")
        await relay.say("220 ready", "250-relay.test", "250 AUTH PLAIN")
        assert await relay.reader.read() == b""

    async with played(relay) as port:
        assert refusal(await one(port, tls="starttls")) == ("tls:injected", RefusalKind.CONFIGURATION)


async def test_what_was_offered_before_tls_is_forgotten(authority: Authority) -> None:
    """RFC 3207 section 4.2: it can have been said by anybody."""
    async with MockMailServer(tls=authority.server_context()) as server:
        hello = server.extensions

        async def later() -> None:
            while "STARTTLS" not in server.heard:  # noqa: ASYNC110 - the mock has no event for it
                await asyncio.sleep(0)
            server.extensions = ()

        changing = asyncio.create_task(later())
        answer = await one(server, tls="starttls", ca_file=str(authority.file))
        await changing
        assert "DSN" in hello
        assert isinstance(answer, Placed)
        assert server.accepted[0].parameters.strip() == ""


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("454 4.7.0 TLS not available now", Unavailable("tls:454")),
        ("501 5.5.4 no", Refused("tls:501", RefusalKind.CONFIGURATION)),
        ("", Unavailable("starttls:lost")),
        (None, Unavailable("timeout:starttls")),
        ("what?", Unavailable("starttls:malformed_reply")),
    ],
)
async def test_starttls_refused_for_now_or_for_good(authority: Authority, reply: str | None, answer: Answer) -> None:
    async with MockMailServer(tls=authority.server_context()) as server:
        server.replies["starttls"] = reply
        assert await one(server, tls="starttls", timeouts=all_timeouts(0.2)) == answer


async def test_plain_text_where_tls_is_expected_is_our_configuration(server: MockMailServer) -> None:
    assert refusal(await one(server, tls="tls")) == HANDSHAKE


async def test_a_relay_that_hangs_in_the_handshake_is_unavailable() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("STARTTLS")
        await relay.hear("STARTTLS")
        await relay.say("220 ready")
        await relay.reader.readexactly(100)
        await asyncio.sleep(0.4)

    async with played(relay) as port:
        assert await one(port, tls="starttls", timeouts=all_timeouts(0.2)) == Unavailable("timeout:starttls")


async def test_a_relay_that_breaks_off_in_the_handshake_is_unavailable() -> None:
    async def relay(relay: Dialogue) -> None:
        await relay.greet("STARTTLS")
        await relay.hear("STARTTLS")
        await relay.say("220 ready")
        await relay.reader.readexactly(100)

    async with played(relay) as port:
        answer = await one(port, tls="starttls")
    assert isinstance(answer, Unavailable)
