"""Access tokens for mail servers that take no passwords (OAuth 2.0, RFC 6749): Microsoft 365 and Google, among others.

With a refresh token that is the grant; without one Bode is itself the client (client credentials), which is what
Microsoft has for programs: the scope is then `https://outlook.office365.com/.default`. Calls block, and belong in a
thread.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from bode_adapters.connection import is_loopback

_BEFORE_THE_END_SECONDS: Final = 60.0
"""A token is renewed so long before it expires, so that it does not expire on its way."""
_LIFETIME_SECONDS: Final = 300.0
"""Taken when the server does not tell how long a token is good (RFC 6749 section 5.1 only recommends it)."""
_PASSES: Final = frozenset({"server_error", "temporarily_unavailable", "429"})
"""Refusals of an endpoint that has trouble of its own; a status of 5xx is one, too."""
_LONGEST_ANSWER: Final = 100_000
_ERROR: Final = re.compile(r"[a-z_]{1,40}")
_BEARER: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""RFC 6750 section 2.1: nothing that could end a line of the mailbox's protocol."""


class NoToken(Exception):  # noqa: N818 - what happened, as the caller says it
    """There is no access token now; the text says why in a word, never a secret."""

    @property
    def is_ours(self) -> bool:
        """Whether the endpoint said no: an id, a secret or a right of ours is wrong, and waiting does not help."""
        kind, _, word = str(self).partition(":")
        return kind == "token_refused" and word not in _PASSES and not word.startswith("5")


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Bode as a client of a token endpoint."""

    token_url: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    scope: str | None = None
    ca_file: Path | None = None
    """The authorities to trust; those of the system when absent."""

    def __post_init__(self) -> None:
        """Refuse what would send a secret in the clear, and what lacks one. Raises `ValueError`."""
        url = urlsplit(self.token_url)
        if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
            raise ValueError("token_url starts with https://: a secret is sent over TLS only")
        if self.client_secret is None and self.refresh_token is None:
            raise ValueError("needs a client_secret, a refresh_token, or both")


class AccessTokens:
    """Gives an access token, and keeps it until shortly before it expires. For one thread at a time."""

    def __init__(
        self, client: OAuthClient, *, timeout_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the client; nothing is asked yet."""
        self._client = client
        self._timeout = timeout_seconds
        self._now = now
        self._token = ""
        self._until = 0.0
        self._refresh_token = client.refresh_token

    def give(self) -> str:
        """Give a token that is good for a minute at least. Raises `NoToken`."""
        if not self._token or self._now() >= self._until:
            self._token, self._until = self._ask()
        return self._token

    def forget(self, token: str = "") -> None:
        """Ask for another the next time: the server did not take this one (the last one, when it is not named)."""
        if token in ("", self._token):
            self._token = ""

    def _ask(self) -> tuple[str, float]:
        client = self._client
        form = {"client_id": client.client_id, "grant_type": "client_credentials"}
        if self._refresh_token is not None:
            form |= {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        if client.client_secret is not None:
            form["client_secret"] = client.client_secret
        if client.scope is not None:
            form["scope"] = client.scope
        asked = self._now()
        status, said = self._post(form)
        if status != HTTPStatus.OK:
            word = said.get("error")
            known = isinstance(word, str) and _ERROR.fullmatch(word) is not None
            raise NoToken(f"token_refused:{word if known else status}")
        token, kind = said.get("access_token"), said.get("token_type")
        if not isinstance(token, str) or not _BEARER.fullmatch(token) or str(kind).lower() != "bearer":
            raise NoToken("token_answer_not_understood")
        again = said.get("refresh_token")
        if isinstance(again, str) and again and self._refresh_token is not None:
            # Some servers give a new one with each answer; the old one is then good for a while only.
            self._refresh_token = again
        try:
            lifetime = float(said.get("expires_in", _LIFETIME_SECONDS))
        except (TypeError, ValueError):
            lifetime = _LIFETIME_SECONDS
        return token, asked + max(lifetime - _BEFORE_THE_END_SECONDS, 0.0)

    def _post(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Post the request; gives the status, and the answer where it is an object in JSON."""
        verify: Any = True
        try:
            if self._client.ca_file is not None:
                verify = httpx.create_ssl_context(verify=str(self._client.ca_file))
            with (
                httpx.Client(verify=verify, timeout=self._timeout, follow_redirects=False) as client,
                client.stream(
                    "POST", self._client.token_url, data=form, headers={"Accept": "application/json"}
                ) as answer,
            ):
                content = b""
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > _LONGEST_ANSWER:
                        raise NoToken("token_answer_too_long")
        except (httpx.HTTPError, OSError) as error:
            raise NoToken(f"token_endpoint_away:{type(error).__name__}") from error
        try:
            return answer.status_code, msgspec.json.decode(content, type=dict[str, Any])
        except msgspec.DecodeError:
            return answer.status_code, {}


class SharedTokens:
    """The same for many tasks of one event loop: a token is asked for once, whoever needs it first."""

    def __init__(self, tokens: AccessTokens) -> None:
        """Take the tokens."""
        self._tokens = tokens
        self._alone = asyncio.Lock()

    async def give(self, *, instead_of: str = "") -> str:
        """Give a token, another than the one that was not taken. Raises `NoToken`."""
        async with self._alone:
            if instead_of:
                self._tokens.forget(instead_of)
            return await asyncio.to_thread(self._tokens.give)


def initial_response(user: str, token: str, *, standard: bool) -> str:
    """Give what a client says first: OAUTHBEARER (RFC 7628) where it is standard, else Microsoft's XOAUTH2."""
    escaped = user.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={escaped},\1auth=Bearer {token}\1\1" if standard else f"user={user}\1auth=Bearer {token}\1\1"
