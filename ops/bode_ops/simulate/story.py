"""A run, judged; and of a run that broke a promise: the smallest one that still does, told as a story."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa

from bode.domain.policy import Policy
from bode.store import tables
from bode_ops.simulate.oracle import Violation, judge
from bode_ops.simulate.plan import ORIGIN, Options, incidents
from bode_ops.simulate.world import World, simulated

_T = TypeVar("_T")
_OFTEN = 3


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run."""

    options: Options
    violations: tuple[Violation, ...]
    seconds: float
    accepted: int
    mishaps: tuple[str, ...]
    """The names of the mishaps that really happened."""
    numbers: dict[UUID, int]
    timeline: tuple[tuple[datetime, str], ...] = ()
    """Of the first message that a promise was broken for, where the options ask for it."""


def run(options: Options, policy: Policy) -> Run:
    """Make a run, and hold the promises against it."""
    started = time.perf_counter()
    with simulated(options, policy) as (loop, world):
        loop.run_until_complete(world.run())
        found = loop.run_until_complete(judge(world))
        about = found[0].message if found and options.tell else None
        timeline = loop.run_until_complete(_timeline(world, about)) if about is not None else []
    accepted = sum(truth.answered_at is not None for truth in world.truths.values())
    seconds = time.perf_counter() - started
    mishaps, numbers = tuple(world.mishaps.struck), world.numbers
    return Run(options, tuple(found), seconds, accepted, mishaps, numbers, tuple(timeline))


async def _timeline(world: World, message: UUID) -> list[tuple[datetime, str]]:
    event = tables.event.c
    async with world.database.read() as connection:
        rows = await connection.execute(
            sa.select(event.recorded_at, event.envelope).where(event.message_id == message).order_by(event.seq)
        )
        recorded = [(row.recorded_at, _told(row.envelope)) for row in rows]
    lines = [*world.happened, *world.truths[message].log, *recorded]
    return sorted(lines, key=lambda line: line[0])


def _told(envelope: bytes) -> str:
    event = msgspec.json.decode(envelope)
    short = {
        key: value for key, value in event["detail"].items() if not isinstance(value, list) and "sha256" not in key
    }
    detail = ", ".join(f"{key}={value}" for key, value in short.items() if value is not None)
    return f"    Bode records {event['event']} {event.get('part', '')} {detail}".rstrip()


def shrink(failed: Run, policy: Policy, *, tries: int = 60, seconds: float = 600) -> Run:
    """Give the smallest run found that breaks the same promise: messages, then incidents, then mishaps left out.

    It looks for so long, or so often; a run that was begun is ended.
    """
    until = time.perf_counter() + seconds
    rule, about = failed.violations[0].rule, failed.violations[0].message
    left, best = [tries], failed

    def breaks(options: Options) -> bool:
        nonlocal best
        if left[0] <= 0 or time.perf_counter() > until:
            return False
        left[0] -= 1
        again = run(options, policy)
        if any(one.rule == rule for one in again.violations):
            best = again
            return True
        return False

    if about is not None:
        breaks(replace(failed.options, only=frozenset({failed.numbers[about]})))
    if best.options.only is None:
        _fewer(sorted(failed.numbers.values()), lambda kept: breaks(replace(best.options, only=frozenset(kept))))
    names = [one.name for one in incidents(best.options)]
    _leave_out(names, lambda: best, breaks)
    _leave_out(list(best.mishaps), lambda: best, breaks)
    return best if time.perf_counter() > until else run(replace(best.options, tell=True), policy)


def _leave_out(names: Sequence[str], best: Callable[[], Run], breaks: Callable[[Options], bool]) -> None:
    every = frozenset(names)
    base = best().options.without

    def kept_breaks(kept: Sequence[str]) -> bool:
        return breaks(replace(best().options, without=base | (every - frozenset(kept))))

    _fewer(list(names), kept_breaks)


def _fewer(items: list[_T], breaks: Callable[[Sequence[_T]], bool]) -> list[_T]:
    """Give fewer items that still break it (delta debugging: parts that can go, ever smaller parts)."""
    if items and breaks([]):
        return []
    parts = 2
    while len(items) > 1:
        for kept in _without_one(items, min(parts, len(items))):
            if breaks(kept):
                items, parts = kept, max(parts - 1, 2)
                break
        else:
            if parts >= len(items):
                break
            parts *= 2
    return items


def _without_one(items: list[_T], parts: int) -> Iterator[list[_T]]:
    size = -(-len(items) // parts)
    for start in range(0, len(items), size):
        yield items[:start] + items[start + size :]


def broken(failed: Run) -> Iterator[str]:
    """Tell which promises a run broke, a line for each of the first."""
    for violation in failed.violations[:5]:
        which = f"message {failed.numbers[violation.message]}: " if violation.message is not None else ""
        yield f"BROKEN  {violation.rule}: {which}{violation.text}"


def told(small: Run) -> Iterator[str]:
    """Tell a small failing run, a line at a time."""
    options = small.options
    yield from broken(small)
    left = incidents(options)
    yield f"made small: {len(small.numbers)} messages, {len(left)} incidents, {len(small.mishaps)} mishaps"
    for incident in left:
        yield f"  incident  {incident.name:24} {_when(incident.at)}  {incident}"
    for name in small.mishaps:
        yield f"  mishap    {name}"
    yield "what happened:"
    yield from _briefly(small.timeline)


def _briefly(lines: Sequence[tuple[datetime, str]]) -> Iterator[str]:
    """Tell a thing that happens again and again three times, and then how often more."""
    seen: Counter[str] = Counter()
    skipped = 0
    for at, text in lines:
        seen[text] += 1
        if seen[text] > _OFTEN:
            skipped += 1
            continue
        if skipped:
            yield f"  ... {skipped} lines like those above"
            skipped = 0
        yield f"  {_when(at)}  {text}"
    if skipped:
        yield f"  ... {skipped} lines like those above"


def _when(at: datetime) -> str:
    since = at - ORIGIN
    return f"day {since.days:2} {at:%a %H:%M:%S}"
