"""An identity provider (OpenID Connect) that logs in whoever it is told to, and misbehaves when it is told to."""

import base64
import secrets
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwk, jwt
from litestar import Litestar, Request, Response, get, post
from litestar.response import Redirect


@dataclass
class Identity:
    """What the provider knows, and what it does wrong."""

    client_id: str = "bode"
    secret: str = "geheim"
    claims: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)
    """Claims that take the place of the right ones."""
    other_key: bool = False
    issuer: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    key: Any = field(default_factory=lambda: jwk.ECKey.generate_key("P-256", {"kid": "1", "use": "sig"}))

    def token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 60, "nonce": nonce, "sub": "1"}
        key = jwk.ECKey.generate_key("P-256", {"kid": "1"}) if self.other_key else self.key
        return jwt.encode({"alg": "ES256", "kid": "1"}, {**claims, **self.claims, **self.wrong}, key)


def application(identity: Identity) -> Litestar:
    @get("/.well-known/openid-configuration")
    async def about() -> dict[str, str]:
        issuer = identity.issuer
        return {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/keys",
        }

    @get("/keys")
    async def keys() -> dict[str, Any]:
        return {"keys": [identity.key.as_dict(private=False)]}

    @get("/authorize")
    async def authorize(request: Request[Any, Any, Any]) -> Response[Any]:
        query = dict(request.query_params)
        identity.asked.append(query)
        code = secrets.token_urlsafe(8)
        identity.codes[code] = query
        return Redirect(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")

    @post("/token", status_code=200)
    async def token(request: Request[Any, Any, Any]) -> Response[Any]:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        asked = identity.codes.pop(form.get("code", ""), None)
        login = base64.b64encode(f"{identity.client_id}:{identity.secret}".encode()).decode()
        challenge = base64.urlsafe_b64encode(sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        right = (
            asked is not None
            and request.headers.get("Authorization") == f"Basic {login}"
            and asked["redirect_uri"] == form.get("redirect_uri")
            and asked["code_challenge_method"] == "S256"
            and asked["code_challenge"] == challenge.decode()
        )
        if not right:
            return Response({"error": "invalid_grant"}, status_code=400)
        return Response({"access_token": "x", "token_type": "Bearer", "id_token": identity.token(asked["nonce"])})

    return Litestar([about, keys, authorize, token], openapi_config=None, logging_config=None)
