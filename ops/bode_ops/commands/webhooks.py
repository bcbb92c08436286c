"""`bode webhook`: what receivers were not told, and telling it after all."""

from __future__ import annotations

from cyclopts import App
from rich.table import Table

from bode.evidence.envelope import timestamp
from bode.store import webhooks
from bode_ops.assembly import Application
from bode_ops.commands.base import Config, UsageError, console, with_application

webhook_app = App(name="webhook", help="See webhooks that did not arrive, and send them again.")


@webhook_app.command(name="list")
def show(*, config: Config = None) -> None:
    """List the webhooks that wait or were given up, by receiver: how often they were tried, and the last answer."""

    async def work(application: Application) -> list[webhooks.Waiting]:
        async with application.database.read() as connection:
            return await webhooks.waiting(connection, limit=200)

    table = Table("receiver", "state", "message", "kind", "tries", "since", "last answer")
    for row in with_application(config, work):
        table.add_row(
            row.subscription,
            row.state,
            str(row.message_id),
            row.kind,
            str(row.attempt),
            timestamp(row.since),
            row.answer,
        )
    console.print(table)


@webhook_app.command
def replay(receiver: str, /, *, config: Config = None) -> None:
    """Send everything again that was given up for one receiver, in its order."""

    async def work(application: Application) -> int:
        if receiver not in application.settings.webhooks:
            raise UsageError(f"there is no webhook {receiver!r} in the configuration")
        async with application.database.write() as connection:
            return await webhooks.replay(connection, receiver, application.clock.now())

    console.print(f"{receiver}: {with_application(config, work)} to be sent again", markup=False)
