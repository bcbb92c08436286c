"""Who calls: an application, by the credential it shows; what it may do, for whom, and how often.

Credentials are an API key, an OAuth 2.0 access token, a token as ZGW has it (all as `Authorization: Bearer`), or a
client certificate that a proxy in front of us checked. Without applications (one machine, loopback) everybody may send.
"""

from __future__ import annotations

import math
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from litestar import HttpMethod, Request
from litestar.connection import ASGIConnection
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler

from bode.intake.accept import Caller
from bode.intake.problems import TURNED_AWAY
from bode.intake.scopes import Scope
from bode.intake.tokens import CannotTell, Client, OAuthTokens, ZgwTokens, header_of

log = structlog.get_logger()

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Application:
    """An application that may call, as configured."""

    name: str
    organisations: frozenset[str]
    scopes: frozenset[Scope] = frozenset(Scope)
    per_minute: int = 6000
    """Requests that may come in a minute, and at once, of one process of ours."""
    keys: tuple[str, ...] = ()
    """SHA-256 of its API keys, in hexadecimal."""
    oauth_client: str | None = None
    zgw_client: str | None = None
    certificates: tuple[str, ...] = ()
    """SHA-256 of its client certificates (DER), in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxies that tell us which client certificate they checked, and in which header (RFC 9440, or nginx's)."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    header: str

    def is_at(self, host: str | None) -> bool:
        """Tell whether an address is one of a proxy's."""
        try:
            address = ip_address(host or "")
        except ValueError:
            return False
        return any(address in network for network in self.networks if network.version == address.version)


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


@dataclass(slots=True)
class Rates:
    """How many requests each application may still make now. Counted per process."""

    timer: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])

    def wait(self, name: str, per_minute: int) -> int:
        """Count a request; gives the seconds to wait where it is one too many, else 0."""
        now = self.timer()
        bucket = self._buckets.setdefault(name, _Bucket(per_minute, now))
        bucket.left = min(per_minute, bucket.left + (now - bucket.at) * per_minute / 60)
        bucket.at = now
        if bucket.left < 1:
            return math.ceil((1 - bucket.left) * 60 / per_minute)
        bucket.left -= 1
        return 0


class Doorkeeper:
    """Lets known applications through, to what they may do, before anything of a request is read."""

    def __init__(
        self,
        applications: Sequence[Application],
        *,
        now: Callable[[], datetime],
        oauth: OAuthTokens | None = None,
        zgw: ZgwTokens | None = None,
        proxy: Proxy | None = None,
        rates: Rates | None = None,
    ) -> None:
        """Take the applications, and what their tokens and certificates are checked with."""
        self._open_to_all = not applications
        self._by_key = {key: one for one in applications for key in one.keys}
        self._by_certificate = {digest: one for one in applications for digest in one.certificates}
        self._by_oauth = {one.oauth_client: one for one in applications if one.oauth_client is not None}
        self._by_zgw = {one.zgw_client: one for one in applications if one.zgw_client is not None}
        self._now = now
        self._oauth = oauth
        self._zgw = zgw
        self._proxy = proxy
        self._rates = rates or Rates()

        async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
            await self._check(connection, handler)

        self._guard = guard

    @property
    def guard(self) -> Guard:
        """Give the guard of the API's routes. It is a plain function: of a method the framework would make copies."""
        return self._guard

    async def _check(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let through who may use this route. A route that names no scope lets nobody through.

        Raises 401, 403, 429, and 503 where the keys of the authorisation server cannot be had.
        """
        if dict[str, Any](connection.scope).get("method") == HttpMethod.OPTIONS:
            return  # which methods there are, and nothing else: the framework answers it
        needed = handler.opt.get("scope")
        if not isinstance(needed, Scope):
            raise TypeError("a route without a scope")
        if self._open_to_all:
            connection.state["caller"] = Caller("lokaal")
            return
        try:
            found = await self._who(connection)
        except CannotTell:
            TURNED_AWAY.labels("credential").inc()
            raise HTTPException(status_code=503, headers={"Retry-After": "10"}) from None
        if found is None:
            TURNED_AWAY.labels("credential").inc()
            raise HTTPException(status_code=401, headers={"WWW-Authenticate": 'Bearer realm="bode"'})
        application, scopes = found
        if seconds := self._rates.wait(application.name, application.per_minute):
            TURNED_AWAY.labels("rate").inc()
            raise HTTPException(status_code=429, headers={"Retry-After": str(seconds)})
        if needed not in scopes:
            TURNED_AWAY.labels("scope").inc()
            log.warning("api.refused_scope", caller=application.name, scope=str(needed))
            told = f'Bearer realm="bode", error="insufficient_scope", scope="{needed}"'
            raise HTTPException(status_code=403, headers={"WWW-Authenticate": told})
        connection.state["caller"] = Caller(application.name, application.organisations)

    async def _who(self, connection: ASGIConnection[Any, Any, Any, Any]) -> tuple[Application, frozenset[Scope]] | None:
        """Give the application, and what it may do with this credential."""
        header = connection.headers.get("Authorization")
        if header is None:
            found = self._certified(connection)
            return (found, found.scopes) if found is not None else None
        scheme, _, shown = header.partition(" ")
        shown = shown.strip()
        if scheme.lower() != "bearer" or not shown.isascii():
            return None
        digest = sha256(shown.encode()).hexdigest()
        matches = [one for known, one in self._by_key.items() if compare_digest(known, digest)]
        if matches:
            return matches[0], matches[0].scopes
        return await self._by_token(shown)

    async def _by_token(self, token: str) -> tuple[Application, frozenset[Scope]] | None:
        header = header_of(token)
        if header is None:
            return None
        client: Client | None = None
        known = self._by_oauth
        if header.get("alg") == "HS256":
            known = self._by_zgw
            client = self._zgw.client(token) if self._zgw is not None else None
        elif self._oauth is not None:
            client = await self._oauth.client(token, header)
        application = known.get(client.name) if client is not None else None
        if client is None or application is None:
            return None
        limited = application.scopes if client.scopes is None else application.scopes & client.scopes
        return application, frozenset(limited)

    def _certified(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Application | None:
        """Give whose certificate a proxy saw. What anybody else says of a certificate is not looked at."""
        proxy, peer = self._proxy, connection.client
        if proxy is None or peer is None or not proxy.is_at(peer.host):
            return None
        told = connection.headers.getall(proxy.header, [])
        certificate = read_certificate(told[0]) if len(told) == 1 else None
        if certificate is None:
            return None
        if not certificate.not_valid_before_utc <= self._now() <= certificate.not_valid_after_utc:
            return None
        return self._by_certificate.get(sha256(certificate.public_bytes(Encoding.DER)).hexdigest())


def read_certificate(value: str) -> x509.Certificate | None:
    """Read a certificate from a header: base64 between colons (RFC 9440), or PEM in percent-encoding (nginx)."""
    try:
        if value.startswith(":") and value.endswith(":"):
            return x509.load_der_x509_certificate(b64decode(value[1:-1], validate=True))
        return x509.load_pem_x509_certificate(unquote_to_bytes(value))
    except (ValueError, Base64Error):
        return None


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Give who calls, as the guard found."""
    caller: Caller = request.state["caller"]
    return caller
