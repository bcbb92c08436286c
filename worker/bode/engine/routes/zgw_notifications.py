"""Where a Notificaties API tells that a document was linked to a decision: `POST /inbound/zgw/{source}`.

Answered with 204 as soon as it is remembered: the NRC tries again what is not. What is about something else is passed
over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from hmac import compare_digest
from typing import Any, Final, Protocol

import msgspec
import structlog
from litestar import Request, Response, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from prometheus_client import Counter

from bode.intake import problems
from bode.intake.faults import Fault, Refused
from bode.store.database import DATABASE_AWAY

log = structlog.get_logger()

NOTIFICATIONS = Counter(
    "bode_zgw_notifications_total",
    "Notifications of a zaaksysteem: 'taken', 'other' (not about a document of a decision), or why not taken.",
    ["source", "outcome"],
)
_MOST_BYTES: Final = 65_536


class Notification(msgspec.Struct, rename="camel", frozen=True):
    """Schema Message of the Notificaties API."""

    kanaal: str
    hoofd_object: str
    resource: str
    resource_url: str
    actie: str


class Notified(Protocol):
    """Remembers what a notification is about."""

    def __call__(self, name: str, *, besluit: str, link: str) -> Awaitable[None]:
        """Remember it."""
        ...


class IsOurs(Protocol):
    """Tells whether an address lies in a source's register of decisions."""

    def __call__(self, name: str, url: str) -> bool:
        """Tell it."""
        ...


def notifications(tokens: Mapping[str, str], *, notified: Notified, is_ours: IsOurs) -> HTTPRouteHandler:
    """Give the route. `tokens` are what each source's subscription sends in `Authorization`, whole."""

    @post(
        "/inbound/zgw/{source:str}",
        status_code=204,
        request_max_body_size=_MOST_BYTES,
        include_in_schema=False,
        exception_handlers={
            _Unauthorised: _on_unauthorised,
            _NotStored: _on_not_stored,
            Refused: problems.on_refused,
            HTTPException: problems.on_http_error,
            Exception: problems.on_defect,
        },
    )
    async def post_notification(request: Request[Any, Any, Any]) -> None:
        name = request.path_params["source"]
        token = tokens.get(name)
        if token is None:
            raise NotFoundException
        given = request.headers.get("Authorization", "")
        if not compare_digest(given.encode(), token.encode()):
            NOTIFICATIONS.labels(name, "unauthorised").inc()
            raise _Unauthorised
        try:
            said = msgspec.json.decode(await request.body(), type=Notification)
        except msgspec.DecodeError:
            NOTIFICATIONS.labels(name, "not_understood").inc()
            raise Refused([Fault("#", "notificatie", "Dit is geen notificatie.")]) from None
        if (said.kanaal, said.resource, said.actie) != ("besluiten", "besluitinformatieobject", "create"):
            NOTIFICATIONS.labels(name, "other").inc()
            return
        if not (is_ours(name, said.hoofd_object) and is_ours(name, said.resource_url)):
            # Seen at the NRC as failing, and here: a wrong address in a configuration must not lose decisions.
            NOTIFICATIONS.labels(name, "other_address").inc()
            log.error("zgw.other_address", source=name)
            raise Refused([Fault("#/hoofdObject", "adres_onbekend", "Dit besluit staat in een ander register.")])
        try:
            await notified(name, besluit=said.hoofd_object, link=said.resource_url)
        except DATABASE_AWAY:
            NOTIFICATIONS.labels(name, "not_stored").inc()
            raise _NotStored from None
        NOTIFICATIONS.labels(name, "taken").inc()

    return post_notification


class _Unauthorised(Exception):  # noqa: N818 - it says what the notification is
    pass


class _NotStored(Exception):  # noqa: N818
    pass


def _on_unauthorised(request: Request[Any, Any, Any], error: _Unauthorised) -> Response[Any]:
    del request, error
    return problems.problem(401, "Geen toegang", "De header Authorization is niet die van het abonnement.")


def _on_not_stored(request: Request[Any, Any, Any], error: _NotStored) -> Response[Any]:
    del request, error
    text = "De notificatie kan nu niet worden opgeslagen. Stuur die later nog eens: dat is veilig."
    return problems.problem(503, "Even niet beschikbaar", text, headers={"Retry-After": "30"})
