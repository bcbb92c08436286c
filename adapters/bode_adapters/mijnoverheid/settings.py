"""The adapter's table in the configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from bode_adapters.connection import Connection
from bode_adapters.contract import SettingError
from bode_adapters.mijnoverheid import limits
from bode_adapters.rest import SettingsTable

_OIN: Final = re.compile(r"[0-9]{20}")
_NAME: Final = re.compile(r"[!-~]{1,256}")


class TransportKind(StrEnum):
    """How messages travel to the Berichtenbox."""

    EBMS = "ebms"
    """Digikoppeling ebMS2, through an ebMS adapter of one's own (ebms-core, its REST API)."""
    REST = "rest"
    """A REST gateway of a supplier."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The REST gateway."""

    connection: Connection
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class EbmsSettings:
    """The ebMS adapter, and the agreement (CPA) with Logius that it holds."""

    connection: Connection
    cpa_id: str
    from_party_id: str
    to_party_id: str
    service: str
    action: str
    result_action: str
    """The action that results come with: other documents at the same adapter are left alone."""
    batch_bytes: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MijnOverheidSettings:
    """The whole table, checked."""

    transport: GatewaySettings | EbmsSettings
    subscriptions: Connection | None
    """Where the subscription check is (ValidateAbonnementen), if it is there."""
    leverancier_oin: str
    """The OIN that is registered at the Berichtenbox as supplier (BerichtLeverancierID). One per call, so one per
    adapter: bodies with registrations of their own each get a channel of their own."""

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Check a table whole; raises `SettingError`."""
        table = SettingsTable(settings)
        kinds = re.compile("|".join(TransportKind))
        kind = TransportKind(table.text("transport", needs='"ebms" or "rest"', pattern=kinds, default="rest"))
        checked = cls(
            transport=_gateway(table) if kind is TransportKind.REST else _ebms(table),
            subscriptions=_subscriptions(table.table("subscriptions")),
            leverancier_oin=table.text("leverancier_oin", needs="an OIN, 20 digits", pattern=_OIN),
        )
        table.finish()
        return checked


def _gateway(table: SettingsTable) -> GatewaySettings:
    connection = Connection.read(table, reserved={"x-api-key", "x-message-id"})
    return GatewaySettings(connection=connection, api_key=table.secret("api_key"))


def _ebms(table: SettingsTable) -> EbmsSettings:
    def name(key: str, default: str | None = None) -> str:
        return table.text(key, needs="a name without spaces", pattern=_NAME, default=default)

    username = table.optional_secret("username")
    return EbmsSettings(
        connection=Connection.read(table),
        cpa_id=name("cpa_id"),
        from_party_id=name("from_party_id"),
        to_party_id=name("to_party_id"),
        service=name("service", "urn:osb:services:MIJNOVERHEID.ebMS.BB.2.0"),
        action=name("action", "GLOBE-R-BV-Request"),
        result_action=name("result_action", "GLOBE-R-BV-Response"),
        batch_bytes=table.count("batch_megabytes", default=100, at_most=100) * limits.BATCH_BYTES // 100,
        username=username,
        password=table.secret("password") if username is not None else None,
    )


def _subscriptions(settings: Mapping[str, object]) -> Connection | None:
    if not settings:
        return None
    table = SettingsTable(settings)
    try:
        connection = Connection.read(table, reserved={"soapaction"})
        table.finish()
    except SettingError as error:
        raise SettingError(f"subscriptions.{error.key}", error.value, error.needs) from None
    return connection
