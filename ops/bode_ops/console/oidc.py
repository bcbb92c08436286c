"""OpenID Connect: the authorization code flow with PKCE (S256), state and nonce; Authlib writes it, joserfc checks."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # type: ignore[import-untyped]  # it has no types
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from joserfc import jwk, jwt
from joserfc.errors import JoseError

from bode.settings import OidcSettings

_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_LEEWAY_SECONDS = 60
_KEPT_SECONDS = 3600.0
_TIMEOUT_SECONDS = 10.0
_prepare = cast("Callable[..., str]", prepare_grant_uri)


class OidcError(Exception):
    """A log-in that cannot be finished; `code` says why, without anything of the person."""

    def __init__(self, code: str) -> None:
        """Keep the code."""
        super().__init__(f"the log-in cannot be finished: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a browser is sent, and what must come back with it."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(slots=True)
class _Provider:
    """What the provider says of itself, and its keys."""

    about: Mapping[str, Any]
    keys: Any
    read_at: float


class Oidc:
    """One identity provider. Its own description and keys are read when they are needed, and kept for an hour."""

    def __init__(self, settings: OidcSettings, *, redirect_uri: str) -> None:
        """Take the settings; nothing is asked yet."""
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._provider: _Provider | None = None
        self._tls: Any = ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True

    async def begin(self) -> Begun:
        """Start a log-in. Raises `OidcError` when the provider cannot be reached or is not who it should be."""
        about = (await self._known()).about
        state, nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        written = _prepare(
            about["authorization_endpoint"],
            client_id=self._settings.client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope=self._settings.scope,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return Begun(written, state, nonce, verifier)

    async def finish(self, *, code: str, verifier: str, nonce: str, issuer: str | None) -> Mapping[str, Any]:
        """Exchange the code, check the ID token, and give its claims. Raises `OidcError`."""
        provider = await self._known()
        if issuer is not None and issuer != self._settings.issuer:
            raise OidcError("other_issuer")  # RFC 9207: the answer is another provider's.
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": self._redirect_uri,
            "client_id": self._settings.client_id,
        }
        secret = self._settings.client_secret
        try:
            async with self._client() as client:
                if secret is not None:
                    client.auth = httpx.BasicAuth(self._settings.client_id, secret.get_secret_value())
                answer = await client.post(provider.about["token_endpoint"], data=asked)
            token: Any = answer.json() if answer.is_success else None
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            raise OidcError("not_reached") from error
        if not isinstance(token, dict):
            raise OidcError("code_refused")
        id_token = cast("dict[str, object]", token).get("id_token")
        if not isinstance(id_token, str):
            raise OidcError("no_id_token")
        return await self._claims(id_token, nonce)

    async def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        for again in (False, True):
            keys = (await self._known(anew=again)).keys
            try:
                decoded = jwt.decode(token, keys, algorithms=_ALGORITHMS)
            except (JoseError, ValueError) as error:
                if again:  # The keys were read anew: it is not a key that was rotated meanwhile.
                    raise OidcError("signature") from error
            else:
                return self._checked(decoded.claims, nonce)
        raise AssertionError("the second round returns or raises")

    def _checked(self, claims: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """Check the ID token as OpenID Connect Core 3.1.3.7 asks."""
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else list(audience or [])
        now = time.time()
        problems = {
            "issuer": claims.get("iss") != self._settings.issuer,
            "audience": self._settings.client_id not in audiences,
            "authorized_party": len(audiences) > 1 and claims.get("azp") != self._settings.client_id,
            "expired": not isinstance(claims.get("exp"), int) or claims["exp"] < now - _LEEWAY_SECONDS,
            "issued_in_future": not isinstance(claims.get("iat"), int) or claims["iat"] > now + _LEEWAY_SECONDS,
            "nonce": not secrets.compare_digest(str(claims.get("nonce", "")), nonce),
        }
        for code, wrong in problems.items():
            if wrong:
                raise OidcError(code)
        return claims

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._tls, timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def _known(self, *, anew: bool = False) -> _Provider:
        kept = self._provider
        if kept is not None and not anew and time.monotonic() - kept.read_at < _KEPT_SECONDS:
            return kept
        issuer = self._settings.issuer
        try:
            async with self._client() as client:
                answer = await client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                about = answer.raise_for_status().json()
                if about.get("issuer") != issuer:
                    raise OidcError("other_issuer")
                keys = jwk.KeySet.import_key_set((await client.get(about["jwks_uri"])).raise_for_status().json())
        except (httpx.HTTPError, OSError, ValueError, KeyError, JoseError) as error:
            raise OidcError("not_reached") from error
        self._provider = _Provider(about, keys, time.monotonic())
        return self._provider
