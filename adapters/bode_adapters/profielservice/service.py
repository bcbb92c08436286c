"""The adapter for the profile service."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hmac import digest
from typing import Final, Self

import httpx
import msgspec

from bode_adapters.connection import Connection
from bode_adapters.contract import (
    Capabilities,
    Clock,
    Identifier,
    IdentifierKind,
    NoProfile,
    Profile,
    ProfileAnswer,
    Sender,
    SettingError,
    Trouble,
)
from bode_adapters.profielservice import answers, wire
from bode_adapters.rest import HIDDEN, SettingsTable, send, trouble

_PATH: Final = "/api/profielservice/v1/partij"
_MOST_CACHED: Final = 20_000
_OIN_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class ProfielserviceSettings:
    """The adapter's table in the configuration, checked."""

    connection: Connection
    """`base_url` is the host: the contract's paths begin with `/api/profielservice/v1`."""
    token: str | None = field(repr=False)
    cache_seconds: float
    """How long a profile that was found may be used again. That there was none is never remembered."""
    names: Mapping[str, str]
    """The name (dienstverlenerNaam) by which a sender is known there, by OIN; without one, its own name."""

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Check a table whole; raises `SettingError`."""
        table = SettingsTable(settings)
        checked = cls(
            connection=Connection.read(table),
            token=table.optional_secret("token"),
            cache_seconds=table.seconds("cache_seconds", default=300, at_most=86_400),
            names=_names(table.table("dienstverleners")),
        )
        table.finish()
        return checked


class Profielservice:
    """Asks the profile service (profiel-service API 1.0.0) what an addressee said: a call for each, side by side.

    The contract's bulk operation silently leaves out whom it does not find, and with 206 perhaps whom it could not look
    up: an addressee would lose a box by an error. A call of its own for each says 404, or that it failed.
    """

    def __init__(
        self, settings: ProfielserviceSettings, *, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._key = secrets.token_bytes(32)
        self._cache: OrderedDict[bytes, Profile] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(ProfielserviceSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """A question can always be put again."""
        return Capabilities(bulk=100, repeat_is_recognised=True)

    async def open(self) -> None:
        """Make the client; connections are made when they are needed, and kept."""
        headers = {"Accept": "application/json, application/problem+json", "Content-Type": "application/json"}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        self._client = self._settings.connection.client(headers=headers, transport=self._transport)

    async def close(self) -> None:
        """Close the connections, and forget what was found."""
        self._cache.clear()
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def probe(self) -> Sequence[Trouble]:
        """Ask about a number of the range published for testing: what is known of it is no trouble."""
        nobody = Sender(oin="0" * 20, name="", email="")
        answer = await self._profile(Identifier(IdentifierKind.BSN, "999990019"), nobody)
        return [] if isinstance(answer, Profile | NoProfile) else [trouble(answer)]

    async def profiles(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[ProfileAnswer]:
        """Tell what holds for messages of this sender, in order; what was asked shortly before is not asked again."""
        return await asyncio.gather(*(self._profile(who, sender) for who in addressees))

    async def _profile(self, who: Identifier, sender: Sender) -> ProfileAnswer:
        key = self._cache_key(who, sender)
        asked_at = self._clock()
        known = self._cached(key, asked_at)
        if known is not None:
            return replace(known, cached=True)
        question = wire.PartijRequest(identificatie_type=who.kind.value, identificatie_nummer=who.number)
        # The number goes in the body: it is in no address and no access log.
        request = self._opened.build_request("POST", _PATH, content=msgspec.json.encode(question))
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return response
        provider = self._settings.names.get(sender.oin, sender.name)
        answer = answers.from_response(response, who=who, provider=provider, asked_at=asked_at)
        if isinstance(answer, Profile):
            self._cache[key] = answer
            while len(self._cache) > _MOST_CACHED:
                self._cache.popitem(last=False)
        return answer

    def _cached(self, key: bytes, now: datetime) -> Profile | None:
        known = self._cache.get(key)
        if known is not None and now - known.asked_at > timedelta(seconds=self._settings.cache_seconds):
            del self._cache[key]
            return None
        return known

    def _cache_key(self, who: Identifier, sender: Sender) -> bytes:
        """Hash whom it is about, under a key that only this process has: no number is kept to look it up by."""
        return digest(self._key, f"{sender.oin}:{who.kind}:{who.number}".encode(), "sha256")

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("Profielservice is used before open() or after close()")
        return self._client


def _names(table: Mapping[str, object]) -> Mapping[str, str]:
    checked: dict[str, str] = {}
    for oin, name in table.items():
        if len(oin) != _OIN_DIGITS or not oin.isdecimal():
            raise SettingError(f"dienstverleners.{oin}", HIDDEN, "an OIN, 20 digits, with the sender's name there")
        if not isinstance(name, str) or not name.strip():
            raise SettingError(f"dienstverleners.{oin}", name, "the sender's name at the profile service")
        checked[oin] = name
    return checked
