"""How a REST client reaches one other side: the settings all of them share, TLS, and which addresses may be called.

A connection is made only to the address in the settings: https (or http where that is allowed), resolved here and
checked before it is connected to, so that a name in someone else's DNS never leads into our own network.
"""

import re
import ssl
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self, cast
from urllib.parse import urlsplit

import httpx
from cryptography import x509

from bode_adapters.contract import SettingError
from bode_adapters.rest import HIDDEN, SettingsTable
from bode_adapters.transport import AllowedAddresses, CheckedTransport, Network

_ONE_WORD: Final = re.compile(r"\S+")


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
        proxy = _proxy(self.base_url)
        if proxy is not None:
            # The proxy resolves the name, and is where addresses are allowed or not.
            limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
            return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)
        allowed = AllowedAddresses(self.allowed_networks, this_machine=is_loopback(self.base_url.host))
        return CheckedTransport(
            context, connections=self.concurrency, allowed=allowed, resolve_seconds=self.timeout_seconds
        )


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
    if not AllowedAddresses(networks, this_machine=is_loopback(url.host)).holds(address):
        raise SettingError("base_url", value, "a public address, or one in allowed_networks")
    return url


def _proxy(url: httpx.URL) -> str | None:
    """Give the proxy that the environment names (HTTPS_PROXY, NO_PROXY), never one to reach this machine itself."""
    if is_loopback(url.host) or cast("bool", urllib.request.proxy_bypass(url.host)):
        return None
    return urllib.request.getproxies().get(url.scheme)
