"""A box that keeps up, in a process of its own: the FBS message store's contract and nothing around it.

Prints its port, serves until killed. `GET /told` gives how often each reference was placed, as JSON, and forgets the
counts; `POST /away` and `POST /back` make it answer 503 for a while. The mock in `bode_adapters.mijndomein` is the
strict one; its framework would be what a benchmark measures.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec

_placed: Counter[str] = Counter()
_shelves: dict[str, list[dict[str, Any]]] = {}
_by_id: dict[str, dict[str, Any]] = {}
_open: set[asyncio.BaseTransport] = set()
_away = False


def _answer(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    global _away  # noqa: PLW0603 - one switch of one process
    url = urlsplit(target)
    if method == "POST" and url.path == "/api/v1/aanleveringen":
        return (503, {}) if _away else (201, _store(msgspec.json.decode(body)))
    if url.path == "/told":
        told = {"placed": dict(_placed), "open": len(_open) - 1}
        _placed.clear()
        return 200, told
    if url.path in {"/away", "/back"}:
        _away = url.path == "/away"
        return 200, {}
    if _away:
        return 503, {}
    if url.path == "/api/v1/berichten":
        query = parse_qs(url.query)
        page, size = int(query["page"][0]), int(query["pageSize"][0])
        shelf = [item for item in _shelves.get(headers["x-ontvanger"], []) if item["afzender"] == query["afzender"][0]]
        found = shelf[page * size : (page + 1) * size]
        return 200, {"berichten": found, "totalElements": len(shelf), "totalPages": -(-len(shelf) // size)}
    known = _by_id.get(url.path.removeprefix("/api/v1/berichten/"))
    return (200, known) if known is not None else (404, {})


def _store(request: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    stored = {
        "berichtId": str(uuid4()),
        "tijdstipOntvangst": now,
        "publicatietijdstip": request.get("publicatietijdstip", now),
        "afzender": request["afzender"],
        "onderwerp": request["onderwerp"],
        "inhoud": request["inhoud"],
    }
    whose = request["ontvanger"]
    _shelves.setdefault(f"{whose['type']}:{whose['waarde']}", []).append(stored)
    _by_id[stored["berichtId"]] = stored
    _placed[request["inhoud"].rpartition("Kenmerk: ")[2]] += 1
    return stored


class _Box(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        _open.add(transport)
        self._transport = transport
        self._buffer = b""

    def connection_lost(self, exc: Exception | None) -> None:
        _open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            length = int(headers.get("content-length", "0"))
            if len(rest) < length:
                return
            body, self._buffer = rest[:length], rest[length:]
            method, target, _ = first.split(" ")
            status, answer = _answer(method, target, headers, body)
            content = msgspec.json.encode(answer)
            self._transport.write(
                b"HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(content), content)
            )


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Box, "127.0.0.1", 0, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
