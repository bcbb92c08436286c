"""The box adapter for MijnOverheid."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import quote
from uuid import UUID

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
    Pending,
    Reachability,
    RefusalKind,
    Refused,
    Sender,
    Unknown,
)
from bode_adapters.mijnoverheid import answers, limits, wire
from bode_adapters.rest import SettingsTable, by_status, send, written

_OIN: Final = re.compile(r"[0-9]{20}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_CAPABILITIES: Final = Capabilities(
    bulk=limits.MESSAGES,
    repeat_is_recognised=True,
    can_lookup=True,
    addressees=frozenset({IdentifierKind.BSN}),
    max_subject=limits.SUBJECT,
    max_text=limits.TEXT,
    max_documents=limits.DOCUMENTS,
    max_documents_bytes=limits.DOCUMENTS_BYTES,
)


@dataclass(frozen=True, slots=True)
class MijnOverheidSettings:
    """The adapter's table in the configuration, checked."""

    connection: Connection
    api_key: str = field(repr=False)
    leverancier_oin: str
    """The OIN that is registered at the Berichtenbox as supplier (BerichtLeverancierID). One per call, so one per
    adapter: bodies with registrations of their own each get a channel of their own."""

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Check a table whole; raises `SettingError`."""
        table = SettingsTable(settings)
        checked = cls(
            connection=Connection.read(table, reserved={"x-api-key", "x-message-id"}),
            api_key=table.secret("api_key"),
            leverancier_oin=table.text("leverancier_oin", needs="an OIN, 20 digits", pattern=_OIN),
        )
        table.finish()
        return checked


class MijnOverheidBox:
    """Places messages in MijnOverheid Berichtenbox through the REST gateway v1.0.

    `place` makes one call per batch (operation postMessages, X-Message-ID is the batch's id) and answers `Pending`:
    that the gateway took the call is no placement. `lookup` asks once per call (operation getMessageStatus) and answers
    per message. Two ids make repeats harmless, and which of them to keep depends on the answer before:

    - after `Unknown`, and after a crash: the **same** batch id with the same members. The gateway answers 409 with the
      statusID of the first call, so `lookup` finds what the first call did;
    - after a definite answer (`Unavailable`): a **new** batch id, because the gateway would answer a known one with
      the old result for ever. Should the message be there after all, the Berichtenbox knows its BerichtID (our message
      id, always the same) and the result is `BerichtBestaatAl`.

    One `Unknown` is not settled by the same batch id: `not_in_result`, a finished report without the message. The
    gateway would give that report again, so it is for a person; a new batch id places nothing twice.

    A message that breaks a limit is left out of its call. That depends on the message alone, so a repeated batch has
    the same members. Should a batch be repeated in parts after all, the gateway takes the first part if the first call
    never arrived; `lookup` then answers `Absent` for the rest, which was in no call.
    """

    def __init__(
        self, settings: MijnOverheidSettings, *, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(MijnOverheidSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """Ten messages a batch; a repeat is recognised; addressees by BSN."""
        return _CAPABILITIES

    async def open(self) -> None:
        """Make the client; connections are made when they are needed, and kept."""
        headers = {"X-API-Key": self._settings.api_key, "Accept": "application/json"}
        self._client = self._settings.connection.client(headers=headers, transport=self._transport)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:  # noqa: ARG002  the protocol's
        """Say that this gateway cannot say: its contract has no subscription check (ValidateAbonnementen)."""
        now = self._clock()
        return [Reachability(reachable=None, checked_at=now, code="not_offered") for _ in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Hand messages over, one call per batch, the calls side by side; an answer per message, in order."""
        answered: dict[int, Answer] = {}
        batches: dict[UUID, list[int]] = {}
        for place, message in enumerate(messages):
            refusal = limits.over_limit(message)
            if refusal is not None:
                answered[place] = refusal
            else:
                batches.setdefault(message.batch, []).append(place)
        calls = [self._post(batch, [messages[place] for place in places]) for batch, places in batches.items()]
        for places, answer in zip(batches.values(), await asyncio.gather(*calls), strict=True):
            answered.update(dict.fromkeys(places, answer))
        return [answered[place] for place in range(len(messages))]

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Ask what became of messages, once per receipt; an answer per message, in order.

        Without a receipt the gateway cannot be asked: `Unknown`, and the same batch should be placed again, which
        gives the receipt and places nothing twice. When the gateway cannot be asked now: `Pending` as before.
        """
        receipts = list(dict.fromkeys(message.receipt for message in messages if message.receipt is not None))
        statuses = dict(zip(receipts, await asyncio.gather(*map(self._status, receipts)), strict=True))
        return [
            self._about(message, message.receipt, statuses[message.receipt])
            if message.receipt is not None
            else Unknown("no_receipt")
            for message in messages
        ]

    def _about(self, message: BoxMessage, receipt: str, status: wire.Status | Answer) -> Answer:
        if isinstance(status, wire.Status):
            return answers.from_status(status, message, receipt=receipt, now=self._clock())
        return status

    async def _post(self, batch: UUID, messages: Sequence[BoxMessage]) -> Answer:
        """Make one call; its answer holds for every message in it."""
        if len(messages) > limits.MESSAGES:
            text = f"the batch has {len(messages)} messages; at most {limits.MESSAGES} are taken"
            return Refused("limiet:batch", RefusalKind.DEFECT, text)
        body = wire.Berichten(leverancier=self._settings.leverancier_oin, berichten=[*map(_bericht, messages)])
        request = self._opened.build_request(
            "POST",
            "/api/berichtenbox/v1/berichten",
            content=msgspec.json.encode(body),
            headers={"Content-Type": "application/json", "X-Message-ID": str(batch)},
        )
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return response
        if response.is_success:
            status_id = _status_id(response)
            return Pending(receipt=status_id) if status_id is not None else Unknown("unreadable_answer")
        if response.status_code == HTTPStatus.CONFLICT:
            # This batch was sent before, whatever we remember of it; the first call's result is what counts.
            status_id = _status_id(response)
            return Pending(receipt=status_id, code="http_409") if status_id is not None else Unknown("http_409")
        return by_status(response, answers.POST_STATUSES, now=self._clock())

    async def _status(self, receipt: str) -> wire.Status | Answer:
        request = self._opened.build_request("GET", f"/api/berichtenbox/v1/status/{quote(receipt, safe='')}")
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return Pending(receipt=receipt, code=response.code)
        if response.is_success:
            try:
                return msgspec.json.decode(response.content, type=wire.Status)
            except msgspec.MsgspecError:
                return Pending(receipt=receipt, code="unreadable_answer")
        if response.status_code == HTTPStatus.NOT_FOUND and _is_fault(response):
            return Absent("http_404")
        # A question that failed says nothing about the message: it is as pending as before.
        still_pending = Pending(receipt=receipt, code=f"http_{response.status_code}")
        return answers.STATUS_STATUSES.get(response.status_code, still_pending)

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("MijnOverheidBox is used before open() or after close()")
        return self._client


def _bericht(message: BoxMessage) -> wire.Bericht:
    """Write a message in the gateway's words, from the message alone: a repeat is the same to the byte."""
    count = len(message.documents)
    return wire.Bericht(
        bericht_id=str(message.id),
        bericht_type=message.sender.box_types[limits.CHANNEL],
        onderwerp=message.subject,
        berichttekst=limits.text_as_sent(message),
        gebruiker_id=message.addressee.number,
        publicatie_datum=written(message.publish_at) if message.publish_at is not None else None,
        referentie=message.reference or None,
        bijlagen=[
            wire.Bijlage(
                inhoud=document.content,
                omschrijving=document.name,
                volgorde=str(count - place) if count > 1 else None,
            )
            for place, document in enumerate(message.documents)
        ],
    )


def _status_id(response: httpx.Response) -> str | None:
    try:
        status_id = msgspec.json.decode(response.content, type=wire.Taken).status_id
    except msgspec.MsgspecError:
        return None
    return status_id if _UUID.fullmatch(status_id) else None


def _is_fault(response: httpx.Response) -> bool:
    """Say whether the gateway itself answered: a 404 page of something in front of it proves nothing."""
    try:
        msgspec.json.decode(response.content, type=wire.Fault)
    except msgspec.MsgspecError:
        return False
    return True
