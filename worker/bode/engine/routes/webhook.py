"""Bounces that a relay posts over HTTP: signed, checked, stored; `POST /inbound/bounces/{route}`.

The body is JSON (see `relay_report`), or the notification itself as `message/rfc822` with our return path in the header
`X-Bode-Recipient`. Every request has `X-Bode-Timestamp` and `X-Bode-Signature` (see `signature`); signed is the body,
and for `message/rfc822` the recipient, a line feed and the body. A repeat is answered as the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from litestar import Request, Response, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler

from bode.engine.routes.keeping import Kept, Store, keep, raw_mail
from bode.engine.routes.relay_report import read_report
from bode.engine.routes.signature import Flaw, flaw, flaw_in_time
from bode.intake import problems
from bode.intake.faults import Fault, Refused

log = structlog.get_logger()

ROUTE: Final = "webhook"
_JSON: Final = "application/json"
_MAIL_TYPES: Final = {"message/rfc822", "message/global"}
_LONGEST_RECIPIENT: Final = 320
_SHORTEST_SECRET: Final = 16

_UNSIGNED: Final = (
    "De handtekening ontbreekt, klopt niet of is ouder dan vijf minuten. "
    "Zet die in X-Bode-Signature, met het tijdstip in X-Bode-Timestamp."
)
_NOT_STORED: Final = "De bounce kan nu niet worden opgeslagen. Stuur hetzelfde later nog eens: dat is veilig."


def bounce_webhook(
    store: Store,
    *,
    secrets: Mapping[str, Sequence[bytes]],
    now: Callable[[], datetime],
    max_body_bytes: int,
) -> HTTPRouteHandler:
    """Give the route, to be registered in an application.

    `secrets` are those of each relay, by the name in its URL: more than one while a secret is being changed. Raises
    `ValueError` for a relay without a secret, or with one that can be guessed.
    """
    for name, known in secrets.items():
        if not known or any(len(secret) < _SHORTEST_SECRET for secret in known):
            raise ValueError(f"relay {name}: needs a secret of {_SHORTEST_SECRET} bytes or more")

    @post(
        "/inbound/bounces/{route:str}",
        status_code=204,
        request_max_body_size=max_body_bytes,
        include_in_schema=False,
        exception_handlers={
            _Unsigned: _on_unsigned,
            _NotStored: _on_not_stored,
            Refused: problems.on_refused,
            HTTPException: problems.on_http_error,
            Exception: problems.on_defect,
        },
    )
    async def post_bounce(request: Request[Any, Any, Any]) -> None:
        known = secrets.get(request.path_params["route"])
        if known is None:
            raise NotFoundException
        recipient, mail = await _read(request, known, now)
        if await keep(store, raw_mail(ROUTE, recipient, mail, now())) is not Kept.STORED:
            # Also what can never be stored stays with the relay, where a person sees it.
            raise _NotStored

    return post_bounce


class _NotStored(Exception):  # noqa: N818 - it says what the bounce is
    pass


class _Unsigned(Exception):  # noqa: N818
    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


def _on_unsigned(request: Request[Any, Any, Any], error: _Unsigned) -> Response[Any]:
    log.warning("inbound.webhook_refused", relay=request.path_params["route"], reason=error.flaw)
    return problems.problem(401, "Geen toegang", _UNSIGNED)


def _on_not_stored(request: Request[Any, Any, Any], error: _NotStored) -> Response[Any]:
    del request, error
    return problems.problem(503, "Even niet beschikbaar", _NOT_STORED, headers={"Retry-After": "30"})


async def _read(
    request: Request[Any, Any, Any], secrets: Sequence[bytes], now: Callable[[], datetime]
) -> tuple[str, bytes]:
    """Give the recipient and the mail of a request that is signed. Raises `_Unsigned`, `Refused` and 413, 415."""
    header, timestamp = request.headers.get("X-Bode-Signature", ""), request.headers.get("X-Bode-Timestamp", "")
    # Before the body is read: a stranger is not to make us hold one.
    wrong = flaw_in_time(timestamp, now()) or (Flaw.MISSING if not header else None)
    if wrong is not None:
        raise _Unsigned(wrong)
    kind = request.content_type[0].lower()
    if kind not in {_JSON, *_MAIL_TYPES} or "Content-Encoding" in request.headers:
        raise HTTPException(status_code=415)
    body = await request.body()
    recipient = request.headers.get("X-Bode-Recipient", "")
    signed = body if kind == _JSON else recipient.encode("latin-1", "replace") + b"\n" + body
    wrong = flaw(secrets, timestamp=timestamp, header=header, content=signed, now=now())
    if wrong is not None:
        raise _Unsigned(wrong)
    if kind == _JSON:
        return read_report(body, signed_at=timestamp)
    if not (0 < len(recipient) <= _LONGEST_RECIPIENT and recipient.isascii() and recipient.isprintable()):
        text = "Zet het adres waaraan de bounce gericht is in de header X-Bode-Recipient."
        raise Refused([Fault("#", "ontvanger", text)])
    return recipient, body
