"""Fetching what somebody else's address names, as a document by its URL: from the hosts of the configuration alone.

A URL that comes in is never trusted: it must be https, name one of the hosts, carry no user, and lead to an address
that may be called when it is connected to (see `connection`). Redirects are refused, and no more is read than asked.
"""

import asyncio
import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx

from bode_adapters.connection import checked_transport
from bode_adapters.rest import AddressRefusedError, Network, causes

_LONGEST_URL: Final = 2000


class FetchError(Exception):
    """A URL that was not fetched. `code` says why, in a word; neither shows the URL, which may name a person."""

    def __init__(self, code: str, *, temporary: bool = False) -> None:
        """Take why; `temporary` when the same can go well later."""
        super().__init__(code)
        self.code = code
        self.temporary = temporary


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave: its bytes, and the media type that the other side calls them."""

    content: bytes
    media_type: str


class Fetcher:
    """Fetches from a few hosts. `open` it in the loop that uses it, and `close` it."""

    def __init__(
        self,
        hosts: Collection[str],
        *,
        networks: tuple[Network, ...] = (),
        headers: Mapping[str, Mapping[str, str]] | None = None,
        context: ssl.SSLContext | None = None,
        timeout_seconds: float = 30.0,
        concurrency: int = 4,
    ) -> None:
        """Take the hosts, as `zaken.example` or `zaken.example:8443`.

        `networks` may be called though they are not public; `headers` go with calls to a host, by its name (a token);
        `context` is what the other side's certificate is checked by, and what we show (`Connection.tls`);
        `timeout_seconds` bounds a whole fetch.
        """
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = {host.lower(): dict(found) for host, found in (headers or {}).items()}
        self._timeout = timeout_seconds
        self._client = httpx.AsyncClient(
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            transport=checked_transport(
                context or httpx.create_ssl_context(),
                httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
                networks,
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def check(self, url: str) -> httpx.URL:
        """Give the URL when it may be fetched, without looking where it leads. Raises `FetchError`."""
        if len(url) > _LONGEST_URL or not url.isascii() or any(sign in url for sign in "\\ \t\r\n#"):
            raise FetchError("url_malformed")
        try:
            parsed = httpx.URL(url)
            port = parsed.port
        except (httpx.InvalidURL, ValueError):
            raise FetchError("url_malformed") from None
        if parsed.scheme != "https":
            raise FetchError("url_not_https")
        if "@" in re.split(r"[/?]", url.partition("://")[2])[0]:
            raise FetchError("url_with_user")
        if (parsed.host if port is None else f"{parsed.host}:{port}") not in self._hosts:
            raise FetchError("host_not_configured")
        return parsed

    async def fetch(self, url: str, *, most_bytes: int) -> Fetched:
        """Fetch a URL, whole. Raises `FetchError`."""
        parsed = self.check(url)
        host = parsed.netloc.decode("ascii")
        try:
            async with (
                asyncio.timeout(self._timeout),
                # Packed answers are not asked for: what is counted is what comes.
                self._client.stream(
                    "GET", parsed, headers={"Accept-Encoding": "identity", **self._headers.get(host, {})}
                ) as answer,
            ):
                return await _whole(answer, most_bytes)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchError("timeout", temporary=True) from None
        except (httpx.HTTPError, OSError) as error:
            for cause in causes(error):
                if isinstance(cause, AddressRefusedError):
                    raise FetchError("address_not_allowed") from None
                if isinstance(cause, ssl.SSLError):
                    raise FetchError("certificate") from None
            raise FetchError("connection", temporary=True) from None


async def _whole(answer: httpx.Response, most_bytes: int) -> Fetched:
    if httpx.codes.is_redirect(answer.status_code):
        raise FetchError("redirected")
    if answer.status_code != HTTPStatus.OK:
        temporary = (
            httpx.codes.is_server_error(answer.status_code) or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
        )
        raise FetchError(f"status_{answer.status_code}", temporary=temporary)
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("packed")
    told = answer.headers.get("Content-Length", "")
    if told.isdecimal() and int(told[:20]) > most_bytes:
        raise FetchError("too_large")
    content = bytearray()
    async for part in answer.aiter_raw():
        content += part
        if len(content) > most_bytes:
            raise FetchError("too_large")
    return Fetched(bytes(content), answer.headers.get("Content-Type", "").partition(";")[0].strip().lower())
