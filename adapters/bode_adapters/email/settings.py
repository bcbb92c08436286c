"""The table of an e-mail adapter in the configuration, validated whole. docs/adapters/email.md explains each key."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Self, cast

from bode_adapters.connection import is_loopback
from bode_adapters.contract import SettingError
from bode_adapters.oauth import OAuthClient
from bode_adapters.secret_file import SecretFileError, read_secret

MOST_CONNECTIONS = 200
LONGEST_TIMEOUT = 600
"""RFC 5321 section 4.5.3.2.6: no client needs to wait longer than ten minutes for any reply."""
HELO_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]|\[IPv6:[0-9A-Fa-f:.]+\]")
DOMAIN = re.compile(r"\*|[a-z0-9-]+(\.[a-z0-9-]+)+")
ANY_DOMAIN = "*"


class Tls(StrEnum):
    """How the line to the relay is protected."""

    STARTTLS = "starttls"
    """RFC 3207, required: a relay that does not offer it, or has a wrong certificate, gets no mail."""
    TLS = "tls"
    """RFC 8314: TLS from the first byte (port 465)."""
    NONE = "none"
    """No TLS. For a relay on this machine."""


PORTS = {Tls.STARTTLS: 587, Tls.TLS: 465, Tls.NONE: 25}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How many seconds a relay gets in each phase. RFC 5321 section 4.5.3.2 allows minutes; a lease does not."""

    connect: float = 15
    """Finding the host, the connection, the handshake of TLS, and the banner: each."""
    command: float = 30
    """A reply to a command."""
    data: float = 30
    """Taking 64 KB of a mail."""
    final: float = 45
    """The reply after the final dot. Too short makes mails whose outcome is unknown, and those go out twice."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a relay is, how to talk to it, and how many lines to keep."""

    host: str
    port: int
    tls: Tls = Tls.STARTTLS
    ca_file: str | None = None
    client_certificate_file: str | None = None
    client_key_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    oauth: OAuthClient | None = None
    """Where access tokens come from, for a relay that takes no passwords."""
    connections: int = 8
    mails_per_connection: int = 1000
    idle_seconds: float = 30.0
    priority: int = 10
    weight: int = 1
    helo_name: str | None = None
    timeouts: Timeouts = Timeouts()

    def tls_context(self) -> ssl.SSLContext | None:
        """Make the context for the line, or none where TLS is off; raises `SettingError` for an unusable file."""
        if self.tls is Tls.NONE:
            return None
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca_file)
        except OSError as error:
            # ssl.SSLError is an OSError too: a file that holds no certificate ends here as well.
            raise SettingError("ca_file", self.ca_file, "a readable file with PEM certificates") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.client_certificate_file is not None:
            try:
                # An empty password, so that a locked key is an error and not a question on the terminal.
                context.load_cert_chain(self.client_certificate_file, self.client_key_file, password="")
            except OSError as error:
                needs = "a readable PEM file with a certificate, and its key without a password here or in its own file"
                raise SettingError("client_certificate_file", self.client_certificate_file, needs) from error
        return context


