"""Who: sessions, roles, and what every request must have before a page is made.

A session's secret is in the browser's cookie alone; the database has its hash. Each log-in gets a new one. Forms carry
a token that only this session's pages have. Whoever is idle is logged out; a page that refreshes itself is no work.
What somebody may not do is refused here and written down.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import structlog
from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.response import Redirect

from bode.clock import Clock
from bode.settings import ConsoleSettings
from bode.store import console as store
from bode.store.console import Session
from bode.store.database import Database
from bode.store.messages import Known
from bode.store.staff import REFUSED, StaffAct, record_act
from bode.store.vault import Vault

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]
_SEEN_EVERY = timedelta(seconds=30)
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Role(StrEnum):
    """What somebody may do; each may do what the one before it may."""

    LEZEN = "lezen"
    """Search and read; personal data with a reason."""
    BEHANDELEN = "behandelen"
    """Act on messages."""
    BEHEREN = "beheren"
    """Decide on bursts, stop and start lanes, see who did what."""

    def includes(self, other: Role) -> bool:
        """Tell whether this role may do what that one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Person:
    """Who is at the other end, and for which bodies (OINs) that person works."""

    who: str
    name: str
    role: Role
    organisations: frozenset[str]
    session: Session
    token: str
    """What forms of this session carry."""

    def may(self, role: Role) -> bool:
        """Tell whether this person has a role."""
        return self.role.includes(role)


