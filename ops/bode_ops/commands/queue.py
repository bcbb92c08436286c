"""`bode queue`: the key that senders seal with, what waits, and what was set apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from cyclopts import App, Parameter
from redis.exceptions import RedisError
from rich.table import Table

from bode.intake.poison import Poison, SetApart
from bode.intake.queue import Streams, connect
from bode.intake.sealed import private_key, public_key, seal
from bode.store.staff import StaffAct, record_act
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

queue_app = App(name="queue", help="Intake by queue: the key to seal with, what waits, and what was set apart.")
poison_app = App(name="poison", help="Messages that were not stored: see them, put them back, drop them.")
queue_app.command(poison_app)

_T = TypeVar("_T")
_Id = Annotated[str, Parameter(help="As 'bode queue poison list' shows it.")]


@queue_app.command(name="key")
def queue_key(*, config: Config = None) -> None:
    """Print the public key (a JWK) that zaaksystemen seal messages with. It is no secret."""

    async def work(application: Application) -> bytes:
        return application.parts.vault.intake_seed

    print(msgspec.json.encode(public_key(private_key(with_application(config, work)))).decode())  # noqa: T201 - the answer itself


@queue_app.command(name="seal")
def queue_seal(file: Path, /, *, key: Annotated[Path, Parameter(help="What 'bode queue key' printed.")]) -> None:
    """Seal a message (the JSON that the API takes) with the public key, to be put on the queue."""
    try:
        public: dict[str, Any] = msgspec.json.decode(key.read_bytes(), type=dict[str, Any])
        print(seal(file.read_bytes(), public))  # noqa: T201 - the answer itself
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise UsageError(f"{key} holds no key as 'bode queue key' prints it ({type(error).__name__})") from None


@queue_app.command(name="list")
def queue_list(*, config: Config = None) -> None:
    """List the senders: how many messages wait, how many were set apart, and the names of their streams."""

    async def work(_application: Application, broker: Any, every: list[Streams]) -> list[tuple[str, int, int, str]]:
        return [(one.sender, await broker.xlen(one.intake), await broker.xlen(one.apart), one.intake) for one in every]

    table = Table("sender", "waiting", "set apart", "stream")
    for sender, waiting, apart, stream in _with_broker(config, work):
        table.add_row(sender, str(waiting), str(apart), stream)
    console.print(table)


@poison_app.command(name="list")
def poison_list(
    *, most: Annotated[int, Parameter(help="How many of each sender.")] = 50, config: Config = None
) -> None:
    """List what was set apart, oldest first."""

    async def work(_application: Application, broker: Any, every: list[Streams]) -> list[SetApart]:
        return [one for streams in every for one in await Poison(broker, streams).read(most=most)]

    table = Table("sender", "id", "set apart", "why", "status and codes")
    for one in _with_broker(config, work):
        table.add_row(one.sender, one.id, f"{one.at:%Y-%m-%d %H:%M}Z", one.why, _codes(one.answer))
    console.print(table if table.row_count else "nothing")


@poison_app.command(name="show")
def poison_show(sender: str, entry: _Id, /, *, config: Config = None) -> None:
    """Show one: every fault it has. What it says stays sealed."""

    async def work(_application: Application, broker: Any, every: list[Streams]) -> SetApart | None:
        return await Poison(broker, _of(every, sender)).get(entry)

    one = _with_broker(config, work)
    if one is None:
        raise UsageError(f"nothing of {sender} was set apart as {entry}: see 'bode queue poison list'")
    console.print(f"{one.sender} {one.id}: {one.why} at {one.at:%Y-%m-%d %H:%M:%S}Z, {one.size} bytes", markup=False)
    console.print(f"the sender knows it as {one.asked}, and was answered:", markup=False)
    console.print(msgspec.json.format(one.answer.encode(), indent=2).decode(), markup=False)


@poison_app.command(name="retry")
def poison_retry(sender: str, entry: _Id, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Put one back on the queue, after the cause was mended. The sender gets a new answer."""
    done = StaffAct(datetime.now(UTC), by or me(), "queue_retried", f"{sender} {entry}", a_reason(reason))
    _act(done, sender, entry, config, lambda poison: poison.retry(entry))
    console.print(f"{sender} {entry}: put back", markup=False)


@poison_app.command(name="drop")
def poison_drop(sender: str, entry: _Id, /, *, reason: Reason, by: By | None = None, config: Config = None) -> None:
    """Drop one for good, as when the sender sent it again after mending it."""
    done = StaffAct(datetime.now(UTC), by or me(), "queue_dropped", f"{sender} {entry}", a_reason(reason))
    _act(done, sender, entry, config, lambda poison: poison.drop(entry))
    console.print(f"{sender} {entry}: dropped", markup=False)


def _act(act: StaffAct, sender: str, entry: str, config: Config, do: Callable[[Poison], Awaitable[bool]]) -> None:
    """Do it, and write down for ever who did and why."""

    async def work(application: Application, broker: Any, every: list[Streams]) -> bool:
        poison = Poison(broker, _of(every, sender))
        if await poison.get(entry) is None:
            return False
        done = replace(act, at=application.clock.now())
        async with application.database.write() as connection:
            await record_act(connection, application.parts.vault, done)
        return await do(poison)

    if not _with_broker(config, work):
        raise UsageError(f"nothing of {sender} was set apart as {entry}: see 'bode queue poison list'")


def _with_broker(config: Config, work: Callable[[Application, Any, list[Streams]], Awaitable[_T]]) -> _T:
    async def do(application: Application) -> _T:
        settings = application.settings
        url = settings.broker.url
        if url is None or not settings.queue.senders:
            raise UsageError("there is no intake by queue here: it needs broker.url and [queue.senders.NAME]")
        broker = connect(url)
        try:
            every = [Streams(settings.broker.namespace, sender) for sender in settings.queue.senders]
            return await work(application, broker, every)
        except RedisError as error:
            raise AwayError(f"the broker at broker.url cannot be used ({type(error).__name__})") from None
        finally:
            await broker.aclose()

    return with_application(config, do)


def _of(every: list[Streams], sender: str) -> Streams:
    for streams in every:
        if streams.sender == sender:
            return streams
    raise UsageError(f"there is no sender {sender!r}; senders are {', '.join(one.sender for one in every)}")


def _codes(answer: str) -> str:
    read: dict[str, Any] = msgspec.json.decode(answer.encode(), type=dict[str, Any]) if answer else {}
    return " ".join([str(read.get("status", "")), *sorted({fault["code"] for fault in read.get("fouten", [])})])