@dataclass(frozen=True, slots=True)
class Destination:
    """Domains that are one mail provider, and how much mail it gets from us."""

    domains: tuple[str, ...]
    """In lower case; `*` alone stands for each domain that is not named, by itself."""
    concurrency: int | None = None
    """Mails on their way at a time."""
    per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """All of the table."""

    relays: tuple[Relay, ...]
    destinations: tuple[Destination, ...] = ()

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Validate a table; raises `SettingError` for the first thing that is wrong.

        What stands beside `relays` holds for each relay that does not say otherwise.
        """
        table = dict(settings)
        destinations = _destinations(table.pop("destinations", []))
        listed = table.pop("relays", None)
        if listed is None:
            return cls((_relay(table, ""),), destinations)
        for key in ("host", "priority", "weight"):
            if key in table:
                raise SettingError(key, table[key], "a place in each of the relays, now that there is a list of them")
        tables = _tables("relays", listed)
        if not tables:
            raise SettingError("relays", listed, "at least one relay")
        relays = tuple(_relay(table | one, f"relays[{at}].") for at, one in enumerate(tables))
        names = [(relay.host, relay.port) for relay in relays]
        if len(set(names)) < len(names):
            raise SettingError("relays", [f"{host}:{port}" for host, port in names], "each relay once")
        return cls(relays, destinations)


def _relay(table: dict[str, object], where: str) -> Relay:
    try:
        return _of_relay(dict(table))
    except SettingError as error:
        raise SettingError(f"{where}{error.key}", error.value, error.needs) from error.__cause__


def _of_relay(table: dict[str, object]) -> Relay:
    """Read one relay. `allow_insecure` is not kept: it only permits `tls = "none"` to a host elsewhere."""
    host = _text(table, "host") or ""
    if not host:
        raise SettingError("host", host, "the name or address of the mail relay")
    tls = _tls(table)
    allow_insecure = table.pop("allow_insecure", False)
    if not isinstance(allow_insecure, bool):
        raise SettingError("allow_insecure", allow_insecure, "true or false")
    if tls is Tls.NONE and not (allow_insecure or is_loopback(host)):
        raise SettingError("tls", tls.value, f"'starttls' or 'tls': {host} is not this machine")
    read = Relay(
        host=host,
        port=int(_number(table, "port", default=PORTS[tls], least=1, most=65535, whole=True)),
        tls=tls,
        ca_file=_text(table, "ca_file"),
        client_certificate_file=_text(table, "client_certificate_file"),
        client_key_file=_text(table, "client_key_file"),
        username=_text(table, "username"),
        password=_secret(table, "password"),
        oauth=_oauth(table.pop("oauth")) if "oauth" in table else None,
        connections=int(_number(table, "connections", default=8, least=1, most=MOST_CONNECTIONS, whole=True)),
        mails_per_connection=int(
            _number(table, "mails_per_connection", default=1000, least=1, most=1_000_000, whole=True)
        ),
        idle_seconds=_number(table, "idle_seconds", default=30, least=0.01, most=LONGEST_TIMEOUT),
        priority=int(_number(table, "priority", default=10, least=0, most=65535, whole=True)),
        weight=int(_number(table, "weight", default=1, least=1, most=1000, whole=True)),
        helo_name=_text(table, "helo_name"),
        timeouts=_timeouts(table.pop("timeouts", {})),
    )
    if table:
        raise SettingError(min(table), "given", "a key that this adapter knows, or nothing")
    _together(read)
    return read


def _together(relay: Relay) -> None:
    """Refuse what is right by itself and wrong beside the rest."""
    proves = relay.password is not None or relay.oauth is not None
    if (relay.username is None) == proves or (relay.password is not None and relay.oauth is not None):
        missing = "username" if relay.username is None else "password"
        raise SettingError(missing, None, "a username with a password or with oauth, or none of them")
    if relay.username is not None and relay.tls is Tls.NONE:
        raise SettingError("tls", relay.tls.value, "'starttls' or 'tls': a password never goes over an open line")
    if relay.tls is Tls.NONE and (relay.ca_file or relay.client_certificate_file):
        raise SettingError("tls", relay.tls.value, "'starttls' or 'tls', where there are certificates")
    if relay.client_key_file is not None and relay.client_certificate_file is None:
        raise SettingError("client_certificate_file", None, "the certificate of the client key")
    if relay.helo_name is not None and HELO_NAME.fullmatch(relay.helo_name) is None:
        raise SettingError("helo_name", relay.helo_name, "a host name or an address literal (RFC 5321, 4.1.3)")


def _secret(table: dict[str, object], key: str, where: str = "") -> str | None:
    """Take a secret, or what stands in the file that `KEY_file` names: one line, which is read now."""
    given, file = _text(table, key, secret=True), _text(table, f"{key}_file")
    if file is None:
        return given
    if given is not None:
        raise SettingError(f"{where}{key}_file", file, f"left out where there is a {key}")
    try:
        return read_secret(Path(file))
    except SecretFileError as error:
        needs = f"a readable file with the secret on one line: it {error}"
        raise SettingError(f"{where}{key}_file", file, needs) from None


def _oauth(value: object) -> OAuthClient:
    table = _table("oauth", value)
    where = "oauth."
    url, client_id, ca_file = _text(table, "token_url"), _text(table, "client_id"), _text(table, "ca_file")
    secrets = {key: _secret(table, key, where) for key in ("client_secret", "refresh_token")}
    scope = _text(table, "scope")
    if table:
        raise SettingError(f"{where}{min(table)}", "given", "a key of OAuth: see docs/adapters/email.md")
    if client_id is None:
        raise SettingError(f"{where}client_id", None, "the id of the application")
    try:
        return OAuthClient(url or "", client_id, scope=scope, ca_file=Path(ca_file) if ca_file else None, **secrets)
    except ValueError as error:
        raise SettingError(f"{where}token_url", url, str(error)) from None


def _timeouts(value: object) -> Timeouts:
    table = _table("timeouts", value)
    read = Timeouts()
    for phase in (one.name for one in fields(Timeouts)):
        if phase in table:
            seconds = _number(table, phase, default=0, least=0.01, most=LONGEST_TIMEOUT, where="timeouts.")
            read = replace(read, **{phase: seconds})
    if table:
        raise SettingError(f"timeouts.{min(table)}", "given", "connect, command, data or final")
    return read


def _destinations(value: object) -> tuple[Destination, ...]:
    read: list[Destination] = []
    seen: set[str] = set()
    for at, table in enumerate(_tables("destinations", value)):
        where = f"destinations[{at}]."
        listed = table.pop("domains", None)
        names = cast("list[object]", listed) if isinstance(listed, list | tuple) else []
        domains = tuple(name.lower() for name in names if isinstance(name, str))
        needs = 'a list of domains, each once in the whole table, or ["*"] for each of the others'
        wrong = any(DOMAIN.fullmatch(name) is None for name in domains) or not seen.isdisjoint(domains)
        if not domains or len(set(domains)) < len(names) or wrong or (ANY_DOMAIN in domains and len(domains) > 1):
            raise SettingError(f"{where}domains", names, needs)
        seen.update(domains)
        limits = {
            key: int(_number(table, key, default=1, least=1, most=1_000_000, whole=True, where=where))
            for key in ("concurrency", "per_minute")
            if key in table
        }
        if not limits:
            raise SettingError(f"{where}concurrency", None, "concurrency, per_minute, or both")
        if table:
            raise SettingError(f"{where}{min(table)}", "given", "domains, concurrency or per_minute")
        read.append(Destination(domains, **limits))
    return tuple(read)


def _tls(table: dict[str, object]) -> Tls:
    word = table.pop("tls", Tls.STARTTLS)
    if not isinstance(word, str) or word not in tuple(Tls):
        raise SettingError("tls", word, f"one of {', '.join(repr(kind.value) for kind in Tls)}")
    return Tls(word)


# A table can hold a password: what is no table is named by its kind alone.


def _tables(key: str, value: object) -> list[dict[str, object]]:
    if not isinstance(value, list | tuple):
        raise SettingError(key, type(value).__name__, "a list of tables")
    return [_table(f"{key}[{at}]", one) for at, one in enumerate(cast("list[object]", value))]


def _table(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise SettingError(key, type(value).__name__, "a table")
    return {str(name): one for name, one in cast("Mapping[object, object]", value).items()}


def _text(table: dict[str, object], key: str, *, secret: bool = False) -> str | None:
    value = table.pop(key, None)
    if value is None or (isinstance(value, str) and value.isprintable() and value):
        return value
    raise SettingError(key, "***" if secret else value, "text on one line")


def _number(
    table: dict[str, object],
    key: str,
    *,
    default: float,
    least: float,
    most: float,
    whole: bool = False,
    where: str = "",
) -> float:
    value = table.pop(key, default)
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not right or not isinstance(value, int | float) or not least <= value <= most:
        raise SettingError(f"{where}{key}", value, f"a {'whole ' if whole else ''}number from {least} to {most}")
    return value
