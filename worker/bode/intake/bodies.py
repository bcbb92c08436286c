"""Reading the body of a request: not faster than there is room for, not slower than anybody need send it.

A message comes as JSON, or as `multipart/form-data`: the JSON in the part `bericht`, and each PDF in a part `document`
with its name as file name. That is the same message as the JSON with the documents in it.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
)

from bode.intake.faults import Fault, Refused
from bode.intake.room import Room
from bode.intake.strict_json import is_object, parse

_JSON, _MULTIPART = "application/json", "multipart/form-data"
_SLOWEST = 1000
"""Bytes in a second: who sends less, on average and after the first wait, holds the server and is cut off."""
_MOST_PARTS = 20
_Part = tuple[MultipartSegment, bytearray]


@dataclass(frozen=True, slots=True)
class Bodies:
    """Reads bodies of at most so many bytes, from clients that send nothing for at most so many seconds."""

    room: Room
    most: int
    patience: float

    async def pieces(self, request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
        """Give the body as it comes in. Raises `TimeoutError` when it comes too slowly."""
        stream = request.stream()
        loop = asyncio.get_running_loop()
        waited, received = 0.0, 0
        while True:
            start = loop.time()
            async with asyncio.timeout(self.patience):
                try:
                    piece = await anext(stream)
                except StopAsyncIteration:
                    return
            waited, received = waited + loop.time() - start, received + len(piece)
            if waited > self.patience + received / _SLOWEST:
                raise TimeoutError
            yield piece

    @asynccontextmanager
    async def json(self, request: Request[Any, Any, Any]) -> AsyncGenerator[bytes]:
        """Hold the body of a request that says it is JSON. Raises 408, 413, 415, 503."""
        self._of_kind(request, {_JSON, ""})
        size = self._size(request)
        self.room.admit(size)
        with self.room.held(size):
            yield await self._whole(request)

    @asynccontextmanager
    async def message(self, request: Request[Any, Any, Any]) -> AsyncGenerator[bytes]:
        """Hold a message as JSON, also where it came in parts. Raises 408, 413, 415, 503, `Refused`."""
        kind = self._of_kind(request, {_JSON, "", _MULTIPART})
        size = self._size(request)
        self.room.admit(size)
        with self.room.held(size):
            raw = await self._whole(request)
            yield raw if kind != _MULTIPART else _joined(raw, request.content_type[1].get("boundary", ""))

    async def _whole(self, request: Request[Any, Any, Any]) -> bytes:
        try:
            return b"".join([piece async for piece in self.pieces(request)])
        except TimeoutError:
            raise HTTPException(status_code=408) from None

    def _of_kind(self, request: Request[Any, Any, Any], kinds: set[str]) -> str:
        kind = request.content_type[0].lower()
        if kind not in kinds or "Content-Encoding" in request.headers:
            raise HTTPException(status_code=415)
        return kind

    def _size(self, request: Request[Any, Any, Any]) -> int:
        told = request.headers.get("Content-Length", "")
        # A longer one is refused where it is read, before it is held.
        return min(int(told), self.most) if told.isascii() and told.isdecimal() else self.most


def _joined(raw: bytes, boundary: str) -> bytes:
    """Make the JSON of a message in parts. Raises `Refused`."""
    message: bytes | None = None
    documents: list[dict[str, str]] = []
    for segment, content in _parts(raw, boundary):
        if segment.name == "bericht" and message is None:
            message = bytes(content)
        elif segment.name == "document":
            documents.append({"naam": segment.filename or "", "inhoud": b64encode(content).decode()})
        else:
            raise _bad("Een verzoek heeft één onderdeel 'bericht' (JSON) en verder onderdelen 'document' (PDF).")
    if message is None:
        raise _bad("Het onderdeel 'bericht' ontbreekt: daarin hoort de JSON van het bericht.")
    value, faults = parse(message)
    if faults or not is_object(value) or not documents:
        return message
    if "documenten" in value:
        text = "Geef documenten in het bericht, of als onderdelen van het verzoek: één van de twee."
        raise Refused([Fault("#/documenten", "documenten_dubbel", text)])
    # The message's own bytes stay as they are: what is wrong in them is told as for any other.
    head = message.rstrip()[:-1]
    return head + (b"," if value else b"") + b'"documenten":' + json.dumps(documents).encode() + b"}"


def _parts(raw: bytes, boundary: str) -> list[_Part]:
    parts: list[_Part] = []
    try:
        with PushMultipartParser(boundary, max_segment_count=_MOST_PARTS, strict=True) as parser:
            for event in parser.parse(raw):
                if isinstance(event, MultipartSegment):
                    parts.append((event, bytearray()))
                elif event is not None:
                    parts[-1][1].extend(event)
    except MultipartError:
        raise _bad("Dit is geen multipart/form-data, of het heeft te veel onderdelen.") from None
    return parts


def _bad(text: str) -> Refused:
    return Refused([Fault("#", "multipart", text)])
