"""The transport over a REST gateway (v1.0): ten messages a call, and results that are asked for."""

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import msgspec

from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Clock,
    Pending,
    Trouble,
    Unknown,
)
from bode_adapters.mijnoverheid import gateway_answers as answers
from bode_adapters.mijnoverheid import gateway_wire as wire
from bode_adapters.mijnoverheid import limits
from bode_adapters.mijnoverheid.settings import GatewaySettings, MijnOverheidSettings
from bode_adapters.rest import by_status, send, trouble, trouble_of_status, written

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MESSAGES: Final = 10
"""In one call."""


class GatewayTransport:
    """Hands calls to a REST gateway and asks it what became of them.

    A call (operation postMessages, X-Message-ID is the batch's id) is answered `Pending`: that the gateway took it is
    no placement. `lookup` asks once per call (operation getMessageStatus). Two ids make repeats harmless, and which of
    them to keep depends on the answer before:

    - after `Unknown`, and after a crash: the **same** batch id with the same members. The gateway answers 409 with the
      statusID of the first call, so `lookup` finds what the first call did;
    - after a definite answer (`Unavailable`): a **new** batch id, because the gateway would answer a known one with
      the old result for ever. Should the message be there after all, the Berichtenbox knows its BerichtID (our message
      id, always the same) and the result is `BerichtBestaatAl`.

    One `Unknown` is not settled by the same batch id: `not_in_result`, a finished report without the message. The
    gateway would give that report again, so it is for a person; a new batch id places nothing twice.

    Should a batch be repeated in parts, the gateway takes the first part if the first call never arrived; `lookup` then
    answers `Absent` for the rest, which was in no call.
    """

    def __init__(
        self,
        settings: MijnOverheidSettings,
        gateway: GatewaySettings,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._gateway = gateway
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the client; connections are made when they are needed, and kept."""
        headers = {"X-API-Key": self._gateway.api_key, "Accept": "application/json"}
        self._client = self._gateway.connection.client(headers=headers, transport=self._transport)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def probe(self) -> Sequence[Trouble]:
        """Ask for the status of a call that was never made: the gateway itself answers 404, with a fault."""
        request = self._opened.build_request("GET", f"/api/berichtenbox/v1/status/{uuid4()}")
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return [trouble(response)]
        if response.is_success or (response.status_code == HTTPStatus.NOT_FOUND and _is_fault(response)):
            return []
        return [trouble_of_status(response, "gateway")]

    async def hand_over(self, batch: UUID, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Make one call; its answer holds for every message in it."""
        return [await self._post(batch, messages)] * len(messages)

    async def lookup(self, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
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
        berichttekst=limits.text_as_sent(message, line_break="\r\n"),
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
