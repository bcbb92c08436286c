"""The web application: the API, the pages, health and metrics, in one place."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from litestar import Litestar, Request, Response, Router, get
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.types import Message, Scope
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from bode.engine.copies import Audience
from bode.engine.routes.zgw_notifications import notifications
from bode.intake import api, feed, openapi, problems
from bode.intake.bodies import Bodies
from bode.intake.faults import Refused
from bode.intake.repeats import Repeats
from bode.intake.room import Room
from bode.settings import ApiSettings, Settings
from bode.store.database import SchemaError
from bode.store.vault import KeyFileError
from bode_ops.assembly import Application, zgw_tokens
from bode_ops.console import frame, pages
from bode_ops.console.access import Access
from bode_ops.console.desk import Desk, Extract
from bode_ops.console.frame import Frame
from bode_ops.exporter import DATABASE, DatabaseMetrics
from bode_ops.extracts import NotSignedYetError, extract
from bode_ops.watched import certificates, disks

_SECURITY_TXT_VALID = timedelta(days=180)
_KEEP_SECONDS = 5.0
"""How long what the database told is told again: several scrapers, or a quick one, cost it nothing."""

log = structlog.get_logger()

_SECURE = {
    b"api-version": problems.VERSION.encode(),
    b"cache-control": b"no-store",
    b"content-security-policy": b"frame-ancestors 'none'; default-src 'none'",
    b"strict-transport-security": b"max-age=31536000; includeSubDomains",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
"""On every answer to a program, as the API Design Rules ask (transport security)."""
_FOR_PROGRAMS = ("/v1", "/openapi.json", "/inbound")


async def secured(message: Message, scope: Scope) -> None:
    """Add the headers that every answer of the API has, also where it is refused."""
    if message["type"] != "http.response.start":
        return
    headers = list(message.get("headers", []))
    names = {name.lower() for name, _ in headers}
    told = b"".join(value for name, value in headers if name.lower() == b"content-type")
    if str(scope["path"]).startswith(_FOR_PROGRAMS) or told.startswith(problems.MEDIA_TYPE.encode()):
        message["headers"] = [*headers, *((name, value) for name, value in _SECURE.items() if name not in names)]


def build(app: Application) -> Litestar:
    """Make the web application."""
    settings = app.settings
    metrics = DatabaseMetrics(
        app.parts, keep_seconds=_KEEP_SECONDS, certificates=certificates(settings), disks=disks(settings)
    )

    @get("/healthz", media_type="text/plain", include_in_schema=False)
    async def healthz() -> str:
        """Answer as long as the process lives."""
        return "ok\n"

    @get("/readyz", media_type="text/plain", include_in_schema=False)
    async def readyz() -> Response[str]:
        """Answer 200 when the database answers and has the right schema."""
        try:
            async with app.database.read() as connection:
                await connection.execute(sa.text("SELECT 1"))
            await app.database.check_schema()
        except (SQLAlchemyError, OSError, SchemaError) as error:
            return Response(f"not ready: {type(error).__name__}\n", status_code=503)
        return Response("ready\n")

    @get("/.well-known/security.txt", media_type="text/plain", include_in_schema=False)
    async def security() -> Response[str]:
        """Say where weaknesses are reported (RFC 9116); true for half a year, as whoever reads it must ask again."""
        if settings.api.security_contact is None:
            return Response("", status_code=404)
        until = app.clock.real().replace(microsecond=0) + _SECURITY_TXT_VALID
        lines = (
            f"Contact: {settings.api.security_contact}",
            f"Expires: {until.isoformat()}",
            "Preferred-Languages: nl, en",
        )
        return Response("".join(f"{line}\n" for line in lines))

    @get("/metrics", include_in_schema=False)
    async def prometheus() -> Response[bytes]:
        """Give the metrics of this process, and what the database knows."""
        await metrics.refresh()
        return Response(generate_latest() + generate_latest(DATABASE), media_type=CONTENT_TYPE_LATEST)

    @get(["/openapi.json", "/v1/openapi.json"], include_in_schema=False)
    async def openapi_json() -> Response[dict[str, Any]]:
        """Give the OpenAPI document, open to all."""
        return Response(schema, headers={"Access-Control-Allow-Origin": "*"})

    messages = api.routes(
        app.intake,
        app.status,
        app.doors,
        Bodies(_room(settings), settings.api.max_body_bytes, settings.api.client_timeout_seconds),
        Repeats(app.database, app.clock),
        extract=_extracts(app),
    )
    changes = feed.routes(app.feed, app.doors)
    handlers: dict[Any, Any] = {
        Refused: problems.on_refused,
        HTTPException: problems.on_http_error,
        Exception: problems.on_defect,
    }
    # Made once, by an application that is never served: the framework's own pages would load scripts from elsewhere.
    described = Litestar(
        [messages, changes], openapi_config=OpenAPIConfig(title="Bode", version=problems.VERSION), logging_config=None
    )
    schema = openapi_document(described, api=settings.api)
    webhook = app.bounce_routes.webhook()
    tokens = zgw_tokens(settings)
    notified = notifications(tokens, notified=app.zgw.notified, is_ours=app.zgw.is_ours) if tokens else None
    return Litestar(
        [
            *([webhook] if webhook is not None else []),
            *([notified] if notified is not None else []),
            Router("/", route_handlers=[messages, changes, openapi_json], exception_handlers=handlers),
            healthz,
            readyz,
            security,
            prometheus,
            frame.files(),
            *_console(app),
        ],
        openapi_config=None,
        before_send=[secured],
        exception_handlers={HTTPException: on_http_error, Exception: problems.on_defect},
        logging_config=None,
    )


def openapi_document(described: Litestar, *, api: ApiSettings) -> dict[str, Any]:
    """Give the OpenAPI document of the API's routes."""
    handlers = [handler for route in described.routes for handler in getattr(route, "route_handlers", [])]
    scopes = {str(one.operation_id): one.opt["scope"] for one in handlers if "scope" in one.opt}
    server = f"{(api.public_url or '').rstrip('/')}/v1"
    return openapi.document(
        described.openapi_schema.to_schema(), scopes=scopes, server=server, contact=api.contact.model_dump()
    )


