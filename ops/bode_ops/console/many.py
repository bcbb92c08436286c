"""Acts on many messages: a dry run first, a second person where there are many, and progress that anybody can see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from bode.domain.acts import Act
from bode.engine.acts import By
from bode.engine.jobs import MOST, ON_MANY, CannotConfirmError, Job
from bode.store import search
from bode_ops.console.access import AnyRequest, Role, person_of
from bode_ops.console.desk import LONGEST_REASON, Desk, a_reason, an_id
from bode_ops.console.search import Chosen
from bode_ops.story import labels
from bode_ops.story.effects import ACTS

_LISTED = 50
NOTES: Mapping[str, str] = {
    "not_possible": "dit kan niet",
    "moves_legal_time": "het moment van verzending kan hierdoor veranderen",
    "same_legal_time": "het moment van verzending verandert niet",
    "in_hand": "Bode was er op dat moment mee bezig",
    "erased": "de gegevens zijn gewist",
}
STATES: Mapping[str, str] = {
    "counting": "Bode kijkt wat er zou gebeuren",
    "waiting": "Wacht op bevestiging",
    "running": "Wordt uitgevoerd",
    "done": "Klaar",
    "stopped": "Gestopt",
}


def handlers(desk: Desk) -> list[Any]:  # noqa: C901 - each page is a function of its own
    """Give the pages of acts on many messages."""
    boxes = labels(desk.parts.policy)

    @get("/opdrachten")
    async def listed(request: Request[Any, Any, Any]) -> Response[Any]:
        person = person_of(request)
        await desk.access.need(person, Role.BEHANDELEN, "jobs")
        jobs = await desk.jobs.latest(person.organisations, most=_LISTED)
        return desk.frame.page(person, "opdrachten.html.j2", jobs=jobs, acts=ACTS, job_states=STATES)

    @post("/opdrachten/nieuw", status_code=200)
    async def choose(request: Request[Any, Any, Any]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        await desk.access.need(person, Role.BEHANDELEN, "job_made")
        picked = [str(item) for item in form.getall("bericht", [])]
        chosen = Chosen.read({key: str(value) for key, value in form.items()}, person, boxes)
        everything = form.get("keuze") == "alle"
        return desk.frame.page(
            person,
            "opdracht-nieuw.html.j2",
            picked=[] if everything else picked[:_LISTED],
            chosen=chosen,
            everything=everything,
            acts={act: ACTS[act] for act in ON_MANY},
            longest_reason=LONGEST_REASON,
            fault="" if everything or picked else "Kies eerst berichten.",
        )

    @post("/opdrachten", status_code=303)
    async def make(request: Request[Any, Any, Any]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        await desk.access.need(person, Role.BEHANDELEN, "job_made")
        reason, act = a_reason(form.get("reden")), _act(str(form.get("handeling", "")))
        picked = [str(item) for item in form.getall("bericht", [])]
        chosen = Chosen.read({key: str(value) for key, value in form.items()}, person, boxes)
        everything = form.get("keuze") == "alle"
        if reason is None or (not picked and not everything):
            return desk.frame.page(
                person,
                "opdracht-nieuw.html.j2",
                status=422,
                picked=picked[:_LISTED],
                chosen=chosen,
                everything=everything,
                acts={item: ACTS[item] for item in ON_MANY},
                longest_reason=LONGEST_REASON,
                fault="Geef een reden." if reason is None else "Kies eerst berichten.",
            )
        ids: list[UUID] = []
        async with desk.database.read() as connection:
            if everything:
                ids = await search.ids(connection, chosen.sought(person, desk.clock.now()), most=MOST)
            else:
                for one in picked[:_LISTED]:
                    looked = search.Sought(person.organisations, id=an_id(one))
                    ids += await search.ids(connection, looked, most=1)
        job_id = await desk.jobs.make(
            act, ids, By(person.who, reason), organisations=person.organisations, chosen=chosen.query()
        )
        return Redirect(f"/opdrachten/{job_id}", status_code=303)

    @get("/opdrachten/{opdracht:str}")
    async def whole(request: Request[Any, Any, Any], opdracht: FromPath[str]) -> Response[Any]:
        return await _page(desk, request, opdracht, "opdracht.html.j2")

    @get("/opdrachten/{opdracht:str}/stand")
    async def fragment(request: Request[Any, Any, Any], opdracht: FromPath[str]) -> Response[Any]:
        return await _page(desk, request, opdracht, "_opdracht.html.j2")

    @post("/opdrachten/{opdracht:str}/bevestigen", status_code=303)
    async def confirm(request: Request[Any, Any, Any], opdracht: FromPath[str]) -> Response[Any]:
        person, job = person_of(request), await _job(desk, request, opdracht, "job_confirmed")
        try:
            await desk.jobs.confirm(job.id, person.who)
        except CannotConfirmError as error:
            if error.code == "same_person":
                await desk.access.refused(person, "job_confirmed", str(job.id))
            return Redirect(f"/opdrachten/{job.id}?fout={error.code}", status_code=303)
        return Redirect(f"/opdrachten/{job.id}", status_code=303)

    @post("/opdrachten/{opdracht:str}/stoppen", status_code=303)
    async def stop(request: Request[Any, Any, Any], opdracht: FromPath[str]) -> Response[Any]:
        person, job = person_of(request), await _job(desk, request, opdracht, "job_stopped")
        await desk.jobs.stop(job.id, person.who)
        return Redirect(f"/opdrachten/{job.id}", status_code=303)

    return [listed, choose, make, whole, fragment, confirm, stop]


async def _job(desk: Desk, request: AnyRequest, opdracht: str, act: str) -> Job:
    """Give a job on messages of bodies that somebody works for."""
    person = person_of(request)
    await desk.access.need(person, Role.BEHANDELEN, act)
    job = await desk.jobs.read(an_id(opdracht))
    if job is None:
        raise NotFoundException
    if not job.organisations <= person.organisations:
        await desk.access.refused(person, act, str(job.id))
        raise NotFoundException
    return job


async def _page(desk: Desk, request: AnyRequest, opdracht: str, template: str) -> Response[Any]:
    person, job = person_of(request), await _job(desk, request, opdracht, "job")
    faults = {
        "same_person": "Een andere collega moet dit bevestigen: u hebt de opdracht zelf gemaakt.",
        "not_waiting": "Deze opdracht wacht niet (meer) op bevestiging.",
    }
    return desk.frame.page(
        person,
        template,
        job=job,
        acts=ACTS,
        job_states=STATES,
        notes=NOTES,
        second=job.fit > desk.jobs.confirm_above,
        above=desk.jobs.confirm_above,
        fault=faults.get(str(request.query_params.get("fout", "")), ""),
    )


def _act(text: str) -> Act:
    found = {str(act): act for act in ON_MANY}.get(text)
    if found is None:
        raise NotFoundException
    return found
