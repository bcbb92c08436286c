"""`bode zgw`: decisions of a zaaksysteem that wait for something, and what a person can do about them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.store import zgw
from bode.store.staff import StaffAct, record_act
from bode.store.zgw import Decision, State
from bode_adapters.zgw import RegisterAwayError, RegisterRefusedError
from bode_ops.assembly import Application
from bode_ops.commands.base import (
    AwayError,
    By,
    Config,
    Reason,
    UsageError,
    a_reason,
    console,
    me,
    with_application,
)

zgw_app = App(name="zgw", help="Decisions of a zaaksysteem (ZGW): what waits, and why.")

_Besluit = Annotated[str, Parameter(help="Its address, or the id at the end of that.")]
_OPEN = (State.NEW, State.WAITING, State.REFUSED, State.WRITING)


@zgw_app.command(name="list")
def zgw_list(
    *,
    everything: Annotated[bool, Parameter(name="--all", help="Those that wait for nothing, too.")] = False,
    most: Annotated[int, Parameter(help="How many, what waits longest first.")] = 100,
    config: Config = None,
) -> None:
    """List the decisions that are not done: to be fetched, waiting, refused, or to be written back; and why."""

    async def work(application: Application) -> list[Decision]:
        async with application.database.read() as connection:
            return await zgw.read(connection, states=tuple(State) if everything else _OPEN, limit=most)

    table = Table("source", "decision", "state", "since", "why")
    for one in with_application(config, work):
        why = f"{one.answer} document_na_verzending".strip() if one.late else one.answer
        table.add_row(one.source, one.url.rpartition("/")[2], one.state, f"{one.since:%Y-%m-%d %H:%M}Z", why)
    console.print(table if table.row_count else "nothing")


@zgw_app.command(name="retry")
def zgw_retry(besluit: _Besluit, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Look at a decision again now, after the cause was mended; or write back again now."""
    if not _done("zgw_retried", besluit, zgw.retry, reason=reason, by=by, config=config):
        raise UsageError(f"no decision {besluit!r} waits for anything: see 'bode zgw list'")
    console.print(f"{besluit}: looked at again", markup=False)


@zgw_app.command(name="handled")
def zgw_handled(besluit: _Besluit, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Record that a person dealt with a decision by other means. Nothing more is sent or written back for it."""
    if not _done("zgw_handled", besluit, zgw.handled, reason=reason, by=by, config=config):
        raise UsageError(f"no decision {besluit!r} waits for anything: see 'bode zgw list'")
    console.print(f"{besluit}: handled", markup=False)


@zgw_app.command(name="seen")
def zgw_seen(besluit: _Besluit, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Record that a person dealt with a document that was linked to a decision after it was sent."""

    def seen(connection: AsyncConnection, url: str, _: datetime) -> Awaitable[int]:
        return zgw.seen(connection, url)

    if not _done("zgw_seen", besluit, seen, reason=reason, by=by, config=config):
        raise UsageError(f"no document came late for decision {besluit!r}: see 'bode zgw list'")
    console.print(f"{besluit}: seen", markup=False)


def _done(
    act: str,
    besluit: str,
    do: Callable[[AsyncConnection, str, datetime], Awaitable[int]],
    *,
    reason: str,
    by: str | None,
    config: Path | None,
) -> int:
    """Do something about a decision, and write down who did and why; gives how many there were."""
    why = a_reason(reason)

    async def work(application: Application) -> int:
        now, vault = application.clock.now(), application.parts.vault
        async with application.database.write() as connection:
            found = await do(connection, besluit, now)
            if found:
                done = StaffAct(now, by or me(), act, besluit.rpartition("/")[2], why)
                await record_act(connection, vault, done)
            return found

    return with_application(config, work)


@zgw_app.command(name="reconcile")
def zgw_reconcile(source: str, /, *, config: Config = None) -> None:
    """Look through the registers now for decisions that no notification told of."""

    async def work(application: Application) -> int:
        if source not in application.settings.zgw:
            raise UsageError(f"there is no zaaksysteem {source!r}: [zgw.NAME] in the configuration names them")
        try:
            async with application.zgw.opened():
                return await application.zgw.reconcile(source)
        except (RegisterAwayError, RegisterRefusedError) as error:
            raise AwayError(f"the registers of {source} cannot be read: {error.code}") from None

    console.print(f"{with_application(config, work)} decisions found", markup=False)
