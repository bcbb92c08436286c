"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request again has the answer of the first time.

Beside the reference, which makes a message one message whatever the key: a key also makes what has no reference one.
Only what was done is kept. A request that was refused may come again with the same key, mended.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import msgspec
from litestar import Request, Response

from bode.clock import Clock
from bode.intake.applications import caller_of
from bode.intake.faults import Fault, Refused
from bode.intake.strict_json import parse
from bode.store import repeats
from bode.store.database import Database
from bode.store.repeats import Given, Key, KeyReusedError, UnderWayError

HEADER = "Idempotency-Key"
_KEY = re.compile(r'"([ !#-\[\]-~]{1,200})"|([A-Za-z0-9._:/+=-]{1,200})')
"""A string of structured fields (RFC 9651) without escapes, or a plain word such as a UUID."""


class BadKey(Refused):
    """A header that is no key."""

    title = "Het verzoek klopt niet"


class KeyReused(Refused):
    """The key came with another request before."""

    status = 422
    title = "Deze Idempotency-Key is al gebruikt"


class UnderWay(Refused):
    """The first request with this key is being done now."""

    status = 409
    title = "Dit verzoek wordt al verwerkt"
    retry_after = 1


class Repeats:
    """Does a request once for each key of an application."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Take the database, and the clock that says how old an answer is."""
        self._database = database
        self._clock = clock

    async def once(
        self, request: Request[Any, Any, Any], raw: bytes, do: Callable[[], Awaitable[Response[Any]]]
    ) -> Response[Any]:
        """Do a request, or give the answer of the first time. Raises `Refused`."""
        told = request.headers.getall(HEADER, [])
        if not told:
            return await do()
        key = self._key(request, told, raw)
        try:
            async with self._database.write() as connection:
                given = await repeats.begin(connection, key, self._clock.now())
        except KeyReusedError:
            text = "Deze Idempotency-Key hoort bij een ander verzoek. Gebruik een nieuwe."
            raise KeyReused([Fault(HEADER, "sleutel_hergebruikt", text, "header")]) from None
        except UnderWayError:
            text = "Het eerste verzoek met deze Idempotency-Key wordt nog verwerkt. Stuur het zo nog eens."
            raise UnderWay([Fault(HEADER, "wordt_verwerkt", text, "header")]) from None
        if given is not None:
            return _again(given)
        try:
            answer = await do()
        except BaseException:
            async with self._database.write() as connection:
                await repeats.release(connection, key)
            raise
        location = answer.headers.get("Location")
        kept = Given(answer.status_code or 200, location, msgspec.json.encode(answer.content).decode())
        async with self._database.write() as connection:
            await repeats.finish(connection, key, kept)
        return answer

    def _key(self, request: Request[Any, Any, Any], told: list[str], raw: bytes) -> Key:
        found = _KEY.fullmatch(told[0].strip()) if len(told) == 1 else None
        if found is None:
            text = 'Schrijf de Idempotency-Key als "een tekst tussen aanhalingstekens" van hoogstens 200 tekens.'
            raise BadKey([Fault(HEADER, "sleutel", text, "header")])
        name = (found[1] or found[2]).encode()
        asked = sha256(f"{request.method} {request.url.path}\n".encode() + _meant(raw)).digest()
        return Key(caller_of(request).name, sha256(name).digest(), asked)


def _meant(raw: bytes) -> bytes:
    """Give what a request says, without its spaces and the order of its fields; as it is where it is no JSON."""
    try:
        value, faults = parse(raw)
        return raw if faults else msgspec.json.encode(value, order="deterministic")
    except (Refused, TypeError):
        return raw


def _again(given: Given) -> Response[Any]:
    headers = {"Location": given.location} if given.location is not None else {}
    return Response(msgspec.json.decode(given.answer), status_code=given.status, headers=headers)
