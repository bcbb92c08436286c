"""How a REST client reaches one other side: the settings all of them share, TLS, and which addresses may be called.

A connection is made only to the address in the settings: https (or http where that is allowed), resolved here and
checked before it is connected to, so that a name in someone else's DNS never leads into our own network.
"""

import asyncio
import re
import socket
import ssl
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Final, Self, cast
from urllib.parse import urlsplit

import httpcore
import httpx
from cryptography import x509

from bode_adapters.contract import SettingError
from bode_adapters.rest import HIDDEN, AddressRefusedError, Network, SettingsTable

_Address = IPv4Address | IPv6Address
_ONE_WORD: Final = re.compile(r"\S+")
_NAT64: Final = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Connection:
    """The settings by which one other side is reached, checked.

    - `base_url`: https; plain http to this machine itself, elsewhere only with `allow_http = true` (an FSC outway next
      door). Without user, query or fragment. Redirects are not followed.
    - `allowed_networks`: an address that is not public (private, link-local, loopback) is called only if it lies in
      one of these networks. `localhost` and `127.0.0.1` as `base_url` say what they mean, and need no entry.
    - `ca_file`: the authorities to trust, instead of the public ones. `client_certificate` and `client_key`: what we
      show (mTLS); PEM files, the key without a passphrase, read when the client is made: replace them and restart.
    - `headers`: sent with every call, for an outway or gateway in between; may hold secrets.
    - `timeout_seconds`: the longest silence; `concurrency`: calls at once.
    """

    base_url: httpx.URL
    timeout_seconds: float
    concurrency: int
    headers: Mapping[str, str] = field(repr=False)
    allowed_networks: tuple[Network, ...]
    ca_file: Path | None
    client_certificate: Path | None
    client_key: Path | None

    @classmethod
    def read(cls, table: SettingsTable, *, reserved: Collection[str] = ()) -> Self:
        """Take these settings from an adapter's table; `reserved` are the headers it sets itself, in lower case."""
        networks = table.networks("allowed_networks")
        connection = cls(
            base_url=_base_url(table, networks),
            timeout_seconds=table.seconds("timeout_seconds", default=30, at_most=300),
            concurrency=table.count("concurrency", default=10, at_most=100),
            headers=table.headers("headers", reserved=reserved),
            allowed_networks=networks,
            ca_file=table.file("ca_file"),
            client_certificate=table.file("client_certificate"),
            client_key=table.file("client_key"),
        )
        connection.tls()
        return connection

    def client(
        self, *, headers: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None
    ) -> httpx.AsyncClient:
        """Give a client that keeps its connections. Their number bounds how many calls run at once: the others wait.

        Waiting for a free connection has no time-out: the calls before it have one. `transport` stands in for the
        network in a test.
        """
        return httpx.AsyncClient(
            base_url=self.base_url,
            headers={**self.headers, **headers},
            timeout=httpx.Timeout(self.timeout_seconds, pool=None),
            follow_redirects=False,
            trust_env=False,
            transport=transport or self._transport(),
        )

    def tls(self) -> ssl.SSLContext | None:
        """Give what a TLS connection is checked by; `None` for the public authorities and no certificate of our own."""
        if (self.client_certificate is None) != (self.client_key is None):
            missing = "client_key" if self.client_key is None else "client_certificate"
            raise SettingError(missing, None, "client_certificate and client_key go together")
        if self.ca_file is None and self.client_certificate is None:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else httpx.create_ssl_context()
        except ssl.SSLError:
            raise SettingError("ca_file", str(self.ca_file), "a PEM file with the certificates to trust") from None
        if self.client_certificate is not None:
            needs = "a PEM file with our certificate, and client_key its key without a passphrase"
            try:
                # Without the empty passphrase OpenSSL would ask for one on the terminal, and wait.
                context.load_cert_chain(self.client_certificate, self.client_key, password=b"")
                certificate_not_after(self.client_certificate)
            except (ssl.SSLError, ValueError):
                raise SettingError("client_certificate", str(self.client_certificate), needs) from None
        return context

    def certificate_not_after(self) -> datetime | None:
        """Tell when our own certificate runs out, as the file says now; `None` where we show none."""
        return certificate_not_after(self.client_certificate) if self.client_certificate is not None else None

    def _transport(self) -> httpx.AsyncBaseTransport:
        context = self.tls() or httpx.create_ssl_context()
        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        proxy = _proxy(self.base_url)
        if proxy is not None:
            # The proxy resolves the name, and is where addresses are allowed or not.
            return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
        return checked_transport(context, limits, self.allowed_networks, this_machine=is_loopback(self.base_url.host))


