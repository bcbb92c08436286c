"""Logging in and out: with the organisation's own identity provider, or as an invented person in a demonstration."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import structlog
from litestar import Request, Response, Router, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.response import Redirect

from bode.clock import Clock
from bode.settings import OidcSettings
from bode.store import console as store
from bode.store.console import Login
from bode.store.database import Database
from bode.store.staff import REFUSED, StaffAct, record_act
from bode_ops.console.access import Access, AnyRequest, Role, hash_of, safe_path
from bode_ops.console.frame import Frame, on_defect, on_http_error, secured
from bode_ops.console.oidc import Oidc, OidcError

log = structlog.get_logger()

CALLBACK = "/inloggen/terug"


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """Somebody invented, to log in as in a demonstration."""

    who: str
    name: str
    role: Role


DEMO_PEOPLE = (
    DemoPerson("l.dejong", "Lotte de Jong, leest mee", Role.LEZEN),
    DemoPerson("a.jansen", "Anna Jansen, behandelt", Role.BEHANDELEN),
    DemoPerson("p.bakker", "Piet Bakker, behandelt", Role.BEHANDELEN),
    DemoPerson("b.elamrani", "Btissam el Amrani, beheert", Role.BEHEREN),
)


def routes(  # noqa: C901 - each page is a function of its own
    access: Access,
    frame: Frame,
    *,
    database: Database,
    clock: Clock,
    oidc: Oidc | None,
    settings: OidcSettings | None,
) -> Router:
    """Give the pages that need no session. Without `oidc` it is a demonstration's log-in."""

    @get("/inloggen")
    async def choose(request: Request[Any, Any, Any]) -> Response[Any]:
        back_to = safe_path(str(request.query_params.get("naar", "/")))
        return frame.page(None, "inloggen.html.j2", people=DEMO_PEOPLE if oidc is None else (), back_to=back_to)

    @post("/inloggen", status_code=303)
    async def as_somebody(request: Request[Any, Any, Any]) -> Response[Any]:
        access.same_origin(request)
        form = await request.form()
        found = {person.who: person for person in DEMO_PEOPLE}.get(str(form.get("wie", "")))
        if oidc is not None or found is None:
            raise NotFoundException
        organisations = frozenset(frame.organisations)
        cookie = await access.let_in(
            request, who=found.who, name=found.name, role=found.role, organisations=organisations
        )
        return Redirect(safe_path(str(form.get("naar", "/"))), status_code=303, cookies=[cookie])

    @get("/inloggen/start")
    async def begin(request: Request[Any, Any, Any]) -> Response[Any]:
        if oidc is None:
            raise NotFoundException
        try:
            begun = await oidc.begin()
        except OidcError as error:
            return _not_now(error)
        secret = secrets.token_urlsafe(32)
        back_to = safe_path(str(request.query_params.get("naar", "/")))
        login = Login(hash_of(secret), begun.state, begun.nonce, begun.verifier, back_to, clock.real())
        async with database.write() as connection:
            await store.keep_login(connection, login)
        return Redirect(begun.url, status_code=303, cookies=[access.login_cookie(secret)])

    @get(CALLBACK)
    async def finish(request: Request[Any, Any, Any]) -> Response[Any]:
        if oidc is None or settings is None:
            raise NotFoundException
        query = request.query_params
        login = await _taken(request)
        if login is None or not secrets.compare_digest(str(query.get("state", "")), login.state):
            return _not_now(OidcError("state"))
        if "code" not in query:
            return _not_now(OidcError("refused_there"))
        try:
            claims = await oidc.finish(
                code=str(query["code"]), verifier=login.verifier, nonce=login.nonce, issuer=query.get("iss")
            )
        except OidcError as error:
            return _not_now(error)
        who, role = _who(claims, settings), _role(claims, settings)
        organisations = _organisations(claims, settings, frame.organisations)
        if who is None or role is None or not organisations:
            async with database.write() as connection:
                act = StaffAct(clock.now(), who or "-", "login", "no role or organisation", outcome=REFUSED)
                await record_act(connection, access.vault, act)
            log.warning("console.login_refused", who=who or "-")
            return frame.page(None, "geen-toegang.html.j2", status=403)
        name = str(claims.get(settings.name_claim) or who)
        cookie = await access.let_in(request, who=who, name=name, role=role, organisations=organisations)
        return Redirect(login.back_to, status_code=303, cookies=[cookie, access.login_cookie("")])

    @post("/uitloggen", status_code=303)
    async def out(request: Request[Any, Any, Any]) -> Response[Any]:
        access.same_origin(request)
        return Redirect("/uitgelogd", status_code=303, cookies=[await access.let_out(request)])

    @get("/uitgelogd")
    async def gone() -> Response[Any]:
        return frame.page(None, "uitgelogd.html.j2")

    async def _taken(request: AnyRequest) -> Login | None:
        secret = request.cookies.get(f"{access.cookie}-inloggen", "")
        async with database.write() as connection:
            return await store.take_login(connection, hash_of(secret), clock.real()) if secret else None

    def _not_now(error: OidcError) -> Response[Any]:
        log.warning("console.login_failed", code=error.code)
        return frame.page(None, "inloggen-mislukt.html.j2", status=400, code=error.code)

    return Router(
        "/",
        route_handlers=[choose, as_somebody, begin, finish, out, gone],
        after_request=secured,
        exception_handlers={HTTPException: on_http_error, Exception: on_defect},
        include_in_schema=False,
    )


def _who(claims: Mapping[str, Any], settings: OidcSettings) -> str | None:
    found = claims.get(settings.who_claim)
    return found if isinstance(found, str) and found.isprintable() and 0 < len(found) <= 64 else None  # noqa: PLR2004 - the column's length


def _values(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    """Give the values of a claim; a dot in its name goes into an object, as Keycloak's realm_access.roles."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for step in name.split("."):
            found = cast("Mapping[str, Any]", found).get(step) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return frozenset({found})
    listed = cast("list[object]", found) if isinstance(found, list) else []
    return frozenset(item for item in listed if isinstance(item, str))


def _role(claims: Mapping[str, Any], settings: OidcSettings) -> Role | None:
    """Give the highest role that the claims give."""
    given = _values(claims, settings.roles_claim)
    roles = [role for role in Role if given & set(settings.roles.get(role.value, ()))]
    return roles[-1] if roles else None


def _organisations(claims: Mapping[str, Any], settings: OidcSettings, known: Mapping[str, str]) -> frozenset[str]:
    if settings.organisations_claim is None:
        return frozenset(known)
    return frozenset(_values(claims, settings.organisations_claim) & known.keys())
