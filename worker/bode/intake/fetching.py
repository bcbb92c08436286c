"""Documents by address: fetched from hosts that the configuration names for an organisation, and from nowhere else.

An address is believed no further than that: it is resolved and checked before it is connected to (`Connection`),
redirects are refused, and what comes is read no further than a document may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import httpx
import structlog

from bode.intake.body import BerichtIn, DocumentIn
from bode.intake.faults import Fault
from bode_adapters.connection import Connection
from bode_adapters.rest import SettingsTable

log = structlog.get_logger()

_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A place that documents may come from: everything under one address, for some organisations."""

    name: str
    organisations: frozenset[str]
    connection: Connection

    @classmethod
    def read(cls, name: str, *, url: str, organisations: Sequence[str], settings: Mapping[str, Any]) -> Self:
        """Take a source as configured. Raises an adapter's `SettingError`."""
        table = SettingsTable({"timeout_seconds": 10, "concurrency": 4, **settings, "base_url": url})
        connection = Connection.read(table)
        table.finish()
        return cls(name, frozenset(organisations), connection)

    def holds(self, url: str) -> bool:
        """Tell whether an address lies under this source's own, however it is written."""
        try:
            asked, parts = httpx.URL(url), urlsplit(url)
            own = self.connection.base_url
            where = (asked.scheme, asked.host, asked.port or _PORTS.get(asked.scheme))
        except (httpx.InvalidURL, ValueError):
            return False
        path = unquote(unquote(parts.path))
        if parts.netloc.find("@") >= 0 or parts.fragment or "\\" in path or {"..", "."} & set(path.split("/")):
            return False
        return where == (own.scheme, own.host, own.port or _PORTS.get(own.scheme)) and path.startswith(
            own.path.rstrip("/") + "/"
        )


class Fetcher:
    """Fetches documents."""

    def __init__(
        self, sources: Sequence[DocumentSource], *, max_bytes: int = 10_000_000, max_seconds: float = 60
    ) -> None:
        """Take where documents may come from, and how large and how slow one may be."""
        self._sources = sources
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds

    async def fetched(self, body: BerichtIn) -> tuple[BerichtIn, list[Fault]]:
        """Give the message with its documents in it, or what is wrong with their addresses."""
        faults: list[Fault] = []
        documents: list[DocumentIn] = []
        for index, document in enumerate(body.documenten):
            found = document
            if document.url is not None:
                told = await self._one(document.url, body.afzender)
                if isinstance(told, bytes):
                    found = document.model_copy(update={"inhoud": told})
                else:
                    faults.append(Fault(f"#/documenten/{index}/url", *told))
            documents.append(found)
        return body.model_copy(update={"documenten": tuple(documents)}), faults

    async def _one(self, url: str, organisation: str) -> bytes | tuple[str, str]:
        source = next((one for one in self._sources if organisation in one.organisations and one.holds(url)), None)
        if source is None:
            text = "Dit adres is hier niet ingericht als bron van documenten van deze afzender."
            return "document_adres_onbekend", text
        content = bytearray()
        try:
            async with (
                asyncio.timeout(self._max_seconds),
                source.connection.client(
                    headers={"Accept": "application/pdf", "Accept-Encoding": "identity"}
                ) as client,
                client.stream("GET", url) as answer,
            ):
                if answer.status_code != HTTPStatus.OK:
                    log.warning("intake.document_not_fetched", source=source.name, answer=str(answer.status_code))
                    return (
                        "document_niet_opgehaald",
                        f"Op dit adres kwam geen document, maar status {answer.status_code}.",
                    )
                async for piece in answer.aiter_raw():  # what is packed all the same is no PDF
                    content += piece
                    if len(content) > self._max_bytes:
                        return "document_te_groot", f"Dit document is te groot: hoogstens {self._max_bytes} bytes."
        except (httpx.HTTPError, OSError) as error:
            log.warning("intake.document_not_fetched", source=source.name, answer=type(error).__name__)
            text = (
                "Het document kon niet worden opgehaald. Stuur het bericht later nog eens, of lever het document mee."
            )
            return "document_niet_opgehaald", text
        return bytes(content)
