"""What came back and waits for a person: bounces that belong to no message yet, and bursts that hold letters."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from bode.domain.bounces import BounceMail, read_mail
from bode.engine.bursts import decide_burst
from bode.engine.inbound import MAIL_ROUTES
from bode.store import mail_health, messages, tables
from bode.store.mail_health import Burst, BurstKind
from bode_ops.console.access import AnyRequest, Person, Role, person_of
from bode_ops.console.desk import LONGEST_REASON, Desk, a_reason
from bode_ops.story.words import BOUNCE_REASONS

_MOST = 50
_inbound = tables.inbound.c


def handlers(desk: Desk) -> list[Any]:
    """Give the pages of what came back."""

    @get("/teruggekomen")
    async def waiting(request: Request[Any, Any, Any]) -> Response[Any]:
        person = person_of(request)
        await desk.access.need(person, Role.BEHANDELEN, "bounces")
        message = tables.message.c
        async with desk.database.read() as connection:
            bursts = [burst for burst in await mail_health.open_bursts(connection) if _mine(desk, person, burst)]
            rows = (
                await connection.execute(
                    sa.select(
                        _inbound.key, _inbound.received_at, _inbound.note, message.reference, message.organisation
                    )
                    .join_from(tables.inbound, tables.message, message.id == _inbound.message_id, isouter=True)
                    .where(
                        _inbound.state == sa.literal_column("'unmatched'"),  # as the index over these says it
                        _inbound.route.in_(MAIL_ROUTES),
                        message.organisation.is_(None) | message.organisation.in_(person.organisations),
                    )
                    .order_by(_inbound.received_at.desc())
                    .limit(_MOST)
                )
            ).all()
        return desk.frame.page(
            person,
            "teruggekomen.html.j2",
            bursts=bursts,
            rows=rows,
            done=str(request.query_params.get("gedaan", ""))[:120],
            can_decide=person.may(Role.BEHEREN),
        )

    @get("/teruggekomen/mail/{sleutel:str}")
    async def one(request: Request[Any, Any, Any], sleutel: FromPath[str]) -> Response[Any]:
        return await _mail(desk, request, sleutel, "")

    @post("/teruggekomen/mail/{sleutel:str}", status_code=303)
    async def match(request: Request[Any, Any, Any], sleutel: FromPath[str]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        await desk.access.need(person, Role.BEHANDELEN, "bounce_matched")
        reason, reference = a_reason(form.get("reden")), str(form.get("kenmerk", "")).strip()[:64]
        async with desk.database.read() as connection:
            found = [
                known
                for known in await messages.find(connection, reference=reference)
                if known.organisation in person.organisations
            ]
        if reason is None or len(found) != 1:
            fault = "Geef een reden." if reason is None else "Er is geen bericht met precies dit kenmerk."
            return await _mail(desk, request, sleutel, fault)
        told = await desk.inbound.match(sleutel, found[0].id, by=person.who, reason=reason)
        if not told.startswith("matched"):
            return await _mail(desk, request, sleutel, "Deze e-mail kan hier niet aan worden gekoppeld.")
        await desk.access.note(person, "bounce_matched", sleutel[:16], found[0])
        return Redirect(f"/berichten/{found[0].id}?gedaan=bounce_matched", status_code=303)

    @get("/teruggekomen/golf/{soort:str}/{naam:str}")
    async def burst(request: Request[Any, Any, Any], soort: FromPath[str], naam: FromPath[str]) -> Response[Any]:
        return await _burst(desk, request, soort, naam, "")

    @post("/teruggekomen/golf/{soort:str}/{naam:str}", status_code=303)
    async def decide(request: Request[Any, Any, Any], soort: FromPath[str], naam: FromPath[str]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        real, reason = {"echt": True, "niet": False}.get(str(form.get("besluit", ""))), a_reason(form.get("reden"))
        found = await _open(desk, request, soort, naam)
        if real is None or reason is None:
            return await _burst(desk, request, soort, naam, "Kies een besluit en geef een reden.")
        count = await decide_burst(
            desk.parts, desk.lanes, found.kind, found.name, real=real, by=person.who, reason=reason
        )
        return Redirect(f"/teruggekomen?gedaan={count}", status_code=303)

    return [waiting, one, match, burst, decide]


def _mine(desk: Desk, person: Person, burst: Burst) -> bool:
    """Tell whether a burst is somebody's to see: a body's own, or a provider's for who works for all bodies."""
    if burst.kind is BurstKind.ORGANISATION:
        return burst.name in person.organisations
    return person.organisations >= desk.frame.organisations.keys()


async def _open(desk: Desk, request: AnyRequest, kind: str, name: str) -> Burst:
    person = person_of(request)
    await desk.access.need(person, Role.BEHEREN, "burst")
    async with desk.database.read() as connection:
        bursts = await mail_health.open_bursts(connection)
    for burst in bursts:
        if (burst.kind, burst.name) == (kind, name) and _mine(desk, person, burst):
            return burst
    raise NotFoundException


async def _burst(desk: Desk, request: AnyRequest, kind: str, name: str, fault: str) -> Response[Any]:
    found = await _open(desk, request, kind, name)
    return desk.frame.page(
        person_of(request),
        "golf.html.j2",
        status=422 if fault else 200,
        burst=found,
        fault=fault,
        longest_reason=LONGEST_REASON,
    )


async def _mail(desk: Desk, request: AnyRequest, key: str, fault: str) -> Response[Any]:
    person = person_of(request)
    await desk.access.need(person, Role.BEHANDELEN, "bounce_matched")
    async with desk.database.read() as connection:
        row = (
            await connection.execute(
                sa.select(_inbound.key, _inbound.received_at, _inbound.message_id, _inbound.sealed).where(
                    _inbound.key == key, _inbound.state == "unmatched", _inbound.route.in_(MAIL_ROUTES)
                )
            )
        ).one_or_none()
        about = await messages.get(connection, row.message_id) if row is not None and row.message_id else None
    if row is None or (about is not None and about.organisation not in person.organisations):
        raise NotFoundException
    _, _, mail = desk.parts.vault.open_inbound(row.key, row.sealed).partition(b"\n")
    return desk.frame.page(
        person,
        "mail.html.j2",
        status=422 if fault else 200,
        row=row,
        about=about,
        says=_says(read_mail(mail, desk.parts.rules)),
        fault=fault,
        longest_reason=LONGEST_REASON,
    )


def _says(found: BounceMail) -> list[str]:
    """Say what a mail tells, without the addresses in it."""
    return [
        BOUNCE_REASONS.get(item.classification.reason, str(item.classification.reason)) for item in found.recipients
    ]
