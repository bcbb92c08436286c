"""Tokens (JWT) that say which client calls: of an OAuth 2.0 server, or signed by the client itself as ZGW does.

A token's own words choose nothing: the algorithms, issuer, audience and keys that count are those of the configuration.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import httpx
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from bode.intake.strict_json import is_object
from bode_adapters.connection import Connection
from bode_adapters.rest import send

log = structlog.get_logger()

_LONGEST: Final = 8192
_MOST_BYTES: Final = 1_000_000
_LEEWAY: Final = 30
"""Seconds that another side's clock may differ from ours."""
_ZGW_VALID: Final = 3600
"""Seconds that a token of a ZGW client is good for after `iat`, as in Open Zaak."""
_FRESH, _STALE, _LEAST_WAIT = 600.0, 86_400.0, 10.0
"""Seconds after which keys are asked for again, after which they are believed no longer, and between two questions."""

_Key = RSAKey | ECKey | OKPKey
_KINDS: Final[Mapping[Any, type[_Key]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


def _registry(algorithms: Sequence[str]) -> JWSRegistry:
    """Give what a header may say: parameters that we do not know are ignored, unless they are critical (RFC 7515)."""
    return JWSRegistry(algorithms=algorithms, strict_check_header=False)


class CannotTell(Exception):  # noqa: N818 - no error: a question without an answer
    """Whether a token is good cannot be told now: the keys of who issues them cannot be had."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who a good token says is calling; `scopes` where it limits what they may do."""

    name: str
    scopes: frozenset[str] | None = None


def header_of(token: str) -> Mapping[str, Any] | None:
    """Give what a token says of itself, which proves nothing; None for what is no signed JWT."""
    head, *rest = token.split(".")
    if len(token) > _LONGEST or len(rest) != 2:  # noqa: PLR2004 - header, payload, signature
        return None
    try:
        found = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (Base64Error, ValueError, RecursionError):
        return None
    return found if is_object(found) else None


class Jwks:
    """The public keys of an authorisation server, kept for ten minutes and asked for again for an unknown `kid`.

    Asked at most once in ten seconds, whatever tokens come in. While the server is away, what it said last is believed
    for a day.
    """

    def __init__(self, connection: Connection, *, timer: Callable[[], float] = time.monotonic) -> None:
        """Take where the keys are; `timer` counts seconds."""
        self._connection = connection
        self._timer = timer
        self._keys: dict[str | None, _Key] = {}
        self._read_at: float | None = None
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def key(self, kid: str | None) -> _Key | None:
        """Give a key; None for one that is not there. Raises `CannotTell` where no keys are known."""
        if self._age(self._read_at) >= _FRESH or kid not in self._keys:
            async with self._asking:
                if (self._age(self._read_at) >= _FRESH or kid not in self._keys) and self._may_ask():
                    await self._ask()
        if self._age(self._read_at) >= _STALE:
            raise CannotTell
        return self._keys.get(kid)

    def _age(self, at: float | None) -> float:
        return self._timer() - at if at is not None else float("inf")

    def _may_ask(self) -> bool:
        return self._age(self._asked_at) >= _LEAST_WAIT

    async def _ask(self) -> None:
        self._asked_at = self._timer()
        async with self._connection.client(headers={"Accept": "application/json"}) as client:
            request = client.build_request("GET", self._connection.base_url)
            answer = await send(client, request, most_bytes=_MOST_BYTES)
        told = answer.content if isinstance(answer, httpx.Response) and answer.is_success else b""
        found = _keys_in(told)
        if found is None:
            log.error("api.jwks_away", error=type(answer).__name__)
        else:
            self._keys, self._read_at = found, self._timer()


def _keys_in(raw: bytes) -> dict[str | None, _Key] | None:
    """Give the keys that sign, by `kid`; the only one by None too, for tokens that name none. None: no list of keys."""
    try:
        listed: Any = json.loads(raw)["keys"]
        fit = [one for one in listed if one.get("use", "sig") == "sig" and one.get("kty") in _KINDS]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    found: dict[str | None, _Key] = {}
    for one in fit:
        with suppress(JoseError, ValueError, TypeError):  # a key of a kind that we cannot read is not one of ours
            key = _KINDS[one["kty"]].import_key(one)
            found[key.kid] = key
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


class OAuthTokens:
    """Checks access tokens (RFC 9068) of one authorisation server."""

    def __init__(
        self,
        jwks: Jwks,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        client_claim: str,
        now: Callable[[], datetime],
    ) -> None:
        """Take whose tokens are believed, and for whom they must be meant; `algorithms` are asymmetric ones."""
        self._jwks = jwks
        self._algorithms = list(algorithms)
        self._client_claim = client_claim
        self._now = now
        self._wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": audience},
            "exp": {"essential": True},
            client_claim: {"essential": True},
        }

    async def client(self, token: str, header: Mapping[str, Any]) -> Client | None:
        """Give who calls; None for a token that is not good. Raises `CannotTell`."""
        kid = header.get("kid")
        if header.get("alg") not in self._algorithms or not isinstance(kid, str | None):
            return None
        key = await self._jwks.key(kid)
        if key is None:
            return None
        try:
            claims = jwt.decode(token, key, registry=_registry(self._algorithms)).claims
            registry = JWTClaimsRegistry(now=int(self._now().timestamp()), leeway=_LEEWAY, **self._wanted)
            registry.validate(claims)
        except (JoseError, ValueError):
            return None
        name, scope = claims[self._client_claim], claims.get("scope")
        if not isinstance(name, str):
            return None
        return Client(name, frozenset(scope.split()) if isinstance(scope, str) else None)


@dataclass(frozen=True, slots=True)
class ZgwTokens:
    """Checks tokens that ZGW clients sign themselves: HS256, with a secret per `client_id`, good for an hour."""

    secrets: Mapping[str, Sequence[bytes]] = field(repr=False)
    """By `client_id`; two while one takes the other's place."""
    now: Callable[[], datetime]

    def client(self, token: str) -> Client | None:
        """Give who calls; None for a token that is not good."""
        name = _claimed_client(token)
        for secret in self.secrets.get(name, ()):
            try:
                claims = jwt.decode(token, OctKey.import_key(secret), registry=_registry(["HS256"])).claims
                registry = JWTClaimsRegistry(
                    now=int(self.now().timestamp()), leeway=_LEEWAY, iat={"essential": True}, iss={"essential": True}
                )
                registry.validate(claims)
            except (JoseError, ValueError):
                continue
            if int(self.now().timestamp()) - claims["iat"] <= _ZGW_VALID + _LEEWAY:
                return Client(name)
        return None


def _claimed_client(token: str) -> str:
    """Give whom a token says it is of, which chooses the secret it is checked with."""
    payload = token.split(".")[1]
    try:
        found = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (Base64Error, ValueError, RecursionError):
        return ""
    name = found.get("client_id") if is_object(found) else None
    return name if isinstance(name, str) else ""
