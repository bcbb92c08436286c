"""What happens to a call on its way, against real sockets: above all, whether anything may have left."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from bode_adapters.transport import AddressRefusedError, AllowedAddresses, CheckedTransport

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = bytes(20_000_000)


def made(*, connections: int = 1, this_machine: bool = True, resolve_seconds: float = 30) -> CheckedTransport:
    return CheckedTransport(
        ssl.create_default_context(),
        connections=connections,
        allowed=AllowedAddresses((), this_machine=this_machine),
        resolve_seconds=resolve_seconds,
    )


@asynccontextmanager
async def served(serve: Serve, *, seconds: float = 5.0) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, limit=2**16)
    transport = made(connections=2)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(seconds, pool=None)) as client:
        yield client, url
    server.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await head(reader)
    await asyncio.sleep(60)


async def test_an_answer_comes_through_as_it_is():
    async def serve(reader, writer):
        asked = await head(reader)
        assert asked.startswith(b"POST / HTTP/1.1\r\n")
        assert b"Content-Length: 3\r\n" in asked
        assert asked.count(b"User-Agent") == 1
        assert await reader.readexactly(3) == b"abc"
        writer.write(b"HTTP/1.1 207 Zo\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        await writer.drain()

    async with served(serve) as (client, url):
        answer = await client.post(url, content=b"abc")
    assert (answer.status_code, answer.content) == (207, b"abc")
    assert answer.headers.get_list("X-A") == ["1", "2"]


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"]
)
async def test_a_connection_that_ends_before_the_answer_does_leaves_the_outcome_open(said):
    calls = []

    async def serve(reader, writer):
        calls.append(await head(reader))
        writer.write(said)
        await writer.drain()

    async with served(serve) as (client, url):
        with pytest.raises(httpx.ReadError):
            await client.post(url, content=b"abc")
    assert len(calls) == 1


async def test_what_is_no_http_leaves_the_outcome_open():
    async def serve(reader, writer):
        await head(reader)
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()

    async with served(serve) as (client, url):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(url, content=b"abc")


async def test_silence_after_the_request_leaves_the_outcome_open():
    async with served(silent, seconds=0.3) as (client, url):
        with pytest.raises(httpx.ReadTimeout):
            await client.post(url, content=b"abc")


async def test_a_server_that_stops_reading_a_large_message_is_not_waited_for():
    async with served(silent, seconds=0.5) as (client, url):
        with pytest.raises(httpx.WriteTimeout):
            await client.post(url, content=LARGE)


async def test_a_slow_line_may_take_longer_for_a_large_message_than_the_longest_silence():
    async def serve(reader, writer):
        asked = await head(reader)
        assert f"Content-Length: {len(LARGE)}".encode() in asked
        assert b"Transfer-Encoding" not in asked
        left = len(LARGE)
        while left:
            left -= len(await reader.read(min(left, 2**16)))
            await asyncio.sleep(0.005)
        writer.write(OK)
        await writer.drain()

    loop = asyncio.get_running_loop()
    async with served(serve, seconds=1.0) as (client, url):
        began = loop.time()
        answer = await client.post(url, content=LARGE)
    assert answer.content == b"ok"
    assert loop.time() - began > 1.2


async def test_an_answer_that_comes_before_the_message_was_taken_whole_counts():
    async def serve(reader, writer):
        await head(reader)
        writer.write(b"HTTP/1.1 413 Te groot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.2)

    async with served(serve) as (client, url):
        answer = await client.post(url, content=LARGE)
    assert answer.status_code == 413


async def test_a_kept_connection_that_was_closed_in_between_is_not_written_to():
    connections = []

    async def serve(reader, writer):
        connections.append(1)
        await head(reader)
        writer.write(OK)  # and closes, without saying so
        await writer.drain()

    async with served(serve) as (client, url):
        for _ in range(3):
            assert (await client.post(url)).content == b"ok"
            await asyncio.sleep(0.05)
    assert len(connections) == 3


async def test_no_more_connections_than_allowed_and_they_are_kept():
    connections = []

    async def serve(reader, writer):
        connections.append(1)
        while True:
            await head(reader)
            await asyncio.sleep(0.01)
            writer.write(OK)
            await writer.drain()

    async with served(serve, seconds=0.2) as (client, url):
        answers = await asyncio.gather(*(client.post(url) for _ in range(60)))  # waiting for a turn has no time-out
    assert [answer.content for answer in answers] == [b"ok"] * 60
    assert len(connections) == 2


async def test_nobody_listening_is_known_from_before_the_first_byte():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        async with httpx.AsyncClient(transport=made()) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(url)


async def test_a_name_that_takes_too_long_is_known_from_before_the_first_byte(monkeypatch):
    async def slow(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
    async with httpx.AsyncClient(transport=made(this_machine=False, resolve_seconds=0.1)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("https://traag.example/")


async def test_a_name_without_an_address_is_known_from_before_the_first_byte(monkeypatch):
    async def none(*_, **__):
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", none)
    async with httpx.AsyncClient(transport=made(this_machine=False)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("https://leeg.example/")


async def test_an_address_that_is_refused_says_so_and_names_none():
    async with httpx.AsyncClient(transport=made(this_machine=False)) as client:
        with pytest.raises(httpx.ConnectError) as refused:
            await client.get("http://127.0.0.1:9/")
    assert isinstance(refused.value.__cause__.__cause__, AddressRefusedError)
    assert "127" not in str(refused.value)
