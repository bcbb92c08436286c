"""The first page: how lanes and bodies stand now, what is nearest to its end, and mails per hour."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from bode.domain.terms import AMSTERDAM
from bode.store import overview, search, steps
from bode.store.search import Order, Sought
from bode.store.staff import StaffAct, record_act
from bode_ops.console.access import AnyRequest, Role, person_of
from bode_ops.console.charts import bars
from bode_ops.console.desk import Desk, a_reason
from bode_ops.console.search import VIEWS
from bode_ops.story import labels
from bode_ops.story.words import BOUNCE_REASONS

_KEPT_SECONDS = 2.0
"""How long what was counted is shown again: many who look along cost the database no more than one."""
_NEAREST = 10


@dataclass(slots=True)
class _Kept:
    """What was counted last, by bodies."""

    pages: dict[frozenset[str], tuple[float, dict[str, Any]]] = field(
        default_factory=dict[frozenset[str], tuple[float, dict[str, Any]]]
    )
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever asks meanwhile waits for what one counts."""


def handlers(desk: Desk) -> list[Any]:
    """Give the pages of the overview."""
    kept = _Kept()

    @get("/")
    async def first(request: Request[Any, Any, Any]) -> Response[Any]:
        return await _page(desk, kept, request, "overzicht.html.j2")

    @get("/overzicht")
    async def fragment(request: Request[Any, Any, Any]) -> Response[Any]:
        return await _page(desk, kept, request, "_overzicht.html.j2")

    @get("/kanalen/{naam:str}")
    async def ask(request: Request[Any, Any, Any], naam: FromPath[str]) -> Response[Any]:
        return await _lane(desk, request, naam, "")

    @post("/kanalen/{naam:str}", status_code=303)
    async def turn(request: Request[Any, Any, Any], naam: FromPath[str]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        stop = form.get("doe") == "stop"
        act = "lane_stopped" if stop else "lane_started"
        await desk.access.need(person, Role.BEHEREN, act)
        reason = a_reason(form.get("reden"))
        if naam not in desk.parts.lanes:
            raise NotFoundException
        if reason is None:
            return await _lane(desk, request, naam, "Geef een reden.")
        now = desk.clock.now()
        async with desk.database.write() as connection:
            if stop:
                turned = await steps.stop_lane(connection, naam, reason=reason[:120], by=person.who, now=now)
            else:
                turned = await steps.start_lane(connection, naam, by=person.who)
            if turned:
                done = StaffAct(now, person.who, act, naam, reason)
                await record_act(connection, desk.parts.vault, done)
        return Redirect("/", status_code=303)

    return [first, fragment, ask, turn]


async def _lane(desk: Desk, request: AnyRequest, name: str, fault: str) -> Response[Any]:
    person = person_of(request)
    await desk.access.need(person, Role.BEHEREN, "lane")
    async with desk.database.read() as connection:
        found = {item.name: item for item in await overview.lanes(connection, desk.parts.lanes)}.get(name)
    if found is None:
        raise NotFoundException
    label = _lane_labels(desk).get(name, name)
    return desk.frame.page(person, "kanaal.html.j2", status=422 if fault else 200, lane=found, label=label, fault=fault)


async def _page(desk: Desk, kept: _Kept, request: AnyRequest, template: str) -> Response[Any]:
    person = person_of(request)
    chosen = str(request.query_params.get("organisatie", ""))
    organisations = frozenset({chosen}) if chosen in person.organisations else person.organisations
    words = await _counted(desk, kept, organisations)
    return desk.frame.page(
        person,
        template,
        chosen=chosen if chosen in person.organisations else "",
        labels=_lane_labels(desk),
        views=VIEWS,
        reasons=BOUNCE_REASONS,
        most_counted=overview.MOST_COUNTED,
        can_manage=person.may(Role.BEHEREN),
        **words,
    )


async def _counted(desk: Desk, kept: _Kept, organisations: frozenset[str]) -> dict[str, Any]:
    async with kept.counting:
        found = kept.pages.get(organisations)
        if found is not None and time.monotonic() - found[0] < _KEPT_SECONDS:
            return found[1]
        words = await _count(desk, organisations)
        fresh = {key: value for key, value in kept.pages.items() if time.monotonic() - value[0] < _KEPT_SECONDS}
        kept.pages = {**fresh, organisations: (time.monotonic(), words)}
        return words


async def _count(desk: Desk, organisations: frozenset[str]) -> dict[str, Any]:
    now = desk.clock.now()
    async with desk.database.read() as connection:
        hours = await overview.hours(connection, organisations, now)
        words: dict[str, Any] = {
            "counts": await overview.states(connection, organisations),
            "lanes": await overview.lanes(connection, desk.parts.lanes),
            "bodies": await overview.bodies(connection, organisations, now, desk.parts.policy.notice_within),
            "nearest": await search.find(connection, Sought(organisations, order=Order.DEADLINE), limit=_NEAREST),
            "hours": [(f"{hour.begins_at.astimezone(AMSTERDAM):%H} uur", hour.mails, hour.bounced) for hour in hours],
        }
    words["chart"] = bars(words["hours"], title="E-mails per uur in de laatste 24 uur; de getallen staan in de tabel")
    return words


def _lane_labels(desk: Desk) -> dict[str, str]:
    policy = desk.parts.policy
    own = {
        policy.notice_lane: "Kennisgevingen per e-mail",
        policy.print_lane: "Brieven",
        policy.profile_lane: "Profielservice",
    }
    return {**own, **{name: label[:1].upper() + label[1:] for name, label in labels(policy).items()}}
