"""A print service behind a REST API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Final, Self
from uuid import uuid4

import httpx
import msgspec
import structlog

from bode_adapters.connection import Connection
from bode_adapters.contract import (
    Absent,
    Answer,
    Capabilities,
    Clock,
    LetterReport,
    LetterStatus,
    Placed,
    PrintLetter,
    RefusalKind,
    Refused,
    ReturnReason,
    Trouble,
    Unavailable,
    Unknown,
)
from bode_adapters.print_rest import answers, wire
from bode_adapters.rest import SettingsTable, send, trouble, trouble_of_status

_CAPABILITIES: Final = Capabilities(bulk=500, repeat_is_recognised=True, can_lookup=True)
_MOST_UPDATES: Final = 500
_SPECIFICATION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PrintRestSettings:
    """Where the print service is, how to log in, and which of its products letters are."""

    connection: Connection
    token: str = field(repr=False)
    specification: str

    @classmethod
    def read(cls, settings: Mapping[str, object]) -> Self:
        """Read the table; raises `SettingError`."""
        table = SettingsTable(settings)
        found = cls(
            connection=Connection.read(table, reserved={"authorization", "x-request-id"}),
            token=table.secret("token"),
            specification=table.text(
                "specification",
                needs="the print service's name of the product, as 'c5-venster'",
                pattern=_SPECIFICATION,
            ),
        )
        table.finish()
        return found


class PrintRest:
    """Hands letters over one by one, side by side, and reads status updates."""

    def __init__(
        self, settings: PrintRestSettings, *, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._told: set[str] = set()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, clock: Clock) -> Self:
        """Build one from its table; raises `SettingError`."""
        return cls(PrintRestSettings.read(settings), clock=clock)

    @property
    def capabilities(self) -> Capabilities:
        """A letter's id is in its address: the same again is recognised."""
        return _CAPABILITIES

    async def open(self) -> None:
        """Make the client; connections are made when they are needed, and kept."""
        self._client = self._settings.connection.client(
            headers={"Accept": wire.MEDIA_TYPE, "Authorization": f"Bearer {self._settings.token}"},
            transport=self._transport,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def probe(self) -> Sequence[Trouble]:
        """Ask for a letter that is not there."""
        response = await self._send("GET", f"/letters/{uuid4()}")
        if not isinstance(response, httpx.Response):
            return [trouble(response)]
        if response.status_code == HTTPStatus.NOT_FOUND and answers.is_about_a_letter(response):
            return []
        return [trouble_of_status(response, "print service")]

    async def submit(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Hand letters over, each in a call of its own."""
        once = {letter.id: letter for letter in letters}
        given = await asyncio.gather(*map(self._submit, once.values()))
        found = dict(zip(once, given, strict=True))
        return [found[letter.id] for letter in letters]

    async def lookup(self, *, letters: Sequence[PrintLetter]) -> Sequence[Answer]:
        """Ask for letters. A question that fails says nothing about the letter."""
        return await asyncio.gather(*map(self._find, letters))

    async def reports(self) -> Sequence[LetterReport]:
        """Give the updates not yet confirmed; none while the print service is away."""
        response = await self._send("GET", "/letter-updates", params={"limit": _MOST_UPDATES})
        if not isinstance(response, httpx.Response) or not response.is_success:
            code = f"http_{response.status_code}" if isinstance(response, httpx.Response) else response.code
            _log.warning("print_reports_unavailable", code=code)
            return []
        try:
            updates = msgspec.json.decode(response.content, type=wire.Updates).data
        except msgspec.MsgspecError:
            _log.warning("print_reports_unavailable", code="unreadable_answer")
            return []
        found: list[LetterReport] = []
        for raw in updates:
            report = answers.report(raw)
            if report is None:
                # It stays at the print service and comes again: there is no id that could be confirmed.
                self._tell("print_report_unreadable", sha256(raw).hexdigest()[:16])
                continue
            found.append(report)
            if report.status is LetterStatus.UNRECOGNISED:
                self._tell("print_status_unrecognised", report.key, word=report.code)
            elif report.why is ReturnReason.UNRECOGNISED:
                self._tell("print_reason_unrecognised", report.key, word=report.reason.partition(" ")[0])
        return found

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Tell which updates are stored. Where that fails, they come again."""
        for start in range(0, len(keys), _MOST_UPDATES):
            part = keys[start : start + _MOST_UPDATES]
            body = wire.Confirmation([wire.Reference(key) for key in part])
            response = await self._send("POST", "/letter-updates/confirmations", body)
            if not isinstance(response, httpx.Response) or not response.is_success:
                code = f"http_{response.status_code}" if isinstance(response, httpx.Response) else response.code
                _log.warning("print_reports_unavailable", code=code)
                return

    async def _submit(self, letter: PrintLetter) -> Answer:
        if sha256(letter.pdf).hexdigest() != letter.sha256:
            return Refused("sha256", RefusalKind.DEFECT)
        response = await self._send("PUT", f"/letters/{letter.id}", self._order(letter))
        match response:
            case httpx.Response(status_code=HTTPStatus.CREATED):
                return answers.taken(response, letter, already=False)
            case httpx.Response(status_code=HTTPStatus.OK):
                return answers.taken(response, letter, already=True)
            case httpx.Response(status_code=HTTPStatus.CONFLICT):
                found = await self._find(letter)
                return found if isinstance(found, Placed) else answers.PUT_STATUSES[HTTPStatus.CONFLICT]
            case httpx.Response():
                return answers.refusal(response, now=self._clock())
            case _:
                return response

    async def _find(self, letter: PrintLetter) -> Answer:
        response = await self._send("GET", f"/letters/{letter.id}")
        match response:
            case httpx.Response(status_code=HTTPStatus.OK):
                return answers.taken(response, letter, already=True)
            case httpx.Response(status_code=HTTPStatus.NOT_FOUND) if answers.is_about_a_letter(response):
                return Absent()
            case httpx.Response():
                return Unknown(f"http_{response.status_code}")
            case _:
                return Unknown(response.code)

    def _order(self, letter: PrintLetter) -> wire.Order:
        attributes = wire.LetterAttributes(
            specification_id=self._settings.specification,
            group_id=str(letter.batch),
            sender_id=letter.sender.oin,
            kind=letter.kind,
            pages=letter.pages,
            sheets=letter.sheets,
            grams=letter.grams,
            sha256_hash=letter.sha256,
            pdf=letter.pdf,
        )
        return wire.Order(wire.LetterOrder(id=str(letter.id), attributes=attributes))

    async def _send(
        self, method: str, path: str, body: msgspec.Struct | None = None, *, params: Mapping[str, int] | None = None
    ) -> httpx.Response | Unavailable | Unknown | Refused:
        if self._client is None:
            raise RuntimeError("PrintRest is used before open() or after close()")
        headers = {"X-Request-ID": str(uuid4())}
        if body is not None:
            headers["Content-Type"] = wire.MEDIA_TYPE
        request = self._client.build_request(
            method,
            path,
            params=params,
            headers=headers,
            content=msgspec.json.encode(body) if body is not None else None,
        )
        return await send(self._client, request)

    def _tell(self, event: str, key: str, **fields: object) -> None:
        """Log once per update: it comes by at every reading until it is confirmed."""
        if (mark := f"{event} {key}") not in self._told:
            self._told.add(mark)
            _log.warning(event, **fields)
