"""`bode lane`: see, stop, start and tune lanes, while they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
import sqlalchemy as sa
from cyclopts import App, Parameter
from rich.table import Column, Table

from bode.domain.lane_rules import LaneRuleError, LaneRules
from bode.engine.lane_rules import configured
from bode.store import lanes, steps, tables
from bode.store.lanes import Changes
from bode.store.staff import StaffAct, read_acts, record_act
from bode_ops.assembly import Application
from bode_ops.commands.base import By, Config, Reason, UsageError, a_reason, console, me, with_application

lane_app = App(name="lane", help="See, stop, start and tune lanes: one per channel, one for notices, one for print.")

_NONE = "none"
_Limit = Annotated[str | None, Parameter(help="Steps a minute over all workers, or 'none'.")]
_Quiet = Annotated[str | None, Parameter(help="As 22:00-07:00 in the Netherlands, or 'none'. Deadlines go first.")]


@lane_app.command(name="list")
def lane_list(*, config: Config = None) -> None:
    """List the lanes: stopped or not and why, and what was changed of their rules."""

    async def work(application: Application) -> list[tuple[str, str, str, str, str]]:
        lane = tables.lane.c
        async with application.database.write() as connection:
            await steps.ensure_lanes(connection, application.parts.lanes)
            changes = await lanes.read_changes(connection)
            rows = await connection.execute(
                sa.select(lane.name, lane.stopped_at, lane.reason, lane.changed_by).order_by(lane.name)
            )
            listed: list[tuple[str, str, str, str, str]] = []
            for row in rows:
                state = f"stopped since {row.stopped_at:%Y-%m-%d %H:%M}Z" if row.stopped_at is not None else "running"
                if state == "running" and row.name in application.parts.lanes:
                    rules = configured(application.parts, row.name).changed(changes.get(row.name, {}))
                    ends = rules.quiet_hours.until(application.clock.now()) if rules.quiet_hours is not None else None
                    state = f"quiet until {ends:%Y-%m-%d %H:%M}Z" if ends is not None else state
                changed = ", ".join(f"{key}={_shown(value)}" for key, value in changes.get(row.name, {}).items())
                listed.append((row.name, state, row.reason or "", row.changed_by or "", changed))
            return listed

    table = Table("lane", "state", "reason", "by", "changed rules")
    for row in with_application(config, work):
        table.add_row(*row)
    console.print(table)


@lane_app.command(name="show")
def lane_show(name: str, /, *, config: Config = None) -> None:
    """Show a lane's rules: what the configuration says, what was changed, and so what is in force."""

    async def work(application: Application) -> tuple[LaneRules, Changes]:
        _known(application, name)
        async with application.database.read() as connection:
            changes = await lanes.read_changes(connection)
        return configured(application.parts, name), changes.get(name, {})

    base, changes = with_application(config, work)
    table = Table("rule", "configured", "changed", "in force", title=f"lane {name}")
    now = base.changed(changes).values()
    for key, value in base.values().items():
        table.add_row(key, _shown(value), _shown(changes[key]) if key in changes else "", _shown(now[key]))
    console.print(table)


@lane_app.command(name="set")
def lane_set(
    name: str,
    /,
    *,
    concurrency: Annotated[int | None, Parameter(help="Chunks at a time in one worker.")] = None,
    per_minute: _Limit = None,
    breaker: Annotated[int | None, Parameter(help="More refusals about us than this in 10 minutes stop it.")] = None,
    quiet_hours: _Quiet = None,
    reason: Reason,
    by: By | None = None,
    config: Config = None,
) -> None:
    """Change rules of a lane. Running workers follow within seconds; it lasts until 'bode lane reset'."""
    given: Changes = {}
    if concurrency is not None:
        given["concurrency"] = concurrency
    if per_minute is not None:
        given["per_minute"] = None if per_minute == _NONE else _number("--per-minute", per_minute)
    if breaker is not None:
        given["breaker"] = breaker
    if quiet_hours is not None:
        given["quiet_hours"] = None if quiet_hours == _NONE else quiet_hours
    if not given:
        raise UsageError("name a rule to change: --concurrency, --per-minute, --breaker or --quiet-hours")
    _change(name, "lane_set", lambda old: old | given, reason=reason, by=by, config=config)


