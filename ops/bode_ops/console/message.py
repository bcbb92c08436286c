"""The page of one message: the whole story. Personal data stay closed until somebody gives a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
import structlog
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException, PermissionDeniedException
from litestar.params import FromPath
from litestar.response import Redirect
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.compose.notice import NoticeText
from bode.compose.wording import weekday_words
from bode.domain.message import Message
from bode.domain.parts import Delivery
from bode.domain.terms import legal_day
from bode.engine.acts import By, CannotActError
from bode.engine.calls import Calls
from bode.engine.evidence_check import check
from bode.store import console as store
from bode.store import events, messages, tables
from bode.store.events import StoredEvent
from bode.store.messages import Known
from bode_ops.console.access import AnyRequest, Person, Role, person_of
from bode_ops.console.desk import LONGEST_REASON, Desk, a_reason, an_id
from bode_ops.console.frame import SECURITY_HEADERS
from bode_ops.story import Line, labels, summary, timeline

log = structlog.get_logger()

_MOST_LINES = 500
_MOST_ROWS = 50
_LETTER_FILE = re.compile(r"([0-9]{1,4})\.pdf")
_IN_A_FRAME = {
    "Content-Security-Policy": SECURITY_HEADERS["Content-Security-Policy"].replace(
        "frame-ancestors 'none'", "frame-ancestors 'self'"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
"""A letter is shown in the page of its message, and nowhere else."""


def handlers(desk: Desk) -> list[Any]:
    """Give the pages of a message."""

    @get("/berichten/{bericht:str}")
    async def whole(request: Request[Any, Any, Any], bericht: FromPath[str]) -> Response[Any]:
        return await _page(desk, request, bericht, "bericht.html.j2")

    @get("/berichten/{bericht:str}/stand")
    async def fragment(request: Request[Any, Any, Any], bericht: FromPath[str]) -> Response[Any]:
        return await _page(desk, request, bericht, "_bericht.html.j2")

    @post("/berichten/{bericht:str}/gegevens", status_code=303)
    async def personal(request: Request[Any, Any, Any], bericht: FromPath[str]) -> Response[Any]:
        person = person_of(request)
        known, _, _ = await desk.message(person, bericht, "personal_data")
        reason = a_reason((await request.form()).get("reden"))
        if reason is None:
            return Redirect(f"/berichten/{known.id}?fout=reden#gegevens", status_code=303)
        try:
            await desk.acts.look(known.id, By(person.who, reason))
        except CannotActError:
            return Redirect(f"/berichten/{known.id}?fout=gewist#gegevens", status_code=303)
        now = desk.clock.real()
        async with desk.database.write() as connection:
            until = now + desk.settings.personal_for
            await store.open_for(connection, person.session, known.id, until=until, now=now)
        return Redirect(f"/berichten/{known.id}#gegevens", status_code=303)

    @get("/berichten/{bericht:str}/brieven/{bestand:str}")
    async def letter(request: Request[Any, Any, Any], bericht: FromPath[str], bestand: FromPath[str]) -> Response[Any]:
        person, number = person_of(request), _a_number(bestand)
        known, _, _ = await desk.message(person, bericht, "letter_shown")
        if not desk.access.is_open(person, known.id):
            await desk.access.refused(person, "letter_shown", f"letter/{number}", known)
            raise PermissionDeniedException
        async with desk.database.read() as connection:
            pdf = await messages.load_letter(connection, known.id, number, desk.parts.vault)
        if pdf is None:
            raise NotFoundException
        await desk.access.note(person, "letter_shown", f"letter/{number}", known)
        name = f'inline; filename="brief-{number}-{known.id}.pdf"'
        return Response(pdf, media_type="application/pdf", headers={"Content-Disposition": name, **_IN_A_FRAME})

    return [whole, fragment, personal, letter]


async def _page(desk: Desk, request: AnyRequest, bericht: str, template: str) -> Response[Any]:
    person = person_of(request)
    known, delivery, later = await desk.message(person, bericht, "message")
    policy, now = desk.parts.policy, desk.clock.now()
    async with desk.database.read() as connection:
        story = await events.of_message(connection, known.id, desk.parts.vault)
        pages = await _letter_pages(connection, known.id)
        earlier = await messages.get(connection, known.concerns) if known.concerns is not None else None
        checked = await check(connection, known.id, desk.origin)
        content = None
        is_open = desk.access.is_open(person, known.id)
        if is_open:
            content = (await messages.load(connection, [known.id], desk.parts.vault, with_documents=False)).get(
                known.id
            )
    return desk.frame.page(
        person,
        template,
        known=known,
        said=summary(delivery, policy, now=now),
        days=_by_day(timeline(story, channels=labels(policy))[-_MOST_LINES:]),
        story=story[-_MOST_LINES:],
        left_out=max(len(story) - _MOST_LINES, 0),
        pages=pages,
        earlier=earlier if earlier is not None and earlier.organisation in person.organisations else None,
        later=later[:_MOST_ROWS],
        checked=checked,
        is_open=is_open,
        content=content,
        address_lines=_address_lines(content),
        notices=_notices(desk, delivery, content, story) if content is not None else [],
        fault=str(request.query_params.get("fault", request.query_params.get("fout", ""))),
        done=str(request.query_params.get("gedaan", "")),
        can_act=person.may(Role.BEHANDELEN),
        can_extract=desk.extract is not None,
        longest_reason=LONGEST_REASON,
    )


def _notices(
    desk: Desk, delivery: Delivery, content: Message, story: Sequence[StoredEvent]
) -> list[tuple[str, NoticeText, bool]]:
    """Give the notices that left: the box, the text as it is written now, and whether evidence says it is the same."""
    calls, found = Calls(desk.parts), list[tuple[str, NoticeText, bool]]()
    sent = {(event.part, event.detail.get("text_sha256")) for event in story if event.name == "ConsignmentNotification"}
    for placement in delivery.placements:
        part = f"notice/{placement.channel}"
        if not any(one == part for one, _ in sent) or placement.channel not in desk.parts.policy.channels:
            continue
        try:
            text = desk.parts.notice_composer.compose(calls.notice_facts(delivery, content, placement.channel))
        except (ValueError, KeyError) as error:
            log.error("console.notice_not_composed", message=str(content.id), error=type(error).__name__)
            continue
        found.append((labels(desk.parts.policy)[placement.channel], text, (part, text.sha256) in sent))
    return found


def _address_lines(content: Message | None) -> list[str]:
    address = content.addressee.address if content is not None else None
    if address is None:
        return []
    lines = [
        address.extra,
        f"{address.street} {address.number}".strip(),
        f"{address.postcode} {address.city}".strip(),
        address.region,
        address.country,
    ]
    return [line for line in lines if line]


def _by_day(lines: Sequence[Line]) -> list[tuple[str, list[Line]]]:
    """Put lines under the day they are about, in the order in which they were recorded."""
    days = groupby(lines, key=lambda line: legal_day(line.at))
    return [(weekday_words(day), list(of_day)) for day, of_day in days]


def _a_number(file: str) -> int:
    found = _LETTER_FILE.fullmatch(file)
    if found is None:
        raise NotFoundException
    return int(found[1])


async def _letter_pages(connection: AsyncConnection, message_id: Any) -> dict[int, int]:
    """Give how many pages each letter has whose PDF can still be opened."""
    letter, content = tables.letter.c, tables.content.c
    rows = await connection.execute(
        sa.select(letter.number, letter.pages)
        .join_from(tables.letter, tables.content, letter.message_id == content.message_id)
        .where(letter.message_id == message_id, content.wrapped_key.is_not(None))
        .order_by(letter.number)
        .limit(_MOST_ROWS)
    )
    return {row.number: row.pages for row in rows}


__all__ = ["Known", "Person", "an_id", "handlers"]
