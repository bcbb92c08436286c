"""What the REST clients of the boxes share: reading settings, one kept client, and what a call without an answer means.

Nothing here knows a box: each adapter has its own tables for what its other side says.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import httpx

from bode_adapters.contract import Answer, RefusalKind, Refused, SettingError, Unavailable, Unknown

HIDDEN: Final = "(not shown)"
"""Stands where a setting's value would stand, had it not been a secret or something that may be one."""

_REQUIRED: Final = object()
_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")

NOTHING_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Errors from before the first byte of a request. Every other one leaves the outcome open, also a failed write: a
server may act on what it already has."""


class SettingsTable:
    """One adapter's table of settings while it is read: each key is taken once, and what is left over is a mistake."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        self._left = dict(settings)

    def text(self, key: str, *, needs: str, pattern: re.Pattern[str], default: str | None = None) -> str:
        """Take a text that fits the pattern whole; required where there is no default."""
        value = self._take(key, default if default is not None else _REQUIRED, needs)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise SettingError(key, value, needs)
        return value

    def secret(self, key: str) -> str:
        """Take a required secret: visible ASCII, because it travels in a header. Its value is in no error."""
        needs = "a secret of visible ASCII characters"
        value = self._take(key, _REQUIRED, needs)
        if not isinstance(value, str) or not _VISIBLE_ASCII.fullmatch(value):
            raise SettingError(key, HIDDEN, needs)
        return value

    def optional_secret(self, key: str) -> str | None:
        """Take a secret that may be left out; `None` then."""
        return self.secret(key) if key in self._left else None

    def seconds(self, key: str, *, default: float, at_most: float) -> float:
        """Take a number of seconds above zero."""
        needs = f"a number of seconds above 0, at most {at_most:g}"
        value = self._take(key, default, needs)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= at_most:
            raise SettingError(key, value, needs)
        return float(value)

    def count(self, key: str, *, default: int, at_most: int) -> int:
        """Take a whole number from 1."""
        needs = f"a whole number from 1 to {at_most}"
        value = self._take(key, default, needs)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= at_most:
            raise SettingError(key, value, needs)
        return value

    def flag(self, key: str) -> bool:
        """Take true or false; false when it is not there."""
        value = self._take(key, False, "true or false")
        if not isinstance(value, bool):
            raise SettingError(key, value, "true or false")
        return value

    def table(self, key: str) -> Mapping[str, object]:
        """Take a table; empty when it is not there."""
        value = self._take(key, {}, "a table")
        if not isinstance(value, Mapping):
            raise SettingError(key, HIDDEN, "a table")
        return {str(name): entry for name, entry in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    def base_url(self) -> httpx.URL:
        """Take `base_url`: https, or http to this machine itself when `allow_plain_http` says so.

        Plain http anywhere else would carry a citizen's number in the clear: there is no setting for it.
        """
        needs = "an https address without user, query or fragment"
        plain_http_allowed = self.flag("allow_plain_http")
        value = self._take("base_url", _REQUIRED, needs)
        if not isinstance(value, str):
            raise SettingError("base_url", value, needs)
        try:
            url = httpx.URL(value)
            parts = urlsplit(value)
        except (httpx.InvalidURL, ValueError):
            raise SettingError("base_url", HIDDEN, needs) from None
        if parts.username is not None or parts.password is not None:
            raise SettingError("base_url", HIDDEN, needs)
        if not url.host or parts.query or parts.fragment or url.scheme not in {"https", "http"}:
            raise SettingError("base_url", value, needs)
        if url.scheme == "http" and not (plain_http_allowed and is_loopback(url)):
            raise SettingError(
                "base_url", value, "https; plain http only to 127.0.0.1, ::1 or localhost, with allow_plain_http = true"
            )
        return url

    def finish(self) -> None:
        """Refuse what was not taken. The value is not shown: a misspelt `api_kye` holds a secret all the same."""
        for key in self._left:
            raise SettingError(key, HIDDEN, "not to be there: this adapter has no such setting")

    def _take(self, key: str, default: object, needs: str) -> object:
        if key not in self._left:
            if default is _REQUIRED:
                raise SettingError(key, None, needs)
            return default
        return self._left.pop(key)


def is_loopback(url: httpx.URL) -> bool:
    """Say whether an address is this machine itself."""
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def new_client(
    base_url: httpx.URL,
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    connections: int,
    transport: httpx.AsyncBaseTransport | None,
) -> httpx.AsyncClient:
    """Give a client that keeps its connections. Their number bounds how many calls run at once: the others wait.

    The time-out is the longest silence in connecting, sending or receiving. Waiting for a free connection has none:
    the calls before it have. No redirect is followed: a message goes to the address in the settings or nowhere.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=httpx.Timeout(timeout_seconds, pool=None),
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        follow_redirects=False,
        # A proxy named in the environment (HTTPS_PROXY) is used, except to reach this machine itself.
        trust_env=not is_loopback(base_url),
        transport=transport,
    )


async def send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response | Unavailable | Unknown:
    """Make one call, once: the other side's response, or what its absence means."""
    try:
        return await client.send(request)
    except NOTHING_SENT:
        return Unavailable("connect_error")
    except httpx.TimeoutException:
        return Unknown("timeout")
    except httpx.RequestError:
        return Unknown("connection_lost")


def by_status(response: httpx.Response, table: Mapping[int, Answer], *, now: datetime) -> Answer:
    """Give what a status without a usable body means, by the adapter's own table, `Retry-After` added.

    A 5xx that is not in the table is `Unknown`: 502 and 504 come from something in between, after it passed the
    request on. Any other status that is not in the table is a word we do not know.
    """
    status = response.status_code
    answer = table.get(status)
    if isinstance(answer, Unavailable):
        return replace(answer, retry_after=retry_after(response, now=now))
    if answer is not None:
        return answer
    if httpx.codes.is_server_error(status):
        return Unknown(f"http_{status}")
    return Refused(f"http_{status}", RefusalKind.UNRECOGNISED, f"HTTP status {status} is not in the contract")


def retry_after(response: httpx.Response, *, now: datetime) -> float | None:
    """Give the seconds to wait that `Retry-After` asks for, as seconds or as a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (with_offset(moment) - now).total_seconds())


def with_offset(moment: datetime) -> datetime:
    """Read an HTTP date without an offset as UTC, which is what `GMT` in it means (RFC 9110, 5.6.7)."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def moment_of(value: str | None) -> datetime | None:
    """Read the other side's time (RFC 3339). `None` where there is none, it cannot be read, or it has no offset.

    A time without an offset could be UTC or Dutch time: two hours that decide a term are not guessed.
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def written(moment: datetime) -> str:
    """Write a moment as both contracts show it: UTC, whole seconds, rounded up so that nothing is published early."""
    utc = moment.astimezone(UTC)
    whole = utc.replace(microsecond=0)
    seconds = int(whole.timestamp()) + (1 if utc.microsecond else 0)
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


_DIGITS: Final = re.compile(r"[0-9]{8,}")
_MOST_OF_A_WORD: Final = 60


def raw_word(word: str) -> str:
    """Give a word of the other side to keep as a code: printable, short, and without a number that may be someone's."""
    printable = "".join(character if character.isprintable() else "?" for character in word)
    return _DIGITS.sub("***", printable)[:_MOST_OF_A_WORD]
