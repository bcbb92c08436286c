"""`bode hold`: see what waits because too much came at once, and let it go or call it back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Column, Table

from bode.domain.volume import VolumeRule
from bode.engine import held
from bode.engine.held import Which
from bode.store import volume
from bode.store.volume import Held
from bode_ops.assembly import Application
from bode_ops.commands.base import By, Config, Reason, UsageError, a_reason, console, me, with_application

hold_app = App(name="hold", help="See and decide on what waits because an organisation sent too much at once.")

_Rule = Annotated[VolumeRule | None, Parameter(help="Only what this rule holds; default: all rules.")]
_Application = Annotated[str | None, Parameter(help="Only what this application handed in; what comes next waits too.")]


@hold_app.command(name="list")
def hold_list(*, config: Config = None) -> None:
    """List what waits, by organisation, rule and application; nothing of these messages or letters was sent."""

    async def work(application: Application) -> list[Held]:
        async with application.database.read() as connection:
            return await volume.held(connection)

    table = Table(Column("organisation", min_width=20), "rule", "application", "number", "since", "what comes")
    for one in with_application(config, work):
        since, comes = f"{one.since:%Y-%m-%d %H:%M}Z", "waits too" if one.holds_all else "goes"
        if one.rule is VolumeRule.ADDRESSEE:
            comes = "goes, to others"
        table.add_row(one.organisation, one.rule, one.application or "", str(one.messages), since, comes)
    console.print(table if table.row_count else "nothing is held")


@hold_app.command(name="release")
def hold_release(
    organisation: str,
    /,
    *,
    rule: _Rule = None,
    application: _Application = None,
    reason: Reason,
    by: By | None = None,
    config: Config = None,
) -> None:
    """Let go what waits of ORGANISATION (its OIN): it is sent, and its budget begins anew from here."""
    count = _decide(held.release, organisation, rule, application, reason=reason, by=by, config=config)
    console.print(f"{count} messages: they go")


@hold_app.command(name="cancel")
def hold_cancel(
    organisation: str,
    /,
    *,
    rule: _Rule = None,
    application: _Application = None,
    reason: Reason,
    by: By | None = None,
    config: Config = None,
) -> None:
    """Call back what waits of ORGANISATION (its OIN): the messages, and of the rule 'letters' the letters."""
    count = _decide(held.cancel, organisation, rule, application, reason=reason, by=by, config=config)
    console.print(f"{count} messages: called back")


def _decide(
    decide: Callable[..., Awaitable[int]],
    organisation: str,
    rule: VolumeRule | None,
    application: str | None,
    *,
    reason: str,
    by: str | None,
    config: Config,
) -> int:
    who, why = by or me(), a_reason(reason)
    which = Which(organisation, {rule} if rule is not None else frozenset(VolumeRule), application)

    async def work(app: Application) -> int:
        try:
            return await decide(app.parts, app.lanes, which, by=who, reason=why)
        except LookupError:
            raise UsageError(f"nothing of {organisation} is held so: see 'bode hold list'") from None

    return with_application(config, work)
