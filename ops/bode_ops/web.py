"""The web application: the API, the pages, health and metrics, in one place."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from litestar import Litestar, Request, Response, Router, get
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from bode.engine.copies import Audience
from bode.intake import api, feed
from bode.intake.faults import Refused
from bode.store.database import SchemaError
from bode.store.vault import KeyFileError
from bode_ops.assembly import Application
from bode_ops.console import frame, pages
from bode_ops.console.access import Access
from bode_ops.console.desk import Desk, Extract
from bode_ops.console.frame import Frame
from bode_ops.exporter import DATABASE, DatabaseMetrics
from bode_ops.extracts import NotSignedYetError, extract
from bode_ops.watched import certificates, disks

_KEEP_SECONDS = 5.0
"""How long what the database told is told again: several scrapers, or a quick one, cost it nothing."""

log = structlog.get_logger()


def build(app: Application) -> Litestar:
    """Make the web application."""
    settings = app.settings
    keys = api.Keys({key.sha256: (key.name, frozenset(key.organisations)) for key in settings.api.keys})
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

    @get("/metrics", include_in_schema=False)
    async def prometheus() -> Response[bytes]:
        """Give the metrics of this process, and what the database knows."""
        await metrics.refresh()
        return Response(generate_latest() + generate_latest(DATABASE), media_type=CONTENT_TYPE_LATEST)

    @get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response[dict[str, Any]]:
        """Give the OpenAPI document, open to all."""
        return Response(schema, headers={"Access-Control-Allow-Origin": "*", "API-Version": api.VERSION})

    messages = api.routes(
        app.intake,
        app.status,
        keys,
        max_body_bytes=settings.api.max_body_bytes,
        client_timeout=settings.api.client_timeout_seconds,
        extract=_extracts(app),
    )
    changes = feed.routes(app.feed, keys)
    problems: dict[Any, Any] = {Refused: api.on_refused, HTTPException: api.on_http_error, Exception: api.on_defect}
    # Made once, by an application that is never served: the framework's own pages would load scripts from elsewhere.
    described = Litestar(
        [messages, changes], openapi_config=OpenAPIConfig(title="Bode", version=api.VERSION), logging_config=None
    )
    schema = api.openapi(described.openapi_schema.to_schema())
    webhook = app.bounce_routes.webhook()
    return Litestar(
        [
            *([webhook] if webhook is not None else []),
            Router("/", route_handlers=[messages, changes, openapi], exception_handlers=problems),
            healthz,
            readyz,
            prometheus,
            frame.files(),
            *_console(app),
        ],
        openapi_config=None,
        exception_handlers={HTTPException: on_http_error, Exception: api.on_defect},
        logging_config=None,
    )


def _console(app: Application) -> list[Router]:
    """Make the console, where there is one."""
    settings = app.settings
    if settings.console is None:
        return []
    public_url = settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}"
    organisations = {oin: item.name for oin, item in app.parts.organisations.items()}
    access = Access(
        settings.console, database=app.database, clock=app.clock, organisations=organisations, public_url=public_url
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
    answer = frame.on_http_error if "text/html" in request.headers.get("Accept", "") else api.on_http_error
    return answer(request, error)
