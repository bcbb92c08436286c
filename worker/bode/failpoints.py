"""Failpoints: named places in the code where a test can kill the process, raise, or hang. Nothing unless armed.

Armed by the environment (`BODE_FAILPOINTS=after_claim=kill:0.1,before_call=hang`) in a process of a test, or by the
simulator. A process with `environment = "production"` refuses to start with it: see `arm_from_environment`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

VARIABLE, SEED_VARIABLE, ALLOW_VARIABLE = "BODE_FAILPOINTS", "BODE_FAILPOINTS_SEED", "BODE_FAILPOINTS_IN_PRODUCTION"


class Point(StrEnum):
    """The places, in the order of a message's life. Under each: what is lost, or known, when a process dies there."""

    INTAKE_BEFORE_COMMIT = "intake_before_commit"
    """A message is about to be stored. The caller has no answer, and nothing is stored: it sends again."""
    INTAKE_AFTER_COMMIT = "intake_after_commit"
    """Stored, the bell not rung, the caller without an answer: it sends again, and is told the first answer."""
    BEFORE_CLAIM_COMMIT = "before_claim_commit"
    """Steps are chosen and their calls named, not committed: nobody has them."""
    AFTER_CLAIM = "after_claim"
    """The lease is committed, no call was made: the sweeper must take it for a call that may have been."""
    BEFORE_CALL = "before_call"
    """An adapter is about to be called."""
    DURING_CALL = "during_call"
    """The other side did it; its answer is not seen yet: what `lookup` and repeated ids are for."""
    AFTER_CALL = "after_call"
    """The answers of a whole chunk are known here and nowhere else."""
    BEFORE_RECORD_COMMIT = "before_record_commit"
    """Answers are written, not committed."""
    AFTER_RECORD_COMMIT = "after_record_commit"
    """Recorded, the bell not rung and the alarms not given: the sweeper rings for what is ready."""
    TAKE_OVER_BEFORE_COMMIT = "take_over_before_commit"
    """The sweeper took over lost steps, not committed."""
    TAKE_OVER_AFTER_COMMIT = "take_over_after_commit"
    """Lost steps were taken over; the bell not rung."""
    INBOUND_BEFORE_STORE = "inbound_before_store"
    """A bounce came in and is not stored: no answer was given, so the other side sends it again."""
    INBOUND_AFTER_STORE = "inbound_after_store"
    """A bounce is stored and not decided, the other side without an answer: it comes again, under the same key."""
    INBOUND_BEFORE_COMMIT = "inbound_before_commit"
    """What came in is decided, not committed."""


class Act(StrEnum):
    """What happens at an armed failpoint."""

    KILL = "kill"
    """The process gets SIGKILL: nothing is finished, closed or said."""
    EXCEPTION = "exception"
    """An exception that nobody expects is raised."""
    HANG = "hang"
    """The task waits for ever, with all that it holds."""


class FailpointError(Exception):
    """Raised at a failpoint, as a defect of ours would be."""


class FailpointsRefusedError(Exception):
    """What the environment asks cannot be armed; the message says why."""


_ENTRY = re.compile(r"(?P<point>[a-z_]+)=(?P<act>[a-z]+)(?::(?P<chance>0?\.[0-9]+|[01]))?")


@dataclass(frozen=True, slots=True)
class Armed:
    """One entry of the specification: at this point, do this, with this chance at every pass."""

    point: Point
    act: Act
    chance: float = 1.0


_struck: Callable[[Point], Awaitable[None]] | None = None


async def failpoint(point: Point) -> None:
    """Mark a place. Does nothing, unless this process was armed."""
    if _struck is not None:
        await _struck(point)


def arm(struck: Callable[[Point], Awaitable[None]] | None) -> None:
    """Have this called at every failpoint of this process; None: nothing again."""
    global _struck  # noqa: PLW0603 - the one switch, and the reason that an unarmed failpoint costs nothing
    _struck = struck


def arm_from_environment(environment: Mapping[str, str], *, production: bool) -> tuple[Armed, ...]:
    """Arm what `BODE_FAILPOINTS` asks; gives what was armed. Raises `FailpointsRefusedError` in production."""
    wanted = environment.get(VARIABLE, "")
    if not wanted:
        return ()
    if production and environment.get(ALLOW_VARIABLE) != "yes":
        raise FailpointsRefusedError(
            f"{VARIABLE} is set and environment is production: this process would fail on purpose. "
            f"Unset it, or for a drill set {ALLOW_VARIABLE}=yes"
        )
    armed = parse(wanted)
    random = Random(environment.get(SEED_VARIABLE))  # noqa: S311 - which run fails where, not a secret

    async def struck(point: Point) -> None:
        for one in armed:
            if one.point is point and random.random() < one.chance:
                await act(one)

    arm(struck)
    return armed


def parse(text: str) -> tuple[Armed, ...]:
    """Read `point=act[:chance]`, several with commas between."""
    return tuple(_entry(entry.strip()) for entry in text.split(","))


def _entry(text: str) -> Armed:
    found = _ENTRY.fullmatch(text)
    if found is not None and found["point"] in set(Point) and found["act"] in set(Act):
        return Armed(Point(found["point"]), Act(found["act"]), float(found["chance"] or 1))
    raise FailpointsRefusedError(
        f"{VARIABLE}: {text!r} is not point=act or point=act:chance; "
        f"points are {', '.join(Point)}; acts are {', '.join(Act)}"
    )


async def act(armed: Armed) -> None:
    """Do it to this process."""
    match armed.act:
        case Act.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Act.EXCEPTION:
            raise FailpointError(armed.point)
        case Act.HANG:
            await asyncio.Event().wait()