class Access:
    """Keeps the door of one console."""

    def __init__(
        self,
        settings: ConsoleSettings,
        *,
        database: Database,
        vault: Vault,
        clock: Clock,
        organisations: Mapping[str, str],
        public_url: str,
    ) -> None:
        """Take the settings; `public_url` is how a browser reaches the console: over https its cookies say so."""
        self.settings = settings
        self._database = database
        self.vault = vault
        self._clock = clock
        self._organisations = organisations
        self.secure = public_url.startswith("https://")
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(public_url))
        self.cookie = "__Host-bode" if self.secure else "bode"

    # ---- at the door ----------------------------------------------------------------------------------------------

    async def guard(self, request: AnyRequest) -> Response[Any] | None:
        """Let in who has a session; others are sent to the log-in. A form without its token is refused."""
        person = await self.who(request)
        if person is None:
            return self._to_login(request)
        if request.method in _UNSAFE:
            self.same_origin(request)
            given = (await request.form()).get("csrf", "")
            if not isinstance(given, str) or not hmac.compare_digest(given, person.token):
                await self.refused(person, "csrf", request.scope["path_template"])
                raise PermissionDeniedException(extra={"why": "csrf"})
        request.state.person = person
        return None

    def same_origin(self, request: AnyRequest) -> None:
        """Refuse what another site's page sends."""
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        ours = {self._origin, "{0.scheme}://{0.netloc}".format(urlsplit(str(request.base_url)))}
        if (origin is not None and origin not in ours) or site not in ("same-origin", "none"):
            log.warning("console.other_site", path=request.scope["path_template"])
            raise PermissionDeniedException(extra={"why": "csrf"})

    async def who(self, request: AnyRequest) -> Person | None:
        """Give who is logged in; nothing where nobody is, or no longer."""
        secret = request.cookies.get(self.cookie, "")
        if not secret:
            return None
        hashed, now = _hash(secret), self._clock.real()
        async with self._database.read() as connection:
            session = await store.find(connection, hashed)
        if session is None:
            return None
        settings = self.settings
        if now - session.seen_at > settings.idle or now - session.made_at > settings.longest:
            async with self._database.write() as connection:
                await store.end(connection, hashed)
            return None
        if now - session.seen_at > _SEEN_EVERY and not _by_itself(request):
            async with self._database.write() as connection:
                await store.seen(connection, hashed, now)
        organisations = frozenset(session.organisations & self._organisations.keys())
        return Person(session.who, session.name, Role(session.role), organisations, session, _token(secret))

    def _to_login(self, request: AnyRequest) -> Response[Any]:
        if request.headers.get("HX-Request") == "true":
            return Response(b"", status_code=200, headers={"HX-Redirect": "/inloggen"})
        back_to = request.url.path if request.method == "GET" else "/"
        return Redirect(f"/inloggen?naar={quote(back_to)}", status_code=303)

    # ---- log in, log out ------------------------------------------------------------------------------------------

    async def let_in(
        self, request: AnyRequest, *, who: str, name: str, role: Role, organisations: frozenset[str]
    ) -> Cookie:
        """Start a session with a secret of its own; one that this browser had before is ended."""
        secret, now = secrets.token_urlsafe(32), self._clock.real()
        session = Session(_hash(secret), who[:64], name[:80], role, organisations, now, now, {}, None)
        async with self._database.write() as connection:
            if earlier := request.cookies.get(self.cookie, ""):
                await store.end(connection, _hash(earlier))
            await store.forget(connection, seen_before=now - self.settings.longest, now=now)
            await store.start(connection, session)
            await record_act(connection, self.vault, StaffAct(self._clock.now(), who, "login", role))
        return self._cookie(self.cookie, secret)

    async def let_out(self, request: AnyRequest) -> Cookie:
        """End the session."""
        person = await self.who(request)
        if person is not None:
            async with self._database.write() as connection:
                await store.end(connection, person.session.hash)
                await record_act(connection, self.vault, StaffAct(self._clock.now(), person.who, "logout", person.role))
        return self._cookie(self.cookie, "", max_age=0)

    def _cookie(self, name: str, value: str, *, max_age: int | None = None) -> Cookie:
        return Cookie(
            key=name, value=value, max_age=max_age, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def login_cookie(self, value: str) -> Cookie:
        """Bind a log-in that is under way to this browser; empty it with an empty value."""
        seconds = int(store.LOGIN_WITHIN.total_seconds()) if value else 0
        return self._cookie(f"{self.cookie}-inloggen", value, max_age=seconds)

    # ---- what is refused ------------------------------------------------------------------------------------------

    async def need(self, person: Person, role: Role, act: str, known: Known | None = None) -> None:
        """Refuse, and write down, what takes another role."""
        if not person.may(role):
            await self.refused(person, act, "", known)
            raise PermissionDeniedException(extra={"why": "role"})

    async def need_organisation(self, person: Person, known: Known | None, act: str) -> Known:
        """Answer as if there were no such message when it is another body's; that somebody tried is written down."""
        if known is None:
            raise NotFoundException
        if known.organisation not in person.organisations:
            await self.refused(person, act, "other organisation", known)
            raise NotFoundException
        return known

    async def refused(self, person: Person, act: str, subject: str, known: Known | None = None) -> None:
        """Write down what somebody was not allowed to do."""
        log.warning("console.refused", who=person.who, act=act, message=str(known.id) if known else "")
        await self.note(person, act, subject, known, outcome=REFUSED)

    async def note(
        self, person: Person, act: str, subject: str, known: Known | None = None, *, outcome: str | None = None
    ) -> None:
        """Write down what somebody did or saw."""
        noted = StaffAct(
            self._clock.now(),
            person.who,
            act,
            subject,
            organisation=known.organisation if known is not None else None,
            message_id=known.id if known is not None else None,
            outcome=outcome,
        )
        async with self._database.write() as connection:
            await record_act(connection, self.vault, noted)

    def is_open(self, person: Person, message_id: UUID) -> bool:
        """Tell whether personal data of a message are open to this session now."""
        until: datetime | None = person.session.opened.get(message_id)
        return until is not None and until > self._clock.real()


def person_of(request: AnyRequest) -> Person:
    """Give who asks; the guard has let somebody in."""
    person: Person = request.state.person
    return person


def safe_path(text: str) -> str:
    """Give a path of our own to go back to; anything else is the first page."""
    own = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and len(text) <= 500  # noqa: PLR2004 - the column's length
    return text if own else "/"


def _by_itself(request: AnyRequest) -> bool:
    """Tell whether a page refreshes itself: that is nobody at work."""
    return request.headers.get("HX-Request") == "true"


def _hash(secret: str) -> bytes:
    return sha256(b"bode console session" + secret.encode()).digest()


def _token(secret: str) -> str:
    return hmac.new(secret.encode(), b"bode console form", sha256).hexdigest()


hash_of = _hash
