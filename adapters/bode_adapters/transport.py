"""How a request of an httpx client gets to the other side: over aiohttp's connections, to addresses that are allowed.

httpx's own connections take five times the CPU for a message placed (docs/performance.md). What an error means is kept
as httpx says it, and told apart here: before the first byte of a request left, or not known.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

Network = IPv4Network | IPv6Network

_Address = IPv4Address | IPv6Address
_NAT64: Final = ip_network("64:ff9b::/96")
_KEPT_SECONDS: Final = 5.0
"""How long a connection without a call is kept: shorter than servers do, or a call would meet one that is closed."""
_PART: Final = 64 * 1024
"""What is written at once. The time-out counts from one part to the next, as a large message on a slow line needs."""


class AddressRefusedError(OSError):
    """An address that the settings do not allow; nothing was connected to. Its text names no address."""


@dataclass(frozen=True, slots=True)
class AllowedAddresses:
    """Which addresses may be connected to: public ones, and those in `networks`.

    `this_machine`: loopback, and nothing else.
    """

    networks: tuple[Network, ...]
    this_machine: bool

    def holds(self, address: _Address) -> bool:
        """Say whether an address may be connected to."""
        address = _meant(address)
        if any(address.version == network.version and address in network for network in self.networks):
            return True
        if address.is_loopback:
            return self.this_machine
        if address.is_multicast or address.is_reserved or (address.version == 6 and address.is_site_local):  # noqa: PLR2004
            # Reserved ones have forms of IPv4 among them (::127.0.0.1, 64:ff9b:1::/48) that is_global calls public.
            return False
        return address.is_global and not self.this_machine

    def check(self, addresses: Collection[str]) -> None:
        """Raise `AddressRefusedError` unless all of them may be connected to."""
        if not all(self.holds(ip_address(address.partition("%")[0])) for address in addresses):
            raise AddressRefusedError("the address is not allowed")


def _meant(address: _Address) -> _Address:
    """Give the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


class CheckedTransport(httpx.AsyncBaseTransport):
    """Makes the calls of an `httpx.AsyncClient`; every address is checked when it is connected to.

    At most `connections` calls run at once, the others wait for as long as it takes. An address that is not allowed
    raises `httpx.ConnectError` from `AddressRefusedError`, before a byte is sent. Connections are kept, and no call
    that changes something is made twice.
    """

    def __init__(
        self, context: ssl.SSLContext, *, connections: int, allowed: AllowedAddresses, resolve_seconds: float = 30
    ) -> None:
        """Take what TLS is checked by, how many connections, where they may go, and how long DNS may take."""
        self._context = context
        self._connections = connections
        self._allowed = allowed
        self._resolve_seconds = resolve_seconds
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call, and give the response as soon as its headers are there. Raises `httpx.TransportError`."""
        seconds = request.extensions.get("timeout", {})
        with _as_httpx_says_it(request):
            async with asyncio.timeout(None) as silence:
                answer = await self._opened().request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                    data=await _body(request, silence, seconds.get("write")),
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=seconds.get("connect"), sock_read=seconds.get("read")
                    ),
                    allow_redirects=False,
                )
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=_Answer(answer, request), request=request
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """Give the session; it belongs to the event loop in which the first call is made."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._context,
                    limit=self._connections,
                    keepalive_timeout=_KEPT_SECONDS,
                    resolver=_CheckedResolver(self._allowed, self._resolve_seconds),
                    use_dns_cache=False,
                    socket_factory=self._socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Make a socket for what `getaddrinfo` gave: a last look at where it goes, the only one at a literal."""
        family, kind, protocol, _, at = address
        self._allowed.check([str(at[0])])
        return socket.socket(family, kind, protocol)


class _CheckedResolver(AbstractResolver):
    """Resolves a name once, and gives only what was checked: a second answer of the DNS is never asked for."""

    def __init__(self, allowed: AllowedAddresses, seconds: float) -> None:
        self._allowed = allowed
        self._seconds = seconds

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        except UnicodeError as error:
            raise OSError(None, "the name cannot be resolved") from error
        addresses = {str(entry[4][0]): entry[0] for entry in found}
        if not addresses:
            raise OSError(None, "the name has no address")
        self._allowed.check(addresses)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=of, proto=0, flags=socket.AI_NUMERICHOST)
            for address, of in addresses.items()
        ]

    async def close(self) -> None:
        pass


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, while it comes in."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx_says_it(self._request):
            async for part in self._answer.content.iter_any():
                yield part

    async def aclose(self) -> None:
        self._answer.close()


async def _body(
    request: httpx.Request, silence: asyncio.Timeout, seconds: float | None
) -> bytes | AsyncIterator[bytes] | None:
    """Give what is sent; a large body in parts, `silence` put off at each that leaves: aiohttp has no such bound."""
    content = await request.aread()
    if len(content) <= _PART:
        return content or None
    return _in_parts(content, silence, seconds)


async def _in_parts(content: bytes, silence: asyncio.Timeout, seconds: float | None) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    for start in range(0, len(content), _PART):
        _put_off(silence, None if seconds is None else loop.time() + seconds)
        yield content[start : start + _PART]
    _put_off(silence, None)  # from here aiohttp's time-out of reading counts


def _put_off(silence: asyncio.Timeout, until: float | None) -> None:
    with suppress(RuntimeError):  # the answer came before the body was taken whole: nobody waits any more
        silence.reschedule(until)


_ERRORS: Final[Mapping[type[Exception], type[httpx.TransportError]]] = {
    aiohttp.ClientConnectorError: httpx.ConnectError,
    aiohttp.ConnectionTimeoutError: httpx.ConnectTimeout,
    aiohttp.SocketTimeoutError: httpx.ReadTimeout,
    TimeoutError: httpx.WriteTimeout,
    aiohttp.ClientResponseError: httpx.RemoteProtocolError,
    aiohttp.ClientError: httpx.ReadError,
    OSError: httpx.ReadError,
}
"""The first that an error is counts. Only those of a connection are from before the first byte of a request; any other
leaves the outcome open."""


@contextmanager
def _as_httpx_says_it(request: httpx.Request) -> Generator[None]:
    try:
        yield
    except aiohttp.InvalidURL:
        # As 2130706433, which nobody but a resolver takes for an address.
        refused = AddressRefusedError("the address is not allowed")
        raise httpx.ConnectError(str(refused), request=request) from refused
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        kind = next(ours for theirs, ours in _ERRORS.items() if isinstance(error, theirs))
        cause = error.__cause__
        text = str(cause) if isinstance(cause, AddressRefusedError) else type(error).__name__
        raise kind(text, request=request) from error
