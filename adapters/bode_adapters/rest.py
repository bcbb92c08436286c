"""What the REST clients share: reading settings, making a call, and what a call without an answer means.

Nothing here knows an outside system: each adapter has its own tables for what its other side says. How one is reached
(address, TLS, headers) is in `connection`.
"""

import re
import ssl
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Final, cast

import httpx

from bode_adapters.contract import (
    Answer,
    MailRefused,
    RefusalKind,
    Refused,
    SettingError,
    Trouble,
    Unavailable,
    Unknown,
)
from bode_adapters.transport import AddressRefusedError, Network

HIDDEN: Final = "(not shown)"
"""Stands where a setting's value would stand, had it not been a secret or something that may be one."""

_REQUIRED: Final = object()
_VISIBLE_ASCII: Final = re.compile(r"[!-~]+")
_HEADER_NAME: Final = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_HEADERS_OF_HTTP: Final = frozenset(
    {"accept", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding"}
)

NOTHING_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
"""Errors from before the first byte of a request. Every other one leaves the outcome open, also a failed write: a
server may act on what it already has."""

MOST_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""The most that is read of an answer, unpacked: a page of a hundred texts of the largest size has its place."""

_CLIENT_CERTIFICATE_ALERTS: Final = frozenset({
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_ACCESS_DENIED",
})  # fmt: skip
"""How a server says that it does not accept our certificate, or misses it. In TLS 1.3 that comes after our first bytes
left, and all the same means that it read none of them."""


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

    def file(self, key: str) -> Path | None:
        """Take the path of a file that can be read; `None` when it is not there."""
        needs = "the path of a file that can be read"
        value = self._take(key, None, needs)
        if value is None:
            return None
        if not isinstance(value, str | Path) or not str(value):
            raise SettingError(key, value, needs)
        path = Path(value)
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise SettingError(key, str(path), f"{needs}: {error.strerror}") from None
        return path

    def networks(self, key: str) -> tuple[Network, ...]:
        """Take a list of networks such as `10.20.0.0/16`; empty when it is not there."""
        needs = 'a list of networks, as ["10.20.0.0/16", "fd00::/8"]'
        value = self._take(key, (), needs)
        if not isinstance(value, list | tuple):
            raise SettingError(key, value, needs)
        found: list[Network] = []
        for entry in cast("Collection[object]", value):
            try:
                found.append(ip_network(entry if isinstance(entry, str) else ""))
            except ValueError:
                raise SettingError(key, entry, needs) from None
        return tuple(found)

    def headers(self, key: str, *, reserved: Collection[str] = ()) -> Mapping[str, str]:
        """Take a table of headers, none of them one that HTTP or the adapter (`reserved`) sets itself."""
        checked: dict[str, str] = {}
        for name, value in self.table(key).items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _HEADERS_OF_HTTP.union(reserved):
                needs = "a header name, and not one that this adapter sets itself"
                raise SettingError(f"{key}.{name}", HIDDEN, needs)
            if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
                raise SettingError(f"{key}.{name}", HIDDEN, "a text of visible ASCII characters and blanks")
            checked[name] = value
        return checked

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


async def send(
    client: httpx.AsyncClient, request: httpx.Request, *, most_bytes: int = MOST_ANSWER_BYTES
) -> httpx.Response | Unavailable | Unknown | Refused:
    """Make one call, once: the other side's response, read whole, or what its absence means.

    `Refused` is about our connection (a certificate, an address that the settings do not allow) and nothing was done.
    """
    try:
        response = await client.send(request, stream=True)
        try:
            content = await _whole(response, most_bytes)
        finally:
            await response.aclose()
    except (httpx.RequestError, OSError) as error:
        # In TLS 1.3 the refusal of our certificate comes while reading, and through httpx as OpenSSL's own error.
        return _without_answer(error)
    if content is None:
        return Unknown("answer_too_large")
    # What was unpacked must not be unpacked again.
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_PACKING]
    return httpx.Response(response.status_code, headers=headers, content=content, request=request)


_OF_THE_PACKING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


async def _whole(response: httpx.Response, most_bytes: int) -> bytes | None:
    """Read an answer; `None` where it is larger than anything we asked for."""
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > most_bytes:
            return None
    return bytes(content)


def _without_answer(error: httpx.RequestError | OSError) -> Unavailable | Unknown | Refused:
    for cause in causes(error):
        match cause:
            case AddressRefusedError():
                return Refused(
                    "address_not_allowed",
                    RefusalKind.CONFIGURATION,
                    "base_url leads to an address that is not public and not in allowed_networks",
                )
            case ssl.SSLCertVerificationError():
                return Refused(
                    "server_certificate",
                    RefusalKind.CONFIGURATION,
                    "the certificate at base_url is not one that ca_file, or the system, trusts for this name",
                )
            case ssl.SSLError(reason=reason) if reason in _CLIENT_CERTIFICATE_ALERTS:
                return Refused(
                    "client_certificate",
                    RefusalKind.CONFIGURATION,
                    "the other side does not accept our certificate, or misses it",
                )
            case _:
                pass
    if isinstance(error, NOTHING_SENT):
        return Unavailable("connect_error")
    return Unknown("timeout" if isinstance(error, httpx.TimeoutException) else "connection_lost")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it came from, to the first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


_MEANINGS: Final[Mapping[str, str]] = {
    "connect_error": "nothing listens at its address, or the name leads nowhere",
    "timeout": "it took the question, and did not answer in time",
    "connection_lost": "it ended the connection without an answer",
}


def trouble(answer: Answer) -> Trouble:
    """Say what an answer that is no good one means for the line to the other side."""
    match answer:
        case Refused(code=code, text=text) | MailRefused(code=code, text=text):
            return Trouble(str(code), text)
        case _:
            code = answer.code if isinstance(answer, Unavailable | Unknown) else type(answer).__name__
            return Trouble(code, _MEANINGS.get(code, ""))


def trouble_of_status(response: httpx.Response, what: str) -> Trouble:
    """Say what a status means that is not the one which a question about nothing gets. `what` ought to be there."""
    status = response.status_code
    if status in {401, 403}:
        return Trouble(f"http_{status}", "it does not accept our key, token or certificate")
    if status in {404, 405} or response.is_redirect:
        return Trouble(f"http_{status}", f"there is no {what} at base_url")
    return Trouble(f"http_{status}")


def by_status(response: httpx.Response, table: Mapping[int, Answer], *, now: datetime) -> Answer:
    """Give what a status without a usable body means, by the adapter's own table, `Retry-After` added.

    A 5xx that is not in the table is `Unknown`: 502 and 504 come from something in between, after it passed the
    request on. A redirect is never followed: a message goes to the address in the settings or nowhere. Any other status
    that is not in the table is a word we do not know.
    """
    status = response.status_code
    answer = table.get(status)
    if isinstance(answer, Unavailable):
        return replace(answer, retry_after=retry_after(response, now=now))
    if answer is not None:
        return answer
    if httpx.codes.is_server_error(status):
        return Unknown(f"http_{status}")
    if httpx.codes.is_redirect(status):
        text = "base_url is not the address of the service itself: redirects are not followed"
        return Refused(f"http_{status}", RefusalKind.CONFIGURATION, text)
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
