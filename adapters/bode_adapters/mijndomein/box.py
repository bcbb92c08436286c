"""The box adapter for a portal on the FBS message store."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Final, Self, TypeVar
from urllib.parse import quote

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
    Journal,
    Placed,
    Reachability,
    Reading,
    RefusalKind,
    Refused,
    Sender,
    Trouble,
    Unavailable,
    Unknown,
)
from bode_adapters.mijndomein import answers, limits, wire
from bode_adapters.rest import SettingsTable, moment_of, send, trouble, trouble_of_status, written

_Found = TypeVar("_Found")
_ShelfName = tuple[str, IdentifierKind, str]
_Shelf = Sequence[wire.Opgeslagen] | Unknown
"""What an addressee has from a sender; `Unknown` where that could not be seen whole."""

_PAGE_SIZE: Final = 100
"""The contract's largest."""
_EARLIER: Final = timedelta(minutes=15)
"""How long before `since` a message found may have been received: clocks differ, and `since` may be when a call was
given up rather than when it was made."""


@dataclass(frozen=True, slots=True)
class MijnDomeinSettings:
    """The adapter's table in the configuration, checked."""

    connection: Connection
    """With the version in `base_url`: the contract's is `/api/v1`."""
    token: str | None = field(repr=False)

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Check a table whole; raises `SettingError`."""
        table = SettingsTable(settings)
        checked = cls(
            connection=Connection.read(table, reserved={"x-ontvanger"}),
            token=table.optional_secret("token"),
        )
        table.finish()
        return checked


class MijnDomeinBox:
    """Places messages in a portal on the Federatief Berichtenstelsel's message store (FBS Berichtenmagazijn 0.2.0).

    `place` makes one call per message (operation leverBerichtAan), side by side, and its answer is final: a stored
    message is accessible from the later of its receipt and its moment of publication.

    The contract has no id of ours, so a repeat is **not** recognised. After `Unknown` only `lookup` tells whether the
    message is there: it searches the addressee's messages from this sender (operation getBerichten) for the last line
    that `place` writes, `Kenmerk: <reference>`. Two things a search cannot see: a message that a call before is
    still storing (so wait longer than the time-out before believing `Absent`), and one that the addressee deleted.
    """

    ADDRESSEES: ClassVar[frozenset[IdentifierKind]] = frozenset(IdentifierKind)
    """The kinds of number this portal has accounts for; nobody else's message is sent to it."""

    def __init__(
        self, settings: MijnDomeinSettings, *, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._journal: Journal | None = None
        self._side_by_side = asyncio.Semaphore(settings.connection.concurrency)

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(MijnDomeinSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """A repeat is not recognised, a search is possible, and the store says what was opened."""
        return Capabilities(
            bulk=100,
            repeat_is_recognised=False,
            can_lookup=True,
            read_times=True,
            addressees=self.ADDRESSEES,
            max_subject=limits.SUBJECT,
            max_text=limits.TEXT,
        )

    async def open(self) -> None:
        """Make the client; connections are made when they are needed, and kept."""
        headers = {"Accept": "application/json, application/problem+json"}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token}"
        self._client = self._settings.connection.client(headers=headers, transport=self._transport)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def probe(self) -> Sequence[Trouble]:
        """Ask for a list of messages of nobody: only a message store has one. It is not looked at."""
        nobody = {"X-Ontvanger": "BSN:999990019"}  # of the range published for testing
        query: dict[str, str | int] = {"afzender": "0" * 20, "page": 0, "pageSize": 1}
        request = self._opened.build_request("GET", "/berichten", params=query, headers=nobody)
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return [trouble(response)]
        if not response.is_success:
            return [trouble_of_status(response, "message store")]
        try:
            msgspec.json.decode(response.content, type=wire.Lijst)
        except msgspec.MsgspecError:
            return [Trouble("unreadable_answer", "there is no message store at base_url")]
        return []

    async def check(self, *, addressees: Sequence[Identifier], sender: Sender) -> Sequence[Reachability]:  # noqa: ARG002  the protocol's
        """Say that the store cannot say: its contract has no operation for it."""
        now = self._clock()
        return [Reachability(reachable=None, checked_at=now, code="not_offered") for _ in addressees]

    async def place(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Place messages, a call for each, side by side; an answer per message, in order."""
        return await asyncio.gather(*map(self._noted, messages))

    def keep_journal(self, journal: Journal) -> None:
        """Tell this journal of each message before its call and after it: in doubt are no more than go at once."""
        self._journal = journal

    async def _noted(self, message: BoxMessage) -> Answer:
        async with self._side_by_side:
            if self._journal is None:
                return await self._place(message)
            try:
                self._journal.leaves(message.id)
            except OSError:
                return Unavailable("journal")
            answer = await self._place(message)
            self._journal.ended(message.id, answer)
            return answer

    async def lookup(self, *, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Find messages: by the store's id where there is a receipt, else by the reference; in order.

        A question that fails says nothing about the message: `Unknown`, never `Absent` or `Unavailable`.
        """
        sought = [message for message in messages if message.receipt is None and self._refusal(message) is None]
        searches = self._shelves(sought)
        return await asyncio.gather(*(self._find(message, searches) for message in messages))

    async def readings(self, *, messages: Sequence[BoxMessage]) -> Sequence[Reading]:
        """Tell what was opened, in order: one list for all messages of an addressee, a single one by its id.

        The list would show everything else that the addressee has, so it is asked for only where it saves calls.
        """
        shared = Counter(_shelf_name(message) for message in messages if message.receipt is not None)
        searches = self._shelves([message for message in messages if shared[_shelf_name(message)] > 1])
        return await asyncio.gather(*(self._reading(message, searches) for message in messages))

    def _shelves(self, messages: Sequence[BoxMessage]) -> Mapping[_ShelfName, asyncio.Future[_Shelf]]:
        """Begin a search for each addressee and sender, once."""
        searches: dict[_ShelfName, asyncio.Future[_Shelf]] = {}
        for message in messages:
            name = _shelf_name(message)
            if name not in searches:
                searches[name] = asyncio.ensure_future(self._list(message))
        return searches

    async def _reading(self, message: BoxMessage, searches: Mapping[_ShelfName, asyncio.Future[_Shelf]]) -> Reading:
        if message.receipt is None:
            return Reading(opened=None, code="no_receipt")
        found: wire.Opgeslagen | Unknown
        if (search := searches.get(_shelf_name(message))) is not None:
            shelf = await search
            found = shelf if isinstance(shelf, Unknown) else _by_id(shelf, message.receipt)
        else:
            found = await self._get(f"/berichten/{quote(message.receipt, safe='')}", message, {}, wire.Opgeslagen)
        if isinstance(found, Unknown):
            # Also when it is gone: the addressee deleted it, which is not the same as having read it.
            return Reading(opened=None, code=found.code)
        return answers.read(found, now=self._clock())

    def _refusal(self, message: BoxMessage) -> Refused | None:
        """Give why a message is never sent here, if it is not; the same message always gets the same answer."""
        if message.addressee.kind not in self.ADDRESSEES:
            text = f"this box has no accounts for a {message.addressee.kind}"
            return Refused("limiet:addressee_kind", RefusalKind.ADDRESSEE, text)
        return limits.over_limit(message)

    async def _place(self, message: BoxMessage) -> Answer:
        refusal = self._refusal(message)
        if refusal is not None:
            return refusal
        request = self._opened.build_request(
            "POST",
            "/aanleveringen",
            content=msgspec.json.encode(_aanlevering(message)),
            headers={"Content-Type": "application/json"},
        )
        response = await send(self._opened, request)
        if not isinstance(response, httpx.Response):
            return response
        if not response.is_success:
            return answers.from_refusal(response, now=self._clock())
        try:
            found = msgspec.json.decode(response.content, type=wire.Opgeslagen)
        except msgspec.MsgspecError:
            return Unknown("unreadable_answer")
        return answers.stored(found, message, now=self._clock(), already=False)

    async def _find(self, message: BoxMessage, searches: Mapping[_ShelfName, asyncio.Future[_Shelf]]) -> Answer:
        refusal = self._refusal(message)
        if refusal is not None:
            # Never sent, for this very reason.
            return refusal
        if message.receipt is not None:
            return await self._by_receipt(message, message.receipt)
        return await self._by_reference(message, await searches[_shelf_name(message)])

    async def _by_receipt(self, message: BoxMessage, receipt: str) -> Placed | Unknown:
        # A 404 is no `Absent` here: the store gave this id when it stored the message, and it gives 404 as well for one
        # that the addressee deleted since.
        found = await self._get(f"/berichten/{quote(receipt, safe='')}", message, {}, wire.Opgeslagen)
        if isinstance(found, Unknown):
            return found
        return answers.stored(found, message, now=self._clock(), already=True)

    async def _by_reference(self, message: BoxMessage, shelf: _Shelf) -> Answer:
        if isinstance(shelf, Unknown):
            return shelf
        matches: list[Placed] = []
        for found in shelf:
            if not _may_be(found, message):
                continue
            inhoud = found.inhoud
            if inhoud is None:
                whole = await self._get(f"/berichten/{quote(found.bericht_id, safe='')}", message, {}, wire.Opgeslagen)
                if isinstance(whole, Unknown):
                    return whole
                inhoud = whole.inhoud or ""
            if limits.last_line(inhoud) == limits.reference_line(message):
                matches.append(answers.stored(found, message, now=self._clock(), already=True))
        return min(matches, key=lambda placed: placed.at, default=Absent())

    async def _list(self, message: BoxMessage) -> _Shelf:
        """Read everything the addressee has from this sender."""
        shelf: dict[str, wire.Opgeslagen] = {}
        totals: set[int] = set()
        page, pages = 0, 1
        while page < pages:
            query: dict[str, str | int] = {"afzender": message.sender.oin, "page": page, "pageSize": _PAGE_SIZE}
            part = await self._get("/berichten", message, query, wire.Lijst)
            if isinstance(part, Unknown):
                return part
            shelf |= {found.bericht_id: found for found in part.berichten}
            totals.add(part.total_elements)
            page, pages = page + 1, part.total_pages if part.berichten else 0
        # Messages that came or went between two pages move the others across the boundary: one may have been missed.
        return list(shelf.values()) if totals == {len(shelf)} else Unknown("list_changed")

    async def _get(
        self, path: str, message: BoxMessage, query: Mapping[str, str | int], kind: type[_Found]
    ) -> _Found | Unknown:
        """Ask about the addressee's messages. The number goes in a header: it is in no address and no access log."""
        ontvanger = f"{message.addressee.kind}:{message.addressee.number}"
        request = self._opened.build_request("GET", path, params=query, headers={"X-Ontvanger": ontvanger})
        response = await send(self._opened, request)
        match response:
            case Unavailable(code=code) | Refused(code=code):
                return Unknown(code)
            case Unknown():
                return response
            case httpx.Response(is_success=True):
                try:
                    return msgspec.json.decode(response.content, type=kind)
                except msgspec.MsgspecError:
                    return Unknown("unreadable_answer")
            case httpx.Response():
                return Unknown(f"http_{response.status_code}")

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("MijnDomeinBox is used before open() or after close()")
        return self._client


def _aanlevering(message: BoxMessage) -> wire.Aanlevering:
    """Write a message in the store's words, from the message alone."""
    return wire.Aanlevering(
        afzender=message.sender.oin,
        ontvanger=wire.Ontvanger(type=message.addressee.kind.value, waarde=message.addressee.number),
        onderwerp=message.subject,
        inhoud=limits.text_as_sent(message),
        publicatietijdstip=written(message.publish_at) if message.publish_at is not None else None,
        bijlagen=[
            wire.Bijlage(naam=document.name, mime_type=document.media_type, inhoud=document.content)
            for document in message.documents
        ],
    )


def _shelf_name(message: BoxMessage) -> _ShelfName:
    """Name the list a message would be in: one search serves all messages of a sender to an addressee."""
    return message.sender.oin, message.addressee.kind, message.addressee.number


def _by_id(shelf: Sequence[wire.Opgeslagen], receipt: str) -> wire.Opgeslagen | Unknown:
    return next((found for found in shelf if found.bericht_id == receipt), Unknown("not_in_list"))


def _may_be(found: wire.Opgeslagen, message: BoxMessage) -> bool:
    """Say whether a listed message can be this one, by sender and time.

    The subject excludes nothing, a store may have tidied it; nor does a time that cannot be read. Better to look at one
    more than to place a message twice.
    """
    if found.afzender not in {None, message.sender.oin}:
        return False
    received = moment_of(found.ontvangen)
    return message.since is None or received is None or received >= message.since - _EARLIER
