"""A client of the registers: every call with a token of its own (HS256, as ZGW asks), to the addresses configured only.

An address that a register or a notification names is followed when it lies under one of ours, and never otherwise.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec
from joserfc import jwt
from joserfc.jwk import OctKey

from bode_adapters.connection import Connection
from bode_adapters.contract import Clock, Refused, SettingError, Unavailable, Unknown
from bode_adapters.rest import SettingsTable, retry_after, send
from bode_adapters.zgw import wire

_REGISTERS: Final = ("besluiten", "zaken", "documenten")
_CLIENT_ID: Final = re.compile(r"[!-~]{1,100}")
_LATER: Final = frozenset({408, 425, 429})
_SHORTEST_SECRET: Final = 16
_USER: Final = "bode"
_MOST_PAGES: Final = 1000

_T = TypeVar("_T")


class RegisterAwayError(Exception):
    """A register gives no answer now, or may not have acted: ask again. `code` is for people and holds no content."""

    def __init__(self, code: str, retry_after: float | None = None) -> None:
        """Keep the code, and the seconds to wait that were asked for."""
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after


class RegisterRefusedError(Exception):
    """A register said no, or something we cannot read: asking again does not help before a person mended something."""

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


class Registers:
    """The registers of one zaaksysteem."""

    def __init__(
        self, connections: Mapping[str, Connection], *, client_id: str, secret: str, clock: Clock, most_bytes: int
    ) -> None:
        """Keep the settings; nothing is opened yet."""
        self._connections = connections
        self._client_id = client_id
        self._secret = OctKey.import_key(secret)
        self._clock = clock
        self._most_bytes = most_bytes
        self._clients: dict[str, httpx.AsyncClient] = {}

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, secret: str, clock: Clock) -> Self:
        """Build one of a table: `besluiten_url`, `zaken_url`, `documenten_url`, `client_id`, and those of a connection.

        Raises `SettingError`.
        """
        table = dict(settings)
        client_id = table.pop("client_id", None)
        if not isinstance(client_id, str) or not _CLIENT_ID.fullmatch(client_id):
            raise SettingError("client_id", client_id, "the client id that the registers know us by")
        if len(secret) < _SHORTEST_SECRET:
            raise SettingError("secret_file", "(not shown)", f"a secret of {_SHORTEST_SECRET} characters or more")
        most = table.pop("most_document_bytes", 20_000_000)
        if not isinstance(most, int) or isinstance(most, bool) or not 0 < most <= 100_000_000:  # noqa: PLR2004
            raise SettingError("most_document_bytes", most, "a whole number from 1 to 100000000")
        urls = {name: table.pop(f"{name}_url", None) for name in _REGISTERS}
        connections: dict[str, Connection] = {}
        for name, url in urls.items():
            read = SettingsTable({**table, "base_url": url})
            try:
                connections[name] = Connection.read(read, reserved={"accept-crs"})
                read.finish()
            except SettingError as error:
                key = f"{name}_url" if error.key == "base_url" else error.key
                raise SettingError(key, error.value, error.needs) from error
        return cls(connections, client_id=client_id, secret=secret, clock=clock, most_bytes=most)

    async def open(self) -> None:
        """Make the clients; connections are made when they are needed, and kept."""
        for name, connection in self._connections.items():
            self._clients[name] = connection.client(headers={"Accept": "application/json"})

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def is_ours(self, register: str, url: str) -> bool:
        """Tell whether an address lies under the one that is configured for a register."""
        base = _base(self._connections[register])
        return url.startswith(f"{base}/") and ".." not in url and url.isascii() and url.isprintable() and " " not in url

    # ------------------------------------------------------------------------------------------------------ reading

    async def besluit(self, url: str) -> wire.Besluit:
        """Give a decision."""
        return await self._read("besluiten", url, wire.Besluit)

    async def links(self, besluit: str) -> list[wire.BesluitInformatieObject]:
        """Give the documents that are linked to a decision."""
        url = f"{_base(self._connections['besluiten'])}/besluitinformatieobjecten"
        return await self._read("besluiten", url, list[wire.BesluitInformatieObject], params={"besluit": besluit})

    async def besluiten(self, rsin: str) -> AsyncIterator[wire.Besluit]:
        """Give all decisions of an organisation, page by page."""
        url = f"{_base(self._connections['besluiten'])}/besluiten"
        page = await self._read("besluiten", url, wire.BesluitPage, params={"verantwoordelijkeOrganisatie": rsin})
        for _ in range(_MOST_PAGES):
            for item in page.results:
                yield item
            if page.next is None:
                return
            page = await self._read("besluiten", page.next, wire.BesluitPage)

    async def zaak(self, url: str) -> wire.Zaak:
        """Give a case."""
        return await self._read("zaken", url, wire.Zaak)

    async def rollen(self, zaak: str) -> list[wire.Rol]:
        """Give everybody's part in a case."""
        page = await self._read(
            "zaken", f"{_base(self._connections['zaken'])}/rollen", wire.RolPage, params={"zaak": zaak}
        )
        found = list(page.results)
        while page.next is not None and len(found) < _MOST_PAGES:
            page = await self._read("zaken", page.next, wire.RolPage)
            found += page.results
        return found

    async def document(self, url: str) -> wire.Document:
        """Tell about a document: its latest version."""
        return await self._read("documenten", url, wire.Document)

    async def content(self, document: wire.Document) -> bytes:
        """Give the content of the version of a document that was told about."""
        response = await self._call("documenten", "GET", document.inhoud, most_bytes=self._most_bytes)
        return response.content

    # ------------------------------------------------------------------------------------------------------ writing

    async def set_verzenddatum(self, besluit: str, day: date) -> None:
        """Write when a decision was sent; the same again changes nothing."""
        await self._call("besluiten", "PATCH", besluit, json={"verzenddatum": day.isoformat()})

    async def add_verzending(
        self, document: str, *, betrokkene: str, contact: str, day: date, mijn_overheid: bool
    ) -> bool:
        """Write that a document was sent to somebody, unless that stands there; tells whether it was added."""
        url = f"{_base(self._connections['documenten'])}/verzendingen"
        params = {"informatieobject": document, "betrokkene": betrokkene, "aardRelatie": "geadresseerde"}
        page = await self._read("documenten", url, wire.VerzendingPage, params=params)
        while True:
            if any(item.verzenddatum == day for item in page.results):
                return False
            if page.next is None:
                break
            page = await self._read("documenten", page.next, wire.VerzendingPage)
        body = {
            "informatieobject": document,
            "betrokkene": betrokkene,
            "contactPersoon": contact,
            "aardRelatie": "geadresseerde",
            "verzenddatum": day.isoformat(),
            "mijnOverheid": mijn_overheid,
        }
        await self._call("documenten", "POST", url, json=body)
        return True

    # -------------------------------------------------------------------------------------------------------- calls

    async def _read(self, register: str, url: str, kind: type[_T], *, params: Mapping[str, str] | None = None) -> _T:
        response = await self._call(register, "GET", url, params=params)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise RegisterRefusedError(f"{register}:not_understood") from None

    async def _call(
        self,
        register: str,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        most_bytes: int = 4_000_000,
    ) -> httpx.Response:
        if not self.is_ours(register, url):
            raise RegisterRefusedError(f"{register}:other_address")
        client = self._clients[register]
        headers = {"Authorization": f"Bearer {self._token()}"}
        if register == "zaken":
            headers["Accept-Crs"] = "EPSG:4326"
        request = client.build_request(method, url, params=params, json=json, headers=headers)
        answer = await send(client, request, most_bytes=most_bytes)
        match answer:
            case Unavailable() | Unknown():
                code = "too_large" if answer.code == "answer_too_large" else answer.code
                if code == "too_large":
                    raise RegisterRefusedError(f"{register}:too_large")
                raise RegisterAwayError(f"{register}:{code}")
            case Refused():
                raise RegisterRefusedError(f"{register}:{answer.code}")
            case httpx.Response():
                status = answer.status_code
        if httpx.codes.is_success(status):
            return answer
        if httpx.codes.is_server_error(status) or status in _LATER:
            raise RegisterAwayError(f"{register}:{status}", retry_after(answer, now=self._clock()))
        raise RegisterRefusedError(f"{register}:{status}")

    def _token(self) -> str:
        """Make a token: HMAC with SHA-256 over what the standard lists. Its time of making must be the register's."""
        claims = {
            "iss": self._client_id,
            "iat": int(self._clock().timestamp()),
            "client_id": self._client_id,
            "user_id": _USER,
            "user_representation": "Bode (bezorging)",
        }
        return jwt.encode({"alg": "HS256"}, claims, self._secret)


def _base(connection: Connection) -> str:
    return str(connection.base_url).rstrip("/")
