"""`bode bounce`: classify, see what waits, and decide on it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
from cyclopts import App, Parameter
from rich.table import Table

from bode.domain.bounces import Phase, SmtpReply, classify_reply, describe_mail, describe_reply, read_mail
from bode.engine.bursts import decide_burst
from bode.engine.inbound import MAIL_ROUTES
from bode.engine.return_path import Flaw
from bode.store import mail_health, tables
from bode.store.mail_health import Burst, BurstKind
from bode_ops import assembly
from bode_ops.assembly import Application
from bode_ops.commands.base import By, Config, Reason, UsageError, a_reason, console, find, me, with_application

bounce_app = App(name="bounce", help="Tell soft, hard and sender-side bounces apart; see and decide what waits.")

_MOST_LISTED = 200
_WHY: Mapping[str, str] = {
    Flaw.FORGED: "forged: the return path was not signed by us",
    Flaw.KEY_REMOVED: "its key was removed (bode keys return-path list)",
    Flaw.EXPIRED: "expired: the mail is longer ago than bounces.return_path_valid",
    Flaw.ABSENT: "no return path of ours",
}


class InboundState(StrEnum):
    """What became of something that came in."""

    UNMATCHED = "unmatched"
    IGNORED = "ignored"
    MATCHED = "matched"
    NEW = "new"


@bounce_app.command(name="classify")
def bounce_classify(*files: Path) -> None:
    """Classify bounce mails: one JSON line per recipient, with verdict, reason and the rule that spoke."""
    if not files:
        raise UsageError("name the files to classify, one mail each")
    rules = assembly.bounce_rules()
    for file in files:
        if not file.is_file():
            raise UsageError(f"there is no file {file}")
        for line in describe_mail(str(file), read_mail(file.read_bytes(), rules)):
            sys.stdout.write(json.dumps(line) + "\n")


@bounce_app.command(name="classify-reply")
def bounce_classify_reply(
    *, phase: Annotated[Phase, Parameter(help="Where in the conversation the server said it.")] = Phase.RCPT_TO
) -> None:
    """Classify SMTP replies from standard input, one a line: one JSON line each."""
    rules = assembly.bounce_rules()
    for line in sys.stdin.buffer:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            continue
        code = int(text[:3]) if text[:3].isdecimal() else 0
        reply = SmtpReply(phase, code, text)
        sys.stdout.write(json.dumps(describe_reply(reply, classify_reply(reply, rules))) + "\n")


@bounce_app.command(name="held")
def bounce_held(*, config: Config = None) -> None:
    """List the bursts of hard bounces that hold letters until a person decides."""

    async def work(application: Application) -> list[Burst]:
        async with application.database.read() as connection:
            return await mail_health.open_bursts(connection)

    table = Table("kind", "name", "since")
    for burst in with_application(config, work):
        table.add_row(burst.kind, burst.name, f"{burst.opened_at:%Y-%m-%d %H:%M}Z")
    console.print(table if table.row_count else "nothing is held")


@bounce_app.command(name="decide")
def bounce_decide(
    kind: BurstKind,
    name: str,
    /,
    *,
    real: Annotated[bool, Parameter(negative="--not-real", help="Whether these addresses really do not work.")],
    reason: Reason,
    by: By | None = None,
    config: Config = None,
) -> None:
    """Decide on a burst: --real sends the letters, --not-real sends the notices again and trusts the addresses."""
    who, why = by or me(), a_reason(reason)

    async def work(application: Application) -> int:
        try:
            return await decide_burst(application.parts, application.lanes, kind, name, real=real, by=who, reason=why)
        except LookupError:
            raise UsageError(f"there is no open burst of {kind} {name!r}: see 'bode bounce held'") from None

    count = with_application(config, work)
    console.print(f"{count} notices: {'a letter goes' if real else 'sent again'}")


@bounce_app.command(name="list")
def bounce_list(
    *,
    state: Annotated[
        tuple[InboundState, ...], Parameter(consume_multiple=True, help="What became of it; one or more.")
    ] = (InboundState.UNMATCHED, InboundState.IGNORED),
    config: Config = None,
) -> None:
    """List what came in and nothing followed from, newest first, with why, and the message it seems to be about.

    Unmatched waits for a person: see 'bode bounce match' and 'bode bounce replay'. Ignored needs nobody: a forged or an
    expired return path, or none of ours.
    """

    async def work(application: Application) -> list[tuple[str, str, str, datetime, str | None, str | None]]:
        inbound, message = tables.inbound, tables.message
        column = inbound.c
        async with application.database.read() as connection:
            rows = await connection.execute(
                sa.select(column.key, column.route, column.state, column.received_at, column.note, message.c.reference)
                .select_from(inbound.outerjoin(message, message.c.id == column.message_id))
                .where(column.state.in_(state))
                .order_by(column.received_at.desc())
                .limit(_MOST_LISTED)
            )
            return [(row.key, row.route, row.state, row.received_at, row.note, row.reference) for row in rows]

    table = Table("key", "route", "received", "state", "why", "perhaps about")
    for key, route, kind, received_at, note, reference in with_application(config, work):
        table.add_row(
            key[:16], route, f"{received_at:%Y-%m-%d %H:%M}Z", kind, _WHY.get(note or "", note or ""), reference or ""
        )
    console.print(table if table.row_count else "nothing")


@bounce_app.command(name="replay")
def bounce_replay(key: str, /, *, config: Config = None) -> None:
    """Decide mails of the list again, for instance after rules were mended. KEY: its first characters, or 'all'."""

    async def work(application: Application) -> int:
        column = tables.inbound.c
        which = sa.and_(column.state.in_(("unmatched", "ignored")), column.route.in_(MAIL_ROUTES))
        if key != "all":
            which = sa.and_(which, column.key.startswith(key, autoescape=True))
        async with application.database.write() as connection:
            changed = await connection.execute(
                sa.update(tables.inbound).where(which).values(state="new", note=None, message_id=None)
            )
        await application.inbound.work()
        return changed.rowcount

    count = with_application(config, work)
    if not count:
        raise UsageError(f"nothing in the list has a key that starts with {key!r}: see 'bode bounce list'")
    console.print(f"{count} decided again")


@bounce_app.command(name="match")
def bounce_match(
    key: str,
    reference: str,
    /,
    *,
    reason: Reason,
    by: By | None = None,
    organisation: str | None = None,
    config: Config = None,
) -> None:
    """Match a mail of 'bode bounce list' to the message it is about; what it says is then decided as for any bounce."""
    who, why = by or me(), a_reason(reason)

    async def work(application: Application) -> str:
        known = await find(application, reference, organisation)
        return await application.inbound.match(key, known.id, by=who, reason=why)

    console.print(f"{reference}: {with_application(config, work)}", markup=False)