def _room(settings: Settings) -> Room:
    """Give what room there is: memory of this process, and the disks that requests are written to."""
    database = make_url(settings.database.url)
    folders = [Path(tempfile.gettempdir())]
    if database.get_backend_name() == "sqlite" and database.database:
        folders.append(Path(database.database).parent)
    return Room(max_held_bytes=settings.api.max_held_bytes, folders=folders, min_free_bytes=settings.api.min_free_bytes)


def _console(app: Application) -> list[Router]:
    """Make the console, where there is one."""
    settings = app.settings
    if settings.console is None:
        return []
    public_url = settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}"
    organisations = {oin: item.name for oin, item in app.parts.organisations.items()}
    access = Access(
        settings.console,
        database=app.database,
        vault=app.parts.vault,
        clock=app.clock,
        organisations=organisations,
        public_url=public_url,
    )
    desk = Desk(
        settings=settings.console,
        access=access,
        frame=Frame(app.clock, organisations),
        parts=app.parts,
        status=app.status,
        acts=app.acts,
        jobs=app.jobs,
        lanes=app.lanes,
        inbound=app.inbound,
        extract=_extracts_for_staff(app),
        origin=settings.evidence.origin if settings.evidence is not None else None,
    )
    return pages.routes(desk, public_url=public_url)


def _extracts_for_staff(app: Application) -> Extract | None:
    """Give what makes extracts for the console; nothing where no evidence is kept."""
    kept = app.settings.evidence
    if kept is None:
        return None

    async def made(message_id: UUID, audience: Audience, by: str) -> bytes | None:
        try:
            return await extract(app, kept, message_id, audience=audience, by=by)
        except (NotSignedYetError, KeyFileError) as error:
            log.error("console.extract_not_signed", message=str(message_id), error=type(error).__name__)
            return None

    return made


def _extracts(app: Application) -> api.Extract | None:
    """Give what makes extracts of evidence for the API; nothing where no evidence is kept."""
    kept = app.settings.evidence
    if kept is None:
        return None

    async def made(message_id: UUID, audience: api.ForWhom, by: str) -> bytes | None:
        whose = Audience.ADDRESSEE if audience is api.ForWhom.GEADRESSEERDE else Audience.SENDER
        try:
            return await extract(app, kept, message_id, audience=whose, by=by)
        except (NotSignedYetError, KeyFileError) as error:
            log.error("api.extract_not_signed", message=str(message_id), error=type(error).__name__)
            return None

    return made


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer an address nobody has: with a page for a browser, with a problem for a program."""
    answer = frame.on_http_error if "text/html" in request.headers.get("Accept", "") else problems.on_http_error
    return answer(request, error)
