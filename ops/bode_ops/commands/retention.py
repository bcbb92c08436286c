"""`bode retention`: how long what is kept, what is due to go, and its going."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from bode.domain.retention import Kind
from bode.engine.retention import ALL_OTHERS, Found
from bode_ops.assembly import Application, terms_of
from bode_ops.commands.base import Config, console, load, with_application

retention_app = App(name="retention", help="See how long what is kept, and let go what its term is over of.")


@retention_app.command(name="show")
def retention_show(*, config: Config = None) -> None:
    """Show the terms in force, in days from the end of a message's delivery."""
    settings = load(config)
    base, own = terms_of(settings)
    table = Table("organisation", *Kind)
    for organisation, terms in {ALL_OTHERS: base, **own}.items():
        table.add_row(organisation, *(str(terms.of(kind).days) for kind in Kind))
    console.print(table)


@retention_app.command(name="run")
def retention_run(
    *,
    dry_run: Annotated[bool, Parameter(negative="", help="Only count what would go.")] = False,
    config: Config = None,
) -> None:
    """Let go what is due, as the sweeper does every hour. What is held for a case at law stays."""

    async def work(application: Application) -> Found:
        return await (application.retention.due() if dry_run else application.retention.purge())

    found = with_application(config, work)
    for (organisation, kind), count in sorted(found.items()):
        console.print(f"{organisation}  {kind}  {count}", markup=False)
    console.print(f"{sum(found.values())} {'due' if dry_run else 'gone'}")
