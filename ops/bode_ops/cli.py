"""The command line: `bode`. Every command explains itself with `--help`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NoReturn

import sqlalchemy as sa
from cyclopts import App, CycloptsError, Parameter
from rich.table import Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bode.compose.templates import TemplateError
from bode.domain import events as ev
from bode.domain.bounces import (
    RuleError,
)
from bode.domain.policy import pick
from bode.engine.checkpoints import SigningRefusedError
from bode.engine.stop_letter import CannotStopError, stop_letter
from bode.failpoints import FailpointsRefusedError
from bode.intake.faults import Refused
from bode.settings import ConfigError
from bode.store import events
from bode.store.database import SchemaError
from bode.store.harden import HardenError, harden, hardening
from bode.store.record import read_deliveries
from bode.store.vault import KeyFileError, VaultError
from bode_ops import assembly
from bode_ops.assembly import Application
from bode_ops.commands import evidence_copies
from bode_ops.commands.base import (
    AwayError,
    By,
    Config,
    Reason,
    UsageError,
    a_reason,
    build,
    check_broker,
    check_database,
    console,
    errors,
    find,
    load,
    me,
    naming,
    with_application,
)
from bode_ops.commands.bounces import bounce_app
from bode_ops.commands.doctor import doctor
from bode_ops.commands.enqueue import enqueue
from bode_ops.commands.evidence import evidence_app
from bode_ops.commands.evidence_audit import audit, republish
from bode_ops.commands.evidence_keys import keys_evidence_app
from bode_ops.commands.holds import hold_app
from bode_ops.commands.keys import keys_app
from bode_ops.commands.lanes import lane_app
from bode_ops.commands.logboek import logboek_app
from bode_ops.commands.mock import mock_app
from bode_ops.commands.queue import queue_app
from bode_ops.commands.retention import retention_app
from bode_ops.commands.show import config_show
from bode_ops.commands.webhooks import webhook_app
from bode_ops.commands.zgw import zgw_app
from bode_ops.demo.command import demo
from bode_ops.demo.processes import DemoError
from bode_ops.restored import Restored, restored
from bode_ops.run import Role
from bode_ops.run import run as run_role
from bode_ops.simulate import simulate
from bode_ops.story import render_text

app = App(
    name="bode",
    help="Delivery worker for official messages: placed, notified within 48 hours, escalated to paper, and proven.",
    help_format="plaintext",
    version=version("bode"),
    version_flags=["--version"],
)
policy_app = App(name="policy", help="See what the policy makes of the 48 hours.")
config_app = App(name="config", help="Check the configuration and see what is in force.")
db_app = App(name="db", help="Bring the database to the schema of this version.")
keys_app.command(keys_evidence_app)
evidence_app.command(audit, name="audit")
evidence_app.command(republish, name="republish")
evidence_copies.register(evidence_app)
for sub in (
    lane_app,
    policy_app,
    config_app,
    db_app,
    keys_app,
    bounce_app,
    evidence_app,
    logboek_app,
    hold_app,
    mock_app,
    queue_app,
    retention_app,
    webhook_app,
    zgw_app,
):
    app.command(sub)
app.command(enqueue)
app.command(demo)
app.command(simulate)
app.command(doctor)
config_app.command(config_show, name="show")

# ---------------------------------------------------------------------------------------------------- run and hand in


@app.command
def run(role: Annotated[Role, Parameter(help="What this process does.")] = Role.ALL, *, config: Config = None) -> None:
    """Run Bode, or one role of it, until it is stopped (SIGTERM)."""
    found = load(config)
    check_database(found)
    check_broker(found)
    with naming(config):
        asyncio.run(run_role(found, role))


@app.command
def status(reference: str, /, *, organisation: str | None = None, config: Config = None) -> None:
    """Print what happened to a message: its legal time of sending, and every step with its reason."""

    async def work(application: Application) -> str:
        known = await find(application, reference, organisation)
        seen = await application.status.read(known.id)
        if seen is None:
            raise UsageError(f"there is no message with reference {reference!r}")
        async with application.database.read() as connection:
            story = await events.of_message(connection, known.id, application.parts.vault)
        return render_text(*seen, story, policy=application.parts.policy, now=application.clock.now())

    console.print(with_application(config, work), markup=False)


# ------------------------------------------------------------------------------------------------------- acts of people


@app.command
def cancel(
    reference: str, /, *, reason: Reason, by: By | None = None, organisation: str | None = None, config: Config = None
) -> None:
    """Call back a message that was not handed to any channel yet."""
    why = a_reason(reason)

    async def work(application: Application) -> None:
        known = await find(application, reference, organisation)
        await application.intake.cancel(known.id, by=by or me(), reason=why)

    with_application(config, work)
    console.print(f"{reference}: geannuleerd", markup=False)


def _act(config: Path | None, reference: str, organisation: str | None, event: ev.Event) -> None:
    async def work(application: Application) -> None:
        known = await find(application, reference, organisation)
        await application.lanes.apply([(known.id, event)])

    with_application(config, work)
    console.print(f"{reference}: vastgelegd; de werker pakt het op", markup=False)


@app.command
def retry(
    reference: str, /, *, reason: Reason, by: By | None = None, organisation: str | None = None, config: Config = None
) -> None:
    """Try again whatever of a message waits for a person, after the cause was repaired."""
    _act(config, reference, organisation, ev.Retried(by or me(), a_reason(reason)))


@app.command
def letter(
    reference: str, /, *, reason: Reason, by: By | None = None, organisation: str | None = None, config: Config = None
) -> None:
    """Send the message itself by letter, now. A letter after a failed sending moves the legal time of sending."""
    _act(config, reference, organisation, ev.LetterOrdered(by or me(), a_reason(reason)))


@app.command(name="stop-letter")
def stop(
    reference: str,
    /,
    *,
    reason: Reason,
    number: Annotated[int | None, Parameter(help="Which letter, where more can be stopped; counted from 0.")] = None,
    by: By | None = None,
    organisation: str | None = None,
    config: Config = None,
) -> None:
    """Stop a letter that the print service does not have yet. Another can be ordered later."""
    why = a_reason(reason)

    async def work(application: Application) -> int:
        known = await find(application, reference, organisation)
        try:
            return await stop_letter(application.parts, known.id, number, by=by or me(), reason=why)
        except CannotStopError as error:
            raise UsageError(f"{reference}: {error}") from None

    stopped = with_application(config, work)
    console.print(f"{reference}: brief {stopped} is tegengehouden", markup=False)


@app.command
def handled(
    reference: str,
    /,
    *,
    reason: Reason,
    part: Annotated[str | None, Parameter(help="Only this part, as letter/0; all that waits when left out.")] = None,
    by: By | None = None,
    organisation: str | None = None,
    config: Config = None,
) -> None:
    """Record that a person dealt by hand with what waits of a message. Nothing more is tried for it."""
    why = a_reason(reason)

    async def work(application: Application) -> Sequence[str]:
        known = await find(application, reference, organisation)
        async with application.database.read() as connection:
            delivery = (await read_deliveries(connection, [known.id]))[known.id]
        waiting = list(dict.fromkeys(item.part for item in delivery.attention))
        if part is not None and part not in waiting:
            raise UsageError(f"{reference}: {part!r} waits for nobody; what waits is {', '.join(waiting) or 'nothing'}")
        if not waiting:
            raise UsageError(f"{reference}: nothing of it waits for a person")
        await application.lanes.apply([(known.id, ev.Handled(by or me(), why, part))])
        return waiting if part is None else [part]

    done = with_application(config, work)
    console.print(f"{reference}: afgehandeld ({', '.join(done)})", markup=False)


# --------------------------------------------------------------------------------------------- policy and configuration


@policy_app.command(name="show")
def policy_show(*, config: Config = None) -> None:
    """Print how a notice that bounces softly is tried again, against the 48 hours, and the alarm moments."""
    application = build(config)
    policy = application.parts.policy
    limit = policy.notice_within
    last = limit - policy.notice_last_attempt
    table = Table("attempt", "after", "of the 48 hours", title="A notice that bounces softly (waits vary by a fifth)")
    at, attempt = timedelta(0), 1
    while True:
        table.add_row(str(attempt), _hours(at), f"{at / limit:.0%}")
        if at >= last:
            break
        at = min(at + pick(policy.notice_retries, attempt), last)
        attempt += 1
    console.print(table)
    console.print(
        f"alarms after {', '.join(_hours(alarm) for alarm in policy.notice_alarms)}; letter at {_hours(limit)}"
    )
    console.print(f"a box is tried for {_hours(policy.placement_patience)} before the next route")


def _hours(wait: timedelta) -> str:
    minutes = round(wait.total_seconds() / 60)
    return f"{minutes // 60} h {minutes % 60:02d}" if minutes % 60 else f"{minutes // 60} h"


@config_app.command(name="check")
def config_check(*, config: Config = None) -> None:
    """Validate the configuration, every adapter's settings and every template, and print what is in force."""
    application = build(config)
    found = application.settings
    console.print(f"environment   {found.environment}")
    console.print(f"database      {sa.make_url(found.database.url).render_as_string(hide_password=True)}", markup=False)
    console.print(f"broker        {'inside the process' if found.broker.url is None else 'redis'}")
    for oin, organisation in found.organisations.items():
        console.print(f"organisation  {oin} {organisation.name}", markup=False)
    for name, channel in found.channels.items():
        primary = ", primary" if channel.primary else ""
        console.print(f"channel       {name}: {channel.adapter} ({channel.kind}, up to {channel.ceiling}{primary})")
    console.print("in order")