@lane_app.command(name="reset")
def lane_reset(name: str, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Let a lane follow the configuration again in everything."""
    _change(name, "lane_reset", lambda _old: {}, reason=reason, by=by, config=config)


def _change(
    name: str,
    act: str,
    change: Callable[[Changes], Changes],
    *,
    reason: str,
    by: str | None,
    config: Config,
) -> None:
    """Change a lane's rules and write down who did it, why, and what they were and are; in one transaction."""
    why = a_reason(reason)

    async def work(application: Application) -> Mapping[str, tuple[object, object]]:
        _known(application, name)
        parts = application.parts
        base = configured(parts, name)
        async with application.database.write() as connection:
            await steps.ensure_lanes(connection, parts.lanes)
            old = await lanes.lock_changes(connection, name)
            new = change(old)
            try:
                before, after = base.changed(old).values(), base.changed(new).values()
            except LaneRuleError as error:
                raise UsageError(str(error)) from None
            differs = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
            if old != new:
                await lanes.write_changes(connection, name, new)
                detail = msgspec.json.encode({"old": old, "new": new}).decode()
                done = StaffAct(application.clock.now(), by or me(), act, name, why, detail)
                await record_act(connection, parts.vault, done)
            return differs

    differs = with_application(config, work)
    for key, (old, new) in differs.items():
        console.print(f"lane {name}: {key} {_shown(old)} -> {_shown(new)}", markup=False)
    if not differs:
        console.print(f"lane {name}: it was so already", markup=False)


@lane_app.command(name="stop")
def lane_stop(name: str, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Stop a lane: nothing more is sent through it until it is started."""
    why = a_reason(reason)

    async def work(application: Application) -> bool:
        _known(application, name)
        async with application.database.write() as connection:
            await steps.ensure_lanes(connection, application.parts.lanes)
            now, who = application.clock.now(), by or me()
            stopped = await steps.stop_lane(connection, name, reason=why, by=who, now=now)
            if stopped:
                done = StaffAct(now, who, "lane_stopped", name, why)
                await record_act(connection, application.parts.vault, done)
            return stopped

    console.print(f"lane {name}: {'stopped' if with_application(config, work) else 'was stopped already'}")


@lane_app.command(name="start")
def lane_start(name: str, /, *, reason: Reason | None = None, by: By | None = None, config: Config = None) -> None:
    """Start a stopped lane: what waits in it is sent, most urgent first."""
    why = a_reason(reason) if reason is not None else None

    async def work(application: Application) -> bool:
        _known(application, name)
        async with application.database.write() as connection:
            who = by or me()
            started = await steps.start_lane(connection, name, by=who)
            if started:
                done = StaffAct(application.clock.now(), who, "lane_started", name, why)
                await record_act(connection, application.parts.vault, done)
            return started

    console.print(f"lane {name}: {'started' if with_application(config, work) else 'was running already'}")


@lane_app.command(name="acts")
def lane_acts(*, most: Annotated[int, Parameter(help="How many, newest first.")] = 50, config: Config = None) -> None:
    """List who did what to lanes, the queue and decisions, and why; nobody can change or remove it."""

    async def work(application: Application) -> list[StaffAct]:
        async with application.database.read() as connection:
            return await read_acts(connection, application.parts.vault, most=most)

    table = Table("at", "about", Column("act", no_wrap=True), "by", "reason; old and new")
    for act in with_application(config, work):
        why = "\n".join(part for part in (act.reason, act.detail) if part)
        table.add_row(f"{act.at:%Y-%m-%d %H:%M}Z", act.subject, act.act, act.who, why)
    console.print(table if table.row_count else "nothing")


def _known(application: Application, name: str) -> None:
    if name not in application.parts.lanes:
        raise UsageError(f"there is no lane {name!r}; lanes are {', '.join(application.parts.lanes)}")


def _number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{option} is {text!r}: a whole number, or 'none'") from None


def _shown(value: object) -> str:
    return _NONE if value is None else str(value)
