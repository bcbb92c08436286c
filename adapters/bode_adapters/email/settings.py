"""The table of an e-mail adapter in the configuration, validated whole."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from bode_adapters.contract import SettingError

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
MOST_CONNECTIONS = 200
LONGEST_TIMEOUT = 600
"""RFC 5321 section 4.5.3.2.6: no client needs to wait longer than ten minutes for any reply."""
HELO_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]|\[IPv6:[0-9A-Fa-f:.]+\]")


class Tls(StrEnum):
    """How the line to the relay is protected."""

    STARTTLS = "starttls"
    """RFC 3207, required: a relay that does not offer it, or has a wrong certificate, gets no mail."""
    IMPLICIT = "implicit"
    """RFC 8314: TLS from the first byte (port 465)."""
    OPPORTUNISTIC = "opportunistic"
    """TLS where offered, any certificate: keeps out who only listens. For a relay on this machine."""
    OFF = "off"
    """No TLS. For a relay on this machine."""


PORTS = {Tls.STARTTLS: 587, Tls.IMPLICIT: 465, Tls.OPPORTUNISTIC: 25, Tls.OFF: 25}


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Where the relay is, how to talk to it, and how many lines to keep."""

    host: str
    port: int
    tls: Tls = Tls.STARTTLS
    ca_file: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    connections: int = 8
    timeout_seconds: float = 30.0
    helo_name: str | None = None

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Validate a table; raises `SettingError` for the first thing that is wrong.

        `allow_insecure` is not kept: it only permits `tls = "off"` or `"opportunistic"` to a host elsewhere.
        """
        table = dict(settings)
        host = _text(table, "host") or ""
        if not host:
            raise SettingError("host", host, "the name or address of the mail relay")
        tls = _tls(table)
        allow_insecure = table.pop("allow_insecure", False)
        if not isinstance(allow_insecure, bool):
            raise SettingError("allow_insecure", allow_insecure, "true or false")
        if tls in (Tls.OPPORTUNISTIC, Tls.OFF) and not (allow_insecure or is_loopback(host)):
            raise SettingError("tls", tls.value, f"'starttls' or 'implicit': {host} is not this machine")
        read = cls(
            host=host,
            port=int(_number(table, "port", default=PORTS[tls], least=1, most=65535, whole=True)),
            tls=tls,
            ca_file=_text(table, "ca_file"),
            username=_text(table, "username"),
            password=_text(table, "password", secret=True),
            connections=int(_number(table, "connections", default=8, least=1, most=MOST_CONNECTIONS, whole=True)),
            timeout_seconds=_number(table, "timeout_seconds", default=30, least=0.01, most=LONGEST_TIMEOUT),
            helo_name=_text(table, "helo_name"),
        )
        if table:
            unknown = min(table)
            raise SettingError(unknown, "given", "a key that this adapter knows, or nothing")
        if (read.username is None) != (read.password is None):
            missing = "password" if read.password is None else "username"
            raise SettingError(missing, None, "a username and a password, or neither")
        if read.helo_name is not None and HELO_NAME.fullmatch(read.helo_name) is None:
            raise SettingError("helo_name", read.helo_name, "a host name or an address literal (RFC 5321, 4.1.3)")
        return read

    def tls_context(self) -> ssl.SSLContext | None:
        """Make the context for the line, or none where TLS is off; raises `SettingError` for an unusable `ca_file`."""
        if self.tls is Tls.OFF:
            return None
        try:
            context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca_file)
        except OSError as error:
            # ssl.SSLError is an OSError too: a file that holds no certificate ends here as well.
            raise SettingError("ca_file", self.ca_file, "a readable file with PEM certificates") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.tls is Tls.OPPORTUNISTIC:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its name alone; nothing is resolved."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(table: dict[str, object]) -> Tls:
    word = table.pop("tls", Tls.STARTTLS)
    if not isinstance(word, str) or word not in tuple(Tls):
        raise SettingError("tls", word, f"one of {', '.join(repr(kind.value) for kind in Tls)}")
    return Tls(word)


def _text(table: dict[str, object], key: str, *, secret: bool = False) -> str | None:
    value = table.pop(key, None)
    if value is None or (isinstance(value, str) and value.isprintable() and value):
        return value
    raise SettingError(key, "***" if secret else value, "text on one line")


def _number(
    table: dict[str, object], key: str, *, default: float, least: float, most: float, whole: bool = False
) -> float:
    value = table.pop(key, default)
    right = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not right or not isinstance(value, int | float) or not least <= value <= most:
        raise SettingError(key, value, f"a {'whole ' if whole else ''}number from {least} to {most}")
    return value
