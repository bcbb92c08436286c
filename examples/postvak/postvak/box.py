"""The adapter for Postvak."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from http import HTTPStatus
from typing import Final, Self

import httpx
import msgspec

from bode_adapters.connection import Connection
from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Capabilities,
    Clock,
    Identifier,
    IdentifierKind,
    Placed,
    Reachability,
    RefusalKind,
    Refused,
    Sender,
    TimeSource,
    Unknown,
)
from bode_adapters.rest import SettingsTable, moment_of, send
from postvak import words

_CAPABILITIES: Final = Capabilities(
    bulk=50,
    # Our id is in the address: the same message again is answered with 200 and what stands there.
    repeat_is_recognised=True,
    can_lookup=True,
    addressees=frozenset({IdentifierKind.BSN}),
    max_subject=80,
    max_text=10_000,
    max_documents=5,
    max_documents_bytes=5_000_000,
)


@dataclass(frozen=True, slots=True)
class PostvakSettings:
    """The adapter's table in the configuration, checked."""

    connection: Connection
    token: str = field(repr=False)

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Check a table whole; raises `SettingError`."""
        table = SettingsTable(settings)
        checked = cls(connection=Connection.read(table), token=table.secret("token"))
        table.finish()
        return checked


class Bericht(msgspec.Struct):
    """What Postvak says of a message that it has."""

    id: str
    geplaatst: str
    """When it can be read: never before the `publicatie` that was asked for."""


class PostvakBox:
    """Places messages in Postvak, a call for each, side by side; the answer is final."""

    def __init__(
        self, settings: PostvakSettings, *, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(PostvakSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """Repeats are recognised by our id, and it can be asked; who is reachable only a placement tells."""
        return _CAPABILITIES

    async def open(self) -> None:
        """Make the client; connections are made when they are needed, and kept."""
        headers = {"Authorization": f"Bearer {self._settings.token}"}
        self._client = self._settings.connection.client(headers=headers, transport=self._transport)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:
        """Say that Postvak cannot say."""
        del sender
        return [Reachability(None, self._clock(), "not_offered") for _ in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Place messages; an answer per message, in order."""
        return await asyncio.gather(*map(self._place, messages))

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Ask by our own id what became of messages. A question that fails is `Unknown`: it says nothing."""
        return await asyncio.gather(*map(self._find, messages))

    async def _place(self, message: BoxMessage) -> Answer:
        if (refused := _over_a_limit(message)) is not None:
            return refused
        request = self._opened.build_request("PUT", f"/berichten/{message.id}", json=_bericht(message))
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return response
        if not response.is_success:
            return words.refusal(response, now=self._clock())
        return _placed(response, already=response.status_code == HTTPStatus.OK)

    async def _find(self, message: BoxMessage) -> Answer:
        response = await send(self._opened, self._opened.build_request("GET", f"/berichten/{message.id}"))
        if not isinstance(response, httpx.Response):
            return words.unanswered(response)
        if response.is_success:
            return _placed(response, already=True)
        answer = words.refusal(response, now=self._clock())
        # Only Postvak's own word says that it is not there; a bare 404 may come from whatever stands at this address.
        absent = isinstance(answer, Refused) and answer.code == "NIET_GEVONDEN"
        return Absent() if absent else words.unanswered(answer)

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("the box was not opened")
        return self._client


def _placed(response: httpx.Response, *, already: bool) -> Answer:
    try:
        found = msgspec.json.decode(response.content, type=Bericht)
    except msgspec.MsgspecError:
        return Unknown("unreadable_answer")
    at = moment_of(found.geplaatst)
    if at is None:
        return Unknown("time_without_offset")
    return Placed(at, TimeSource.OTHER_SIDE, receipt=found.id, already=already)


def _over_a_limit(message: BoxMessage) -> Refused | None:
    """Give the first limit a message breaks: refused here, so that the same message always gets the same answer."""
    can = _CAPABILITIES
    if message.addressee.kind not in can.addressees:
        return Refused("limiet:addressee_kind", RefusalKind.ADDRESSEE, f"no boxes for a {message.addressee.kind}")
    size = sum(len(document.content) for document in message.documents)
    for name, has, most in (
        ("subject", len(message.subject), can.max_subject),
        ("text", len(message.text), can.max_text),
        ("documents", len(message.documents), can.max_documents),
        ("documents_bytes", size, can.max_documents_bytes),
    ):
        if most is not None and has > most:
            return Refused(f"limiet:{name}", RefusalKind.CONTENT, f"{name} is {has}, at most {most} is taken")
    return None


def _bericht(message: BoxMessage) -> dict[str, object]:
    """Write the message from the item alone, so that it is the same each time."""
    bericht: dict[str, object] = {
        "afzender": message.sender.oin,
        "ontvanger": message.addressee.number,
        "onderwerp": message.subject,
        "tekst": message.text,
        "bijlagen": [
            {"naam": one.name, "type": one.media_type, "inhoud": base64.b64encode(one.content).decode()}
            for one in message.documents
        ],
    }
    if message.publish_at is not None:
        bericht["publicatie"] = message.publish_at.astimezone(UTC).isoformat()
    return bericht