@db_app.command(name="upgrade")
def db_upgrade(
    *,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Print the statements instead; changes and locks nothing (PostgreSQL).")
    ] = False,
    config: Config = None,
) -> None:
    """Bring the database to the schema of this version; safe to run again."""

    async def work() -> str | None:
        found = load(config)
        check_database(found)
        database = assembly.build_database(found)
        if dry_run and database.is_sqlite:
            raise UsageError("--dry-run is for PostgreSQL: copy the SQLite file, and upgrade the copy")
        try:
            if dry_run:
                return await database.upgrade_sql()
            await database.upgrade()
        finally:
            await database.close()
        return None

    statements = asyncio.run(work())
    if statements:
        print(statements, end="")  # noqa: T201 - the answer itself
    else:
        console.print("schema is current")


@db_app.command(name="restored")
def db_restored(*, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """After a restore, and before Bode is started: have it find out what was done since the backup was made.

    Without it, what the backup says is to be done would be done again, and a box that does not know a repeat would have
    a message twice. Run it once; docs/operations.md has the whole procedure.
    """
    why = a_reason(reason)

    async def work(application: Application) -> Restored:
        return await restored(application, by=by or me(), reason=why)

    done = with_application(config, work)
    last = f"{done.since:%Y-%m-%d %H:%M:%S}Z" if done.since is not None else "none"
    console.print(f"last event in this database: {last}; steps that may have been done since: {done.steps}")
    if done.lost is not None and done.lost > 0:
        console.print(
            f"the published log has {done.lost} more events than this database: what was accepted, sent or bounced "
            "since is not known here, and nothing is signed until that is settled (docs/operations.md)"
        )


@db_app.command(name="harden")
def db_harden(
    *,
    role: Annotated[str, Parameter(help="The database role that Bode runs as; not the owner of the tables.")],
    sql: Annotated[bool, Parameter(help="Print the statements instead, for whoever may carry them out.")] = False,
    config: Config = None,
) -> None:
    """Let a PostgreSQL role read evidence and add to it, and nothing else; run it as the owner, after each upgrade."""
    found = load(config)
    if not found.database.url.startswith("postgresql"):
        raise UsageError("database.url is SQLite, which has no roles: guard the file by its rights")
    if sql:
        console.print(";\n".join([*hardening(role), ""]), markup=False, end="")
        return

    async def work() -> None:
        database = assembly.build_database(found)
        try:
            await database.check_schema()
            await harden(database, role)
        finally:
            await database.close()

    asyncio.run(work())
    console.print(f"role {role} can read evidence and add to it, and nothing else", markup=False)


_MENDABLE = (
    UsageError,
    ConfigError,
    SchemaError,
    KeyFileError,
    VaultError,
    TemplateError,
    RuleError,
    Refused,
    DemoError,
    HardenError,
    SigningRefusedError,
    FailpointsRefusedError,
)


def main() -> None:
    """Run the command line. 2: what the user can mend; 3: what is outside and not there; each in one clear message."""
    try:
        app(sys.argv[1:], result_action="return_none", exit_on_error=False)
    except CycloptsError:
        raise SystemExit(2) from None  # it has said what is wrong
    except _MENDABLE as error:
        detail = "\n".join(fault.detail for fault in error.faults) if isinstance(error, Refused) else str(error)
        _end(2, detail)
    except AwayError as error:
        _end(3, str(error))
    except DBAPIError as error:
        # Only a failure to connect has no statement, and so nothing of a message in its text.
        text = str(error.orig).strip() if error.statement is None else type(error.orig).__name__
        _end(3, f"the database at database.url cannot be used: {text}")
    except SQLAlchemyError as error:
        _end(3, f"the database at database.url cannot be used: {type(error).__name__}")
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        _end(3, what)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _end(code: int, detail: str) -> NoReturn:
    errors.print(f"bode: {detail}", markup=False)
    raise SystemExit(code) from None
