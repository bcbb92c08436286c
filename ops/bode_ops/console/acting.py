"""Acts on one message: a page that says what would follow, with a reason to give; then the act itself, and back.

What follows is asked of the rules twice: for the page, and again when it is done. Where the message moved meanwhile so
that something else would follow, nothing is done and the page is shown again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from email_validator import EmailNotValidError, validate_email
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from bode.domain.acts import Act, Choice, effect, possible
from bode.domain.parts import Delivery
from bode.domain.terms import AMSTERDAM
from bode.engine.acts import By, CannotActError
from bode.engine.copies import Audience
from bode.store.messages import Known
from bode_ops.console.access import AnyRequest, Role, person_of
from bode_ops.console.desk import LONGEST_REASON, Desk, a_reason
from bode_ops.story import labels
from bode_ops.story.effects import before, consequences, title

AUDIENCES: Mapping[str, tuple[Audience, str]] = {
    "geadresseerde": (Audience.ADDRESSEE, "Voor de ontvanger: wat is verstuurd, gemeld en teruggekomen"),
    "afzender": (Audience.SENDER, "Voor de afzender: alles"),
    "rechter": (Audience.COURT, "Voor de rechter: alles"),
}
_WHY_NOT: Mapping[str, str] = {
    "not_possible": "Dit kan nu niet (meer). Er is niets gedaan.",
    "in_hand": "Bode is hier op dit moment mee bezig. Er is niets gedaan. Probeer het over een minuut nog eens.",
    "moved": "Er is intussen iets veranderd. Er is niets gedaan. Lees hieronder wat er nu zou gebeuren.",
    "erased": "De gegevens van dit bericht zijn gewist. Er is niets gedaan.",
    "reden": f"Geef een reden, in hooguit {LONGEST_REASON} tekens.",
    "email": "Dit is geen geldig e-mailadres.",
    "tijdstip": "Geef de dag en de tijd waarop het is aangekomen. Die mag niet in de toekomst liggen.",
}


def handlers(desk: Desk) -> list[Any]:  # noqa: C901 - each page is a function of its own
    """Give the pages of acts."""

    @get("/berichten/{bericht:str}/handelingen/{handeling:str}")
    async def ask(request: Request[Any, Any, Any], bericht: FromPath[str], handeling: FromPath[str]) -> Response[Any]:
        person = person_of(request)
        known, delivery, _ = await desk.message(person, bericht, handeling)
        await desk.access.need(person, Role.BEHANDELEN, handeling, known)
        choice = _choice(handeling, request.query_params.get("onderdeel"))
        return _form(desk, request, known, delivery, choice)

    @post("/berichten/{bericht:str}/handelingen/{handeling:str}", status_code=303)
    async def do(request: Request[Any, Any, Any], bericht: FromPath[str], handeling: FromPath[str]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        known, delivery, _ = await desk.message(person, bericht, handeling)
        await desk.access.need(person, Role.BEHANDELEN, handeling, known)
        choice = _choice(handeling, form.get("onderdeel"))
        reason, typed = a_reason(form.get("reden")), {key: str(value) for key, value in form.items()}
        if reason is None:
            return _form(desk, request, known, delivery, choice, fault="reden", typed=typed)
        email = _email(typed.get("email", "")) if choice.act is Act.NOTICE_NEW_ADDRESS else None
        if choice.act is Act.NOTICE_NEW_ADDRESS and email is None:
            return _form(desk, request, known, delivery, choice, fault="email", typed=typed)
        at = _moment(typed) if choice.act is Act.FOUND else None
        if choice.act is Act.FOUND and (at is None or at > desk.clock.now()):
            return _form(desk, request, known, delivery, choice, fault="tijdstip", typed=typed)
        now, names = desk.clock.now(), labels(desk.parts.policy)
        if choice not in possible(delivery, desk.parts.policy, now):
            return _form(desk, request, known, delivery, choice, fault="not_possible", typed=typed)
        follows = effect(delivery, choice, desk.parts.policy, now)
        if typed.get("gevolgen", "") != _seen(consequences(choice, follows, delivery, names)):
            return _form(desk, request, known, delivery, choice, fault="moved", typed=typed)
        try:
            await desk.acts.do(known.id, choice, By(person.who, reason), shown=follows, email=email, at=at)
        except CannotActError as error:
            known, delivery, _ = await desk.message(person, bericht, handeling)
            return _form(desk, request, known, delivery, choice, fault=error.code, typed=typed)
        return Redirect(f"/berichten/{known.id}?gedaan={choice.act}", status_code=303)

    @get("/berichten/{bericht:str}/afschrift")
    async def ask_extract(request: Request[Any, Any, Any], bericht: FromPath[str]) -> Response[Any]:
        person = person_of(request)
        known, _, _ = await desk.message(person, bericht, "extract")
        await desk.access.need(person, Role.BEHANDELEN, "extract", known)
        return desk.frame.page(person, "afschrift.html.j2", known=known, audiences=AUDIENCES, fault="")

    @post("/berichten/{bericht:str}/afschrift", status_code=200)
    async def give_extract(request: Request[Any, Any, Any], bericht: FromPath[str]) -> Response[Any]:
        person, form = person_of(request), await request.form()
        known, _, _ = await desk.message(person, bericht, "extract")
        await desk.access.need(person, Role.BEHANDELEN, "extract", known)
        audience, reason = AUDIENCES.get(str(form.get("voor", ""))), a_reason(form.get("reden"))
        if desk.extract is None or audience is None:
            raise NotFoundException
        if reason is None:
            fault = _WHY_NOT["reden"]
            return desk.frame.page(person, "afschrift.html.j2", known=known, audiences=AUDIENCES, fault=fault)
        await desk.acts.look(known.id, By(person.who, reason))
        await desk.access.note(person, "extract", audience[0], known)
        made = await desk.extract(known.id, audience[0], person.who)
        if made is None:
            fault = "Het afschrift is vastgelegd, maar nog niet ondertekend. Probeer het over een minuut nog eens."
            return desk.frame.page(person, "afschrift.html.j2", known=known, audiences=AUDIENCES, fault=fault)
        name = f'attachment; filename="afschrift-{known.id}.zip"'
        return Response(made, media_type="application/zip", headers={"Content-Disposition": name})

    return [ask, do, ask_extract, give_extract]


def _form(
    desk: Desk,
    request: AnyRequest,
    known: Known,
    delivery: Delivery,
    choice: Choice,
    *,
    fault: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response[Any]:
    policy, now, names = desk.parts.policy, desk.clock.now(), labels(desk.parts.policy)
    can = choice in possible(delivery, policy, now)
    follows = consequences(choice, effect(delivery, choice, policy, now), delivery, names) if can else []
    local = now.astimezone(AMSTERDAM)
    return desk.frame.page(
        person_of(request),
        "handeling.html.j2",
        status=422 if fault else 200,
        known=known,
        choice=choice,
        title=title(choice, names),
        before=before(choice),
        follows=follows,
        seen=_seen(follows),
        can=can,
        fault_at=fault,
        fault=_WHY_NOT.get(fault, "") or ("" if can else _WHY_NOT["not_possible"]),
        typed=typed or {"dag": f"{local:%Y-%m-%d}", "tijd": f"{local:%H:%M}"},
        asks_email=choice.act is Act.NOTICE_NEW_ADDRESS,
        asks_moment=choice.act is Act.FOUND,
        longest_reason=LONGEST_REASON,
    )


def _choice(handeling: str, onderdeel: object) -> Choice:
    try:
        act = Act(handeling)
    except ValueError as error:
        raise NotFoundException from error
    part = str(onderdeel)[:64] if onderdeel else None
    return Choice(act, part)


def _seen(follows: list[str]) -> str:
    """Give what a form carries of what was seen on it."""
    return " ".join(follows)


def _email(text: str) -> str | None:
    try:
        return validate_email(text.strip(), check_deliverability=False).normalized
    except EmailNotValidError:
        return None


def _moment(typed: Mapping[str, str]) -> datetime | None:
    try:
        naive = datetime.fromisoformat(f"{typed.get('dag', '')}T{typed.get('tijd', '')}")
    except ValueError:
        return None
    return naive.replace(tzinfo=AMSTERDAM).astimezone(UTC) if naive.tzinfo is None else None
