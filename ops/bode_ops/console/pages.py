"""The console, whole: its parts put together, to be mounted in an application."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router
from litestar.exceptions import HTTPException

from bode.settings import ConsoleSettings
from bode_ops.console import acting, audit, login, many, message, overview, returned, search
from bode_ops.console.access import AnyRequest
from bode_ops.console.desk import Desk
from bode_ops.console.frame import on_defect, on_http_error, secured
from bode_ops.console.oidc import Oidc

_MOST_BYTES = 256_000
"""The most that a form of ours can be: a selection of one page of messages."""


def routes(desk: Desk, *, public_url: str) -> list[Router]:
    """Give the console's pages, those behind the door and those before it."""
    oidc = _oidc(desk.settings, public_url)

    async def guard(request: AnyRequest) -> Response[Any] | None:
        return await desk.access.guard(request)

    inside = Router(
        "/",
        route_handlers=[
            handler
            for part in (overview, search, message, acting, returned, many, audit)
            for handler in part.handlers(desk)
        ],
        before_request=guard,
        after_request=secured,
        exception_handlers={HTTPException: on_http_error, Exception: on_defect},
        request_max_body_size=_MOST_BYTES,
        include_in_schema=False,
    )
    outside = login.routes(
        desk.access,
        desk.frame,
        database=desk.database,
        clock=desk.clock,
        oidc=oidc,
        settings=desk.settings.oidc,
    )
    return [inside, outside]


def _oidc(settings: ConsoleSettings, public_url: str) -> Oidc | None:
    if settings.oidc is None:
        return None
    return Oidc(settings.oidc, redirect_uri=f"{public_url.rstrip('/')}{login.CALLBACK}")