def checked_transport(
    context: ssl.SSLContext, limits: httpx.Limits, networks: tuple[Network, ...], *, this_machine: bool = False
) -> httpx.AsyncBaseTransport:
    """Give a transport that connects to public addresses, and to those in `networks`, as checked when it connects.

    `this_machine`: to loopback, and nowhere else. What is refused raises `AddressRefusedError`, before a byte is sent.
    """
    return _CheckedTransport(context, limits, _CheckedNetwork(_Allowed(networks, this_machine=this_machine)))


def certificate_not_after(path: Path) -> datetime:
    """Tell when a certificate (PEM) runs out. Raises `OSError` or `ValueError` where there is none to be read."""
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def is_loopback(host: str) -> bool:
    """Say whether a host, as written, is this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _base_url(table: SettingsTable, networks: tuple[Network, ...]) -> httpx.URL:
    needs = "an https address without user, query or fragment"
    allow_http = table.flag("allow_http")
    value = table.text("base_url", needs=needs, pattern=_ONE_WORD)
    try:
        url = httpx.URL(value)
        parts = urlsplit(value)
    except (httpx.InvalidURL, ValueError):
        raise SettingError("base_url", HIDDEN, needs) from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc or "\\" in value:
        raise SettingError("base_url", HIDDEN, needs)
    if not url.host or "?" in value or "#" in value or url.scheme not in {"https", "http"}:
        raise SettingError("base_url", value, needs)
    if url.scheme == "http" and not (allow_http or is_loopback(url.host)):
        # Plain http carries a citizen's number in the clear: only where somebody says that this line is safe.
        raise SettingError("base_url", value, "https; plain http to another machine needs allow_http = true")
    try:
        address = ip_address(url.host)
    except ValueError:
        return url  # A name: what it leads to is checked whenever it is connected to.
    if not _Allowed(networks, this_machine=is_loopback(url.host)).holds(address):
        raise SettingError("base_url", value, "a public address, or one in allowed_networks")
    return url


@dataclass(frozen=True, slots=True)
class _Allowed:
    """Which addresses may be connected to."""

    networks: tuple[Network, ...]
    this_machine: bool

    def holds(self, address: _Address) -> bool:
        address = _meant(address)
        if any(address.version == network.version and address in network for network in self.networks):
            return True
        if address.is_loopback:
            return self.this_machine
        if address.is_multicast or address.is_reserved or (address.version == 6 and address.is_site_local):  # noqa: PLR2004
            # Reserved ones have forms of IPv4 among them (::127.0.0.1, 64:ff9b:1::/48) that is_global calls public.
            return False
        return address.is_global and not self.this_machine


def _meant(address: _Address) -> _Address:
    """Give the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once, and connects to what was checked: a second answer of the DNS is never asked for."""

    def __init__(self, allowed: _Allowed) -> None:
        self._allowed = allowed
        # httpcore's type is unknown where anyio could be missing; httpx needs it.
        self._network = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in await self._resolve(host, port, timeout):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError("the name has no address")

    async def _resolve(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("the name was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(self._allowed.holds(ip_address(address.partition("%")[0])) for address in addresses):
            raise AddressRefusedError("the address is not allowed")
        return addresses


class _CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport on a network that checks addresses, which it has no parameter for."""

    def __init__(self, context: ssl.SSLContext, limits: httpx.Limits, network: _CheckedNetwork) -> None:
        super().__init__(verify=context)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=network,
        )


def _proxy(url: httpx.URL) -> str | None:
    """Give the proxy that the environment names (HTTPS_PROXY, NO_PROXY), never one to reach this machine itself."""
    if is_loopback(url.host) or cast("bool", urllib.request.proxy_bypass(url.host)):
        return None
    return urllib.request.getproxies().get(url.scheme)
